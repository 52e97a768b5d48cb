//! The operations of a channel layer for any serde type: they parse names and pack messages, then call the layer.

use std::time::Duration;

use futures_util::stream::{Stream, StreamExt, iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::received::received;
use super::request::request;
use super::typed::{
    apart, group_and_channel, group_and_message, groups_and_channels, pack, parse, together, unpack,
};
use super::until_accepted::{Patience, until_accepted};
use super::{ChannelLayer, ChannelNames};
use crate::error::{Error, Result};
use crate::layer::receipt::GroupReceipt;
use crate::layer::refusals::current_runtime;
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::request::Request;
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
            let patience = Patience { longest: patience, through_outages: false };
            until_accepted(
                || format!("channel {channel:?}"),
                patience,
                || self.send_packed(&channel, message.clone()),
            )
            .await
        }
    }

    /// Packs and sends a message, waiting up to `patience` for space in a full channel, and for a server that is away.
    ///
    /// It tries again only what was certainly not sent, so it never sends twice: after 5 ms, then after twice as long each time
    /// up to 250 ms, one call to the server each. When `patience` is over it returns, also if a server does not answer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// layer.send_within("jobs", 7, Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send): what refused it last. [`perhaps_sent`](Error::perhaps_sent) tells whether a server may have taken
    /// it without an answer; then it is not tried again. [`NoRuntime`](crate::ErrorKind::NoRuntime) outside of a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_packed`].
    fn send_within<N, T>(
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
            let patience = Patience { longest: patience, through_outages: true };
            until_accepted(
                || format!("channel {channel:?}"),
                patience,
                || self.send_packed(&channel, message.clone()),
            )
            .await
        }
    }

    /// Packs and sends some messages, and returns what became of each, in their order. See [`ChannelLayer::send_many_packed`]; one
    /// round trip to each server for each 128 messages, with those to one server under way together.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().channel_capacity([("small", 1)]).in_memory()?;
    /// let sent = layer.send_many([("jobs", 1), ("small", 2), ("small", 3), ("no name", 4)]).await;
    /// let kinds: Vec<_> = sent.into_iter().map(|sent| sent.err().map(|error| error.kind())).collect();
    /// assert_eq!(kinds, [None, None, Some(ErrorKind::ChannelFull), Some(ErrorKind::InvalidName)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Each is as of [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_many_packed`].
    fn send_many<N, T>(
        &self,
        messages: impl IntoIterator<Item = (N, T)>,
    ) -> impl Future<Output = Vec<Result<()>>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize,
    {
        let (packed, outcomes) = apart(messages.into_iter().map(|(channel, message)| pack(channel, message)));
        async move { together(outcomes, self.send_many_packed(packed).await) }
    }

    /// Packs and sends messages to some groups, and returns what became of each, in their order. Each is as a
    /// [`group_send`](Self::group_send), with 32 under way at once.
    ///
    /// # Errors
    ///
    /// Each is as of [`group_send`](Self::group_send).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has sent some, all or none; it sends none of them twice.
    fn group_send_many<G, T>(
        &self,
        messages: impl IntoIterator<Item = (G, T)>,
    ) -> impl Future<Output = Vec<Result<GroupReceipt>>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        T: Serialize,
    {
        const AT_ONCE: usize = 32;
        let packed = messages.into_iter().map(|(group, message)| group_and_message(group, message));
        let (packed, outcomes) = apart(packed);
        async move {
            let sends = packed
                .into_iter()
                .map(|(group, message)| async move { self.group_send_packed(&group, message, false).await });
            together(outcomes, iter(sends).buffered(AT_ONCE).collect::<Vec<_>>().await)
        }
    }

    /// Packs and sends a message with an expiry of its own. See [`ChannelLayer::send_with_expiry_packed`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); also [`Config`](crate::ErrorKind::Config) for an expiry under 1 ms or over ten years.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_packed`].
    fn send_with_expiry<N, T>(
        &self,
        channel: N,
        message: T,
        expiry: Duration,
    ) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = pack(channel, message);
        async move {
            let (channel, message) = sent?;
            self.send_with_expiry_packed(&channel, message, expiry).await
        }
    }

    /// Asks whoever receives requests on a channel, and waits up to `timeout` for the reply.
    ///
    /// The request expires at the end of `timeout`, so no worker takes it when nobody waits any more. The worker is told how much of
    /// that is left, by the server's clock. The reply comes to a mailbox of this request, in an inbox that the layer opens
    /// with its first request; one that comes later is dropped and counted by
    /// [`request_statistics`](ChannelLayer::request_statistics), and leaves nothing behind.
    ///
    /// One command for the request, as a send, and a share of one for its reply: an inbox is read in batches of up to 200.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// let asked = layer.request::<String>("echo", "hello", Duration::from_millis(50)).await;
    /// assert_eq!(asked.unwrap_err().kind(), ErrorKind::TooLate); // nobody serves
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TooLate`](crate::ErrorKind::TooLate): no reply came in time. The request may have been carried out, so
    ///   [`perhaps_sent`](Error::perhaps_sent) is true.
    /// - As [`send`](Self::send), at once: a full channel, a server that is away. [`Timeout`](crate::ErrorKind::Timeout) if a
    ///   server did not take the request in all of `timeout`.
    /// - [`Config`](crate::ErrorKind::Config): the timeout is under 1 ms or over ten years.
    /// - [`Decode`](crate::ErrorKind::Decode): the reply is of another type; [`Error::undecoded`] has it.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed. [`NoRuntime`](crate::ErrorKind::NoRuntime) outside of a Tokio
    ///   runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped request was sent or not. Its reply, if one comes, is dropped and counted.
    fn request<R>(
        &self,
        channel: impl TryInto<ChannelName, Error: Into<Error>>,
        message: impl Serialize,
        timeout: Duration,
    ) -> impl Future<Output = Result<R>> + Send
    where
        R: DeserializeOwned,
    {
        let asked = pack(channel, message);
        async move {
            let (channel, message) = asked?;
            let reply = request(self, &channel, message, timeout).await?;
            reply.unpack_owned().map_err(|error| error.with_perhaps_sent(true).on_channel(channel.as_str()))
        }
    }

    /// Asks as [`request`](Self::request) does, with a message and a reply that are packed.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// As [`request`](Self::request).
    fn request_packed(
        &self,
        channel: &ChannelName,
        message: PackedMessage,
        timeout: Duration,
    ) -> impl Future<Output = Result<PackedMessage>> + Send {
        request(self, channel, message, timeout)
    }

    /// Waits for the next request on any of some channels.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive); also [`Decode`](crate::ErrorKind::Decode) for a message that is no request.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`ChannelLayer::receive_packed`].
    fn receive_request<T>(
        &self,
        channels: impl ChannelNames,
    ) -> impl Future<Output = Result<Request<T>>> + Send
    where
        T: DeserializeOwned,
    {
        let channels = channels.into_names();
        async move { self.receive_delivery(&channels?).await?.try_into() }
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

    /// Returns the messages that [`receive`](Self::receive) would return, as a stream. It ends when the layer is closed.
    ///
    /// One receive waits at a time. An error that is about more than one message, such as a right that is missing, is an item, and the
    /// stream goes on half a second later; a name that is refused is the last item. While a stream is not polled it may hold
    /// one message that was handed to it: keep polling, or drop it.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    /// use futures::{StreamExt, TryStreamExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// for number in 1..=3 {
    ///     layer.send("numbers", number).await?;
    /// }
    /// let numbers: Vec<(ChannelName, u32)> = layer.messages(["numbers", "more"]).take(3).try_collect().await?;
    /// assert_eq!(numbers.iter().map(|(_, number)| number).sum::<u32>(), 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping a poll of it loses nothing, and neither does dropping the stream: a message that it was handed and has not returned
    /// goes to the next receiver or back to its place.
    fn messages<T>(
        &self,
        channels: impl ChannelNames,
    ) -> impl Stream<Item = Result<(ChannelName, T)>> + Send + Unpin
    where
        T: DeserializeOwned + Send + 'static,
    {
        let channels = channels.into_names();
        received(self, channels, |layer, channels| {
            Box::pin(async move { unpack(layer.receive_packed(channels).await?) })
        })
    }

    /// Returns the requests that [`receive_request`](Self::receive_request) would return, as a stream, which is one as
    /// [`messages`](Self::messages) is.
    ///
    /// # Cancel safety
    ///
    /// As [`messages`](Self::messages).
    fn requests<T>(
        &self,
        channels: impl ChannelNames,
    ) -> impl Stream<Item = Result<Request<T>>> + Send + Unpin
    where
        T: DeserializeOwned + Send + 'static,
    {
        let channels = channels.into_names();
        received(self, channels, |layer, channels| {
            Box::pin(async move { layer.receive_delivery(channels).await?.try_into() })
        })
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

    /// As [`group_send`](Self::group_send), waiting up to `patience` for a server that is away. It tries again only what certainly
    /// reached nobody, so nobody gets it twice; as soon as one server takes it, the receipt tells of the others.
    ///
    /// # Errors
    ///
    /// As [`group_send`](Self::group_send): what refused it last. [`NoRuntime`](crate::ErrorKind::NoRuntime) outside of a Tokio
    /// runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::group_send_packed`].
    fn group_send_within<G, T>(
        &self,
        group: G,
        message: T,
        patience: Duration,
    ) -> impl Future<Output = Result<GroupReceipt>> + Send
    where
        G: TryInto<GroupName, Error: Into<Error>>,
        T: Serialize,
    {
        let sent = group_and_message(group, message);
        async move {
            let (group, message) = sent?;
            let patience = Patience { longest: patience, through_outages: true };
            let to = || format!("group {group:?}");
            until_accepted(to, patience, || self.group_send_packed(&group, message.clone(), false)).await
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
