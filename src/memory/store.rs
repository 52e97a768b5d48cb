//! What all clients of a memory layer share, under one lock: queues, receives that wait, inboxes and groups.
//!
//! The lock is never held over an await, and receives that wait are woken after it. Mailboxes have locks of their own, and
//! are given messages under this one, by which their readers are woken.

use std::collections::{HashMap, hash_map};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::groups::Groups;
use super::inboxes::PrefixQueue;
use super::queue::{Entry, Queue};
use super::receives::Receives;
use super::statistics::{ChannelStatistics, MemoryStatistics};
use crate::error::Result;
use crate::layer::refusals::channel_full;
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// The least work between two sweeps, in messages.
const LEAST_WORK: usize = 4096;
/// So many bytes are as much work as one message more.
const BYTES_A_MESSAGE: usize = 4096;

/// One client of a store, as a process would be of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientId(u64);

#[derive(Debug, Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: HashMap<ChannelName, Queue>,
    pub(super) receives: Receives,
    /// By their names, which end in `!`; with those that nobody has opened, but somebody has sent to.
    pub(super) inboxes: HashMap<Arc<str>, PrefixQueue>,
    pub(super) groups: Groups,
    /// Those who are to be woken when the lock is free.
    pub(super) to_wake: Vec<Waker>,
    clients: u64,
    next_entry: u64,
    /// What was added since all that had expired was dropped, and what was there then.
    work: usize,
    work_at_sweep: usize,
    sent: u64,
    refused: u64,
}

impl Store {
    /// Does something with all of it, then wakes those whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // No code that holds the lock can panic halfway through a change.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut state);
        if state.to_wake.is_empty() {
            return done;
        }
        let to_wake = std::mem::take(&mut state.to_wake);
        drop(state);
        for waker in to_wake {
            waker.wake();
        }
        done
    }
}

impl State {
    pub(super) fn new_client(&mut self) -> ClientId {
        self.clients += 1;
        ClientId(self.clients)
    }

    /// Sends one message to one channel.
    pub(super) fn send(
        &mut self,
        channel: &ChannelName,
        message: PackedMessage,
        expiry: Duration,
        capacity: usize,
    ) -> Result<()> {
        let entry = self.new_entry(message, expiry);
        let sent = if channel.kind() == ChannelKind::ProcessSpecific {
            self.send_to_inbox(channel, entry, capacity)
        } else {
            self.send_to_queue(channel, entry, capacity).map_err(|live| channel_full(channel, live, capacity))
        };
        self.count(usize::from(sent.is_ok()), usize::from(sent.is_err()));
        sent
    }

    /// Hands a message to who waits for it longest, or appends it; if the queue is full, says how many wait there.
    pub(super) fn send_to_queue(
        &mut self,
        channel: &ChannelName,
        entry: Entry,
        capacity: usize,
    ) -> Result<(), usize> {
        let entry = match self.hand_over(channel, entry) {
            Ok(()) => return Ok(()),
            Err(entry) => entry,
        };
        self.note_work(weight(&entry));
        let now = entry.sent;
        self.queue(channel).push(entry, capacity, now)
    }

    /// The queue of a channel, which is made if it is not there.
    pub(super) fn queue(&mut self, channel: &ChannelName) -> &mut Queue {
        match self.queues.entry(channel.clone()) {
            hash_map::Entry::Occupied(queue) => queue.into_mut(),
            hash_map::Entry::Vacant(place) => {
                self.work += 1;
                place.insert(Queue::default())
            }
        }
    }

    pub(super) fn new_entry(&mut self, message: PackedMessage, expiry: Duration) -> Entry {
        self.next_entry += 1;
        let now = Instant::now();
        Entry { number: self.next_entry, sent: now, deadline: now + expiry, message }
    }

    /// Counts what became of messages to a group's queues.
    pub(super) fn count(&mut self, sent: usize, refused: usize) {
        self.sent += sent as u64;
        self.refused += refused as u64;
    }

    /// Something was added that may expire unseen. When as much was added as was there, all that has expired is dropped:
    /// so what nobody looks at any more never outweighs the rest for long.
    pub(super) fn note_work(&mut self, weight: usize) {
        self.work += weight;
        if self.work > LEAST_WORK.max(self.work_at_sweep) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        let mut left = 0;
        self.queues.retain(|_, queue| {
            queue.drop_expired(now);
            left += 1 + queue.live(now).map(weight).sum::<usize>();
            !queue.is_idle()
        });
        self.inboxes.retain(|_, inbox| {
            inbox.drop_expired(now);
            left += 1 + inbox.waiting().map(weight).sum::<usize>();
            !inbox.is_idle()
        });
        left += self.groups.sweep(&self.inboxes, now);
        (self.work, self.work_at_sweep) = (0, left);
    }

    /// Drops all messages and groups. Who waits goes on waiting.
    pub(super) fn flush(&mut self) {
        for queue in self.queues.values_mut() {
            queue.clear();
        }
        for inbox in self.inboxes.values_mut() {
            inbox.clear();
        }
        self.groups = Groups::default();
    }

    pub(super) fn statistics(&self) -> MemoryStatistics {
        let now = Instant::now();
        let in_queues = self.queues.values().flat_map(|queue| queue.live(now));
        let waiting = in_queues.chain(self.inboxes.values().flat_map(|inbox| inbox.live(now)));
        MemoryStatistics {
            messages_count: self.sent,
            channel_full_count: self.refused,
            ..pending(waiting, now)
        }
    }

    pub(super) fn channel_statistics(&self, channel: &ChannelName) -> ChannelStatistics {
        let now = Instant::now();
        let MemoryStatistics { messages_pending, messages_max_age, .. } = match channel.kind() {
            ChannelKind::Normal | ChannelKind::SingleReader => {
                pending(self.queues.get(channel).into_iter().flat_map(|queue| queue.live(now)), now)
            }
            ChannelKind::ProcessSpecific | ChannelKind::Inbox => {
                let inbox = self.inboxes.get(channel.queue());
                pending(inbox.into_iter().flat_map(|inbox| inbox.live(now)), now)
            }
        };
        ChannelStatistics { messages_pending, messages_max_age }
    }
}

/// How much a message counts for the next sweep.
pub(super) fn weight(entry: &Entry) -> usize {
    1 + entry.message.len() / BYTES_A_MESSAGE
}

fn pending<'a>(entries: impl Iterator<Item = &'a Entry>, now: Instant) -> MemoryStatistics {
    let mut found = MemoryStatistics::default();
    for entry in entries {
        found.messages_pending += 1;
        found.messages_max_age = found.messages_max_age.max(now.saturating_duration_since(entry.sent));
    }
    found
}
