//! What can happen next: each event is one atomic step of somebody.

use crate::model::Model;
use crate::rules::Beat;
use crate::state::{Queues, RECEIVERS, State, Ticket, holds};

/// An event. Those with two numbers and no other word name a client and a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A client writes a push to a queue.
    Send(usize, usize),
    /// A client opens a ticket for queues.
    Receive(usize, Queues),
    /// A receive that was filled returns its message.
    Deliver(usize, Ticket),
    /// A receive is dropped.
    Drop(usize, Ticket),
    /// The server executes the next call.
    Execute(usize, usize),
    ReadReply(usize, usize),
    ReadPublished(usize, usize),
    /// The client says what is finished.
    Settle(usize, usize),
    Beat(usize, usize),
    Reconnect(usize, usize),
    /// A connection breaks.
    Cut(usize, usize, Cut),
    /// The server executes the next call of an old connection.
    ExecuteOld(usize),
    /// The server notices that an old connection is gone.
    OldGone(usize),
    LeaseEnds(usize, usize),
    Kill(usize),
    /// A server loses its data and its connections.
    Restart(usize),
    /// A server saves its state.
    Save(usize),
    /// A server crashes, and comes back with the state that it saved.
    Restore(usize),
    /// A server loses its data (`FLUSHALL`).
    Flush(usize),
    Expire(u8),
    /// The record of an expired entry goes: server, client, ticket.
    RecordExpires(usize, usize, Ticket),
    /// The next call is refused with `NOSCRIPT` (R11).
    Refuse(usize, usize),
    /// What was published is lost within a living client.
    LosePublished(usize, usize),
    LoseReply(usize, usize),
}

/// What a server sees of a connection that has broken for its client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Nothing is executed any more.
    Clean,
    /// The calls that were written may still be executed.
    CallsRemain,
    /// So they may, and the connection still counts as a listener.
    HalfOpen,
}

impl Event {
    /// Reports whether a random walk shall choose it seldom.
    pub fn is_rare(self) -> bool {
        matches!(
            self,
            Self::Cut(..)
                | Self::Kill(_)
                | Self::Restart(_)
                | Self::Flush(_)
                | Self::Save(_)
                | Self::Restore(_)
                | Self::LeaseEnds(..)
                | Self::OldGone(_)
                | Self::Expire(_)
                | Self::LosePublished(..)
                | Self::LoseReply(..)
                | Self::RecordExpires(..)
                | Self::Refuse(..)
                | Self::Beat(..)
        )
    }
}

impl Model {
    /// Returns all that can happen in a state.
    pub fn events(&self, state: &State) -> Vec<Event> {
        let mut events = vec![];
        for c in self.clients().filter(|c| !state.clients[*c].dead) {
            if c < RECEIVERS {
                self.events_of_receiver(state, c, &mut events);
            } else {
                self.events_of_sender(state, c, &mut events);
            }
            for s in 0..self.scenario.servers {
                self.events_of_connection(state, c, s, &mut events);
            }
            if state.budget.kills > 0 && c < RECEIVERS {
                events.push(Event::Kill(c));
            }
        }
        for (i, old) in state.old.iter().enumerate() {
            if !old.calls.is_empty() {
                events.push(Event::ExecuteOld(i));
            }
            events.push(Event::OldGone(i));
        }
        for s in 0..self.scenario.servers {
            self.events_of_server(state, s, &mut events);
        }
        if state.budget.expiries > 0 {
            let lives = |id: &u8| holds(state.accepted, *id) && !state.is_expired(*id);
            events.extend((0..state.next_id).filter(lives).map(Event::Expire));
        }
        events
    }

    fn events_of_sender(&self, state: &State, client: usize, events: &mut Vec<Event>) {
        let left = state.budget.sends[client - RECEIVERS] as usize;
        let queues = self.scenario.sends_to[client - RECEIVERS];
        if left > 0 {
            let queue = queues[queues.len() - left];
            if state.clients[client].connections[self.scenario.server_of[queue]].up {
                events.push(Event::Send(client, queue));
            }
        }
    }

    fn events_of_receiver(&self, state: &State, client: usize, events: &mut Vec<Event>) {
        let own = &state.clients[client];
        let left = state.budget.receives[client] as usize;
        if left > 0 && own.receives.len() < self.scenario.most_open[client] {
            let receives = self.scenario.receives[client];
            events.push(Event::Receive(client, receives[receives.len() - left]));
        }
        for receive in &own.receives {
            let leased = |server: u8| state.servers[server as usize].clients[client].leased.is_some();
            if receive.filled.is_some_and(|(server, _)| !self.rules.checks_lease || leased(server)) {
                events.push(Event::Deliver(client, receive.ticket));
            }
            if state.budget.drops > 0 {
                events.push(Event::Drop(client, receive.ticket));
            }
        }
    }

    fn events_of_connection(&self, state: &State, client: usize, server: usize, events: &mut Vec<Event>) {
        let budget = &state.budget;
        let finished = &state.clients[client].finished[server];
        let connection = &state.clients[client].connections[server];
        let receives = client < RECEIVERS;
        let mut happens = |when: bool, event: fn(usize, usize) -> Event| {
            if when {
                events.push(event(client, server));
            }
        };
        if connection.up {
            let has_published = !connection.published.is_empty();
            let has_reply = !connection.replies.is_empty();
            happens(!connection.calls.is_empty(), Event::Execute);
            happens(has_reply, Event::ReadReply);
            happens(has_published, Event::ReadPublished);
            happens(budget.losses > 0 && receives && has_published, Event::LosePublished);
            happens(budget.losses > 0 && receives && has_reply, Event::LoseReply);
            // A call that is sent again is overtaken by another one, or nothing has changed.
            let least = if self.rules.begins_anew { 1 } else { 2 };
            happens(budget.refusals > 0 && receives && connection.calls.len() >= least, Event::Refuse);
            happens(!finished.is_empty() && !connection.carries(finished), Event::Settle);
            happens(budget.beats > 0 && receives && self.rules.beat != Beat::None, Event::Beat);
            if budget.cuts > 0 && (receives || self.scenario.cuts_senders) {
                happens(true, |c, s| Event::Cut(c, s, Cut::Clean));
                let calls_remain = self.scenario.calls_remain && !connection.calls.is_empty();
                happens(calls_remain, |c, s| Event::Cut(c, s, Cut::CallsRemain));
                let half_open = self.scenario.half_open && connection.subscribed && receives;
                happens(half_open, |c, s| Event::Cut(c, s, Cut::HalfOpen));
            }
        } else {
            happens(true, Event::Reconnect);
        }
        let leased = state.servers[server].clients[client].leased.is_some();
        happens(budget.lease_ends > 0 && receives && leased, Event::LeaseEnds);
    }

    fn events_of_server(&self, state: &State, server: usize, events: &mut Vec<Event>) {
        if state.budget.restarts > 0 {
            events.push(Event::Restart(server));
        }
        if state.budget.flushes > 0 {
            events.push(Event::Flush(server));
        }
        if state.budget.saves > 0 {
            events.push(Event::Save(server));
        }
        if state.budget.restores > 0 && state.saved[server].is_some() {
            events.push(Event::Restore(server));
        }
        let known = &state.servers[server];
        if state.budget.lease_ends > 0 {
            let ends = |c: &usize| state.clients[*c].dead && known.clients[*c].leased.is_some();
            events.extend((0..RECEIVERS).filter(ends).map(|c| Event::LeaseEnds(c, server)));
        }
        let expired = known.records.iter().filter(|r| state.is_expired(r.entry.id));
        events.extend(expired.map(|r| Event::RecordExpires(server, r.client as usize, r.ticket)));
    }
}
