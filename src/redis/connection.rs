//! One open connection to a server, and calls of scripts over it.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::calls::Call;
use super::failure::{Failure, unexpected_reply};
use super::keys::Keys;
use super::refusal::Asked;
use super::script;
use super::silence::Answers;
use crate::error::ErrorKind;

/// How long a token is kept, in ms.
const TOKEN_MS: u64 = 10_000;

/// What a server tells about itself.
pub(super) struct Introduction {
    /// Its name and version, such as `redis 7.0.15`.
    pub(super) version: String,
    /// Whether it takes writes, and follows no other server.
    pub(super) is_primary: bool,
    /// Whether it is part of a cluster.
    pub(super) is_in_cluster: bool,
}

/// A connection that carries commands and pushes. Clones share it; each send makes one.
#[derive(Clone)]
pub(super) struct Connection {
    open: Arc<Open>,
    /// The client's generation on it.
    pub(super) generation: u64,
    /// Rises whenever the server was given scripts or a generation anew.
    pub(super) epoch: u64,
}

/// What the clones of a connection share.
struct Open {
    wire: MultiplexedConnection,
    driver: Driver,
    keys: Keys,
    host: Arc<str>,
    /// Told when the connection is of no more use.
    broken: Arc<Notify>,
    /// Told when the server takes the client's lease for over.
    outlived: Arc<Notify>,
    answers: Answers,
}

/// The task that reads and writes the socket. Dropped, it ends, and the socket is closed.
#[derive(Debug)]
pub(super) struct Driver(AbortHandle);

impl Driver {
    pub(super) fn new(task: AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends a connection, also for those who wait for its answers.
#[derive(Debug)]
pub(super) struct End(AbortHandle);

impl End {
    pub(super) fn now(self) {
        self.0.abort();
    }
}

impl Connection {
    /// A connection that was just opened, on which the client has no generation yet.
    pub(super) fn new(
        wire: MultiplexedConnection,
        driver: Driver,
        keys: Keys,
        host: Arc<str>,
        broken: Arc<Notify>,
        outlived: Arc<Notify>,
    ) -> Self {
        let answers = Answers::new();
        let open = Open { wire, driver, keys, host, broken, outlived, answers };
        Self { open: Arc::new(open), generation: 0, epoch: 0 }
    }

    /// Calls a script.
    pub(super) async fn call<C: Call>(&self, call: &C) -> Result<C::Reply, Failure> {
        let script = C::script();
        let command = call.command(&self.open.keys);
        let owed = self.open.answers.owe();
        let answer = self.open.wire.clone().send_packed_command(&command).await;
        owed.came();
        match answer {
            Ok(Value::ServerError(error)) => {
                let failure = self.asked().refused(Some(script), &error).naming_keys(&command);
                if failure.is_outage() {
                    // Another server may have its name by now.
                    self.open.broken.notify_one();
                }
                Err(failure)
            }
            Ok(reply) if C::is_stale(&reply) => Err(Failure::forgotten(&self.open.host)),
            Ok(reply) => match C::decode(reply) {
                Ok(mut reply) => {
                    if !self.open.keys.names().are_plain() {
                        C::reveal(&mut reply, self.open.keys.names());
                    }
                    Ok(reply)
                }
                Err(reply) => Err(unexpected_reply(&self.open.host, script, &reply)),
            },
            Err(error) => Err(self.lost(error)),
        }
    }

    /// What the server tells about itself. HELLO needs no right.
    pub(super) async fn introduction(&self) -> Result<Introduction, Failure> {
        let said = match self.command(&redis::cmd("HELLO")).await? {
            Value::Map(said) => said,
            _ => Vec::new(),
        };
        let text = |wanted: &str| {
            said.iter().find_map(|(key, value)| match (key, value) {
                (Value::BulkString(key), Value::BulkString(value)) if key == wanted.as_bytes() => {
                    Some(String::from_utf8_lossy(value).into_owned())
                }
                _ => None,
            })
        };
        let version = [text("server"), text("version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
        Ok(Introduction {
            version,
            is_primary: text("role").is_none_or(|role| role == "master"),
            is_in_cluster: text("mode").is_some_and(|mode| mode == "cluster"),
        })
    }

    /// The server's eviction policy, if it has one by which it removes keys when it is full. For a user who may call INFO.
    pub(super) async fn eviction_policy(&self) -> Result<Option<String>, Failure> {
        let text = match self.info("memory").await {
            Err(failure) if !failure.is_outage() => String::new(),
            text => text?,
        };
        let is_bounded = field(&text, "maxmemory").is_some_and(|bytes| bytes != "0");
        let policy = field(&text, "maxmemory_policy").filter(|policy| is_bounded && *policy != "noeviction");
        Ok(policy.map(str::to_owned))
    }

    /// Whether the server has a key.
    pub(super) async fn has_key(&self, key: &str) -> Result<bool, Failure> {
        let mut command = redis::cmd("EXISTS");
        command.arg(key);
        Ok(self.command(&command).await? == Value::Int(1))
    }

    /// Writes a key that is gone after a few seconds.
    pub(super) async fn put_token(&self, key: &str) -> Result<(), Failure> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg("").arg("PX").arg(TOKEN_MS);
        self.command(&command).await.map(drop)
    }

    /// The time of the server's clock, in ms.
    pub(super) async fn time(&self) -> Result<u64, Failure> {
        match self.command(&redis::cmd("TIME")).await? {
            Value::Array(parts) => match parts.as_slice() {
                [Value::BulkString(seconds), Value::BulkString(microseconds)] => {
                    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
                    number(seconds)
                        .zip(number(microseconds))
                        .map(|(s, us)| s.saturating_mul(1000) + us / 1000)
                }
                _ => None,
            },
            _ => None,
        }
        .ok_or_else(|| {
            let said = format!("server {} answered TIME with something else", self.open.host);
            Failure::new(ErrorKind::Script, said)
        })
    }

    /// Has the server push to this connection what is published on a channel.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), Failure> {
        self.open.wire.clone().subscribe(channel).await.map_err(|error| match error.code() {
            // The server's own words, for example about the rights of the user.
            Some(code) => {
                self.asked().refusal(None, &format!("{code} {}", error.detail().unwrap_or_default()))
            }
            None => self.lost(error),
        })
    }

    /// Loads the scripts that the server does not have. Two round trips; one if it has all.
    pub(super) async fn load_missing_scripts(&self) -> Result<(), Failure> {
        let mut exists = redis::cmd("SCRIPT");
        exists.arg("EXISTS");
        for script in script::all() {
            exists.arg(script.sha());
        }
        let there = match self.command(&exists).await? {
            Value::Array(there) if there.len() == script::all().len() => there,
            reply => {
                return Err(Failure::new(
                    ErrorKind::Script,
                    format!("server {} answered SCRIPT EXISTS with {reply:?}", self.open.host),
                ));
            }
        };
        let is_missing = |there: &Value| matches!(there, Value::Int(0) | Value::Boolean(false));
        let missing = script::all().iter().zip(&there).filter(|(_, there)| is_missing(there));
        let loaded = join_all(missing.map(|(script, _)| async {
            self.command(redis::cmd("SCRIPT").arg("LOAD").arg(script.source())).await?;
            tracing::debug!(host = %self.open.host, script = script.name(), "loaded a script");
            Ok(())
        }));
        match loaded.await.into_iter().collect::<Result<(), Failure>>() {
            Err(failure) if !failure.is_forgotten && !failure.is_outage() => {
                Err(self.old_version().await?.unwrap_or(failure))
            }
            loaded => loaded,
        }
    }

    /// Returns an error if the server is of a version that does not know our kind of scripts.
    async fn old_version(&self) -> Result<Option<Failure>, Failure> {
        let info = self.info("server").await?;
        let version = field(&info, "redis_version").filter(|version| is_too_old(version));
        Ok(version.map(|version| too_old(&self.open.host, &format!("it is Redis {version}"))))
    }

    /// A section of what the server tells of itself; empty if it answers with something else.
    async fn info(&self, section: &str) -> Result<String, Failure> {
        Ok(match self.command(redis::cmd("INFO").arg(section)).await? {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => String::new(),
        })
    }

    /// The keys of the layer.
    pub(super) fn keys(&self) -> &Keys {
        &self.open.keys
    }

    /// The answers that the server owes.
    pub(super) fn answers(&self) -> &Answers {
        &self.open.answers
    }

    /// Waits until the server takes the client's lease for over, though it lives: its clock was perhaps set.
    pub(super) async fn outlived(&self) {
        self.open.outlived.notified().await;
    }

    /// Waits until the connection is of no more use.
    pub(super) async fn broken(&self) {
        self.open.broken.notified().await;
    }

    /// What ends the connection for all who hold it.
    pub(super) fn end(&self) -> End {
        End(self.open.driver.0.clone())
    }

    async fn command(&self, command: &Cmd) -> Result<Value, Failure> {
        match self.open.wire.clone().send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.asked().refused(None, &error)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { host: &self.open.host, prefix: self.open.keys.prefix() }
    }

    fn lost(&self, error: redis::RedisError) -> Failure {
        let failure = self.asked().lost_reply(error, true);
        // A server that does not answer one call is not asked another: its task connects anew.
        self.open.broken.notify_one();
        failure
    }
}

/// A field of a section.
fn field<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn is_too_old(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 7)
}

pub(super) fn too_old(host: &str, why: &str) -> Failure {
    Failure::new(
        ErrorKind::Unsupported,
        format!("server {host} is too old: {why}; this layer needs Redis 7.0 or Valkey 7.2, or newer"),
    )
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.open.host)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_redis_7_are_too_old_and_what_does_not_look_like_a_version_is_not() {
        for old in ["6.2.14", "5.0.0", "6"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["7.0.15", "7.2.4", "8.0.0", "10.1", "unstable", ""] {
            assert!(!is_too_old(new), "{new}");
        }
        let error = too_old("redis://a:1", "it is Redis 6.2.14").to_error();
        assert_eq!(
            error.to_string(),
            "server redis://a:1 is too old: it is Redis 6.2.14; this layer needs Redis 7.0 or Valkey 7.2, or newer"
        );
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
