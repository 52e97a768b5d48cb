//! `group_send.lua`: sends a message to a group.

use bytes::Bytes;
use redis::{Cmd, Value};

use super::call::{Call, Fence, evalsha};
use super::reply::{count, decode, reveal_all, text};
use crate::name::GroupName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Names;

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
pub(in crate::redis) struct GroupSendReply {
    /// Where the next step begins; empty after the last.
    pub(in crate::redis) cursor: String,
    pub(in crate::redis) delivered: usize,
    pub(in crate::redis) full: usize,
    pub(in crate::redis) expired: usize,
    pub(in crate::redis) failed: usize,
    pub(in crate::redis) full_queues: Vec<String>,
}

impl Call for GroupSend<'_> {
    type Reply = GroupSendReply;

    const IS_FENCED: bool = true;

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
            (b"ok", [cursor, delivered, full, expired, failed, names @ ..]) => Some(GroupSendReply {
                cursor: text(cursor)?,
                delivered: count(delivered)?,
                full: count(full)?,
                expired: count(expired)?,
                failed: count(failed)?,
                full_queues: names.iter().map(text).collect::<Option<_>>()?,
            }),
            _ => None,
        })
    }

    fn reveal(reply: &mut GroupSendReply, names: &Names) {
        reveal_all(&mut reply.full_queues, |queue| names.reveal_queue(queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_group_send_is_read() {
        let numbers = [Value::Int(3), Value::Int(1), Value::Int(2), Value::Int(0)];
        let reply = [&[bulk("ok"), bulk("")], &numbers[..], &[bulk("jobs")]].concat();
        let sent = GroupSendReply {
            cursor: String::new(),
            delivered: 3,
            full: 1,
            expired: 2,
            failed: 0,
            full_queues: vec!["jobs".to_owned()],
        };
        assert_eq!(GroupSend::decode(list(reply)), Ok(sent));
        assert!(GroupSend::is_stale(&list([bulk("stale")])));
    }
}
