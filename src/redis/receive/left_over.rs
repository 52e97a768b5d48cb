//! What shards hand to a receive that has its message already.
//!
//! A receive on several shards may be handed an entry by each. The first is its own. What a reply brings after that is
//! given on to the next receive that is about to ask that shard, without a word to the server: that one delivers and
//! acknowledges it, or releases it, under the number of the ticket to which it was handed. Else it is released. Without this
//! a busy channel's messages would go back and forth, and the shard that answered first once would go on doing so.

use std::collections::{HashMap, HashSet};

use super::state::{MAX_TICKETS, State};
use crate::name::ChannelKind;
use crate::redis::calls::Handed;

impl State {
    /// Gives what a reply brought for tickets that have no use for it to those that are about to ask, else back. On a
    /// single shard normal channels have an order too, and what goes back is in its place for whoever asks next.
    pub(super) fn give_on(&mut self, shard: usize, left_over: Vec<(u64, Handed)>) {
        if self.shards.len() == 1 {
            return left_over.into_iter().for_each(|(ticket, _)| self.give_back(shard, ticket));
        }
        // Whether all that is still to be said of a ticket is that it is released. All of it was noted after the call
        // that this reply answers, for that asked for the ticket; so the server has heard nothing of it.
        let mut released: HashMap<u64, bool> = HashMap::new();
        for finished in self.shards.get(shard).iter().flat_map(|agenda| &agenda.finished) {
            *released.entry(finished.ticket).or_insert(true) &= finished.delivered.is_none();
        }
        let mut unsaid: HashSet<u64> = HashSet::new();
        for (ticket, handed) in left_over {
            let is_free = match self.open.get(&ticket) {
                Some(_) => !released.contains_key(&ticket),
                None => released.get(&ticket) == Some(&true),
            };
            let next = if is_free { self.next_to_ask(shard, &handed) } else { None };
            let Some(next) = next else {
                self.give_back(shard, ticket);
                continue;
            };
            if let Some(part) = self.open.get_mut(&ticket).and_then(|open| open.part_on(shard)) {
                part.asked = false;
            }
            unsaid.insert(ticket);
            self.given_on.insert((shard, ticket));
            self.fill_with(next, shard, ticket, handed);
        }
        if let Some(agenda) = self.shards.get_mut(shard) {
            agenda.finished.retain(|finished| !unsaid.contains(&finished.ticket));
        }
    }

    /// The first ticket that is about to ask a shard for a normal channel's message, as this one is. Others keep an order.
    fn next_to_ask(&self, shard: usize, handed: &Handed) -> Option<u64> {
        let wants = |ticket: &&u64| {
            let Some(open) = self.open.get(ticket).filter(|open| open.filled.is_none()) else { return false };
            let parts = open.parts.iter().filter(|part| part.shard == shard);
            parts
                .flat_map(|part| part.channels.iter())
                .any(|channel| channel.kind() == ChannelKind::Normal && channel.queue() == handed.queue)
        };
        self.shards.get(shard)?.ask.iter().take(MAX_TICKETS).find(wants).copied()
    }
}
