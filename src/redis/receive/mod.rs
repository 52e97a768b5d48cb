//! Tickets: every blocked receive of this process, on all shards, and what became of those that are finished.
//!
//! A receive opens a ticket, a number that is never used again. Each shard's task asks [`Tickets::next_call`] what to
//! send to its server and tells [`Tickets::answered`] the reply; what the server pushes goes to [`Tickets::arrived`].
//! The first entry, or of an inbox the first batch, fills the ticket and wakes its future. The future claims it when it is polled; if it is dropped
//! instead, the ticket is released, and the server gives its entry to the next waiter or back to its place.

mod left_over;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::calls::{Finished, Given, Handed, OpenTicket};
use super::entry::{Entry, EntryId};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::refusals::already_receiving;
pub(super) use crate::layer::refusals::closed;
use crate::name::{ChannelKind, ChannelName};

/// The most of each that one call carries: Lua can unpack some 8,000 values, and a long script blocks the server.
const MOST_TICKETS: usize = 500;
const MOST_QUEUES: usize = 2000;
const MOST_FINISHED: usize = 500;

/// The tickets of one layer.
#[derive(Debug)]
pub(super) struct Tickets {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    open: BTreeMap<u64, Open>,
    /// The `?` channels and inboxes that have an open ticket: two could reorder when one is cancelled.
    single_readers: HashSet<ChannelName>,
    /// Tickets and the shards on which another ticket has what was handed to them.
    given_on: HashSet<(usize, u64)>,
    shards: Vec<Agenda>,
    /// Why no receive may begin any more.
    closed: Option<fn() -> Error>,
}

/// What is to be said to one shard.
#[derive(Debug, Default)]
struct Agenda {
    /// Tickets to ask for.
    ask: VecDeque<u64>,
    /// Stays here until the reply to a call that carried it has come.
    finished: VecDeque<Finished>,
    /// Whether to call although there is nothing to ask for: something goes back.
    urgent: bool,
    /// Wakes the shard's task.
    something_to_say: Arc<Notify>,
}

#[derive(Debug)]
struct Open {
    waits: bool,
    places: Vec<Place>,
    filled: Option<Filled>,
    future: Option<oneshot::Sender<Arrival>>,
}

/// The entry of a ticket.
#[derive(Debug)]
struct Filled {
    shard: usize,
    id: EntryId,
    /// The ticket to which the shard handed it: mostly the same one.
    handed_to: u64,
}

/// A ticket's part on one shard.
#[derive(Debug)]
struct Place {
    shard: usize,
    channels: Arc<[ChannelName]>,
    /// Whether the server may know the ticket.
    asked: bool,
    /// Whether the server said that nothing waits, for a ticket that does not wait either.
    nothing: bool,
    /// Whether the server cannot be asked, by a ticket that does not wait until it can.
    unreachable: bool,
}

/// A message that came for a receive, from a shard at some time.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) shard: usize,
    pub(super) at: Instant,
    pub(super) channel: ChannelName,
    pub(super) entry: Entry,
}

/// What ends a receive.
#[derive(Debug)]
enum Arrival {
    Message(Received),
    Batch(Vec<Entry>),
    Nothing,
    Failed(Error),
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
        let places: Vec<Place> = channels
            .into_iter()
            .map(|(shard, channels)| Place {
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
        for channel in single_readers(&places) {
            if state.single_readers.contains(channel) {
                return Err(already_receiving(channel));
            }
        }
        state.single_readers.extend(single_readers(&places).cloned());
        let ticket = state.next;
        state.next += 1;
        let State { shards, open, .. } = &mut *state;
        for place in &places {
            if let Some(agenda) = shards.get_mut(place.shard) {
                // A server that is down is asked nothing, and is not to be remembered what nobody wants any more.
                if agenda.ask.len() > 2 * open.len() + MOST_TICKETS {
                    agenda.ask.retain(|ticket| open.contains_key(ticket));
                }
                agenda.ask.push_back(ticket);
                agenda.something_to_say.notify_one();
            }
        }
        state.open.insert(ticket, Open { waits, places, filled: None, future: Some(future) });
        Ok(Receiving { tickets: Arc::clone(self), ticket, arrival, ended: false })
    }

    /// What wakes the task of a shard.
    pub(super) fn something_to_say(&self, shard: usize) -> Arc<Notify> {
        self.lock().shards.get(shard).map(|agenda| Arc::clone(&agenda.something_to_say)).unwrap_or_default()
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
        if agenda.ask.is_empty() && !agenda.urgent && agenda.finished.len() < MOST_FINISHED {
            return None;
        }
        let finished: Vec<Finished> = agenda.finished.iter().take(MOST_FINISHED).cloned().collect();
        let mut call = NextCall { finished, open: Vec::new() };
        if call.finished.len() < agenda.finished.len() {
            // A ticket must not overtake the release of an earlier one on the same channel.
            return Some(call);
        }
        agenda.urgent = false;
        let mut queues = 0;
        while let Some(ticket) = agenda.ask.front() {
            let Some((open, place)) = state.open.get_mut(ticket).and_then(|open| open.unfilled_on(shard))
            else {
                agenda.ask.pop_front();
                continue;
            };
            queues += place.channels.len();
            if call.open.len() == MOST_TICKETS || (queues > MOST_QUEUES && !call.open.is_empty()) {
                break;
            }
            place.asked = true;
            call.open.push(OpenTicket {
                ticket: *ticket,
                waits: open,
                channels: Arc::clone(&place.channels),
            });
            agenda.ask.pop_front();
        }
        (!call.finished.is_empty() || !call.open.is_empty()).then_some(call)
    }

    /// Asks again for all open tickets without an entry: after a reconnection, and at every beat, as what was pushed
    /// may have been lost on the way.
    pub(super) fn ask_again(&self, shard: usize) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(agenda) = state.shards.get_mut(shard) else { return };
        let open = state.open.iter_mut();
        agenda.ask = open.filter_map(|(ticket, open)| open.unfilled_on(shard).map(|_| *ticket)).collect();
        agenda.urgent |= !agenda.finished.is_empty();
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
                Ok(handed) => {
                    left_over.extend(state.fill(shard, given.ticket, handed).map(|it| (given.ticket, it)));
                }
                Err(text) => state.fail_unfilled(given.ticket, failed(&text)),
            }
        }
        if !left_over.is_empty() {
            state.give_on(shard, left_over);
        }
        for served in call.open.iter().take(served).filter(|open| !open.waits) {
            state.nothing_there(shard, served.ticket);
        }
    }

    /// The server refused a call: what it asked for is not to be had.
    pub(super) fn failed(&self, call: &NextCall, error: impl Fn() -> Error) {
        let mut state = self.lock();
        for open in &call.open {
            state.fail_unfilled(open.ticket, error());
        }
    }

    /// The server pushed an entry that it handed to a ticket.
    pub(super) fn arrived(&self, shard: usize, ticket: u64, handed: Handed) {
        let mut state = self.lock();
        if state.fill(shard, ticket, handed).is_some() {
            state.give_back(shard, ticket);
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

impl Open {
    /// Whether it waits, and its part on a shard, if it still wants something from there.
    fn unfilled_on(&mut self, shard: usize) -> Option<(bool, &mut Place)> {
        if self.filled.is_some() {
            return None;
        }
        let waits = self.waits;
        // Skips shards that already answered "empty": an entry they handed over later would have no receiver.
        self.place_on(shard).filter(|place| !place.nothing).map(|place| (waits, place))
    }

    fn place_on(&mut self, shard: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.shard == shard)
    }

    /// Tells the future that nothing was there, once that is so of every place.
    fn end_if_nowhere(&mut self) {
        if self.places.iter().all(|place| place.nothing || place.unreachable)
            && let Some(future) = self.future.take()
        {
            // A dropped future releases its ticket itself.
            let _ = future.send(Arrival::Nothing);
        }
    }
}

impl State {
    /// An entry came for a ticket, in a reply or pushed. Returns it if the ticket has no use for it.
    fn fill(&mut self, shard: usize, ticket: u64, handed: Handed) -> Option<Handed> {
        if self.given_on.contains(&(shard, ticket)) {
            // It came both ways.
            return None;
        }
        match self.open.get(&ticket).map(|open| &open.filled) {
            // It came both ways, or is another one after data loss: the acknowledgement will name the one we have.
            Some(Some(filled)) if filled.shard == shard && filled.handed_to == ticket => None,
            Some(None) => {
                self.fill_with(ticket, shard, ticket, handed);
                None
            }
            _ => Some(handed),
        }
    }

    /// Fills an open ticket with what a shard handed to it, or to another one.
    fn fill_with(&mut self, ticket: u64, shard: usize, handed_to: u64, handed: Handed) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        open.filled = Some(Filled { shard, id: handed.last_id(), handed_to });
        let Handed { queue, first, mut more } = handed;
        let mut channels =
            open.places.iter().filter(|place| place.shard == shard).flat_map(|p| p.channels.iter());
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

    /// A shard handed an entry to a ticket that has no use for it.
    fn give_back(&mut self, shard: usize, ticket: u64) {
        if let Some(agenda) = self.shards.get_mut(shard) {
            agenda.finish(Finished { ticket, delivered: None });
        }
    }

    fn nothing_there(&mut self, shard: usize, ticket: u64) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        if let Some((_, place)) = open.unfilled_on(shard) {
            place.nothing = true;
            open.end_if_nowhere();
        }
    }

    /// A ticket that does not wait does without a shard; the last one ends it.
    fn skip(&mut self, shard: usize, ticket: u64, error: impl Fn() -> Error) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        if let Some((_, place)) = open.unfilled_on(shard) {
            place.unreachable = true;
        }
        if open.places.iter().all(|place| place.unreachable) {
            self.fail(ticket, error());
        } else {
            open.end_if_nowhere();
        }
    }

    /// A ticket cannot be served; if a push was faster, it has been.
    fn fail_unfilled(&mut self, ticket: u64, error: Error) {
        if self.open.get(&ticket).is_some_and(|open| open.filled.is_none()) {
            self.fail(ticket, error);
        }
    }

    fn fail(&mut self, ticket: u64, error: Error) {
        let future = self.open.get_mut(&ticket).and_then(|open| open.future.take());
        self.finish(ticket, false);
        if let Some(future) = future {
            let _ = future.send(Arrival::Failed(error));
        }
    }

    /// Takes a ticket off the list, and notes for each shard what became of it.
    fn finish(&mut self, ticket: u64, delivered: bool) -> bool {
        let Some(open) = self.open.remove(&ticket) else { return false };
        for channel in single_readers(&open.places) {
            self.single_readers.remove(channel);
        }
        if let Some(filled) = open.filled.as_ref().filter(|filled| filled.handed_to != ticket) {
            self.given_on.remove(&(filled.shard, filled.handed_to));
            if let Some(agenda) = self.shards.get_mut(filled.shard) {
                let delivered = delivered.then(|| filled.id.clone());
                agenda.finish(Finished { ticket: filled.handed_to, delivered });
            }
        }
        for place in open.places.iter().filter(|place| place.asked) {
            let own = open
                .filled
                .as_ref()
                .filter(|filled| filled.shard == place.shard && filled.handed_to == ticket);
            let delivered = own.filter(|_| delivered).map(|filled| filled.id.clone());
            // Who did not wait and got nothing left nothing behind.
            if (delivered.is_some() || !place.nothing)
                && let Some(agenda) = self.shards.get_mut(place.shard)
            {
                agenda.finish(Finished { ticket, delivered });
            }
        }
        true
    }
}

impl Agenda {
    /// What is delivered can be said with the next call; what goes back is said at once.
    fn finish(&mut self, finished: Finished) {
        let goes_back = finished.delivered.is_none();
        self.finished.push_back(finished);
        if goes_back {
            self.urgent = true;
        }
        if goes_back || self.finished.len() >= MOST_FINISHED {
            self.something_to_say.notify_one();
        }
    }
}

fn single_readers(places: &[Place]) -> impl Iterator<Item = &ChannelName> {
    let channels = places.iter().flat_map(|place| place.channels.iter());
    channels.filter(|channel| matches!(channel.kind(), ChannelKind::SingleReader | ChannelKind::Inbox))
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
    /// Cancel-safe: the message counts as delivered in the same poll in which it is returned.
    pub(super) async fn message(mut self) -> Result<Option<Received>> {
        match (&mut self.arrival).await {
            Ok(Arrival::Message(received)) => {
                self.ended = true;
                if self.tickets.deliver(self.ticket) { Ok(Some(received)) } else { Err(closed()) }
            }
            Ok(Arrival::Nothing) => Ok(None),
            Ok(Arrival::Failed(error)) => Err(error),
            // Inboxes have tickets of their own.
            Ok(Arrival::Batch(_)) => Err(Error::bug("a receive of channels was given a batch of an inbox")),
            Err(_) => Err(Error::bug("a ticket ended without a word to its receive")),
        }
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
