//! What the command line, the tests and the benchmark of this crate share and users do not need. It may change at any time.
//!
//! `ledger` records what became of messages; `sealing` shows the seal to the benchmark.

mod ledger;
mod sealing;

pub use self::ledger::{Fate, Ledger, Sent};
pub use self::sealing::{HiddenNames, Seal};
