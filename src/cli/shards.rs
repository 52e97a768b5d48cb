//! `shards`: how each server is, and what waits on it.

use std::collections::{BTreeMap, BTreeSet};

use asgi_redis::{Error, ShardHealth, ShardSurvey};
use clap::Args;
use serde::Serialize;

use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output::{self, counted};

#[derive(Args, Debug)]
pub(crate) struct Shards {
    /// List each queue too.
    #[arg(long)]
    queues: bool,
}

#[derive(Serialize)]
struct Shard<'a> {
    host: &'a str,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u128>,
    #[serde(flatten)]
    contents: Option<Contents<'a>>,
}

#[derive(Serialize)]
struct Contents<'a> {
    queues: usize,
    messages: usize,
    groups: usize,
    /// Receives that wait; one that waits for several queues counts for each.
    waiting: usize,
    #[serde(rename = "messages_by_queue", skip_serializing_if = "Option::is_none")]
    by_queue: Option<&'a BTreeMap<String, usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_by_queue: Option<&'a BTreeMap<String, usize>>,
    /// By names as they stand on the server.
    #[serde(rename = "messages_by_unrevealed_queue", skip_serializing_if = "BTreeMap::is_empty")]
    unrevealed: &'a BTreeMap<String, usize>,
}

impl Shards {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let mut status = Status::Done;
        for (shard, survey) in &options.look_at_servers().await? {
            if let Some(error) = shard.error().or(survey.as_ref().err())
                && status == Status::Done
            {
                status = Failure::of(error).status();
            }
            self.show(shard, survey.as_ref(), options.json)?;
        }
        Ok(status)
    }

    fn show(
        &self,
        shard: &ShardHealth,
        survey: Result<&ShardSurvey, &Error>,
        as_json: bool,
    ) -> Result<(), Failure> {
        let error = shard.error().or(survey.err());
        let contents = survey.ok().map(|survey| Contents {
            queues: survey.queues().len() + survey.unrevealed().len(),
            messages: survey.messages(),
            groups: survey.groups(),
            waiting: survey.waiting().values().sum(),
            waiting_by_queue: self.queues.then(|| survey.waiting()),
            by_queue: self.queues.then(|| survey.queues()),
            unrevealed: survey.unrevealed(),
        });
        let shown = Shard {
            host: shard.host(),
            up: error.is_none(),
            error: error.map(ToString::to_string),
            version: shard.version(),
            latency_us: shard.latency().map(|latency| latency.as_micros()),
            contents,
        };
        if as_json {
            return output::json(&shown);
        }
        // One that refuses is there.
        let is_down = error.is_some_and(|error| Failure::of(error).status() == Status::NoServer);
        let state = if is_down { "down" } else { "refuses" };
        if let Some(error) = shown.error {
            return output::line(&format!("{}  {state}: {error}", shown.host));
        }
        let (Some(version), Some(latency), Some(contents)) =
            (shown.version, shown.latency_us, shown.contents)
        else {
            return Err(Failure::new(
                Status::Failed,
                format!("bug in asgi-redis: {} is up, but has no version; please report it", shown.host),
            ));
        };
        let Contents { queues, messages, groups, waiting, by_queue, waiting_by_queue, unrevealed } = contents;
        output::line(&format!(
            "{}  {version}, {latency} us: {} in {}, {}, {}",
            shown.host,
            counted(messages, "message"),
            counted(queues, "queue"),
            counted(groups, "group"),
            waiting_receives(waiting),
        ))?;
        let none = BTreeMap::new();
        let (messages, waiting) = (by_queue.unwrap_or(&none), waiting_by_queue.unwrap_or(&none));
        for queue in messages.keys().chain(waiting.keys()).collect::<BTreeSet<_>>() {
            let count = |of: &BTreeMap<String, usize>| of.get(queue).copied().unwrap_or_default();
            match count(waiting) {
                0 => output::line(&format!("  {queue}  {}", count(messages)))?,
                some => output::line(&format!("  {queue}  {}, {}", count(messages), waiting_receives(some)))?,
            }
        }
        for (queue, entries) in unrevealed {
            output::line(&format!("  {queue}  {entries}, under a name that the key does not reveal"))?;
        }
        Ok(())
    }
}

fn waiting_receives(count: usize) -> String {
    format!("{} {}", counted(count, "receive"), if count == 1 { "waits" } else { "wait" })
}
