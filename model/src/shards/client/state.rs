//! How tickets are filled and finished: `State` of `src/redis/receive/mod.rs`.

use super::{Agenda, Arrival, Filled, Finished, Handed, ModelTickets, Open, Place};
use crate::shards::rules::{Broken, breaks, rules};
use crate::shards::{Ticket, has};

impl Default for ModelTickets {
    fn default() -> Self {
        Self {
            next: 1,
            open: vec![],
            given_on: vec![],
            shards: Default::default(),
            closed: false,
            receiving: vec![],
            said: vec![],
        }
    }
}

impl Open {
    pub(super) fn place(&mut self, s: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|p| p.shard as usize == s)
    }

    /// Returns whether the ticket waits, and its place on the shard, if it may be asked for there.
    pub(super) fn unfilled_on(&mut self, s: usize) -> Option<(bool, &mut Place)> {
        if self.filled.is_some() {
            return None;
        }
        let waits = self.waits;
        self.place(s).filter(|p| !p.nothing || breaks(Broken::AskNothing)).map(|p| (waits, p))
    }

    pub(super) fn wants(&self, s: usize, handed: Handed) -> bool {
        self.places.iter().any(|p| p.shard as usize == s && has(p.queues, handed.queue as usize))
    }
}

impl Agenda {
    pub(super) fn finish(&mut self, finished: Finished) {
        self.finished.push(finished);
        let released = finished.delivered.is_none();
        self.urgent |= released;
        self.permit |= released || self.finished.len() >= rules().most_finished;
    }
}

impl ModelTickets {
    pub fn look(&self, ticket: Ticket) -> Option<&Open> {
        self.open.iter().find(|o| o.0 == ticket).map(|o| &o.1)
    }

    pub(super) fn get(&mut self, ticket: Ticket) -> Option<&mut Open> {
        self.open.iter_mut().find(|o| o.0 == ticket).map(|o| &mut o.1)
    }

    /// Tells a receive how it ends. Only the first word counts.
    fn tell(&mut self, ticket: Ticket, arrival: Arrival) {
        if self.get(ticket).is_some_and(|o| std::mem::take(&mut o.future)) {
            self.set_arrival(ticket, arrival);
        }
    }

    fn set_arrival(&mut self, ticket: Ticket, arrival: Arrival) {
        if let Some(receiving) = self.receiving.iter_mut().find(|r| r.ticket == ticket) {
            receiving.arrival = Some(arrival);
        }
    }

    /// Takes what a shard handed to a ticket (R9). Returns a surplus entry.
    pub(super) fn fill(&mut self, s: usize, ticket: Ticket, handed: Handed) -> Option<Handed> {
        if self.given_on.contains(&(s as u8, ticket)) && !breaks(Broken::ForgetGivenOn) {
            return None;
        }
        match self.look(ticket).map(|o| o.filled) {
            Some(Some(f)) if f.shard as usize == s && f.handed_to == ticket => None,
            Some(None) => {
                self.fill_with(ticket, s, ticket, handed);
                None
            }
            _ => Some(handed),
        }
    }

    pub(super) fn fill_with(&mut self, ticket: Ticket, s: usize, handed_to: Ticket, handed: Handed) {
        let Some(open) = self.get(ticket) else { return };
        open.filled = Some(Filled { shard: s as u8, id: handed.id, handed_to });
        let wanted = open.wants(s, handed);
        self.tell(ticket, if wanted { Arrival::Message(s as u8, handed) } else { Arrival::Failed });
    }

    pub(super) fn give_back(&mut self, s: usize, ticket: Ticket) {
        self.shards[s].finish(Finished { ticket, delivered: None });
    }

    /// Notes that a shard has nothing for a `try` ticket.
    pub(super) fn nothing_there(&mut self, s: usize, ticket: Ticket) {
        let Some(open) = self.get(ticket) else { return };
        if let Some((_, place)) = open.unfilled_on(s) {
            place.nothing = true;
            self.end_if_nowhere(ticket);
        }
    }

    /// Notes that a shard cannot be reached.
    pub(super) fn skip(&mut self, s: usize, ticket: Ticket) {
        let Some(open) = self.get(ticket) else { return };
        if let Some((_, place)) = open.unfilled_on(s) {
            place.unreachable = true;
        }
        if open.places.iter().all(|p| p.unreachable) {
            self.fail(ticket);
        } else {
            self.end_if_nowhere(ticket);
        }
    }

    fn end_if_nowhere(&mut self, ticket: Ticket) {
        if self.look(ticket).is_some_and(|o| o.places.iter().all(|p| p.nothing || p.unreachable)) {
            self.tell(ticket, Arrival::Nothing);
        }
    }

    pub(super) fn fail(&mut self, ticket: Ticket) {
        let untold = self.get(ticket).is_some_and(|o| std::mem::take(&mut o.future));
        self.finish(ticket, false);
        if untold {
            self.set_arrival(ticket, Arrival::Failed);
        }
    }

    /// Ends a ticket: acknowledges what was delivered, releases all else (R10, R17). Returns whether it was open.
    pub(super) fn finish(&mut self, ticket: Ticket, delivered: bool) -> bool {
        let Some(at) = self.open.iter().position(|o| o.0 == ticket) else { return false };
        let open = self.open.remove(at).1;
        if let Some(filled) = open.filled.filter(|f| f.handed_to != ticket) {
            self.given_on.retain(|g| *g != (filled.shard, filled.handed_to));
            let under = if breaks(Broken::AckOwnNumber) { ticket } else { filled.handed_to };
            if delivered || !breaks(Broken::DropForgets) {
                let delivered = delivered.then_some(filled.id);
                self.shards[filled.shard as usize].finish(Finished { ticket: under, delivered });
            }
        }
        for place in open.places.iter().filter(|p| p.asked) {
            let own = open.filled.filter(|f| f.shard == place.shard && f.handed_to == ticket);
            let delivered = own.filter(|_| delivered).map(|f| f.id);
            if delivered.is_some() || !place.nothing {
                self.shards[place.shard as usize].finish(Finished { ticket, delivered });
            }
        }
        true
    }
}
