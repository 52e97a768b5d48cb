//! A received message with the time that it has left.

use std::time::Duration;

use tokio::time::Instant;

use crate::message::PackedMessage;
use crate::name::ChannelName;

/// A received message, and how long it would still have waited: what a [`Request`](crate::Request) is made of.
///
/// ```
/// use std::time::Duration;
///
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> asgi_redis::Result<()> {
/// let layer = MemoryLayer::builder().in_memory()?;
/// layer.send_with_expiry("jobs", 7, Duration::from_secs(5)).await?;
/// let delivery = layer.receive_delivery(&["jobs".parse()?]).await?;
/// assert!(delivery.time_left().is_some_and(|left| left > Duration::from_secs(4)));
/// assert_eq!(delivery.message().unpack::<u32>()?, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Delivery {
    channel: ChannelName,
    message: PackedMessage,
    expires: Option<Instant>,
}

impl Delivery {
    /// A message of a layer of one's own that does not know when its messages expire.
    pub fn new(channel: ChannelName, message: PackedMessage) -> Self {
        Self { channel, message, expires: None }
    }

    /// The same, of a layer that knows for how long it would still have waited.
    #[must_use]
    pub fn with_time_left(self, left: Duration) -> Self {
        Self { expires: Instant::now().checked_add(left), ..self }
    }

    pub(crate) fn expiring(channel: ChannelName, message: PackedMessage, expires: Option<Instant>) -> Self {
        Self { channel, message, expires }
    }

    /// The channel that it came from.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The message as it was sent.
    pub fn message(&self) -> &PackedMessage {
        &self.message
    }

    /// How long it would still have waited for a receiver: its expiry without the time since it was sent, by the server's
    /// clock. `None` if the layer does not know.
    pub fn time_left(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// The channel and the message.
    pub fn into_parts(self) -> (ChannelName, PackedMessage) {
        (self.channel, self.message)
    }
}
