//! What is measured, one file each.

mod blocked_receive;
mod checks;
mod group_add;
mod group_send;
mod idle;
mod in_flight;
mod inbox;
mod joins;
mod kinds;
mod last_mailbox;
mod lone_send;
mod memory;
mod memory_layer;
mod pairs;
mod requests;
mod sealing;
mod several_hosts;
mod slow_mailbox;
mod throughput;
mod unix_socket;

use std::pin::Pin;

use tokio::task::JoinSet;

use crate::Result;
use crate::bench::Bench;
use crate::report::Line;

type Measure = for<'a> fn(&'a mut Bench) -> Pin<Box<dyn Future<Output = Result<Vec<Line>>> + 'a>>;

pub(crate) const MEASURES: [(&str, Measure); 19] = [
    ("lone-send", |bench| Box::pin(lone_send::measure(bench))),
    ("kinds", |bench| Box::pin(kinds::measure(bench))),
    ("in-flight", |bench| Box::pin(in_flight::measure(bench))),
    ("blocked-receive", |bench| Box::pin(blocked_receive::measure(bench))),
    ("throughput", |bench| Box::pin(throughput::measure(bench))),
    ("sealing", |bench| Box::pin(sealing::measure(bench))),
    ("several-hosts", |bench| Box::pin(several_hosts::measure(bench))),
    ("unix-socket", |bench| Box::pin(unix_socket::measure(bench))),
    ("inbox", |bench| Box::pin(inbox::measure(bench))),
    ("slow-mailbox", |bench| Box::pin(slow_mailbox::measure(bench))),
    ("group-send", |bench| Box::pin(group_send::measure(bench))),
    ("last-mailbox", |bench| Box::pin(last_mailbox::measure(bench))),
    ("group-add", |bench| Box::pin(group_add::measure(bench))),
    ("joins", |bench| Box::pin(joins::measure(bench))),
    ("requests", |bench| Box::pin(requests::measure(bench))),
    ("checks", |bench| Box::pin(checks::measure(bench))),
    ("idle", |bench| Box::pin(idle::measure(bench))),
    ("memory", |bench| Box::pin(memory::measure(bench))),
    ("memory-layer", |bench| Box::pin(memory_layer::measure(bench))),
];

pub(crate) fn check_name(name: String) -> Result<String> {
    if MEASURES.iter().any(|(known, _)| *known == name) {
        Ok(name)
    } else {
        let known: Vec<&str> = MEASURES.iter().map(|(known, _)| *known).collect();
        Err(format!("option --only: {name:?} is none of {}", known.join(", ")).into())
    }
}

/// Runs a number of tasks at once until all have ended.
pub(crate) async fn all_of<T>(tasks: impl IntoIterator<Item = T>) -> Result<()>
where
    T: Future<Output = Result<()>> + Send + 'static,
{
    let mut running: JoinSet<Result<()>> = tasks.into_iter().collect();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}
