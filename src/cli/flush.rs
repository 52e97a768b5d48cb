//! `flush`: removes what is under the prefix, after it has said what that is.

use std::io::{IsTerminal, stderr, stdin};

use asgi_redis::{Error, ShardSurvey};
use clap::Args;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::options::LayerOptions;
use super::outcome::{Failure, Status, tell};
use super::output::{self, counted};
use super::signals::Signals;

#[derive(Args, Debug)]
pub(crate) struct Flush {
    /// Do not ask; needed where standard input or standard error is no terminal.
    #[arg(long)]
    yes: bool,

    /// Only print what would be removed.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Flushed<'a> {
    flushed: bool,
    prefix: &'a str,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Of a server that could be looked at.
    #[serde(flatten)]
    contents: Option<Contents>,
}

#[derive(Serialize)]
struct Contents {
    messages: usize,
    queues: usize,
    groups: usize,
}

impl<'a> Server<'a> {
    fn new(host: &'a str, survey: Result<&'a ShardSurvey, &'a Error>) -> Self {
        match survey {
            Ok(survey) => Self {
                host,
                error: None,
                contents: Some(Contents {
                    messages: survey.messages(),
                    queues: survey.queues().len() + survey.unrevealed().len(),
                    groups: survey.groups(),
                }),
            },
            Err(error) => Self { host, error: Some(error.to_string()), contents: None },
        }
    }

    fn in_words(&self) -> String {
        match &self.contents {
            None => format!("{}: unknown: {}", self.host, self.error.as_deref().unwrap_or_default()),
            Some(Contents { messages, queues, groups }) => format!(
                "{}: {} in {}, {}",
                self.host,
                counted(*messages, "message"),
                counted(*queues, "queue"),
                counted(*groups, "group")
            ),
        }
    }
}

impl Flush {
    pub(crate) async fn run(&self, options: &LayerOptions) -> Result<Status, Failure> {
        let mut signals = Signals::listen()?;
        let prefix = options.prefix()?;
        let looked_at = options.look_at_servers().await?;
        let found: Vec<Server<'_>> =
            looked_at.iter().map(|(shard, survey)| Server::new(shard.host(), survey.as_ref())).collect();
        let unknown = looked_at.iter().find_map(|(_, survey)| survey.as_ref().err());
        if let Some(error) = unknown.filter(|_| !self.dry_run) {
            let failure = Failure::of(error);
            return Err(failure.because("nothing was removed, for what is there is unknown"));
        }
        if !self.dry_run && !self.yes {
            let confirmed = tokio::select! {
                confirmed = ask(&prefix, &found) => confirmed?,
                interrupted = signals.next() => return Ok(interrupted),
            };
            if !confirmed {
                return Err(Failure::wrong_use("nothing was removed"));
            }
        }
        if !self.dry_run {
            options.with_layer(async |layer| Ok(layer.flush().await?)).await?;
        }
        if options.json {
            output::json(&Flushed { flushed: !self.dry_run, prefix: &prefix, servers: found })?;
        } else if self.dry_run {
            for server in &found {
                output::line(&format!("would remove {prefix}* from {}", server.in_words()))?;
            }
        }
        Ok(unknown.map_or(Status::Done, |error| Failure::of(error).status()))
    }
}

/// Asks on a terminal whether to remove what was found. Elsewhere that is refused.
async fn ask(prefix: &str, found: &[Server<'_>]) -> Result<bool, Failure> {
    let servers: Vec<String> = found.iter().map(Server::in_words).collect();
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(Failure::wrong_use(format!(
            "flush removes everything under prefix {prefix:?}: {}; repeat it with --yes, or look with --dry-run",
            servers.join("; ")
        )));
    }
    for server in &servers {
        tell(&format!("flush removes everything under prefix {prefix:?} from {server}"));
    }
    tell("type yes to remove it");
    let answer = spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.ok().and_then(Result::ok).unwrap_or_default();
    Ok(answer.trim() == "yes")
}
