//! One layer's keys on one server, as the tests see them.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Client;
use super::client::{Listening, one_batch, one_entry};
use crate::support::{Entry, Pop, PopReply, Push, PushReply, Scripts, Server, patient, unique_prefix};

/// A lease that no test outlives.
const LONG_LEASE: u64 = 600_000;

/// Its scripts over a plain connection, and the clients that use it.
pub(super) struct Shard {
    server: Arc<Server>,
    scripts: Scripts,
    clients: AtomicU64,
}

impl Deref for Shard {
    type Target = Scripts;

    fn deref(&self) -> &Scripts {
        &self.scripts
    }
}

impl Shard {
    /// Under a prefix of its own on the server that the tests share.
    pub(super) async fn new() -> Self {
        Self::on(Server::shared(), &unique_prefix("protocol")).await
    }

    /// On a server of its own.
    pub(super) async fn alone() -> Self {
        Self::on(Arc::new(Server::private()), &unique_prefix("protocol")).await
    }

    /// The same server under another prefix.
    pub(super) async fn beside(&self, prefix: &str) -> Self {
        Self::on(Arc::clone(&self.server), prefix).await
    }

    async fn on(server: Arc<Server>, prefix: &str) -> Self {
        let scripts = Scripts::new(server.connection().await, prefix);
        scripts.load().await;
        Self { server, scripts, clients: AtomicU64::new(0) }
    }

    /// A client that listens and has said hello, with a lease that does not end.
    pub(super) async fn client(&self) -> Client {
        self.client_with_lease(LONG_LEASE).await
    }

    pub(super) async fn client_with_lease(&self, lease_ms: u64) -> Client {
        let mut client = self.stranger(lease_ms, Listening::Yes).await;
        client.hello().await;
        client
    }

    /// A client that has said hello and listens to nothing.
    pub(super) async fn deaf_client(&self) -> Client {
        let mut client = self.stranger(LONG_LEASE, Listening::No).await;
        client.hello().await;
        client
    }

    /// A client that has said nothing yet.
    pub(super) async fn stranger(&self, lease_ms: u64, listening: Listening) -> Client {
        let id = format!("{:032x}", self.clients.fetch_add(1, Ordering::Relaxed));
        Client::connect(self, id, lease_ms, listening).await
    }

    /// A connection over which the server may push.
    pub(super) async fn pushed_connection(
        &self,
    ) -> (MultiplexedConnection, UnboundedReceiver<redis::PushInfo>) {
        let (pushes, pushed) = unbounded_channel();
        let config = patient().set_push_sender(pushes);
        let client = redis::Client::open(format!("{}?protocol=resp3", self.server.url())).unwrap();
        (client.get_multiplexed_async_connection_with_config(&config).await.unwrap(), pushed)
    }

    /// Sends to a queue that takes it.
    pub(super) async fn send(&self, queue: &str, bodies: &[impl AsRef<[u8]>]) {
        assert_eq!(self.push(&Push::to(queue, bodies)).await, PushReply::ALL_SENT);
    }

    /// Takes the next message of a queue, as nobody.
    pub(super) async fn take(&self, queue: &str) -> Option<Entry> {
        match self.pop(None, 0, &Pop::new().attempt(1, &[queue])).await {
            PopReply::Ok { given, .. } => one_entry(&given, 1),
            PopReply::Stale => panic!("a pop of nobody cannot be stale"),
        }
    }

    /// Takes all that waits in a queue, as nobody.
    pub(super) async fn drain(&self, queue: &str) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(entry) = self.take(queue).await {
            texts.push(entry.text());
        }
        texts
    }

    /// Takes all that waits in an inbox, as nobody.
    pub(super) async fn drain_inbox(&self, inbox: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let PopReply::Ok { given, .. } = self.pop(None, 0, &Pop::new().attempt(1, &[inbox])).await else {
                panic!("a pop of nobody cannot be stale")
            };
            match one_batch(&given, 1, inbox) {
                Some(batch) => texts.extend(batch.iter().map(Entry::text)),
                None => return texts,
            }
        }
    }

    /// What stands at a place of a queue's list.
    pub(super) async fn raw_entry(&self, queue: &str, place: usize) -> Entry {
        Entry(self.ask(redis::cmd("LINDEX").arg(self.key('q', queue)).arg(place)).await)
    }

    /// How many entries stand in a queue's list, dead or alive.
    pub(super) async fn length(&self, queue: &str) -> usize {
        self.ask(redis::cmd("LLEN").arg(self.key('q', queue))).await
    }

    pub(super) async fn exists(&self, kind: char, name: &str) -> bool {
        self.ask(redis::cmd("EXISTS").arg(self.key(kind, name))).await
    }

    /// The time that a key has left, in milliseconds.
    pub(super) async fn ttl(&self, kind: char, name: &str) -> u64 {
        let left: i64 = self.ask(redis::cmd("PTTL").arg(self.key(kind, name))).await;
        u64::try_from(left).unwrap_or_else(|_| panic!("{kind}:{name} has no time to live: {left}"))
    }

    /// The server's clock, in microseconds.
    pub(super) async fn time(&self) -> u64 {
        let (seconds, microseconds): (u64, u64) = self.ask(&redis::cmd("TIME")).await;
        seconds * 1_000_000 + microseconds
    }

    /// The server's time, in ms.
    pub(super) async fn time_ms(&self) -> u64 {
        self.time().await / 1000
    }

    /// All keys under the prefix, without it.
    pub(super) async fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.prefix())).arg("COUNT").arg(1000);
            let (next, found): (u64, Vec<String>) = self.ask(&scan).await;
            keys.extend(found.iter().map(|key| key[self.prefix().len()..].to_owned()));
            if next == 0 {
                return keys;
            }
            cursor = next;
        }
    }

    pub(super) async fn command(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        let () = self.ask(command.arg(&words[1..])).await;
    }
}
