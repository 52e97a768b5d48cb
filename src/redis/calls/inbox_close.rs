//! `inbox_close.lua`: ends an inbox.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{count, read_list};
use crate::name::ChannelName;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};

/// Ends an inbox, a step at a time.
pub(in crate::redis) struct InboxClose<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    pub(in crate::redis) owner: &'a ClientId,
}

impl Call for InboxClose<'_> {
    /// In how many groups it has members still; none when it is gone, or another's.
    type Reply = usize;

    fn script() -> &'static Script {
        &script::INBOX_CLOSE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(Self::script(), 1, 256), keys.names());
        cmd.arg(keys.inbox(self.inbox.as_str())).arg(keys.prefix()).arg(&*names.queue(self.inbox.as_str()));
        cmd.arg(self.owner.as_str());
        cmd
    }

    fn decode(reply: Value) -> Result<usize, Value> {
        read_list(reply, |parts| match parts {
            [groups @ Value::Int(_)] => count(groups),
            [Value::BulkString(tag)] if tag == b"taken" => Some(0),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::bulk;

    #[test]
    fn each_reply_of_inbox_close_is_read() {
        assert_eq!(InboxClose::decode(Value::Array(vec![Value::Int(0)])), Ok(0));
        assert_eq!(InboxClose::decode(Value::Array(vec![Value::Int(3)])), Ok(3));
        assert_eq!(InboxClose::decode(Value::Array(vec![bulk("taken")])), Ok(0));
        assert!(InboxClose::decode(Value::Array(vec![bulk("ok")])).is_err());
    }
}
