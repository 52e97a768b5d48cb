//! Looking through servers, and moving the waiting messages of one that is to be taken out to where a new host list puts
//! them.
//!
//! A batch is taken out of its queue and kept aside on the old server, put on the new one, and then forgotten on the old.
//! It has an id, under which it is put only once, and remembers where it goes; so whoever begins again, at whatever
//! point an earlier drain ended, finishes it and moves nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::{DrainDone, DrainPut, DrainTake, QueueList, Taken};
use super::shard::Shard;
use super::{Inner, RedisChannelLayer};
use crate::error::{Error, Result};
use crate::name::{ChannelKind, ChannelName, random_text};

/// What waits on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSurvey {
    host: String,
    queues: BTreeMap<String, usize>,
    groups: usize,
}

impl ShardSurvey {
    /// The server, as a URL without credentials.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The queues that hold something, with how many entries each: of an inbox also those that tell of its groups, and
    /// of all of them those that have expired and were not removed yet.
    pub fn queues(&self) -> &BTreeMap<String, usize> {
        &self.queues
    }

    /// How many entries wait in all queues.
    pub fn messages(&self) -> usize {
        self.queues.values().sum()
    }

    /// How many groups have members there.
    pub fn groups(&self) -> usize {
        self.groups
    }
}

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Messages that were moved.
    pub moved: usize,
    /// Messages that had expired when they arrived.
    pub expired: usize,
    /// Messages of batches that an earlier drain had put already.
    pub put_before: usize,
    /// Inboxes with what waits in each: it stays, for the processes that own them read it there.
    pub inboxes: BTreeMap<String, usize>,
}

impl RedisChannelLayer {
    /// Looks through all servers, at once: which queues hold how much, and how many groups there are. Walks all keys of
    /// each server in bounded steps: one round trip for each 1,000.
    ///
    /// # Errors
    ///
    /// For each server its own: [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout),
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    pub async fn survey(&self) -> Vec<Result<ShardSurvey>> {
        futures_util::future::join_all(self.inner.shards.all().iter().map(|shard| survey(shard))).await
    }

    /// Moves all waiting messages of this layer's servers to where another layer's host list puts them: those of a `?`
    /// channel to its server, those of a normal channel to any. There they are in front of what was sent there, and do
    /// not count in the capacity. Messages in inboxes stay, and so do memberships of groups, and what others wrote under a name
    /// that no channel has.
    ///
    /// It goes on until a look through the servers finds nothing to move, while senders and receivers work. Those that
    /// still have the old list send to the old servers again, so give all of them the new list first.
    ///
    /// Whenever it ends early, calling it again finishes what it had begun; no message is lost, and none is moved twice.
    /// Three round trips for each 200 messages or mebibyte of a queue.
    ///
    /// # Errors
    ///
    /// - [`Config`](crate::ErrorKind::Config): the two have a server in common, or a batch that an earlier call began
    ///   goes to a server that the new list does not have.
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout),
    ///   [`ServerFull`](crate::ErrorKind::ServerFull): call it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping it is one of the ways to end early.
    pub async fn drain_into(&self, target: &Self) -> Result<DrainReport> {
        let hosts =
            |inner: &Inner| inner.config.hosts().iter().map(|host| host.identity()).collect::<Vec<_>>();
        let common = hosts(&self.inner).into_iter().any(|host| hosts(&target.inner).contains(&host));
        if common && self.inner.config.prefix() == target.inner.config.prefix() {
            return Err(Error::config(
                "a server is to be drained into a host list that has it; leave it out of the new list",
            ));
        }
        let mut report = DrainReport::default();
        loop {
            let mut moved = false;
            report.inboxes.clear();
            for shard in self.inner.shards.all() {
                for (queue, entries) in survey(shard).await?.queues {
                    let Some(channel) = ChannelName::new(&queue).ok().filter(|it| it.queue() == queue) else {
                        tracing::warn!(host = shard.host(), queue, "left what is the queue of no channel");
                        continue;
                    };
                    if channel.kind() == ChannelKind::Inbox {
                        report.inboxes.insert(queue, entries);
                    } else {
                        moved |= drain_queue(shard, &channel, target, &mut report).await?;
                    }
                }
            }
            if !moved {
                return Ok(report);
            }
        }
    }
}

async fn survey(shard: &Shard) -> Result<ShardSurvey> {
    let mut survey = ShardSurvey { host: shard.host().to_owned(), queues: BTreeMap::new(), groups: 0 };
    let mut cursor = Some("0".to_owned());
    while let Some(here) = cursor {
        let (next, groups, queues) = shard.ask(|_| QueueList { cursor: &here }).await?;
        survey.groups += groups;
        for (queue, entries) in queues {
            *survey.queues.entry(queue).or_default() += entries;
        }
        cursor = next;
    }
    Ok(survey)
}

/// Moves all messages of a queue; whether there were any.
async fn drain_queue(
    from: &Shard,
    channel: &ChannelName,
    target: &RedisChannelLayer,
    report: &mut DrainReport,
) -> Result<bool> {
    let queue = channel.queue();
    let mut moved = false;
    loop {
        let batch = random_text(22)?;
        let to = name_of(target.inner.shards.next_for(channel)?);
        let take = |_| DrainTake { queue, batch: &batch, target: &to };
        let Some(taken) = from.ask(take).await? else { return Ok(moved) };
        moved = true;
        put(from, &taken, channel, target, report).await?;
        from.ask(|_| DrainDone { queue, batch: &taken.batch }).await?;
    }
}

async fn put(
    from: &Shard,
    taken: &Taken,
    channel: &ChannelName,
    target: &RedisChannelLayer,
    report: &mut DrainReport,
) -> Result<()> {
    let queue = channel.queue();
    let mut shards = target.inner.shards.all().iter();
    let Some(to) = shards.find(|shard| name_of(shard) == taken.target) else {
        return Err(Error::config(format!(
            "channel {queue:?}: an earlier drain began to move messages to {}, which the new host list does not have; \
             finish it with that server in the list",
            taken.target
        )));
    };
    let (ours, theirs) = (from.envelope(), to.envelope());
    let sealed = taken.sealed_again(|entry| ours.for_another(theirs, channel, entry));
    match to.ask(|_| DrainPut { queue, taken: &sealed }).await? {
        Some(put) => {
            report.moved += put;
            report.expired += taken.entries.len() - put;
        }
        None => report.put_before += taken.entries.len(),
    }
    Ok(())
}

/// A server's name as scripts keep it: without spaces.
fn name_of(shard: &Arc<Shard>) -> String {
    shard.host().replace(' ', "%20")
}
