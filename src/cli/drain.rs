//! `drain`: moves the messages of a server that is to be taken out to the others.

use std::collections::BTreeMap;

use asgi_redis::{ChannelLayer, DrainReport};
use clap::Args;
use serde::Serialize;

use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output::{self, counted};
use super::signals::Signals;

#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// The server that is to be taken out, as a URL. The new list, without it, is --redis or --config.
    #[arg(long, value_name = "URL")]
    from: String,

    /// Put back what an earlier drain has aside, because a server to which it was to go is gone. Moves nothing.
    #[arg(long)]
    abandon: bool,
}

#[derive(Serialize)]
struct Abandoned {
    put_back: usize,
}

#[derive(Serialize)]
struct Drained<'a> {
    moved: usize,
    unopened: usize,
    expired: usize,
    put_before: usize,
    left_in_inboxes: &'a BTreeMap<String, usize>,
    left: &'a BTreeMap<String, usize>,
}

impl Drain {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let mut signals = Signals::listen()?;
        if self.abandon {
            return self.abandon(options, &mut signals).await;
        }
        let new = options.connect_servers_after(&self.from).await?;
        let old = options.connect_to(&self.from).await?;
        let drained = tokio::select! {
            drained = old.drain_into(&new) => drained,
            interrupted = signals.next() => return Ok(interrupted),
        };
        // What was begun is finished or is taken up by the next drain; nothing is in flight that closing could lose.
        let _ = tokio::join!(old.close(), new.close());
        let report = drained?;
        if options.json {
            output::json(&Drained {
                moved: report.moved(),
                unopened: report.unopened(),
                expired: report.expired(),
                put_before: report.put_before(),
                left_in_inboxes: report.inboxes(),
                left: report.left(),
            })?;
            return ended(&report);
        }
        output::line(&format!(
            "moved {}, {} more had expired",
            counted(report.moved(), "message"),
            report.expired()
        ))?;
        if report.unopened() > 0 {
            output::line(&format!(
                "{} of them {} not open with the keys given here, and moved as {}",
                report.unopened(),
                if report.unopened() == 1 { "does" } else { "do" },
                if report.unopened() == 1 { "it is" } else { "they are" }
            ))?;
        }
        if report.put_before() > 0 {
            output::line(&format!("{} had been moved by an earlier drain", report.put_before()))?;
        }
        for (inbox, entries) in report.inboxes() {
            let (stay, them) = if *entries == 1 { ("stays", "it") } else { ("stay", "them") };
            output::line(&format!("{entries} {stay} in inbox {inbox}: its process reads {them} there"))?;
        }
        for (queue, entries) in report.left() {
            let stay = if *entries == 1 { "stays" } else { "stay" };
            output::line(&format!(
                "{entries} {stay} in queue {queue}: it belongs to no channel of this layer"
            ))?;
        }
        ended(&report)
    }

    async fn abandon(&self, options: &LayerOptions, signals: &mut Signals) -> Result<Status, Failure> {
        let old = options.connect_to(&self.from).await?;
        let put_back = tokio::select! {
            put_back = old.abandon_drain() => put_back,
            interrupted = signals.next() => return Ok(interrupted),
        };
        let _ = old.close().await;
        let put_back = put_back?;
        if options.json {
            output::json(&Abandoned { put_back })?;
        } else {
            output::line(&format!("put back {}", counted(put_back, "message")))?;
        }
        Ok(Status::Done)
    }
}

/// Messages that would be lost with the server make the command fail.
fn ended(report: &DrainReport) -> Result<Status, Failure> {
    if report.left().is_empty() {
        return Ok(Status::Done);
    }
    let (messages, queues) = (report.left().values().sum(), report.left().len());
    Err(Failure::new(
        Status::Failed,
        format!(
            "{} left in {} of no channel of this layer: is the key of `hide_names` the one under which they were sent?",
            counted(messages, "message"),
            counted(queues, "queue")
        ),
    ))
}
