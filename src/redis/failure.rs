//! What can go wrong with one call to a server, in a form that many waiting senders can share.

use redis::{RedisError, ServerError, ServerErrorKind, Value};

use super::script::Script;
use crate::error::{Error, ErrorKind};

/// A failed call.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The server does not have the script: nothing was executed.
    NoScript,
    /// Any other.
    Other(Cause),
}

/// Why a call failed, and whether it was perhaps executed all the same.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) perhaps_executed: bool,
    source: Option<RedisError>,
}

impl Cause {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), perhaps_executed: false, source: None }
    }

    /// Whether it concerns the server or the way to it, and not what was asked.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self.kind, ErrorKind::Connection | ErrorKind::Timeout)
    }

    /// The same cause for a call that was never written.
    pub(super) fn not_executed(&self) -> Self {
        Self { perhaps_executed: false, ..self.clone() }
    }

    pub(super) fn to_error(&self) -> Error {
        let doubt = if self.perhaps_executed { "; what was under way may have been executed" } else { "" };
        let error = Error::new(self.kind, format!("{}{doubt}", self.message))
            .with_perhaps_sent(self.perhaps_executed);
        match &self.source {
            Some(source) => error.with_source(source.clone()),
            None => error,
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Other(cause)
    }
}

/// An error that the connection gave instead of a reply, about a command that was perhaps written already.
pub(super) fn lost_reply(host: &str, error: RedisError, written: bool) -> Cause {
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Connection };
    let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
    // One line, whatever the other side sent.
    let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Cause {
        kind,
        message: format!("server {host} {what}: {why}"),
        perhaps_executed: written,
        source: Some(error),
    }
}

/// An error that the server gave as its reply.
pub(super) fn refused(host: &str, script: Option<&Script>, error: &ServerError) -> Failure {
    if error.kind() == Some(ServerErrorKind::NoScript) {
        return Failure::NoScript;
    }
    let text = match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    };
    refusal(host, script, &text).into()
}

/// The server's own words about what it refused: a code and a text.
pub(super) fn refusal(host: &str, script: Option<&Script>, text: &str) -> Cause {
    let kind = match text.split(' ').next().unwrap_or_default() {
        "OOM" => ErrorKind::ServerFull,
        "BUSY" | "CLUSTERDOWN" | "DENIED" | "LOADING" | "MASTERDOWN" | "MISCONF" | "NOAUTH"
        | "NOREPLICAS" | "READONLY" | "TRYAGAIN" | "WRONGPASS" => ErrorKind::Connection,
        _ => ErrorKind::Script,
    };
    let message = match (kind, script) {
        (ErrorKind::ServerFull, _) => {
            format!(
                "server {host} has no memory left for the message; raise its maxmemory or receive more: {text}"
            )
        }
        (_, Some(script)) => {
            format!("server {host} refused script {}: {}", script.name(), script.rewrite_error(text))
        }
        (_, None) => format!("server {host} refused a command: {text}"),
    };
    let mut cause = Cause::new(kind, message);
    // A line is named by a script that had begun, and what it did before stays done.
    cause.perhaps_executed = script.is_some() && text.contains("@user_script");
    cause
}

/// A reply that this version does not understand.
pub(super) fn unexpected_reply(host: &str, script: &Script, reply: &Value) -> Cause {
    let mut shown = format!("{reply:?}");
    if let Some((cut, _)) = shown.char_indices().nth(200) {
        shown.truncate(cut);
    }
    let mut cause = Cause::new(
        ErrorKind::Script,
        format!(
            "server {host} answered script {} with what this version does not know: {shown}",
            script.name()
        ),
    );
    cause.perhaps_executed = true;
    cause
}
