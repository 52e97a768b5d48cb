//! From what a program writes to names and packed messages, and from a packed message to a value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::channel_names::ChannelNames;
use crate::error::{Error, Result};
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};

pub(super) fn parse<N: TryInto<ChannelName, Error: Into<Error>>>(name: N) -> Result<ChannelName> {
    name.try_into().map_err(Into::into)
}

pub(super) fn pack<N, T>(channel: N, message: T) -> Result<(ChannelName, PackedMessage)>
where
    N: TryInto<ChannelName, Error: Into<Error>>,
    T: Serialize,
{
    Ok((parse(channel)?, PackedMessage::pack(&message)?))
}

pub(super) fn groups_and_channels<G>(
    groups: impl IntoIterator<Item = G>,
    channels: impl ChannelNames,
) -> Result<(Vec<GroupName>, Vec<ChannelName>)>
where
    G: TryInto<GroupName, Error: Into<Error>>,
{
    let groups: Result<_> = groups.into_iter().map(|group| group.try_into().map_err(Into::into)).collect();
    Ok((groups?, channels.into_names()?))
}

pub(super) fn group_and_channel<G, N>(group: G, channel: N) -> Result<(GroupName, ChannelName)>
where
    G: TryInto<GroupName, Error: Into<Error>>,
    N: TryInto<ChannelName, Error: Into<Error>>,
{
    Ok((group.try_into().map_err(Into::into)?, parse(channel)?))
}

pub(super) fn group_and_message<G, T>(group: G, message: T) -> Result<(GroupName, PackedMessage)>
where
    G: TryInto<GroupName, Error: Into<Error>>,
    T: Serialize,
{
    Ok((group.try_into().map_err(Into::into)?, PackedMessage::pack(&message)?))
}

/// Unpacks what was received.
pub(super) fn unpack<T: DeserializeOwned>(
    (channel, message): (ChannelName, PackedMessage),
) -> Result<(ChannelName, T)> {
    match message.unpack_owned() {
        Ok(message) => Ok((channel, message)),
        Err(error) => Err(error.on_channel(channel.as_str())),
    }
}

/// Divides what is to be sent from what is refused already: the first list has what can be sent, the second an error for each that
/// cannot be, at its place.
pub(super) fn apart<M>(messages: impl Iterator<Item = Result<M>>) -> (Vec<M>, Vec<Option<Error>>) {
    let mut sendable = Vec::new();
    let refused = messages
        .map(|message| match message {
            Ok(message) => {
                sendable.push(message);
                None
            }
            Err(error) => Some(error),
        })
        .collect();
    (sendable, refused)
}

/// What became of all, in their order: of those that were refused, and of those that were sent.
pub(super) fn together<T>(refused: Vec<Option<Error>>, sent: Vec<Result<T>>) -> Vec<Result<T>> {
    let mut sent = sent.into_iter();
    let next = |refused: Option<Error>| match refused {
        Some(error) => Err(error),
        None => sent.next().unwrap_or_else(|| {
            let bug = Error::bug("a layer returned fewer outcomes than it was given messages");
            Err(bug.with_perhaps_sent(true))
        }),
    };
    refused.into_iter().map(next).collect()
}
