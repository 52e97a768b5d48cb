//! The layer beside the raw commands of the same server, taken in turns in one run.
//!
//! ```text
//! cargo bench --bench side_by_side
//! cargo bench --bench side_by_side -- --quick --json
//! ```
//!
//! This process starts servers of its own ([`server`]) and, for each way to place the server and the programs on
//! cores ([`placement`]), runs itself again as the program that measures. That one runs the [`measures`], which set the
//! layer beside the commands of [`floor`], count what both cost ([`meter`]), compare them round by round ([`compare`])
//! and write a line for each figure; this process prints the lines as a table ([`report`]). Where a group is to have
//! members in several processes, the measuring program runs itself again as each of them ([`members`]).

mod bench;
mod compare;
mod floor;
mod measures;
mod members;
mod meter;
mod options;
mod placement;
mod report;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};

use bench::MAX_HOSTS;
use options::Options;
use placement::{Cores, Placement};
use report::{Line, Report};
use server::Server;

/// What goes wrong here is told, not handled.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let outcome = match members::role_from_environment() {
        Some(url) => members::serve(&url),
        None => Options::from_arguments().and_then(|options| match bench::Role::from_environment()? {
            Some(role) => role.measure(&options),
            None => supervise(&options),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the server, has each placement measured, and prints what comes.
fn supervise(options: &Options) -> Result<()> {
    let cores = Cores::available();
    let placements: Vec<Placement> =
        cores.placements().into_iter().filter(|placement| options.wants(*placement)).collect();
    if placements.is_empty() {
        return Err("option --placement: that placement needs `taskset` and as many cores as it names".into());
    }
    let server = Server::start(&cores, options.unix)?;
    // Further ones idle next to it, but for the measures of several.
    let further = (1..MAX_HOSTS).map(|_| Server::start(&cores, options.unix)).collect::<Result<Vec<_>>>()?;
    let urls: Vec<String> = std::iter::once(&server).chain(&further).map(Server::url).collect();
    let mut report = Report::start(options, &server, &cores)?;
    for (turn, placement) in placements.into_iter().enumerate() {
        let mut program =
            bench::Role::new(placement, turn == 0, urls.clone(), server.sockets()).command(&cores)?;
        let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = program.stdout.take().ok_or("the measuring program has no output")?;
        for line in BufReader::new(lines).lines() {
            report.add(serde_json::from_str::<Line>(&line?)?)?;
        }
        if !program.wait()?.success() {
            return Err("the measuring program failed".into());
        }
    }
    report.finish()?;
    std::io::stdout().flush()?;
    Ok(())
}
