//! One typed function and reply for each script: the only place that knows their slots and answers.

mod drain;
mod groups;
mod inboxes;

use bytes::Bytes;
use redis::{Cmd, Value};

pub(super) use self::drain::{DrainDone, DrainPut, DrainTake, Listing, QueueList, Taken};
pub(super) use self::groups::{
    AddMode, Changed, ChannelGroups, GroupAdd, GroupDiscard, GroupLeave, GroupLeaveReply, GroupLen,
    GroupList, GroupSend, GroupSendReply, ListPlace, Member,
};
pub(super) use self::inboxes::{InboxClose, InboxGroups, InboxKeep, InboxKeepReply};
use super::entry::{Entry, EntryId};
use super::keys::{ClientId, Keys};
use super::script::{self, Script};
use crate::layer::sources::turn;
use crate::name::ChannelName;
use crate::seal::Names;

/// The layout of keys and entries that this version reads and writes.
pub(super) const SCHEMA: i64 = 2;

/// A call of a script, and how its answer is read.
pub(super) trait Call {
    /// What the script answers.
    type Reply;
    /// The script.
    fn script() -> &'static Script;
    /// The command that calls it.
    fn command(&self, keys: &Keys) -> Cmd;
    /// Reads the answer; gives back one that it does not know.
    fn decode(reply: Value) -> Result<Self::Reply, Value>;
    /// Whether nothing was done because the generation is not the client's current one.
    fn is_stale(_reply: &Self::Reply) -> bool {
        false
    }
    /// Puts names as they are where the answer has those that the server sees.
    fn reveal(_reply: &mut Self::Reply, _names: &Names) {}
    /// Whether a call whose reply was lost may be made again.
    const IS_REPEATABLE: bool = true;
}

/// Begins a connection.
pub(super) struct Hello<'a> {
    pub(super) client: &'a ClientId,
    pub(super) generation: u64,
    pub(super) lease_ms: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HelloReply {
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
        cmd.arg(self.generation).arg(self.lease_ms).arg(SCHEMA);
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

/// Sends entries to queues.
pub(super) struct Push<'a> {
    pub(super) expiry_ms: u64,
    /// The client and generation, if the order of any of the queues counts.
    pub(super) fence: Option<(&'a ClientId, u64)>,
    pub(super) queues: &'a [PushQueue<'a>],
}

/// The entries of one queue in a [`Push`].
#[derive(Debug)]
pub(super) struct PushQueue<'a> {
    pub(super) queue: &'a str,
    pub(super) capacity: usize,
    pub(super) bodies: Vec<Bytes>,
}

#[derive(Debug, PartialEq)]
pub(super) enum PushReply {
    /// All were sent but these: the place of each in the call, from 1, and why.
    Sent { refused: Vec<(usize, Refusal)> },
    /// Nothing was sent: the generation is not the client's current one.
    Stale,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// So many live messages wait already.
    Full { live: u64 },
    /// The mailbox takes no more, though its inbox does.
    MailboxFull,
    /// The queue's key is not what it should be; the server's text.
    Error(String),
}

impl Call for Push<'_> {
    type Reply = PushReply;

    fn script() -> &'static Script {
        &script::PUSH
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let bytes: usize =
            self.queues.iter().flat_map(|queue| &queue.bodies).map(|body| body.len() + 16).sum();
        let mut cmd = evalsha(Self::script(), self.queues.len(), 256 + 128 * self.queues.len() + bytes);
        for queue in self.queues {
            cmd.arg(keys.queue(queue.queue));
        }
        cmd.arg(keys.prefix()).arg(self.expiry_ms);
        match self.fence {
            Some((client, generation)) => cmd.arg(client.as_str()).arg(generation),
            None => cmd.arg("").arg(""),
        };
        for queue in self.queues {
            cmd.arg(queue.capacity).arg(queue.bodies.len());
            for body in &queue.bodies {
                cmd.arg(&**body);
            }
        }
        cmd
    }

    fn decode(reply: Value) -> Result<PushReply, Value> {
        if matches!(&reply, Value::BulkString(text) if text == b"sent") {
            return Ok(PushReply::Sent { refused: Vec::new() });
        }
        decode(reply, |tag, rest| match tag {
            b"stale" if rest.is_empty() => Some(PushReply::Stale),
            b"sent" => {
                let refused = rest.chunks(2).map(|pair| match pair {
                    [Value::Int(place), Value::Int(-1)] => {
                        Some((usize::try_from(*place).ok()?, Refusal::MailboxFull))
                    }
                    [Value::Int(place), Value::Int(live)] => Some((
                        usize::try_from(*place).ok()?,
                        Refusal::Full { live: u64::try_from(*live).ok()? },
                    )),
                    [Value::Int(place), Value::BulkString(error)] => {
                        Some((usize::try_from(*place).ok()?, Refusal::Error(lossy(error))))
                    }
                    _ => None,
                });
                Some(PushReply::Sent { refused: refused.collect::<Option<_>>()? })
            }
            _ => None,
        })
    }
}

/// Tells which tickets are finished and which are open.
pub(super) struct Pop<'a> {
    pub(super) client: &'a ClientId,
    pub(super) generation: u64,
    /// Zero ends the lease.
    pub(super) lease_ms: u64,
    pub(super) finished: &'a [Finished],
    pub(super) open: &'a [OpenTicket],
}

/// A ticket that takes nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) ticket: u64,
    /// The (last) entry of this shard that it delivered; whatever else it was handed here goes back.
    pub(super) delivered: Option<EntryId>,
}

/// A ticket that asks for a message.
#[derive(Clone, Debug)]
pub(super) struct OpenTicket {
    pub(super) ticket: u64,
    /// Whether it waits for one if there is none.
    pub(super) waits: bool,
    pub(super) channels: std::sync::Arc<[ChannelName]>,
}

#[derive(Debug, PartialEq)]
pub(super) enum PopReply {
    /// The first `served` of the open tickets were looked at, and these got something.
    Ok { served: usize, given: Vec<Given> },
    /// Nothing was done: the generation is not the current one, or the lease is over.
    Stale,
}

/// What an open ticket got.
#[derive(Debug, PartialEq)]
pub(super) struct Given {
    pub(super) ticket: u64,
    pub(super) outcome: Result<Handed, String>,
}

/// What a ticket was handed: one entry of a queue, or a batch of an inbox.
#[derive(Debug, PartialEq)]
pub(super) struct Handed {
    pub(super) queue: String,
    pub(super) first: Entry,
    /// The rest of a batch.
    pub(super) more: Vec<Entry>,
}

impl Handed {
    /// Puts the queue's name as it is in place of the one that the server sees.
    pub(super) fn reveal(&mut self, names: &Names) {
        if names.are_plain() {
            return;
        }
        if let Some(queue) = names.reveal_queue(&self.queue) {
            self.queue = queue;
        }
    }

    /// What an acknowledgement names.
    pub(super) fn last_id(&self) -> EntryId {
        self.more.last().unwrap_or(&self.first).id()
    }
}

impl Call for Pop<'_> {
    type Reply = PopReply;

    fn script() -> &'static Script {
        &script::POP
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let queues: usize = self.open.iter().map(|open| open.channels.len()).sum();
        let mut cmd =
            evalsha(Self::script(), 1 + queues, 256 + 64 * (queues + self.open.len() + self.finished.len()));
        cmd.arg(keys.client(self.client));
        for open in self.open {
            // Looked at from another channel each time, so that a busy one does not starve the others.
            let turn = turn(open.ticket, open.channels.len());
            let (last, first) = open.channels.split_at_checked(turn).unwrap_or((&open.channels, &[]));
            for channel in first.iter().chain(last) {
                cmd.arg(keys.queue(channel.queue()));
            }
        }
        cmd.arg(keys.prefix()).arg(self.client.as_str()).arg(self.generation).arg(self.lease_ms);
        cmd.arg(self.finished.len());
        for finished in self.finished {
            cmd.arg(finished.ticket).arg(finished.delivered.as_deref().unwrap_or_default());
        }
        for open in self.open {
            cmd.arg(open.ticket).arg(if open.waits { "wait" } else { "try" }).arg(open.channels.len());
        }
        cmd
    }

    fn decode(reply: Value) -> Result<PopReply, Value> {
        let Value::Array(parts) = reply else { return Err(reply) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some(Value::BulkString(tag)), None) if tag == b"stale" => Ok(PopReply::Stale),
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
                Ok(PopReply::Ok { served, given })
            }
            (tag, _) => Err(tag.unwrap_or_default()),
        }
    }

    fn reveal(reply: &mut PopReply, names: &Names) {
        if let PopReply::Ok { given, .. } = reply {
            for handed in given.iter_mut().filter_map(|given| given.outcome.as_mut().ok()) {
                handed.reveal(names);
            }
        }
    }
}

fn decode_given(ticket: &[u8], queue: Vec<u8>, entries: Value) -> Result<Given, Value> {
    let number = std::str::from_utf8(ticket).ok().and_then(|text| text.parse().ok());
    let ticket = number.ok_or_else(|| Value::BulkString(ticket.to_vec()))?;
    let queue = String::from_utf8(queue).map_err(|error| Value::BulkString(error.into_bytes()))?;
    let outcome = match entries {
        Value::BulkString(error) if queue.is_empty() => Err(lossy(&error)),
        Value::BulkString(entry) => Ok(Handed { queue, first: Entry::new(entry.into()), more: Vec::new() }),
        Value::Array(batch) if !queue.is_empty() => {
            let mut entries = batch.into_iter().map(|entry| match entry {
                Value::BulkString(entry) => Ok(Entry::new(entry.into())),
                unknown => Err(unknown),
            });
            let first = entries.next().unwrap_or_else(|| Err(Value::Array(Vec::new())))?;
            Ok(Handed { queue, first, more: entries.collect::<Result<_, _>>()? })
        }
        unknown => return Err(unknown),
    };
    Ok(Given { ticket, outcome })
}

/// Reads what a client is told on its wake channel: a ticket, a queue and the entry that the ticket was handed.
pub(super) fn decode_wake(message: Vec<u8>) -> Option<(u64, Handed)> {
    let message = Bytes::from(message);
    let mut parts = message.splitn(3, |byte| *byte == b' ');
    let ticket = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let queue = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    let entry = message.slice_ref(parts.next()?);
    Some((ticket, Handed { queue, first: Entry::new(entry), more: Vec::new() }))
}

/// Removes the messages and groups of one step of a scan.
pub(super) struct Flush<'a> {
    pub(super) cursor: &'a str,
}

/// The next step's cursor; `None` after the last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FlushReply {
    pub(super) next: Option<String>,
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

/// Tells the owners of inboxes, of one step of a scan, to read their groups again.
pub(super) struct FlushInboxes<'a> {
    pub(super) cursor: &'a str,
}

impl Call for FlushInboxes<'_> {
    type Reply = FlushReply;

    fn script() -> &'static Script {
        &script::FLUSH_INBOXES
    }

    fn command(&self, keys: &Keys) -> Cmd {
        scan(Self::script(), keys, self.cursor)
    }

    fn decode(reply: Value) -> Result<FlushReply, Value> {
        decode_scan(reply)
    }
}

/// A call of a script that takes one step of a scan.
fn scan(script: &Script, keys: &Keys, cursor: &str) -> Cmd {
    const KEYS_A_STEP: usize = 1000;
    let mut cmd = evalsha(script, 1, 256);
    cmd.arg(keys.schema()).arg(keys.prefix()).arg(cursor).arg(KEYS_A_STEP);
    cmd
}

fn decode_scan(reply: Value) -> Result<FlushReply, Value> {
    decode(reply, |cursor, rest| match rest {
        [Value::Int(_done)] if cursor == b"0" => Some(FlushReply { next: None }),
        [Value::Int(_done)] => Some(FlushReply { next: Some(std::str::from_utf8(cursor).ok()?.to_owned()) }),
        _ => None,
    })
}

fn evalsha(script: &Script, keys: usize, bytes: usize) -> Cmd {
    let mut cmd = Cmd::with_capacity(keys + 16, bytes);
    cmd.arg("EVALSHA").arg(script.sha()).arg(keys);
    cmd
}

/// Reads a reply whose first part is a text.
fn decode<T>(reply: Value, read: impl FnOnce(&[u8], &[Value]) -> Option<T>) -> Result<T, Value> {
    let decoded = match &reply {
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(tag), rest @ ..] => read(tag, rest),
            _ => None,
        },
        _ => None,
    };
    decoded.ok_or(reply)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn list(parts: impl IntoIterator<Item = Value>) -> Value {
        Value::Array(parts.into_iter().collect())
    }

    #[test]
    fn each_reply_of_hello_is_read() {
        let ok = |known| list([text("ok"), Value::Int(1_795_394_824_299), Value::Int(known)]);
        let welcome = |known| Ok(HelloReply::Welcome { now_ms: 1_795_394_824_299, known });
        assert_eq!((Hello::decode(ok(1)), Hello::decode(ok(0))), (welcome(true), welcome(false)));
        assert_eq!(
            Hello::decode(list([text("stale"), Value::Int(7)])),
            Ok(HelloReply::Stale { generation: 7 })
        );
        let schema = list([text("schema"), text("2")]);
        assert_eq!(Hello::decode(schema), Ok(HelloReply::Schema { schema: "2".to_owned() }));
    }

    #[test]
    fn each_reply_of_push_is_read() {
        assert_eq!(Push::decode(text("sent")), Ok(PushReply::Sent { refused: Vec::new() }));
        assert_eq!(Push::decode(list([text("stale")])), Ok(PushReply::Stale));
        let refused = [
            Value::Int(2),
            Value::Int(10),
            Value::Int(3),
            text("WRONGTYPE Operation"),
            Value::Int(4),
            Value::Int(-1),
        ];
        let refused = list([text("sent")].into_iter().chain(refused));
        let expected = vec![
            (2, Refusal::Full { live: 10 }),
            (3, Refusal::Error("WRONGTYPE Operation".to_owned())),
            (4, Refusal::MailboxFull),
        ];
        assert_eq!(Push::decode(refused), Ok(PushReply::Sent { refused: expected }));
    }

    #[test]
    fn each_reply_of_pop_is_read() {
        assert_eq!(Pop::decode(list([text("stale")])), Ok(PopReply::Stale));
        assert_eq!(
            Pop::decode(list([text("ok"), Value::Int(3)])),
            Ok(PopReply::Ok { served: 3, given: Vec::new() })
        );
        let entry = text("eighteen bytes ...m payload");
        let batch = list([text("one"), text("two")]);
        let given = [text("12"), text("jobs"), entry, text("13"), text(""), text("WRONGTYPE Operation")];
        let given = given.into_iter().chain([text("14"), text("inbox!"), batch]);
        let reply = list([text("ok"), Value::Int(3)].into_iter().chain(given));
        let entry = |bytes: &'static [u8]| Entry::new(Bytes::from_static(bytes));
        let handed = |queue: &str, first, more| Ok(Handed { queue: queue.to_owned(), first, more });
        let given = vec![
            Given { ticket: 12, outcome: handed("jobs", entry(b"eighteen bytes ...m payload"), Vec::new()) },
            Given { ticket: 13, outcome: Err("WRONGTYPE Operation".to_owned()) },
            Given { ticket: 14, outcome: handed("inbox!", entry(b"one"), vec![entry(b"two")]) },
        ];
        assert_eq!(Pop::decode(reply), Ok(PopReply::Ok { served: 3, given }));
    }

    #[test]
    fn each_reply_of_flush_is_read() {
        let reply = |cursor| list([text(cursor), Value::Int(5)]);
        assert_eq!(Flush::decode(reply("17")), Ok(FlushReply { next: Some("17".to_owned()) }));
        assert_eq!(Flush::decode(reply("0")), Ok(FlushReply { next: None }));
        assert_eq!(FlushInboxes::decode(reply("17")), Ok(FlushReply { next: Some("17".to_owned()) }));
    }

    #[test]
    fn the_name_of_a_queue_that_is_not_hidden_is_not_copied() {
        let (_, mut handed) = decode_wake(b"7 http.request an entry".to_vec()).unwrap();
        let before = handed.queue.as_ptr();
        handed.reveal(&Names::Plain);
        assert_eq!((handed.queue.as_str(), handed.queue.as_ptr()), ("http.request", before));
    }

    #[test]
    fn a_wake_up_has_a_ticket_a_queue_and_an_entry_which_may_hold_spaces() {
        let (ticket, handed) = decode_wake(b"7 http.request an entry".to_vec()).unwrap();
        assert_eq!((ticket, handed.queue.as_str()), (7, "http.request"));
        assert_eq!(handed.first, Entry::new(Bytes::from_static(b"an entry")));
        for hostile in [&b""[..], b"7", b"7 queue", b"x queue entry", b"7 \xff entry"] {
            assert_eq!(decode_wake(hostile.to_vec()), None, "{hostile:?}");
        }
    }

    #[test]
    fn replies_that_are_not_listed_are_given_back_and_not_guessed_at() {
        let unknown = [
            Value::Nil,
            Value::Int(1),
            text("ok"),
            list([]),
            list([text("new")]),
            list([text("ok")]),
            list([text("ok"), Value::Int(-1)]),
            list([text("ok"), Value::Int(1), text("x"), text("queue"), text("entry")]),
            list([text("ok"), Value::Int(1), text("1"), text("queue")]),
            list([text("sent"), Value::Int(1)]),
            list([text("sent"), Value::Int(-1), Value::Int(1)]),
            list([text("stale"), Value::Int(-7)]),
        ];
        for reply in unknown {
            assert!(Hello::decode(reply.clone()).is_err(), "{reply:?}");
            assert!(Push::decode(reply.clone()).is_err(), "{reply:?}");
            assert!(Pop::decode(reply.clone()).is_err(), "{reply:?}");
        }
        assert!(Flush::decode(list([Value::Int(0), Value::Int(0)])).is_err());
    }
}
