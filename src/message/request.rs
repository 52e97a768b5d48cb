//! A message that wants a reply: what its caller packs, and what its receiver holds.
//!
//! On the way it is a map of two texts: `message` is what the caller asks, and `reply_channel` the name of the channel to which the
//! one reply goes, any message. It expires when the caller no longer waits. `lua/README.md` has the form for other languages.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::well_formed;
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::ChannelName;

/// A request that was received: what is asked, and the way to answer it, once.
///
/// [`receive_request`](crate::ChannelLayerExt::receive_request) and
/// [`Mailbox::receive_request`](crate::Mailbox::receive_request) return it. [`reply`](Self::reply) takes it, so nothing is answered
/// twice. A request that is dropped is not answered: its caller waits until its time is over.
///
/// ```
/// use std::time::Duration;
///
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> asgi_redis::Result<()> {
/// let layer = MemoryLayer::builder().in_memory()?;
/// let worker = tokio::spawn({
///     let layer = layer.clone();
///     async move {
///         let request: Request<u32> = layer.receive_request("double").await?;
///         let doubled = request.message * 2;
///         request.reply(&layer, doubled).await
///     }
/// });
/// let doubled: u32 = layer.request("double", 21, Duration::from_secs(5)).await?;
/// assert_eq!(doubled, 42);
/// worker.await.unwrap()
/// # }
/// ```
pub struct Request<T> {
    /// What is asked.
    pub message: T,
    channel: ChannelName,
    reply_channel: ChannelName,
    expires: Option<Instant>,
}

/// A request on its way.
#[derive(Deserialize)]
struct Wire<T> {
    message: T,
    reply_channel: ChannelName,
}

impl<T> Request<T> {
    /// The channel that it came from.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Where the reply goes.
    pub fn reply_channel(&self) -> &ChannelName {
        &self.reply_channel
    }

    /// For how long its caller still waits, by the server's clock; nothing is left if it does not. `None` if the layer does not
    /// know, which those of this crate do.
    pub fn time_left(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.saturating_duration_since(Instant::now()))
    }

    /// The same request with something else in the place of what is asked, such as what was parsed from it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Request<U> {
        let Self { message, channel, reply_channel, expires } = self;
        Request { message: make(message), channel, reply_channel, expires }
    }
}

impl<T: DeserializeOwned> TryFrom<Delivery> for Request<T> {
    type Error = Error;

    /// Reads a request from a message that was received.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for a message that is no request, or asks something of another type;
    /// [`Error::undecoded`] has its bytes.
    fn try_from(delivery: Delivery) -> Result<Self> {
        let expires = delivery.expires();
        let (channel, packed) = delivery.into_parts();
        match packed.unpack_owned::<Wire<T>>() {
            Ok(Wire { message, reply_channel }) => Ok(Self { message, channel, reply_channel, expires }),
            Err(error) => Err(error.on_channel(channel.as_str())),
        }
    }
}

/// What is asked is not shown, as of a [`PackedMessage`].
impl<T> fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("channel", &self.channel)
            .field("reply_channel", &self.reply_channel)
            .field("time_left", &self.time_left())
            .finish_non_exhaustive()
    }
}

/// Puts what is asked into the form of a request.
pub(crate) fn wrap(message: &PackedMessage, reply_channel: &ChannelName) -> Result<PackedMessage> {
    let name = reply_channel.as_str();
    let mut bytes = Vec::with_capacity(32 + name.len() + message.len());
    // Written by hand, because what is asked is packed already. A name has at most 100 bytes.
    bytes.extend_from_slice(b"\x82\xadreply_channel\xd9");
    bytes.push(u8::try_from(name.len()).map_err(|_| Error::bug("a name of more than 255 bytes"))?);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\xa7message");
    bytes.extend_from_slice(message.as_bytes());
    match well_formed::check(&bytes) {
        Ok(()) => Ok(PackedMessage::from_bytes(bytes)),
        Err(well_formed::Fault::TooDeep) => Err(Error::new(
            ErrorKind::MessageTooLarge,
            format!(
                "what is asked is nested more than {} levels deep; ask something flatter",
                well_formed::MAX_DEPTH - 1
            ),
        )),
        Err(fault) => Err(Error::new(ErrorKind::Encode, format!("what is asked is no MessagePack: {fault}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::value::Value;

    fn name() -> ChannelName {
        ChannelName::new("reply.1!ab").unwrap()
    }

    #[test]
    fn a_request_is_a_map_of_what_is_asked_and_where_the_reply_goes() {
        let asked = PackedMessage::pack(&Value::map([("n", 7)])).unwrap();
        let wire = wrap(&asked, &name()).unwrap();
        let read: Value = wire.unpack().unwrap();
        let due = [("reply_channel", Value::from("reply.1!ab")), ("message", Value::map([("n", 7)]))];
        assert_eq!(read, Value::map(due));
        let channel = ChannelName::new("jobs").unwrap();
        let request = Request::<Value>::try_from(Delivery::new(channel, wire)).unwrap();
        assert_eq!((request.reply_channel(), request.channel().as_str()), (&name(), "jobs"));
        assert_eq!((request.time_left(), request.map(|_| 1).message), (None, 1));
    }

    #[test]
    fn keys_in_any_order_and_more_of_them_are_a_request_and_less_is_none() {
        let read = |value: Value| {
            let delivery = Delivery::new(name(), PackedMessage::pack(&value).unwrap());
            Request::<u8>::try_from(delivery).map(|request| request.message).map_err(|error| error.kind())
        };
        let [message, reply] = [("message", Value::from(7)), ("reply_channel", Value::from("r?1"))];
        assert_eq!(read(Value::map([message.clone(), reply.clone()])), Ok(7));
        assert_eq!(read(Value::map([message.clone(), ("more", Value::Nil), reply.clone()])), Ok(7));
        let bad_name = ("reply_channel", Value::from("a b"));
        for none in [
            Value::from(7),
            Value::map([message.clone()]),
            Value::map([reply]),
            Value::map([message, bad_name]),
        ] {
            assert_eq!(read(none), Err(ErrorKind::Decode));
        }
    }

    #[test]
    fn what_is_asked_is_packed_and_leaves_room_for_the_map_around_it() {
        let nested = |levels| {
            let value = (0..levels).fold(Value::Nil, |inner, _| Value::List(vec![inner]));
            wrap(&PackedMessage::pack(&value).unwrap(), &name()).map_err(|error| error.kind())
        };
        assert!(nested(63).is_ok());
        assert_eq!(nested(64).unwrap_err(), ErrorKind::MessageTooLarge);
        let broken = PackedMessage::from_bytes(&b"\xc1"[..]);
        assert_eq!(wrap(&broken, &name()).unwrap_err().kind(), ErrorKind::Encode);
    }
}
