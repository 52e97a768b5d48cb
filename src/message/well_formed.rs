//! The outer form of MessagePack, checked without recursion: exactly one value, whole, nested at most 64 deep.
//!
//! Serde's own limit does not hold everywhere: rmp-serde counts no levels while it encodes, nor inside enums while it
//! decodes, and does not read what follows the value. So packing and unpacking check the bytes here, before a type with a
//! recursive definition can exhaust the stack.

use std::fmt;

/// How deep lists and maps may be nested.
pub(crate) const MAX_DEPTH: usize = 64;

/// Why bytes are not one well-formed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    TooDeep,
    TrailingBytes,
    Incomplete,
    ReservedByte,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "it is nested more than {MAX_DEPTH} levels deep"),
            Self::TrailingBytes => f.write_str("bytes follow the end of the value"),
            Self::Incomplete => f.write_str("it ends before the value does"),
            Self::ReservedByte => f.write_str("it is not MessagePack: it uses the reserved byte 0xc1"),
        }
    }
}

/// Checks a whole message.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Fault> {
    let mut scanner = Scanner::new();
    scanner.feed(bytes)?;
    scanner.finish()
}

/// Follows the form of one MessagePack value that arrives in pieces.
pub(crate) struct Scanner {
    /// How many values are still to come: in the message, and in each list or map that is open.
    open: Vec<u64>,
    /// How many bytes of a scalar value are still to come.
    skip: u64,
    length: Option<Length>,
}

/// A length that is being read.
#[derive(Clone, Copy)]
struct Length {
    of: Announced,
    bytes_left: u8,
    value: u32,
}

/// What a length belongs to.
#[derive(Clone, Copy)]
enum Announced {
    Scalar,
    Extension,
    List,
    Map,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { open: vec![1], skip: 0, length: None }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        loop {
            // A length that no usize holds is longer than the bytes at hand.
            let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            self.skip -= skipped as u64;
            (_, bytes) = bytes.split_at(skipped);
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            match self.length.take() {
                Some(length) => self.lengthen(length, byte)?,
                None => self.begin(byte)?,
            }
        }
    }

    pub(crate) fn finish(mut self) -> Result<(), Fault> {
        self.close_finished();
        if self.open.is_empty() && self.skip == 0 && self.length.is_none() {
            Ok(())
        } else {
            Err(Fault::Incomplete)
        }
    }

    /// Begins the value that a first byte announces.
    fn begin(&mut self, marker: u8) -> Result<(), Fault> {
        self.close_finished();
        match self.open.last_mut() {
            Some(to_come) => *to_come -= 1,
            None => return Err(Fault::TrailingBytes),
        }
        match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => {}
            0x80..=0x8f => return self.sized(Announced::Map, u32::from(marker & 0x0f)),
            0x90..=0x9f => return self.sized(Announced::List, u32::from(marker & 0x0f)),
            0xa0..=0xbf => self.skip = u64::from(marker & 0x1f),
            0xc1 => return Err(Fault::ReservedByte),
            0xc4..=0xc6 => self.await_length(Announced::Scalar, 1 << (marker - 0xc4)),
            0xc7..=0xc9 => self.await_length(Announced::Extension, 1 << (marker - 0xc7)),
            0xca => self.skip = 4,
            0xcb => self.skip = 8,
            0xcc..=0xcf => self.skip = 1 << (marker - 0xcc),
            0xd0..=0xd3 => self.skip = 1 << (marker - 0xd0),
            0xd4..=0xd8 => self.skip = 1 + (1 << (marker - 0xd4)),
            0xd9..=0xdb => self.await_length(Announced::Scalar, 1 << (marker - 0xd9)),
            0xdc..=0xdd => self.await_length(Announced::List, 2 << (marker - 0xdc)),
            0xde..=0xdf => self.await_length(Announced::Map, 2 << (marker - 0xde)),
        }
        Ok(())
    }

    fn await_length(&mut self, of: Announced, bytes_left: u8) {
        self.length = Some(Length { of, bytes_left, value: 0 });
    }

    fn lengthen(&mut self, length: Length, byte: u8) -> Result<(), Fault> {
        let value = length.value << 8 | u32::from(byte);
        match length.bytes_left {
            0 | 1 => self.sized(length.of, value),
            more => {
                self.length = Some(Length { of: length.of, bytes_left: more - 1, value });
                Ok(())
            }
        }
    }

    fn sized(&mut self, what: Announced, length: u32) -> Result<(), Fault> {
        let length = u64::from(length);
        match what {
            Announced::Scalar => self.skip = length,
            Announced::Extension => self.skip = length + 1,
            Announced::List => self.open.push(length),
            Announced::Map => self.open.push(2 * length),
        }
        // The first entry stands for the message itself.
        if self.open.len() > MAX_DEPTH + 1 { Err(Fault::TooDeep) } else { Ok(()) }
    }

    fn close_finished(&mut self) {
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_announces_the_right_length() {
        for (bytes, what) in [
            (&[0x00][..], "positive fixint"),
            (&[0x81, 1, 2], "fixmap"),
            (&[0x92, 1, 2], "fixarray"),
            (&[0xa2, b'a', b'b'], "fixstr"),
            (&[0xc0], "nil"),
            (&[0xc2], "false"),
            (&[0xc4, 1, 9], "bin 8"),
            (&[0xc5, 0, 1, 9], "bin 16"),
            (&[0xc6, 0, 0, 0, 1, 9], "bin 32"),
            (&[0xc7, 1, 5, 9], "ext 8"),
            (&[0xc8, 0, 1, 5, 9], "ext 16"),
            (&[0xc9, 0, 0, 0, 1, 5, 9], "ext 32"),
            (&[0xca, 0, 0, 0, 0], "float 32"),
            (&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0], "float 64"),
            (&[0xcc, 1], "uint 8"),
            (&[0xcd, 0, 1], "uint 16"),
            (&[0xce, 0, 0, 0, 1], "uint 32"),
            (&[0xcf, 0, 0, 0, 0, 0, 0, 0, 1], "uint 64"),
            (&[0xd0, 1], "int 8"),
            (&[0xd1, 0, 1], "int 16"),
            (&[0xd2, 0, 0, 0, 1], "int 32"),
            (&[0xd3, 0, 0, 0, 0, 0, 0, 0, 1], "int 64"),
            (&[0xd4, 5, 1], "fixext 1"),
            (&[0xd5, 5, 1, 2], "fixext 2"),
            (&[0xd6, 5, 1, 2, 3, 4], "fixext 4"),
            (&[0xd7, 5, 1, 2, 3, 4, 5, 6, 7, 8], "fixext 8"),
            (&[0xd8, 5, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8], "fixext 16"),
            (&[0xd9, 1, b'a'], "str 8"),
            (&[0xda, 0, 1, b'a'], "str 16"),
            (&[0xdb, 0, 0, 0, 1, b'a'], "str 32"),
            (&[0xdc, 0, 1, 7], "array 16"),
            (&[0xdd, 0, 0, 0, 1, 7], "array 32"),
            (&[0xde, 0, 1, 7, 8], "map 16"),
            (&[0xdf, 0, 0, 0, 1, 7, 8], "map 32"),
            (&[0xff], "negative fixint"),
        ] {
            assert_eq!(check(bytes), Ok(()), "{what}");
            let shorter = &bytes[..bytes.len() - 1];
            assert_eq!(check(shorter), Err(Fault::Incomplete), "{what}, one byte less");
            let longer = [bytes, &[0]].concat();
            assert_eq!(check(&longer), Err(Fault::TrailingBytes), "{what}, one byte more");
            let mut scanner = Scanner::new();
            assert!(bytes.iter().all(|&byte| scanner.feed(&[byte]).is_ok()), "{what}, byte by byte");
            assert_eq!(scanner.finish(), Ok(()), "{what}, byte by byte");
        }
        assert_eq!(check(&[0xc1]), Err(Fault::ReservedByte));
    }

    #[test]
    fn depth_counts_what_is_open_and_not_what_was() {
        let nested = |levels: usize| [vec![0x91; levels - 1], vec![0x90]].concat();
        assert_eq!(check(&nested(64)), Ok(()));
        assert_eq!(check(&nested(65)), Err(Fault::TooDeep));
        let in_a_row = [&[0xdc, 0x03, 0xe8][..], &[0x90; 1000]].concat();
        assert_eq!(check(&in_a_row), Ok(()));
    }
}
