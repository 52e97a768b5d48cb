//! An entry as it stands in a queue: the header that the scripts write, and the body that this client writes.
//!
//! The layout is published in `lua/README.md`: 8 bytes microseconds, 2 bytes place, 8 bytes deadline, all big-endian;
//! then the kind, the address inside the inbox or the group, a space, and the payload.

use std::borrow::Cow;

use bytes::Bytes;

use super::log_entry::LogEntry;
use crate::error::{Error, ErrorKind, Result};
use crate::seal::Names;

const ID: usize = 10;
const HEADER: usize = 18;
const MESSAGE: u8 = b'm';
const GROUP_MESSAGE: u8 = b'g';

/// What makes an acknowledgement exact: when an entry was pushed, and its place in that call.
pub(super) type EntryId = Bytes;

/// An entry that a script handed to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry(Bytes);

/// What an entry of an inbox tells its owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A message for one address.
    Message { address: String, payload: Bytes },
    /// A message for the members of a group; its name too as it is written there.
    GroupMessage { group: String, written: String, payload: Bytes },
    /// Something about the inbox's memberships.
    Log(LogEntry),
}

impl Entry {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What an acknowledgement names. Of an entry that is no entry it is the first bytes, as the scripts take them.
    pub(super) fn id(&self) -> EntryId {
        // Copied, or whoever keeps the id would keep the message.
        Bytes::copy_from_slice(self.0.get(..ID).unwrap_or(&self.0))
    }

    /// When it was pushed, in µs of the server's clock.
    pub(super) fn pushed_us(&self) -> u64 {
        self.number(0)
    }

    /// When it expires, in ms of the server's clock; of a change of a group, when the membership ends.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.number(ID)
    }

    /// The header of an entry, which a script wrote.
    pub(super) fn header(entry: &[u8]) -> Option<&[u8]> {
        entry.get(..HEADER)
    }

    /// The payload of a message, and the group that it was sent to, if any, as it is written there.
    pub(super) fn into_message(self, queue: &str) -> Result<(Option<Bytes>, Bytes)> {
        match self.body() {
            Some((MESSAGE, _, payload)) => Ok((None, payload)),
            Some((GROUP_MESSAGE, group, payload)) => Ok((Some(self.0.slice_ref(group)), payload)),
            _ => Err(self.unknown(queue)),
        }
    }

    /// What an entry of an inbox tells.
    pub(super) fn into_said(self, inbox: &str) -> Result<Said> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        let said = match self.body() {
            Some((MESSAGE, address, payload)) => {
                text(address).map(|address| Said::Message { address, payload })
            }
            Some((GROUP_MESSAGE, group, payload)) => {
                text(group).map(|group| Said::GroupMessage { written: group.clone(), group, payload })
            }
            _ => None,
        };
        let is_log = self.0.get(HEADER).is_some_and(|kind| LogEntry::is_kind(*kind));
        let said = match said {
            None if is_log => self.0.get(HEADER..).and_then(LogEntry::read).map(Said::Log),
            said => said,
        };
        said.ok_or_else(|| self.unknown(inbox))
    }

    /// The kind, what stands before the first space, and what stands after it.
    fn body(&self) -> Option<(u8, &[u8], Bytes)> {
        let [kind, rest @ ..] = self.0.get(HEADER..)? else { return None };
        let space = rest.iter().position(|byte| *byte == b' ')?;
        Some((*kind, rest.get(..space)?, self.0.slice(HEADER + 1 + space + 1..)))
    }

    fn number(&self, from: usize) -> u64 {
        let bytes = self.0.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(u64::MAX, u64::from_be_bytes)
    }

    fn unknown(self, queue: &str) -> Error {
        Error::new(
            ErrorKind::Decode,
            format!("what waited on channel {queue:?} is no entry of this layer ({} bytes); another program wrote there, or a newer version of this one", self.0.len()),
        )
        .with_undecoded(self.0)
    }
}

impl Said {
    /// The same with the names as they are, of what a server has hidden; nothing if another key has hidden them.
    pub(super) fn revealed(self, names: &Names) -> Option<Self> {
        let (group, address) = (
            |group: &str| names.reveal_group(group).map(Cow::into_owned),
            |address: &str| names.reveal_address(address),
        );
        Some(match self {
            Self::Message { address: written, payload } => {
                Self::Message { address: address(&written)?, payload }
            }
            Self::GroupMessage { written, payload, .. } => {
                Self::GroupMessage { group: group(&written)?, written, payload }
            }
            // Its names stay as they are written.
            Self::Log(entry) => Self::Log(entry),
        })
    }
}

/// The beginning of the body of a message's entry, which `push` puts behind the header it writes; so many bytes of
/// payload follow.
pub(super) fn message_head(address: &str, payload: usize) -> Vec<u8> {
    head(MESSAGE, address, payload)
}

/// The beginning of the body of a group's message, which `group_send` puts behind the header it writes.
pub(super) fn group_head(group: &str, payload: usize) -> Vec<u8> {
    head(GROUP_MESSAGE, group, payload)
}

fn head(kind: u8, name: &str, payload: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(2 + name.len() + payload);
    head.push(kind);
    head.extend_from_slice(name.as_bytes());
    head.push(b' ');
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, Hex};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Vectors {
        messages: Vec<Published>,
        refused: Vec<Refused>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Published {
        queue: String,
        entry: Hex,
        id: Hex,
        pushed_us: u64,
        place: u16,
        deadline_ms: u64,
        kind: char,
        address: String,
        group: String,
        payload: Hex,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Refused {
        entry: Hex,
        id: Hex,
    }

    #[test]
    fn entries_are_those_of_the_vectors() {
        let vectors: Vectors = vectors::read("entries");
        assert!(vectors.messages.len() > 8 && vectors.refused.len() > 8);
        for Published {
            queue,
            entry: Hex(bytes),
            id,
            pushed_us,
            place,
            deadline_ms,
            kind,
            address,
            group,
            payload,
        } in vectors.messages
        {
            let entry = Entry::new(bytes.clone().into());
            assert_eq!(entry.id(), id.0);
            assert_eq!((entry.pushed_us(), entry.deadline_ms()), (pushed_us, deadline_ms));
            assert_eq!(bytes[8..ID], place.to_be_bytes());
            let payload = Bytes::from(payload.0);
            let (head, said, from) = match kind {
                'm' => (message_head(&address, 0), Said::Message { address, payload: payload.clone() }, None),
                'g' => (
                    group_head(&group, 0),
                    Said::GroupMessage {
                        written: group.clone(),
                        group: group.clone(),
                        payload: payload.clone(),
                    },
                    Some(Bytes::from(group)),
                ),
                other => panic!("{other}"),
            };
            assert_eq!(bytes[HEADER..], [&head[..], &payload].concat());
            if queue.ends_with('!') {
                assert_eq!(entry.into_said(&queue).unwrap(), said);
            } else {
                assert_eq!(entry.into_message(&queue).unwrap(), (from, payload));
            }
        }
        for Refused { entry, id } in vectors.refused {
            let entry = Entry::new(entry.0.into());
            assert_eq!(entry.id(), id.0);
            assert_eq!(entry.clone().into_message("q").unwrap_err().kind(), ErrorKind::Decode, "{entry:?}");
            assert_eq!(entry.into_said("q!").unwrap_err().kind(), ErrorKind::Decode);
        }
    }

    #[test]
    fn a_body_behind_a_header_gives_its_payload_back() {
        let bytes = [&[7; HEADER], &message_head("ab12", 8)[..], b"pay load"].concat();
        let entry = Entry::new(bytes.into());
        assert_eq!(entry.id(), &[7; ID][..]);
        assert_eq!(entry.into_message("q").unwrap(), (None, Bytes::from_static(b"pay load")));
    }

    #[test]
    fn what_is_no_entry_is_an_error_that_keeps_its_bytes() {
        for bytes in
            [&b""[..], b"short", &[0; HEADER], b"eighteen bytes....x p", b"eighteen bytes....m-no-space"]
        {
            let error = Entry::new(Bytes::copy_from_slice(bytes)).into_message("q").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert_eq!(error.undecoded().unwrap(), bytes);
        }
    }

    #[test]
    fn an_entry_of_an_inbox_says_what_happened_and_when() {
        let header = [&17_u64.to_be_bytes()[..], &[0, 1], &99_u64.to_be_bytes()].concat();
        let entry = |body: &[u8]| Entry::new([&header[..], body].concat().into());
        let said = |body: &[u8]| entry(body).into_said("a!").unwrap();
        assert_eq!((entry(b"r").pushed_us(), entry(b"r").deadline_ms()), (17, 99));
        let (group, address) = ("room".to_owned(), "ab".to_owned());
        assert_eq!(
            said(b"mab pay load"),
            Said::Message { address, payload: Bytes::from_static(b"pay load") }
        );
        let group_message = [&group_head("room", 1)[..], b"x"].concat();
        assert_eq!(
            said(&group_message),
            Said::GroupMessage { written: group.clone(), group, payload: Bytes::from_static(b"x") }
        );
        let from_group = (Some(Bytes::from_static(b"room")), Bytes::from_static(b"x"));
        assert_eq!(entry(&group_message).into_message("q").unwrap(), from_group);
        let copied = entry(&group_message);
        let place = copied.0[HEADER + 1..].as_ptr();
        let (in_entry, _) = copied.into_message("q").unwrap();
        assert_eq!(in_entry.unwrap().as_ptr(), place, "no copy");
        assert_eq!(said(b"r"), Said::Log(LogEntry::Quiet));
        assert!(matches!(said(b"c1 : -room ab"), Said::Log(LogEntry::Change { n: 1, .. })));
        for unknown in [&b""[..], b"x y", b"rr", b"m", b"+room ab", b"c1 : +\xff ab 1"] {
            assert_eq!(entry(unknown).into_said("a!").unwrap_err().kind(), ErrorKind::Decode, "{unknown:?}");
        }
    }
}
