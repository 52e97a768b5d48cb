//! An entry as it stands in a queue: the header that the scripts write, and the body that this client writes.
//!
//! The layout is published in `lua/README.md`: 8 bytes microseconds, 2 bytes place, 8 bytes deadline, all big-endian;
//! then the kind, the address inside the inbox, a space, and the payload.

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

const ID: usize = 10;
const HEADER: usize = 18;
const MESSAGE: u8 = b'm';

/// What makes an acknowledgement exact: when an entry was pushed, and its place in that call.
pub(super) type EntryId = Bytes;

/// An entry that a script handed to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry(Bytes);

impl Entry {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// What an acknowledgement names. Of an entry that is no entry it is the first bytes, as the scripts take them.
    pub(super) fn id(&self) -> EntryId {
        self.0.slice(..self.0.len().min(ID))
    }

    /// The payload of a message.
    pub(super) fn into_payload(self, queue: &str) -> Result<Bytes> {
        let space = match self.0.get(HEADER..) {
            Some([MESSAGE, rest @ ..]) => rest.iter().position(|byte| *byte == b' '),
            _ => None,
        };
        match space {
            Some(space) => Ok(self.0.slice(HEADER + 1 + space + 1..)),
            None => Err(Error::new(
                ErrorKind::Decode,
                format!("what waited on channel {queue:?} is no entry of this layer ({} bytes); another program wrote there, or a newer version of this one", self.0.len()),
            )
            .with_undecoded(self.0)),
        }
    }
}

/// The body of a message's entry, which `push` puts behind the header it writes.
pub(super) fn message_body(local: Option<&str>, payload: &[u8]) -> Bytes {
    let local = local.unwrap_or_default().as_bytes();
    let mut body = Vec::with_capacity(2 + local.len() + payload.len());
    body.push(MESSAGE);
    body.extend_from_slice(local);
    body.push(b' ');
    body.extend_from_slice(payload);
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_behind_a_header_gives_its_payload_back() {
        let bytes = [&[7; HEADER], &message_body(Some("ab12"), b"pay load")[..]].concat();
        let entry = Entry::new(bytes.into());
        assert_eq!(entry.id(), &[7; ID][..]);
        assert_eq!(entry.into_payload("q").unwrap(), &b"pay load"[..]);
    }

    #[test]
    fn what_is_no_entry_is_an_error_that_keeps_its_bytes() {
        for bytes in
            [&b""[..], b"short", &[0; HEADER], b"eighteen bytes....x p", b"eighteen bytes....m-no-space"]
        {
            let error = Entry::new(Bytes::copy_from_slice(bytes)).into_payload("q").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert_eq!(error.undecoded().unwrap(), bytes);
        }
    }
}
