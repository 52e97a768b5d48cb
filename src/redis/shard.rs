//! One shard: a server's connection, and what is sent over it.

use std::sync::Arc;

use tokio::time::Instant;

use super::caller::Caller;
use super::calls::{Call, Flush, FlushInboxes, FlushInboxesReply, Health, HealthReply};
use super::changes::Changes;
use super::entry::Entry;
use super::envelope::{Envelope, Envelopes};
use super::keys::{ClientId, Keys};
use super::link::Link;
use super::receive::Tickets;
use super::send::{Outgoing, Sends};
use super::server::Server;
use super::twins::{Twins, have_same_data};
use crate::config::Config;
use crate::config::host::Host;
use crate::error::{Error, ErrorKind, Result};
use crate::events::EventSource;
use crate::message::PackedMessage;
use crate::redis::health::ShardHealth;
use crate::seal::{Names, Refusal};

/// One Redis keyspace in which a script is atomic.
#[derive(Debug)]
pub(super) struct Shard {
    number: usize,
    link: Arc<Link>,
    caller: Caller,
    sends: Arc<Sends>,
    changes: Arc<Changes>,
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
        twins: &Arc<Twins>,
        events: &EventSource,
    ) -> Result<Self> {
        let name: Arc<str> = host.to_string().into();
        let server = Server {
            address: host.clone(),
            credentials: config.credentials().cloned(),
            tls: config.tls().clone(),
            host: Arc::clone(&name),
            shard: number,
            events: events.clone(),
            connect_timeout: config.connect_timeout(),
            response_timeout: config.response_timeout(),
        };
        let keys = Keys::new(config.prefix(), config.sealing().names.clone());
        let envelope = envelopes.of_shard();
        let clock = Arc::clone(envelope.clock());
        let link = Link::start(server, keys, Arc::clone(tickets), config.lease(), clock, Arc::clone(twins))?;
        let link = Arc::new(link);
        let caller = Caller::new(Arc::clone(&link), Arc::clone(&name));
        let sends = Sends::start(caller.clone(), Arc::clone(&name), envelope.clone(), config);
        let changes = Changes::new(caller.clone(), Arc::clone(&name), config)?;
        Ok(Self { number, link, caller, sends, changes, envelope, host: name })
    }

    /// Waits until the first attempt to connect has ended.
    pub(super) async fn connected(&self) -> Result<()> {
        Ok(self.link.first_connection().await.map(drop)?)
    }

    /// Returns why the shard cannot be asked now; `None` if it can.
    pub(super) fn check_reachable(&self) -> Result<()> {
        Ok(self.link.connection().map(drop)?)
    }

    /// Whether it is connected and owes answers, but gives none.
    pub(super) fn is_silent(&self) -> bool {
        self.link.silent_from().is_some_and(|from| from <= Instant::now())
    }

    pub(super) fn send(&self, message: Outgoing) -> impl Future<Output = Result<()>> {
        self.sends.send(message)
    }

    /// Makes a call, of the current generation. If the server had forgotten its scripts or this client, it is given
    /// them, and the call is made again.
    pub(super) async fn ask<C: Call>(&self, call: impl Fn(u64) -> C) -> Result<C::Reply> {
        self.caller.ask(|generation| Ok(call(generation))).await
    }

    /// As `ask`, with a call that may fail to be made; it is made for each try, once the server is connected.
    pub(super) async fn ask_with<C: Call>(&self, call: impl Fn(u64) -> Result<C>) -> Result<C::Reply> {
        self.caller.ask(call).await
    }

    /// The changes of memberships on this shard.
    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// How the server sees names.
    pub(super) fn names(&self) -> &Names {
        self.changes.names()
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

    /// Opens what an entry of a queue brought at some time; nothing if it does not open, which is counted. What seems too old
    /// may be so because the server's clock was set, so that is read again first. One round trip then, else none.
    pub(super) async fn open_entry(
        &self,
        queue: &str,
        entry: Entry,
        at: Instant,
    ) -> Result<Option<PackedMessage>> {
        let mut opened = self.envelope.open_entry(queue, entry.clone(), at)?;
        if opened == Err(Refusal::TooOld) && !self.envelope.clock().is_fresh() {
            // Boxed, because it is rare, and each receive would carry it.
            Box::pin(self.read_clock()).await;
            opened = self.envelope.open_entry(queue, entry, at)?;
        }
        Ok(opened.map_err(|refusal| self.envelope.note(refusal, queue)).ok())
    }

    /// Has the server's time be known from now on. One round trip the first time, if the server is connected.
    pub(super) async fn need_clock(&self) {
        if self.envelope.clock().need() {
            self.read_clock().await;
        }
    }

    /// Reads the server's clock, if it can be read now.
    async fn read_clock(&self) {
        let Ok(connection) = self.link.connection() else { return };
        let asked = Instant::now();
        if let Ok(now_ms) = connection.time().await {
            self.envelope.clock().learn(asked, now_ms);
        }
    }

    /// The number of the shard.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The server, for messages; without credentials.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the other shard, of any layer with the same prefix, is on the same server. Up to three round trips.
    pub(super) async fn is_on_server_of(&self, other: &Self) -> Result<bool> {
        let (ours, others) = (self.link.connection()?, other.link.connection()?);
        let same = have_same_data(&ours, &others, other.client(), ours.keys()).await;
        same.map_err(|failure| failure.not_executed().into())
    }

    /// Asks the server how it is. Three round trips.
    pub(super) async fn health(&self) -> ShardHealth {
        self.look().await.unwrap_or_else(|error| ShardHealth::down(&self.host, error))
    }

    /// How the server is, if it does all that the layer needs.
    async fn look(&self) -> Result<ShardHealth> {
        let asked = Instant::now();
        let connection = self.link.connection()?;
        let told = connection.introduction().await.map_err(|failure| failure.not_executed())?;
        let latency = asked.elapsed();
        match self.ask(|_| Health { client: self.client() }).await? {
            HealthReply::Well { may_ask } => {
                let evicts = if may_ask { connection.eviction_policy().await } else { Ok(None) };
                let evicts = evicts.map_err(|failure| failure.not_executed())?;
                Ok(ShardHealth::up(&self.host, latency, told.version, evicts))
            }
            HealthReply::Denied { command } => Err(Error::new(
                ErrorKind::Rights,
                format!(
                    "server {} does not let its user call {command} on the layer's keys; grant +{}",
                    self.host,
                    command.to_ascii_lowercase()
                ),
            )),
        }
    }

    /// Returns a command that the scripts call and the server does not let its user call.
    pub(super) async fn denied_command(&self) -> Option<String> {
        match self.ask(|_| Health { client: self.client() }).await {
            Ok(HealthReply::Denied { command }) => Some(command.to_ascii_lowercase()),
            Ok(HealthReply::Well { .. }) | Err(_) => None,
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
            if let FlushInboxesReply::Told(told) = self.ask(|_| FlushInboxes { cursor: here }).await? {
                cursor = told.next;
            }
        }
        Ok(())
    }

    pub(super) fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.link.close()
    }
}
