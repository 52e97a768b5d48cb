//! All states of a scenario, breadth first.

use std::collections::HashSet;
use std::time::Instant;

use asgi_redis_model::shards::client::ModelTickets;
use asgi_redis_model::shards::rules::rules;
use asgi_redis_model::shards::scenario::Scenario;
use asgi_redis_model::shards::walk::Failure;
use asgi_redis_model::shards::world::{Event, World};
use asgi_redis_model::{fingerprint, trace};

/// When a search ends, and how many states it heals: each n-th.
pub struct Limits {
    pub states: usize,
    pub seconds: u64,
    pub every: u64,
}

/// Searches, prints the end, and returns the failure.
pub fn search(name: &str, scenario: &Scenario, limits: &Limits) -> Option<Failure> {
    let start = Instant::now();
    let first = World::<ModelTickets>::new(scenario);
    let mut seen = HashSet::from([fingerprint(&first)]);
    // The state that each state came from, and by which event. The first state has none.
    let mut steps: Vec<Option<(u32, Event)>> = vec![None];
    let mut level = vec![(0, first)];
    let (mut depth, mut given_on, mut healed) = (0, 0u64, 0u64);
    let (mut failure, mut complete) = (None, true);
    'all: while !level.is_empty() {
        let mut next = vec![];
        for (from, world) in level {
            for event in world.events(scenario) {
                let mut world = world.clone();
                world.step(scenario, event);
                let print = fingerprint(&world);
                if world.bad.is_none() && !seen.insert(print) {
                    continue;
                }
                let at = steps.len() as u32;
                steps.push(Some((from, event)));
                given_on += u64::from(world.processes.iter().any(|p| !p.tickets.given_on.is_empty()));
                let heals = (print as u64).is_multiple_of(limits.every) || world.events(scenario).is_empty();
                if world.bad.is_none() && heals {
                    healed += 1;
                    let mut healing = world.clone();
                    healing.heal(scenario);
                    world.bad = healing.bad;
                }
                if let Some(what) = world.bad {
                    failure = Some((what, trace(&steps, at)));
                    break 'all;
                }
                next.push((at, world));
                let is_late = seen.len().is_multiple_of(1024) && start.elapsed().as_secs() >= limits.seconds;
                if seen.len() >= limits.states || is_late {
                    complete = false;
                    break 'all;
                }
            }
        }
        depth += 1;
        level = next;
    }
    let end = match &failure {
        Some((what, _)) => format!("FAIL {what}"),
        None if complete => "PASS, complete".to_owned(),
        None => "PASS as far as it went".to_owned(),
    };
    println!(
        "{name} {:?}: {} states ({given_on} with something given on; {healed} healed), depth {depth}, {end}, {:.1} s",
        rules().broken,
        seen.len(),
        start.elapsed().as_secs_f32()
    );
    failure.map(|(_, trace)| Failure { scenario: scenario.clone(), trace })
}
