//! `flush.lua`: removes messages and groups.

use redis::{Cmd, Value};

use super::call::{Call, scan};
use super::reply::decode;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Removes the messages and groups of one step of a scan.
pub(in crate::redis) struct Flush<'a> {
    pub(in crate::redis) cursor: &'a str,
}

/// The next step's cursor; `None` after the last.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct FlushReply {
    pub(in crate::redis) next: Option<String>,
}

impl Call for Flush<'_> {
    type Reply = FlushReply;

    fn script() -> &'static Script {
        &script::FLUSH
    }

    fn command(&self, keys: &Keys) -> Cmd {
        scan(Self::script(), keys, self.cursor)
    }

    fn decode(reply: Value) -> Result<FlushReply, Value> {
        decode_scan(reply)
    }
}

/// Reads the reply of a step of a scan.
pub(super) fn decode_scan(reply: Value) -> Result<FlushReply, Value> {
    decode(reply, |cursor, rest| match rest {
        [Value::Int(_done)] if cursor == b"0" => Some(FlushReply { next: None }),
        [Value::Int(_done)] => Some(FlushReply { next: Some(std::str::from_utf8(cursor).ok()?.to_owned()) }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_flush_is_read() {
        let reply = |cursor| list([bulk(cursor), Value::Int(5)]);
        assert_eq!(Flush::decode(reply("17")), Ok(FlushReply { next: Some("17".to_owned()) }));
        assert_eq!(Flush::decode(reply("0")), Ok(FlushReply { next: None }));
    }
}
