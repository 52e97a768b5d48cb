//! Random walks, for scenarios that are too large for a search.

use std::time::{Duration, Instant};

use asgi_redis_model::number;

use crate::event::Event;
use crate::model::Model;

/// The most steps of a walk.
const LONGEST: usize = 250;

/// Walks `WALKS` times, for `SECONDS` at most, by `SEED`, and prints the end. Returns whether the rules hold.
pub fn run(name: &str, model: &Model, walks: u64) -> bool {
    let start = Instant::now();
    let most = Duration::from_secs(number("SECONDS", 100));
    let mut random = Random::seeded();
    let (mut steps, mut longest) = (0, 0);
    for walk in 0..walks {
        let mut state = model.first();
        let mut trace = vec![];
        while trace.len() <= LONGEST {
            let events = model.events(&state);
            if events.is_empty() {
                break;
            }
            let number = random.next();
            let event = choose(events, number);
            state = model.step(&state, event);
            trace.push(event);
            steps += 1;
            let heals = (number >> 50).is_multiple_of(6);
            let what = if heals { model.failure(&state) } else { model.broken(&state) };
            if let Some(what) = what {
                println!("{name}: walk {walk} FAIL {what}\n   {trace:?}");
                return false;
            }
        }
        longest = longest.max(trace.len());
        if start.elapsed() > most {
            println!("{name}: stopped at walk {walk}");
            break;
        }
    }
    println!(
        "{name}: {walks} walks {steps} steps, longest {longest}, no failure, {:.0}s",
        start.elapsed().as_secs_f32()
    );
    true
}

/// Chooses an event: in seven of eight steps none of the rare ones, if there is another.
fn choose(mut events: Vec<Event>, number: u64) -> Event {
    if !(number >> 40).is_multiple_of(8) && events.iter().any(|e| !e.is_rare()) {
        events.retain(|e| !e.is_rare());
    }
    events[((number >> 8) % events.len() as u64) as usize]
}

/// Xorshift: the same walks for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        match std::env::var("SEED") {
            Ok(_) => Self(number("SEED", 1) * 2_654_435_761 + 1),
            Err(_) => Self(88_172_645_463_325_252),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
