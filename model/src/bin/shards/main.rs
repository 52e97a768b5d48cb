//! Checks receives over several servers, whose surplus entries are given on (R17, R18).
//!
//! `shards SCENARIO [RULES] [MOST_STATES]` searches all states of a scenario. `shards walk [RULES] [SCENARIO]` walks at
//! random for `SECONDS` or `WALKS`, by `SEED`. `RULES` are variants and a rule to break, joined by `+`.
//!
//! The model is `src/shards/` of the crate.

mod search;

use std::process::ExitCode;

use asgi_redis_model::number;
use asgi_redis_model::shards::client::ModelTickets;
use asgi_redis_model::shards::rules::{BROKEN, Rules, set_rules};
use asgi_redis_model::shards::{scenario, walk};

use search::{Limits, search};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |at: usize| args.get(at).map(String::as_str);
    let Some(name) = arg(0) else { return usage("shards takes one to three arguments") };
    match Rules::with(arg(1).unwrap_or("rules")) {
        Ok(rules) => set_rules(rules),
        Err(unknown) => return usage(&format!("there is no rule {unknown}")),
    }
    let has_slot = std::env::var("SLOT").is_ok();
    let failure = if name == "walk" {
        let fixed = match arg(2).map(|name| scenario::named(name, has_slot)) {
            Some(None) => return usage("there is no such scenario to walk in"),
            fixed => fixed.flatten(),
        };
        let make = |seed| fixed.clone().unwrap_or_else(|| scenario::random(seed));
        walk::walks::<ModelTickets>(number("SEED", 1), number("WALKS", u64::MAX), number("SECONDS", 30), make)
    } else {
        let Some(scenario) = scenario::named(name, has_slot) else {
            return usage(&format!("there is no scenario {name}"));
        };
        let Ok(states) = arg(2).map_or(Ok(5_000_000), str::parse) else {
            return usage("MOST_STATES is to be a number");
        };
        let limits = Limits { states, seconds: number("SECONDS", 60), every: number("EVERY", 16) };
        search(name, &scenario, &limits)
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            walk::print::<ModelTickets>(&failure);
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("shards: {problem}\nusage: shards SCENARIO|walk [RULES] [MOST_STATES|SCENARIO]");
    eprintln!("scenarios: {}", scenario::NAMES.join(" "));
    eprintln!("rules: pushes-too apart wide {}", BROKEN.map(|b| b.0).join(" "));
    ExitCode::from(2)
}
