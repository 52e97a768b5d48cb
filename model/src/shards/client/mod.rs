//! The tickets of a client, under the names of `src/redis/receive/`.

mod calls;
mod left_over;
mod state;

use super::{EntryId, Queues, SHARDS, Ticket};

/// A finished ticket. `delivered`: the id of its entry, if it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Finished {
    pub ticket: Ticket,
    pub delivered: Option<EntryId>,
}

/// An open ticket in a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpenTicket {
    pub ticket: Ticket,
    pub waits: bool,
    pub queues: Queues,
}

/// What a `pop` carries.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NextCall {
    pub finished: Vec<Finished>,
    pub open: Vec<OpenTicket>,
}

/// What a shard hands to a ticket: an entry, and its queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handed {
    pub queue: u8,
    pub id: EntryId,
}

/// What ends a receive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arrival {
    /// From this shard.
    Message(u8, Handed),
    Nothing,
    Failed,
}

/// A shard that a ticket asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    pub shard: u8,
    pub queues: Queues,
    /// A call was made that asks it.
    pub asked: bool,
    /// It answered a `try` ticket that nothing is there.
    pub nothing: bool,
    pub unreachable: bool,
}

/// The entry that filled a ticket. `handed_to`: another ticket, if the entry was given on by that (R17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Filled {
    pub shard: u8,
    pub id: EntryId,
    pub handed_to: Ticket,
}

/// An open ticket. `future`: its receive has not been told how it ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Open {
    pub waits: bool,
    pub places: Vec<Place>,
    pub filled: Option<Filled>,
    pub future: bool,
}

/// What is to be said to a shard.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Agenda {
    pub ask: Vec<Ticket>,
    pub finished: Vec<Finished>,
    pub urgent: bool,
    /// The task of the shard was woken.
    pub permit: bool,
}

/// The future of a ticket, and what came for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Receiving {
    pub ticket: Ticket,
    pub arrival: Option<Arrival>,
}

/// The tickets of a client, for all shards.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ModelTickets {
    pub next: Ticket,
    pub open: Vec<(Ticket, Open)>,
    /// The tickets whose entry of a shard was given on.
    pub given_on: Vec<(u8, Ticket)>,
    pub shards: [Agenda; SHARDS],
    pub closed: bool,
    pub receiving: Vec<Receiving>,
    /// Only for the variant that gives on what was published: the tickets whose end was ever said to a shard.
    pub said: Vec<(u8, Ticket)>,
}

/// What the world wants of a client's tickets: those of the model, or in lockstep the crate's own too.
pub trait AnyTickets {
    /// Opens a ticket for queues of shards, or refuses.
    fn open(&mut self, places: &[(u8, Queues)], waits: bool) -> Option<Ticket>;
    fn next_call(&mut self, shard: usize) -> Option<NextCall>;
    fn ask_again(&mut self, shard: usize);
    fn answered(&mut self, shard: usize, call: &NextCall, served: usize, given: &[(Ticket, Handed)]);
    fn arrived(&mut self, shard: usize, ticket: Ticket, handed: Handed);
    fn failed(&mut self, shard: usize, call: &NextCall);
    fn unreachable(&mut self, shard: usize);
    fn close(&mut self);
    fn poll(&mut self, ticket: Ticket) -> Option<Arrival>;
    fn drop_future(&mut self, ticket: Ticket);
    fn take_permit(&mut self, shard: usize) -> bool;
    /// Reports whether something is to be said about finished tickets.
    fn owes(&self, shard: usize) -> bool;
    /// Returns the ticket that was opened last.
    fn newest(&self) -> Ticket;
    /// Returns the model's own state.
    fn view(&self) -> &ModelTickets;
    /// Returns how the crate's tickets differ from the model's.
    fn differs(&mut self) -> Option<String> {
        None
    }
}
