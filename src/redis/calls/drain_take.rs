//! `drain_take.lua`: takes entries out of a queue, for another server.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{read_list, text};
use crate::error;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Refusal;

/// Takes entries out of a queue, for another server.
pub(in crate::redis) struct DrainTake<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) batch: &'a str,
    pub(in crate::redis) target: &'a str,
}

/// Entries that were taken out of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct DrainBatch {
    pub(in crate::redis) batch: String,
    pub(in crate::redis) target: String,
    /// Each with the milliseconds that it has left.
    pub(in crate::redis) entries: Vec<(i64, Vec<u8>)>,
}

impl DrainBatch {
    /// The same batch with the entries that are written anew, without those whose time is over; others stay as they are.
    /// Counts also how many do not open.
    pub(in crate::redis) fn sealed_again(
        &self,
        again: impl Fn(&[u8]) -> error::Result<Result<Option<Vec<u8>>, Refusal>>,
    ) -> error::Result<(Self, usize)> {
        let (mut entries, mut unopened) = (Vec::with_capacity(self.entries.len()), 0);
        for (left, entry) in &self.entries {
            let entry = match again(entry)? {
                Ok(anew) => anew.unwrap_or_else(|| entry.clone()),
                Err(Refusal::TooOld) => continue,
                Err(_) => {
                    unopened += 1;
                    entry.clone()
                }
            };
            entries.push((*left, entry));
        }
        Ok((Self { batch: self.batch.clone(), target: self.target.clone(), entries }, unopened))
    }
}

impl Call for DrainTake<'_> {
    /// Nothing if the queue is empty.
    type Reply = Option<DrainBatch>;

    const IS_LARGE: bool = true;

    fn script() -> &'static Script {
        &script::DRAIN_TAKE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 2, 384);
        cmd.arg(keys.queue(self.queue)).arg(keys.aside(self.queue));
        cmd.arg(keys.prefix()).arg(self.batch).arg(self.target);
        cmd
    }

    fn decode(reply: Value) -> Result<Option<DrainBatch>, Value> {
        read_list(reply, |parts| match parts {
            [] => Some(None),
            [batch, target, entries @ ..] => {
                let entries = entries.chunks(2).map(|pair| match pair {
                    [Value::Int(left), Value::BulkString(entry)] => Some((*left, entry.clone())),
                    _ => None,
                });
                let entries = entries.collect::<Option<_>>()?;
                Some(Some(DrainBatch { batch: text(batch)?, target: text(target)?, entries }))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_drain_take_is_read() {
        let reply = list([bulk("id"), bulk("redis://b"), Value::Int(-5), bulk("entry")]);
        let taken = DrainBatch {
            batch: "id".to_owned(),
            target: "redis://b".to_owned(),
            entries: vec![(-5, b"entry".to_vec())],
        };
        assert_eq!(DrainTake::decode(reply), Ok(Some(taken)));
        assert_eq!(DrainTake::decode(list([])), Ok(None));
        assert!(DrainTake::decode(list([bulk("id")])).is_err());
    }
}
