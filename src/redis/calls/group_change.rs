//! `group_change.lua` and `group_discard.lua`: change the memberships of one queue.

use redis::{Cmd, Value};

use super::call::{Call, Fence, evalsha};
use super::reply::{count, decode, lossy};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// What a change does with one member. Groups and addresses are as the server sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Operation {
    pub(in crate::redis) group: Box<str>,
    /// Empty if the queue is no inbox.
    pub(in crate::redis) address: Box<str>,
    pub(in crate::redis) what: What,
    /// The label of who joins or is put right, as the server sees it. A repair with an empty one takes it away, and without one
    /// leaves it.
    pub(in crate::redis) label: Option<Box<str>>,
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum What {
    /// Joins for so many ms.
    Join {
        left_ms: u64,
    },
    Leave,
    /// A repair: joins until an end, unless it is in, or its group was flushed after the change `read`, the last one
    /// that the owner had read.
    JoinUnlessIn {
        end_ms: u64,
        read: u64,
    },
    /// A repair: stays until an end, if its membership still ends when it was seen to.
    SetEnd {
        end_ms: u64,
        seen_ms: u64,
    },
    /// A repair: leaves, if its membership still ends then.
    LeaveIf {
        end_ms: u64,
    },
    /// The owner begins to count changes anew.
    Begin,
}

impl What {
    /// Whether it puts right what the server has, and is not what a program asked for.
    pub(in crate::redis) fn is_repair(self) -> bool {
        matches!(self, Self::JoinUnlessIn { .. } | Self::SetEnd { .. } | Self::LeaveIf { .. })
    }

    /// Whether the server needs memory for it.
    pub(in crate::redis) fn takes_memory(self) -> bool {
        matches!(self, Self::Join { .. } | Self::JoinUnlessIn { .. } | Self::SetEnd { .. })
    }

    fn arguments(self) -> (&'static str, String) {
        match self {
            Self::Join { left_ms } => ("+", left_ms.to_string()),
            Self::Leave => ("-", String::new()),
            Self::JoinUnlessIn { end_ms, read } => ("a", format!("{end_ms} {read}")),
            Self::SetEnd { end_ms, seen_ms } => ("s", format!("{end_ms} {seen_ms}")),
            Self::LeaveIf { end_ms } => ("x", end_ms.to_string()),
            Self::Begin => ("e", String::new()),
        }
    }
}

/// Changes the memberships of a queue.
#[derive(Clone, Copy, Debug)]
pub(in crate::redis) struct Change<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) fence: Fence<'a>,
    /// Higher with each call of this client that may write into an inbox.
    pub(in crate::redis) call: u64,
    pub(in crate::redis) capacity: usize,
    pub(in crate::redis) operations: &'a [Operation],
}

/// What a change did.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct Changed {
    /// The server's time.
    pub(in crate::redis) now_us: u64,
    /// The number of the change, of an inbox.
    pub(in crate::redis) n: u64,
    /// How many were in that left.
    pub(in crate::redis) left: usize,
    /// The operations that did nothing, by their index, and why.
    pub(in crate::redis) failures: Vec<(usize, String)>,
}

/// A change that may take memory.
pub(in crate::redis) struct GroupChange<'a>(pub(in crate::redis) Change<'a>);

/// A change that takes none, which a server that is full does too.
pub(in crate::redis) struct GroupDiscard<'a>(pub(in crate::redis) Change<'a>);

impl Change<'_> {
    fn command(&self, script: &Script, keys: &Keys) -> Cmd {
        let (mut cmd, names) = (evalsha(script, 3, 384 + 96 * self.operations.len()), keys.names());
        cmd.arg(keys.inbox(self.queue)).arg(keys.queue(self.queue)).arg(keys.groups_of(self.queue));
        cmd.arg(keys.prefix()).arg(&*names.queue(self.queue));
        cmd.arg(self.fence.0.as_str()).arg(self.fence.1).arg(self.call).arg(self.capacity);
        for Operation { group, address, what, label } in self.operations {
            let (kind, mut time) = what.arguments();
            if let Some(label) = label.as_ref().filter(|_| what.takes_memory()) {
                time.push_str(" =");
                time.push_str(label);
            }
            cmd.arg(kind).arg(&**group).arg(&**address).arg(time);
        }
        cmd
    }
}

fn decode_changed(reply: Value) -> Result<Changed, Value> {
    decode(reply, |tag, rest| match (tag, rest) {
        (b"ok", [Value::Int(now), Value::Int(n), left, failed @ ..]) => {
            let failures = failed.chunks(2).map(|failure| match failure {
                [Value::Int(place), Value::BulkString(why)] => {
                    Some((usize::try_from(*place).ok()?.checked_sub(1)?, lossy(why)))
                }
                _ => None,
            });
            Some(Changed {
                now_us: u64::try_from(*now).ok()?,
                n: u64::try_from(*n).ok()?,
                left: count(left)?,
                failures: failures.collect::<Option<_>>()?,
            })
        }
        _ => None,
    })
}

impl Call for GroupChange<'_> {
    type Reply = Changed;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::GROUP_CHANGE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        self.0.command(Self::script(), keys)
    }

    fn decode(reply: Value) -> Result<Changed, Value> {
        decode_changed(reply)
    }
}

impl Call for GroupDiscard<'_> {
    type Reply = Changed;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::GROUP_DISCARD
    }

    fn command(&self, keys: &Keys) -> Cmd {
        self.0.command(Self::script(), keys)
    }

    fn decode(reply: Value) -> Result<Changed, Value> {
        decode_changed(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_group_change_and_group_discard_is_read() {
        let done = [bulk("ok"), Value::Int(17), Value::Int(3), Value::Int(1)];
        let failed = done.iter().cloned().chain([Value::Int(2), bulk("WRONGTYPE Operation")]);
        let due = |failures| Changed { now_us: 17, n: 3, left: 1, failures };
        assert_eq!(GroupChange::decode(list(done.clone())), Ok(due(Vec::new())));
        let failures = vec![(1, "WRONGTYPE Operation".to_owned())];
        assert_eq!(GroupDiscard::decode(list(failed)), Ok(due(failures)));
        assert!(GroupChange::is_stale(&list([bulk("stale")])));
        for odd in [vec![Value::Int(2)], vec![Value::Int(0), bulk("why")], vec![bulk("2"), bulk("why")]] {
            assert!(GroupChange::decode(list(done.iter().cloned().chain(odd))).is_err());
        }
    }
}
