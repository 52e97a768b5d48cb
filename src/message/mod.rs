//! Packed messages: any serde type as MessagePack bytes, and back.
//!
//! A send packs its message here first, and a receive unpacks here last. In between a message is only bytes, which are
//! shared and never copied. [`value`] is a message without a struct and [`value_serde`] its serde side; [`well_formed`]
//! checks bytes; [`decode_failure`] words an error without the content. [`delivery`] is a message with the time that it has
//! left, and [`request`] one that wants a reply; [`decoded`] is what copies of one message share. `json` is a message as JSON text.

mod decode_failure;
pub(crate) mod decoded;
pub(crate) mod delivery;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod request;
pub(crate) mod value;
mod value_serde;
mod well_formed;

use std::any::type_name;
use std::fmt;
use std::io;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::decode_failure::without_content;
use self::well_formed::{Fault, MAX_DEPTH, Scanner};
use crate::error::{Error, ErrorKind, Result};

/// A message as MessagePack bytes. Clones share the bytes.
///
/// Structs become maps with the names of their fields as keys, so that a reader in any language understands them.
/// Bytes and text stay different things on the way, but a plain `Vec<u8>` is a list of numbers to serde: for bytes
/// use [`Value::Bytes`](crate::Value::Bytes) or `#[serde(with = "serde_bytes")]`.
///
/// ```
/// use asgi_redis::PackedMessage;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Request<'a> {
///     path: &'a str,
///     secure: bool,
/// }
///
/// let request = Request { path: "/", secure: true };
/// let packed = PackedMessage::pack(&request)?;
/// assert_eq!(packed.as_bytes()[..6], *b"\x82\xa4path");
/// assert_eq!(packed.unpack::<Request>()?, request);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PackedMessage(Bytes);

impl PackedMessage {
    /// Packs a value of any serde type.
    ///
    /// # Errors
    ///
    /// [`MessageTooLarge`](ErrorKind::MessageTooLarge) when lists and maps are nested more than 64 deep;
    /// [`Encode`](ErrorKind::Encode) when the type's own `Serialize` fails; the text is that of its error.
    ///
    /// ```
    /// use asgi_redis::{ErrorKind, PackedMessage, Value};
    ///
    /// let mut nested = Value::Nil;
    /// for _ in 0..65 {
    ///     nested = Value::List(vec![nested]);
    /// }
    /// assert_eq!(PackedMessage::pack(&nested).unwrap_err().kind(), ErrorKind::MessageTooLarge);
    /// ```
    pub fn pack<T: Serialize + ?Sized>(message: &T) -> Result<Self> {
        let mut sink = Sink { bytes: Vec::with_capacity(128), scanner: Scanner::new(), fault: None };
        let written = message.serialize(&mut rmp_serde::Serializer::new(&mut sink).with_struct_map());
        let formed = match sink.fault {
            Some(fault) => Err(fault),
            None if written.is_err() => Ok(()),
            None => sink.scanner.finish(),
        };
        match (formed, written) {
            (Err(Fault::TooDeep), _) => Err(Error::new(
                ErrorKind::MessageTooLarge,
                format!(
                    "the message ({}) is nested more than {MAX_DEPTH} levels deep; send a flatter one",
                    type_name::<T>()
                ),
            )),
            // The type announced another length to serde than it has elements.
            (Err(fault), _) => Err(cannot_encode::<T>(&fault)),
            (Ok(()), Err(error)) => Err(cannot_encode::<T>(&error)),
            (Ok(()), Ok(())) => Ok(Self(sink.bytes.into())),
        }
    }

    /// Unpacks into a type that may borrow from these bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) when the bytes are not exactly one MessagePack value, are nested more than 64
    /// deep, or do not fit the type. The error's text names what is wrong and holds nothing of the content;
    /// [`Error::undecoded`] has the bytes.
    ///
    /// ```
    /// use asgi_redis::PackedMessage;
    ///
    /// let packed = PackedMessage::from_bytes(&b"\xa6secret"[..]);
    /// assert_eq!(packed.unpack::<&str>()?, "secret");
    ///
    /// let error = packed.unpack::<u64>().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "cannot decode a message of 7 bytes as u64: it has a string where another type is expected"
    /// );
    /// assert_eq!(error.undecoded().unwrap(), packed.as_bytes());
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    pub fn unpack<'de, T: Deserialize<'de>>(&'de self) -> Result<T> {
        well_formed::check(&self.0).map_err(|fault| self.undecodable::<T>(&fault))?;
        rmp_serde::from_slice(&self.0).map_err(|error| self.undecodable::<T>(&without_content(error)))
    }

    /// Unpacks into a type that borrows nothing, as receiving does.
    ///
    /// # Errors
    ///
    /// As [`unpack`](Self::unpack).
    pub fn unpack_owned<T: DeserializeOwned>(&self) -> Result<T> {
        self.unpack()
    }

    /// Takes bytes that are packed already, and checks their form: exactly one MessagePack value, nested at most 64 deep. So a
    /// sender is told of what its receiver could not unpack. Texts are not checked to be UTF-8. Walks the bytes once.
    ///
    /// # Errors
    ///
    /// [`MessageTooLarge`](ErrorKind::MessageTooLarge) for lists and maps that are nested more than 64 deep;
    /// [`Encode`](ErrorKind::Encode) for bytes that are no MessagePack, not whole, or more than one value.
    ///
    /// ```
    /// use asgi_redis::PackedMessage;
    ///
    /// assert_eq!(PackedMessage::from_bytes_checked(&b"\xa2hi"[..])?.unpack::<&str>()?, "hi");
    /// let error = PackedMessage::from_bytes_checked(&b"\xa3hi"[..]).unwrap_err();
    /// assert_eq!(error.to_string(), "3 bytes are no packed message: it ends before the value does");
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    pub fn from_bytes_checked(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let Err(fault) = well_formed::check(&bytes) else { return Ok(Self(bytes)) };
        let kind = if fault == Fault::TooDeep { ErrorKind::MessageTooLarge } else { ErrorKind::Encode };
        Err(Error::new(kind, format!("{} bytes are no packed message: {fault}", bytes.len())))
    }

    /// Takes bytes that are packed already. They are checked when they are unpacked, not here; see
    /// [`from_bytes_checked`](Self::from_bytes_checked).
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The MessagePack bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The MessagePack bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The size in bytes: what `max_message_size` limits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Reports whether there are no bytes at all. A packed message has at least one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn undecodable<T>(&self, why: &dyn fmt::Display) -> Error {
        let text = format!("cannot decode a message of {} bytes as {}: {why}", self.len(), type_name::<T>());
        Error::new(ErrorKind::Decode, text).with_undecoded(self.0.clone())
    }
}

/// Shows the length only: messages may hold secrets, and logs live long.
impl fmt::Debug for PackedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedMessage({} bytes)", self.len())
    }
}

fn cannot_encode<T: ?Sized>(why: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Encode, format!("cannot encode a message of type {}: {why}", type_name::<T>()))
}

/// Collects what the serializer writes, and stops it at the first level too deep.
struct Sink {
    bytes: Vec<u8>,
    scanner: Scanner,
    fault: Option<Fault>,
}

impl io::Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if let Err(fault) = self.scanner.feed(piece) {
            self.fault = Some(fault);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
