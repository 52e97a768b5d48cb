//! `group_leave.lua`: takes a channel out of all its groups.

use redis::{Cmd, Value};

use super::call::{Call, Fence, evalsha};
use super::reply::{count, decode, text};
use crate::name::ChannelName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Takes a channel out of all its groups, a step at a time.
pub(in crate::redis) struct GroupLeave<'a> {
    pub(in crate::redis) channel: &'a ChannelName,
    pub(in crate::redis) fence: Fence<'a>,
    pub(in crate::redis) call: u64,
    pub(in crate::redis) cursor: &'a str,
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct LeaveStep {
    /// Where the next step begins; empty after the last.
    pub(in crate::redis) cursor: String,
    /// How many groups it left.
    pub(in crate::redis) left: usize,
    /// The server's time.
    pub(in crate::redis) now_us: u64,
    /// The number of this change, of an inbox.
    pub(in crate::redis) n: u64,
}

impl Call for GroupLeave<'_> {
    type Reply = LeaveStep;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::GROUP_LEAVE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(Self::script(), 3, 512), keys.names());
        let queue = self.channel.queue();
        cmd.arg(keys.groups_of(queue)).arg(keys.inbox(queue)).arg(keys.queue(queue));
        cmd.arg(keys.prefix()).arg(&*names.queue(queue));
        cmd.arg(&*names.address(self.channel.local().unwrap_or_default()));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(self.call).arg(self.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<LeaveStep, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [cursor, left, Value::Int(now), Value::Int(n)]) => Some(LeaveStep {
                cursor: text(cursor)?,
                left: count(left)?,
                now_us: u64::try_from(*now).ok()?,
                n: u64::try_from(*n).ok()?,
            }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_group_leave_is_read() {
        let reply = [bulk("ok"), bulk("room"), Value::Int(2), Value::Int(17), Value::Int(3)];
        let due = LeaveStep { cursor: "room".to_owned(), left: 2, now_us: 17, n: 3 };
        assert_eq!(GroupLeave::decode(list(reply)), Ok(due));
        assert!(GroupLeave::is_stale(&list([bulk("stale")])));
    }
}
