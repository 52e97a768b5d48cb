//! Looking through servers, and moving the waiting messages of one that is to be taken out to where a new host list puts
//! them.
//!
//! A batch is taken out of its queue and kept aside on the old server, put on the new one, and then forgotten on the old.
//! It has an id, under which it is put only once, and remembers where it goes; so whoever begins again, at whatever
//! point an earlier drain ended, finishes it and moves nothing twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use futures_util::future::join_all;

use super::calls::{DrainBatch, DrainDone, DrainPut, DrainTake, Holding, Listing, QueueList};
use super::shard::Shard;
use super::shards::Shards;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{ChannelKind, ChannelName, random_text};

/// What waits on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSurvey {
    host: String,
    queues: BTreeMap<String, usize>,
    unrevealed: BTreeMap<String, usize>,
    waiting: BTreeMap<String, usize>,
    groups: usize,
    /// With expired ones and the log of inboxes.
    entries: BTreeMap<String, usize>,
    unrevealed_entries: BTreeMap<String, usize>,
}

impl ShardSurvey {
    /// The server, as a URL without credentials.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The queues in which messages wait, with how many each; what has expired does not count.
    pub fn queues(&self) -> &BTreeMap<String, usize> {
        &self.queues
    }

    /// The queues for which receives wait, with how many each, by their names as this layer reads them. A receive that waits for
    /// several counts for each.
    pub fn waiting(&self) -> &BTreeMap<String, usize> {
        &self.waiting
    }

    /// The queues whose names this layer cannot read, as they stand there: it hides names, and these were hidden under
    /// another key or not at all. Programs with this layer's settings never see what waits in them.
    pub fn unrevealed(&self) -> &BTreeMap<String, usize> {
        &self.unrevealed
    }

    /// How many messages wait in all queues, in those with unrevealed names too.
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
pub struct DrainReport {
    moved: usize,
    unopened: usize,
    expired: usize,
    put_before: usize,
    inboxes: BTreeMap<String, usize>,
    left: BTreeMap<String, usize>,
}

impl DrainReport {
    /// How many messages were moved.
    pub fn moved(&self) -> usize {
        self.moved
    }

    /// How many of the moved messages did not open with the keys of this layer, or were sealed although it has none. They
    /// were moved as they are, and a receiver that cannot open them either drops them.
    pub fn unopened(&self) -> usize {
        self.unopened
    }

    /// How many messages had expired when they arrived, or were sealed longer ago than they are good for.
    pub fn expired(&self) -> usize {
        self.expired
    }

    /// How many messages belonged to batches that an earlier drain had put already.
    pub fn put_before(&self) -> usize {
        self.put_before
    }

    /// The inboxes, each with how much waits in it. It stays there, because the processes that own the inboxes read it
    /// there.
    pub fn inboxes(&self) -> &BTreeMap<String, usize> {
        &self.inboxes
    }

    /// The queues that stay because they belong to no channel of this layer, each with how much waits in it, by their names
    /// as they stand on the server. If the layer hides names, these queues were hidden under another key or not at all;
    /// else another program wrote them. Find out whose they are before the server is taken out: what waits in them is lost
    /// with it.
    pub fn left(&self) -> &BTreeMap<String, usize> {
        &self.left
    }
}

/// Looks through all servers, at once.
pub(super) async fn survey_all(shards: &Shards) -> Vec<Result<ShardSurvey>> {
    join_all(shards.all().iter().map(|shard| survey(shard))).await
}

/// Refuses a drain of a server onto itself, under another name than it has in the other list.
pub(super) async fn check_servers(from: &Shards, to: &Shards) -> Result<()> {
    for from in from.all() {
        for to in to.all() {
            if from.is_on_server_of(to).await? {
                return Err(Error::config(format!(
                    "server {} is to be drained into a host list that has it as {}; leave it out of the new list",
                    from.host(),
                    to.host()
                )));
            }
        }
    }
    Ok(())
}

/// Refuses a drain between the servers of two configurations that would lose or repeat something.
pub(super) fn check(from: &Config, to: &Config) -> Result<()> {
    let hosts = |config: &Config| config.hosts().iter().map(|host| host.identity()).collect::<Vec<_>>();
    let common = hosts(from).into_iter().any(|host| hosts(to).contains(&host));
    if common && from.prefix() == to.prefix() {
        return Err(Error::config(
            "a server is to be drained into a host list that has it; leave it out of the new list",
        ));
    }
    if from.has_encryption_keys() != to.has_encryption_keys() {
        return Err(Error::config(
            "a server is to be drained with encryption keys on one side only, and nobody would open what it moves; \
             give the keys of its messages to both layers",
        ));
    }
    Ok(())
}

/// Moves what waits on some servers to others, until a look through them finds nothing to move. A queue that cannot be moved
/// keeps no other from it; the first such error is returned at the end.
pub(super) async fn drain(from: &Shards, to: &Shards) -> Result<DrainReport> {
    for shard in to.all() {
        shard.check_reachable().map_err(|error| {
            Error::new(
                error.kind(),
                format!("nothing was moved, because a server of the new list is down: {error}"),
            )
        })?;
    }
    let mut report = DrainReport::default();
    let mut stuck: BTreeMap<String, Error> = BTreeMap::new();
    loop {
        let mut moved = false;
        report.inboxes.clear();
        report.left.clear();
        for shard in from.all() {
            let survey = survey(shard).await?;
            let mut leave = |queue: String, entries: usize| {
                tracing::warn!(host = shard.host(), queue, entries, "left what is the queue of no channel");
                *report.left.entry(queue).or_default() += entries;
            };
            let mut channels = Vec::new();
            for (queue, entries) in survey.entries {
                match ChannelName::new(&queue) {
                    Ok(channel) if channel.queue() == queue => channels.push((channel, queue, entries)),
                    _ => leave(queue, entries),
                }
            }
            for (queue, entries) in survey.unrevealed_entries {
                leave(queue, entries);
            }
            for (channel, queue, entries) in channels {
                if channel.kind() == ChannelKind::Inbox {
                    report.inboxes.insert(queue, entries);
                } else if let Entry::Vacant(stuck) = stuck.entry(queue.clone()) {
                    match drain_queue(shard, &channel, to, &mut report).await {
                        Ok(was_moved) => moved |= was_moved,
                        Err(error) => {
                            tracing::warn!(host = shard.host(), queue, %error, "cannot move a queue; going on with the others");
                            stuck.insert(error);
                        }
                    }
                }
            }
        }
        if !moved {
            let others = stuck.len().saturating_sub(1);
            return match stuck.into_values().next() {
                Some(error) if others == 1 => Err(error.with_remedy("another queue stays too")),
                Some(error) if others > 1 => {
                    Err(error.with_remedy(&format!("{others} other queues stay too")))
                }
                Some(error) => Err(error),
                None => Ok(report),
            };
        }
    }
}

/// Puts back what earlier drains have aside on these servers, in front of the queues from which it was taken. Returns how many
/// messages that were.
pub(super) async fn abandon(from: &Shards) -> Result<usize> {
    let mut returned = 0;
    for shard in from.all() {
        for (queue, _) in survey(shard).await?.entries {
            let is_inbox = |channel: ChannelName| channel.kind() == ChannelKind::Inbox;
            if ChannelName::new(&queue).map_or(true, is_inbox) {
                continue;
            }
            let (queue, new) = (&*queue, random_text(22)?);
            // Without an earlier batch this takes a new one, which goes back as well, and counts as nothing.
            let take = |_| DrainTake { queue, batch: &new, target: "nowhere" };
            let Some(taken) = shard.ask(take).await? else { continue };
            let put = shard.ask(|_| DrainPut { queue, batch: &taken }).await?;
            shard.ask(|_| DrainDone { queue, batch: &taken.batch }).await?;
            if taken.batch != new {
                returned += put.unwrap_or_default();
            }
        }
    }
    Ok(returned)
}

async fn survey(shard: &Shard) -> Result<ShardSurvey> {
    let mut survey = ShardSurvey { host: shard.host().to_owned(), ..ShardSurvey::default() };
    let mut cursor = Some("0".to_owned());
    while let Some(here) = cursor {
        let (next, groups, queues) = shard.ask(|_| QueueList { cursor: &here }).await?;
        survey.groups += groups;
        for (listing, Holding { entries, live, waiting }) in queues {
            let (queue, lives, all) = match listing {
                Listing::Named(queue) => (queue, &mut survey.queues, &mut survey.entries),
                Listing::Unrevealed(queue) => (queue, &mut survey.unrevealed, &mut survey.unrevealed_entries),
            };
            for (map, count) in [(lives, live), (all, entries), (&mut survey.waiting, waiting)] {
                if count > 0 {
                    *map.entry(queue.clone()).or_default() += count;
                }
            }
        }
        cursor = next;
    }
    Ok(survey)
}

/// Moves all messages of a queue; whether there were any.
async fn drain_queue(
    from: &Shard,
    channel: &ChannelName,
    to: &Shards,
    report: &mut DrainReport,
) -> Result<bool> {
    let queue = channel.queue();
    let mut moved = false;
    loop {
        let batch = random_text(22)?;
        let next = to.next_for(channel)?;
        next.check_reachable()?;
        let target = name_of(next);
        let take = |_| DrainTake { queue, batch: &batch, target: &target };
        let Some(taken) = from.ask(take).await? else { return Ok(moved) };
        moved = true;
        let aside =
            "what was taken is kept aside: drain again, or put it back with `abandon_drain` (--abandon)";
        put(from, &taken, channel, to, report).await.map_err(|error| match error.kind() {
            ErrorKind::Config => error,
            _ => error.with_remedy(aside),
        })?;
        from.ask(|_| DrainDone { queue, batch: &taken.batch }).await?;
    }
}

async fn put(
    from: &Shard,
    taken: &DrainBatch,
    channel: &ChannelName,
    to: &Shards,
    report: &mut DrainReport,
) -> Result<()> {
    let queue = channel.queue();
    let mut shards = to.all().iter();
    let Some(to) = shards.find(|shard| name_of(shard) == taken.target) else {
        return Err(Error::config(format!(
            "channel {queue:?}: an earlier drain began to move messages to {}, which the new host list does not have; \
             finish it with that server in the list, or put them back with `abandon_drain` (--abandon) if it is gone",
            taken.target
        )));
    };
    let (ours, theirs) = (from.envelope(), to.envelope());
    let (sealed, unopened) = taken.sealed_again(|entry| ours.for_another(theirs, channel, entry))?;
    if sealed.entries.is_empty() {
        report.expired += taken.entries.len();
        return Ok(());
    }
    match to.ask(|_| DrainPut { queue, batch: &sealed }).await? {
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
