//! What hello, push and pop answer.

use redis::Value;

use super::{Entry, bytes, parts, positive, text};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HelloReply {
    Ok { now: u64, known: bool },
    Stale { generation: u64 },
    Schema { schema: String },
}

impl HelloReply {
    pub(super) fn read(reply: Value) -> Self {
        match &parts(reply)[..] {
            [Value::BulkString(tag), Value::Int(now), Value::Int(known @ (0 | 1))] if tag == b"ok" => {
                Self::Ok { now: positive(*now), known: *known == 1 }
            }
            [Value::BulkString(tag), Value::Int(generation)] if tag == b"stale" => {
                Self::Stale { generation: positive(*generation) }
            }
            [Value::BulkString(tag), Value::BulkString(schema)] if tag == b"schema" => {
                Self::Schema { schema: String::from_utf8_lossy(schema).into_owned() }
            }
            other => panic!("hello answered {other:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushReply {
    /// All were sent but these places.
    Sent(Vec<(u64, Refusal)>),
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full {
        live: u64,
    },
    /// The mailbox was reported full.
    FullMailbox,
    /// The inbox has as many bytes as it may have.
    InboxHasBytes,
    Error(String),
}

impl PushReply {
    /// The reply to a push of which nothing was refused.
    pub(crate) const ALL_SENT: Self = Self::Sent(Vec::new());

    pub(super) fn read(reply: Value) -> Self {
        if matches!(&reply, Value::BulkString(text) if text == b"sent") {
            return Self::ALL_SENT;
        }
        let parts = parts(reply);
        let (tag, rest) = parts.split_first().unwrap();
        match tag {
            Value::BulkString(tag) if tag == b"stale" && rest.is_empty() => Self::Stale,
            Value::BulkString(tag) if tag == b"sent" && !rest.is_empty() && rest.len() % 2 == 0 => {
                let refused = rest.chunks(2).map(|pair| match pair {
                    [Value::Int(place), Value::Int(-1)] => (positive(*place), Refusal::FullMailbox),
                    [Value::Int(place), Value::Int(-2)] => (positive(*place), Refusal::InboxHasBytes),
                    [Value::Int(place), Value::Int(live)] => {
                        (positive(*place), Refusal::Full { live: positive(*live) })
                    }
                    [Value::Int(place), Value::BulkString(error)] => {
                        (positive(*place), Refusal::Error(text(error)))
                    }
                    other => panic!("push refused with {other:?}"),
                });
                Self::Sent(refused.collect())
            }
            other => panic!("push answered {other:?} {rest:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PopReply {
    Ok { served: usize, given: Vec<Given> },
    Stale,
}

/// What a ticket got: an entry of a queue or the batch of an inbox, or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) ticket: u64,
    pub(crate) outcome: Result<(String, Taken), String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    One(Entry),
    Batch(Vec<Entry>),
}

impl Given {
    /// How large each entry is that came; 0 of one that was only announced.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        match &self.outcome {
            Ok((_, Taken::One(entry))) => vec![entry.0.len()],
            Ok((_, Taken::Batch(entries))) => entries.iter().map(|entry| entry.0.len()).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    /// The entry of a ticket that got one.
    pub(crate) fn entry(&self) -> &Entry {
        match &self.outcome {
            Ok((_, Taken::One(entry))) => entry,
            other => panic!("ticket {} got {other:?}", self.ticket),
        }
    }

    /// The queue and the entry of a ticket that got one.
    pub(crate) fn one(&self) -> (String, Entry) {
        match &self.outcome {
            Ok((queue, Taken::One(entry))) => (queue.clone(), entry.clone()),
            other => panic!("ticket {} got {other:?}", self.ticket),
        }
    }

    /// The entries of a ticket that got a batch of this inbox.
    pub(crate) fn batch(&self, inbox: &str) -> &[Entry] {
        match &self.outcome {
            Ok((queue, Taken::Batch(entries))) if queue == inbox => entries,
            other => panic!("ticket {} got {other:?}", self.ticket),
        }
    }

    pub(crate) fn error(&self) -> &str {
        self.outcome.as_ref().unwrap_err()
    }
}

impl PopReply {
    pub(super) fn read(reply: Value) -> Self {
        let parts = parts(reply);
        match &parts[..] {
            [Value::BulkString(tag)] if tag == b"stale" => Self::Stale,
            [Value::BulkString(tag), Value::Int(served), rest @ ..]
                if tag == b"ok" && rest.len() % 3 == 0 =>
            {
                let given = rest.chunks(3).map(|given| match given {
                    [Value::BulkString(ticket), Value::BulkString(queue), taken] => {
                        let outcome = match (&queue[..], taken) {
                            (b"", Value::BulkString(error)) => Err(text(error)),
                            (queue, Value::BulkString(entry)) => {
                                Ok((text(queue), Taken::One(Entry(entry.clone()))))
                            }
                            (queue, Value::Array(entries)) => {
                                let entries = entries.iter().map(|entry| Entry(bytes(entry).to_vec()));
                                Ok((text(queue), Taken::Batch(entries.collect())))
                            }
                            other => panic!("pop gave {other:?}"),
                        };
                        Given { ticket: text(ticket).parse().unwrap(), outcome }
                    }
                    other => panic!("pop gave {other:?}"),
                });
                Self::Ok { served: usize::try_from(*served).unwrap(), given: given.collect() }
            }
            other => panic!("pop answered {other:?}"),
        }
    }
}
