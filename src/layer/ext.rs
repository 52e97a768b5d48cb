//! The operations of a channel layer for any serde type: they parse names and pack messages, then call the layer.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::typed::{group_and_channel, group_and_message, groups_and_channels, pack, parse, unpack};
use super::until_room::until_room;
use super::{ChannelLayer, ChannelNames};
use crate::error::{Error, Result};
use crate::layer::receipt::GroupReceipt;
use crate::layer::refusals::current_runtime;
use crate::member::{GroupMember, Label};
use crate::name::{ChannelName, GroupName};

/// The operations of a [`ChannelLayer`] for any serde type. Every layer has them.
///
/// ```no_run
/// use asgi_redis::prelude::*;
///
/// # async fn example() -> asgi_redis::Result<()> {
/// let layer = RedisChannelLayer::builder().hosts(["redis://127.0.0.1:6380/0"]).connect().await?;
/// layer.send("http.request", &Value::map([("path", "/")])).await?;
/// let (channel, request): (_, Value) = layer.receive(["http.request", "http.disconnect"]).await?;
/// # Ok(())
/// # }
/// ```
pub trait ChannelLayerExt: ChannelLayer {
    /// Packs and sends a message.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::send_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name, and
    /// [`Encode`](crate::ErrorKind::Encode) for a message that MessagePack cannot express.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_packed`].
    fn send<N, T>(&self, channel: N, message: T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = pack(channel, message);
        async move {
            let (channel, message) = sent?;
            self.send_packed(&channel, message).await
        }
    }

    /// Packs and sends a message, waiting up to `patience` for space in a full channel.
    ///
    /// Tries again after 5 ms, then after twice as long each time up to 250 ms: one call to the server each.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`ChannelFull`](crate::ErrorKind::ChannelFull) when there was no space in all that time;
    /// [`NoRuntime`](crate::ErrorKind::NoRuntime) outside of a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_packed`].
    fn send_wait<N, T>(
        &self,
        channel: N,
        message: T,
        patience: Duration,
    ) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = pack(channel, message);
        async move {
            let (channel, message) = sent?;
            until_room(patience, || self.send_packed(&channel, message.clone())).await
        }
    }

    /// Waits for the next message on any of some channels and unpacks it.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::receive_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name, and
    /// [`Decode`](crate::ErrorKind::Decode) for a message of another type, which [`Error::undecoded`] then holds.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`ChannelLayer::receive_packed`].
    fn receive<T>(&self, channels: impl ChannelNames) -> impl Future<Output = Result<(ChannelName, T)>> + Send
    where
        T: DeserializeOwned,
    {
        let channels = channels.into_names();
        async move { unpack(self.receive_packed(&channels?).await?) }
    }

    /// Takes a message that waits on any of some channels and unpacks it; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::try_receive_packed`] and [`receive`](Self::receive).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`ChannelLayer::receive_packed`].
    fn try_receive<T>(
        &self,
        channels: impl ChannelNames,
    ) -> impl Future<Output = Result<Option<(ChannelName, T)>>> + Send
    where
        T: DeserializeOwned,
    {
        let channels = channels.into_names();
        async move { self.try_receive_packed(&channels?).await?.map(unpack).transpose() }
    }

    /// Waits up to `patience` for the next message on any of some channels; `None` when none came in time.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive); also [`NoRuntime`](crate::ErrorKind::NoRuntime) outside of a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`ChannelLayer::receive_packed`].
    fn receive_timeout<T>(
        &self,
        channels: impl ChannelNames,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<(ChannelName, T)>>> + Send
    where
        T: DeserializeOwned,
    {
        let channels = channels.into_names();
        async move {
            let channels = channels?;
            current_runtime("a receive with a time limit is made")?;
            let in_time = tokio::time::timeout(patience, self.receive_packed(&channels)).await.ok();
            in_time.transpose()?.map(unpack).transpose()
        }
    }

    /// Adds a channel to a group, or renews its membership. See [`ChannelLayer::group_add_packed`]; one round trip.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_add_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_add_packed`].
    fn group_add<G, N>(&self, group: G, channel: N) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        N: TryInto<ChannelName, Error: Into<Error>>,
    {
        let names = group_and_channel(group, channel);
        async move {
            let (group, channel) = names?;
            self.group_add_packed(&group, &channel).await
        }
    }

    /// Adds a channel to a group with a label, such as the id of a user. See
    /// [`ChannelLayer::group_add_labelled_packed`]; one round trip, and for the server 3 commands more than
    /// [`group_add`](Self::group_add).
    ///
    /// The last call counts: [`group_add`](Self::group_add) of the same channel takes the label away.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// let inbox = layer.open_inbox("chat").await?;
    /// let mailbox = inbox.open_mailbox()?;
    /// layer.group_add_labelled("room-7", mailbox.name(), "user-42").await?;
    /// for member in layer.group_members("room-7").await? {
    ///     assert_eq!(member.channel(), mailbox.name());
    ///     assert_eq!(member.label().map(Label::as_str), Some("user-42"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_add_labelled_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name or
    /// label.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_add_labelled_packed`].
    fn group_add_labelled<G, N, L>(
        &self,
        group: G,
        channel: N,
        label: L,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        N: TryInto<ChannelName, Error: Into<Error>>,
        L: TryInto<Label, Error: Into<Error>>,
    {
        let names = group_and_channel(group, channel);
        let label = label.try_into().map_err(Into::into);
        async move {
            let (group, channel) = names?;
            self.group_add_labelled_packed(&group, &channel, &label?).await
        }
    }

    /// Adds each of some channels to each of some groups. See [`ChannelLayer::group_add_many_packed`]; one round trip for
    /// each 128 memberships of an inbox.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// let inbox = layer.open_inbox("chat").await?;
    /// let mailboxes = [inbox.open_mailbox()?, inbox.open_mailbox()?];
    /// layer.group_add_many(["room-1", "room-2"], mailboxes.each_ref().map(|mailbox| mailbox.name())).await?;
    /// assert_eq!(layer.group_len("room-2").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_add_many_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name, before
    /// any is added.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_add_many_packed`].
    fn group_add_many<G>(
        &self,
        groups: impl IntoIterator<Item = G>,
        channels: impl ChannelNames,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let names = groups_and_channels(groups, channels);
        async move {
            let (groups, channels) = names?;
            self.group_add_many_packed(&groups, &channels).await
        }
    }

    /// Takes each of some channels out of each of some groups. See [`ChannelLayer::group_discard_many_packed`].
    ///
    /// # Errors
    ///
    /// As [`group_add_many`](Self::group_add_many).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_discard_many_packed`].
    fn group_discard_many<G>(
        &self,
        groups: impl IntoIterator<Item = G>,
        channels: impl ChannelNames,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let names = groups_and_channels(groups, channels);
        async move {
            let (groups, channels) = names?;
            self.group_discard_many_packed(&groups, &channels).await
        }
    }

    /// Takes a channel out of a group. See [`ChannelLayer::group_discard_packed`]; one round trip.
    ///
    /// # Errors
    ///
    /// As [`group_add`](Self::group_add).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_discard_packed`].
    fn group_discard<G, N>(&self, group: G, channel: N) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        N: TryInto<ChannelName, Error: Into<Error>>,
    {
        let names = group_and_channel(group, channel);
        async move {
            let (group, channel) = names?;
            self.group_discard_packed(&group, &channel).await
        }
    }

    /// Packs a message and sends it to a group. See [`ChannelLayer::group_send_packed`]; one round trip for each
    /// 1,000 queues in the group, or 2 MiB in all, whatever the number of its members.
    ///
    /// ```no_run
    /// use asgi_redis::prelude::*;
    ///
    /// # async fn example(layer: RedisChannelLayer) -> asgi_redis::Result<()> {
    /// let inbox = layer.open_inbox("websocket.send").await?;
    /// let mut mailbox = inbox.open_mailbox()?;
    /// layer.group_add("room-7", mailbox.name()).await?;
    /// let receipt = layer.group_send("room-7", &Value::map([("text", "hi")])).await?;
    /// assert_eq!((receipt.delivered(), receipt.full()), (1, 0));
    /// let message: Value = mailbox.receive().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_send_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name, and
    /// [`Encode`](crate::ErrorKind::Encode) for a message that MessagePack cannot express.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_send_packed`].
    fn group_send<G, T>(&self, group: G, message: T) -> impl Future<Output = Result<GroupReceipt>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = group_and_message(group, message);
        async move {
            let (group, message) = sent?;
            self.group_send_packed(&group, message, false).await
        }
    }

    /// As [`group_send`](Self::group_send), with the names of the full queues in the receipt.
    ///
    /// # Errors
    ///
    /// As [`group_send`](Self::group_send).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_send_packed`].
    fn group_send_naming_full<G, T>(
        &self,
        group: G,
        message: T,
    ) -> impl Future<Output = Result<GroupReceipt>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = group_and_message(group, message);
        async move {
            let (group, message) = sent?;
            self.group_send_packed(&group, message, true).await
        }
    }

    /// Lists the channels in a group. See [`ChannelLayer::group_channels_packed`]; one round trip for each 1,000.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_channels_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_channels_packed`].
    fn group_channels<G>(&self, group: G) -> impl Future<Output = Result<Vec<ChannelName>>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let group = group.try_into().map_err(Into::into);
        async move { self.group_channels_packed(&group?).await }
    }

    /// Lists the channels in a group with their labels. See [`ChannelLayer::group_members_packed`]; one round trip for each
    /// 1,000.
    ///
    /// # Errors
    ///
    /// As [`group_channels`](Self::group_channels).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_members_packed`].
    fn group_members<G>(&self, group: G) -> impl Future<Output = Result<Vec<GroupMember>>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let group = group.try_into().map_err(Into::into);
        async move { self.group_members_packed(&group?).await }
    }

    /// Counts the channels in a group. See [`ChannelLayer::group_len_packed`]; one round trip for each 1,000 queues.
    ///
    /// # Errors
    ///
    /// As [`group_channels`](Self::group_channels).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_len_packed`].
    fn group_len<G>(&self, group: G) -> impl Future<Output = Result<usize>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let group = group.try_into().map_err(Into::into);
        async move { self.group_len_packed(&group?, usize::MAX).await }
    }

    /// Whether no channel is in a group. Mostly one round trip: the first member ends the search.
    ///
    /// # Errors
    ///
    /// As [`group_channels`](Self::group_channels).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_len_packed`].
    fn group_is_empty<G>(&self, group: G) -> impl Future<Output = Result<bool>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
    {
        let group = group.try_into().map_err(Into::into);
        async move { Ok(self.group_len_packed(&group?, 1).await? == 0) }
    }

    /// Lists the groups that a channel is in. See [`ChannelLayer::channel_groups_packed`].
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::channel_groups_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::channel_groups_packed`].
    fn channel_groups<N>(&self, channel: N) -> impl Future<Output = Result<Vec<GroupName>>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
    {
        let channel = parse(channel);
        async move { self.channel_groups_packed(&channel?).await }
    }

    /// Takes a channel out of all its groups. See [`ChannelLayer::leave_groups_packed`].
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::leave_groups_packed`]; also [`InvalidName`](crate::ErrorKind::InvalidName) for a malformed name.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::leave_groups_packed`].
    fn leave_groups<N>(&self, channel: N) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
    {
        let channel = parse(channel);
        async move { self.leave_groups_packed(&channel?).await }
    }
}

impl<L: ChannelLayer + ?Sized> ChannelLayerExt for L {}
