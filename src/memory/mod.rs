//! The memory layer: the whole contract of a channel layer within one process, without a server.
//!
//! From low to high: [`queue`] is one queue; [`receives`] are all of them with the receives that wait; [`inboxes`] are the
//! queues of inboxes; [`groups`] know their members. [`store`] is what the clients of a layer share, under one lock;
//! [`membership`] has the operations on groups, and [`attendant`] the task of an inbox. [`statistics`] are what it counts.

mod attendant;
mod groups;
mod inboxes;
mod membership;
mod queue;
mod receives;
mod statistics;
mod store;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use self::statistics::{ChannelStatistics, MemoryStatistics};

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::attendant::attend;
use self::inboxes::Owner;
use self::receives::{Begun, ClientId};
use self::store::Store;
use crate::config::{Config, ConfigBuilder};
use crate::error::{Error, Result};
use crate::events::{EventSource, Events};
use crate::inbox::{Inbox, Mailbox, Mailboxes, new_inbox_name};
use crate::layer::own_inboxes::OwnInboxes;
use crate::layer::receipt::{FullWarning, GroupReceipt};
use crate::layer::refusals::{
    check_expiry, check_member, check_sendable, check_size, closed, current_runtime,
};
use crate::layer::replies::{REPLY_INBOX, Replies};
use crate::layer::request::RequestStatistics;
use crate::layer::sources::Taken;
use crate::layer::{BoxFuture, ChannelLayer};
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::{ChannelName, GroupName};

/// A channel layer whose messages wait in this process: no server, and the same contract.
///
/// It is for one process with many tasks or threads, for the tests of a program, and as the local half of
/// [`LocalAndRemote`](crate::LocalAndRemote). Its messages reach only this process, and are gone when it ends.
///
/// Clones share one layer. [`another_client`](Self::another_client) makes a second layer on the same channels, as another
/// process would have it: it has inboxes of its own, and is closed on its own.
///
/// It uses the options about messages, channels and groups, and ignores `lease` and the options about servers.
///
/// # Cost
///
/// Calls do not block and need no other task. They hold one lock for the time of a look-up. A group send holds it while it
/// walks over the group's members, and gives them the message, whose bytes they share, after that. A message that had to
/// wait in an inbox is given to its mailboxes under the lock. Expired messages that nobody receives are dropped when as
/// much has been sent since, so an idle layer may keep them longer.
///
/// # Runtime
///
/// Only [`open_inbox`](ChannelLayer::open_inbox), a receive from an inbox, and the calls with a time limit, `send_wait`,
/// `send_within`, `request` and `receive_timeout`, need a Tokio runtime; outside of one they fail with [`NoRuntime`](crate::ErrorKind::NoRuntime). Time is
/// Tokio's, which tests can pause.
///
/// ```
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> asgi_redis::Result<()> {
/// let layer = MemoryLayer::builder().capacity(10).in_memory()?;
/// layer.send("greetings", &Value::map([("text", "hi")])).await?;
/// let (channel, message): (_, Value) = layer.receive(["greetings"]).await?;
/// assert_eq!(channel, "greetings");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryLayer {
    client: Arc<Client>,
}

#[derive(Debug)]
struct Client {
    id: ClientId,
    config: Config,
    store: Arc<Store>,
    inboxes: OwnInboxes,
    replies: Replies,
    events: EventSource,
    full: FullWarning,
    closed: AtomicBool,
}

impl MemoryLayer {
    /// Returns a builder with the default options. [`in_memory`](ConfigBuilder::in_memory) makes the layer.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::new()
    }

    /// Makes a layer with channels of its own.
    pub fn new(config: Config) -> Self {
        Self::on(Arc::default(), config)
    }

    /// Makes a second layer on the same channels and groups, as a [`RedisChannelLayer`](crate::RedisChannelLayer) with the
    /// same options is one in another process.
    #[must_use]
    pub fn another_client(&self) -> Self {
        Self::on(Arc::clone(&self.client.store), self.client.config.clone())
    }

    /// Makes a second layer as [`another_client`](Self::another_client) does, with options of its own for its sends and its
    /// inboxes.
    #[must_use]
    pub fn another_client_with(&self, config: Config) -> Self {
        Self::on(Arc::clone(&self.client.store), config)
    }

    /// Returns what all channels hold and held. Walks over all messages that wait.
    pub fn statistics(&self) -> MemoryStatistics {
        self.client.store.with(|state| state.statistics())
    }

    /// Returns what one channel holds; for a `!` channel, what its inbox holds. Walks over the messages that wait there.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name.
    pub fn channel_statistics<N>(&self, channel: N) -> Result<ChannelStatistics>
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
    {
        let channel = channel.try_into().map_err(Into::into)?;
        Ok(self.client.store.with(|state| state.channel_statistics(&channel)))
    }

    fn on(store: Arc<Store>, config: Config) -> Self {
        let id = store.with(|state| state.new_client());
        let client = Client {
            id,
            config,
            store,
            inboxes: OwnInboxes::default(),
            replies: Replies::default(),
            events: EventSource::default(),
            full: FullWarning::default(),
            closed: AtomicBool::new(false),
        };
        Self { client: Arc::new(client) }
    }

    async fn take(&self, channels: &[ChannelName], waits: bool) -> Taken {
        let client = &*self.client;
        client.open().await?;
        let readable = client.inboxes.readable(channels, client.config.max_channels_per_receive())?;
        readable.take(waits, |queues, waits| client.take_from_queues(queues, waits)).await
    }

    /// Opens an inbox that keeps something for as long as one of its handles lives.
    async fn open_inbox_that_keeps(&self, name: &str, kept: Arc<dyn Any + Send + Sync>) -> Result<Inbox> {
        let Client { config, store, inboxes, events, .. } = &*self.client;
        self.client.open().await?;
        let runtime = current_runtime("an inbox is opened")?;
        loop {
            let name = new_inbox_name(name)?;
            let mailboxes = Arc::new(Mailboxes::new(name.clone(), config.capacity_of(&name)).telling(events));
            let owner = Owner {
                mailboxes: Arc::clone(&mailboxes),
                renews: config.renew_memberships(),
                bytes: config.inbox_bytes(),
            };
            // Under the lock: closing must see this inbox.
            let opened = store.with(|state| {
                if self.client.closed.load(Ordering::Relaxed) {
                    return Err(closed());
                }
                let is_free = state.open_inbox(owner);
                if is_free {
                    inboxes.insert(&mailboxes);
                }
                Ok(is_free)
            })?;
            if opened {
                runtime.spawn(attend(Arc::downgrade(store), Arc::clone(&mailboxes)));
                return Ok(Inbox::new(mailboxes, config.clone(), kept));
            }
        }
    }
}

impl Client {
    /// Fails if the layer was closed. Yields to other tasks from time to time, because no call of this layer blocks.
    async fn open(&self) -> Result<()> {
        tokio::task::coop::consume_budget().await;
        if self.closed.load(Ordering::Relaxed) { Err(closed()) } else { Ok(()) }
    }

    async fn take_from_queues(&self, channels: Arc<[ChannelName]>, waits: bool) -> Taken {
        let begun = self.store.with(|state| {
            // Under the lock: no receive may begin to wait after closing has ended those that wait.
            if self.closed.load(Ordering::Relaxed) {
                return Err(closed());
            }
            state.queues.begin_receive(self.id, &channels, waits)
        })?;
        match begun {
            Begun::Taken(delivery) => Ok(Some(delivery)),
            Begun::Nothing(None) => Ok(None),
            Begun::Nothing(Some(ticket)) => {
                let waiting = WaitingReceive { store: &self.store, ticket };
                let arrived = std::future::poll_fn(|context| {
                    waiting.store.with(|state| state.queues.poll_receive(ticket, context))
                });
                arrived.await.map(Some)
            }
        }
    }

    fn ask<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut store::State, &Config) -> Result<T> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.open().await?;
            self.store.with(|state| act(state, &self.config))
        })
    }
}

/// A receive that waits. Dropping it gives back a message that it was handed and has not returned.
struct WaitingReceive<'a> {
    store: &'a Store,
    ticket: u64,
}

impl Drop for WaitingReceive<'_> {
    fn drop(&mut self) {
        self.store.with(|state| state.queues.release(self.ticket));
    }
}

impl ConfigBuilder {
    /// Checks the options and makes a layer in memory. The hosts are not used, and may be `memory://`.
    ///
    /// # Errors
    ///
    /// As [`ConfigBuilder::build`].
    pub fn in_memory(&self) -> Result<MemoryLayer> {
        Ok(MemoryLayer::new(self.build()?))
    }
}

impl ChannelLayer for MemoryLayer {
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>> {
        self.send_with_expiry_packed(channel, message, self.client.config.expiry())
    }

    fn send_with_expiry_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        // Before the lock: a pattern may be a function of the program.
        let capacity = self.client.config.queue_capacity_of(channel);
        self.client.ask(move |state, config| {
            check_sendable(channel)?;
            check_size(format_args!("channel {channel:?}"), &message, config.max_message_size())?;
            check_expiry("the expiry of a message", expiry)?;
            state.send(channel, message, expiry, capacity)
        })
    }

    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
        Box::pin(async move { Ok(self.receive_delivery(channels).await?.into_parts()) })
    }

    fn receive_delivery<'a>(&'a self, channels: &'a [ChannelName]) -> BoxFuture<'a, Result<Delivery>> {
        Box::pin(async move {
            let taken = self.take(channels, true).await?;
            taken.ok_or_else(|| Error::bug("a receive in memory that waits ended without a message"))
        })
    }

    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
        Box::pin(async move { Ok(self.take(channels, false).await?.map(Delivery::into_parts)) })
    }

    fn open_inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
        Box::pin(self.open_inbox_that_keeps(name, Arc::<Client>::clone(&self.client)))
    }

    fn open_reply_mailbox(&self) -> BoxFuture<'_, Result<Mailbox>> {
        // The client holds the inbox, which therefore does not keep the client.
        let open = || self.open_inbox_that_keeps(REPLY_INBOX, Arc::new(()));
        Box::pin(async move {
            self.client.open().await?;
            self.client.replies.open_mailbox(open).await
        })
    }

    fn events(&self) -> Events {
        self.client.events.listen()
    }

    fn request_statistics(&self) -> RequestStatistics {
        self.client.replies.statistics()
    }

    fn group_add_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        let capacity = self.client.config.queue_capacity_of(channel);
        self.client.ask(move |state, config| {
            check_member(channel)?;
            let deadline = Instant::now() + config.group_expiry();
            state.group_add_packed(group, channel, None, capacity, deadline)
        })
    }

    fn group_add_labelled_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
        label: &'a Label,
    ) -> BoxFuture<'a, Result<()>> {
        let capacity = self.client.config.queue_capacity_of(channel);
        self.client.ask(move |state, config| {
            check_member(channel)?;
            let deadline = Instant::now() + config.group_expiry();
            state.group_add_packed(group, channel, Some(label), capacity, deadline)
        })
    }

    fn group_discard_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        self.client.ask(move |state, _| {
            check_member(channel)?;
            state.groups.discard(group, channel);
            Ok(())
        })
    }

    fn leave_groups_packed<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
        self.client.ask(move |state, _| {
            check_member(channel)?;
            state.groups.leave_all(channel);
            Ok(())
        })
    }

    fn group_send_packed<'a>(
        &'a self,
        group: &'a GroupName,
        message: PackedMessage,
        name_full: bool,
    ) -> BoxFuture<'a, Result<GroupReceipt>> {
        Box::pin(async move {
            let sent = self.client.ask(move |state, config| {
                check_size(format_args!("group {group:?}"), &message, config.max_message_size())?;
                Ok(state.send_to_group(group, &message, config.expiry(), name_full))
            });
            let (receipt, fan_outs) = sent.await?;
            self.client.full.see(group, &receipt);
            for fan_out in fan_outs {
                fan_out.run().await;
            }
            Ok(receipt)
        })
    }

    fn group_channels_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
        self.client.ask(move |state, _| {
            let members = state.group_members_packed(group)?;
            Ok(members.into_iter().map(|member| member.into_parts().0).collect())
        })
    }

    fn group_members_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<GroupMember>>> {
        self.client.ask(move |state, _| state.group_members_packed(group))
    }

    fn group_len_packed<'a>(&'a self, group: &'a GroupName, enough: usize) -> BoxFuture<'a, Result<usize>> {
        self.client.ask(move |state, _| Ok(state.group_len_packed(group, enough)))
    }

    fn channel_groups_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<Vec<GroupName>>> {
        self.client.ask(move |state, _| {
            check_member(channel)?;
            Ok(state.channel_groups_packed(channel))
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        self.client.ask(|state, _| {
            state.flush();
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // Done before the future is polled, so that a dropped future has closed the layer too.
        let client = &*self.client;
        client.events.end();
        client.store.with(|state| {
            client.closed.store(true, Ordering::Relaxed);
            state.queues.end_receives(client.id);
            for inbox in client.inboxes.all() {
                inbox.close();
                state.end_inbox(inbox.name());
            }
        });
        Box::pin(std::future::ready(Ok(())))
    }
}
