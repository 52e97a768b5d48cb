//! Requests: a message, and the one reply to it.
//!
//! Each request has a mailbox of its own in an inbox that the layer keeps, see [`replies`](super::replies). The request expires when
//! its caller no longer waits, so no worker takes it for nothing; a reply that comes later finds no mailbox.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::ChannelLayer;
use super::refusals::{check_expiry, current_runtime, too_late};
use super::until_accepted::{Patience, until_accepted};
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::message::request::{Request, wrap};
use crate::name::ChannelName;

/// What became of the requests of this layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStatistics {
    /// Requests whose callers wait.
    pub waiting: usize,
    /// Replies that came when nobody waited for them any more, or after another reply; they were dropped.
    pub late_replies: u64,
}

/// How far a request got before its time was over.
enum Progress {
    Opening,
    Sending,
    Sent,
}

/// Sends a request, and waits for its reply.
pub(super) async fn request<L: ChannelLayer + ?Sized>(
    layer: &L,
    channel: &ChannelName,
    message: PackedMessage,
    timeout: Duration,
) -> Result<PackedMessage> {
    check_expiry("the timeout of a request", timeout)?;
    current_runtime("a request is made")?;
    let mut progress = Progress::Opening;
    let answered = async {
        let mut mailbox = layer.open_reply_mailbox().await?;
        let request = wrap(&message, mailbox.name())?;
        progress = Progress::Sending;
        // All of its time, not what is left: requests of one timeout share calls, and a worker looks at the time left.
        layer.send_with_expiry_packed(channel, request, timeout).await?;
        progress = Progress::Sent;
        mailbox.receive_packed().await
    };
    match timeout_at(Instant::now() + timeout, answered).await {
        Ok(Err(error)) if matches!(progress, Progress::Sent) => Err(error.with_perhaps_sent(true)),
        Ok(answered) => answered,
        Err(_) => Err(match progress {
            Progress::Opening => not_in_time(channel, timeout).with_perhaps_sent(false),
            Progress::Sending => not_in_time(channel, timeout).with_perhaps_sent(true),
            Progress::Sent => too_late(format_args!(
                "channel {channel:?}: no reply came within {timeout:?}; the request may have been carried out"
            ))
            .with_perhaps_sent(true),
        }),
    }
}

fn not_in_time(channel: &ChannelName, timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("channel {channel:?}: no server took the request within {timeout:?}; try again later"),
    )
}

impl<T> Request<T> {
    /// Sends the reply, for which its caller waits. While there is no room for it, or its server is away, it tries on, as
    /// [`send_within`](crate::ChannelLayerExt::send_within) does, for as long as the caller waits. One round trip as a rule.
    ///
    /// Of a layer that does not know [how long that is](Self::time_left) it tries once.
    ///
    /// # Errors
    ///
    /// - [`TooLate`](ErrorKind::TooLate): the caller no longer waits, and nothing was sent.
    /// - [`ChannelFull`](ErrorKind::ChannelFull), [`Connection`](ErrorKind::Connection) and the other kinds of a
    ///   [`send`](crate::ChannelLayerExt::send): it could not be sent in that time. Ask [`Error::perhaps_sent`] whether it may have
    ///   arrived; it is not sent again.
    ///
    /// # Cancel safety
    ///
    /// A dropped reply was sent or not, and is never sent twice.
    pub fn reply<L, R>(
        self,
        layer: &L,
        reply: R,
    ) -> impl Future<Output = Result<()>> + Send + use<'_, L, R, T>
    where
        L: ChannelLayer + ?Sized,
        R: Serialize,
    {
        let packed = PackedMessage::pack(&reply);
        let (channel, left) = (self.reply_channel().clone(), self.time_left());
        async move {
            let packed = packed?;
            match left {
                None => layer.send_packed(&channel, packed).await,
                Some(Duration::ZERO) => Err(too_late(format_args!(
                    "channel {channel:?}: the caller no longer waits for the reply, so it was not sent"
                ))),
                Some(left) => {
                    let patience = Patience { longest: left, through_outages: true };
                    until_accepted(
                        || format!("channel {channel:?}"),
                        patience,
                        || layer.send_packed(&channel, packed.clone()),
                    )
                    .await
                }
            }
        }
    }
}
