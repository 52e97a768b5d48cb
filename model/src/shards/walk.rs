//! Random walks with everything at once, and the shrinking of one that failed.

use std::time::{Duration, Instant};

use super::client::AnyTickets;
use super::rules::rules;
use super::scenario::Scenario;
use super::world::{Event, World, logged};

/// Splitmix64: the same walks for the same seed, on every machine.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// A scenario, and the events that lead to a failure in it.
pub struct Failure {
    pub scenario: Scenario,
    pub trace: Vec<Event>,
}

/// What the walks have met.
#[derive(Default)]
struct Tally {
    walks: u64,
    steps: u64,
    given_on: u64,
    /// The largest surplus that a killed process took: entries, and receives under way.
    worst: (u8, u8),
}

/// Walks until a walk fails, or the time is over. Prints the end, and returns the failure, shrunk.
pub fn walks<T: AnyTickets + Default>(
    seed: u64,
    most: u64,
    seconds: u64,
    make: impl Fn(u64) -> Scenario,
) -> Option<Failure> {
    let start = Instant::now();
    let mut tally = Tally::default();
    while tally.walks < most && start.elapsed() < Duration::from_secs(seconds) {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(tally.walks);
        let scenario = make(seed);
        let (trace, bad) = walk::<T>(seed, &scenario, &mut tally);
        if let Some(what) = bad {
            let steps = trace.len();
            let trace = shrink::<T>(&scenario, trace, &what);
            println!(
                "walk {:?}: walk {} ({steps} steps, {} when shrunk) FAIL {what}, {:.1} s",
                rules().broken,
                tally.walks,
                trace.len(),
                start.elapsed().as_secs_f32()
            );
            return Some(Failure { scenario, trace });
        }
        tally.walks += 1;
    }
    println!(
        "walk {:?}: {} walks, {} steps, {} entries given on, no failure, {:.1} s; a killed process took {} entries with {} receives under way",
        rules().broken,
        tally.walks,
        tally.steps,
        tally.given_on,
        start.elapsed().as_secs_f32(),
        tally.worst.0,
        tally.worst.1
    );
    None
}

/// Walks once, heals, and returns the events and what is wrong.
fn walk<T: AnyTickets + Default>(
    seed: u64,
    scenario: &Scenario,
    tally: &mut Tally,
) -> (Vec<Event>, Option<String>) {
    let mut random = Random(seed);
    let (length, faults) = (20 + random.below(180), 4 + random.below(40));
    // Each walk has its own liking for each kind of event: what is rare in one is usual in another.
    let likes: Vec<u64> = (0..32).map(|_| [1, 1, 4, 16, 64][random.below(5) as usize]).collect();
    let by_liking = !seed.is_multiple_of(3);
    let mut world = World::<T>::new(scenario);
    let mut trace = vec![];
    let mut given_on = 0;
    while (trace.len() as u64) < length && world.bad.is_none() {
        let mut events = world.events(scenario);
        if events.is_empty() {
            break;
        }
        if by_liking {
            events = vec![choose(&events, &likes, &mut random)];
        } else if random.below(faults) != 0 && events.iter().any(|e| !e.is_fault()) {
            events.retain(|e| !e.is_fault());
        }
        let event = events[random.below(events.len() as u64) as usize];
        world.step(scenario, event);
        trace.push(event);
        let now = world.processes.iter().map(|p| p.tickets.view().given_on.len()).sum();
        tally.given_on += u64::from(now > given_on);
        given_on = now;
    }
    tally.steps += trace.len() as u64;
    let surplus = |(entries, receives): (u8, u8)| i16::from(entries) - i16::from(receives);
    if surplus(world.took) > surplus(tally.worst) {
        tally.worst = world.took;
    }
    world.heal(scenario);
    (trace, world.bad)
}

fn choose(events: &[Event], likes: &[u64], random: &mut Random) -> Event {
    let mut at = random.below(events.iter().map(|e| likes[e.kind()]).sum());
    for event in events {
        let like = likes[event.kind()];
        if at < like {
            return *event;
        }
        at -= like;
    }
    events[0]
}

/// Lets happen what can of a trace, and heals. Returns what is wrong and the events that happened.
fn replay<T: AnyTickets + Default>(scenario: &Scenario, trace: &[Event]) -> (Option<String>, Vec<Event>) {
    let mut world = World::<T>::new(scenario);
    let mut happened = vec![];
    for event in trace {
        if world.bad.is_some() {
            break;
        }
        if world.events(scenario).contains(event) {
            world.step(scenario, *event);
            happened.push(*event);
        }
    }
    world.heal(scenario);
    (world.bad, happened)
}

/// Leaves out events as long as the same kind of failure remains.
fn shrink<T: AnyTickets + Default>(scenario: &Scenario, mut trace: Vec<Event>, what: &str) -> Vec<Event> {
    let mut size = trace.len() / 2;
    loop {
        let before = trace.len();
        let part = size.max(1);
        let mut at = 0;
        while at < trace.len() {
            let mut shorter = trace.clone();
            shorter.drain(at..(at + part).min(trace.len()));
            let (bad, happened) = replay::<T>(scenario, &shorter);
            if bad.is_some_and(|b| kind(&b) == kind(what)) {
                trace = happened;
            } else {
                at += part;
            }
        }
        if size <= 1 && trace.len() == before {
            return trace;
        }
        size /= 2;
    }
}

/// Returns the word that a failure begins with.
fn kind(what: &str) -> &str {
    what.split(':').next().unwrap_or(what)
}

/// Prints a failure step by step.
pub fn print<T: AnyTickets + Default>(failure: &Failure) {
    println!("   {:?} {:?}", failure.scenario.receives, rules());
    let ((bad, _), lines) = logged(|| replay::<T>(&failure.scenario, &failure.trace));
    for line in lines {
        println!("   {line}");
    }
    println!("   {bad:?}");
}
