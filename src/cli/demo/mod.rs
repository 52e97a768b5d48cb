//! `demo`: the main job of a channel layer on real messages, and whether the sums meet.
//!
//! From low to high: [`random`] numbers; [`ledger`] records what became of each message, [`copies`] what became of each copy
//! of a message to a group; [`stage`] has the server and the layers; [`tasks`] end; [`rooms`] are groups of mailboxes;
//! [`play`] has the producers and consumers, [`report`] the progress and the table.

mod copies;
mod ledger;
mod play;
mod random;
mod report;
mod rooms;
mod stage;
mod tasks;

use self::copies::Copies;
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
            "demo chooses its own prefix, expiry, capacities and keys; leave out {option}"
        )));
    }
    let mut signals = Signals::listen()?;
    let stage = tokio::select! {
        stage = Stage::set(options) => stage?,
        interrupted = signals.next() => return Ok(interrupted),
    };
    tell(&format!("on {}", stage.server()));
    tell("producers and consumers on many channels, mailboxes in rooms");

    let (ledger, copies) = (Ledger::new(), Copies::new());
    let played = tokio::select! {
        played = play::perform(&stage, &ledger, &copies) => played.map(|()| None),
        interrupted = signals.next() => Ok(Some(interrupted)),
        never = show_progress(&ledger, &copies) => match never {},
    };
    let (layer, server) = (stage.kind(), stage.server().to_owned());
    tokio::select! {
        () = stage.strike() => {}
        interrupted = signals.next() => return Ok(interrupted),
    }
    let interrupted = played?;
    let (sums, copy_sums) = (ledger.sums(), copies.sums());
    let problems = match interrupted {
        // What was under way counts as lost in these sums.
        Some(_) => Vec::new(),
        None => [sums.problems(), copy_sums.problems()].concat(),
    };
    for problem in &problems {
        tell(&format!("demo: {problem}"));
    }
    let verdict = match (interrupted, problems.as_slice()) {
        (Some(_), _) => "interrupted: what was under way counts as lost here".to_owned(),
        (None, []) => "nothing lost, nothing repeated".to_owned(),
        (None, problems) => problems.join(", "),
    };
    let report = Report::new(layer, server, &sums, copy_sums, verdict);
    if options.json {
        output::json(&report)?;
    } else {
        output::text(&report.table(&sums))?;
    }
    Ok(match interrupted {
        Some(interrupted) => interrupted,
        None if problems.is_empty() => Status::Done,
        None => Status::SumsDiffer,
    })
}
