//! `channel_groups.lua`: lists the groups of a channel.

use std::borrow::Cow;

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{read_list, reveal_all, text};
use crate::name::ChannelName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Lists the groups of a channel, a step at a time.
pub(in crate::redis) struct ChannelGroups<'a> {
    pub(in crate::redis) channel: &'a ChannelName,
    pub(in crate::redis) cursor: &'a str,
}

impl Call for ChannelGroups<'_> {
    /// Where the next step begins, empty after the last; and groups.
    type Reply = (String, Vec<String>);

    fn script() -> &'static Script {
        &script::CHANNEL_GROUPS
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(Self::script(), 1, 384), keys.names());
        cmd.arg(keys.groups_of(self.channel.queue())).arg(keys.prefix());
        cmd.arg(&*names.queue(self.channel.queue()));
        cmd.arg(&*names.address(self.channel.local().unwrap_or_default())).arg(self.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<(String, Vec<String>), Value> {
        read_list(reply, |parts| match parts {
            [cursor, groups @ ..] => Some((text(cursor)?, groups.iter().map(text).collect::<Option<_>>()?)),
            _ => None,
        })
    }

    fn reveal((_, groups): &mut (String, Vec<String>), names: &Names) {
        reveal_all(groups, |group| names.reveal_group(group).map(Cow::into_owned));
    }
}
