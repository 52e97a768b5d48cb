//! The Redis layer: it names, routes and calls; the scripts do the rest.
//!
//! - [`keys`] has every key, [`entry`] the bytes of an entry, [`script`] the scripts, [`calls`] a typed function for
//!   each of them, [`failure`] what can go wrong with a call.
//! - [`server`] opens connections, [`connection`] is one that is open, [`link`] the task that keeps a shard connected, [`silence`] whether it answers,
//!   [`runtime`] whether anybody runs these tasks.
//! - [`envelope`] seals and opens messages, if there are keys, by the [`clock`] of their server.
//! - [`send`] are the sends to a shard, [`receive`] the receives of the layer; [`groups`] the operations on groups,
//!   [`inbox`] the task that reads an inbox; [`shard`] holds a shard's parts together.
//! - [`descriptors`] are for programs that fork; [`drain`], [`health`] and [`upkeep`] are for operators.

mod attempts;
mod caller;
mod calls;
mod changes;
mod clock;
mod connection;
pub(crate) mod descriptors;
mod dial;
mod drain;
mod entry;
mod envelope;
mod failure;
mod groups;
mod health;
mod inbox;
mod keys;
mod link;
mod log_entry;
mod many;
mod milliseconds;
mod plain;
mod pushes;
mod receive;
mod refusal;
mod ring;
mod runtime;
pub(crate) mod script;
mod send;
mod server;
mod shard;
mod shards;
mod silence;
mod twins;
mod upkeep;

pub use self::drain::{DrainReport, ShardSurvey};
pub use self::health::ShardHealth;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use self::receive::{Received, Tickets};
use self::runtime::check_runtime;
use self::shards::Shards;

use crate::config::{Config, ConfigBuilder};
use crate::error::{Error, Result};
use crate::events::{EventSource, Events};
use crate::inbox::{Inbox, Mailbox};
use crate::layer::own_inboxes::OwnInboxes;
use crate::layer::receipt::{FullWarning, GroupReceipt};
use crate::layer::refusals::{check_expiry, check_sendable, check_size, current_runtime, runtime_ended};
use crate::layer::replies::{REPLY_INBOX, Replies};
use crate::layer::request::RequestStatistics;
use crate::layer::sources::Taken;
use crate::layer::{BoxFuture, ChannelLayer};
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::{ChannelName, GroupName};

/// After so many messages that do not open, a receive that does not wait finds nothing: each was a round trip.
const MAX_GONE_PAST: usize = 1_000;

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
/// receive. A message that does not open costs the receive that goes past it one more command; one that does not wait
/// ends after 1,000 of them with `None`, and the next one goes on from there.
///
/// # Outages
///
/// While the server cannot be reached, sends fail at once; receives wait. The layer connects again by itself, after at
/// most half a second, and asks again for what it may have missed.
///
/// # Runtime
///
/// It needs a Tokio runtime with time and I/O enabled, and its tasks live in the one in which it was connected. Other
/// runtimes may call it too, and so may any thread that has [entered](tokio::runtime::Runtime::enter) one: there the futures,
/// inboxes, mailboxes and the layer itself may be polled and dropped by hand, as event loops of other languages do. Outside of any runtime, [`close`](ChannelLayer::close) works, and so do receives that are not
/// from an inbox; other calls fail with [`NoRuntime`](crate::ErrorKind::NoRuntime).
///
/// Calls need these tasks: if the first runtime has shut down, they fail with [`Closed`](crate::ErrorKind::Closed). If it is
/// a current-thread runtime that nobody drives, a send, a `try_receive` and a `close` from another runtime fail with
/// [`Timeout`](crate::ErrorKind::Timeout), after `response_timeout` and a second; a receive waits.
#[derive(Clone, Debug)]
pub struct RedisChannelLayer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    tickets: Arc<Tickets>,
    shards: Arc<Shards>,
    /// The inboxes of this process, by their names.
    inboxes: OwnInboxes,
    replies: Replies,
    events: EventSource,
    full: FullWarning,
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
    /// look for the scripts, load the missing ones, call hello. A server that is down is tried again in the background, as
    /// long as another is up.
    ///
    /// # Errors
    ///
    /// [`Connection`](crate::ErrorKind::Connection) or [`Timeout`](crate::ErrorKind::Timeout) when no server can be reached,
    /// another [outage](crate::ErrorKind::is_outage) when none serves, such as
    /// [`Credentials`](crate::ErrorKind::Credentials), [`Rights`](crate::ErrorKind::Rights) when the user lacks one,
    /// [`Schema`](crate::ErrorKind::Schema) when the data of one are another version's, [`NoRuntime`](crate::ErrorKind::NoRuntime)
    /// outside of a Tokio runtime, [`Unsupported`](crate::ErrorKind::Unsupported) when a server is too old or in cluster mode,
    /// [`Config`](crate::ErrorKind::Config) when the one host is `memory://`.
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self> {
        let runtime = current_runtime("a layer is connected")?;
        if config.hosts().is_empty() {
            return Err(Error::config(
                "option `hosts`: memory:// is the memory of this process and no server; `in_memory` makes a layer of it",
            ));
        }
        let tickets = Arc::new(Tickets::new(config.hosts().len()));
        let events = EventSource::default();
        let shards = Arc::new(Shards::connect(&config, &tickets, &events).await?);
        let inboxes = OwnInboxes::default();
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                tickets,
                shards,
                inboxes,
                replies: Replies::default(),
                events,
                full: FullWarning::default(),
                runtime,
            }),
        })
    }

    /// Runs a call that waits for tasks of this layer, and ends it if nobody runs these.
    async fn watched<T>(&self, call: Pin<&mut impl Future<Output = Result<T>>>, sends: bool) -> Result<T> {
        let patience = self.inner.config.response_timeout();
        let watched = runtime::watched(&self.inner.runtime, patience, call).await;
        watched.unwrap_or_else(|error| Err(error.with_perhaps_sent(sends)))
    }

    /// One message of any of these channels; `None` if it does not wait and nothing was there.
    async fn take(&self, channels: &[ChannelName], waits: bool) -> Taken {
        let Inner { config, inboxes, .. } = &*self.inner;
        let readable = inboxes.readable(channels, config.max_channels_per_receive())?;
        match readable.take(waits, |queues, waits| self.take_from_queues(queues, waits)).await {
            Err(error) => Err(Box::pin(self.inner.shards.name_right(error)).await),
            taken => taken,
        }
    }

    /// Waits for one message of any of these channels.
    async fn take_waiting(&self, channels: &[ChannelName]) -> Result<Delivery> {
        // A ticket that waits ends with a message or an error.
        let taken = self.take(channels, true).await?;
        taken.ok_or_else(|| Error::bug("a receive that waits ended with nothing"))
    }

    /// Sends a message that waits for so long; with `gathers`, among others that come at once and share its call.
    async fn send_expiring(
        &self,
        channel: &ChannelName,
        message: PackedMessage,
        expiry: Duration,
        gathers: bool,
    ) -> Result<()> {
        check_sendable(channel)?;
        check_size(format_args!("channel {channel:?}"), &message, self.inner.config.max_message_size())?;
        check_expiry("the expiry of a message", expiry)?;
        check_runtime()?;
        let Inner { config, shards, .. } = &*self.inner;
        let sending = pin!(shards.send(channel, config.queue_capacity_of(channel), message, expiry, gathers));
        match self.watched(sending, true).await {
            Err(error) => Err(Box::pin(shards.name_right(error)).await),
            sent => sent,
        }
    }

    /// Opens the inbox for replies, in the runtime of the layer. It does not keep the layer, which holds it.
    async fn open_reply_inbox(&self) -> Result<Inbox> {
        let Inner { config, tickets, shards, .. } = &*self.inner;
        let (shards, tickets, config) = (Arc::clone(shards), Arc::clone(tickets), config.clone());
        let events = self.inner.events.clone();
        let opening = self.inner.runtime.spawn(async move {
            let shard_of = |name: &ChannelName| shards.of(name).map(Arc::clone);
            let mailboxes = inbox::open(REPLY_INBOX, shard_of, &tickets, &config, &events).await?;
            Ok::<_, Error>(Inbox::new(mailboxes, config, Arc::new(())))
        });
        let inbox = opening.await.map_err(|_| runtime_ended())??;
        self.inner.inboxes.insert(inbox.mailboxes());
        Ok(inbox)
    }

    async fn take_from_queues(&self, channels: Arc<[ChannelName]>, waits: bool) -> Taken {
        // What does not open was taken and is dropped: then the receive begins anew.
        let mut gone_past = 0;
        while waits || gone_past < MAX_GONE_PAST {
            let mut places = self.inner.shards.places(&channels);
            if !waits {
                places = self.inner.shards.reachable(places)?;
            }
            let mut receiving = self.inner.tickets.open(places, waits)?;
            let Some(Received { shard, at, channel, entry }) = receiving.message().await? else {
                return Ok(None);
            };
            let shard = self
                .inner
                .shards
                .all()
                .get(shard)
                .ok_or_else(|| Error::bug("a message came from a shard that is none"))?;
            let (pushed_ms, deadline_ms) = (entry.pushed_us() / 1000, entry.deadline_ms());
            let opened = shard.open_entry(channel.as_str(), entry, at).await;
            // It counts as delivered when it is returned, or dropped for good.
            receiving.claim()?;
            if let Some(message) = opened? {
                let expires = shard.envelope().clock().lives_until(pushed_ms, deadline_ms, at);
                return Ok(Some(Delivery::expiring(channel, message, expires)));
            }
            gone_past += 1;
        }
        Ok(None)
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
        Box::pin(self.send_expiring(channel, message, self.inner.config.expiry(), false))
    }

    fn send_many_packed(
        &self,
        messages: Vec<(ChannelName, PackedMessage)>,
    ) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move {
            let (expiry, gathers) = (self.inner.config.expiry(), messages.len() > 1);
            let sends = messages
                .iter()
                .map(|(channel, message)| self.send_expiring(channel, message.clone(), expiry, gathers));
            join_all(sends).await
        })
    }

    fn send_with_expiry_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.send_expiring(channel, message, expiry, false))
    }

    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
        Box::pin(async move { Ok(self.take_waiting(channels).await?.into_parts()) })
    }

    fn receive_delivery<'a>(&'a self, channels: &'a [ChannelName]) -> BoxFuture<'a, Result<Delivery>> {
        Box::pin(async move {
            // Outside of a runtime it cannot be asked. Boxed, because it is rare, and each such future would carry it.
            if check_runtime().is_ok() {
                Box::pin(self.inner.shards.need_clocks()).await;
            }
            self.take_waiting(channels).await
        })
    }

    fn open_reply_mailbox(&self) -> BoxFuture<'_, Result<Mailbox>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.replies.open_mailbox(|| self.open_reply_inbox()).await
        })
    }

    fn events(&self) -> Events {
        self.inner.events.listen()
    }

    fn request_statistics(&self) -> RequestStatistics {
        self.inner.replies.statistics()
    }

    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
        Box::pin(async move {
            let taken = self.watched(pin!(self.take(channels, false)), false).await?;
            Ok(taken.map(Delivery::into_parts))
        })
    }

    fn open_inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, tickets, .. } = &*self.inner;
            let shard_of = |name: &ChannelName| self.inner.shards.of(name).map(Arc::clone);
            let mailboxes = inbox::open(name, shard_of, tickets, config, &self.inner.events).await?;
            self.inner.inboxes.insert(&mailboxes);
            Ok(Inbox::new(mailboxes, config.clone(), Arc::<Inner>::clone(&self.inner)))
        })
    }

    fn group_add_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, .. } = &*self.inner;
            let capacity = shards.capacity_on_own_shard(channel, config);
            let (queue, address) = groups::member(channel)?;
            let shard = shards.of(channel)?;
            let adding = pin!(shard.group_add(queue, capacity, [(group, address)], config.group_expiry()));
            self.watched(adding, false).await
        })
    }

    fn group_add_labelled_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
        label: &'a Label,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, .. } = &*self.inner;
            let capacity = shards.capacity_on_own_shard(channel, config);
            let member = groups::member(channel)?;
            let shard = shards.of(channel)?;
            let expiry = config.group_expiry();
            let adding = pin!(shard.group_add_labelled(member, capacity, group, label, expiry));
            self.watched(adding, false).await
        })
    }

    fn group_discard_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, .. } = &*self.inner;
            let capacity = shards.capacity_on_own_shard(channel, config);
            let (queue, address) = groups::member(channel)?;
            let shard = shards.of(channel)?;
            let discarding = pin!(shard.group_discard(queue, capacity, [(group, address)]));
            self.watched(discarding, false).await
        })
    }

    fn group_add_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, .. } = &*self.inner;
            self.watched(pin!(shards.group_add_many(groups, channels, config)), false).await
        })
    }

    fn group_discard_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, .. } = &*self.inner;
            self.watched(pin!(shards.group_discard_many(groups, channels, config)), false).await
        })
    }

    fn leave_groups_packed<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            let leaving = pin!(self.inner.shards.of(channel)?.leave_groups_packed(channel));
            self.watched(leaving, false).await
        })
    }

    fn group_send_packed<'a>(
        &'a self,
        group: &'a GroupName,
        message: PackedMessage,
        name_full: bool,
    ) -> BoxFuture<'a, Result<GroupReceipt>> {
        Box::pin(async move {
            check_runtime()?;
            let Inner { config, shards, full, .. } = &*self.inner;
            check_size(format_args!("group {group:?}"), &message, config.max_message_size())?;
            let receipt = shards.group_send(group, &message, name_full, config).await?;
            full.see(group, &receipt);
            Ok(receipt)
        })
    }

    fn group_channels_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.shards.group_channels(group).await
        })
    }

    fn group_members_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<GroupMember>>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.shards.group_members(group).await
        })
    }

    fn group_len_packed<'a>(&'a self, group: &'a GroupName, enough: usize) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.shards.group_len(group, enough).await
        })
    }

    fn channel_groups_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<Vec<GroupName>>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.shards.of(channel)?.channel_groups(channel).await
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_runtime()?;
            self.inner.shards.flush().await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // Begun here and not in the future: closing goes on even if that is never polled.
        self.inner.tickets.close();
        self.inner.events.end();
        let inboxes = self.inner.inboxes.all();
        for inbox in &inboxes {
            inbox.close();
        }
        if inboxes.is_empty() {
            let closing = self.inner.shards.close();
            return Box::pin(async move { self.watched(pin!(closing), false).await });
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
        Box::pin(async move { self.watched(pin!(async { closing.await.unwrap_or(Ok(())) }), false).await })
    }
}
