//! What holds at every moment.

use super::{Phase, World};
use crate::shards::client::AnyTickets;
use crate::shards::{CLIENTS, SHARDS, Ticket};

impl<T: AnyTickets + Default> World<T> {
    /// Looks at all that must always hold, and notes the first that does not.
    pub(super) fn check(&mut self) {
        let wrong = self
            .difference()
            .or_else(|| self.wrong_entry())
            .or_else(|| (0..CLIENTS).filter(|c| !self.processes[*c].dead).find_map(|c| self.wrong_client(c)));
        if let Some(what) = wrong {
            self.fail(what);
        }
    }

    /// Returns how the crate's tickets differ from the model's.
    fn difference(&mut self) -> Option<String> {
        let tickets = self.processes.iter_mut().map(|process| &mut process.tickets).enumerate();
        tickets.into_iter().find_map(|(c, t)| t.differs().map(|what| format!("DIFFERS: client {c}: {what}")))
    }

    /// Returns an entry that is in two places, in none, or in a queue after it was delivered.
    fn wrong_entry(&self) -> Option<String> {
        let mut places = [0u8; 32];
        for id in (0..SHARDS).flat_map(|s| self.entries_on(s)) {
            places[id as usize] += 1;
        }
        (0..self.next).find_map(|id| {
            let count = places[id as usize];
            let delivered = self.is_delivered(id);
            let gone = (self.expired | self.excused) >> id & 1 == 1;
            if count > 1 {
                return Some(format!("SPLIT: entry {id} is in {count} places of the servers"));
            }
            if count == 0 && !delivered && !gone {
                return Some(format!("LOST: entry {id} is nowhere on the servers, and was not delivered"));
            }
            let waits = || self.servers.iter().any(|server| server.waiting().any(|x| x == id));
            (delivered && count == 1 && !gone && waits())
                .then(|| format!("AGAIN: entry {id} was delivered, and waits in a queue again"))
        })
    }

    /// Returns what a client remembers for nobody, or a record of which it will never say anything.
    fn wrong_client(&self, c: usize) -> Option<String> {
        let process = &self.processes[c];
        let tickets = process.tickets.view();
        for &(shard, ticket) in &tickets.given_on {
            let has_it = tickets
                .open
                .iter()
                .filter_map(|o| o.1.filled)
                .any(|f| (f.shard, f.handed_to) == (shard, ticket));
            if !has_it {
                return Some(format!("GIVEN ON: client {c} remembers ({shard}, {ticket}) for nobody"));
            }
        }
        for s in (0..SHARDS).filter(|s| !process.tasks[*s].failed) {
            // What is written on an old connection may still be executed.
            let is_on_its_way = process.tasks[s].phase == Phase::Ended
                && self.old.iter().any(|o| (o.client as usize, o.shard as usize) == (c, s));
            for (ticket, record) in &self.servers[s].clients[c].records {
                if !is_on_its_way && !self.will_be_said(c, s, *ticket) {
                    return Some(format!(
                        "LEAK: shard {s} has {record:?} of c{c} t{ticket}, of which the client will never say anything"
                    ));
                }
            }
        }
        None
    }

    fn will_be_said(&self, c: usize, s: usize, ticket: Ticket) -> bool {
        let tickets = self.processes[c].tickets.view();
        tickets.shards[s].finished.iter().any(|f| f.ticket == ticket)
            || tickets.given_on.contains(&(s as u8, ticket))
            || tickets
                .look(ticket)
                .is_some_and(|o| o.places.iter().any(|p| p.shard as usize == s && p.asked && !p.nothing))
    }
}
