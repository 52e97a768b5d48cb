//! Sealed payloads: the first of some keys encrypts a message, and any of them opens it.
//!
//! A sealed payload names the channel or group to which it was sent, the time of its server at which it was sealed, and how
//! long it is good. Opening checks all three, so a payload that was moved elsewhere, or is replayed after its time, does
//! not open. Nothing here knows Redis. The bytes are published in `lua/README.md`:
//!
//! ```text
//! 0xc1  version  nonce (24)  tag (16)  ciphertext of: kind (1)  sealed at (8)  good for (8)  length (1)  name  message
//! ```
//!
//! [`secret`] is a key as it was written, [`names`] hides names by a key of their own, [`refusals`] counts the payloads that
//! did not open.

mod names;
mod refusals;
mod secret;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use xsalsa20poly1305::aead::generic_array::GenericArray;
use xsalsa20poly1305::{AeadInPlace, KeyInit, Nonce, Tag, XSalsa20Poly1305};

pub(crate) use self::names::Names;
pub use self::refusals::SealStatistics;
pub(crate) use self::refusals::{Refusal, Refusals};
pub(crate) use self::secret::Secret;
use crate::error::{Error, ErrorKind, Result};

/// No MessagePack value begins with this byte, so a layer without keys can tell that a payload is sealed.
const MARK: u8 = 0xc1;
const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const CHANNEL: u8 = b'c';
const GROUP: u8 = b'g';
/// Kind, time, time to live, length of the name.
const HEAD: usize = 1 + 8 + 8 + 1;
const OVERHEAD: usize = 2 + NONCE + TAG + HEAD;

/// How much later than its time a payload still opens, in ms: a client knows the clock of a server only to within half a
/// round trip.
pub(crate) const ALLOWANCE_MS: u64 = 5_000;

/// The keys of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealing {
    pub(crate) keyring: Option<Arc<Keyring>>,
    pub(crate) names: Names,
}

/// Keys: the first one seals, all of them open.
pub(crate) struct Keyring {
    ciphers: Vec<XSalsa20Poly1305>,
}

/// The channel or group to which a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A queue, and the address in it if it is an inbox's.
    Channel(&'a str, &'a str),
    Group(&'a str),
}

/// What was sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) message: Bytes,
    /// The time in ms, by the server's clock, until which it may be delivered.
    pub(crate) until_ms: u64,
}

impl Keyring {
    /// The keys in the order in which they were written.
    pub(crate) fn new(keys: &[Secret]) -> Self {
        let cipher = |key: &Secret| XSalsa20Poly1305::new(GenericArray::from_slice(&*key.hash()));
        Self { ciphers: keys.iter().map(cipher).collect() }
    }

    /// Appends a sealed message to what stands before it in an entry.
    pub(crate) fn seal(
        &self,
        onto: &mut Vec<u8>,
        target: Target<'_>,
        now_ms: u64,
        good_for_ms: u64,
        message: &[u8],
    ) -> Result<()> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Internal, "the system gives no random numbers, which sealing needs")
                .with_source(error)
        })?;
        self.seal_with(&nonce, onto, target, now_ms, good_for_ms, message)
    }

    fn seal_with(
        &self,
        nonce: &[u8; NONCE],
        onto: &mut Vec<u8>,
        target: Target<'_>,
        now_ms: u64,
        good_for_ms: u64,
        message: &[u8],
    ) -> Result<()> {
        let (kind, parts) = match target {
            Target::Channel(queue, address) => (CHANNEL, [queue, address]),
            Target::Group(group) => (GROUP, [group, ""]),
        };
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let length = u8::try_from(length)
            .map_err(|_| Error::bug(format_args!("a name of {length} bytes is to be sealed")))?;
        onto.reserve(OVERHEAD + usize::from(length) + message.len());
        onto.extend_from_slice(&[MARK, VERSION]);
        onto.extend_from_slice(nonce);
        let tag = onto.len();
        onto.extend_from_slice(&[0; TAG]);
        let start = onto.len();
        onto.push(kind);
        onto.extend_from_slice(&now_ms.to_be_bytes());
        onto.extend_from_slice(&good_for_ms.to_be_bytes());
        onto.push(length);
        onto.extend(parts.iter().flat_map(|part| part.as_bytes()));
        onto.extend_from_slice(message);
        let cipher = self.ciphers.first().ok_or_else(|| Error::bug("a keyring without keys"))?;
        let (head, plain) = onto.split_at_mut(start);
        let made = cipher
            .encrypt_in_place_detached(Nonce::from_slice(nonce), b"", plain)
            .map_err(|_| Error::bug(format_args!("{} bytes could not be sealed", message.len())))?;
        let (_, place) = head.split_at_mut(tag);
        place.copy_from_slice(&made);
        Ok(())
    }

    /// Opens a payload that came to a channel or group at a time of its server, in ms.
    pub(crate) fn open(&self, payload: &[u8], target: Target<'_>, now_ms: u64) -> Result<Opened, Refusal> {
        if payload.first() != Some(&MARK) {
            return Err(Refusal::ClearText);
        }
        let Some([_, VERSION, rest @ ..]) = payload.get(..) else { return Err(Refusal::Malformed) };
        let Some((nonce, rest)) = rest.split_at_checked(NONCE) else { return Err(Refusal::Malformed) };
        let Some((tag, ciphertext)) = rest.split_at_checked(TAG) else { return Err(Refusal::Malformed) };
        if ciphertext.len() < HEAD {
            return Err(Refusal::Malformed);
        }
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        let mut plain = ciphertext.to_vec();
        // A key that does not open leaves the bytes as they are.
        let opens =
            |key: &XSalsa20Poly1305| key.decrypt_in_place_detached(nonce, b"", &mut plain, tag).is_ok();
        if !self.ciphers.iter().any(opens) {
            return Err(Refusal::NoKey);
        }
        read(&plain.into(), target, now_ms)
    }
}

/// Reads the decrypted bytes, and checks that they were sealed for this target and are not too old.
fn read(plain: &Bytes, target: Target<'_>, now_ms: u64) -> Result<Opened, Refusal> {
    let number = |from: usize| {
        let bytes = plain.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or(Refusal::Malformed)
    };
    let (kind, length) = plain.first().zip(plain.get(HEAD - 1)).ok_or(Refusal::Malformed)?;
    let message = HEAD + usize::from(*length);
    let name = plain.get(HEAD..message).ok_or(Refusal::Malformed)?;
    let until_ms = number(1)?.saturating_add(number(9)?).saturating_add(ALLOWANCE_MS);
    let is_for_target = match target {
        Target::Channel(queue, address) => {
            *kind == CHANNEL && name.strip_prefix(queue.as_bytes()) == Some(address.as_bytes())
        }
        Target::Group(group) => *kind == GROUP && name == group.as_bytes(),
    };
    if !is_for_target {
        return Err(Refusal::Moved);
    }
    if now_ms > until_ms {
        return Err(Refusal::TooOld);
    }
    Ok(Opened { message: plain.slice(message..), until_ms })
}

/// Reports whether a payload is sealed, without a key. A shorter one is no message of any kind.
pub(crate) fn is_sealed(payload: &[u8]) -> bool {
    payload.first() == Some(&MARK) && payload.len() >= OVERHEAD
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.ciphers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
