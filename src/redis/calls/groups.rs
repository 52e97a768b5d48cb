//! The calls of the scripts for groups.

use std::borrow::Cow;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::{Call, decode, evalsha};
use crate::name::{ChannelName, GroupName};
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// The sender of what must keep its order across reconnections: a client, and the generation of its connection.
pub(in crate::redis) type Fence<'a> = (&'a ClientId, u64);

/// A member that is added, and for how long.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Member<'a> {
    pub(in crate::redis) queue: &'a str,
    /// Empty if the queue is no inbox.
    pub(in crate::redis) address: &'a str,
    pub(in crate::redis) capacity: usize,
    pub(in crate::redis) left_ms: u64,
}

/// Adds members to a group.
pub(in crate::redis) struct GroupAdd<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) mode: AddMode,
    pub(in crate::redis) members: &'a [Member<'a>],
}

/// How members are added, and whether their owner need be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum AddMode {
    /// By anybody.
    Set,
    /// By their owner, after the server has lost them: a membership that lasts longer stays as it is.
    Keep,
    /// By their owner, while they are members: who is none any more does not become one.
    Renew,
}

/// What a change of members answers: a number, or nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum Changed {
    /// Of an addition the server's time in µs; of the others, how many were in.
    Ok(u64),
    Stale,
}

fn decode_changed(reply: Value) -> Result<Changed, Value> {
    decode(reply, |tag, rest| match (tag, rest) {
        (b"ok", [Value::Int(number)]) => Some(Changed::Ok(u64::try_from(*number).ok()?)),
        (b"stale", []) => Some(Changed::Stale),
        _ => None,
    })
}

impl Call for GroupAdd<'_> {
    type Reply = Changed;

    fn script() -> &'static Script {
        &script::GROUP_ADD
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 256 + 64 * self.members.len());
        let names = keys.names();
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*names.group(self.group.as_str()));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(match self.mode {
            AddMode::Set => "set",
            AddMode::Keep => "keep",
            AddMode::Renew => "renew",
        });
        for member in self.members {
            cmd.arg(&*names.queue(member.queue))
                .arg(&*names.address(member.address))
                .arg(member.capacity)
                .arg(member.left_ms);
        }
        cmd
    }

    fn decode(reply: Value) -> Result<Changed, Value> {
        decode_changed(reply)
    }

    fn is_stale(reply: &Changed) -> bool {
        *reply == Changed::Stale
    }
}

/// Takes members out of a group.
pub(in crate::redis) struct GroupDiscard<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) by_owner: bool,
    /// Queues and addresses.
    pub(in crate::redis) members: &'a [(&'a str, &'a str)],
}

impl Call for GroupDiscard<'_> {
    type Reply = Changed;

    fn script() -> &'static Script {
        &script::GROUP_DISCARD
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 256 + 64 * self.members.len());
        let names = keys.names();
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*names.group(self.group.as_str()));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(if self.by_owner { "quiet" } else { "tell" });
        for (queue, address) in self.members {
            cmd.arg(&*names.queue(queue)).arg(&*names.address(address));
        }
        cmd
    }

    fn decode(reply: Value) -> Result<Changed, Value> {
        decode_changed(reply)
    }

    fn is_stale(reply: &Changed) -> bool {
        *reply == Changed::Stale
    }
}

/// Takes a channel out of all its groups, a step at a time.
pub(in crate::redis) struct GroupLeave<'a> {
    pub(in crate::redis) channel: &'a ChannelName,
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) cursor: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum GroupLeaveReply {
    /// Where the next step begins; empty after the last.
    Ok {
        cursor: String,
    },
    Stale,
}

impl Call for GroupLeave<'_> {
    type Reply = GroupLeaveReply;

    fn script() -> &'static Script {
        &script::GROUP_LEAVE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(Self::script(), 1, 512), keys.names());
        cmd.arg(keys.groups_of(self.channel.queue())).arg(keys.prefix());
        cmd.arg(&*names.queue(self.channel.queue()));
        cmd.arg(&*names.address(self.channel.local().unwrap_or_default()));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(self.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<GroupLeaveReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [cursor, Value::Int(_removed)]) => Some(GroupLeaveReply::Ok { cursor: text(cursor)? }),
            (b"stale", []) => Some(GroupLeaveReply::Stale),
            _ => None,
        })
    }

    fn is_stale(reply: &GroupLeaveReply) -> bool {
        *reply == GroupLeaveReply::Stale
    }
}

/// Sends a message to a group, a step at a time.
pub(in crate::redis) struct GroupSend<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) expiry_ms: u64,
    pub(in crate::redis) cursor: &'a str,
    pub(in crate::redis) name_full: bool,
    pub(in crate::redis) body: Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum GroupSendReply {
    Sent {
        /// Where the next step begins; empty after the last.
        cursor: String,
        delivered: usize,
        full: usize,
        expired: usize,
        failed: usize,
        full_queues: Vec<String>,
    },
    Stale,
}

impl Call for GroupSend<'_> {
    type Reply = GroupSendReply;

    const IS_REPEATABLE: bool = false;

    fn script() -> &'static Script {
        &script::GROUP_SEND
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 512 + self.body.len());
        cmd.arg(keys.group(self.group)).arg(keys.prefix());
        cmd.arg(&*keys.names().group(self.group.as_str())).arg(self.expiry_ms);
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(self.cursor);
        cmd.arg(if self.name_full { "names" } else { "" }).arg(&*self.body);
        cmd
    }

    fn decode(reply: Value) -> Result<GroupSendReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [cursor, delivered, full, expired, failed, names @ ..]) => Some(GroupSendReply::Sent {
                cursor: text(cursor)?,
                delivered: count(delivered)?,
                full: count(full)?,
                expired: count(expired)?,
                failed: count(failed)?,
                full_queues: names.iter().map(text).collect::<Option<_>>()?,
            }),
            (b"stale", []) => Some(GroupSendReply::Stale),
            _ => None,
        })
    }

    fn is_stale(reply: &GroupSendReply) -> bool {
        *reply == GroupSendReply::Stale
    }

    fn reveal(reply: &mut GroupSendReply, names: &Names) {
        if let GroupSendReply::Sent { full_queues, .. } = reply {
            reveal_all(full_queues, |queue| names.reveal_queue(queue));
        }
    }
}

/// Counts the members of a group, a step at a time.
pub(in crate::redis) struct GroupLen<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) cursor: &'a str,
    pub(in crate::redis) enough: usize,
}

impl Call for GroupLen<'_> {
    /// Where the next step begins, empty after the last; and how many members this one counted.
    type Reply = (String, usize);

    fn script() -> &'static Script {
        &script::GROUP_LEN
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 384);
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*keys.names().group(self.group.as_str()));
        cmd.arg(self.cursor).arg(self.enough);
        cmd
    }

    fn decode(reply: Value) -> Result<(String, usize), Value> {
        read_list(reply, |parts| match parts {
            [cursor, members] => Some((text(cursor)?, count(members)?)),
            _ => None,
        })
    }
}

/// Lists the members of a group, a step at a time.
pub(in crate::redis) struct GroupList<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) place: &'a ListPlace,
}

/// Where a step of a list begins: in the middle of a name, or after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct ListPlace {
    pub(in crate::redis) name: String,
    pub(in crate::redis) cursor: String,
}

impl ListPlace {
    /// The beginning; a step that ends here was the last.
    pub(in crate::redis) fn start() -> Self {
        Self { name: String::new(), cursor: "0".to_owned() }
    }

    pub(in crate::redis) fn is_start(&self) -> bool {
        self.name.is_empty() && self.cursor == "0"
    }

    pub(super) fn read(name: &Value, cursor: &Value) -> Option<Self> {
        Some(Self { name: text(name)?, cursor: text(cursor)? })
    }
}

impl Call for GroupList<'_> {
    /// Where the next step begins, and channels.
    type Reply = (ListPlace, Vec<String>);

    fn script() -> &'static Script {
        &script::GROUP_LIST
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 384);
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*keys.names().group(self.group.as_str()));
        cmd.arg(&self.place.name).arg(&self.place.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<(ListPlace, Vec<String>), Value> {
        read_list(reply, |parts| match parts {
            [name, cursor, channels @ ..] => {
                Some((ListPlace::read(name, cursor)?, channels.iter().map(text).collect::<Option<_>>()?))
            }
            _ => None,
        })
    }

    fn reveal((_, channels): &mut (ListPlace, Vec<String>), names: &Names) {
        reveal_all(channels, |channel| names.reveal_channel(channel));
    }
}

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

/// What another key has hidden is not of this layer, and is left out.
fn reveal_all(listed: &mut Vec<String>, reveal: impl Fn(&str) -> Option<String>) {
    *listed = listed.iter().filter_map(|name| reveal(name)).collect();
}

/// Reads a reply that is a list.
pub(super) fn read_list<T>(reply: Value, read: impl FnOnce(&[Value]) -> Option<T>) -> Result<T, Value> {
    let read = if let Value::Array(parts) = &reply { read(parts) } else { None };
    read.ok_or(reply)
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    }
}

pub(super) fn count(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn list(parts: &[Value]) -> Value {
        Value::Array(parts.to_vec())
    }

    #[test]
    fn each_reply_of_a_change_of_members_is_read() {
        let ok = list(&[bulk("ok"), Value::Int(1_795_394_824_299_123)]);
        assert_eq!(GroupAdd::decode(ok), Ok(Changed::Ok(1_795_394_824_299_123)));
        assert_eq!(GroupDiscard::decode(list(&[bulk("ok"), Value::Int(2)])), Ok(Changed::Ok(2)));
        let stale = list(&[bulk("stale")]);
        assert!(GroupAdd::is_stale(&GroupAdd::decode(stale.clone()).unwrap()));
        assert!(GroupDiscard::is_stale(&GroupDiscard::decode(stale.clone()).unwrap()));
        assert!(GroupLeave::is_stale(&GroupLeave::decode(stale).unwrap()));
        let left = list(&[bulk("ok"), bulk("room-7"), Value::Int(500)]);
        assert_eq!(GroupLeave::decode(left), Ok(GroupLeaveReply::Ok { cursor: "room-7".to_owned() }));
    }

    #[test]
    fn each_reply_of_group_send_is_read() {
        let numbers = [Value::Int(3), Value::Int(1), Value::Int(2), Value::Int(0)];
        let reply = [&[bulk("ok"), bulk("")], &numbers[..], &[bulk("jobs")]].concat();
        let sent = GroupSendReply::Sent {
            cursor: String::new(),
            delivered: 3,
            full: 1,
            expired: 2,
            failed: 0,
            full_queues: vec!["jobs".to_owned()],
        };
        assert_eq!(GroupSend::decode(list(&reply)), Ok(sent));
        assert!(GroupSend::is_stale(&GroupSend::decode(list(&[bulk("stale")])).unwrap()));
    }

    #[test]
    fn each_reply_of_a_list_is_read() {
        assert_eq!(GroupLen::decode(list(&[bulk("a!"), Value::Int(7)])), Ok(("a!".to_owned(), 7)));
        let (place, channels) =
            GroupList::decode(list(&[bulk("a!"), bulk("17"), bulk("a!x"), bulk("a!y")])).unwrap();
        assert_eq!(place, ListPlace { name: "a!".to_owned(), cursor: "17".to_owned() });
        assert_eq!(channels, ["a!x", "a!y"]);
        let (last, none) = GroupList::decode(list(&[bulk(""), bulk("0")])).unwrap();
        assert!(last.is_start() && none.is_empty());
        let groups = ChannelGroups::decode(list(&[bulk(""), bulk("room-7")]));
        assert_eq!(groups, Ok((String::new(), vec!["room-7".to_owned()])));
    }

    #[test]
    fn replies_that_are_not_listed_are_given_back() {
        for reply in [
            Value::Nil,
            bulk("ok"),
            list(&[]),
            list(&[bulk("ok")]),
            list(&[bulk("ok"), Value::Int(-1)]),
            list(&[bulk("stale"), Value::Int(1)]),
            list(&[Value::Int(1), Value::Int(2)]),
        ] {
            assert!(GroupAdd::decode(reply.clone()).is_err(), "{reply:?}");
            assert!(GroupLeave::decode(reply.clone()).is_err(), "{reply:?}");
            assert!(GroupSend::decode(reply.clone()).is_err(), "{reply:?}");
            assert!(GroupList::decode(reply.clone()).is_err(), "{reply:?}");
        }
        assert!(GroupLen::decode(list(&[bulk("a"), Value::Int(-1)])).is_err());
        assert!(ChannelGroups::decode(list(&[Value::Int(0)])).is_err());
    }
}
