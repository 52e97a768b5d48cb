//! All queues, and the receives that wait on them.
//!
//! A receive that waits has a ticket, and its ticket stands in the line of each of its channels. The first message to one of
//! them is handed to the receive, which returns it at its next poll. If the receive is dropped instead, the message goes to
//! the next in line, or back to its place.

use std::collections::{HashMap, HashSet, hash_map};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::queue::{Entry, Queue};
use crate::error::{Error, Result};
use crate::layer::refusals::{already_receiving, closed};
use crate::layer::sources::turn;
use crate::message::delivery::Delivery;
use crate::name::{ChannelKind, ChannelName};

/// One client of a store, as a process is one of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientId(pub(super) u64);

/// All queues, and the receives that wait on them.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<ChannelName, Queue>,
    next_ticket: u64,
    waiting: HashMap<u64, Waiting>,
    /// The `?` channels on which a receive waits, by the client that receives.
    single_readers: HashSet<(ClientId, ChannelName)>,
    /// The receives to wake when the lock is free.
    to_wake: Vec<Waker>,
    /// How many queues were made since [`take_made`](Self::take_made) was called.
    made: usize,
}

#[derive(Debug)]
struct Waiting {
    client: ClientId,
    channels: Arc<[ChannelName]>,
    arrival: Option<Arrival>,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Arrival {
    Message(ChannelName, Entry),
    Closed,
}

/// How a receive begins.
#[derive(Debug)]
pub(super) enum Begun {
    Taken(Delivery),
    /// No message is there. A receive that waits has this ticket.
    Nothing(Option<u64>),
}

impl Queues {
    /// Returns the queue of a channel. Makes it if it is not there.
    fn queue(&mut self, channel: &ChannelName) -> &mut Queue {
        match self.queues.entry(channel.clone()) {
            hash_map::Entry::Occupied(queue) => queue.into_mut(),
            hash_map::Entry::Vacant(vacant) => {
                self.made += 1;
                vacant.insert(Queue::default())
            }
        }
    }

    /// Returns the queue of a channel, or `None` if nothing waits there.
    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Queue> {
        self.queues.get(channel)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// Appends a message. Fails if the queue is full, with the number of messages that wait in it.
    pub(super) fn push(&mut self, channel: &ChannelName, entry: Entry, capacity: usize) -> Result<(), usize> {
        let now = entry.sent;
        self.queue(channel).push(entry, capacity, now)
    }

    /// Drops expired messages and idle queues. Returns the weight of what is left.
    pub(super) fn sweep(&mut self, now: Instant) -> usize {
        let mut left = 0;
        self.queues.retain(|_, queue| {
            queue.drop_expired(now);
            left += 1 + queue.live(now).map(Entry::weight).sum::<usize>();
            !queue.is_idle()
        });
        left
    }

    /// Drops all messages. Receives that wait go on waiting.
    pub(super) fn clear(&mut self) {
        for queue in self.queues.values_mut() {
            queue.clear();
        }
    }

    /// Returns how many queues were made since the last call.
    pub(super) fn take_made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }

    /// Returns the receives that are to be woken.
    pub(super) fn take_to_wake(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.to_wake)
    }

    /// How many queues there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Takes the next message of any of the channels, or lets the receive wait.
    pub(super) fn begin_receive(
        &mut self,
        client: ClientId,
        channels: &Arc<[ChannelName]>,
        waits: bool,
    ) -> Result<Begun> {
        for channel in single_readers(channels) {
            if self.single_readers.contains(&(client, channel.clone())) {
                return Err(already_receiving(channel));
            }
        }
        let now = Instant::now();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        // Each receive begins at another channel, so that a busy channel does not starve the others.
        let (before, from) = channels.split_at(turn(ticket, channels.len()));
        for channel in from.iter().chain(before) {
            if let Some(entry) = self.queues.get_mut(channel).and_then(|queue| queue.take(now)) {
                return Ok(Begun::Taken(delivery(channel.clone(), entry)));
            }
        }
        if !waits {
            return Ok(Begun::Nothing(None));
        }
        for channel in channels.iter() {
            self.queue(channel).line.insert(ticket);
        }
        self.single_readers.extend(single_readers(channels).map(|channel| (client, channel.clone())));
        let waiting = Waiting { client, channels: Arc::clone(channels), arrival: None, waker: None };
        self.waiting.insert(ticket, waiting);
        Ok(Begun::Nothing(Some(ticket)))
    }

    /// Hands a message to the receive that has waited longest on its channel. Gives the message back if none waits.
    pub(super) fn hand_over(&mut self, channel: &ChannelName, entry: Entry) -> Result<(), Entry> {
        let Some(ticket) = self.queues.get_mut(channel).and_then(|queue| queue.line.pop_first()) else {
            return Err(entry);
        };
        let arrival = Arrival::Message(channel.clone(), entry);
        self.end_waiting(ticket, arrival);
        Ok(())
    }

    /// Returns what a receive was handed, once it was.
    pub(super) fn poll_receive(&mut self, ticket: u64, context: &Context<'_>) -> Poll<Result<Delivery>> {
        let Some(waiting) = self.waiting.get_mut(&ticket) else {
            return Poll::Ready(Err(Error::bug(format_args!(
                "ticket {ticket} in memory is polled, and is gone"
            ))));
        };
        let Some(arrival) = waiting.arrival.take() else {
            if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                waiting.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        self.forget(ticket);
        Poll::Ready(match arrival {
            Arrival::Message(channel, entry) => Ok(delivery(channel, entry)),
            Arrival::Closed => Err(closed()),
        })
    }

    /// Forgets a receive that was dropped. What it was handed goes to the next in line, or back to its place. Does nothing
    /// after a receive that has returned.
    pub(super) fn release(&mut self, ticket: u64) {
        let Some(waiting) = self.forget(ticket) else { return };
        match waiting.arrival {
            None => self.leave_lines(ticket, &waiting.channels),
            Some(Arrival::Message(channel, entry)) => self.put_back(&channel, entry),
            Some(Arrival::Closed) => {}
        }
    }

    /// Ends all receives of a client that was closed.
    pub(super) fn end_receives(&mut self, client: ClientId) {
        let of_client = self.waiting.iter().filter(|(_, waiting)| waiting.client == client);
        let tickets: Vec<u64> = of_client.map(|(ticket, _)| *ticket).collect();
        let mut handed = Vec::new();
        for ticket in tickets {
            let arrival = self.waiting.get_mut(&ticket).and_then(|waiting| waiting.arrival.take());
            if let Some(Arrival::Message(channel, entry)) = arrival {
                handed.push((channel, entry));
            }
            self.end_waiting(ticket, Arrival::Closed);
        }
        // Only now: a receive that is to end must not be handed what another one gave back.
        for (channel, entry) in handed {
            self.put_back(&channel, entry);
        }
    }

    fn put_back(&mut self, channel: &ChannelName, entry: Entry) {
        if entry.is_live(Instant::now())
            && let Err(entry) = self.hand_over(channel, entry)
        {
            self.queue(channel).put_back(entry);
        }
    }

    /// Ends the waiting of a receive, and has it polled.
    #[expect(clippy::expect_used, reason = "a ticket leaves all lines before its receive is forgotten")]
    fn end_waiting(&mut self, ticket: u64, arrival: Arrival) {
        let waiting =
            self.waiting.get_mut(&ticket).expect("a ticket in a line is that of a receive that waits");
        waiting.arrival = Some(arrival);
        let waker = waiting.waker.take();
        let channels = Arc::clone(&waiting.channels);
        self.leave_lines(ticket, &channels);
        if let Some(waker) = waker {
            self.to_wake.push(waker);
        }
    }

    fn leave_lines(&mut self, ticket: u64, channels: &[ChannelName]) {
        for channel in channels {
            if let Some(queue) = self.queues.get_mut(channel) {
                queue.line.remove(&ticket);
            }
        }
    }

    fn forget(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        for channel in single_readers(&waiting.channels) {
            self.single_readers.remove(&(waiting.client, channel.clone()));
        }
        Some(waiting)
    }
}

fn delivery(channel: ChannelName, entry: Entry) -> Delivery {
    Delivery::expiring(channel, entry.message, Some(entry.deadline))
}

fn single_readers(channels: &[ChannelName]) -> impl Iterator<Item = &ChannelName> {
    channels.iter().filter(|channel| channel.kind() == ChannelKind::SingleReader)
}
