//! What a ticket is handed, in a reply or on the wake channel.

use bytes::Bytes;
use redis::Value;

use crate::redis::entry::{Entry, EntryId};
use crate::seal::Names;

/// What a ticket was handed: one entry of a queue, or a batch of an inbox.
#[derive(Debug, PartialEq)]
pub(in crate::redis) struct Handed {
    pub(in crate::redis) queue: String,
    pub(in crate::redis) first: Entry,
    /// The rest of a batch.
    pub(in crate::redis) more: Vec<Entry>,
}

impl Handed {
    /// Reads what stands in a reply for a queue: an entry, or a list of them. Gives back what is neither.
    pub(super) fn read(queue: String, what: Value) -> Result<Self, Value> {
        let entry = |value| match value {
            Value::BulkString(entry) => Ok(Entry::new(entry.into())),
            unknown => Err(unknown),
        };
        match what {
            Value::Array(batch) => {
                let mut entries = batch.into_iter().map(entry);
                let first = entries.next().unwrap_or_else(|| Err(Value::Array(Vec::new())))?;
                Ok(Self { queue, first, more: entries.collect::<Result<_, _>>()? })
            }
            one => Ok(Self { queue, first: entry(one)?, more: Vec::new() }),
        }
    }

    /// Puts the queue's name as it is in place of the one that the server sees.
    pub(in crate::redis) fn reveal(&mut self, names: &Names) {
        if names.are_plain() {
            return;
        }
        if let Some(queue) = names.reveal_queue(&self.queue) {
            self.queue = queue;
        }
    }

    /// What an acknowledgement names.
    pub(in crate::redis) fn last_id(&self) -> EntryId {
        self.more.last().unwrap_or(&self.first).id()
    }
}

/// What a client is told on its wake channel.
#[derive(Debug, PartialEq)]
pub(in crate::redis) enum Wake {
    /// A ticket was handed this.
    Handed(u64, Handed),
    /// A ticket was handed something that is too large to be published.
    Announced(u64),
    /// The server follows another one now, where a message was to be handed over.
    Moved,
    /// The lease of this client counts as over on the server: it is to say hello again.
    Again,
}

/// Reads what a client is told on its wake channel: a ticket, a queue and the entry that the ticket was handed. What only begins with
/// a ticket is of a later text, and counts as the ticket alone.
pub(in crate::redis) fn decode_wake(message: Vec<u8>) -> Option<Wake> {
    if message == b"moved" {
        return Some(Wake::Moved);
    } else if message == b"again" {
        return Some(Wake::Again);
    }
    let message = Bytes::from(message);
    let mut parts = message.splitn(3, |byte| *byte == b' ');
    let ticket = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let queue = parts.next().and_then(|queue| std::str::from_utf8(queue).ok());
    let (Some(queue), Some(entry)) = (queue, parts.next()) else { return Some(Wake::Announced(ticket)) };
    let first = Entry::new(message.slice_ref(entry));
    Some(Wake::Handed(ticket, Handed { queue: queue.to_owned(), first, more: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, Hex};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Vectors {
        handed: Vec<Published>,
        announced: Vec<Published>,
        moved: Vec<Published>,
        again: Vec<Published>,
        ignored: Vec<Published>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Published {
        message: Hex,
        ticket: Option<u64>,
        queue: Option<String>,
        entry: Option<Hex>,
    }

    #[test]
    fn wake_ups_are_those_of_the_vectors() {
        let vectors: Vectors = vectors::read("wake_ups");
        let Vectors { handed, announced, moved, again, ignored } = vectors;
        for Published { message, ticket, queue, entry } in handed {
            let Some(Wake::Handed(number, handed)) = decode_wake(message.0) else { panic!("{queue:?}") };
            assert_eq!((Some(number), Some(handed.queue)), (ticket, queue));
            assert_eq!(handed.first, Entry::new(entry.unwrap().0.into()));
        }
        assert!([&announced, &moved, &again, &ignored].iter().all(|cases| !cases.is_empty()));
        for Published { message, ticket, .. } in announced {
            assert_eq!(decode_wake(message.0), Some(Wake::Announced(ticket.unwrap())));
        }
        for (cases, wake) in [(moved, Some(Wake::Moved)), (again, Some(Wake::Again)), (ignored, None)] {
            for Published { message, .. } in cases {
                assert_eq!(decode_wake(message.0), wake);
            }
        }
    }

    #[test]
    fn the_name_of_a_queue_that_is_not_hidden_is_not_copied() {
        let Some(Wake::Handed(_, mut handed)) = decode_wake(b"7 http.request an entry".to_vec()) else {
            panic!()
        };
        let before = handed.queue.as_ptr();
        handed.reveal(&Names::Plain);
        assert_eq!((handed.queue.as_str(), handed.queue.as_ptr()), ("http.request", before));
    }

    #[test]
    fn a_wake_up_has_a_ticket_a_queue_and_an_entry_which_may_hold_spaces() {
        assert_eq!(decode_wake(b"moved".to_vec()), Some(Wake::Moved));
        assert_eq!(decode_wake(b"again".to_vec()), Some(Wake::Again));
        let Some(Wake::Handed(ticket, handed)) = decode_wake(b"7 http.request an entry".to_vec()) else {
            panic!()
        };
        assert_eq!((ticket, handed.queue.as_str()), (7, "http.request"));
        assert_eq!(handed.first, Entry::new(Bytes::from_static(b"an entry")));
        for announced in [&b"7"[..], b"7 ", b"7 queue", b"7 \xff entry"] {
            assert_eq!(decode_wake(announced.to_vec()), Some(Wake::Announced(7)), "{announced:?}");
        }
        for hostile in [&b""[..], b"x", b"-7", b"x queue entry", b" 7"] {
            assert_eq!(decode_wake(hostile.to_vec()), None, "{hostile:?}");
        }
    }
}
