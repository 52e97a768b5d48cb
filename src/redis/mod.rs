//! The Redis layer: it names, routes and calls; the scripts do the rest.
//!
//! - [`keys`] has every key, [`entry`] the bytes of an entry, [`script`] the scripts, [`calls`] a typed function for
//!   each of them, [`failure`] what can go wrong with a call.
//! - [`connection`] is one open connection, [`link`] the task that keeps a shard connected.
//! - [`envelope`] seals and opens messages, if there are keys, by the [`clock`] of their server.
//! - [`send`] are the sends to a shard, [`receive`] the receives of the layer; [`groups`] the operations on groups,
//!   [`inbox`] the task that reads an inbox; [`shard`] holds a shard's parts together.

mod calls;
mod clock;
mod connection;
mod drain;
mod entry;
mod envelope;
mod failure;
mod groups;
mod inbox;
mod keys;
mod link;
mod receive;
mod ring;
pub(crate) mod script;
mod send;
mod shard;
mod shards;

pub use self::drain::{DrainReport, ShardSurvey};

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use self::receive::{Received, Tickets};
use self::shards::Shards;

use crate::config::{Config, ConfigBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::group::GroupReceipt;
use crate::health::ShardHealth;
use crate::inbox::{Inbox, Mailboxes};
use crate::layer::{BoxFuture, ChannelLayer};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName, GroupName};
use crate::seal::SealStatistics;

/// A channel layer whose messages wait in Redis.
///
/// Clones share one layer: its connection, its receives and its sends. When the last clone is dropped, what was in
/// flight goes back in the background; [`close`](ChannelLayer::close) waits for that.
///
/// # Cost
///
/// A send is one command and one round trip; sends that are under way at once share commands, up to 128 messages each.
/// A receive is one command; while it waits, one command a third of the lease (20 s by default) stands for all receives
/// of the process, in parts of 500, and its message is pushed to it. What was received is acknowledged with the next
/// receive.
///
/// # Outages
///
/// While the server cannot be reached, sends fail at once; receives wait. The layer connects again by itself, after at
/// most half a second, and asks again for what it may have missed.
///
/// # Runtime
///
/// It needs a Tokio runtime with time and I/O enabled, and lives in the one in which it was connected.
#[derive(Clone, Debug)]
pub struct RedisChannelLayer {
    inner: Arc<Inner>,
}

/// What a receive reads: queues on the servers, and inboxes of this process.
type Readable = (Arc<[ChannelName]>, Vec<Arc<Mailboxes>>);

#[derive(Debug)]
struct Inner {
    config: Config,
    tickets: Arc<Tickets>,
    shards: Arc<Shards>,
    /// The inboxes of this process, by their names.
    inboxes: Mutex<HashMap<ChannelName, Weak<Mailboxes>>>,
    /// Where closing goes on in the background.
    runtime: tokio::runtime::Handle,
}

impl RedisChannelLayer {
    /// Begins a layer with the default options: `redis://localhost:6379/0`, prefix `asgi:`, messages expire after
    /// 60 s, channels hold 100.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Connects a layer with checked options, to all servers at once. One round trip for each step: connect, subscribe,
    /// look for the scripts, load those that miss, say hello. A server that is down is tried again in the background, as
    /// long as another is up.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) or [`Timeout`](ErrorKind::Timeout) when no server can be reached,
    /// [`Schema`](ErrorKind::Schema) when the data of one are another version's, [`Config`](ErrorKind::Config) when there
    /// is no Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(Error::config("a layer is connected inside a Tokio runtime, and there is none here"));
        };
        let tickets = Arc::new(Tickets::new(config.hosts().len()));
        let shards = Arc::new(Shards::connect(&config, &tickets).await?);
        let inboxes = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { config, tickets, shards, inboxes, runtime }) })
    }

    /// Asks all servers how they are: whether each answers, how fast, and what it is. One round trip to each, at once.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    pub async fn health(&self) -> Vec<ShardHealth> {
        self.inner.shards.health().await
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

    fn check_size(&self, to: &dyn std::fmt::Display, message: &PackedMessage) -> Result<()> {
        let most = self.inner.config.max_message_size();
        if message.len() <= most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::MessageTooLarge,
            format!(
                "{to}: the message has {} bytes, option `max_message_size` allows {most}; send it in parts",
                message.len()
            ),
        ))
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<ChannelName, Weak<Mailboxes>>> {
        self.inner.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One message of any of these channels; `None` if it does not wait and nothing was there.
    async fn take(
        &self,
        channels: &[ChannelName],
        waits: bool,
    ) -> Result<Option<(ChannelName, PackedMessage)>> {
        let (channels, inboxes) = self.readable(channels)?;
        if inboxes.is_empty() {
            return self.take_from_queues(channels, waits).await;
        }
        if !waits {
            for inbox in inboxes {
                if let Some(next) = inbox.try_next() {
                    return next.map(Some);
                }
            }
            return if channels.is_empty() { Ok(None) } else { self.take_from_queues(channels, false).await };
        }
        // The first that has something ends the others, which then have taken nothing.
        type Next<'a> =
            Pin<Box<dyn Future<Output = Result<Option<(ChannelName, PackedMessage)>>> + Send + 'a>>;
        let mut all: Vec<Next<'_>> = Vec::with_capacity(inboxes.len() + 1);
        if !channels.is_empty() {
            all.push(Box::pin(self.take_from_queues(channels, true)));
        }
        for inbox in &inboxes {
            all.push(Box::pin(async move { inbox.next().await.map(Some) }));
        }
        std::future::poll_fn(|context| {
            // Looked at from another one each time, so that a busy one does not starve the others.
            let turn = usize::from(self.inner.tickets.newest().is_multiple_of(2));
            all.rotate_left(turn);
            let ready = all.iter_mut().map(|next| next.as_mut().poll(context)).find(Poll::is_ready);
            ready.unwrap_or(Poll::Pending)
        })
        .await
    }

    async fn take_from_queues(
        &self,
        channels: Arc<[ChannelName]>,
        waits: bool,
    ) -> Result<Option<(ChannelName, PackedMessage)>> {
        // What does not open was taken and is dropped: then the receive begins anew.
        loop {
            let mut places = self.inner.shards.places(&channels);
            if !waits {
                places = self.inner.shards.reachable(places)?;
            }
            let receiving = self.inner.tickets.open(places, waits)?;
            let Some(Received { shard, at, channel, entry }) = receiving.message().await? else {
                return Ok(None);
            };
            let shard = self.inner.shards.all().get(shard).ok_or_else(receive::closed)?;
            if let Some(message) = shard.envelope().open_entry(channel.as_str(), entry, at)? {
                return Ok(Some((channel, message)));
            }
        }
    }

    /// The channels of a receive, each once, and the inboxes of this process among them.
    fn readable(&self, channels: &[ChannelName]) -> Result<Readable> {
        let invalid = |why: String| Err(Error::new(ErrorKind::InvalidName, why));
        let most = self.inner.config.max_channels_per_receive();
        if channels.is_empty() {
            return invalid("a receive names at least one channel".to_owned());
        }
        if channels.len() > most {
            return invalid(format!(
                "a receive names {} channels, option `max_channels_per_receive` allows {most}",
                channels.len()
            ));
        }
        for channel in channels {
            match channel.kind() {
                ChannelKind::Normal | ChannelKind::SingleReader => {}
                ChannelKind::ProcessSpecific => {
                    return invalid(format!(
                        "channel {channel:?} is an address inside an inbox and is not received from; its messages come to the inbox {:?}",
                        channel.queue()
                    ));
                }
                ChannelKind::Inbox => {}
            }
        }
        let mut queues: Vec<ChannelName> = Vec::with_capacity(channels.len());
        let mut inboxes = Vec::new();
        let mut seen = HashSet::with_capacity(channels.len());
        for channel in channels.iter().filter(|channel| seen.insert(channel.as_str())) {
            if channel.kind() != ChannelKind::Inbox {
                queues.push(channel.clone());
            } else if let Some(inbox) = self.inboxes().get(channel).and_then(Weak::upgrade) {
                inboxes.push(inbox);
            } else {
                return invalid(format!(
                    "channel {channel:?} is no inbox of this process; open one with `inbox`, and receive from its name"
                ));
            }
        }
        Ok((queues.into(), inboxes))
    }
}

impl ConfigBuilder {
    /// Checks the options and connects a layer.
    ///
    /// # Errors
    ///
    /// As [`ConfigBuilder::build`] and [`RedisChannelLayer::connect`].
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(&self) -> Result<RedisChannelLayer> {
        RedisChannelLayer::connect(self.build()?).await
    }
}

impl ChannelLayer for RedisChannelLayer {
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if channel.kind() == ChannelKind::Inbox {
                return Err(Error::new(
                    ErrorKind::InvalidName,
                    format!(
                        "channel {channel:?} is an inbox; send to an address in it, which follows the `!`"
                    ),
                ));
            }
            self.check_size(&format_args!("channel {channel:?}"), &message)?;
            let capacity = self.inner.config.capacity_of(channel);
            self.inner.shards.send(channel, capacity, &message).await
        })
    }

    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
        Box::pin(async move {
            // A ticket that waits ends with a message or an error.
            self.take(channels, true).await?.ok_or_else(receive::closed)
        })
    }

    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
        Box::pin(self.take(channels, false))
    }

    fn inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
        Box::pin(async move {
            let Inner { config, tickets, .. } = &*self.inner;
            let shard_of = |name: &ChannelName| self.inner.shards.of(name).map(Arc::clone);
            let mailboxes = inbox::open(name, shard_of, tickets, config).await?;
            let mut inboxes = self.inboxes();
            inboxes.retain(|_, inbox| inbox.strong_count() > 0);
            inboxes.insert(mailboxes.name().clone(), Arc::downgrade(&mailboxes));
            drop(inboxes);
            Ok(Inbox::new(mailboxes, config.clone(), Arc::<Inner>::clone(&self.inner)))
        })
    }

    fn add_to_group<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Inner { config, shards, .. } = &*self.inner;
            let capacity = shards.capacity_on_own_shard(channel, config.capacity_of(channel));
            shards.of(channel)?.group_add(group, channel, capacity, config.group_expiry()).await
        })
    }

    fn discard_from_group<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.inner.shards.of(channel)?.group_discard(group, channel).await })
    }

    fn leave_all_groups<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.inner.shards.of(channel)?.leave_all_groups(channel).await })
    }

    fn send_to_group_packed<'a>(
        &'a self,
        group: &'a GroupName,
        message: PackedMessage,
        name_full: bool,
    ) -> BoxFuture<'a, Result<GroupReceipt>> {
        Box::pin(async move {
            self.check_size(&format_args!("group {group:?}"), &message)?;
            self.inner.shards.group_send(group, &message, name_full, &self.inner.config).await
        })
    }

    fn channels_of_group<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
        Box::pin(self.inner.shards.group_channels(group))
    }

    fn count_group<'a>(&'a self, group: &'a GroupName, enough: usize) -> BoxFuture<'a, Result<usize>> {
        Box::pin(self.inner.shards.group_len(group, enough))
    }

    fn groups_of_channel<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<Vec<GroupName>>> {
        Box::pin(async move { self.inner.shards.of(channel)?.channel_groups(channel).await })
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.inner.shards.flush())
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // Begun here and not in the future: closing goes on even if that is never polled.
        self.inner.tickets.close();
        let inboxes: Vec<Arc<Mailboxes>> = self.inboxes().values().filter_map(Weak::upgrade).collect();
        for inbox in &inboxes {
            inbox.close();
        }
        if inboxes.is_empty() {
            return Box::pin(self.inner.shards.close());
        }
        let shards = Arc::clone(&self.inner.shards);
        let closing = self.inner.runtime.spawn(async move {
            // They leave their groups while the server can still be told.
            for inbox in inboxes {
                inbox.gone().await;
            }
            shards.close().await
        });
        // A task that its runtime has dropped has nobody left to tell.
        Box::pin(async move { closing.await.unwrap_or(Ok(())) })
    }
}
