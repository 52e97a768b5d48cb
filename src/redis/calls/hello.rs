//! `hello.lua`: begins a connection.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{decode, lossy};
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};

/// Begins a connection.
pub(in crate::redis) struct Hello<'a> {
    pub(in crate::redis) client: &'a ClientId,
    pub(in crate::redis) generation: u64,
    pub(in crate::redis) lease_ms: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum HelloReply {
    /// The connection counts from now on; the server's time in ms.
    Welcome { now_ms: u64, known: bool },
    /// The server knows a generation as high as this.
    Stale { generation: u64 },
    /// The data there are of another schema.
    Schema { schema: String },
}

impl Call for Hello<'_> {
    type Reply = HelloReply;

    fn script() -> &'static Script {
        &script::HELLO
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 2, 256);
        cmd.arg(keys.client(self.client)).arg(keys.schema());
        cmd.arg(self.generation).arg(self.lease_ms).arg(script::SCHEMA);
        cmd
    }

    fn decode(reply: Value) -> Result<HelloReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [Value::Int(now), Value::Int(known)]) => {
                Some(HelloReply::Welcome { now_ms: u64::try_from(*now).ok()?, known: *known == 1 })
            }
            (b"stale", [Value::Int(generation)]) => {
                Some(HelloReply::Stale { generation: u64::try_from(*generation).ok()? })
            }
            (b"schema", [Value::BulkString(schema)]) => Some(HelloReply::Schema { schema: lossy(schema) }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_hello_is_read() {
        let ok = |known| list([bulk("ok"), Value::Int(1_795_394_824_299), Value::Int(known)]);
        let welcome = |known| Ok(HelloReply::Welcome { now_ms: 1_795_394_824_299, known });
        assert_eq!((Hello::decode(ok(1)), Hello::decode(ok(0))), (welcome(true), welcome(false)));
        assert_eq!(
            Hello::decode(list([bulk("stale"), Value::Int(7)])),
            Ok(HelloReply::Stale { generation: 7 })
        );
        let schema = list([bulk("schema"), bulk("2")]);
        assert_eq!(Hello::decode(schema), Ok(HelloReply::Schema { schema: "2".to_owned() }));
    }
}
