//! `queue_list.lua`: lists queues and counts groups.

use redis::{Cmd, Value};

use super::call::{Call, scan};
use super::reply::{count, read_list, text};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Lists queues and counts groups, a step at a time.
pub(in crate::redis) struct QueueList<'a> {
    pub(in crate::redis) cursor: &'a str,
}

/// The next step's cursor, `None` after the last; groups; and queues with what is there.
pub(in crate::redis) type Listed = (Option<String>, usize, Vec<(Listing, Holding)>);

/// What a step found in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::redis) struct Holding {
    /// Expired ones and those of the log of an inbox too.
    pub(in crate::redis) entries: usize,
    /// Messages that have not expired.
    pub(in crate::redis) live: usize,
    /// Receives that wait for it.
    pub(in crate::redis) waiting: usize,
}

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
        scan(Self::script(), keys, self.cursor)
    }

    fn decode(reply: Value) -> Result<Listed, Value> {
        read_list(reply, |parts| match parts {
            [cursor, groups, queues @ ..] => {
                let queues = queues.chunks(4).map(|four| match four {
                    [queue, entries, live, waiting] => {
                        let (entries, live, waiting) = (count(entries)?, count(live)?, count(waiting)?);
                        Some((Listing::Named(text(queue)?), Holding { entries, live, waiting }))
                    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};
    use crate::seal::Secret;

    #[test]
    fn each_reply_of_queue_list_is_read() {
        let reply =
            list([bulk("17"), Value::Int(2), bulk("jobs"), Value::Int(3), Value::Int(2), Value::Int(1)]);
        let holding = Holding { entries: 3, live: 2, waiting: 1 };
        let listed = (Some("17".to_owned()), 2, vec![(Listing::Named("jobs".to_owned()), holding)]);
        assert_eq!(QueueList::decode(reply), Ok(listed));
        assert_eq!(QueueList::decode(list([bulk("0"), Value::Int(0)])), Ok((None, 0, Vec::new())));
        assert!(QueueList::decode(list([bulk("0"), Value::Int(0), bulk("jobs")])).is_err());
    }

    #[test]
    fn names_that_the_key_does_not_reveal_are_listed_apart() {
        let [ours, others] = ["ours", "others"].map(|key| Names::hidden(&Secret::new(key.as_bytes())));
        let (jobs, theirs) = (ours.queue("jobs").into_owned(), others.queue("jobs").into_owned());
        let written =
            [&jobs, &theirs, "jobs"].map(|name| (Listing::Named(name.to_owned()), Holding::default()));
        let mut listed = (None, 0, written.into());
        QueueList::reveal(&mut listed, &ours);
        let due = [
            Listing::Named("jobs".to_owned()),
            Listing::Unrevealed(theirs),
            Listing::Unrevealed("jobs".to_owned()),
        ];
        assert_eq!(listed.2, due.map(|queue| (queue, Holding::default())));
    }
}
