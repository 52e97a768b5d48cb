//! The engine's scripts, called over a plain connection as any Redis client in any language would: no code of the
//! layer takes part.

mod changes;
mod drain;
mod groups;
mod inboxes;
mod log;
mod replies;
pub(crate) mod texts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use asgi_redis::scripts;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

pub(crate) use changes::{Add, Change, Discard};
pub(crate) use drain::Taken;
pub(crate) use groups::{Fenced, GroupSend, Receipt};
pub(crate) use inboxes::{InboxKeep, Keep, Place};
pub(crate) use log::{Page, Part, Told};
pub(crate) use replies::{Given, HelloReply, PopReply, PushReply, Refusal};

/// The schema that the scripts' callers write and read.
const SCHEMA: u64 = 3;

/// The scripts under one prefix of keys, over one connection.
#[derive(Clone)]
pub(crate) struct Scripts {
    connection: MultiplexedConnection,
    prefix: String,
    /// The SHA-1 of other texts, by the names of the scripts.
    other: Option<Arc<BTreeMap<String, String>>>,
}

impl Scripts {
    pub(crate) fn new(connection: MultiplexedConnection, prefix: &str) -> Self {
        Self { connection, prefix: prefix.to_owned(), other: None }
    }

    /// Calls these texts instead, each by its SHA-1, which the server has already.
    pub(crate) fn by_texts(self, shas: BTreeMap<String, String>) -> Self {
        Self { other: Some(Arc::new(shas)), ..self }
    }

    /// Gives all scripts to the server.
    pub(crate) async fn load(&self) {
        for script in texts::all() {
            let sha: String = self.ask(redis::cmd("SCRIPT").arg("LOAD").arg(&script.source)).await;
            assert_eq!(sha, script.sha, "{}", script.name);
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key of the layer: `q` queue, `b` given back, `w` waiting line, `c` client.
    pub(crate) fn key(&self, kind: char, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    /// Sends a plain command.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection.clone()).await.unwrap()
    }

    pub(crate) async fn hello(&self, client: &str, generation: u64, lease_ms: u64) -> HelloReply {
        self.hello_with_schema(client, generation, lease_ms, SCHEMA).await
    }

    pub(crate) async fn hello_with_schema(
        &self,
        client: &str,
        generation: u64,
        lease_ms: u64,
        schema: u64,
    ) -> HelloReply {
        let keys = [self.key('c', client), format!("{}schema", self.prefix)];
        let mut command = evalsha("hello", &keys);
        command.arg(generation).arg(lease_ms).arg(schema);
        HelloReply::read(self.call("hello", &command).await)
    }

    pub(crate) async fn push(&self, push: &Push<'_>) -> PushReply {
        self.try_push(push).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`push`](Self::push), for a call that the server may refuse.
    pub(crate) async fn try_push(&self, push: &Push<'_>) -> Result<PushReply, String> {
        let keys: Vec<String> = push.queues.iter().map(|(name, ..)| self.key('q', name)).collect();
        let mut command = evalsha("push", &keys);
        command.arg(&self.prefix).arg(push.expiry_ms);
        match push.fence {
            Some((client, generation)) => command.arg(client).arg(generation),
            None => command.arg("").arg(""),
        };
        for (_, capacity, bodies) in &push.queues {
            command.arg(capacity).arg(bodies.len()).arg(bodies);
        }
        self.try_call("push", &command).await.map(PushReply::read)
    }

    /// A pop by `(client, generation)`, or by nobody.
    pub(crate) async fn pop(&self, client: Option<(&str, u64)>, lease_ms: u64, pop: &Pop) -> PopReply {
        self.try_pop(client, lease_ms, pop).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`pop`](Self::pop), for a call that the server may refuse.
    pub(crate) async fn try_pop(
        &self,
        client: Option<(&str, u64)>,
        lease_ms: u64,
        pop: &Pop,
    ) -> Result<PopReply, String> {
        let name = client.map_or("", |(name, _)| name);
        let queues = pop.open.iter().flat_map(|(_, _, queues)| queues);
        let keys: Vec<String> =
            [self.key('c', name)].into_iter().chain(queues.map(|queue| self.key('q', queue))).collect();
        let mut command = evalsha("pop", &keys);
        command.arg(&self.prefix).arg(name);
        match client {
            Some((_, generation)) => command.arg(generation),
            None => command.arg(""),
        };
        command.arg(lease_ms).arg(pop.finished.len());
        for (ticket, delivered) in &pop.finished {
            command.arg(ticket).arg(delivered);
        }
        for (ticket, mode, queues) in &pop.open {
            command.arg(ticket).arg(mode).arg(queues.len());
        }
        self.try_call("pop", &command).await.map(PopReply::read)
    }

    /// The tickets of one step that the server has of a client, and the next cursor; nothing if that is stale.
    pub(crate) async fn client_tickets_step(
        &self,
        client: &str,
        generation: u64,
        cursor: &str,
    ) -> Option<(String, Vec<u64>)> {
        let mut command = evalsha("client_tickets", &[self.key('c', client)]);
        command.arg(generation).arg(cursor);
        match &parts(self.call("client_tickets", &command).await)[..] {
            [Value::BulkString(tag), Value::BulkString(cursor), tickets @ ..] if tag == b"ok" => {
                let tickets = tickets.iter().map(|ticket| text(bytes(ticket)).parse().unwrap());
                Some((text(cursor), tickets.collect()))
            }
            [Value::BulkString(tag)] if tag == b"stale" => None,
            other => panic!("client_tickets answered {other:?}"),
        }
    }

    /// What a ticket holds of a queue: nothing, an entry, or a batch; `Err` if the generation is stale.
    pub(crate) async fn fetch(
        &self,
        (client, generation): (&str, u64),
        ticket: u64,
        queue: &str,
    ) -> Result<Vec<Entry>, Stale> {
        let mut command = evalsha("fetch", &[self.key('c', client), self.key('q', queue)]);
        command.arg(&self.prefix).arg(generation).arg(ticket);
        match &parts(self.call("fetch", &command).await)[..] {
            [Value::BulkString(tag)] if tag == b"ok" => Ok(Vec::new()),
            [Value::BulkString(tag)] if tag == b"stale" => Err(Stale),
            [Value::BulkString(tag), from, what] if tag == b"ok" && bytes(from) == queue.as_bytes() => {
                Ok(match what {
                    Value::Array(batch) => batch.iter().map(|entry| Entry(bytes(entry).to_vec())).collect(),
                    one => vec![Entry(bytes(one).to_vec())],
                })
            }
            other => panic!("fetch answered {other:?}"),
        }
    }

    /// Whether all is allowed that the scripts do; the command that is denied, or the server's refusal.
    pub(crate) async fn health(&self, client: &str) -> Result<(), String> {
        let mut command = evalsha("health", &[self.key('c', client)]);
        command.arg(&self.prefix);
        match &parts(self.try_call("health", &command).await?)[..] {
            [Value::BulkString(tag), Value::Int(1..), Value::Int(0 | 1)] if tag == b"ok" => Ok(()),
            [Value::BulkString(tag), Value::BulkString(denied)] if tag == b"denied" => Err(text(denied)),
            other => panic!("health answered {other:?}"),
        }
    }

    /// One step of a flush: the next cursor and how many keys went.
    pub(crate) async fn flush_step(&self, cursor: &str, count: usize) -> (String, usize) {
        self.scan_step("flush", cursor, count).await
    }

    /// One step of telling the owners of inboxes: the next cursor and how many were told.
    /// Tells owners of a flush, after as many calls as it takes to remove what is left.
    pub(crate) async fn flush_inboxes_step(&self, cursor: &str, count: usize) -> (String, usize) {
        for _ in 0..100 {
            let reply = self.scan_reply("flush_inboxes", cursor, count).await;
            match &reply[..] {
                [Value::BulkString(more)] if more == b"more" => {}
                _ => return read_step("flush_inboxes", &reply),
            }
        }
        panic!("flush_inboxes has more to remove after 100 calls");
    }

    async fn scan_step(&self, name: &str, cursor: &str, count: usize) -> (String, usize) {
        read_step(name, &self.scan_reply(name, cursor, count).await)
    }

    async fn scan_reply(&self, name: &str, cursor: &str, count: usize) -> Vec<Value> {
        let mut command = evalsha(name, &[format!("{}schema", self.prefix)]);
        command.arg(&self.prefix).arg(cursor).arg(count);
        parts(self.call(name, &command).await)
    }

    async fn call(&self, name: &str, command: &Cmd) -> Value {
        self.try_call(name, command).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_call(&self, name: &str, command: &Cmd) -> Result<Value, String> {
        let other = self.other.as_ref().map(|shas| with_sha(command, &shas[name]));
        let command = other.as_ref().unwrap_or(command);
        command.query_async(&mut self.connection.clone()).await.map_err(|error| {
            format!("{name}: {}", scripts::get(name).unwrap().rewrite_error(&error.to_string()))
        })
    }
}

/// What [`Scripts::push`] says. Without further words: to one queue of capacity 100, for a minute, not fenced.
#[derive(Clone)]
pub(crate) struct Push<'a> {
    expiry_ms: u64,
    fence: Option<(&'a str, u64)>,
    queues: Vec<(&'a str, usize, Vec<Vec<u8>>)>,
}

impl<'a> Push<'a> {
    pub(crate) fn to(queue: &'a str, bodies: &[impl AsRef<[u8]>]) -> Self {
        Self { expiry_ms: 60_000, fence: None, queues: Vec::new() }.and(queue, bodies)
    }

    /// A further queue of the same call. A body that is a word alone is the payload of a message.
    pub(crate) fn and(mut self, queue: &'a str, bodies: &[impl AsRef<[u8]>]) -> Self {
        self.queues.push((queue, 100, bodies.iter().map(|body| whole(body.as_ref())).collect()));
        self
    }

    /// The capacity of the queue that was named last.
    pub(crate) fn capacity(mut self, capacity: usize) -> Self {
        self.queues.last_mut().unwrap().1 = capacity;
        self
    }

    pub(crate) fn expiry(mut self, ms: u64) -> Self {
        self.expiry_ms = ms;
        self
    }

    pub(crate) fn fence(mut self, client: &'a str, generation: u64) -> Self {
        self.fence = Some((client, generation));
        self
    }
}

/// The generation of a call is not the client's, or its lease is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stale;

/// What [`Scripts::pop`] says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pop {
    finished: Vec<(u64, Vec<u8>)>,
    open: Vec<(u64, &'static str, Vec<String>)>,
}

impl Pop {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The ticket delivered this entry.
    pub(crate) fn ack(mut self, ticket: u64, entry: &Entry) -> Self {
        self.finished.push((ticket, entry.id().to_vec()));
        self
    }

    /// The ticket delivered nothing.
    pub(crate) fn release(mut self, ticket: u64) -> Self {
        self.finished.push((ticket, Vec::new()));
        self
    }

    /// An open ticket that waits.
    pub(crate) fn wait(mut self, ticket: u64, queues: &[&str]) -> Self {
        self.open.push((ticket, "wait", queues.iter().map(|&queue| queue.to_owned()).collect()));
        self
    }

    /// As [`wait`](Self::wait), of a client that is to have large entries announced.
    pub(crate) fn wait_brief(mut self, ticket: u64, queues: &[&str]) -> Self {
        self.open.push((ticket, "wait-brief", queues.iter().map(|&queue| queue.to_owned()).collect()));
        self
    }

    /// As [`attempt`](Self::attempt), of a client that is to have large entries announced.
    pub(crate) fn attempt_brief(mut self, ticket: u64, queues: &[&str]) -> Self {
        self.open.push((ticket, "try-brief", queues.iter().map(|&queue| queue.to_owned()).collect()));
        self
    }

    /// An open ticket that does not wait.
    pub(crate) fn attempt(mut self, ticket: u64, queues: &[&str]) -> Self {
        self.open.push((ticket, "try", queues.iter().map(|&queue| queue.to_owned()).collect()));
        self
    }
}

/// An entry: a header of 18 bytes, and the body.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(pub(crate) Vec<u8>);

impl Entry {
    /// The first ten bytes: microsecond and place.
    pub(crate) fn id(&self) -> &[u8] {
        &self.0[..self.0.len().min(10)]
    }

    pub(crate) fn microseconds(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().unwrap())
    }

    pub(crate) fn place(&self) -> u16 {
        u16::from_be_bytes(self.0[8..10].try_into().unwrap())
    }

    /// In milliseconds.
    pub(crate) fn deadline(&self) -> u64 {
        u64::from_be_bytes(self.0[10..18].try_into().unwrap())
    }

    pub(crate) fn body(&self) -> &[u8] {
        let body = self.0.get(18..).unwrap_or(&self.0);
        body.strip_prefix(b"m. ").unwrap_or(body)
    }

    pub(crate) fn text(&self) -> String {
        text(self.body())
    }

    /// The text; of a change without the ends of memberships.
    pub(crate) fn brief(&self) -> String {
        Told::read(&self.text()).and_then(|told| told.brief()).unwrap_or_else(|| self.text())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.body().get(..40).map_or_else(|| self.text(), text))
    }
}

/// What [`Entry::body`] gives back as the word alone.
fn whole(body: &[u8]) -> Vec<u8> {
    if body.iter().skip(1).any(|byte| *byte == b' ') { body.to_vec() } else { [b"m. ", body].concat() }
}

fn evalsha(name: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(texts::sha(name)).arg(keys.len()).arg(keys);
    command
}

/// The same call of another text.
fn with_sha(command: &Cmd, sha: &str) -> Cmd {
    let mut other = redis::cmd("EVALSHA");
    other.arg(sha);
    for argument in command.args_iter().skip(2) {
        match argument {
            redis::Arg::Simple(bytes) => other.arg(bytes),
            redis::Arg::Cursor => panic!("a call of a script has no cursor"),
            _ => panic!("an argument of a new kind"),
        };
    }
    other
}

fn parts(reply: Value) -> Vec<Value> {
    match reply {
        Value::Array(parts) => parts,
        other => panic!("a script answered {other:?}"),
    }
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        other => panic!("a script answered {other:?} for a text"),
    }
}

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap()
}

/// The next step's cursor, and how many this step did something with.
fn read_step(name: &str, reply: &[Value]) -> (String, usize) {
    match reply {
        [Value::BulkString(cursor), Value::Int(done)] => (text(cursor), usize::try_from(*done).unwrap()),
        other => panic!("{name} answered {other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
