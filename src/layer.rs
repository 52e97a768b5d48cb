//! What every channel layer promises, whatever carries its messages.
//!
//! [`ChannelLayer`] is the contract, in terms of packed messages, and can be used as a shared object
//! (`Arc<dyn ChannelLayer>`). [`ChannelLayerExt`] adds the same operations for any serde type to every layer.

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::name::ChannelName;

/// A boxed future, as the methods of [`ChannelLayer`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The first pause of a sender that waits for space; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A channel layer: messages are sent to names and received by names.
///
/// The rules are those of the channel layer specification ("ASGI", version 1.0, and today's Django Channels):
///
/// - A message is delivered at most once, to one receiver ("Messages").
/// - A channel holds at most its capacity of live messages; more are refused ("Capacity").
/// - A message that nobody took in time expires; it is never delivered afterwards ("Messages").
/// - Messages of one sender, that awaits each send, to a `?` or `!` channel arrive in order ("Ordering").
/// - Dropping a receive that has not returned loses, repeats and reorders nothing.
///
/// Every method may be called any number of times at once. Most programs call the methods of [`ChannelLayerExt`],
/// which take and give any serde type.
pub trait ChannelLayer: Send + Sync {
    /// Sends a message; it waits in the channel's queue until it is received or expires.
    ///
    /// # Errors
    ///
    /// - [`ChannelFull`](ErrorKind::ChannelFull): as many live messages wait as the channel's capacity.
    /// - [`MessageTooLarge`](ErrorKind::MessageTooLarge): it is larger than the layer carries.
    /// - [`InvalidName`](ErrorKind::InvalidName): the name is an inbox's; send to an address in it.
    /// - [`Connection`](ErrorKind::Connection), [`Timeout`](ErrorKind::Timeout): ask
    ///   [`Error::perhaps_sent`] whether the message may have arrived.
    /// - [`Closed`](ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped send has either sent the message or not; it never sends it twice.
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>>;

    /// Waits for the next message on any of some channels, which are looked at in turn so that a busy one does not
    /// starve the others ("Messages", on fairness).
    ///
    /// It waits through outages, for as long as it takes; see
    /// [`receive_timeout`](ChannelLayerExt::receive_timeout).
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): no channel is named, more than the layer's limit, or an address
    ///   inside an inbox.
    /// - [`AlreadyReceiving`](ErrorKind::AlreadyReceiving): another receive of this process waits on the same `?`
    ///   channel; such a channel has a single reader.
    /// - [`Decode`](ErrorKind::Decode): what waited was no message. It is taken, and the next receive goes on.
    /// - [`Closed`](ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message that the dropped future had been given, but had not returned, goes to the next receiver
    /// or back to its place in the queue.
    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>>;

    /// Takes a message that waits on any of some channels, without waiting for one.
    ///
    /// # Errors
    ///
    /// As [`receive_packed`](Self::receive_packed), and [`Connection`](ErrorKind::Connection) while no server can be
    /// asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive_packed`](Self::receive_packed).
    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>>;

    /// Makes a new single-reader channel: the pattern, which ends in `?`, and 128 random bits. Costs nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName): the pattern does not end in `?`, or is too long. One that ends in `!`
    /// names an inbox, which is opened and not named.
    fn new_channel(&self, pattern: &str) -> Result<ChannelName> {
        ChannelName::random(pattern)
    }

    /// Removes all messages and groups, in bounded steps. Receives that wait go on waiting and get what is sent
    /// afterwards ("flush" extension).
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection), [`Timeout`](ErrorKind::Timeout): some may be left; call it again.
    ///
    /// # Cancel safety
    ///
    /// A dropped flush has removed a part; calling it again removes the rest.
    fn flush(&self) -> BoxFuture<'_, Result<()>>;

    /// Ends the layer: what was taken and not returned to a caller goes back, waiting receives end with
    /// [`Closed`](ErrorKind::Closed), and so does every later call. Closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection), [`Timeout`](ErrorKind::Timeout): a server could not be told, so what
    /// it had given to this process stays there until it expires.
    ///
    /// # Cancel safety
    ///
    /// Once called, closing goes on in the background even if the future is dropped.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

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
    /// [`Encode`](ErrorKind::Encode) for a message that MessagePack cannot say.
    ///
    /// # Cancel safety
    ///
    /// As [`ChannelLayer::send_packed`].
    fn send<N, T>(&self, channel: N, message: &T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize + ?Sized,
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
        message: &T,
        patience: Duration,
    ) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<Error>>,
        T: Serialize + ?Sized,
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
    fn receive<I, T>(&self, channels: I) -> impl Future<Output = Result<(ChannelName, T)>> + Send
    where
        I: IntoIterator<Item: TryInto<ChannelName, Error: Into<Error>>>,
        T: DeserializeOwned,
    {
        let channels = parse_all(channels);
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
    fn try_receive<I, T>(&self, channels: I) -> impl Future<Output = Result<Option<(ChannelName, T)>>> + Send
    where
        I: IntoIterator<Item: TryInto<ChannelName, Error: Into<Error>>>,
        T: DeserializeOwned,
    {
        let channels = parse_all(channels);
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
    fn receive_timeout<I, T>(
        &self,
        channels: I,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<(ChannelName, T)>>> + Send
    where
        I: IntoIterator<Item: TryInto<ChannelName, Error: Into<Error>>>,
        T: DeserializeOwned,
    {
        let channels = parse_all(channels);
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
}

impl<L: ChannelLayer + ?Sized> ChannelLayerExt for L {}

fn parse<N: TryInto<ChannelName, Error: Into<Error>>>(name: N) -> Result<ChannelName> {
    name.try_into().map_err(Into::into)
}

fn pack<N, T>(channel: N, message: &T) -> Result<(ChannelName, PackedMessage)>
where
    N: TryInto<ChannelName, Error: Into<Error>>,
    T: Serialize + ?Sized,
{
    Ok((parse(channel)?, PackedMessage::pack(message)?))
}

fn parse_all<I>(names: I) -> Result<Vec<ChannelName>>
where
    I: IntoIterator<Item: TryInto<ChannelName, Error: Into<Error>>>,
{
    names.into_iter().map(parse).collect()
}

fn unpack<T: DeserializeOwned>(channel: &ChannelName, message: &PackedMessage) -> Result<T> {
    message.unpack_owned().map_err(|error| error.on_channel(channel.as_str()))
}
