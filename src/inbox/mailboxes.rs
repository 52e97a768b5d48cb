//! The mailboxes of one inbox, between the task that reads it and the program: which are open, what is kept for those who
//! read the inbox as a whole, and what the reader has to tell the server.
//!
//! No layer's own code is here: whoever reads an inbox, from a server or from memory, posts to this.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::slot::{Posted, Slot, Waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, EventSource};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::ChannelName;

/// For so long an inbox waits for full mailboxes in each second.
const MAX_AWAITED: Duration = Duration::from_millis(250);
const AWAITED_WITHIN: Duration = Duration::from_secs(1);

/// The mailboxes of one inbox.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    /// The inbox's name, which ends in `!`.
    name: ChannelName,
    /// How many messages are kept for those who read the inbox as a whole.
    capacity: usize,
    state: Mutex<State>,
    /// Wakes the reader.
    changed: Notify,
    /// Wakes those who read the inbox as a whole.
    arrived: Notify,
    /// True when the reader has ended.
    gone: watch::Sender<bool>,
    /// Whether a warning was logged of a message that a full mailbox missed.
    has_warned: AtomicBool,
    events: EventSource,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Arc<str>, Arc<Slot>>,
    /// What is kept for those who read the inbox as a whole.
    whole: VecDeque<Item>,
    /// Somebody has asked for messages without a mailbox, so they are kept.
    is_read_whole: bool,
    /// A mailbox was opened, or the inbox is read as a whole: the program has said what it wants.
    is_read: bool,
    changes: Changes,
    /// For how long full mailboxes were waited for, since then.
    awaited: (Option<Instant>, Duration),
    unknown: u64,
    missed: u64,
    expired: u64,
    unread: u64,
    undecodable: u64,
    is_closing: bool,
    ended: bool,
}

/// What the reader has not told the server yet.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Mailboxes that were dropped.
    pub(crate) dropped: Vec<Arc<Slot>>,
    /// Mailboxes that have room again.
    pub(crate) with_room: Vec<Arc<Slot>>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.with_room.is_empty()
    }
}

/// Something for those who read the inbox as a whole.
#[derive(Debug)]
enum Item {
    /// One message for each of these addresses, the next one last.
    Message {
        addresses: Vec<Arc<str>>,
        deadline: Instant,
        message: PackedMessage,
    },
    Failed(Error),
}

/// What happened to the messages of an inbox that its program did not get, since the inbox was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxStatistics {
    /// Mailboxes that are open.
    pub mailboxes: usize,
    /// Messages that wait in this process to be taken.
    pub waiting: usize,
    /// Messages for addresses that no open mailbox has; they were dropped.
    pub unknown: u64,
    /// Copies of group messages for which a full mailbox had no room; they were dropped.
    pub missed: u64,
    /// Messages that expired in this process before they were taken.
    pub expired: u64,
    /// Messages that waited in mailboxes when these were dropped.
    pub unread: u64,
    /// Entries that were no message of this layer; they were dropped. Those that did not open are counted by
    /// [`seal_statistics`](crate::RedisChannelLayer::seal_statistics).
    pub undecodable: u64,
}

impl Mailboxes {
    pub(crate) fn new(name: ChannelName, capacity: usize) -> Self {
        Self {
            name,
            capacity,
            state: Mutex::default(),
            changed: Notify::new(),
            arrived: Notify::new(),
            gone: watch::channel(false).0,
            has_warned: AtomicBool::new(false),
            events: EventSource::default(),
        }
    }

    /// The same, of a layer whose listeners are told what happens to its mailboxes.
    pub(crate) fn telling(self, events: &EventSource) -> Self {
        Self { events: events.clone(), ..self }
    }

    /// What the layer's listeners are told.
    pub(crate) fn events(&self) -> &EventSource {
        &self.events
    }

    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    // For the program.

    /// Opens a mailbox under this name.
    pub(crate) fn open(&self, name: ChannelName, capacity: usize) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(name, capacity));
        let mut state = self.lock();
        if state.ended || state.is_closing {
            slot.end();
        } else {
            state.open.insert(slot.address().into(), Arc::clone(&slot));
        }
        state.begin_reading(&self.changed);
        slot
    }

    /// The owner of a mailbox is gone.
    pub(crate) fn drop_mailbox(&self, slot: &Arc<Slot>) {
        let unread = slot.close();
        let mut state = self.lock();
        state.unread += unread as u64;
        state.missed += slot.missed();
        state.expired += slot.expired();
        if state.open.remove(slot.address()).is_some() {
            state.changes.dropped.push(Arc::clone(slot));
            self.changed.notify_one();
        }
    }

    /// A mailbox that was reported full has room again.
    pub(crate) fn has_room(&self, slot: &Arc<Slot>) {
        self.events.tell(|| Event::MailboxHasRoom { mailbox: slot.name().clone() });
        self.lock().changes.with_room.push(Arc::clone(slot));
        self.changed.notify_one();
    }

    /// The next message for an address without a mailbox.
    ///
    /// Cancel-safe: a message is taken in the same poll in which it is returned.
    pub(crate) async fn next(&self) -> Result<Delivery> {
        loop {
            // Before looking, or what arrives in between would wake nobody.
            let arrived = self.arrived.notified();
            if let Some(next) = self.try_next() {
                return next;
            }
            arrived.await;
        }
    }

    /// The next message for an address without a mailbox, if one is there.
    pub(crate) fn try_next(&self) -> Option<Result<Delivery>> {
        let mut state = self.lock();
        let was_full = state.whole.len() >= self.capacity;
        state.is_read_whole = true;
        state.begin_reading(&self.changed);
        let next = loop {
            state.drop_expired();
            match state.whole.front_mut() {
                None => break None,
                Some(Item::Message { addresses, message, deadline }) => {
                    let Some(address) = addresses.pop() else {
                        state.whole.pop_front();
                        continue;
                    };
                    break Some(Ok((address, message.clone(), *deadline)));
                }
                Some(Item::Failed(_)) => {
                    if let Some(Item::Failed(error)) = state.whole.pop_front() {
                        break Some(Err(error));
                    }
                }
            }
        };
        // Others who wait are woken one by one, and the reader goes on as soon as there is room.
        while matches!(state.whole.front(), Some(Item::Message { addresses, .. }) if addresses.is_empty()) {
            state.whole.pop_front();
        }
        let (more, ended) = (!state.whole.is_empty(), state.ended);
        if was_full && state.whole.len() < self.capacity {
            self.changed.notify_one();
        }
        drop(state);
        if more || (ended && next.is_none()) {
            self.arrived.notify_one();
        }
        match next {
            Some(Ok((address, message, deadline))) => {
                let name = ChannelName::new(&format!("{}{address}", self.name));
                Some(name.map(|name| Delivery::expiring(name, message, Some(deadline))))
            }
            Some(Err(error)) => Some(Err(error)),
            None if ended => Some(Err(closed(&self.name))),
            None => None,
        }
    }

    pub(crate) fn statistics(&self) -> InboxStatistics {
        let state = self.lock();
        let waiting =
            |item: &Item| if let Item::Message { addresses, .. } = item { addresses.len() } else { 1 };
        let open = state.open.values();
        InboxStatistics {
            mailboxes: state.open.len(),
            waiting: open.clone().map(|slot| slot.len()).sum::<usize>()
                + state.whole.iter().map(waiting).sum::<usize>(),
            unknown: state.unknown,
            missed: state.missed + open.clone().map(|slot| slot.missed()).sum::<u64>(),
            expired: state.expired + open.map(|slot| slot.expired()).sum::<u64>(),
            unread: state.unread,
            undecodable: state.undecodable,
        }
    }

    /// Asks the reader to end the inbox.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.changed.notify_one();
    }

    /// Waits until the reader has ended.
    pub(crate) async fn gone(&self) {
        // The sender lives as long as this does.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    // For the reader.

    /// Whether the inbox may wait some more for full mailboxes: what comes for the others is late by that at most, in each
    /// second.
    pub(crate) fn may_wait(&self) -> bool {
        let mut state = self.lock();
        if state.awaited.0.is_none_or(|since| since.elapsed() >= AWAITED_WITHIN) {
            state.awaited = (Some(Instant::now()), Duration::ZERO);
        }
        state.awaited.1 < MAX_AWAITED
    }

    /// The inbox has waited so long for full mailboxes.
    pub(crate) fn add_awaited(&self, awaited: Duration) {
        if !awaited.is_zero() {
            self.lock().awaited.1 += awaited;
        }
    }

    /// Waits until the program does something that the reader must know.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the program wants messages, and has room for the next.
    pub(crate) fn wants_more(&self) -> bool {
        let state = self.lock();
        state.is_read && state.whole.len() < self.capacity
    }

    /// Whether the program has said what it wants: it has opened a mailbox, or reads the inbox as a whole.
    pub(crate) fn is_read(&self) -> bool {
        self.lock().is_read
    }

    /// Has the reader look again.
    pub(crate) fn wake_reader(&self) {
        self.changed.notify_one();
    }

    /// Drops what has expired of what nobody has taken who reads the inbox as a whole.
    pub(crate) fn drop_expired(&self) {
        self.lock().drop_expired();
    }

    /// Whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.ended || state.is_closing
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().is_closing
    }

    /// Whether messages for addresses without a mailbox are kept.
    pub(crate) fn is_read_whole(&self) -> bool {
        self.lock().is_read_whole
    }

    /// What is to be told to the server.
    pub(crate) fn take_changes(&self) -> Option<Changes> {
        let changes = std::mem::take(&mut self.lock().changes);
        (!changes.is_empty()).then_some(changes)
    }

    /// Whether messages for addresses without a mailbox may still be wanted.
    pub(crate) fn may_be_read_whole(&self) -> bool {
        let state = self.lock();
        state.is_read_whole || !state.is_read
    }

    pub(crate) fn mailbox(&self, address: &str) -> Option<Arc<Slot>> {
        self.lock().open.get(address).map(Arc::clone)
    }

    /// A message that was sent to an address. Returns the mailbox that it has filled.
    pub(crate) fn post(&self, address: &str, deadline: Instant, message: PackedMessage) -> Option<Arc<Slot>> {
        let mut state = self.lock();
        let Some(slot) = state.open.get(address).map(Arc::clone) else {
            if state.is_read_whole {
                state.whole.push_back(Item::Message { addresses: vec![address.into()], deadline, message });
                self.arrived.notify_one();
            } else {
                state.unknown += 1;
            }
            return None;
        };
        drop(state);
        (self.note(slot.post(deadline, message), &slot) == Posted::NowFull).then_some(slot)
    }

    /// A message that was sent to a group, for one of its members; `waits` as the mailbox has it.
    pub(crate) fn post_from_group(&self, slot: &Slot, copy: Waiting, waits: bool) -> Posted {
        self.note(slot.post_from_group(copy, waits), slot)
    }

    fn note(&self, posted: Posted, slot: &Slot) -> Posted {
        match posted {
            Posted::NowFull => self.events.tell(|| Event::MailboxFull { mailbox: slot.name().clone() }),
            Posted::Gone => self.lock().unread += 1,
            Posted::Missed if !self.has_warned.swap(true, Ordering::Relaxed) => tracing::warn!(
                mailbox = %slot.name(),
                capacity = slot.capacity(),
                "a full mailbox missed a message to a group: its owner takes them too slowly for its `capacity`; such misses are counted, and not told again"
            ),
            _ => {}
        }
        posted
    }

    /// A message that was sent to a group, for those of its members that have no mailbox.
    pub(crate) fn post_to_whole(&self, addresses: Vec<Arc<str>>, deadline: Instant, message: PackedMessage) {
        if !addresses.is_empty() {
            self.lock().whole.push_back(Item::Message { addresses, deadline, message });
            self.arrived.notify_one();
        }
    }

    /// An entry that is no message.
    pub(crate) fn post_failure(&self, error: Error) {
        let mut state = self.lock();
        state.undecodable += 1;
        if state.is_read_whole {
            state.whole.push_back(Item::Failed(error));
            self.arrived.notify_one();
        }
    }

    /// Nothing more comes: mailboxes give what they have, then end.
    pub(crate) fn end(&self) {
        let open: Vec<Arc<Slot>> = {
            let mut state = self.lock();
            state.ended = true;
            state.open.values().map(Arc::clone).collect()
        };
        for slot in open {
            slot.end();
        }
        self.arrived.notify_one();
        self.gone.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops what expired at the head.
    fn drop_expired(&mut self) {
        while let Some(Item::Message { addresses, deadline, .. }) = self.whole.front()
            && *deadline <= Instant::now()
        {
            self.expired += addresses.len() as u64;
            self.whole.pop_front();
        }
    }

    /// The reader begins when the program has said what it wants: before, no message could be known to be unknown.
    fn begin_reading(&mut self, changed: &Notify) {
        if !std::mem::replace(&mut self.is_read, true) {
            changed.notify_one();
        }
    }
}

pub(crate) fn closed(inbox: &ChannelName) -> Error {
    Error::new(ErrorKind::Closed, format!("the inbox {inbox:?} was closed"))
}
