//! Random programs on the memory layer and on Redis: every result that the contract fixes is equal.
//!
//! A [`program`] is a list of steps of several clients; a [`duel`] takes each of them on both layers, which are two
//! [`world`]s of the same shape. Programs come from fixed seeds. One that fails is shrunk, and its seed is kept in
//! `regressions.txt`, whose programs come first from then on.

mod duel;
mod program;
mod world;

use std::fmt;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};

use self::duel::Duel;
use self::program::{Step, programs};
use crate::support::{Server, unique_prefix};

const PROGRAMS: u32 = 1_000;
const STEPS: usize = 200;
/// So many tests share the programs, and run at once.
const SHARES: u32 = 4;
/// Which programs they are.
const SEED: u8 = 0;
const KEPT: &str = "tests/suite/differential/regressions.txt";

/// Runs the programs of one share.
fn run_share(share: u8) {
    let server = Server::shared();
    let config = Config {
        cases: PROGRAMS / SHARES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(KEPT))),
        max_shrink_iters: 300,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[SEED + share; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&programs(STEPS), |program| run(&server, &program));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, program)) => panic!("{why}\nin this program: {}", Shown(&program)),
        Err(error) => panic!("{error}"),
    }
}

/// Runs one program; what is not equal is a failure of this program.
fn run(server: &Server, program: &[Step]) -> Result<(), TestCaseError> {
    let duel = async {
        let mut duel = Duel::new(&server.url(), unique_prefix("differential")).await;
        for step in program {
            duel.step(*step).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(duel))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        TestCaseError::fail(text.unwrap_or_default())
    })
}

struct Shown<'a>(&'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "\n  {step:?}"))
    }
}

#[test]
fn a_quarter_of_the_programs_end_alike_on_memory_and_on_redis() {
    run_share(1);
}

#[test]
fn the_second_quarter_of_the_programs_end_alike_on_memory_and_on_redis() {
    run_share(2);
}

#[test]
fn the_third_quarter_of_the_programs_end_alike_on_memory_and_on_redis() {
    run_share(3);
}

#[test]
fn the_last_quarter_of_the_programs_end_alike_on_memory_and_on_redis() {
    run_share(4);
}

#[test]
fn programs_have_all_kinds_of_steps() {
    let mut runner = TestRunner::deterministic();
    let program = programs(5_000).new_tree(&mut runner).unwrap().current();
    let kinds: std::collections::HashSet<_> = program.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 18);
}
