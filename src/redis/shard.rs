//! One shard: a server's connection, and what is sent over it.

use std::sync::Arc;
use std::time::Instant;

use super::calls::{Call, Flush, FlushInboxes};
use super::connection::Target;
use super::envelope::{Envelope, Envelopes};
use super::failure::Failure;
use super::keys::{ClientId, Keys};
use super::link::{Link, MOST_TRIES};
use super::receive::Tickets;
use super::send::{Outgoing, Sends};
use crate::config::Config;
use crate::config::host::Host;
use crate::error::{Error, ErrorKind, Result};
use crate::redis::health::ShardHealth;

/// One Redis keyspace in which a script is atomic.
#[derive(Debug)]
pub(super) struct Shard {
    number: usize,
    link: Arc<Link>,
    sends: Arc<Sends>,
    envelope: Envelope,
    host: Arc<str>,
}

impl Shard {
    /// Starts connecting.
    pub(super) fn start(
        number: usize,
        host: &Host,
        config: &Config,
        tickets: &Arc<Tickets>,
        envelopes: &Arc<Envelopes>,
    ) -> Result<Self> {
        let name: Arc<str> = host.to_string().into();
        let target = Target {
            info: host.connection_info().clone(),
            host: Arc::clone(&name),
            shard: number,
            connect_timeout: config.connect_timeout(),
            response_timeout: config.response_timeout(),
        };
        let keys = Keys::new(config.prefix(), config.sealing().names.clone());
        let envelope = envelopes.of_shard();
        let clock = Arc::clone(envelope.clock());
        let link = Link::start(target, keys, Arc::clone(tickets), config.lease(), clock)?;
        let link = Arc::new(link);
        let sends = Sends::start(
            Arc::clone(&link),
            Arc::clone(&name),
            envelope.clone(),
            config.expiry(),
            config.max_sends_in_flight(),
        );
        Ok(Self { number, link, sends, envelope, host: name })
    }

    /// Waits until the first attempt to connect has ended.
    pub(super) async fn connected(&self) -> Result<()> {
        self.link.first_connection().await.map(drop)
    }

    /// Returns why the shard cannot be asked now; `None` if it can.
    pub(super) fn check_reachable(&self) -> Result<()> {
        self.link.connection().map(drop)
    }

    /// Whether it is connected and owes answers, but gives none.
    pub(super) fn is_silent(&self) -> bool {
        self.link.silent_from().is_some_and(|from| from <= tokio::time::Instant::now())
    }

    pub(super) async fn send(&self, message: Outgoing) -> Result<()> {
        self.sends.send(message).await
    }

    /// Makes a call, of the current generation. If the server had forgotten its scripts or this client, it is given
    /// them, and the call is made again.
    pub(super) async fn ask<C: Call>(&self, call: impl Fn(u64) -> C) -> Result<C::Reply> {
        self.ask_with(|generation| Ok(call(generation))).await
    }

    /// As `ask`, with a call that may fail to be made; it is made for each try, once the server is connected.
    pub(super) async fn ask_with<C: Call>(&self, call: impl Fn(u64) -> Result<C>) -> Result<C::Reply> {
        let mut connection = self.link.connection()?;
        for _ in 0..MOST_TRIES {
            match connection.call(&call(connection.generation)?).await {
                Ok(reply) if !C::is_stale(&reply) => return Ok(reply),
                Ok(_) | Err(Failure::NoScript) => {
                    connection = self.link.healed_since(connection.epoch).await?;
                }
                Err(Failure::Other(cause)) if C::IS_REPEATABLE => {
                    return Err(cause.not_executed().to_error());
                }
                Err(Failure::Other(cause)) => return Err(cause.to_error()),
            }
        }
        Err(Error::new(
            ErrorKind::Connection,
            format!("server {} forgot its scripts or this client {MOST_TRIES} times in a row", self.host),
        ))
    }

    /// Waits until the server was greeted anew after an epoch; returns the present epoch.
    pub(super) async fn up_since(&self, epoch: u64) -> Result<u64> {
        Ok(self.link.up_since(epoch).await?.epoch)
    }

    /// The epoch of the connection; nothing while the server is not connected.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.link.connection().ok().map(|connection| connection.epoch)
    }

    /// What this process calls itself here.
    pub(super) fn client(&self) -> &ClientId {
        self.link.client()
    }

    /// How messages are sealed and opened that go to this server or come from it.
    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The number of the shard.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The server, for messages; without credentials.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Asks the server how it is. One round trip.
    pub(super) async fn health(&self) -> ShardHealth {
        let asked = Instant::now();
        let version = match self.link.connection() {
            Ok(connection) => connection.version().await.map_err(|cause| cause.not_executed().to_error()),
            Err(error) => Err(error),
        };
        match version {
            Ok(version) => ShardHealth::up(&self.host, asked.elapsed(), version),
            Err(error) => ShardHealth::down(&self.host, error),
        }
    }

    /// Removes all messages and groups, in bounded steps.
    pub(super) async fn flush(&self) -> Result<()> {
        let mut cursor = Some("0".to_owned());
        while let Some(here) = &cursor {
            cursor = self.ask(|_| Flush { cursor: here }).await?.next;
        }
        cursor = Some("0".to_owned());
        while let Some(here) = &cursor {
            cursor = self.ask(|_| FlushInboxes { cursor: here }).await?.next;
        }
        Ok(())
    }

    pub(super) fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.link.close()
    }
}
