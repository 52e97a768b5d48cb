//! The suite: one binary over a shared support module, on real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

mod borders;
mod build;
mod chat;
#[cfg(feature = "cli")]
mod command_line;
mod config;
#[cfg(feature = "conformance")]
mod conformance;
mod contract;
mod dependencies;
mod differential;
mod docs;
mod fixture;
mod layer;
mod local_and_remote;
mod own_checks;
mod promises;
mod protocol;
mod readme;
mod rewrite;
mod sealing;
mod trust;
