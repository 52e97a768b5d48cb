//! What becomes of surplus entries (R17): `src/redis/receive/left_over.rs`.

use super::{Handed, ModelTickets};
use crate::shards::rules::{Broken, breaks, rules};
use crate::shards::{ORDERED, Ticket};

impl ModelTickets {
    /// Gives surplus entries on to tickets that are about to ask the shard, or back. `published`: they came so.
    pub(super) fn give_on(&mut self, s: usize, left: Vec<(Ticket, Handed)>, published: bool) {
        let released = self.released(s);
        let mut unsaid = vec![];
        for (ticket, handed) in left {
            let only_released = released.iter().find(|r| r.0 == ticket).map(|r| r.1);
            let mut free = match self.look(ticket) {
                Some(_) => only_released.is_none() || breaks(Broken::OpenThoughReleased),
                None => {
                    only_released == Some(true) || only_released.is_some() && breaks(Broken::GiveOnDelivered)
                }
            };
            if published {
                free = breaks(Broken::GiveOnSent) || free && !self.said.contains(&(s as u8, ticket));
            }
            let next = if free { self.next_to_ask(s, handed) } else { None };
            let Some(next) = next else {
                self.give_back(s, ticket);
                continue;
            };
            if !breaks(Broken::StaysAsked)
                && let Some(place) = self.get(ticket).and_then(|o| o.place(s))
            {
                place.asked = false;
            }
            unsaid.push(ticket);
            self.given_on.push((s as u8, ticket));
            self.fill_with(next, s, ticket, handed);
        }
        if !breaks(Broken::ReleaseStays) {
            self.shards[s].finished.retain(|f| !unsaid.contains(&f.ticket));
        }
    }

    /// Returns the finished tickets of the agenda, and whether each is only released.
    fn released(&self, s: usize) -> Vec<(Ticket, bool)> {
        let mut released: Vec<(Ticket, bool)> = vec![];
        for f in &self.shards[s].finished {
            match released.iter_mut().find(|r| r.0 == f.ticket) {
                Some(r) => r.1 &= f.delivered.is_none(),
                None => released.push((f.ticket, f.delivered.is_none())),
            }
        }
        released
    }

    /// Returns an unfilled ticket that is about to ask the shard for the queue of the entry.
    fn next_to_ask(&self, s: usize, handed: Handed) -> Option<Ticket> {
        if handed.queue as usize == ORDERED && !breaks(Broken::GiveOnOrdered) {
            return None;
        }
        let mut tickets: Vec<Ticket> = if breaks(Broken::ToAnyOpen) {
            self.open.iter().map(|o| o.0).collect()
        } else {
            self.shards[s].ask.iter().take(rules().most_tickets).copied().collect()
        };
        tickets.retain(|t| {
            self.look(*t)
                .is_some_and(|o| (o.filled.is_none() || breaks(Broken::ToFilled)) && o.wants(s, handed))
        });
        tickets.first().copied()
    }
}
