//! What the tasks and the program ask of a client's tickets: `Tickets` of `src/redis/receive/mod.rs`.

use super::{
    AnyTickets, Arrival, Finished, Handed, ModelTickets, NextCall, Open, OpenTicket, Place, Receiving,
};
use crate::shards::rules::{Broken, breaks, rules};
use crate::shards::{ORDERED, Queues, Ticket, has};

impl AnyTickets for ModelTickets {
    fn open(&mut self, places: &[(u8, Queues)], waits: bool) -> Option<Ticket> {
        // R14: one open ticket for the `?` channel.
        let is_open = |o: &Open| o.places.iter().any(|p| has(p.queues, ORDERED));
        let is_wanted = places.iter().any(|p| has(p.1, ORDERED));
        if self.closed || is_wanted && self.open.iter().any(|o| is_open(&o.1)) {
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        for (s, _) in places {
            let open = &self.open;
            let agenda = &mut self.shards[*s as usize];
            if agenda.ask.len() > 2 * open.len() + rules().most_tickets {
                agenda.ask.retain(|t| open.iter().any(|o| o.0 == *t));
            }
            agenda.ask.push(ticket);
            agenda.permit = true;
        }
        let place = |&(shard, queues): &(u8, Queues)| Place {
            shard,
            queues,
            asked: false,
            nothing: false,
            unreachable: false,
        };
        let places = places.iter().map(place).collect();
        self.open.push((ticket, Open { waits, places, filled: None, future: true }));
        self.receiving.push(Receiving { ticket, arrival: None });
        Some(ticket)
    }

    fn next_call(&mut self, s: usize) -> Option<NextCall> {
        let rules = rules();
        let agenda = &mut self.shards[s];
        if agenda.ask.is_empty() && !agenda.urgent && agenda.finished.len() < rules.most_finished {
            return None;
        }
        let finished: Vec<Finished> = agenda.finished.iter().take(rules.most_finished).copied().collect();
        if rules.pushes_too {
            for f in &finished {
                if !self.said.contains(&(s as u8, f.ticket)) {
                    self.said.push((s as u8, f.ticket));
                }
            }
        }
        // R8: what is finished goes first, without an open ticket.
        if finished.len() < agenda.finished.len() && !breaks(Broken::Overtake) {
            return Some(NextCall { finished, open: vec![] });
        }
        agenda.urgent = false;
        let mut open: Vec<OpenTicket> = vec![];
        let mut queues = 0;
        while let Some(&ticket) = agenda.ask.first() {
            let asked = self.open.iter_mut().find(|o| o.0 == ticket);
            let Some((waits, place)) = asked.and_then(|o| o.1.unfilled_on(s)) else {
                agenda.ask.remove(0);
                continue;
            };
            queues += place.queues.count_ones() as usize;
            if open.len() == rules.most_tickets || queues > rules.most_queues && !open.is_empty() {
                break;
            }
            place.asked = true;
            open.push(OpenTicket { ticket, waits, queues: place.queues });
            agenda.ask.remove(0);
        }
        (!finished.is_empty() || !open.is_empty()).then_some(NextCall { finished, open })
    }

    fn ask_again(&mut self, s: usize) {
        let open = self.open.iter_mut();
        self.shards[s].ask = open.filter_map(|(t, o)| o.unfilled_on(s).map(|_| *t)).collect();
        let agenda = &mut self.shards[s];
        agenda.urgent |= !agenda.finished.is_empty();
    }

    fn answered(&mut self, s: usize, call: &NextCall, served: usize, given: &[(Ticket, Handed)]) {
        let agenda = &mut self.shards[s];
        let all = agenda.finished.len();
        let said = if breaks(Broken::DrainAll) { all } else { call.finished.len().min(all) };
        agenda.finished.drain(..said);
        // R18: what was not served is asked for again.
        if !breaks(Broken::UnservedForgotten) {
            for unserved in call.open.iter().skip(served).rev() {
                agenda.ask.insert(0, unserved.ticket);
            }
        }
        let mut left = vec![];
        for &(ticket, handed) in given {
            left.extend(self.fill(s, ticket, handed).map(|handed| (ticket, handed)));
        }
        if !left.is_empty() {
            self.give_on(s, left, false);
        }
        for open in call.open.iter().take(served).filter(|o| !o.waits) {
            self.nothing_there(s, open.ticket);
        }
    }

    fn arrived(&mut self, s: usize, ticket: Ticket, handed: Handed) {
        if let Some(handed) = self.fill(s, ticket, handed) {
            if rules().pushes_too || breaks(Broken::GiveOnSent) {
                self.give_on(s, vec![(ticket, handed)], true);
            } else {
                self.give_back(s, ticket);
            }
        }
    }

    fn failed(&mut self, _: usize, call: &NextCall) {
        for open in &call.open {
            if self.look(open.ticket).is_some_and(|o| o.filled.is_none()) {
                self.fail(open.ticket);
            }
        }
    }

    fn unreachable(&mut self, s: usize) {
        let asks = |(t, o): &mut (Ticket, Open)| (!o.waits && o.unfilled_on(s).is_some()).then_some(*t);
        let tickets: Vec<Ticket> = self.open.iter_mut().filter_map(asks).collect();
        for ticket in tickets {
            self.skip(s, ticket);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for ticket in self.open.iter().map(|o| o.0).collect::<Vec<_>>() {
            self.fail(ticket);
        }
        for agenda in &mut self.shards {
            agenda.urgent = true;
        }
    }

    fn poll(&mut self, ticket: Ticket) -> Option<Arrival> {
        let at = self.receiving.iter().position(|r| r.ticket == ticket)?;
        let arrival = self.receiving[at].arrival?;
        self.receiving.remove(at);
        let is_message = matches!(arrival, Arrival::Message(..));
        // Without a message the future is dropped after this poll, and that releases the ticket.
        let was_open = self.finish(ticket, is_message);
        Some(if is_message && !was_open { Arrival::Failed } else { arrival })
    }

    fn drop_future(&mut self, ticket: Ticket) {
        self.receiving.retain(|r| r.ticket != ticket);
        self.finish(ticket, false);
    }

    fn take_permit(&mut self, s: usize) -> bool {
        std::mem::take(&mut self.shards[s].permit)
    }

    fn owes(&self, s: usize) -> bool {
        !self.shards[s].finished.is_empty()
    }

    fn newest(&self) -> Ticket {
        self.next - 1
    }

    fn view(&self) -> &ModelTickets {
        self
    }
}
