//! The command line `asgi-redis`: reads the arguments, runs one command, and ends with its exit status.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::read().and_then(cli::Cli::run) {
        Ok(status) => status.into(),
        Err(failure) => failure.tell().into(),
    }
}
