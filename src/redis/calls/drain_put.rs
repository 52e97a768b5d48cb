//! `drain_put.lua`: gives a queue what was taken out of it on another server.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::drain_take::DrainBatch;
use super::reply::{count, decode};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Gives a queue what was taken out of it on another server.
pub(in crate::redis) struct DrainPut<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) batch: &'a DrainBatch,
}

impl Call for DrainPut<'_> {
    /// How many entries had not expired; nothing if the batch was put before.
    type Reply = Option<usize>;

    fn script() -> &'static Script {
        &script::DRAIN_PUT
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let bytes: usize = self.batch.entries.iter().map(|(_, entry)| entry.len() + 48).sum();
        let mut cmd = evalsha(Self::script(), 2, 384 + bytes);
        cmd.arg(keys.queue(self.queue)).arg(keys.batch(&self.batch.batch)).arg(keys.prefix());
        for (left, entry) in &self.batch.entries {
            cmd.arg(*left).arg(entry.as_slice());
        }
        cmd
    }

    fn decode(reply: Value) -> Result<Option<usize>, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"put", [put]) => Some(Some(count(put)?)),
            (b"again", []) => Some(None),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_drain_put_is_read() {
        assert_eq!(DrainPut::decode(list([bulk("put"), Value::Int(3)])), Ok(Some(3)));
        assert_eq!(DrainPut::decode(list([bulk("again")])), Ok(None));
        assert!(DrainPut::decode(list([bulk("put")])).is_err());
    }
}
