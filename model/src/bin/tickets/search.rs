//! All states of a scenario, breadth first: the first failure has the shortest trace.

use std::collections::HashSet;
use std::time::Instant;

use asgi_redis_model::{fingerprint, number, trace};

use crate::event::Event;
use crate::model::Model;

/// The end of a search.
pub struct Found {
    pub states: usize,
    pub depth: usize,
    /// The longest queue that was seen.
    pub longest: usize,
    pub complete: bool,
    /// What is wrong, and the events that lead there.
    pub failure: Option<(String, Vec<Event>)>,
}

/// Searches until a failure, the end, or `most` states. `EVERY=n` heals each n-th state only; `ONLY=text` looks for
/// failures with this text alone.
pub fn search(model: &Model, most: usize) -> Found {
    let every = u128::from(number("EVERY", 1));
    let only = std::env::var("ONLY").unwrap_or_default();
    let first = model.first();
    let mut seen = HashSet::from([fingerprint(&first)]);
    // The state that each state came from, and by which event. The first state has none.
    let mut steps: Vec<Option<(u32, Event)>> = vec![None];
    let mut level = vec![(0, first)];
    let mut found = Found { states: 1, depth: 0, longest: 0, complete: false, failure: None };
    'all: while !level.is_empty() {
        let mut next = vec![];
        for (from, state) in level {
            for event in model.events(&state) {
                let state = model.step(&state, event);
                let print = fingerprint(&state);
                if !seen.insert(print) {
                    continue;
                }
                let at = steps.len() as u32;
                steps.push(Some((from, event)));
                found.states = seen.len();
                let lengths = state.servers.iter().flat_map(|s| &s.queues).map(Vec::len);
                found.longest = lengths.fold(found.longest, usize::max);
                let what =
                    if print.is_multiple_of(every) { model.failure(&state) } else { model.broken(&state) };
                if let Some(what) = what.filter(|w| w.contains(&only)) {
                    found.failure = Some((what, trace(&steps, at)));
                    break 'all;
                }
                next.push((at, state));
                if seen.len() >= most {
                    break 'all;
                }
            }
        }
        found.depth += 1;
        level = next;
    }
    found.complete = found.failure.is_none() && found.states < most;
    found
}

/// Searches and prints the end. Returns whether the rules hold.
pub fn run(name: &str, model: &Model, most: usize) -> bool {
    let start = Instant::now();
    let found = search(model, most);
    let end = match &found.failure {
        Some((what, _)) => format!("FAIL {what}"),
        None if found.complete => "PASS (complete)".to_owned(),
        None => "PASS (truncated)".to_owned(),
    };
    println!(
        "{name}: {} states, depth {}, {end}, {:.1}s, longest queue {}",
        found.states,
        found.depth,
        start.elapsed().as_secs_f32(),
        found.longest
    );
    if let Some((_, trace)) = &found.failure {
        println!("   {trace:?}");
    }
    found.failure.is_none()
}
