//! The operations of a channel layer for any serde type: they parse names and pack messages, then call the layer.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ChannelLayer;
use super::channel_names::ChannelNames;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::receipt::GroupReceipt;
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};

/// The first pause of a sender that waits for space; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The operations of a [`ChannelLayer`] for any serde type. Every layer has them.
///
/// ```no_run
/// use asgi_redis::{ChannelLayerExt, RedisChannelLayer, Value};
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
    /// As [`ChannelLayer::send_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name, and
    /// [`Encode`](ErrorKind::Encode) for a message that MessagePack cannot express.
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
    /// As [`send`](Self::send); [`ChannelFull`](ErrorKind::ChannelFull) when there was no space in all that time.
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
            let started = tokio::time::Instant::now();
            let mut pause = FIRST_PAUSE;
            loop {
                let full = match self.send_packed(&channel, message.clone()).await {
                    Err(error) if error.kind() == ErrorKind::ChannelFull => error,
                    other => return other,
                };
                let left = patience.saturating_sub(started.elapsed());
                if left.is_zero() {
                    return Err(full);
                }
                tokio::time::sleep(pause.min(left)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Waits for the next message on any of some channels and unpacks it.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::receive_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name, and
    /// [`Decode`](ErrorKind::Decode) for a message of another type, which [`Error::undecoded`] then holds.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`ChannelLayer::receive_packed`].
    fn receive<T>(&self, channels: impl ChannelNames) -> impl Future<Output = Result<(ChannelName, T)>> + Send
    where
        T: DeserializeOwned,
    {
        let channels = channels.into_names();
        async move {
            let (channel, message) = self.receive_packed(&channels?).await?;
            let message = unpack(&channel, &message)?;
            Ok((channel, message))
        }
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
        async move {
            let Some((channel, message)) = self.try_receive_packed(&channels?).await? else {
                return Ok(None);
            };
            let message = unpack(&channel, &message)?;
            Ok(Some((channel, message)))
        }
    }

    /// Waits up to `patience` for the next message on any of some channels; `None` when none came in time.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
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
            let Ok(received) = tokio::time::timeout(patience, self.receive_packed(&channels)).await else {
                return Ok(None);
            };
            let (channel, message) = received?;
            let message = unpack(&channel, &message)?;
            Ok(Some((channel, message)))
        }
    }

    /// Adds a channel to a group, or renews its membership. See [`ChannelLayer::group_add_packed`]; one round trip.
    ///
    /// # Errors
    ///
    /// As [`ChannelLayer::group_add_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name.
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
    /// 1,000 queues in the group, whatever the number of its members.
    ///
    /// ```no_run
    /// use asgi_redis::{ChannelLayer, ChannelLayerExt, RedisChannelLayer, Value};
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
    /// As [`ChannelLayer::group_send_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name, and
    /// [`Encode`](ErrorKind::Encode) for a message that MessagePack cannot express.
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
    /// As [`ChannelLayer::group_channels_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name.
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
    /// As [`ChannelLayer::channel_groups_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name.
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
    /// As [`ChannelLayer::leave_groups_packed`]; also [`InvalidName`](ErrorKind::InvalidName) for a malformed name.
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

fn parse<N: TryInto<ChannelName, Error: Into<Error>>>(name: N) -> Result<ChannelName> {
    name.try_into().map_err(Into::into)
}

fn pack<N, T>(channel: N, message: T) -> Result<(ChannelName, PackedMessage)>
where
    N: TryInto<ChannelName, Error: Into<Error>>,
    T: Serialize,
{
    Ok((parse(channel)?, PackedMessage::pack(&message)?))
}

fn group_and_channel<G, N>(group: G, channel: N) -> Result<(GroupName, ChannelName)>
where
    G: TryInto<GroupName, Error: Into<Error>>,
    N: TryInto<ChannelName, Error: Into<Error>>,
{
    Ok((group.try_into().map_err(Into::into)?, parse(channel)?))
}

fn group_and_message<G, T>(group: G, message: T) -> Result<(GroupName, PackedMessage)>
where
    G: TryInto<GroupName, Error: Into<Error>>,
    T: Serialize,
{
    Ok((group.try_into().map_err(Into::into)?, PackedMessage::pack(&message)?))
}

fn unpack<T: DeserializeOwned>(channel: &ChannelName, message: &PackedMessage) -> Result<T> {
    message.unpack_owned().map_err(|error| error.on_channel(channel.as_str()))
}
