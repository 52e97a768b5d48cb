//! What the server does: lua/hello.lua, pop.lua and push.lua, as far as an inbox goes.

use crate::rules::{Acknowledges, Rules};
use crate::state::{Call, EntryId, Generation, Reply, Server, State, Ticket};

impl State {
    /// Executes a call. One on an old connection subscribes nobody.
    pub fn execute(&mut self, rules: &Rules, call: &Call, old: bool) -> Reply {
        match *call {
            Call::Hello(generation) => self.hello(rules, generation, old),
            Call::Pop { generation, ticket, finished } => {
                if rules.generations && self.server.leased != Some(generation) {
                    return Reply::Stale(generation);
                }
                let entries = if rules.by_ticket() {
                    self.server.acknowledge_by_ticket(rules, finished);
                    self.server.give(rules, ticket)
                } else {
                    self.server.give_after_count(rules, finished)
                };
                if rules.never_waits {
                    self.server.waits = None;
                }
                Reply::Batch { ticket, entries }
            }
        }
    }

    /// R1.
    fn hello(&mut self, rules: &Rules, generation: Generation, old: bool) -> Reply {
        let server = &mut self.server;
        let highest = if rules.forgets_generation { server.leased.unwrap_or(0) } else { server.highest };
        if rules.generations && highest >= generation {
            return Reply::Stale(generation);
        }
        server.highest = generation;
        server.leased = Some(generation);
        if !old {
            self.connection.subscribed = true;
        }
        Reply::Hello
    }

    /// Appends an entry, and gives it to a reader that waits, as a batch of one (R2).
    pub fn push(&mut self, rules: &Rules) {
        let id = self.next_id;
        self.next_id += 1;
        let lives = !rules.generations || self.server.leased.is_some();
        let Some(ticket) = self.server.waits.filter(|_| lives) else {
            self.server.inbox.push(id);
            return;
        };
        let is_heard = self.connection.subscribed || self.old.half_open;
        if !rules.by_ticket() {
            self.server.inbox.push(id);
            if is_heard {
                self.publish(ticket, id);
            } else {
                self.server.waits = None;
            }
            return;
        }
        if !is_heard {
            self.server.waits = None;
            if rules.generations {
                self.server.leased = None;
            }
        }
        if !is_heard || !self.server.inbox.is_empty() {
            self.server.inbox.push(id);
            return;
        }
        if rules.acknowledges == Acknowledges::InInbox {
            self.server.inbox.push(id);
        }
        self.server.waits = None;
        self.server.record = Some((ticket, vec![id]));
        self.publish(ticket, id);
    }

    /// Who listens with an old connection alone reads nothing.
    fn publish(&mut self, ticket: Ticket, id: EntryId) {
        if self.connection.subscribed {
            self.connection.published.push((ticket, id));
        }
    }
}

impl Server {
    /// How many entries at the head of the inbox belong to the record.
    pub fn recorded(&self, rules: &Rules) -> usize {
        match &self.record {
            Some((_, batch)) if rules.acknowledges == Acknowledges::InInbox => batch.len(),
            _ => 0,
        }
    }

    /// Ends the tickets up to `finished`: their batch leaves the inbox, and they do not wait any more.
    fn acknowledge_by_ticket(&mut self, rules: &Rules, finished: Ticket) {
        if self.record.as_ref().is_some_and(|r| r.0 <= finished) {
            let recorded = self.recorded(rules);
            self.inbox.drain(..recorded);
            self.record = None;
        }
        self.waits = self.waits.filter(|ticket| *ticket > finished);
    }

    /// Returns the batch of the ticket's record, else a new one, else lets the ticket wait.
    fn give(&mut self, rules: &Rules, ticket: Ticket) -> Vec<EntryId> {
        if let Some((holder, batch)) = &self.record {
            return if *holder == ticket { batch.clone() } else { vec![] };
        }
        let size = rules.batch.min(self.inbox.len());
        let batch: Vec<EntryId> = match rules.acknowledges {
            Acknowledges::InInbox => self.inbox[..size].to_vec(),
            _ => self.inbox.drain(..size).collect(),
        };
        if batch.is_empty() {
            self.waits = Some(ticket);
        } else {
            self.waits = None;
            self.record = Some((ticket, batch.clone()));
        }
        batch
    }

    /// Against R22: trims as many entries as the reader says that it read, and returns the next ones.
    fn give_after_count(&mut self, rules: &Rules, count: u8) -> Vec<EntryId> {
        let count = (count as usize).min(self.inbox.len());
        self.inbox.drain(..count);
        let batch: Vec<EntryId> = self.inbox.iter().take(rules.batch).copied().collect();
        self.waits = batch.is_empty().then_some(0);
        batch
    }
}
