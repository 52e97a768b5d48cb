//! Everything around the tickets of the clients: a moment of the world, and how it begins.

mod check;
mod event;
mod heal;
mod log;
mod server;
mod step;
mod task;

pub use event::{Break, Event};
pub use log::logged;

use super::client::{AnyTickets, Handed, NextCall};
use super::scenario::{Budget, Scenario};
use super::{CLIENTS, EntryId, Generation, QUEUES, Queues, SHARDS, Ticket};

/// What a server knows of a ticket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Record {
    /// It waits in the lines of these queues.
    Waits(Queues),
    /// It was handed an entry. It may still stand in `lines`.
    Handed { lines: Queues, queue: u8, id: EntryId },
}

/// What a server knows of a client.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Known {
    generation: Generation,
    leased: bool,
    records: Vec<(Ticket, Record)>,
}

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Server {
    lists: [Vec<EntryId>; QUEUES],
    given_back: [Vec<EntryId>; QUEUES],
    lines: [Vec<(u8, Ticket)>; QUEUES],
    clients: [Known; CLIENTS],
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Command {
    Hello(Generation),
    /// `ends`: with a lease of 0.
    Pop {
        generation: Generation,
        ends: bool,
        call: NextCall,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Reply {
    Stale(Generation),
    Hello,
    Pop { served: usize, given: Vec<(Ticket, Handed)> },
}

/// What a server has written on a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Message {
    Push(Ticket, Handed),
    Reply(Reply),
}

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Connection {
    live: bool,
    subscribed: bool,
    command: Option<Command>,
    incoming: Vec<Message>,
    /// A reply that was read and that the task has not taken yet.
    slot: Option<Reply>,
}

/// A connection that its client has given up. `is_read`: something still reads it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct OldConnection {
    client: u8,
    shard: u8,
    subscribed: bool,
    is_read: bool,
    command: Option<Command>,
    incoming: Vec<Message>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
enum Phase {
    #[default]
    Down,
    Subscribe,
    Hello,
    Idle,
    Say,
    Ended,
}

/// How far a task has come in telling its shard that the client ends (R16).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
enum Farewell {
    #[default]
    None,
    SaysFinished,
    EndsLease,
}

/// The task of a client for a shard: `Task` of `src/redis/link.rs`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Task {
    phase: Phase,
    generation: Generation,
    newest: Ticket,
    beats: bool,
    greets: bool,
    connecting: bool,
    /// It connects once more, to say what is finished.
    last: bool,
    closing: bool,
    farewell: Farewell,
    up: bool,
    failed: bool,
    call: Option<NextCall>,
}

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Process<T> {
    pub tickets: T,
    dead: bool,
    closed: bool,
    tasks: [Task; SHARDS],
    connections: [Connection; SHARDS],
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World<T> {
    servers: [Server; SHARDS],
    pub processes: [Process<T>; CLIENTS],
    old: Vec<OldConnection>,
    next: EntryId,
    accepted: u32,
    pub delivered: u32,
    expired: u32,
    /// What may be missing, because a server lost its data.
    excused: u32,
    /// One more than the entry of the `?` channel that was delivered last.
    last: u8,
    received: [u8; CLIENTS],
    budget: Budget,
    needs_beat: bool,
    /// How many entries a killed process had been handed, and how many receives it had under way.
    pub took: (u8, u8),
    /// What is wrong.
    pub bad: Option<String>,
}

impl<T: AnyTickets + Default> World<T> {
    pub fn new(scenario: &Scenario) -> Self {
        let mut world = Self {
            servers: Default::default(),
            processes: Default::default(),
            old: vec![],
            next: 0,
            accepted: 0,
            delivered: 0,
            expired: 0,
            excused: 0,
            last: 0,
            received: [0; CLIENTS],
            budget: scenario.budget,
            needs_beat: false,
            took: (0, 0),
            bad: None,
        };
        for c in 0..CLIENTS {
            if scenario.receives[c].is_empty() {
                world.processes[c].dead = true;
            } else if !scenario.down_first {
                world.connect_at_first(c);
            }
        }
        world
    }

    fn connect_at_first(&mut self, c: usize) {
        for s in 0..SHARDS {
            self.servers[s].clients[c] = Known { generation: 1, leased: true, records: vec![] };
            let process = &mut self.processes[c];
            process.connections[s] = Connection { live: true, subscribed: true, ..Connection::default() };
            process.tasks[s] = Task { phase: Phase::Idle, generation: 1, up: true, ..Task::default() };
        }
    }

    fn fail(&mut self, what: String) {
        log::say(|| format!("!! {what}"));
        if self.bad.is_none() {
            self.bad = Some(what);
        }
    }

    fn is_expired(&self, id: EntryId) -> bool {
        self.expired >> id & 1 == 1
    }

    fn is_delivered(&self, id: EntryId) -> bool {
        self.delivered >> id & 1 == 1
    }
}

impl Server {
    /// Returns the entries that wait in queues.
    fn waiting(&self) -> impl Iterator<Item = EntryId> + '_ {
        self.lists.iter().chain(&self.given_back).flatten().copied()
    }
}
