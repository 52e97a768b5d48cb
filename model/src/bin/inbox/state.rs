//! What a moment of the model holds: one inbox, one connection with all that is in flight, and one reader.

use crate::rules::{Faults, Rules};

pub type Ticket = u8;
pub type Generation = u8;
pub type EntryId = u8;

/// A call that is written on the connection and not executed yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    Hello(Generation),
    /// Asks for a batch. `finished`: the ticket up to which all are acknowledged, or the number of entries.
    Pop {
        generation: Generation,
        ticket: Ticket,
        finished: u8,
    },
}

/// A reply that the reader has not read yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    Hello,
    Stale(Generation),
    Batch { ticket: Ticket, entries: Vec<EntryId> },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Server {
    pub inbox: Vec<EntryId>,
    /// The ticket that waits.
    pub waits: Option<Ticket>,
    /// The ticket that was given a batch, with the batch.
    pub record: Option<(Ticket, Vec<EntryId>)>,
    /// The generation of the reader while its lease lasts.
    pub leased: Option<Generation>,
    /// The highest generation that was ever used.
    pub highest: Generation,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Connection {
    pub up: bool,
    pub subscribed: bool,
    pub calls: Vec<Call>,
    pub replies: Vec<Reply>,
    pub published: Vec<(Ticket, EntryId)>,
}

/// A connection that the reader has given up.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct OldConnection {
    pub calls: Vec<Call>,
    /// The server takes it for a listener of the wake channel.
    pub half_open: bool,
}

/// The owner of the inbox, with the one ticket that it has open (R14).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Reader {
    pub generation: Generation,
    pub ticket: Ticket,
    /// A call for a batch is under way, or its ticket waits.
    pub asked: bool,
    /// Only for acknowledgements by length: how many entries were read and not acknowledged.
    pub unacknowledged: u8,
    pub delivered: Vec<EntryId>,
}

/// How often each thing may still happen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    pub sends: u8,
    pub cuts: u8,
    pub losses: u8,
    pub beats: u8,
    pub expiries: u8,
    pub lease_ends: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    pub server: Server,
    pub connection: Connection,
    pub old: OldConnection,
    pub reader: Reader,
    pub next_id: EntryId,
    /// What may be missing, because it expired or the server lost its data.
    pub excused: u16,
    pub budget: Budget,
}

impl State {
    /// Returns the state in which the reader is connected and has asked for its first batch.
    pub fn first(rules: &Rules, faults: Faults) -> Self {
        let mut state = Self {
            server: Server { leased: Some(1), highest: 1, ..Server::default() },
            connection: Connection { up: true, subscribed: true, ..Connection::default() },
            reader: Reader { generation: 1, ticket: 1, ..Reader::default() },
            budget: Budget {
                sends: 4,
                cuts: faults.cuts,
                losses: faults.losses,
                beats: u8::from(rules.by_ticket()),
                expiries: faults.expiries,
                lease_ends: faults.lease_ends,
            },
            ..Self::default()
        };
        state.ask(rules);
        state
    }

    pub fn excuse(&mut self, id: EntryId) {
        self.excused |= 1 << id;
    }
}
