//! Receives that wait: each has a ticket, stands in the lines of its channels, and is handed the first message that comes
//! to one of them. It returns that when it is polled; if it is dropped instead, the message goes to the next in line or
//! back to its place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::queue::Entry;
use super::store::{ClientId, State};
use crate::error::Result;
use crate::layer::refusals::{already_receiving, closed};
use crate::layer::sources::turn;
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// All receives that wait.
#[derive(Debug, Default)]
pub(super) struct Receives {
    next: u64,
    waiting: HashMap<u64, Waiting>,
    /// The `?` channels on which a receive waits, by the client that receives.
    single_readers: HashSet<(ClientId, ChannelName)>,
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
    Taken(ChannelName, PackedMessage),
    /// Nothing is there; if it is to wait, it has this ticket.
    Nothing(Option<u64>),
}

impl State {
    /// Takes the next message of any of the channels, or lets the receive wait.
    pub(super) fn begin_receive(
        &mut self,
        client: ClientId,
        channels: &Arc<[ChannelName]>,
        waits: bool,
    ) -> Result<Begun> {
        for channel in single_readers(channels) {
            if self.receives.single_readers.contains(&(client, channel.clone())) {
                return Err(already_receiving(channel));
            }
        }
        let now = Instant::now();
        let ticket = self.receives.next;
        self.receives.next += 1;
        // Looked at from another one each time, so that a busy channel does not starve the others.
        let (before, from) = channels.split_at_checked(turn(ticket, channels.len())).unwrap_or_default();
        for channel in from.iter().chain(before) {
            if let Some(entry) = self.queues.get_mut(channel).and_then(|queue| queue.take(now)) {
                return Ok(Begun::Taken(channel.clone(), entry.message));
            }
        }
        if !waits {
            return Ok(Begun::Nothing(None));
        }
        for channel in channels.iter() {
            self.queue(channel).line.insert(ticket);
        }
        self.receives
            .single_readers
            .extend(single_readers(channels).map(|channel| (client, channel.clone())));
        let waiting = Waiting { client, channels: Arc::clone(channels), arrival: None, waker: None };
        self.receives.waiting.insert(ticket, waiting);
        Ok(Begun::Nothing(Some(ticket)))
    }

    /// Hands a message to the receive that waits longest for its channel; gives it back if none does.
    pub(super) fn hand_over(&mut self, channel: &ChannelName, entry: Entry) -> Result<(), Entry> {
        let Some(ticket) = self.queues.get_mut(channel).and_then(|queue| queue.line.pop_first()) else {
            return Err(entry);
        };
        let arrival = Arrival::Message(channel.clone(), entry);
        self.end_waiting(ticket, arrival);
        Ok(())
    }

    /// What a receive was handed, once it was.
    pub(super) fn poll_receive(
        &mut self,
        ticket: u64,
        context: &Context<'_>,
    ) -> Poll<Result<(ChannelName, PackedMessage)>> {
        let Some(waiting) = self.receives.waiting.get_mut(&ticket) else {
            return Poll::Ready(Err(closed()));
        };
        let Some(arrival) = waiting.arrival.take() else {
            if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                waiting.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        };
        self.forget(ticket);
        Poll::Ready(match arrival {
            Arrival::Message(channel, entry) => Ok((channel, entry.message)),
            Arrival::Closed => Err(closed()),
        })
    }

    /// A receive was dropped: what it was handed goes to the next, or back.
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
        let of_client = self.receives.waiting.iter().filter(|(_, waiting)| waiting.client == client);
        let tickets: Vec<u64> = of_client.map(|(ticket, _)| *ticket).collect();
        let mut handed = Vec::new();
        for ticket in tickets {
            let arrival = self.receives.waiting.get_mut(&ticket).and_then(|waiting| waiting.arrival.take());
            if let Some(Arrival::Message(channel, entry)) = arrival {
                handed.push((channel, entry));
            }
            self.end_waiting(ticket, Arrival::Closed);
        }
        // Only now, or one that is to end could be handed what another gave back.
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

    /// A receive waits no longer; its future is told why.
    fn end_waiting(&mut self, ticket: u64, arrival: Arrival) {
        let Some(waiting) = self.receives.waiting.get_mut(&ticket) else { return };
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
        let waiting = self.receives.waiting.remove(&ticket)?;
        for channel in single_readers(&waiting.channels) {
            self.receives.single_readers.remove(&(waiting.client, channel.clone()));
        }
        Some(waiting)
    }
}

fn single_readers(channels: &[ChannelName]) -> impl Iterator<Item = &ChannelName> {
    channels.iter().filter(|channel| channel.kind() == ChannelKind::SingleReader)
}
