//! What a moment of the model holds: servers, connections with all that is in flight, and clients.

use crate::scenario::Budget;

/// Queues. Each is on one server, see `Scenario::server_of`.
pub const QUEUES: usize = 3;
/// Clients: those below [`RECEIVERS`] receive, the others send.
pub const CLIENTS: usize = 4;
pub const RECEIVERS: usize = 2;
pub const SERVERS: usize = 2;

pub type Ticket = u8;
pub type Generation = u8;
/// A set of queues, one bit for each.
pub type Queues = u8;
/// A set of entries, one bit for each id.
pub type Ids = u16;

/// A message in a queue or in a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Entry {
    pub queue: u8,
    /// Counts the pushes of its queue. A loss of data begins it anew, unlike the id.
    pub sequence: u8,
    pub id: u8,
}

/// How a ticket ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// With the id of the entry that was delivered.
    Acknowledged(u8),
    Released,
}

/// A finished ticket, of which the server may not know yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Finished {
    pub ticket: Ticket,
    pub end: End,
}

/// An open ticket in a `pop`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ask {
    pub ticket: Ticket,
    pub queues: Queues,
}

/// A call that is written on a connection and not executed yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    Subscribe,
    Hello(Generation),
    Pop {
        generation: Generation,
        finished: Vec<Finished>,
        open: Option<Ask>,
    },
    /// Asks which tickets of the client the server knows (R31).
    List(Generation),
    Push {
        generation: Generation,
        queue: u8,
        id: u8,
    },
    /// Only of clients that give back by themselves (against R10).
    GiveBack {
        generation: Generation,
        ticket: Ticket,
        entry: Entry,
    },
}

/// A reply that its client has not read yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    Stale(Generation),
    /// `served`: the open ticket that was looked at; `given`: the entry that it has; `unserved`: the one that was not looked
    /// at, or not to the end.
    Popped {
        finished: Vec<Finished>,
        served: Option<Ticket>,
        given: Option<Entry>,
        unserved: Option<Ask>,
    },
    Listed(Vec<Ticket>),
    GivenBack(Ticket),
}

/// A record `h`: an entry that was handed to a ticket of a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Record {
    pub client: u8,
    pub ticket: Ticket,
    pub entry: Entry,
}

/// What a server knows of a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Known {
    /// The generation that the client said hello with, while its lease lasts. Always 0 in a model without generations.
    pub leased: Option<Generation>,
    /// The highest generation that was ever used.
    pub highest: Generation,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Server {
    pub pushes: [u8; QUEUES],
    pub queues: [Vec<Entry>; QUEUES],
    /// The tickets that wait for each queue, with their clients.
    pub lines: [Vec<(u8, Ticket)>; QUEUES],
    pub records: Vec<Record>,
    pub clients: [Known; CLIENTS],
}

/// The one connection of a client to a server.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Connection {
    pub up: bool,
    pub subscribed: bool,
    pub generation: Generation,
    pub calls: Vec<Call>,
    pub replies: Vec<Reply>,
    /// What was published to the client and not read yet.
    pub published: Vec<(Ticket, Entry)>,
}

/// A connection that its client has given up, and of which the server does not know that yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OldConnection {
    pub client: u8,
    pub server: u8,
    /// The server takes it for a listener of the wake channel.
    pub subscribed: bool,
    pub calls: Vec<Call>,
}

/// A receive: its ticket, and the entry that filled it, with the server that the entry came from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Receive {
    pub ticket: Ticket,
    pub queues: Queues,
    /// Its client never had another receive beside it.
    pub alone: bool,
    pub filled: Option<(u8, Entry)>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Client {
    pub dead: bool,
    pub connections: [Connection; SERVERS],
    pub receives: Vec<Receive>,
    /// For each server, the finished tickets whose end it may not know.
    pub finished: [Vec<Finished>; SERVERS],
    /// For each server, what the client gives back by itself (against R10).
    pub to_give_back: [Vec<(Ticket, Entry)>; SERVERS],
    pub next_ticket: Ticket,
    pub generation: Generation,
}

/// A delivery. `ordered`: the order of its queue is to hold for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Delivery {
    pub client: u8,
    pub queue: u8,
    pub id: u8,
    pub ordered: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    pub servers: [Server; SERVERS],
    pub clients: [Client; CLIENTS],
    pub old: Vec<OldConnection>,
    pub deliveries: Vec<Delivery>,
    pub accepted: Ids,
    pub expired: Ids,
    /// What may be missing, because the server lost its data.
    pub excused: Ids,
    /// What may come again, because an older state of the server has it.
    pub again: Ids,
    /// What each server saved.
    pub saved: [Option<Server>; SERVERS],
    pub next_id: u8,
    pub budget: Budget,
}

impl Server {
    pub fn leave_lines(&mut self, client: u8, ticket: Ticket) {
        for line in &mut self.lines {
            line.retain(|waiting| *waiting != (client, ticket));
        }
    }

    pub fn record(&self, client: u8, ticket: Ticket) -> Option<usize> {
        self.records.iter().position(|r| (r.client, r.ticket) == (client, ticket))
    }

    /// All entries that it holds.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.queues.iter().flatten().chain(self.records.iter().map(|r| &r.entry))
    }

    /// The tickets of a client that wait or have a record.
    pub fn tickets_of(&self, client: u8) -> Vec<Ticket> {
        let waiting = self.lines.iter().flatten().filter(|(c, _)| *c == client).map(|(_, ticket)| *ticket);
        let handed = self.records.iter().filter(|r| r.client == client).map(|r| r.ticket);
        let mut tickets: Vec<Ticket> = waiting.chain(handed).collect();
        tickets.sort_unstable();
        tickets.dedup();
        tickets
    }

    pub fn keep_record(&mut self, client: u8, ticket: Ticket, entry: Entry) {
        self.records.push(Record { client, ticket, entry });
        self.records.sort();
    }
}

impl Client {
    /// Notes the end of a ticket for a server, unless one is noted already.
    pub fn finish(&mut self, server: usize, ticket: Ticket, end: End) {
        if !self.finished[server].iter().any(|f| f.ticket == ticket) {
            self.finished[server].push(Finished { ticket, end });
        }
    }
}

impl State {
    pub fn is_expired(&self, id: u8) -> bool {
        holds(self.expired, id)
    }

    pub fn was_delivered(&self, id: u8) -> bool {
        self.deliveries.iter().any(|d| d.id == id)
    }
}

pub fn holds(ids: Ids, id: u8) -> bool {
    ids >> id & 1 == 1
}

pub fn has_queue(queues: Queues, queue: usize) -> bool {
    queues >> queue & 1 == 1
}
