//! The calls of the scripts that look through a server and move its messages to others.

use redis::{Cmd, Value};

use super::groups::{count, read_list, text};
use super::{Call, decode, evalsha};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::{Names, Refusal};

/// Lists queues and counts groups, a step at a time.
pub(in crate::redis) struct QueueList<'a> {
    pub(in crate::redis) cursor: &'a str,
}

/// The next step's cursor, `None` after the last; groups; and queues with their entries.
pub(in crate::redis) type Listed = (Option<String>, usize, Vec<(Listing, usize)>);

/// A queue that a server has.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum Listing {
    /// Its name as it is.
    Named(String),
    /// As it stands there: another key has hidden it, or none although this layer hides names.
    Unrevealed(String),
}

impl Call for QueueList<'_> {
    type Reply = Listed;

    fn script() -> &'static Script {
        &script::QUEUE_LIST
    }

    fn command(&self, keys: &Keys) -> Cmd {
        const KEYS_A_STEP: usize = 1000;
        let mut cmd = evalsha(Self::script(), 1, 256);
        cmd.arg(keys.schema()).arg(keys.prefix()).arg(self.cursor).arg(KEYS_A_STEP);
        cmd
    }

    fn decode(reply: Value) -> Result<Listed, Value> {
        read_list(reply, |parts| match parts {
            [cursor, groups, queues @ ..] => {
                let queues = queues.chunks(2).map(|pair| match pair {
                    [queue, entries] => Some((Listing::Named(text(queue)?), count(entries)?)),
                    _ => None,
                });
                let next = Some(text(cursor)?).filter(|cursor| cursor != "0");
                Some((next, count(groups)?, queues.collect::<Option<_>>()?))
            }
            _ => None,
        })
    }

    fn reveal((_, _, queues): &mut Listed, names: &Names) {
        for (queue, _) in queues {
            if let Listing::Named(written) = queue {
                *queue = match names.reveal_queue(written) {
                    Some(revealed) => Listing::Named(revealed),
                    None => Listing::Unrevealed(std::mem::take(written)),
                };
            }
        }
    }
}

/// Takes entries out of a queue, for another server.
pub(in crate::redis) struct DrainTake<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) batch: &'a str,
    pub(in crate::redis) target: &'a str,
}

/// Entries that were taken out of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct Taken {
    pub(in crate::redis) batch: String,
    pub(in crate::redis) target: String,
    /// Each with the milliseconds that it has left.
    pub(in crate::redis) entries: Vec<(i64, Vec<u8>)>,
}

impl Taken {
    /// The same batch with the entries that are written anew, without those whose time is over; others stay as they are.
    /// Counts also how many do not open.
    pub(in crate::redis) fn sealed_again(
        &self,
        again: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, Refusal>,
    ) -> (Self, usize) {
        let (mut entries, mut unopened) = (Vec::with_capacity(self.entries.len()), 0);
        for (left, entry) in &self.entries {
            let entry = match again(entry) {
                Ok(anew) => anew.unwrap_or_else(|| entry.clone()),
                Err(Refusal::TooOld) => continue,
                Err(_) => {
                    unopened += 1;
                    entry.clone()
                }
            };
            entries.push((*left, entry));
        }
        (Self { batch: self.batch.clone(), target: self.target.clone(), entries }, unopened)
    }
}

impl Call for DrainTake<'_> {
    /// Nothing if the queue is empty.
    type Reply = Option<Taken>;

    fn script() -> &'static Script {
        &script::DRAIN_TAKE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 2, 384);
        cmd.arg(keys.queue(self.queue)).arg(keys.aside(self.queue));
        cmd.arg(keys.prefix()).arg(self.batch).arg(self.target);
        cmd
    }

    fn decode(reply: Value) -> Result<Option<Taken>, Value> {
        read_list(reply, |parts| match parts {
            [] => Some(None),
            [batch, target, entries @ ..] => {
                let entries = entries.chunks(2).map(|pair| match pair {
                    [Value::Int(left), Value::BulkString(entry)] => Some((*left, entry.clone())),
                    _ => None,
                });
                let entries = entries.collect::<Option<_>>()?;
                Some(Some(Taken { batch: text(batch)?, target: text(target)?, entries }))
            }
            _ => None,
        })
    }
}

/// Gives a queue what was taken out of it on another server.
pub(in crate::redis) struct DrainPut<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) taken: &'a Taken,
}

impl Call for DrainPut<'_> {
    /// How many entries had not expired; nothing if the batch was put before.
    type Reply = Option<usize>;

    fn script() -> &'static Script {
        &script::DRAIN_PUT
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let bytes: usize = self.taken.entries.iter().map(|(_, entry)| entry.len() + 48).sum();
        let mut cmd = evalsha(Self::script(), 2, 384 + bytes);
        cmd.arg(keys.queue(self.queue)).arg(keys.batch(&self.taken.batch)).arg(keys.prefix());
        for (left, entry) in &self.taken.entries {
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
    use crate::seal::Secret;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn list(parts: &[Value]) -> Value {
        Value::Array(parts.to_vec())
    }

    #[test]
    fn each_reply_of_queue_list_is_read() {
        let reply = list(&[bulk("17"), Value::Int(2), bulk("jobs"), Value::Int(3)]);
        let listed = (Some("17".to_owned()), 2, vec![(Listing::Named("jobs".to_owned()), 3)]);
        assert_eq!(QueueList::decode(reply), Ok(listed));
        assert_eq!(QueueList::decode(list(&[bulk("0"), Value::Int(0)])), Ok((None, 0, Vec::new())));
        assert!(QueueList::decode(list(&[bulk("0"), Value::Int(0), bulk("jobs")])).is_err());
    }

    #[test]
    fn names_that_the_key_does_not_reveal_are_listed_apart() {
        let [ours, others] = ["ours", "others"].map(|key| Names::hidden(&Secret::new(key.as_bytes())));
        let (jobs, theirs) = (ours.queue("jobs").into_owned(), others.queue("jobs").into_owned());
        let written = [&jobs, &theirs, "jobs"].map(|name| (Listing::Named(name.to_owned()), 3));
        let mut listed = (None, 0, written.into());
        QueueList::reveal(&mut listed, &ours);
        let due = [
            Listing::Named("jobs".to_owned()),
            Listing::Unrevealed(theirs),
            Listing::Unrevealed("jobs".to_owned()),
        ];
        assert_eq!(listed.2, due.map(|queue| (queue, 3)));
    }

    #[test]
    fn each_reply_of_a_drain_is_read() {
        let reply = list(&[bulk("id"), bulk("redis://b"), Value::Int(-5), bulk("entry")]);
        let taken = Taken {
            batch: "id".to_owned(),
            target: "redis://b".to_owned(),
            entries: vec![(-5, b"entry".to_vec())],
        };
        assert_eq!(DrainTake::decode(reply), Ok(Some(taken)));
        assert_eq!(DrainTake::decode(list(&[])), Ok(None));
        assert!(DrainTake::decode(list(&[bulk("id")])).is_err());
        assert_eq!(DrainPut::decode(list(&[bulk("put"), Value::Int(3)])), Ok(Some(3)));
        assert_eq!(DrainPut::decode(list(&[bulk("again")])), Ok(None));
        assert!(DrainPut::decode(list(&[bulk("put")])).is_err());
        assert_eq!(DrainDone::decode(list(&[Value::Int(3)])), Ok(3));
        assert!(DrainDone::decode(list(&[])).is_err());
    }
}
