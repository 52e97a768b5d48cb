//! Names of channels and groups. A name is made only by parsing, so code that holds one need not check it again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// The longest name, in bytes.
const MAX_LENGTH: usize = 100;

/// The name of a channel.
///
/// # Syntax
///
/// ASCII letters, digits, `-`, `_` and `.`, at most one `?` or `!`, at most 100 bytes (the channel layer
/// specification, "Channels", asks that at least 100 bytes be allowed; this crate allows exactly that many). What
/// stands before and after the `?` is not empty; what follows the `!` may be, and then the name is an inbox's.
///
/// ```
/// use asgi_redis::{ChannelKind, ChannelName};
///
/// let name: ChannelName = "http.response.client7!ab12".parse()?;
/// assert_eq!(name.kind(), ChannelKind::ProcessSpecific);
/// assert_eq!(name.queue(), "http.response.client7!");
/// assert_eq!(name.local(), Some("ab12"));
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName {
    text: Arc<str>,
    kind: ChannelKind,
}

/// The kinds of channels, told by the mark in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChannelKind {
    /// `http.request`: many readers compete, one gets each message.
    Normal,
    /// `http.request.body?Xy12`: one reader, in order.
    SingleReader,
    /// `http.response.client7!ab12`: an address inside one process's inbox.
    ProcessSpecific,
    /// `http.response.client7!`: the inbox of one process. It is read, never sent to.
    Inbox,
}

impl ChannelName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for an empty name, one over 100 bytes, another character, a second
    /// mark, nothing before the mark, or nothing after a `?`.
    pub fn new(text: &str) -> Result<Self> {
        check_text("channel", text, b"-_.?!")?;
        let (head, kind) = match text.split_once(['?', '!']) {
            None => (text, ChannelKind::Normal),
            Some((_, tail)) if tail.contains(['?', '!']) => {
                return Err(invalid("channel", text, "a name has at most one `?` or `!`"));
            }
            Some((head, "")) if text.ends_with('!') => (head, ChannelKind::Inbox),
            Some((_, "")) => {
                return Err(invalid(
                    "channel",
                    text,
                    "something must follow the `?`; `new_channel` makes such names",
                ));
            }
            Some((head, _)) if text.contains('!') => (head, ChannelKind::ProcessSpecific),
            Some((head, _)) => (head, ChannelKind::SingleReader),
        };
        if head.is_empty() {
            return Err(invalid("channel", text, "something must stand before the `?` or `!`"));
        }
        Ok(Self { text: text.into(), kind })
    }

    /// Makes the name of a new single-reader channel: a pattern that ends in `?`, and 128 random bits as 22 letters,
    /// digits, `-` and `_`. No other channel has the name, and nobody can guess it ("new_channel" of the specification).
    ///
    /// ```
    /// use asgi_redis::{ChannelKind, ChannelName};
    ///
    /// let body = ChannelName::random("http.request.body?")?;
    /// assert_eq!(body.kind(), ChannelKind::SingleReader);
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for a pattern that does not end in `?` or has more than 78 bytes. A
    /// pattern that ends in `!` is refused too: opening an inbox makes its name. [`Internal`](ErrorKind::Internal) if
    /// the system gives no random numbers.
    pub fn random(pattern: &str) -> Result<Self> {
        if pattern.ends_with('!') {
            return Err(invalid(
                "channel",
                pattern,
                "a pattern that ends in `!` names an inbox; open an inbox, and a mailbox in it",
            ));
        }
        if !pattern.ends_with('?') {
            return Err(invalid("channel", pattern, "the pattern of a new channel ends in `?`"));
        }
        Self::new(&format!("{pattern}{}", random_text(22)?))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind of the channel.
    pub fn kind(&self) -> ChannelKind {
        self.kind
    }

    /// The name of the queue in which the channel's messages wait: up to and with the `!`, else the whole name.
    pub fn queue(&self) -> &str {
        self.text.split_at(self.text.len() - self.address().len()).0
    }

    /// The address inside the inbox: what follows the `!` of a process-specific channel. `None` for other kinds.
    pub fn local(&self) -> Option<&str> {
        Some(self.address()).filter(|local| !local.is_empty())
    }

    /// The address inside the inbox, empty for a channel that has its queue to itself.
    pub(crate) fn address(&self) -> &str {
        match self.kind {
            ChannelKind::ProcessSpecific => self.text.split_once('!').map_or("", |(_, address)| address),
            ChannelKind::Normal | ChannelKind::SingleReader | ChannelKind::Inbox => "",
        }
    }
}

/// The name of a group: ASCII letters, digits, `-`, `_` and `.`, at most 100 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for an empty name, one over 100 bytes, or another character.
    pub fn new(text: &str) -> Result<Self> {
        check_text("group", text, b"-_.")?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes a text of random letters, digits, `-` and `_`. Each has 6 bits; from the 23rd on they are no longer random, because
/// 22 letters use all 128 bits.
///
/// # Errors
///
/// [`Internal`](ErrorKind::Internal) if the system gives no random numbers.
pub(crate) fn random_text(letters: usize) -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, "the system gives no random numbers, which new names need")
            .with_source(error)
    })?;
    let bits = u128::from_be_bytes(bytes);
    #[expect(clippy::indexing_slicing, reason = "6 bits are an index into 64 letters")]
    let letter = |sextet| char::from(ALPHABET[(bits >> (6 * sextet)) as usize & 63]);
    Ok((0..letters).map(letter).collect())
}

fn check_text(what: &str, text: &str, marks: &[u8]) -> Result<()> {
    if text.is_empty() {
        return Err(invalid(what, text, "it is empty"));
    }
    if text.len() > MAX_LENGTH {
        return Err(invalid(
            what,
            text,
            &format!("it has {} bytes, at most {MAX_LENGTH} are allowed", text.len()),
        ));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || c.is_ascii() && marks.contains(&(*c as u8)))) {
        None => Ok(()),
        Some(c) if what == "group" && (c == '?' || c == '!') => {
            Err(invalid(what, text, "groups have no `?` or `!` in their names"))
        }
        Some(c) => Err(invalid(
            what,
            text,
            &format!(
                "{c:?} is not allowed, only ASCII letters, digits, `-`, `_`, `.`{}",
                if what == "channel" { " and one `?` or `!`" } else { "" }
            ),
        )),
    }
}

fn invalid(what: &str, text: &str, why: &str) -> Error {
    const SHOWN: usize = 120;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    Error::new(ErrorKind::InvalidName, format!("invalid {what} name {shown:?}{more}: {why}"))
}

/// Parsing from text, display and comparison as text, for one kind of name.
macro_rules! parsed_from_text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(&text)
            }
        }
        impl TryFrom<&String> for $name {
            type Error = Error;
            fn try_from(text: &String) -> Result<Self> {
                Self::new(text)
            }
        }
        impl TryFrom<&&str> for $name {
            type Error = Error;
            fn try_from(text: &&str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use parsed_from_text;

parsed_from_text!(ChannelName);
parsed_from_text!(GroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn channel_error(text: &str) -> String {
        let error = ChannelName::new(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
        error.to_string()
    }

    #[test]
    fn the_mark_tells_the_kind_and_the_queue() {
        for (text, kind, queue, local) in [
            ("http.request", ChannelKind::Normal, "http.request", None),
            ("http.request.body?Xy12", ChannelKind::SingleReader, "http.request.body?Xy12", None),
            ("http.response.c7!ab", ChannelKind::ProcessSpecific, "http.response.c7!", Some("ab")),
            ("http.response.c7!", ChannelKind::Inbox, "http.response.c7!", None),
        ] {
            let name = ChannelName::new(text).unwrap();
            assert_eq!((name.kind(), name.queue(), name.local()), (kind, queue, local), "{text}");
        }
    }

    #[test]
    fn a_hundred_bytes_are_allowed_and_one_more_is_not() {
        assert!(ChannelName::new(&"a".repeat(100)).is_ok());
        assert!(channel_error(&"a".repeat(101)).contains("it has 101 bytes, at most 100 are allowed"));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name() {
        assert_eq!(channel_error(""), r#"invalid channel name "": it is empty"#);
        assert_eq!(
            channel_error("a?b!c"),
            r#"invalid channel name "a?b!c": a name has at most one `?` or `!`"#
        );
        assert_eq!(
            channel_error("!a"),
            r#"invalid channel name "!a": something must stand before the `?` or `!`"#
        );
        assert!(channel_error("a?").contains("something must follow the `?`"));
        assert!(channel_error("a b").contains("' ' is not allowed"));
        assert!(channel_error("a\n").contains(r"'\n' is not allowed"));
        assert!(channel_error("a٣").contains("'٣' is not allowed"));
        assert!(channel_error("a!é中").contains("'é' is not allowed"));
    }

    #[test]
    fn random_channels_differ_and_keep_their_pattern() {
        let (one, two) = (ChannelName::random("body?").unwrap(), ChannelName::random("body?").unwrap());
        assert_ne!(one, two);
        assert!(one.as_str().starts_with("body?") && one.as_str().len() == 27, "{one}");
        assert!(ChannelName::random("inbox!").unwrap_err().to_string().contains("open an inbox"));
        assert!(ChannelName::random("body").unwrap_err().to_string().contains("ends in `?`"));
        assert!(ChannelName::random(&format!("{}?", "a".repeat(99))).is_err());
    }

    #[test]
    fn groups_have_no_mark() {
        assert!(GroupName::new("room-7").is_ok());
        let error = GroupName::new("room!7").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"invalid group name "room!7": groups have no `?` or `!` in their names"#
        );
    }
}
