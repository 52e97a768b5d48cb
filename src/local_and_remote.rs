//! Two layers as one: what may stay on this machine stays there, everything else goes through the other layer.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::inbox::{Inbox, Mailbox};
use crate::layer::receipt::GroupReceipt;
use crate::layer::request::RequestStatistics;
use crate::layer::sources::{Source, Taken, Turns, take_from};
use crate::layer::{BoxFuture, ChannelLayer};
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::{ChannelKind, ChannelName, GroupName};

/// A channel layer of two: normal channels are the local one's, `?` and `!` channels and groups the remote one's.
///
/// It is for programs whose workers run on every machine: a request is served on the machine on which it came in, without
/// a network, while answers and groups reach any machine.
///
/// **Every normal channel needs a reader on the same machine**, or what is sent to it waits there and expires: nobody
/// elsewhere sees it.
///
/// The local layer is a [`MemoryLayer`](crate::MemoryLayer) in a program of one process with many threads, or a
/// [`RedisChannelLayer`](crate::RedisChannelLayer) on a server of this machine, best on its unix socket, for many
/// processes. The remote one is a [`RedisChannelLayer`](crate::RedisChannelLayer) that all machines share. Both are made
/// from the same options, so that these hold for both.
///
/// ```no_run
/// use asgi_redis::prelude::*;
///
/// # async fn example() -> asgi_redis::Result<()> {
/// let options = ConfigBuilder::new().hosts(["redis://10.0.0.5:6379/0"]).capacity(200);
///
/// // One process, many threads:
/// let layer = LocalAndRemote::new(options.in_memory()?, options.connect().await?);
///
/// // Many processes of one machine:
/// let local = options.clone().hosts(["unix:///run/redis/redis.sock"]).connect().await?;
/// let layer = LocalAndRemote::new(local, options.connect().await?);
///
/// layer.send("http.request", &Value::map([("path", "/")])).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cost
///
/// That of the layer to which a call goes. A receive on channels of both kinds waits on both layers at once.
#[derive(Debug)]
pub struct LocalAndRemote<L, R> {
    local: L,
    remote: R,
    turns: Turns,
}

impl<L: ChannelLayer, R: ChannelLayer> LocalAndRemote<L, R> {
    /// Makes one layer of two.
    pub fn new(local: L, remote: R) -> Self {
        Self { local, remote, turns: Turns::default() }
    }

    /// The layer of normal channels.
    pub fn local(&self) -> &L {
        &self.local
    }

    /// The layer of all others, and of groups.
    pub fn remote(&self) -> &R {
        &self.remote
    }

    /// The channels of a receive, by the layer that has them.
    fn divided(channels: &[ChannelName]) -> (Vec<ChannelName>, Vec<ChannelName>) {
        channels.iter().cloned().partition(|channel| channel.kind() == ChannelKind::Normal)
    }

    /// Takes a message of either layer; the one that does not give it has then taken nothing.
    async fn take_of_both(
        &self,
        local: &[ChannelName],
        remote: &[ChannelName],
        waits: bool,
        wanted: Wanted,
    ) -> Taken {
        let sources: Vec<Source<'_>> = vec![
            Box::new(|waits| take_of(&self.local, local, waits, wanted)),
            Box::new(|waits| take_of(&self.remote, remote, waits, wanted)),
        ];
        take_from(sources, waits, self.turns.next()).await
    }
}

/// What a receive on both layers is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The message alone.
    Message,
    /// The time that it has left, too, which may cost the layers something.
    Delivery,
}

fn take_of<'a>(
    layer: &'a impl ChannelLayer,
    channels: &'a [ChannelName],
    waits: bool,
    wanted: Wanted,
) -> BoxFuture<'a, Taken> {
    Box::pin(async move {
        let taken = match wanted {
            Wanted::Delivery if waits => return layer.receive_delivery(channels).await.map(Some),
            _ if waits => Some(layer.receive_packed(channels).await?),
            _ => layer.try_receive_packed(channels).await?,
        };
        Ok(taken.map(|(channel, message)| Delivery::new(channel, message)))
    })
}

impl<L: ChannelLayer, R: ChannelLayer> ChannelLayer for LocalAndRemote<L, R> {
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>> {
        match channel.kind() {
            ChannelKind::Normal => self.local.send_packed(channel, message),
            _ => self.remote.send_packed(channel, message),
        }
    }

    fn send_with_expiry_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        match channel.kind() {
            ChannelKind::Normal => self.local.send_with_expiry_packed(channel, message, expiry),
            _ => self.remote.send_with_expiry_packed(channel, message, expiry),
        }
    }

    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
        let (local, remote) = Self::divided(channels);
        if remote.is_empty() && !local.is_empty() {
            return self.local.receive_packed(channels);
        }
        if local.is_empty() {
            return self.remote.receive_packed(channels);
        }
        // What waits ends with a message or an error.
        Box::pin(async move {
            let taken = self.take_of_both(&local, &remote, true, Wanted::Message).await?;
            taken.map(Delivery::into_parts).ok_or_else(waited_for_nothing)
        })
    }

    fn receive_delivery<'a>(&'a self, channels: &'a [ChannelName]) -> BoxFuture<'a, Result<Delivery>> {
        let (local, remote) = Self::divided(channels);
        if remote.is_empty() && !local.is_empty() {
            return self.local.receive_delivery(channels);
        }
        if local.is_empty() {
            return self.remote.receive_delivery(channels);
        }
        Box::pin(async move {
            let taken = self.take_of_both(&local, &remote, true, Wanted::Delivery).await?;
            taken.ok_or_else(waited_for_nothing)
        })
    }

    fn open_reply_mailbox(&self) -> BoxFuture<'_, Result<Mailbox>> {
        self.remote.open_reply_mailbox()
    }

    /// The events of both layers.
    fn events(&self) -> Events {
        self.local.events().and(self.remote.events())
    }

    fn request_statistics(&self) -> RequestStatistics {
        self.remote.request_statistics()
    }

    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
        let (local, remote) = Self::divided(channels);
        if remote.is_empty() && !local.is_empty() {
            return self.local.try_receive_packed(channels);
        }
        if local.is_empty() {
            return self.remote.try_receive_packed(channels);
        }
        Box::pin(async move {
            let taken = self.take_of_both(&local, &remote, false, Wanted::Message).await?;
            Ok(taken.map(Delivery::into_parts))
        })
    }

    fn new_channel(&self, pattern: &str) -> Result<ChannelName> {
        self.remote.new_channel(pattern)
    }

    fn open_inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
        self.remote.open_inbox(name)
    }

    /// A normal channel lives on one machine, and a group's messages come from any: it cannot be a member.
    fn group_add_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        match check_remote(channel, group) {
            Ok(()) => self.remote.group_add_packed(group, channel),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn group_add_labelled_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
        label: &'a Label,
    ) -> BoxFuture<'a, Result<()>> {
        match check_remote(channel, group) {
            Ok(()) => self.remote.group_add_labelled_packed(group, channel, label),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn group_add_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        let refused = groups
            .first()
            .and_then(|group| channels.iter().find_map(|channel| check_remote(channel, group).err()));
        match refused {
            None => self.remote.group_add_many_packed(groups, channels),
            Some(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn group_discard_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        self.remote.group_discard_many_packed(groups, channels)
    }

    fn group_discard_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>> {
        self.remote.group_discard_packed(group, channel)
    }

    fn leave_groups_packed<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
        self.remote.leave_groups_packed(channel)
    }

    fn group_send_packed<'a>(
        &'a self,
        group: &'a GroupName,
        message: PackedMessage,
        name_full: bool,
    ) -> BoxFuture<'a, Result<GroupReceipt>> {
        self.remote.group_send_packed(group, message, name_full)
    }

    fn group_channels_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
        self.remote.group_channels_packed(group)
    }

    fn group_members_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<GroupMember>>> {
        self.remote.group_members_packed(group)
    }

    fn group_len_packed<'a>(&'a self, group: &'a GroupName, enough: usize) -> BoxFuture<'a, Result<usize>> {
        self.remote.group_len_packed(group, enough)
    }

    fn channel_groups_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<Vec<GroupName>>> {
        self.remote.channel_groups_packed(channel)
    }

    /// Removes what both layers hold. If one fails, the other is flushed all the same.
    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (local, remote) = futures_util::future::join(self.local.flush(), self.remote.flush()).await;
            local.and(remote)
        })
    }

    /// Closes both layers.
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // Called here and not in the future, so that both begin to close even if that is never polled.
        let both = futures_util::future::join(self.local.close(), self.remote.close());
        Box::pin(async move {
            let (local, remote) = both.await;
            local.and(remote)
        })
    }
}

fn waited_for_nothing() -> Error {
    Error::bug("a receive that waits ended with nothing")
}

/// Refuses a member whose queue is on this machine alone.
fn check_remote(channel: &ChannelName, group: &GroupName) -> Result<()> {
    if channel.kind() != ChannelKind::Normal {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "channel {channel:?} is a normal channel, which a local and remote layer keeps on its own machine, where nobody would get what is sent to group {group:?}; add a mailbox or a `?` channel"
        ),
    ))
}
