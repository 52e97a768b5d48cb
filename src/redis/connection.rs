//! One open connection to a server: its set-up, and calls of scripts over it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::calls::{self, Call};
use super::failure::{Cause, Failure, lost_reply, refusal, refused, unexpected_reply};
use super::keys::Keys;
use super::receive::Tickets;
use super::script;
use super::silence::Answers;
use crate::error::ErrorKind;

/// How long a silent network is trusted before the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How many calls may wait to be written; a further one waits for its turn.
const WRITE_QUEUE: usize = 1024;

/// A connection that carries commands and pushes. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    wire: MultiplexedConnection,
    keys: Keys,
    host: Arc<str>,
    /// Told when the connection is of no more use.
    broken: Arc<Notify>,
    answers: Arc<Answers>,
    /// The client's generation on it.
    pub(super) generation: u64,
    /// Rises whenever the server was given scripts or a generation anew.
    pub(super) epoch: u64,
}

/// What is needed to open connections to one server.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) info: ConnectionInfo,
    /// For messages; without credentials.
    pub(super) host: Arc<str>,
    pub(super) shard: usize,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
}

impl Target {
    /// Opens a connection whose pushes go to the tickets.
    pub(super) async fn connect(
        &self,
        keys: &Keys,
        tickets: &Arc<Tickets>,
        patience: Duration,
    ) -> Result<Connection, Cause> {
        let broken = Arc::new(Notify::new());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(WRITE_QUEUE)
            .set_push_sender(receive_pushes(
                self.shard,
                keys.clone(),
                Arc::clone(tickets),
                Arc::clone(&broken),
            ));
        let tcp =
            TcpSettings::default().set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let tcp = tcp.set_user_timeout(self.response_timeout);
        let info = self.info.clone().set_tcp_settings(tcp);
        let unreachable = |error: redis::RedisError| {
            if error.kind() == redis::ErrorKind::RESP3NotSupported {
                return too_old(&self.host, "it does not speak RESP3");
            }
            lost_reply(&self.host, error, false)
        };
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // Where a program links several providers none is the default, and TLS would panic; a default that the
            // program chose itself stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = redis::Client::open(info).map_err(unreachable)?;
        let wire = client.get_multiplexed_async_connection_with_config(&config).await.map_err(unreachable)?;
        Ok(Connection {
            wire,
            keys: keys.clone(),
            host: Arc::clone(&self.host),
            broken,
            answers: Answers::new(),
            generation: 0,
            epoch: 0,
        })
    }
}

/// Entries go to their tickets right here, in the task that reads the socket: no further wake-up on their way.
fn receive_pushes(
    shard: usize,
    keys: Keys,
    tickets: Arc<Tickets>,
    broken: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> + Send + Sync {
    move |push| {
        match push.kind {
            PushKind::Message => {
                let message = push.data.into_iter().nth(1);
                let wake = match message {
                    Some(Value::BulkString(message)) => calls::decode_wake(message),
                    _ => None,
                };
                match wake {
                    Some((ticket, mut handed)) => {
                        handed.reveal(keys.names());
                        tickets.arrived(shard, ticket, handed);
                    }
                    None => tracing::warn!("ignored a wake-up that is none"),
                }
            }
            PushKind::Disconnection => broken.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

impl Connection {
    /// Calls a script.
    pub(super) async fn call<C: Call>(&self, call: &C) -> Result<C::Reply, Failure> {
        let script = C::script();
        let command = call.command(&self.keys);
        let owed = self.answers.owe();
        let answer = self.wire.clone().send_packed_command(&command).await;
        owed.came();
        match answer {
            Ok(Value::ServerError(error)) => {
                let failure = refused(&self.host, Some(script), &error);
                if matches!(&failure, Failure::Other(cause) if cause.is_outage()) {
                    // Another server may have its name by now.
                    self.broken.notify_one();
                }
                Err(failure)
            }
            Ok(reply) => match C::decode(reply) {
                Ok(mut reply) => {
                    if !self.keys.names().are_plain() {
                        C::reveal(&mut reply, self.keys.names());
                    }
                    Ok(reply)
                }
                Err(reply) => Err(unexpected_reply(&self.host, script, &reply).into()),
            },
            Err(error) => Err(self.lost(error).into()),
        }
    }

    /// What the server calls itself, such as `redis 7.0.15`. HELLO needs no right.
    pub(super) async fn version(&self) -> Result<String, Cause> {
        let said = match self.wire.clone().send_packed_command(&redis::cmd("HELLO")).await {
            Ok(Value::Map(said)) => said,
            Ok(Value::ServerError(error)) => match refused(&self.host, None, &error) {
                Failure::Other(cause) => return Err(cause),
                Failure::NoScript => Vec::new(),
            },
            Ok(_) => Vec::new(),
            Err(error) => return Err(self.lost(error)),
        };
        let text = |wanted: &str| {
            said.iter().find_map(|(key, value)| match (key, value) {
                (Value::BulkString(key), Value::BulkString(value)) if key == wanted.as_bytes() => {
                    Some(String::from_utf8_lossy(value).into_owned())
                }
                _ => None,
            })
        };
        Ok([text("server"), text("version")].into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    /// The time of the server's clock, in ms.
    pub(super) async fn time(&mut self) -> Result<u64, Failure> {
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
            let said = format!("server {} answered TIME with something else", self.host);
            Cause::new(ErrorKind::Script, said).into()
        })
    }

    /// Has the server push to this connection what is published on a channel.
    pub(super) async fn subscribe(&mut self, channel: &str) -> Result<(), Cause> {
        self.wire.subscribe(channel).await.map_err(|error| match error.code() {
            // The server's own words, for example about the rights of the user.
            Some(code) => {
                refusal(&self.host, None, &format!("{code} {}", error.detail().unwrap_or_default()))
            }
            None => self.lost(error),
        })
    }

    /// Loads the scripts that the server does not have.
    pub(super) async fn load_missing_scripts(&mut self) -> Result<(), Failure> {
        let mut exists = redis::cmd("SCRIPT");
        exists.arg("EXISTS");
        for script in script::all() {
            exists.arg(script.sha());
        }
        let there = match self.command(&exists).await? {
            Value::Array(there) if there.len() == script::all().len() => there,
            reply => {
                return Err(Cause::new(
                    ErrorKind::Script,
                    format!("server {} answered SCRIPT EXISTS with {reply:?}", self.host),
                )
                .into());
            }
        };
        for (script, there) in script::all().iter().zip(there) {
            if matches!(there, Value::Int(0) | Value::Boolean(false)) {
                match self.command(redis::cmd("SCRIPT").arg("LOAD").arg(script.source())).await {
                    Ok(_) => {}
                    Err(Failure::Other(cause)) if !cause.is_outage() => {
                        return Err(self.old_version().await?.unwrap_or(cause).into());
                    }
                    Err(failure) => return Err(failure),
                }
                tracing::debug!(host = %self.host, script = script.name(), "loaded a script");
            }
        }
        Ok(())
    }

    /// Returns an error if the server is of a version that does not know our kind of scripts.
    async fn old_version(&mut self) -> Result<Option<Cause>, Failure> {
        let info = match self.command(redis::cmd("INFO").arg("server")).await? {
            Value::BulkString(info) => String::from_utf8_lossy(&info).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => return Ok(None),
        };
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version
            .filter(|version| is_too_old(version))
            .map(|version| too_old(&self.host, &format!("it is Redis {}", version.trim()))))
    }

    /// The answers that the server owes.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Waits until the connection is of no more use.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    async fn command(&mut self, command: &Cmd) -> Result<Value, Failure> {
        match self.wire.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(refused(&self.host, None, &error)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.lost(error).into()),
        }
    }

    fn lost(&self, error: redis::RedisError) -> Cause {
        let cause = lost_reply(&self.host, error, true);
        // A server that does not answer one call is not asked another: its task connects anew.
        self.broken.notify_one();
        cause
    }
}

fn is_too_old(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 7)
}

fn too_old(host: &str, why: &str) -> Cause {
    Cause::new(
        ErrorKind::Config,
        format!("server {host} is too old: {why}; this layer needs Redis 7.0 or Valkey 7.2, or newer"),
    )
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.host)
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
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
