//! What every layer refuses, in the same words.

use std::fmt::Display;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::{MILLISECOND, TEN_YEARS};
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// Refuses a message above the largest size.
pub(crate) fn check_size(to: impl Display, message: &PackedMessage, most: usize) -> Result<()> {
    if message.len() <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::MessageTooLarge,
        format!(
            "{to}: the message has {} bytes, option `max_message_size` allows {most}; send it in parts",
            message.len()
        ),
    ))
}

/// Refuses a time that a message cannot wait. `what` is what takes it.
pub(crate) fn check_expiry(what: &str, expiry: Duration) -> Result<()> {
    if (MILLISECOND..=TEN_YEARS).contains(&expiry) {
        return Ok(());
    }
    Err(Error::config(format!("{what} is {expiry:?}; it is from 1 ms to ten years")))
}

/// A reply, or a request, whose time is over.
pub(crate) fn too_late(text: impl Display) -> Error {
    Error::new(ErrorKind::TooLate, text.to_string())
}

/// Refuses an inbox where a channel to send to is meant.
pub(crate) fn check_sendable(channel: &ChannelName) -> Result<()> {
    if channel.kind() != ChannelKind::Inbox {
        return Ok(());
    }
    invalid(format!("channel {channel:?} is an inbox; send to an address in it, which follows the `!`"))
}

/// Refuses an inbox where a member of a group is meant.
pub(crate) fn check_member(channel: &ChannelName) -> Result<()> {
    if channel.kind() != ChannelKind::Inbox {
        return Ok(());
    }
    invalid(format!(
        "channel {channel:?} is an inbox; an address in it, which follows the `!`, may be in a group"
    ))
}

/// Refuses channels that cannot be received from together: none, too many, or an address inside an inbox.
pub(crate) fn check_receivable(channels: &[ChannelName], most: usize) -> Result<()> {
    if channels.is_empty() {
        return invalid("a receive names at least one channel".to_owned());
    }
    if channels.len() > most {
        return invalid(format!(
            "a receive names {} channels, option `max_channels_per_receive` allows {most}",
            channels.len()
        ));
    }
    match channels.iter().find(|channel| channel.kind() == ChannelKind::ProcessSpecific) {
        None => Ok(()),
        Some(channel) => invalid(format!(
            "channel {channel:?} is an address inside an inbox and is not received from; its messages come to the inbox {:?}",
            channel.queue()
        )),
    }
}

/// A channel that is full, as its senders are told.
pub(crate) fn channel_full(channel: &ChannelName, live: impl Display, capacity: usize) -> Error {
    let text = match channel.kind() {
        ChannelKind::ProcessSpecific => format!(
            "channel {channel:?} is full: {live} messages wait in the inbox of its process, whose capacity is {capacity} (option `inbox_capacity`); send again later"
        ),
        _ => format!(
            "channel {channel:?} is full: {live} messages wait, its capacity is {capacity}; receive some, or send again later"
        ),
    };
    Error::new(ErrorKind::ChannelFull, text)
}

/// A channel whose inbox has too many bytes, as its senders are told.
pub(crate) fn inbox_has_bytes(channel: &ChannelName) -> Error {
    Error::new(
        ErrorKind::ChannelFull,
        format!(
            "channel {channel:?} is full: what waits in the inbox of its process has as many bytes as it may have (option `inbox_bytes`); send again later"
        ),
    )
}

/// A mailbox that is full, as its senders are told.
pub(crate) fn mailbox_full(channel: &ChannelName) -> Error {
    Error::new(
        ErrorKind::ChannelFull,
        format!(
            "channel {channel:?} is full: its mailbox has not taken what waits in its process; send again later"
        ),
    )
}

/// A second receive of one process on a channel that has a single reader.
pub(crate) fn already_receiving(channel: &ChannelName) -> Error {
    Error::new(
        ErrorKind::AlreadyReceiving,
        format!(
            "channel {channel:?} has a single reader, and another receive of this process waits on it; let that one end first"
        ),
    )
}

/// A call on a layer that was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the channel layer was closed")
}

/// A call on a layer whose runtime has shut down, and its tasks with it.
pub(crate) fn runtime_ended() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the Tokio runtime in which this layer was connected has shut down; connect a layer in each runtime",
    )
}

/// Returns the Tokio runtime that this thread is in; `NoRuntime` outside of one. `what` is the call, as in "an inbox is
/// opened".
pub(crate) fn current_runtime(what: impl Display) -> Result<Handle> {
    Handle::try_current().map_err(|error| {
        Error::new(ErrorKind::NoRuntime, format!("{what} inside a Tokio runtime, and there is none here"))
            .with_source(error)
    })
}

fn invalid<T>(why: String) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidName, why))
}
