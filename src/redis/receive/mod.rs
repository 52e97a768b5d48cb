//! Tickets: every blocked receive of this process, on all shards, and what became of those that are finished.
//!
//! A receive opens a ticket, a number that is never used again. Each shard's task asks [`Tickets::next_call`] what to
//! send to its server and tells [`Tickets::answered`] the reply; what the server pushes goes to [`Tickets::arrived`].
//! The first entry, or of an inbox the first batch, fills the ticket and wakes its future. The future claims it when it is polled; if it is dropped
//! instead, the ticket is released, and the server gives its entry to the next waiter or back to its place.

mod left_over;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

pub(super) use self::state::Received;
use self::state::{
    Agenda, Arrival, MAX_FINISHED, MAX_QUEUES, MAX_TICKETS, Open, Part, State, single_readers,
};
use super::calls::{Finished, Given, Handed, OpenTicket, Outcome};
use super::entry::Entry;
use crate::error::{Error, Result};
use crate::layer::refusals::already_receiving;
pub(super) use crate::layer::refusals::closed;
use crate::name::ChannelName;

/// The tickets of one layer.
#[derive(Debug)]
pub(super) struct Tickets {
    state: Mutex<State>,
}

/// What a shard is told in one call.
#[derive(Debug, Default)]
pub(super) struct NextCall {
    pub(super) finished: Vec<Finished>,
    pub(super) open: Vec<OpenTicket>,
}

impl Tickets {
    pub(super) fn new(shards: usize) -> Self {
        let state = State {
            next: 1,
            open: BTreeMap::new(),
            single_readers: HashSet::new(),
            given_on: HashSet::new(),
            shards: std::iter::repeat_with(Agenda::default).take(shards).collect(),
            closed: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Opens a ticket for one message from any of the channels of each shard.
    pub(super) fn open(
        self: &Arc<Self>,
        channels: impl IntoIterator<Item = (usize, Arc<[ChannelName]>)>,
        waits: bool,
    ) -> Result<Receiving> {
        let parts: Vec<Part> = channels
            .into_iter()
            .map(|(shard, channels)| Part {
                shard,
                channels,
                asked: false,
                nothing: false,
                unreachable: false,
            })
            .collect();
        let (future, arrival) = oneshot::channel();
        let mut state = self.lock();
        if let Some(why) = state.closed {
            return Err(why());
        }
        if let Some(part) = parts.iter().find(|part| part.shard >= state.shards.len()) {
            return Err(no_shard(part.shard));
        }
        for channel in single_readers(&parts) {
            if state.single_readers.contains(channel) {
                return Err(already_receiving(channel));
            }
        }
        state.single_readers.extend(single_readers(&parts).cloned());
        let ticket = state.next;
        state.next += 1;
        let State { shards, open, .. } = &mut *state;
        for part in &parts {
            if let Some(agenda) = shards.get_mut(part.shard) {
                // A server that is down is asked nothing, and is not to be remembered what nobody wants any more.
                if agenda.ask.len() > 2 * open.len() + MAX_TICKETS {
                    agenda.ask.retain(|ticket| open.contains_key(ticket));
                }
                agenda.ask.push_back(ticket);
                agenda.something_to_say.notify_one();
            }
        }
        state.open.insert(ticket, Open { waits, parts, filled: None, future: Some(future) });
        Ok(Receiving { tickets: Arc::clone(self), ticket, arrival, ended: false })
    }

    /// What wakes the task of a shard.
    pub(super) fn something_to_say(&self, shard: usize) -> Result<Arc<Notify>> {
        let state = self.lock();
        let agenda = state.shards.get(shard).ok_or_else(|| no_shard(shard))?;
        Ok(Arc::clone(&agenda.something_to_say))
    }

    /// The number of the ticket that was opened last.
    pub(super) fn newest(&self) -> u64 {
        self.lock().next - 1
    }

    /// Whether a shard was not told yet what became of tickets it knows.
    pub(super) fn owes(&self, shard: usize) -> bool {
        self.lock().shards.get(shard).is_some_and(|agenda| !agenda.finished.is_empty())
    }

    /// What to send to a shard next; nothing if it can wait for the next beat.
    ///
    /// Only one call may be under way at a time.
    pub(super) fn next_call(&self, shard: usize) -> Option<NextCall> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let agenda = state.shards.get_mut(shard)?;
        if agenda.ask.is_empty() && !agenda.urgent && agenda.finished.len() < MAX_FINISHED {
            return None;
        }
        let finished: Vec<Finished> = agenda.finished.iter().take(MAX_FINISHED).cloned().collect();
        let mut call = NextCall { finished, open: Vec::new() };
        if call.finished.len() < agenda.finished.len() {
            // A ticket must not overtake the release of an earlier one on the same channel.
            return Some(call);
        }
        agenda.urgent = false;
        let mut queues = 0;
        while let Some(ticket) = agenda.ask.front() {
            let Some((waits, part)) = state.open.get_mut(ticket).and_then(|open| open.unfilled_on(shard))
            else {
                agenda.ask.pop_front();
                continue;
            };
            queues += part.channels.len();
            if call.open.len() == MAX_TICKETS || (queues > MAX_QUEUES && !call.open.is_empty()) {
                break;
            }
            part.asked = true;
            // Who waits asks again where it was denied a right.
            part.unreachable &= !waits;
            call.open.push(OpenTicket { ticket: *ticket, waits, channels: Arc::clone(&part.channels) });
            agenda.ask.pop_front();
        }
        (!call.finished.is_empty() || !call.open.is_empty()).then_some(call)
    }

    /// Asks again for all open tickets without an entry: after a reconnection, and at every beat, as what was pushed
    /// may have been lost on the way.
    pub(super) fn ask_again(&self, shard: usize) {
        self.lock().ask_again(shard);
    }

    /// The server answered a call: it knows what was finished, looked at the first `served` of the open tickets, and
    /// gave some of them something.
    pub(super) fn answered(
        &self,
        shard: usize,
        call: &NextCall,
        served: usize,
        given: Vec<Given>,
        failed: impl Fn(&str) -> Error,
    ) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(agenda) = state.shards.get_mut(shard) {
            agenda.finished.drain(..call.finished.len().min(agenda.finished.len()));
            for unserved in call.open.iter().skip(served).rev() {
                agenda.ask.push_front(unserved.ticket);
            }
        }
        let mut left_over = Vec::new();
        for given in given {
            match given.outcome {
                Outcome::Handed(handed) => {
                    left_over.extend(state.fill(shard, given.ticket, handed).map(|it| (given.ticket, it)));
                }
                Outcome::Announced(queue) => state.announce(shard, given.ticket, queue),
                Outcome::Failed(text) => state.fail_unfilled(given.ticket, failed(&text)),
            }
        }
        if !left_over.is_empty() {
            state.give_on(shard, left_over);
        }
        for served in call.open.iter().take(served).filter(|open| !open.waits) {
            if !state.is_to_be_fetched(shard, served.ticket) {
                state.nothing_there(shard, served.ticket);
            }
        }
    }

    /// The server refused a call: what these tickets asked for is not to be had.
    pub(super) fn failed(&self, tickets: impl IntoIterator<Item = u64>, error: impl Fn() -> Error) {
        let mut state = self.lock();
        for ticket in tickets {
            state.fail_unfilled(ticket, error());
        }
    }

    /// The server denies its user a right: it counts as down for who can be served by others, and fails the rest.
    pub(super) fn denied(
        &self,
        shard: usize,
        tickets: impl IntoIterator<Item = u64>,
        error: impl Fn() -> Error,
    ) {
        let mut state = self.lock();
        for ticket in tickets {
            state.skip(shard, ticket, &error);
        }
    }

    /// The server pushed an entry that it handed to a ticket.
    pub(super) fn arrived(&self, shard: usize, ticket: u64, handed: Handed) {
        let mut state = self.lock();
        if state.fill(shard, ticket, handed).is_some() {
            state.give_back(shard, ticket);
        }
    }

    /// The server handed an entry to a ticket, and did not push it because it is large: the ticket is asked for at once.
    pub(super) fn announced(&self, shard: usize, ticket: u64) {
        let mut state = self.lock();
        if state.is_wanted(shard, ticket) {
            state.ask_first(shard, ticket);
        } else if !state.has_from(shard, ticket) {
            state.give_back(shard, ticket);
        }
    }

    /// Waits for a ticket of which a reply only announced what it was handed, and the queue of that.
    ///
    /// Cancel-safe: the ticket stays on the list until it is [`fetched`](Self::fetched), or wants nothing more.
    pub(super) async fn to_fetch(&self, shard: usize) -> (u64, String) {
        loop {
            let Some(something_to_fetch) = self.lock().something_to_fetch(shard) else {
                // No agenda, no announcements.
                return std::future::pending().await;
            };
            if let Some(next) = self.lock().next_to_fetch(shard) {
                return next;
            }
            something_to_fetch.notified().await;
        }
    }

    /// What was announced for a ticket came.
    pub(super) fn fetched(&self, shard: usize, ticket: u64, handed: Handed) {
        self.lock().forget_announcement(shard, ticket);
        self.arrived(shard, ticket, handed);
    }

    /// What was announced for a ticket is not there any more: the ticket is asked for again.
    pub(super) fn not_there(&self, shard: usize, ticket: u64) {
        let mut state = self.lock();
        state.forget_announcement(shard, ticket);
        if state.is_wanted(shard, ticket) {
            state.ask_first(shard, ticket);
        }
    }

    /// The server has records of these tickets. Those that nobody here knows came back with an older state of it: what
    /// they were handed is given back, and they wait no more. All open tickets are asked for again: an entry of an inbox that
    /// was handed to an unknown ticket stays in the inbox, and nobody is told of it.
    pub(super) fn recorded(&self, shard: usize, tickets: &[u64]) {
        let mut state = self.lock();
        let unknown: Vec<u64> =
            tickets.iter().copied().filter(|ticket| !state.knows(shard, *ticket)).collect();
        for ticket in &unknown {
            state.give_back(shard, *ticket);
        }
        if !unknown.is_empty() {
            state.ask_again(shard);
        }
    }

    /// A shard cannot be asked for one ticket: if that does not wait it takes what others have, or is told so.
    pub(super) fn unreachable_for(&self, shard: usize, ticket: u64, error: impl Fn() -> Error) {
        let mut state = self.lock();
        if state.open.get(&ticket).is_some_and(|open| !open.waits) {
            state.skip(shard, ticket, error);
        }
    }

    /// A shard cannot be asked now: who does not wait takes what others have, or is told so.
    pub(super) fn unreachable(&self, shard: usize, error: impl Fn() -> Error) {
        let mut state = self.lock();
        let impatient: Vec<u64> = state
            .open
            .iter_mut()
            .filter_map(|(ticket, open)| {
                (!open.waits && open.unfilled_on(shard).is_some()).then_some(*ticket)
            })
            .collect();
        for ticket in impatient {
            state.skip(shard, ticket, &error);
        }
    }

    /// Ends all receives, and lets no new one begin.
    pub(super) fn close(&self) {
        self.end(closed);
    }

    /// Ends all receives with this error, and lets no new one begin. The first reason stays.
    pub(super) fn end(&self, why: fn() -> Error) {
        let mut state = self.lock();
        let why = *state.closed.get_or_insert(why);
        let open: Vec<u64> = state.open.keys().copied().collect();
        for ticket in open {
            state.fail(ticket, why());
        }
        for agenda in &mut state.shards {
            agenda.urgent = true;
        }
    }

    /// The future of a ticket returns its entry now; false if the ticket was ended meanwhile.
    fn deliver(&self, ticket: u64) -> bool {
        self.lock().finish(ticket, true)
    }

    /// The future of a ticket was dropped.
    fn release(&self, ticket: u64) {
        self.lock().finish(ticket, false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard of which there is no agenda: who asks for it would wait for ever.
fn no_shard(shard: usize) -> Error {
    Error::bug(format_args!("the tickets know no shard {shard}"))
}

/// A receive under way. Dropping it gives back what it was handed.
#[derive(Debug)]
pub(super) struct Receiving {
    tickets: Arc<Tickets>,
    ticket: u64,
    arrival: oneshot::Receiver<Arrival>,
    ended: bool,
}

impl Receiving {
    /// Waits for the message; `None` when the ticket does not wait and nothing was there.
    ///
    /// Cancel-safe: nothing is delivered before [`claim`](Self::claim).
    pub(super) async fn message(&mut self) -> Result<Option<Received>> {
        match (&mut self.arrival).await {
            Ok(Arrival::Message(received)) => Ok(Some(received)),
            Ok(Arrival::Nothing) => Ok(None),
            Ok(Arrival::Failed(error)) => Err(error),
            // Inboxes have tickets of their own.
            Ok(Arrival::Batch(_)) => Err(Error::bug("a receive of channels was given a batch of an inbox")),
            Err(_) => Err(Error::bug("a ticket ended without a word to its receive")),
        }
    }

    /// The message that came is returned now: it counts as delivered. An error if the receive was ended meanwhile.
    pub(super) fn claim(mut self) -> Result<()> {
        self.ended = true;
        if self.tickets.deliver(self.ticket) { Ok(()) } else { Err(closed()) }
    }

    /// Waits for the batch of an inbox, which stays there until it is acknowledged.
    ///
    /// Cancel-safe: nothing is delivered before [`acknowledge`](Self::acknowledge).
    pub(super) async fn batch(&mut self) -> Result<Vec<Entry>> {
        match (&mut self.arrival).await {
            Ok(Arrival::Batch(entries)) => Ok(entries),
            Ok(Arrival::Failed(error)) => Err(error),
            Ok(Arrival::Message(_) | Arrival::Nothing) => {
                Err(Error::bug("the reader of an inbox was given no batch"))
            }
            Err(_) => Err(Error::bug("a ticket ended without a word to its reader")),
        }
    }

    /// The entries of a batch are where they belong: with its next call the server removes them.
    pub(super) fn acknowledge(mut self) {
        self.ended = true;
        self.tickets.deliver(self.ticket);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.ended {
            self.tickets.release(self.ticket);
        }
    }
}
