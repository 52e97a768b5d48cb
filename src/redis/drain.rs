//! Looking through servers, and moving the waiting messages of one that is to be taken out to where a new host list puts
//! them.
//!
//! A batch is taken out of its queue and kept aside on the old server, put on the new one, and then forgotten on the old.
//! It has an id, under which it is put only once, and remembers where it goes; so whoever begins again, at whatever
//! point an earlier drain ended, finishes it and moves nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::{DrainDone, DrainPut, DrainTake, Listing, QueueList, Taken};
use super::shard::Shard;
use super::{Inner, RedisChannelLayer};
use crate::error::{Error, Result};
use crate::name::{ChannelKind, ChannelName, random_text};

/// What waits on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSurvey {
    host: String,
    queues: BTreeMap<String, usize>,
    unrevealed: BTreeMap<String, usize>,
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

    /// The queues whose names this layer cannot read, as they stand there: it hides names, and these were hidden under
    /// another key or not at all. Programs with this layer's settings never see what waits in them.
    pub fn unrevealed(&self) -> &BTreeMap<String, usize> {
        &self.unrevealed
    }

    /// How many entries wait in all queues, in those with unrevealed names too.
    pub fn messages(&self) -> usize {
        self.queues.values().chain(self.unrevealed.values()).sum()
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
    /// Of those, messages that did not open with the keys of this layer, or were sealed although it has none: they were
    /// moved as they are, and a receiver that can open them no better drops them.
    pub unopened: usize,
    /// Messages that had expired when they arrived, or were sealed longer ago than they are good for.
    pub expired: usize,
    /// Messages of batches that an earlier drain had put already.
    pub put_before: usize,
    /// Inboxes with what waits in each: it stays, for the processes that own them read it there.
    pub inboxes: BTreeMap<String, usize>,
    /// Queues that stay with what waits in each, for they are of no channel of this layer, by their names as they stand
    /// on the server: if the layer hides names, those that were hidden under another key or not at all; else what others
    /// wrote there. Find out whose they are before the server is taken out: what waits in them is lost with it.
    pub left: BTreeMap<String, usize>,
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
    /// not count in the capacity. Messages in inboxes stay, and so do memberships of groups, and what waits under names that
    /// are of no channel of this layer: look at [`left`](DrainReport::left) before the server is taken out.
    ///
    /// Where messages are sealed, both layers want the keys: each is opened by the clock of its old server and sealed again
    /// for the new one. Without them, and with other keys, it moves as it is, counts as
    /// [`unopened`](DrainReport::unopened), and is good on the new server only as far as the clocks agree.
    ///
    /// It goes on until a look through the servers finds nothing to move, while senders and receivers work. Those that
    /// still have the old list send to the old servers again, so give all of them the new list first.
    ///
    /// Whenever it ends early, calling it again finishes what it had begun; no message is lost, and none is moved twice.
    /// Three round trips for each 200 messages or mebibyte of a queue.
    ///
    /// # Errors
    ///
    /// - [`Config`](crate::ErrorKind::Config): the two have a server in common, or only one of them has encryption keys,
    ///   or a batch that an earlier call began goes to a server that the new list does not have.
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
        if self.inner.config.has_encryption_keys() != target.inner.config.has_encryption_keys() {
            return Err(Error::config(
                "a server is to be drained with encryption keys on one side only, and nobody would open what it moves; \
                 give the keys of its messages to both layers",
            ));
        }
        let mut report = DrainReport::default();
        loop {
            let mut moved = false;
            report.inboxes.clear();
            report.left.clear();
            for shard in self.inner.shards.all() {
                let survey = survey(shard).await?;
                let mut leave = |queue: String, entries: usize| {
                    tracing::warn!(
                        host = shard.host(),
                        queue,
                        entries,
                        "left what is the queue of no channel"
                    );
                    *report.left.entry(queue).or_default() += entries;
                };
                let mut channels = Vec::new();
                for (queue, entries) in survey.queues {
                    match ChannelName::new(&queue) {
                        Ok(channel) if channel.queue() == queue => channels.push((channel, queue, entries)),
                        _ => leave(queue, entries),
                    }
                }
                for (queue, entries) in survey.unrevealed {
                    leave(queue, entries);
                }
                for (channel, queue, entries) in channels {
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
    let (queues, unrevealed) = (BTreeMap::new(), BTreeMap::new());
    let mut survey = ShardSurvey { host: shard.host().to_owned(), queues, unrevealed, groups: 0 };
    let mut cursor = Some("0".to_owned());
    while let Some(here) = cursor {
        let (next, groups, queues) = shard.ask(|_| QueueList { cursor: &here }).await?;
        survey.groups += groups;
        for (listing, entries) in queues {
            let (queues, queue) = match listing {
                Listing::Named(queue) => (&mut survey.queues, queue),
                Listing::Unrevealed(queue) => (&mut survey.unrevealed, queue),
            };
            *queues.entry(queue).or_default() += entries;
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
    let (sealed, unopened) = taken.sealed_again(|entry| ours.for_another(theirs, channel, entry));
    if sealed.entries.is_empty() {
        report.expired += taken.entries.len();
        return Ok(());
    }
    match to.ask(|_| DrainPut { queue, taken: &sealed }).await? {
        Some(put) => {
            report.moved += put;
            // Which of them had expired is not said.
            report.unopened += unopened.min(put);
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
