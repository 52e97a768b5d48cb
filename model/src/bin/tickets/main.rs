//! Checks blocked receives on one or two servers (R1 to R16): every interleaving of small scenarios, or random walks
//! through large ones.
//!
//! `tickets SCENARIO [VARIANT] [MOST_STATES]`. A variant names the rules that the run breaks, joined by `+`; without one,
//! or with `rules`, it keeps them all. With `WALKS=n` in the environment the run walks at random.
//!
//! Read `state.rs` first, then `scripts.rs` and `client.rs`, which are the rules. `event.rs` has what can happen and
//! `step.rs` what it does; `oracle.rs` has what is to hold.

mod client;
mod event;
mod large;
mod model;
mod oracle;
mod rules;
mod scenario;
mod scenarios;
mod scripts;
mod search;
mod state;
mod step;
mod walk;

use std::process::ExitCode;

use asgi_redis_model::number;

use model::Model;
use rules::Rules;

/// States after which a search ends, unless it is told otherwise.
const MOST_STATES: usize = 3_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, variant, most) = match *args {
        [name] => (name, "rules", Some(MOST_STATES)),
        [name, variant] => (name, variant, Some(MOST_STATES)),
        [name, variant, most] => (name, variant, most.parse().ok()),
        _ => return usage("tickets takes one to three arguments"),
    };
    let Some(scenario) = scenarios::named(name) else {
        return usage(&format!("there is no scenario {name}"));
    };
    let rules = match Rules::without(variant) {
        Ok(rules) => rules,
        Err(unknown) => return usage(&format!("there is no variant {unknown}")),
    };
    let Some(most) = most else { return usage("MOST_STATES is to be a number") };
    let model = Model { rules, scenario };
    let run = format!("{name} {variant}");
    let walks = number("WALKS", 0);
    let holds = if walks > 0 { walk::run(&run, &model, walks) } else { search::run(&run, &model, most) };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("tickets: {problem}\nusage: tickets SCENARIO [VARIANT] [MOST_STATES]");
    eprintln!("scenarios: {}", scenarios::all().map(|s| s.0).collect::<Vec<_>>().join(" "));
    for (variant, rule) in rules::VARIANTS {
        eprintln!("variant {variant} breaks {rule}");
    }
    ExitCode::from(2)
}
