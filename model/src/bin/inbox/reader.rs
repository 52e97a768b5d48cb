//! What the owner of the inbox does (R22): `Reader` of `src/redis/inbox/mod.rs`.

use crate::rules::{Acknowledges, Rules};
use crate::state::{Call, EntryId, Reply, State, Ticket};

impl State {
    /// Asks for the next batch and acknowledges what was read.
    pub fn ask(&mut self, rules: &Rules) {
        if !self.connection.up {
            return;
        }
        let reader = &mut self.reader;
        let finished = if rules.by_ticket() { reader.ticket - 1 } else { reader.unacknowledged };
        if rules.acknowledges == Acknowledges::CountOnce {
            reader.unacknowledged = 0;
        }
        let (generation, ticket) = (reader.generation, reader.ticket);
        reader.asked = true;
        self.connection.calls.push(Call::Pop { generation, ticket, finished });
    }

    /// Says hello with the next generation, and asks (R6, R11).
    pub fn greet(&mut self, rules: &Rules) {
        self.reader.generation += 1;
        self.connection.calls.push(Call::Hello(self.reader.generation));
        self.ask(rules);
    }

    pub fn read_reply(&mut self, rules: &Rules) {
        match self.connection.replies.remove(0) {
            Reply::Hello => {}
            Reply::Stale(generation) => {
                if generation == self.reader.generation {
                    self.greet(rules);
                }
            }
            Reply::Batch { ticket, entries } => {
                if rules.by_ticket() {
                    self.take_batch(ticket, &entries);
                    return;
                }
                self.reader.asked = false;
                if rules.acknowledges == Acknowledges::Count {
                    self.reader.unacknowledged = 0;
                }
                for id in entries {
                    self.deliver(id);
                }
            }
        }
    }

    pub fn read_published(&mut self, rules: &Rules) {
        let (ticket, id) = self.connection.published.remove(0);
        if rules.by_ticket() {
            self.take_batch(ticket, &[id]);
        } else {
            self.deliver(id);
        }
    }

    /// Delivers a batch of the open ticket, and opens the next one. A batch of another ticket was read before.
    fn take_batch(&mut self, ticket: Ticket, entries: &[EntryId]) {
        if ticket != self.reader.ticket || entries.is_empty() {
            return;
        }
        for id in entries {
            self.deliver(*id);
        }
        self.reader.ticket += 1;
        self.reader.asked = false;
    }

    fn deliver(&mut self, id: EntryId) {
        self.reader.delivered.push(id);
        self.reader.unacknowledged += 1;
    }
}
