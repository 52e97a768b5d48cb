//! `drain_done.lua`: forgets what was taken out of a queue.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{count, read_list};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Forgets what was taken out of a queue: another server has it.
pub(in crate::redis) struct DrainDone<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) batch: &'a str,
}

impl Call for DrainDone<'_> {
    /// How many entries were forgotten.
    type Reply = usize;

    fn script() -> &'static Script {
        &script::DRAIN_DONE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 256);
        cmd.arg(keys.aside(self.queue)).arg(self.batch);
        cmd
    }

    fn decode(reply: Value) -> Result<usize, Value> {
        read_list(reply, |parts| match parts {
            [forgotten] => count(forgotten),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::list;

    #[test]
    fn each_reply_of_drain_done_is_read() {
        assert_eq!(DrainDone::decode(list([Value::Int(3)])), Ok(3));
        assert!(DrainDone::decode(list([])).is_err());
    }
}
