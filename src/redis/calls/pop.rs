//! `pop.lua`: tells which tickets are finished and which are open, and brings what they are given.

use std::time::Duration;

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::handed::Handed;
use super::reply::lossy;
use crate::layer::sources::turn;
use crate::name::ChannelName;
use crate::redis::entry::EntryId;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::milliseconds::milliseconds;
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// What a pop does to the client's lease.
#[derive(Clone, Copy, Debug)]
pub(in crate::redis) enum Lease {
    /// It lasts so long from now on.
    Lasts(Duration),
    /// It ends.
    End,
    /// It ends, and the server forgets the client, which has nothing else under way.
    Forget,
}

/// Tells which tickets are finished and which are open.
pub(in crate::redis) struct Pop<'a> {
    pub(in crate::redis) client: &'a ClientId,
    pub(in crate::redis) generation: u64,
    pub(in crate::redis) lease: Lease,
    pub(in crate::redis) finished: &'a [Finished],
    pub(in crate::redis) open: &'a [OpenTicket],
}

/// A ticket that takes nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Finished {
    pub(in crate::redis) ticket: u64,
    /// The (last) entry of this shard that it delivered; whatever else it was handed here goes back.
    pub(in crate::redis) delivered: Option<EntryId>,
}

/// A ticket that asks for a message.
#[derive(Clone, Debug)]
pub(in crate::redis) struct OpenTicket {
    pub(in crate::redis) ticket: u64,
    /// Whether it waits for one if there is none.
    pub(in crate::redis) waits: bool,
    pub(in crate::redis) channels: std::sync::Arc<[ChannelName]>,
}

/// The first `served` of the open tickets were looked at, and these got something.
#[derive(Debug, PartialEq)]
pub(in crate::redis) struct PopReply {
    pub(in crate::redis) served: usize,
    pub(in crate::redis) given: Vec<Given>,
}

/// What an open ticket got.
#[derive(Debug, PartialEq)]
pub(in crate::redis) struct Given {
    pub(in crate::redis) ticket: u64,
    pub(in crate::redis) outcome: Outcome,
}

/// What became of an open ticket.
#[derive(Debug, PartialEq)]
pub(in crate::redis) enum Outcome {
    Handed(Handed),
    /// It was handed something of this queue that is too large for the reply: `fetch` brings it.
    Announced(String),
    /// The server's words.
    Failed(String),
}

impl Call for Pop<'_> {
    type Reply = PopReply;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::POP
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let queues: usize = self.open.iter().map(|open| open.channels.len()).sum();
        let mut cmd =
            evalsha(Self::script(), 1 + queues, 256 + 64 * (queues + self.open.len() + self.finished.len()));
        cmd.arg(keys.client(self.client));
        let first = u64::from(crc32fast::hash(self.client.as_str().as_bytes()));
        for open in self.open {
            // Looked at from another channel each time, so that a busy one does not starve the others; and by each client
            // from another one first, because a program may receive once and end.
            let turn = turn(first.wrapping_add(open.ticket), open.channels.len());
            let (before, after) = open.channels.split_at_checked(turn).unwrap_or((&open.channels, &[]));
            for channel in after.iter().chain(before) {
                cmd.arg(keys.queue(channel.queue()));
            }
        }
        cmd.arg(keys.prefix()).arg(self.client.as_str()).arg(self.generation);
        match self.lease {
            Lease::Lasts(lease) => cmd.arg(milliseconds(lease)),
            Lease::End => cmd.arg(0),
            Lease::Forget => cmd.arg(-1),
        };
        cmd.arg(self.finished.len());
        for finished in self.finished {
            cmd.arg(finished.ticket).arg(finished.delivered.as_deref().unwrap_or_default());
        }
        for open in self.open {
            // The connection listens, so it must carry nothing large.
            let mode = if open.waits { "wait-brief" } else { "try-brief" };
            cmd.arg(open.ticket).arg(mode).arg(open.channels.len());
        }
        cmd
    }

    fn decode(reply: Value) -> Result<PopReply, Value> {
        let Value::Array(parts) = reply else { return Err(reply) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some(Value::BulkString(tag)), Some(Value::Int(served))) if tag == b"ok" => {
                let served = usize::try_from(served).map_err(|_| Value::Int(served))?;
                let mut given = Vec::with_capacity(parts.len() / 3);
                while let Some(ticket) = parts.next() {
                    match (ticket, parts.next(), parts.next()) {
                        (
                            Value::BulkString(ticket),
                            Some(Value::BulkString(queue)),
                            Some(entries @ (Value::BulkString(_) | Value::Array(_))),
                        ) => {
                            given.push(decode_given(&ticket, queue, entries)?);
                        }
                        (unknown, ..) => return Err(unknown),
                    }
                }
                Ok(PopReply { served, given })
            }
            (tag, _) => Err(tag.unwrap_or_default()),
        }
    }

    fn reveal(reply: &mut PopReply, names: &Names) {
        for given in &mut reply.given {
            match &mut given.outcome {
                Outcome::Handed(handed) => handed.reveal(names),
                Outcome::Announced(queue) => {
                    if let Some(revealed) = names.reveal_queue(queue) {
                        *queue = revealed;
                    }
                }
                Outcome::Failed(_) => {}
            }
        }
    }
}

fn decode_given(ticket: &[u8], queue: Vec<u8>, entries: Value) -> Result<Given, Value> {
    let number = std::str::from_utf8(ticket).ok().and_then(|text| text.parse().ok());
    let ticket = number.ok_or_else(|| Value::BulkString(ticket.to_vec()))?;
    let queue = String::from_utf8(queue).map_err(|error| Value::BulkString(error.into_bytes()))?;
    let outcome = match entries {
        Value::BulkString(error) if queue.is_empty() => Outcome::Failed(lossy(&error)),
        unknown if queue.is_empty() => return Err(unknown),
        Value::BulkString(entry) if entry.is_empty() => Outcome::Announced(queue),
        entries => Outcome::Handed(Handed::read(queue, entries)?),
    };
    Ok(Given { ticket, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::redis::calls::reply::made_up::{bulk, list};
    use crate::redis::entry::Entry;

    #[test]
    fn each_reply_of_pop_is_read() {
        assert!(Pop::is_stale(&list([bulk("stale")])));
        assert_eq!(
            Pop::decode(list([bulk("ok"), Value::Int(3)])),
            Ok(PopReply { served: 3, given: Vec::new() })
        );
        let entry = bulk("eighteen bytes ...m payload");
        let batch = list([bulk("one"), bulk("two")]);
        let given = [bulk("12"), bulk("jobs"), entry, bulk("13"), bulk(""), bulk("WRONGTYPE Operation")];
        let given = given.into_iter().chain([bulk("14"), bulk("inbox!"), batch]);
        let given = given.chain([bulk("15"), bulk("jobs"), bulk("")]);
        let reply = list([bulk("ok"), Value::Int(3)].into_iter().chain(given));
        let entry = |bytes: &'static [u8]| Entry::new(Bytes::from_static(bytes));
        let handed =
            |queue: &str, first, more| Outcome::Handed(Handed { queue: queue.to_owned(), first, more });
        let given = vec![
            Given { ticket: 12, outcome: handed("jobs", entry(b"eighteen bytes ...m payload"), Vec::new()) },
            Given { ticket: 13, outcome: Outcome::Failed("WRONGTYPE Operation".to_owned()) },
            Given { ticket: 14, outcome: handed("inbox!", entry(b"one"), vec![entry(b"two")]) },
            Given { ticket: 15, outcome: Outcome::Announced("jobs".to_owned()) },
        ];
        assert_eq!(Pop::decode(reply), Ok(PopReply { served: 3, given }));
    }
}
