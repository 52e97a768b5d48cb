//! What operators ask of a layer: how its servers are, what waits on them, what did not open, and moving it elsewhere.

use std::sync::Arc;

use super::RedisChannelLayer;
use super::drain::{self, DrainReport, ShardSurvey};
use super::health::ShardHealth;
use super::runtime::check_runtime;
use super::shard::Shard;
use crate::error::Result;
use crate::seal::SealStatistics;

impl RedisChannelLayer {
    /// Asks all servers how they are: whether each answers, how fast, and what it is. One round trip to each, at once.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    pub async fn health(&self) -> Vec<ShardHealth> {
        match check_runtime() {
            Ok(()) => self.inner.shards.health().await,
            Err(error) => {
                let down = |shard: &Arc<Shard>| ShardHealth::down(shard.host(), error.duplicate());
                self.inner.shards.all().iter().map(down).collect()
            }
        }
    }

    /// How many messages were dropped because they did not open, by the reason: of all receives and inboxes of this
    /// layer, since it was connected. Costs nothing.
    ///
    /// While it rises, somebody seals with a key that this layer does not have, sends in clear text, or tampers with the
    /// server's data; the `tracing` warning that names a channel comes at most every 10 s.
    ///
    /// ```no_run
    /// # async fn example(layer: asgi_redis::RedisChannelLayer) {
    /// let dropped = layer.seal_statistics();
    /// println!("{} dropped, {} of them sealed by unknown keys", dropped.total(), dropped.no_key_opens);
    /// # }
    /// ```
    pub fn seal_statistics(&self) -> SealStatistics {
        self.inner.shards.envelopes().statistics()
    }

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
        if let Err(error) = check_runtime() {
            return self.inner.shards.all().iter().map(|_| Err(error.duplicate())).collect();
        }
        drain::survey_all(&self.inner.shards).await
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
    ///   or a batch that an earlier call began goes to a server that the new list does not have: the other queues
    ///   were moved; see [`abandon_drain`](Self::abandon_drain).
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout), or another outage: a server of
    ///   the new list is down, and nothing was moved; or a queue could not be moved, and the others were.
    /// - [`ServerFull`](crate::ErrorKind::ServerFull): call it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping it is one of the ways to end early.
    pub async fn drain_into(&self, target: &Self) -> Result<DrainReport> {
        check_runtime()?;
        drain::check(&self.inner.config, &target.inner.config)?;
        if self.inner.config.prefix() == target.inner.config.prefix() {
            drain::check_servers(&self.inner.shards, &target.inner.shards).await?;
        }
        drain::drain(&self.inner.shards, &target.inner.shards).await
    }

    /// Gives up a drain that ended early and cannot be finished, because a server of its new list is gone: puts the messages that
    /// it has aside on this layer's servers back in front of their queues, and returns how many these were.
    ///
    /// A server that is gone may have got them all the same; should it come back, they are there twice. A drain that can still
    /// be finished is better finished.
    ///
    /// # Errors
    ///
    /// [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): call it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the rest aside, for the next call.
    ///
    /// ```no_run
    /// # async fn example(old: asgi_redis::RedisChannelLayer) -> asgi_redis::Result<()> {
    /// println!("{} messages are back in their queues", old.abandon_drain().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn abandon_drain(&self) -> Result<usize> {
        check_runtime()?;
        drain::abandon(&self.inner.shards).await
    }
}
