//! The calls of the scripts for inboxes.

use redis::{Cmd, Value};

use super::groups::{read_list, text};
use super::{Call, ListPlace, decode, evalsha};
use crate::name::ChannelName;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Begins or renews an inbox, and reports mailboxes.
pub(in crate::redis) struct InboxKeep<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    pub(in crate::redis) owner: &'a ClientId,
    pub(in crate::redis) lease_ms: u64,
    /// Addresses of mailboxes that are full.
    pub(in crate::redis) full: &'a [&'a str],
    /// Addresses of mailboxes that have room again.
    pub(in crate::redis) with_room: &'a [&'a str],
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum InboxKeepReply {
    /// The inbox is ours until its lease ends.
    Kept {
        /// The server's time.
        now_us: u64,
        /// Whether the server did not know the inbox, or no longer.
        is_new: bool,
    },
    /// Another client has it.
    Taken,
}

impl Call for InboxKeep<'_> {
    type Reply = InboxKeepReply;

    fn script() -> &'static Script {
        &script::INBOX_KEEP
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let addresses = self.full.len() + self.with_room.len();
        let (mut cmd, names) = (evalsha(Self::script(), 1, 384 + 32 * addresses), keys.names());
        cmd.arg(keys.inbox(self.inbox.as_str())).arg(keys.prefix()).arg(&*names.queue(self.inbox.as_str()));
        cmd.arg(self.owner.as_str()).arg(self.lease_ms).arg(self.full.len());
        for address in self.full.iter().chain(self.with_room) {
            cmd.arg(&*names.address(address));
        }
        cmd
    }

    fn decode(reply: Value) -> Result<InboxKeepReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok" | b"new", [Value::Int(now)]) => {
                Some(InboxKeepReply::Kept { now_us: u64::try_from(*now).ok()?, is_new: tag == b"new" })
            }
            (b"taken", []) => Some(InboxKeepReply::Taken),
            _ => None,
        })
    }
}

/// Lists the members of all groups in an inbox, a step at a time.
pub(in crate::redis) struct InboxGroups<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    pub(in crate::redis) place: &'a ListPlace,
}

/// A member of a group in an inbox.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct Membership {
    pub(in crate::redis) group: String,
    pub(in crate::redis) address: String,
    pub(in crate::redis) deadline_ms: u64,
}

/// A step of [`InboxGroups`]: the server's time in µs, where the next step begins, and members.
pub(in crate::redis) type Memberships = (u64, ListPlace, Vec<Membership>);

impl Call for InboxGroups<'_> {
    type Reply = Memberships;

    fn script() -> &'static Script {
        &script::INBOX_GROUPS
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 2, 384);
        cmd.arg(keys.groups_of(self.inbox.as_str())).arg(keys.inbox(self.inbox.as_str()));
        cmd.arg(keys.prefix()).arg(&*keys.names().queue(self.inbox.as_str()));
        cmd.arg(&self.place.name).arg(&self.place.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<Memberships, Value> {
        read_list(reply, |parts| match parts {
            [Value::Int(now), name, cursor, groups @ ..] => {
                let mut members = Vec::new();
                for pair in groups.chunks(2) {
                    let [group, Value::Array(listed)] = pair else { return None };
                    for member in listed.chunks(2) {
                        let [address, deadline] = member else { return None };
                        members.push(Membership {
                            group: text(group)?,
                            address: text(address)?,
                            deadline_ms: text(deadline)?.parse().ok()?,
                        });
                    }
                }
                Some((u64::try_from(*now).ok()?, ListPlace::read(name, cursor)?, members))
            }
            _ => None,
        })
    }

    fn reveal((_, _, members): &mut Memberships, names: &Names) {
        let revealed = members.iter().filter_map(|member| {
            Some(Membership {
                group: names.reveal_group(&member.group)?.into_owned(),
                address: names.reveal_address(&member.address)?,
                deadline_ms: member.deadline_ms,
            })
        });
        *members = revealed.collect();
    }
}

/// Ends an inbox, a step at a time.
pub(in crate::redis) struct InboxClose<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    pub(in crate::redis) owner: &'a ClientId,
}

impl Call for InboxClose<'_> {
    /// Whether it is gone, or another's.
    type Reply = bool;

    fn script() -> &'static Script {
        &script::INBOX_CLOSE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(Self::script(), 1, 256), keys.names());
        cmd.arg(keys.inbox(self.inbox.as_str())).arg(keys.prefix()).arg(&*names.queue(self.inbox.as_str()));
        cmd.arg(self.owner.as_str());
        cmd
    }

    fn decode(reply: Value) -> Result<bool, Value> {
        read_list(reply, |parts| match parts {
            [Value::Int(groups)] => Some(*groups == 0),
            [Value::BulkString(tag)] if tag == b"taken" => Some(true),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn each_reply_of_inbox_keep_is_read() {
        let kept = |tag| InboxKeep::decode(Value::Array(vec![bulk(tag), Value::Int(17)]));
        assert_eq!(kept("ok"), Ok(InboxKeepReply::Kept { now_us: 17, is_new: false }));
        assert_eq!(kept("new"), Ok(InboxKeepReply::Kept { now_us: 17, is_new: true }));
        assert!(kept("old").is_err());
        assert_eq!(InboxKeep::decode(Value::Array(vec![bulk("taken")])), Ok(InboxKeepReply::Taken));
    }

    #[test]
    fn each_reply_of_inbox_groups_is_read() {
        let members =
            Value::Array(vec![bulk("ab"), bulk("1795394824299"), bulk("cd"), bulk("1795394824300")]);
        let head = [Value::Int(17), bulk("room-7"), bulk("0"), bulk("room-7"), members];
        let (now, place, members) = InboxGroups::decode(Value::Array(head.to_vec())).unwrap();
        assert_eq!((now, place.name.as_str(), place.is_start()), (17, "room-7", false));
        assert_eq!(members.len(), 2);
        let second = Membership {
            group: "room-7".to_owned(),
            address: "cd".to_owned(),
            deadline_ms: 1_795_394_824_300,
        };
        assert_eq!(members[1], second);
        let odd = [Value::Int(17), bulk(""), bulk("0"), bulk("room-7"), Value::Array(vec![bulk("ab")])];
        assert!(InboxGroups::decode(Value::Array(odd.to_vec())).is_err());
    }

    #[test]
    fn each_reply_of_inbox_close_is_read() {
        assert_eq!(InboxClose::decode(Value::Array(vec![Value::Int(0)])), Ok(true));
        assert_eq!(InboxClose::decode(Value::Array(vec![Value::Int(3)])), Ok(false));
        assert_eq!(InboxClose::decode(Value::Array(vec![bulk("taken")])), Ok(true));
        assert!(InboxClose::decode(Value::Array(vec![bulk("ok")])).is_err());
    }
}
