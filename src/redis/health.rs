//! How the servers of a layer are.

use std::time::Duration;

use crate::error::Error;

/// How one server of a layer is.
#[derive(Debug)]
pub struct ShardHealth {
    host: String,
    state: Result<Answer, Error>,
}

#[derive(Debug)]
struct Answer {
    latency: Duration,
    version: String,
    eviction_policy: Option<String>,
}

impl ShardHealth {
    pub(crate) fn up(
        host: &str,
        latency: Duration,
        version: String,
        eviction_policy: Option<String>,
    ) -> Self {
        Self { host: host.to_owned(), state: Ok(Answer { latency, version, eviction_policy }) }
    }

    pub(crate) fn down(host: &str, error: Error) -> Self {
        Self { host: host.to_owned(), state: Err(error) }
    }

    /// The server, as a URL without credentials.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it answered, takes writes, and grants all the rights that the layer uses.
    pub fn is_up(&self) -> bool {
        self.state.is_ok()
    }

    /// How long it took to answer.
    pub fn latency(&self) -> Option<Duration> {
        self.state.as_ref().ok().map(|answer| answer.latency)
    }

    /// What it calls itself, such as `redis 7.0.15`.
    pub fn version(&self) -> Option<&str> {
        self.state.as_ref().ok().map(|answer| answer.version.as_str())
    }

    /// Its `maxmemory-policy`, such as `allkeys-lru`, if it removes keys when it is full: then messages, memberships and
    /// waiting receives may vanish. `None` if it refuses writes instead, has no `maxmemory`, or does not let its user ask.
    pub fn eviction_policy(&self) -> Option<&str> {
        self.state.as_ref().ok().and_then(|answer| answer.eviction_policy.as_deref())
    }

    /// Why it is not up.
    pub fn error(&self) -> Option<&Error> {
        self.state.as_ref().err()
    }
}
