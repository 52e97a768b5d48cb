//! What is known of each ticket, and what is still to be told to each shard.
//!
//! All of it changes under the one lock of [`Tickets`](super::Tickets), which calls these methods.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::name::{ChannelKind, ChannelName};
use crate::redis::calls::{Finished, Handed};
use crate::redis::entry::{Entry, EntryId};

/// The most of each that one call carries: Lua can unpack some 8,000 values, and a long script blocks the server.
pub(super) const MAX_TICKETS: usize = 500;
pub(super) const MAX_QUEUES: usize = 1000;
pub(super) const MAX_FINISHED: usize = 500;

#[derive(Debug)]
pub(super) struct State {
    pub(super) next: u64,
    pub(super) open: BTreeMap<u64, Open>,
    /// The `?` channels and inboxes that have an open ticket: two could reorder when one is cancelled.
    pub(super) single_readers: HashSet<ChannelName>,
    /// Tickets and the shards on which another ticket has what was handed to them.
    pub(super) given_on: HashSet<(usize, u64)>,
    pub(super) shards: Vec<Agenda>,
    /// Why no receive may begin any more.
    pub(super) closed: Option<fn() -> Error>,
}

/// What is to be said to one shard.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Tickets to ask for.
    pub(super) ask: VecDeque<u64>,
    /// Stays here until the reply to a call that carried it has come.
    pub(super) finished: VecDeque<Finished>,
    /// Whether to call although there is nothing to ask for: something goes back.
    pub(super) urgent: bool,
    /// Tickets of which a reply only announced what they were handed, and the queue of that, each once.
    pub(super) fetch: VecDeque<(u64, String)>,
    /// Wakes who fetches.
    pub(super) something_to_fetch: Arc<Notify>,
    /// Wakes the shard's task.
    pub(super) something_to_say: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) waits: bool,
    pub(super) parts: Vec<Part>,
    pub(super) filled: Option<Filled>,
    pub(super) future: Option<oneshot::Sender<Arrival>>,
}

/// The entry of a ticket.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) shard: usize,
    pub(super) id: EntryId,
    /// The ticket to which the shard handed it: mostly the same one.
    pub(super) handed_to: u64,
}

/// A ticket's part on one shard.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shard: usize,
    pub(super) channels: Arc<[ChannelName]>,
    /// Whether the server may know the ticket.
    pub(super) asked: bool,
    /// Whether the server said that nothing waits, for a ticket that does not wait either.
    pub(super) nothing: bool,
    /// Whether the server cannot be asked, by a ticket that does not wait until it can, or refuses to be asked.
    pub(super) unreachable: bool,
}

/// A message that came for a receive, from a shard at some time.
#[derive(Debug)]
pub(in crate::redis) struct Received {
    pub(in crate::redis) shard: usize,
    pub(in crate::redis) at: Instant,
    pub(in crate::redis) channel: ChannelName,
    pub(in crate::redis) entry: Entry,
}

/// What ends a receive.
#[derive(Debug)]
pub(super) enum Arrival {
    Message(Received),
    Batch(Vec<Entry>),
    Nothing,
    Failed(Error),
}

impl Open {
    /// Whether it waits, and its part on a shard, if it still wants something from there.
    pub(super) fn unfilled_on(&mut self, shard: usize) -> Option<(bool, &mut Part)> {
        if self.filled.is_some() {
            return None;
        }
        let waits = self.waits;
        // Skips shards that already answered "empty": an entry they handed over later would have no receiver.
        self.part_on(shard).filter(|part| !part.nothing).map(|part| (waits, part))
    }

    pub(super) fn part_on(&mut self, shard: usize) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.shard == shard)
    }

    /// Tells the future that nothing was there, once that is so of every part.
    pub(super) fn end_if_nowhere(&mut self) {
        if self.parts.iter().all(|part| part.nothing || part.unreachable)
            && let Some(future) = self.future.take()
        {
            // A dropped future releases its ticket itself.
            let _ = future.send(Arrival::Nothing);
        }
    }
}

impl State {
    /// An entry came for a ticket, in a reply or pushed. Returns it if the ticket has no use for it.
    pub(super) fn fill(&mut self, shard: usize, ticket: u64, handed: Handed) -> Option<Handed> {
        if self.has_from(shard, ticket) {
            // It came both ways, or is another one after data loss: the acknowledgement will name the one we have.
            return None;
        }
        match self.open.get(&ticket).map(|open| &open.filled) {
            Some(None) => {
                self.fill_with(ticket, shard, ticket, handed);
                None
            }
            _ => Some(handed),
        }
    }

    /// Whether a ticket still wants something from a shard.
    pub(super) fn is_wanted(&mut self, shard: usize, ticket: u64) -> bool {
        self.open.get_mut(&ticket).is_some_and(|open| open.unfilled_on(shard).is_some())
    }

    /// Whether what a shard handed to a ticket is here: the ticket has it, or another one.
    pub(super) fn has_from(&self, shard: usize, ticket: u64) -> bool {
        let is_own = |filled: &Filled| filled.shard == shard && filled.handed_to == ticket;
        self.given_on.contains(&(shard, ticket))
            || self.open.get(&ticket).and_then(|open| open.filled.as_ref()).is_some_and(is_own)
    }

    /// Fills an open ticket with what a shard handed to it, or to another one.
    pub(super) fn fill_with(&mut self, ticket: u64, shard: usize, handed_to: u64, handed: Handed) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        open.filled = Some(Filled { shard, id: handed.last_id(), handed_to });
        let Handed { queue, first, mut more } = handed;
        let mut channels =
            open.parts.iter().filter(|part| part.shard == shard).flat_map(|p| p.channels.iter());
        let arrival = match channels.find(|channel| channel.queue() == queue) {
            Some(channel) if channel.kind() == ChannelKind::Inbox => {
                more.insert(0, first);
                Arrival::Batch(more)
            }
            Some(channel) => {
                let (channel, at) = (channel.clone(), Instant::now());
                Arrival::Message(Received { shard, at, channel, entry: first })
            }
            None => Arrival::Failed(Error::new(
                ErrorKind::Script,
                format!(
                    "the server gave a message of channel {queue:?} to a receive that did not ask for it"
                ),
            )),
        };
        if let Some(future) = open.future.take() {
            // A dropped future releases its ticket itself.
            let _ = future.send(arrival);
        }
    }

    /// Whether a ticket is open on a shard, or the server is yet to be told what became of it.
    pub(super) fn knows(&self, shard: usize, ticket: u64) -> bool {
        let is_open =
            self.open.get(&ticket).is_some_and(|open| open.parts.iter().any(|part| part.shard == shard));
        let is_told = |agenda: &Agenda| agenda.finished.iter().any(|finished| finished.ticket == ticket);
        is_open || self.given_on.contains(&(shard, ticket)) || self.shards.get(shard).is_some_and(is_told)
    }

    /// A ticket is to be asked for before others.
    pub(super) fn ask_first(&mut self, shard: usize, ticket: u64) {
        if let Some(agenda) = self.shards.get_mut(shard) {
            agenda.ask.push_front(ticket);
            agenda.something_to_say.notify_one();
        }
    }

    /// A reply told that a ticket was handed something of a queue, and did not bring it.
    pub(super) fn announce(&mut self, shard: usize, ticket: u64, queue: String) {
        if self.is_wanted(shard, ticket) {
            if let Some(agenda) = self.shards.get_mut(shard)
                && !agenda.fetch.iter().any(|(announced, _)| *announced == ticket)
            {
                agenda.fetch.push_back((ticket, queue));
                agenda.something_to_fetch.notify_one();
            }
        } else if !self.has_from(shard, ticket) {
            self.give_back(shard, ticket);
        }
    }

    pub(super) fn something_to_fetch(&self, shard: usize) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.shards.get(shard)?.something_to_fetch))
    }

    /// The next ticket of which something is to be fetched, and from which queue. Those that want nothing more leave the list.
    pub(super) fn next_to_fetch(&mut self, shard: usize) -> Option<(u64, String)> {
        loop {
            let next = self.shards.get(shard)?.fetch.front()?.clone();
            if self.is_wanted(shard, next.0) {
                return Some(next);
            }
            self.shards.get_mut(shard)?.fetch.pop_front();
        }
    }

    pub(super) fn is_to_be_fetched(&self, shard: usize, ticket: u64) -> bool {
        let is_it = |(announced, _): &(u64, String)| *announced == ticket;
        self.shards.get(shard).is_some_and(|agenda| agenda.fetch.iter().any(is_it))
    }

    pub(super) fn forget_announcement(&mut self, shard: usize, ticket: u64) {
        if let Some(agenda) = self.shards.get_mut(shard) {
            agenda.fetch.retain(|(announced, _)| *announced != ticket);
        }
    }

    /// All open tickets that have nothing yet are to be asked for again.
    pub(super) fn ask_again(&mut self, shard: usize) {
        let Some(agenda) = self.shards.get_mut(shard) else { return };
        let open = self.open.iter_mut();
        agenda.ask = open.filter_map(|(ticket, open)| open.unfilled_on(shard).map(|_| *ticket)).collect();
        agenda.urgent |= !agenda.finished.is_empty();
    }

    /// A shard handed an entry to a ticket that has no use for it.
    pub(super) fn give_back(&mut self, shard: usize, ticket: u64) {
        if let Some(agenda) = self.shards.get_mut(shard) {
            agenda.finish(Finished { ticket, delivered: None });
        }
    }

    pub(super) fn nothing_there(&mut self, shard: usize, ticket: u64) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        if let Some((_, part)) = open.unfilled_on(shard) {
            part.nothing = true;
            open.end_if_nowhere();
        }
    }

    /// A ticket that does not wait does without a shard; the last one ends it.
    pub(super) fn skip(&mut self, shard: usize, ticket: u64, error: impl Fn() -> Error) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        if let Some((_, part)) = open.unfilled_on(shard) {
            part.unreachable = true;
        }
        if open.parts.iter().all(|part| part.unreachable) {
            self.fail(ticket, error());
        } else {
            open.end_if_nowhere();
        }
    }

    /// A ticket cannot be served; if a push was faster, it has been.
    pub(super) fn fail_unfilled(&mut self, ticket: u64, error: Error) {
        if self.open.get(&ticket).is_some_and(|open| open.filled.is_none()) {
            self.fail(ticket, error);
        }
    }

    pub(super) fn fail(&mut self, ticket: u64, error: Error) {
        let future = self.open.get_mut(&ticket).and_then(|open| open.future.take());
        self.finish(ticket, false);
        if let Some(future) = future {
            let _ = future.send(Arrival::Failed(error));
        }
    }

    /// Takes a ticket off the list, and notes for each shard what became of it.
    pub(super) fn finish(&mut self, ticket: u64, delivered: bool) -> bool {
        let Some(open) = self.open.remove(&ticket) else { return false };
        for channel in single_readers(&open.parts) {
            self.single_readers.remove(channel);
        }
        if let Some(filled) = open.filled.as_ref().filter(|filled| filled.handed_to != ticket) {
            self.given_on.remove(&(filled.shard, filled.handed_to));
            if let Some(agenda) = self.shards.get_mut(filled.shard) {
                let delivered = delivered.then(|| filled.id.clone());
                agenda.finish(Finished { ticket: filled.handed_to, delivered });
            }
        }
        for part in open.parts.iter().filter(|part| part.asked) {
            let own = open
                .filled
                .as_ref()
                .filter(|filled| filled.shard == part.shard && filled.handed_to == ticket);
            let delivered = own.filter(|_| delivered).map(|filled| filled.id.clone());
            // Who did not wait and got nothing left nothing behind.
            if (delivered.is_some() || !part.nothing)
                && let Some(agenda) = self.shards.get_mut(part.shard)
            {
                agenda.finish(Finished { ticket, delivered });
            }
        }
        true
    }
}

impl Agenda {
    /// What is delivered can be said with the next call; what goes back is said at once.
    pub(super) fn finish(&mut self, finished: Finished) {
        let goes_back = finished.delivered.is_none();
        self.finished.push_back(finished);
        if goes_back {
            self.urgent = true;
        }
        if goes_back || self.finished.len() >= MAX_FINISHED {
            self.something_to_say.notify_one();
        }
    }
}

pub(super) fn single_readers(parts: &[Part]) -> impl Iterator<Item = &ChannelName> {
    let channels = parts.iter().flat_map(|part| part.channels.iter());
    channels.filter(|channel| matches!(channel.kind(), ChannelKind::SingleReader | ChannelKind::Inbox))
}
