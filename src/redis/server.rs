//! How connections to one server are opened: the login, the socket, the handshake, and why a server takes none.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::{Connection, Driver, too_old};
use super::dial::{NoStream, dial, remedy_of_alert, speaks_tls};
use super::failure::Failure;
use super::keys::Keys;
use super::pushes::receive_pushes;
use super::receive::Tickets;
use super::refusal::Asked;
use crate::config::credentials::Source;
use crate::config::host::Host;
use crate::config::tls::Tls;
use crate::error::ErrorKind;
use crate::events::EventSource;

/// How many calls may wait to be written; a further one waits for its turn.
const WRITE_QUEUE: usize = 1024;

/// What is needed to open connections to one server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: Host,
    /// Who is asked for user and password, if they are not those of the address.
    pub(super) credentials: Option<Source>,
    pub(super) tls: Tls,
    /// For messages; without credentials.
    pub(super) host: Arc<str>,
    pub(super) shard: usize,
    /// Where it is told what happens to it.
    pub(super) events: EventSource,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
}

impl Server {
    /// Gives what it takes to connect all the time that a connection may take, and not more.
    pub(super) async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout(self.connect_timeout, connecting).await.unwrap_or_else(|_| {
            let late =
                format!("server {} did not answer in time: not within {:?}", self.host, self.connect_timeout);
            Err(Failure::new(ErrorKind::Timeout, late))
        })
    }

    /// Opens a connection whose pushes go to the tickets.
    pub(super) async fn open(
        &self,
        settings: &RedisConnectionInfo,
        keys: &Keys,
        tickets: &Arc<Tickets>,
    ) -> Result<Connection, Failure> {
        let asked = Asked { host: &self.host, prefix: keys.prefix() };
        let address = self.address.connection_info().addr();
        let stream = match dial(address, &self.tls, self.response_timeout).await {
            Ok(stream) => stream,
            Err(NoStream::Unreachable(error)) => return Err(asked.lost_reply(error.into(), false)),
            Err(NoStream::Tls(why)) => return Err(self.no_tls(&why)),
        };
        let (broken, outlived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(WRITE_QUEUE)
            .set_push_sender(receive_pushes(
                self.shard,
                keys.clone(),
                Arc::clone(tickets),
                Arc::clone(&broken),
                Arc::clone(&outlived),
            ));
        let (wire, driver) = match MultiplexedConnection::new_with_config(settings, stream, config).await {
            Ok(made) => made,
            Err(error) => return Err(self.not_set_up(error, asked).await),
        };
        let driver = Driver::new(tokio::spawn(driver).abort_handle());
        Ok(Connection::new(wire, driver, keys.clone(), Arc::clone(&self.host), broken, outlived))
    }

    /// Why a server that can be reached does not take the connection.
    async fn not_set_up(&self, error: redis::RedisError, asked: Asked<'_>) -> Failure {
        if error.kind() == redis::ErrorKind::RESP3NotSupported {
            return too_old(&self.host, "it does not speak RESP3");
        }
        let address = self.address.connection_info().addr();
        if error.code().is_none() && speaks_tls(address).await {
            return self.no_tls("it speaks TLS alone; write rediss:// in place of redis://");
        }
        let text = error.to_string();
        if text.contains("received fatal alert") {
            return self.no_tls(&format!("{text}; {}", remedy_of_alert(&text)));
        }
        asked
            .no_database(asked.lost_reply(error, false), self.address.connection_info().redis_settings().db())
    }

    fn no_tls(&self, why: &str) -> Failure {
        Failure::new(ErrorKind::Tls, format!("no TLS with server {}: {why}", self.host))
    }

    /// What the connection is set up with: adds user and password, if somebody is to be asked for them.
    pub(super) async fn log_in(&self) -> Result<RedisConnectionInfo, Failure> {
        let settings = self.address.connection_info().redis_settings();
        let Some(source) = &self.credentials else { return Ok(settings.clone()) };
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(ErrorKind::Credentials, format!("no credentials for server {}: {why}", self.host))
        };
        let credentials = match timeout(self.connect_timeout, source.ask(&self.address)).await {
            Ok(Ok(credentials)) => credentials,
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&format!("none came within {:?}", self.connect_timeout))),
        };
        let (user, password) = credentials.parts();
        let settings = settings.clone().set_password(password);
        Ok(match user {
            Some(user) => settings.set_username(user),
            None => settings,
        })
    }
}
