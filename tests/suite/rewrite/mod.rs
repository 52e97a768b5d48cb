//! Two texts of a script, the present one and one that it replaced, answer alike: random calls run by each under a prefix of
//! its own, with one clock for both that the test moves. Replies, what is published, all keys and their times to live
//! are compared after each step.
//!
//! The earlier texts stand in `texts/`, expanded. `scripts/compare-scripts REVISION` takes those of a revision instead.

mod side;
mod steps;

use std::path::PathBuf;

use crate::protocol::ledger::Dice;
use crate::support::Server;
use side::Side;
use steps::Steps;

/// How many steps a seed makes; more of them in the environment.
const STEPS: &str = "REWRITE_STEPS";
/// A folder with the earlier texts, expanded.
const FOLDER: &str = "REWRITE_TEXTS";

fn folder() -> PathBuf {
    let kept = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/rewrite/texts");
    std::env::var_os(FOLDER).map_or_else(kept, PathBuf::from)
}

async fn run(seed: u64, steps: usize) {
    let server = Server::private();
    let mut earlier = Side::new(&server, "earlier:", Some(&folder())).await;
    let mut present = Side::new(&server, "present:", None).await;
    let mut dice = Dice(seed);
    let mut plan = Steps::new();
    let mut handed = 0;
    for number in 0..steps {
        let step = plan.next(&mut dice);
        let [expected, got] = [earlier.run(&step).await, present.run(&step).await];
        assert!(
            expected.is_like(&got),
            "seed {seed}, step {number}: {step:?}\nthe earlier text:\n{expected:#?}\nthe present text:\n{got:#?}"
        );
        handed += plan.learn(&expected);
    }
    assert!(handed > steps / 10, "only {handed} messages were handed to tickets in {steps} steps");
}

/// As while programs are upgraded: each call is made by the earlier or by the present text, at random, under one prefix.
#[tokio::test]
async fn calls_of_both_texts_under_one_prefix_are_like_those_of_the_present_one() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/contract/earlier");
    let server = Server::private();
    let mut mixed = Side::new(&server, "mixed:", Some(&folder)).await;
    let mut present = Side::new(&server, "present:", None).await;
    let (mut dice, mut plan) = (Dice(4), Steps::new());
    let (mut handed, mut by_earlier) = (0, 0);
    for number in 0..steps() {
        let step = plan.next(&mut dice);
        let is_earlier = dice.one_in(2);
        by_earlier += usize::from(is_earlier);
        let got = if is_earlier { mixed.run(&step).await } else { mixed.run_by_present(&step).await };
        let expected = present.run(&step).await;
        assert!(
            expected.is_like(&got),
            "step {number}, earlier {is_earlier}: {step:?}\nthe present text alone:\n{expected:#?}\nboth:\n{got:#?}"
        );
        handed += plan.learn(&expected);
    }
    assert!(
        handed > steps() / 10 && by_earlier > steps() / 4,
        "{handed} handed, {by_earlier} by earlier texts"
    );
}

fn steps() -> usize {
    std::env::var(STEPS).map_or(400, |steps| steps.parse().unwrap())
}

#[tokio::test]
async fn one_seed_gives_the_same_by_both_texts() {
    run(1, steps()).await;
}

#[tokio::test]
async fn a_second_seed_gives_the_same_by_both_texts() {
    run(2, steps()).await;
}

#[tokio::test]
async fn a_third_seed_gives_the_same_by_both_texts() {
    run(3, steps()).await;
}
