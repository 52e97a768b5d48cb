//! What all clients of a memory layer share, under one lock: queues, receives that wait, inboxes and groups.
//!
//! The lock is never held over an await, and receives that wait are woken after it is free. Mailboxes have locks of their
//! own. A message that is given to a mailbox under the store's lock wakes the mailbox's reader under it too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::groups::{Groups, Inboxes};
use super::inboxes::{FanOut, Full, Owner, PrefixQueue, To};
use super::queue::Entry;
use super::receives::{ClientId, Queues};
use super::statistics::{ChannelStatistics, MemoryStatistics};
use crate::error::Result;
use crate::inbox::Recipient;
use crate::layer::refusals::{channel_full, inbox_has_bytes, mailbox_full};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// The least work between two sweeps, in messages.
const LEAST_WORK: usize = 4096;
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: Queues,
    /// Also inboxes that no program has opened, if a message was sent to them.
    pub(super) inboxes: Inboxes,
    pub(super) groups: Groups,
    clients: u64,
    next_entry: u64,
    /// The weight that was added since the last sweep, and the weight that the sweep left.
    work: usize,
    work_at_sweep: usize,
    sent: u64,
    refused: u64,
}

impl Store {
    /// Acts on the whole state, then wakes the receives that were handed something.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // No code that holds the lock can panic halfway through a change.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut state);
        let to_wake = state.queues.take_to_wake();
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

    /// Hands a message to the receive that has waited longest for it, or appends it. Fails if the queue is full, with the
    /// number of messages that wait in it.
    pub(super) fn send_to_queue(
        &mut self,
        channel: &ChannelName,
        entry: Entry,
        capacity: usize,
    ) -> Result<(), usize> {
        let Err(entry) = self.queues.hand_over(channel, entry) else { return Ok(()) };
        self.note_work(entry.weight());
        self.queues.push(channel, entry, capacity)
    }

    /// Opens an inbox. Returns false if the name is in use.
    pub(super) fn open_inbox(&mut self, owner: Owner) -> bool {
        self.inboxes.entry(owner.mailboxes.name().as_str().into()).or_default().open(owner)
    }

    /// Sends to one address in an inbox.
    fn send_to_inbox(&mut self, channel: &ChannelName, entry: Entry, capacity: usize) -> Result<()> {
        let address = channel.address();
        if let Some(inbox) = self.inboxes.get_mut(channel.queue()) {
            let mailbox = inbox.owner().and_then(|owner| owner.mailboxes.mailbox(address));
            if mailbox.is_some_and(|mailbox| mailbox.is_full() && !mailbox.drop_expired()) {
                return Err(mailbox_full(channel));
            }
            if let Some(mailboxes) = inbox.takes_at_once() {
                mailboxes.post(address, entry.deadline, entry.message);
                return Ok(());
            }
        }
        self.note_work(entry.weight());
        let inbox = self.inboxes.entry(channel.queue().into()).or_default();
        inbox.push(To::Address(address.into()), entry, capacity).map_err(|full| match full {
            Full::Messages(live) => channel_full(channel, live, capacity),
            Full::Bytes => inbox_has_bytes(channel),
        })
    }

    /// Sends to the members of a group in an inbox. Fails if it is full. Returns a fan-out, to run without the lock, if the
    /// message need not wait.
    pub(super) fn send_to_members(
        &mut self,
        inbox_name: &str,
        members: Vec<Recipient>,
        entry: Entry,
        capacity: usize,
    ) -> Result<Option<FanOut>, ()> {
        if let Some(mailboxes) = self.inboxes.get_mut(inbox_name).and_then(PrefixQueue::takes_at_once) {
            return Ok(Some(FanOut { mailboxes, members, entry }));
        }
        self.note_work(entry.weight());
        let inbox = self.inboxes.entry(inbox_name.into()).or_default();
        inbox.push(To::Members(members), entry, capacity).map(|()| None).map_err(drop)
    }

    /// Takes the dropped mailboxes of an inbox out of their groups.
    pub(super) fn settle(&mut self, inbox: &str) {
        let changes = self.inboxes.get(inbox).and_then(|inbox| inbox.owner()?.mailboxes.take_changes());
        for mailbox in changes.into_iter().flat_map(|changes| changes.dropped) {
            self.groups.leave_all(mailbox.name());
        }
    }

    /// Ends an inbox: its addresses leave their groups, and its messages are dropped.
    pub(super) fn end_inbox(&mut self, inbox: &ChannelName) {
        self.groups.remove_queue(inbox.as_str());
        if let Some(ended) = self.inboxes.remove(inbox.as_str()) {
            ended.end();
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

    /// Notes that something was added which may expire unseen. When as much was added as the last sweep left, everything
    /// expired is dropped. So queues that no client uses any more never outweigh the others for long.
    pub(super) fn note_work(&mut self, weight: usize) {
        self.work += weight + self.queues.take_made();
        if self.work > LEAST_WORK.max(self.work_at_sweep) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        let mut left = self.queues.sweep(now);
        self.inboxes.retain(|_, inbox| {
            inbox.drop_expired(now);
            left += 1 + inbox.waiting().map(Entry::weight).sum::<usize>();
            !inbox.is_idle()
        });
        left += self.groups.sweep(&self.inboxes, now);
        self.queues.take_made();
        (self.work, self.work_at_sweep) = (0, left);
    }

    /// Drops all messages and groups. Receives that wait go on waiting.
    pub(super) fn flush(&mut self) {
        self.queues.clear();
        for inbox in self.inboxes.values_mut() {
            inbox.clear();
        }
        self.groups = Groups::default();
    }

    pub(super) fn statistics(&self) -> MemoryStatistics {
        let now = Instant::now();
        let in_queues = self.queues.all().flat_map(|queue| queue.live(now));
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

fn pending<'a>(entries: impl Iterator<Item = &'a Entry>, now: Instant) -> MemoryStatistics {
    let mut found = MemoryStatistics::default();
    for entry in entries {
        found.messages_pending += 1;
        found.messages_max_age = found.messages_max_age.max(now.saturating_duration_since(entry.sent));
    }
    found
}
