//! The one error type of the crate: what went wrong, whether trying again is safe, and whether the message was
//! perhaps sent all the same.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with two answers for the caller: [`may_retry`](Error::may_retry) and
/// [`perhaps_sent`](Error::perhaps_sent).
///
/// The type is opaque: match on [`kind`](Error::kind). Its text is one line, names the value at fault and, where
/// there is one, the remedy. It never holds a message's content.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    perhaps_sent: bool,
    undecoded: Option<Bytes>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The channel, or the mailbox in its process, holds as many live messages as its capacity; nothing was sent.
    ChannelFull,
    /// The packed message is larger than `max_message_size`, or nested too deeply; nothing was sent.
    MessageTooLarge,
    /// A channel name, group name or pattern that the rules of names refuse.
    InvalidName,
    /// An option whose name or value is wrong.
    Config,
    /// The server, or this layer, cannot do it: a server that is too old, a backend that this crate does not have, a normal
    /// channel in a group of a layer that keeps normal channels on one machine.
    Unsupported,
    /// The call needs a Tokio runtime with time and I/O enabled, and was made outside of one.
    NoRuntime,
    /// The server cannot be reached, or the connection broke.
    Connection,
    /// The server refuses the user or the password of the layer, or wants some and was given none.
    Credentials,
    /// The server does not have the database of the layer.
    Database,
    /// The server still loads its data.
    Loading,
    /// The server is a replica, which takes no writes.
    Replica,
    /// The server is there, but TLS with it fails: it speaks without TLS, or with it alone; its certificate is not trusted; it
    /// wants a certificate. The text names which, and what helps.
    Tls,
    /// The user of the layer lacks a right on the server; the text names the right.
    Rights,
    /// The server did not answer in time, or nobody drives the Tokio runtime in which the layer was connected.
    Timeout,
    /// A script failed on the server, or answered what this version does not understand.
    Script,
    /// A message could not be turned into MessagePack; nothing was sent.
    Encode,
    /// A received message is not MessagePack, or not of the wanted type; [`Error::undecoded`] has its bytes.
    Decode,
    /// A request was not answered in the time that its caller waits. The caller is told so, and so is a worker that answers later.
    TooLate,
    /// A single-reader channel is being read by another receive of this process.
    AlreadyReceiving,
    /// The layer, or the inbox, was closed.
    Closed,
    /// The server has no memory left for the message; nothing was sent.
    ServerFull,
    /// The server's data carry another schema number than this version reads and writes.
    Schema,
    /// A bug of this crate, or a machine that gives no random numbers.
    Internal,
}

impl ErrorKind {
    /// Whether it concerns the server or the way to it, and not what was asked: then the layer tries the server again by
    /// itself, receives wait, and other servers of the layer serve on.
    ///
    /// ```
    /// use asgi_redis::ErrorKind;
    ///
    /// assert!(ErrorKind::Credentials.is_outage() && ErrorKind::Loading.is_outage());
    /// assert!(!ErrorKind::ChannelFull.is_outage());
    /// ```
    pub fn is_outage(self) -> bool {
        match self {
            Self::Connection
            | Self::Timeout
            | Self::Credentials
            | Self::Database
            | Self::Loading
            | Self::Replica
            | Self::Tls => true,
            Self::ChannelFull
            | Self::MessageTooLarge
            | Self::InvalidName
            | Self::Config
            | Self::Unsupported
            | Self::NoRuntime
            | Self::Rights
            | Self::Script
            | Self::Encode
            | Self::Decode
            | Self::TooLate
            | Self::AlreadyReceiving
            | Self::Closed
            | Self::ServerFull
            | Self::Schema
            | Self::Internal => false,
        }
    }
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later and cannot deliver a message twice.
    ///
    /// True for a full channel or server, and for an [outage](ErrorKind::is_outage) as long as the message was certainly not
    /// sent. After an error with [`perhaps_sent`](Error::perhaps_sent) a second call could deliver a second copy, so
    /// the answer is no.
    pub fn may_retry(&self) -> bool {
        let is_full = matches!(self.0.kind, ErrorKind::ChannelFull | ErrorKind::ServerFull);
        let transient = is_full || self.0.kind.is_outage();
        transient && !self.0.perhaps_sent
    }

    /// Whether the message may have reached the server although the call failed: its reply was lost.
    pub fn perhaps_sent(&self) -> bool {
        self.0.perhaps_sent
    }

    /// The bytes of a received message that could not be decoded: it was taken from its channel and is not lost.
    pub fn undecoded(&self) -> Option<&Bytes> {
        self.0.undecoded.as_ref()
    }

    /// An error of a layer of one's own. Its text is one line, and names the value at fault and the remedy.
    ///
    /// ```
    /// use asgi_redis::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Connection, "the switch is off").with_perhaps_sent(true);
    /// assert!(!error.may_retry());
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            perhaps_sent: false,
            undecoded: None,
            source: None,
        }))
    }

    /// A state that cannot be, reached all the same: a bug of this crate. `what` names the place.
    pub(crate) fn bug(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, format!("bug in asgi-redis: {what}; please report it"))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with an answer to [`perhaps_sent`](Self::perhaps_sent).
    #[must_use]
    pub fn with_perhaps_sent(mut self, perhaps_sent: bool) -> Self {
        self.0.perhaps_sent = perhaps_sent;
        self
    }

    /// The same error again, for another caller of the same call; without its source.
    pub(crate) fn duplicate(&self) -> Self {
        Self::new(self.0.kind, self.0.message.clone()).with_perhaps_sent(self.0.perhaps_sent)
    }

    /// Adds on which channel it happened.
    pub(crate) fn on_channel(mut self, channel: &str) -> Self {
        self.0.message = format!("channel {channel:?}: {}", self.0.message);
        self
    }

    /// Adds what helps.
    pub(crate) fn with_remedy(mut self, remedy: &str) -> Self {
        self.0.message = format!("{}; {remedy}", self.0.message);
        self
    }

    pub(crate) fn with_undecoded(mut self, payload: Bytes) -> Self {
        self.0.undecoded = Some(payload);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("perhaps_sent", &self.0.perhaps_sent)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
