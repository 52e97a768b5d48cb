//! A client of the contract: an id, a generation, and a connection that carries its calls and its wake-ups.

use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shard;
use crate::support::{Entry, Given, HelloReply, Pop, PopReply, Push, PushReply, Scripts};

/// Longer than anything takes that happens at all.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listening {
    Yes,
    No,
}

pub(super) struct Client {
    id: String,
    generation: u64,
    lease_ms: u64,
    scripts: Scripts,
    pushed: UnboundedReceiver<PushInfo>,
}

/// What a client is told: that its ticket was handed an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wake {
    pub(super) ticket: u64,
    pub(super) queue: String,
    pub(super) entry: Entry,
}

impl Client {
    pub(super) async fn connect(shard: &Shard, id: String, lease_ms: u64, listening: Listening) -> Self {
        let (connection, pushed) = shard.pushed_connection().await;
        let client =
            Self { id, generation: 0, lease_ms, scripts: Scripts::new(connection, shard.prefix()), pushed };
        if listening == Listening::Yes {
            client.listen().await;
        }
        client
    }

    /// The same client on a new connection, that has not said hello yet.
    pub(super) async fn connected_again(&self, shard: &Shard, listening: Listening) -> Self {
        let again = Self::connect(shard, self.id.clone(), self.lease_ms, listening).await;
        Self { generation: self.generation, ..again }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Subscribes to the wake channel.
    pub(super) async fn listen(&self) {
        let channel = format!("{}wake:{}", self.scripts.prefix(), self.id);
        let _: Value = self.scripts.ask(redis::cmd("SUBSCRIBE").arg(channel)).await;
    }

    /// Says hello with the next generation; whether the server knew this client.
    pub(super) async fn hello(&mut self) -> bool {
        self.generation += 1;
        match self.scripts.hello(&self.id, self.generation, self.lease_ms).await {
            HelloReply::Ok { known, .. } => known,
            refused => panic!("hello was answered with {refused:?}"),
        }
    }

    pub(super) async fn pop(&self, pop: &Pop) -> PopReply {
        self.pop_as(self.generation, self.lease_ms, pop).await
    }

    /// A pop of another generation, or with another lease.
    pub(super) async fn pop_as(&self, generation: u64, lease_ms: u64, pop: &Pop) -> PopReply {
        self.scripts.pop(Some((&self.id, generation)), lease_ms, pop).await
    }

    /// A pop that is understood; what its tickets got.
    pub(super) async fn say(&self, pop: &Pop) -> Vec<Given> {
        match self.pop(pop).await {
            PopReply::Ok { given, .. } => given,
            PopReply::Stale => panic!("{pop:?} was stale"),
        }
    }

    /// Asks for one open ticket, which waits: what it got.
    pub(super) async fn ask(&self, ticket: u64, queues: &[&str]) -> Option<Entry> {
        one_entry(&self.say(&Pop::new().wait(ticket, queues)).await, ticket)
    }

    /// Asks for one open ticket that does not wait.
    pub(super) async fn attempt(&self, ticket: u64, queues: &[&str]) -> Option<Entry> {
        one_entry(&self.say(&Pop::new().attempt(ticket, queues)).await, ticket)
    }

    /// Asks for the batch of an inbox, with one open ticket that waits.
    pub(super) async fn ask_batch(&self, ticket: u64, inbox: &str) -> Option<Vec<Entry>> {
        one_batch(&self.say(&Pop::new().wait(ticket, &[inbox])).await, ticket, inbox)
    }

    /// Asks for the batch of an inbox, with one open ticket that does not wait.
    pub(super) async fn attempt_batch(&self, ticket: u64, inbox: &str) -> Option<Vec<Entry>> {
        one_batch(&self.say(&Pop::new().attempt(ticket, &[inbox])).await, ticket, inbox)
    }

    pub(super) async fn ack(&self, ticket: u64, entry: &Entry) {
        assert_eq!(self.say(&Pop::new().ack(ticket, entry)).await, []);
    }

    pub(super) async fn release(&self, ticket: u64) {
        assert_eq!(self.say(&Pop::new().release(ticket)).await, []);
    }

    /// Sends on this client's own connection, fenced by its generation.
    pub(super) async fn push(&self, push: Push<'_>) -> PushReply {
        self.scripts.push(&push.fence(&self.id, self.generation)).await
    }

    pub(super) async fn end_lease(&self) {
        assert!(matches!(self.pop_as(self.generation, 0, &Pop::new()).await, PopReply::Ok { .. }));
    }

    pub(super) async fn is_stale(&self) -> bool {
        self.pop(&Pop::new()).await == PopReply::Stale
    }

    /// The next wake-up.
    pub(super) async fn wake(&mut self) -> Wake {
        loop {
            let push = tokio::time::timeout(PATIENCE, self.pushed.recv()).await;
            if let Some(wake) = read(push.expect("a wake-up comes").expect("the connection is open")) {
                return wake;
            }
        }
    }

    /// The wake-ups that were sent until now and not seen yet.
    pub(super) async fn wakes(&mut self) -> Vec<Wake> {
        // The server writes both to one socket in order: what was published before stands before the answer.
        self.scripts.ask::<()>(&redis::cmd("PING")).await;
        let mut wakes = Vec::new();
        while let Ok(push) = self.pushed.try_recv() {
            wakes.extend(read(push));
        }
        wakes
    }

    /// A field of what the server knows of this client.
    pub(super) async fn field(&self, name: &str) -> Option<Vec<u8>> {
        self.scripts.ask(redis::cmd("HGET").arg(self.scripts.key('c', &self.id)).arg(name)).await
    }

    /// When its lease ends, in milliseconds of the server's clock.
    pub(super) async fn lease_end(&self) -> u64 {
        String::from_utf8(self.field("lease").await.unwrap()).unwrap().parse().unwrap()
    }
}

/// What one ticket got that was asked for alone.
pub(super) fn one_entry(given: &[Given], ticket: u64) -> Option<Entry> {
    match given {
        [] => None,
        [given] if given.ticket == ticket => Some(given.entry().clone()),
        other => panic!("asked for ticket {ticket}, got {other:?}"),
    }
}

/// What one ticket of an inbox got that was asked for alone.
pub(super) fn one_batch(given: &[Given], ticket: u64, inbox: &str) -> Option<Vec<Entry>> {
    match given {
        [] => None,
        [given] if given.ticket == ticket => Some(given.batch(inbox).to_vec()),
        other => panic!("asked for ticket {ticket}, got {other:?}"),
    }
}

fn read(push: PushInfo) -> Option<Wake> {
    match (push.kind, &push.data[..]) {
        (PushKind::Message, [_, Value::BulkString(message)]) => {
            // A word alone is no ticket: it says hello again, or that the server is none any more.
            if [&b"again"[..], b"moved"].contains(&&message[..]) {
                return None;
            }
            let mut parts = message.splitn(3, |byte| *byte == b' ');
            // Of a ticket alone both are empty: its entry is large.
            let mut next = || parts.next().unwrap_or_default().to_vec();
            let (ticket, queue, entry) = (next(), next(), next());
            Some(Wake {
                ticket: String::from_utf8(ticket).unwrap().parse().unwrap(),
                queue: String::from_utf8(queue).unwrap(),
                entry: Entry(entry),
            })
        }
        _ => None,
    }
}
