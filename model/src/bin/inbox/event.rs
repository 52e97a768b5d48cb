//! What can happen next, and what it changes.

use crate::rules::Rules;
use crate::state::{Connection, OldConnection, Server, State};

/// An event: one atomic step of somebody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    Send,
    Execute,
    ReadReply,
    ReadPublished,
    /// The reader asks for a batch.
    Ask,
    /// The reader asks again, though it has asked (R7).
    Beat,
    Cut(Cut),
    Reconnect,
    ExecuteOld,
    OldGone,
    /// The server loses its data and its connections.
    Loss,
    /// An entry that is not in a record expires.
    Expire,
    LeaseEnds,
}

/// What the server sees of a connection that has broken for the reader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Nothing is executed any more.
    Clean,
    /// The calls that were written may still be executed.
    CallsRemain,
    /// The connection still counts as a listener.
    HalfOpen,
}

impl State {
    /// Returns all that can happen.
    pub fn events(&self, rules: &Rules) -> Vec<Event> {
        let budget = &self.budget;
        let mut events = vec![];
        let mut happens = |when: bool, event: Event| {
            if when {
                events.push(event);
            }
        };
        happens(budget.sends > 0, Event::Send);
        let connection = &self.connection;
        if connection.up {
            happens(!connection.calls.is_empty(), Event::Execute);
            happens(!connection.replies.is_empty(), Event::ReadReply);
            happens(!connection.published.is_empty(), Event::ReadPublished);
            let reader = &self.reader;
            let asks = rules.by_ticket() || reader.unacknowledged > 0 || !reader.delivered.is_empty();
            happens(!reader.asked && asks, Event::Ask);
            happens(budget.beats > 0 && reader.asked && rules.by_ticket(), Event::Beat);
            happens(budget.cuts > 0, Event::Cut(Cut::Clean));
            happens(budget.cuts > 0 && !connection.calls.is_empty(), Event::Cut(Cut::CallsRemain));
            happens(budget.cuts > 0, Event::Cut(Cut::HalfOpen));
        } else {
            happens(true, Event::Reconnect);
        }
        happens(!self.old.calls.is_empty(), Event::ExecuteOld);
        happens(!self.old.calls.is_empty() || self.old.half_open, Event::OldGone);
        happens(budget.losses > 0, Event::Loss);
        let unrecorded = self.server.inbox.len() > self.server.recorded(rules);
        happens(budget.expiries > 0 && unrecorded, Event::Expire);
        happens(budget.lease_ends > 0 && self.server.leased.is_some(), Event::LeaseEnds);
        events
    }

    /// Returns the state after an event, which `events` gave for this one.
    pub fn after(&self, rules: &Rules, event: Event) -> Self {
        let mut state = self.clone();
        state.step(rules, event);
        state
    }

    pub fn step(&mut self, rules: &Rules, event: Event) {
        match event {
            Event::Send => {
                self.budget.sends -= 1;
                self.push(rules);
            }
            Event::Execute => {
                let call = self.connection.calls.remove(0);
                let reply = self.execute(rules, &call, false);
                self.connection.replies.push(reply);
            }
            Event::ReadReply => self.read_reply(rules),
            Event::ReadPublished => self.read_published(rules),
            Event::Ask => self.ask(rules),
            Event::Beat => {
                self.budget.beats -= 1;
                self.ask(rules);
            }
            Event::Cut(cut) => {
                self.budget.cuts -= 1;
                let broken = std::mem::take(&mut self.connection);
                self.reader.asked = false;
                match cut {
                    Cut::Clean => {}
                    Cut::CallsRemain => self.old.calls = broken.calls,
                    Cut::HalfOpen => self.old.half_open = true,
                }
            }
            Event::Reconnect => {
                self.connection.up = true;
                self.greet(rules);
            }
            Event::ExecuteOld => {
                let call = self.old.calls.remove(0);
                self.execute(rules, &call, true);
            }
            Event::OldGone => self.old = OldConnection::default(),
            Event::Loss => {
                self.budget.losses -= 1;
                self.lose_data();
            }
            Event::Expire => {
                self.budget.expiries -= 1;
                let at = self.server.recorded(rules);
                let id = self.server.inbox.remove(at);
                self.excuse(id);
            }
            Event::LeaseEnds => {
                self.budget.lease_ends -= 1;
                self.server.leased = None;
            }
        }
    }

    fn lose_data(&mut self) {
        let Server { inbox, record, .. } = std::mem::take(&mut self.server);
        for id in inbox.into_iter().chain(record.into_iter().flat_map(|r| r.1)) {
            self.excuse(id);
        }
        self.connection = Connection::default();
        self.old = OldConnection::default();
        self.reader.asked = false;
    }
}
