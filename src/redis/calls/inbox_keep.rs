//! `inbox_keep.lua`: begins or renews an inbox, and reports mailboxes.

use redis::{Cmd, Value};

use super::call::{Call, Fence, evalsha};
use super::reply::{count, decode};
use crate::name::ChannelName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Begins or renews an inbox, and reports mailboxes.
pub(in crate::redis) struct InboxKeep<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    /// The client that owns it.
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) lease_ms: u64,
    /// How many bytes it may have.
    pub(in crate::redis) bytes: usize,
    pub(in crate::redis) call: u64,
    /// The number of the last change that the owner has read; `None` if it is not sure.
    pub(in crate::redis) last_n: Option<u64>,
    /// Who made it.
    pub(in crate::redis) last_tag: &'a str,
    /// Whether the server forgets which mailboxes were reported full before.
    pub(in crate::redis) forgets_marks: bool,
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
        /// In how many groups the inbox has members.
        groups: usize,
        /// How many of its mailboxes count as full.
        marks: usize,
    },
    /// Another client has it.
    Taken,
}

impl Call for InboxKeep<'_> {
    type Reply = InboxKeepReply;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::INBOX_KEEP
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let addresses = self.full.len() + self.with_room.len();
        let (mut cmd, names) = (evalsha(Self::script(), 3, 384 + 32 * addresses), keys.names());
        let inbox = self.inbox.as_str();
        cmd.arg(keys.inbox(inbox)).arg(keys.groups_of(inbox)).arg(keys.full_mailboxes(inbox));
        cmd.arg(keys.prefix()).arg(&*names.queue(inbox));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(self.lease_ms).arg(self.bytes);
        let last_n = self.last_n.map(|n| n.to_string()).unwrap_or_default();
        cmd.arg(self.call).arg(last_n).arg(self.last_tag);
        cmd.arg(if self.forgets_marks { "all" } else { "some" }).arg(self.full.len());
        for address in self.full.iter().chain(self.with_room) {
            cmd.arg(&*names.address(address));
        }
        cmd
    }

    fn decode(reply: Value) -> Result<InboxKeepReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [Value::Int(now), groups, marks]) => Some(InboxKeepReply::Kept {
                now_us: u64::try_from(*now).ok()?,
                groups: count(groups)?,
                marks: count(marks)?,
            }),
            (b"taken", []) => Some(InboxKeepReply::Taken),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_inbox_keep_is_read() {
        let kept = |tag| InboxKeep::decode(list([bulk(tag), Value::Int(17), Value::Int(2), Value::Int(1)]));
        assert_eq!(kept("ok"), Ok(InboxKeepReply::Kept { now_us: 17, groups: 2, marks: 1 }));
        assert!(kept("new").is_err());
        assert!(InboxKeep::is_stale(&list([bulk("stale")])));
        assert_eq!(InboxKeep::decode(Value::Array(vec![bulk("taken")])), Ok(InboxKeepReply::Taken));
    }
}
