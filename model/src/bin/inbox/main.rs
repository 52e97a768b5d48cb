//! Checks the reader of an inbox (R22): all states of one scenario, with several ways to acknowledge.
//!
//! `inbox [VARIANT]`. A variant has parts, joined by `+`, such as `count+nolease`; without one the rules are as they are.
//!
//! `state.rs` has what a moment holds, `scripts.rs` and `reader.rs` the rules, `event.rs` what can happen, and `oracle.rs`
//! what is to hold.

mod event;
mod oracle;
mod reader;
mod rules;
mod scripts;
mod state;

use std::collections::HashSet;
use std::process::ExitCode;

use asgi_redis_model::{fingerprint, trace};

use event::Event;
use rules::{Rules, VARIANTS};
use state::State;

/// States after which the search ends.
const MOST_STATES: usize = 1_500_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let variant = args.first().map_or("rules", String::as_str);
    match Rules::of(variant) {
        Ok((rules, faults)) => {
            if search(variant, &rules, State::first(&rules, faults)) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(unknown) => {
            eprintln!("inbox: there is no variant {unknown}\nusage: inbox [VARIANT]");
            for (name, meaning) in VARIANTS {
                eprintln!("variant {name}: {meaning}");
            }
            ExitCode::from(2)
        }
    }
}

/// Goes through all states, breadth first, and prints the end. Returns whether the rules hold.
fn search(variant: &str, rules: &Rules, first: State) -> bool {
    let mut seen = HashSet::from([fingerprint(&first)]);
    // The state that each state came from, and by which event. The first state has none.
    let mut steps: Vec<Option<(u32, Event)>> = vec![None];
    let mut level = vec![(0, first)];
    let (mut depth, mut failure, mut complete) = (0, None, true);
    'all: while !level.is_empty() {
        let mut next = vec![];
        for (from, state) in level {
            for event in state.events(rules) {
                let state = state.after(rules, event);
                if !seen.insert(fingerprint(&state)) {
                    continue;
                }
                let at = steps.len() as u32;
                steps.push(Some((from, event)));
                if let Some(what) = state.failure(rules) {
                    failure = Some((what, trace(&steps, at)));
                    break 'all;
                }
                next.push((at, state));
                if seen.len() > MOST_STATES {
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
        None if complete => "PASS (complete)".to_owned(),
        None => "PASS (truncated)".to_owned(),
    };
    println!("inbox {variant}: {} states, depth {depth}, {end}", seen.len());
    if let Some((_, trace)) = &failure {
        println!("   {trace:?}");
    }
    failure.is_none()
}
