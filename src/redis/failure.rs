//! What can go wrong with one call to a server, in a form that many waiting senders can share.

use redis::{Arg, Cmd, RedisError, Value};

use super::script::Script;
use crate::error::{Error, ErrorKind};

/// So many keys an error names.
const MAX_KEYS: usize = 10;

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    /// Whether the server has forgotten the script, or the generation of this connection. Then nothing was executed, and
    /// the call may be made again once the server was given anew what it misses.
    pub(super) is_forgotten: bool,
    /// Whether the call was perhaps executed all the same.
    pub(super) may_be_executed: bool,
    pub(super) source: Option<RedisError>,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), is_forgotten: false, may_be_executed: false, source: None }
    }

    /// The server has forgotten its scripts or this client.
    pub(super) fn forgotten(host: &str) -> Self {
        let message = format!("server {host} forgot its scripts or this client");
        Self { is_forgotten: true, ..Self::new(ErrorKind::Connection, message) }
    }

    /// Whether it concerns the server or the way to it, and not what was asked.
    pub(super) fn is_outage(&self) -> bool {
        !self.is_forgotten && self.kind.is_outage()
    }

    /// The same failure of a call that was never written, or that may be made again.
    pub(super) fn not_executed(&self) -> Self {
        Self { may_be_executed: false, ..self.clone() }
    }

    /// Says of which keys a call was that met one of another type; what the scripts catch themselves they say exactly.
    pub(super) fn naming_keys(mut self, call: &Cmd) -> Self {
        if self.kind == ErrorKind::Script
            && self.message.contains("WRONGTYPE")
            && !self.message.contains("value: ")
        {
            let mut arguments = call.args_iter().skip(2).filter_map(|argument| match argument {
                Arg::Simple(text) => Some(String::from_utf8_lossy(text)),
                _ => None,
            });
            let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(0);
            let keys: Vec<_> = arguments.take(count).take(MAX_KEYS).collect();
            self.message =
                format!("{}; another program has one of the keys {}", self.message, keys.join(", "));
        }
        self
    }

    pub(super) fn to_error(&self) -> Error {
        let doubt = if self.may_be_executed { "; what was under way may have been executed" } else { "" };
        let error =
            Error::new(self.kind, format!("{}{doubt}", self.message)).with_perhaps_sent(self.may_be_executed);
        match &self.source {
            Some(source) => error.with_source(source.clone()),
            None => error,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.to_error()
    }
}

impl From<Error> for Failure {
    /// An error that came before anything was written, for all who wait for the same call.
    fn from(error: Error) -> Self {
        Self { may_be_executed: error.perhaps_sent(), ..Self::new(error.kind(), error.to_string()) }
    }
}

/// A reply that this version does not understand.
pub(super) fn unexpected_reply(host: &str, script: &Script, reply: &Value) -> Failure {
    let mut shown = format!("{reply:?}");
    if let Some((cut, _)) = shown.char_indices().nth(200) {
        shown.truncate(cut);
    }
    let script = script.name();
    let message =
        format!("server {host} answered script {script} with what this version does not know: {shown}");
    Failure { may_be_executed: true, ..Failure::new(ErrorKind::Script, message) }
}
