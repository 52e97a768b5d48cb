//! `demo`: the main job of a channel layer on real messages, and whether the sums meet.
//!
//! [`stage`] has the server and the layers, [`play`] the producers and consumers, [`ledger`] what became of each
//! message, [`report`] the progress and the table, [`server`] the private server for when none is named.

mod ledger;
mod play;
mod report;
mod server;
mod stage;

use self::ledger::Ledger;
use self::report::{Report, show_progress};
use self::stage::Stage;
use super::options::LayerOptions;
use super::outcome::{Failure, Status, tell};
use super::output;
use super::signals::Signals;

pub(crate) async fn run(options: &LayerOptions) -> Result<Status, Failure> {
    if let Some(option) = options.keeping() {
        return Err(Failure::wrong_use(format!(
            "demo chooses its own prefix, expiry and capacities; leave out {option}"
        )));
    }
    let mut signals = Signals::listen()?;
    let stage = tokio::select! {
        stage = Stage::set(options) => stage?,
        interrupted = signals.next() => return Ok(interrupted),
    };
    tell(&format!("demo on {}", stage.server()));

    let ledger = Ledger::new();
    let played = tokio::select! {
        played = play::perform(&stage, &ledger) => played.map(|()| None),
        interrupted = signals.next() => Ok(Some(interrupted)),
        never = show_progress(&ledger) => match never {},
    };
    let server = stage.server().to_owned();
    tokio::select! {
        () = stage.strike() => {}
        interrupted = signals.next() => return Ok(interrupted),
    }
    if let Some(interrupted) = played? {
        return Ok(interrupted);
    }

    let sums = ledger.sums();
    let problems = sums.problems();
    for problem in &problems {
        tell(&format!("demo: {problem}"));
    }
    let report = Report::new(server, &sums);
    if options.json {
        output::json(&report)?;
    } else {
        output::text(&report.table(&sums))?;
    }
    Ok(if problems.is_empty() { Status::Done } else { Status::SumsDiffer })
}
