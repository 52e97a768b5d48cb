//! `conformance`: drives a client of any language through the rules of the contract, with faults, and prints which of them hold.
//!
//! The client is a program that speaks a small protocol of lines ([`peer`]; docs/contract/driver.md has it). Between it and servers
//! of the driver's own stands a [`tap`], which sees each call and loses, holds and cuts. A [`stage`] has all that one check
//! needs; the checks stand in a file for each tier, and [`check`] says what one is.

mod check;
mod inbox;
mod peer;
mod scripts;
mod sealing;
mod sender;
mod servers;
mod stage;
mod taker;
mod tap;
mod waiter;

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::test_server::ServerProgram;
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde::Serialize;
use tokio::sync::Semaphore;

use self::check::{Check, Outcome, Tier};
use self::peer::Peer;
use self::stage::Stage;
use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

/// No check takes longer, however slow the machine is.
const MAX_CHECK: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct Conformance {
    /// The program that runs your client, as a shell would start it, such as "python3 -m peer".
    #[arg(long, value_name = "COMMAND", required_unless_present = "list")]
    peer: Option<String>,

    /// Try these alone: tiers, rules or both, such as waiter or sender/R12.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// How many checks run at once. Each has a server of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    jobs: usize,

    /// Let the standard error of your program through.
    #[arg(long)]
    verbose: bool,

    /// Print what is tried, and end.
    #[arg(long)]
    list: bool,
}

fn checks() -> impl Iterator<Item = Check> {
    [sender::CHECKS, taker::CHECKS, waiter::CHECKS, servers::CHECKS, inbox::CHECKS, sealing::CHECKS]
        .into_iter()
        .flatten()
        .copied()
}

/// A line of the report.
#[derive(Serialize)]
struct Line {
    tier: Tier,
    rule: &'static str,
    says: &'static str,
    /// `holds`, `broken`, or `left out` where the client does not have the tier.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Conformance {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let chosen: Vec<Check> = checks().filter(|check| self.is_chosen(check)).collect();
        if chosen.is_empty() {
            return Err(Failure::wrong_use(format!(
                "nothing is named {}; --list has the names",
                self.only.join(", ")
            )));
        }
        let Some(command) = self.peer.clone().filter(|_| !self.list) else {
            return list(&chosen, options.json);
        };
        ServerProgram::find()?;
        let first =
            Peer::start(&command, self.verbose).await.map_err(|error| Failure::new(Status::Failed, error))?;
        let tiers = first.tiers().to_vec();
        drop(first);
        if let Some(unknown) = tiers.iter().find(|tier| Tier::ALL.iter().all(|known| known.name() != **tier))
        {
            let known: Vec<&str> = Tier::ALL.iter().map(|tier| tier.name()).collect();
            return Err(Failure::new(
                Status::Failed,
                format!("the peer names the tier {unknown:?}; the tiers are {}", known.join(", ")),
            ));
        }

        let (command, room) = (Arc::<str>::from(command), Arc::new(Semaphore::new(self.jobs.max(1))));
        let mut running: FuturesOrdered<_> = chosen
            .into_iter()
            .map(|check| {
                let has = tiers.iter().any(|tier| tier == check.tier.name());
                let (command, room, verbose) = (Arc::clone(&command), Arc::clone(&room), self.verbose);
                tokio::spawn(async move {
                    let outcome = if has {
                        let _turn = room.acquire_owned().await;
                        Some(try_one(check, &command, verbose).await)
                    } else {
                        None
                    };
                    (check, outcome)
                })
            })
            .collect();
        let (mut held, mut broken, mut left_out) = (0, 0, 0);
        while let Some(ended) = running.next().await {
            let (check, outcome) = ended.map_err(|error| {
                Failure::new(Status::Failed, format!("a check of the driver ended early: {error}"))
            })?;
            let (outcome, why) = match outcome {
                None => ("left out", None),
                Some(Ok(())) => ("holds", None),
                Some(Err(why)) => ("broken", Some(why)),
            };
            match outcome {
                "holds" => held += 1,
                "broken" => broken += 1,
                _ => left_out += 1,
            }
            tell(&Line { tier: check.tier, rule: check.rule, says: check.says, outcome, why }, options.json)?;
        }
        if !options.json {
            output::line(&format!("{held} hold, {broken} broken, {left_out} left out"))?;
        }
        match (held, broken) {
            (0, 0) => Err(Failure::new(
                Status::Failed,
                "the peer has none of the chosen tiers, so nothing was tried",
            )),
            (_, 0) => Ok(Status::Done),
            _ => Ok(Status::RulesBroken),
        }
    }

    fn is_chosen(&self, check: &Check) -> bool {
        let (tier, rule) = (check.tier.name(), check.rule);
        let fits = |name: &String| *name == tier || *name == rule || *name == format!("{tier}/{rule}");
        self.only.is_empty() || self.only.iter().any(fits)
    }
}

/// Makes a stage and tries one rule on it.
async fn try_one(check: Check, command: &str, verbose: bool) -> Outcome {
    let work = async {
        let stage = Stage::new(command, verbose, check.servers).await?;
        (check.run)(&stage).await
    };
    match tokio::time::timeout(MAX_CHECK, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("nothing came of it within {} s", MAX_CHECK.as_secs())),
    }
}

fn list(chosen: &[Check], as_json: bool) -> Result<Status, Failure> {
    for Check { tier, rule, says, .. } in chosen {
        if as_json {
            output::json(&serde_json::json!({ "tier": tier, "rule": rule, "says": says }))?;
        } else {
            output::line(&format!("{:9}{rule:11}{says}", tier.name()))?;
        }
    }
    Ok(Status::Done)
}

fn tell(line: &Line, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(line);
    }
    output::line(&format!("{:9}{:9}{:11}{}", line.outcome, line.tier.name(), line.rule, line.says))?;
    line.why.as_ref().map_or(Ok(()), |why| output::line(&format!("         {why}")))
}
