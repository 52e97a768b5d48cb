//! The suite: one binary over a shared support module, on real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

mod build;
mod config;
mod dependencies;
mod fixture;
mod protocol;
