//! Checks memberships as one numbered log in the inbox, by random walks: R21, R23, R25, R26 and R32 to R52.
//!
//! One inbox with its owner, two other clients that change memberships and send, connections that break with their replies,
//! old states that come back, keys that vanish, a clock that is set.
//!
//! `groups walk [RULES] [FAULTS]`. `RULES` are names of `rules.rs` to break, joined by `+`, or `none`; `old` is the
//! mechanism of schema 2. `FAULTS` are letters. Environment: `SEED`, `WALKS`, `STEPS`; `TRACE=1` prints the last `LINES` of
//! the first failure; `COMPOUND=1` lets faults come before the last one is healed; `LIGHT` percent of the program's
//! changes happen in the quiet times.
//!
//! Read `state.rs` and `owner.rs` first, then `server.rs` and `read.rs`, which are the rules.

mod act;
mod oracle;
mod owner;
mod page;
mod random;
mod read;
mod reply;
mod rules;
mod server;
mod state;
mod step;
mod walk;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;

use asgi_redis_model::number;

use rules::{BROKEN, FAULTS, Rules};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |at: usize, default| args.get(at).map_or(default, String::as_str);
    let (names, faults) = (arg(1, "none"), arg(2, "bkrecfq"));
    if arg(0, "") != "walk" {
        return usage("the first argument is walk");
    }
    match Rules::without(names, faults, std::env::var("COMPOUND").is_ok(), number("LIGHT", 12)) {
        Ok(rules) => run(names, faults, &rules),
        Err(unknown) => usage(&format!("there is no rule {unknown}")),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("groups: {problem}\nusage: groups walk [RULES] [FAULTS]");
    eprintln!("rules: none {}", BROKEN.map(|b| b.0).join(" "));
    for (letter, meaning) in FAULTS {
        eprintln!("fault {letter}: {meaning}");
    }
    ExitCode::from(2)
}

/// Walks, and prints what was found.
fn run(names: &str, faults: &str, rules: &Rules) -> ExitCode {
    let (seed, walks, steps) = (number("SEED", 1), number("WALKS", 2000), number("STEPS", 800));
    let (mut failed, mut checked, mut fired, mut first) = (0, 0, 0, None);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seed..seed + walks {
        let world = walk::walk(seed, steps, rules, false);
        let Some(what) = world.failure else {
            checked += world.checked;
            fired += world.fired;
            continue;
        };
        failed += 1;
        let kind = if what.contains("missed") {
            "a member missed it"
        } else if what.contains("got it") {
            "a non-member got it"
        } else {
            "does not settle"
        };
        *kinds.entry(kind).or_default() += 1;
        first.get_or_insert((seed, what));
    }
    println!(
        "rules {names} faults {faults}: {walks} walks, {failed} failed {kinds:?}; checked messages {checked}, verdicts and repairs {fired}; first {first:?}"
    );
    let Some((seed, _)) = first else { return ExitCode::SUCCESS };
    if number("TRACE", 0) == 1 {
        let trace = walk::walk(seed, steps, rules, true).trace.unwrap_or_default();
        let last = trace.len().saturating_sub(number("LINES", 60) as usize);
        for line in &trace[last..] {
            println!("{line}");
        }
    }
    ExitCode::FAILURE
}
