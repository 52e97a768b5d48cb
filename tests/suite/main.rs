//! The tests of the crate, in one binary, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod dependencies;
mod fixture;
mod support;
