//! What waits in one mailbox: filled by the task that reads the inbox, emptied by the mailbox's owner.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::message::PackedMessage;
use crate::message::decoded::Decoded;
use crate::name::ChannelName;

/// Above so many places an emptied queue gives its memory back.
const KEPT_PLACES: usize = 32;
/// A mailbox from which nothing was taken for so long is not being read.
const READ_WITHIN: Duration = Duration::from_millis(100);
/// For so long altogether the reader of the inbox waits for a mailbox, until it has been half empty again.
const MAX_AWAITED: Duration = Duration::from_millis(250);

/// One mailbox, as the reader of its inbox sees it.
#[derive(Debug)]
pub(crate) struct Slot {
    name: ChannelName,
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    waker: Option<Waker>,
    /// Its owner waited and was woken, and has not looked since.
    is_waking: bool,
    /// When its owner took the last message.
    taken: Option<Instant>,
    /// For how long the reader of the inbox has waited for room here.
    awaited: Duration,
    /// Whether senders are told that it is full.
    is_full: bool,
    missed: u64,
    expired: u64,
    ended: bool,
}

/// A message in a mailbox, and until when it lives.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) deadline: Instant,
    pub(crate) message: PackedMessage,
    /// Of a group's message, what its copies share.
    pub(crate) decoded: Option<Decoded>,
}

/// What became of a message for a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    Kept,
    /// Kept, and from now on senders are to be told that the mailbox is full.
    NowFull,
    /// A group's message, for which there was no room.
    Missed,
    /// Not kept: a group's message for which there is room soon, because the owner is taking what waits.
    Later,
    /// The mailbox has ended.
    Gone,
}

impl Slot {
    pub(crate) fn new(name: ChannelName, capacity: usize) -> Self {
        Self { name, capacity, state: Mutex::default() }
    }

    /// The mailbox's full name.
    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// How many messages of groups it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The mailbox's part of its name.
    pub(crate) fn address(&self) -> &str {
        self.name.local().unwrap_or_default()
    }

    /// Keeps a message that was sent to this mailbox: what was accepted is delivered.
    pub(crate) fn post(&self, deadline: Instant, message: PackedMessage) -> Posted {
        let mut state = self.lock();
        if state.ended {
            return Posted::Gone;
        }
        state.keep(Waiting { deadline, message, decoded: None });
        if state.waiting.len() >= self.capacity && !state.is_full {
            state.drop_expired();
            state.is_full = state.waiting.len() >= self.capacity;
            if state.is_full {
                return Posted::NowFull;
            }
        }
        Posted::Kept
    }

    /// Keeps a message that was sent to a group, if there is room. `waits` tells that it may be offered later too.
    pub(crate) fn post_from_group(&self, copy: Waiting, waits: bool) -> Posted {
        let mut state = self.lock();
        if state.ended {
            return Posted::Gone;
        }
        if state.waiting.len() >= self.capacity {
            state.drop_expired();
        }
        if state.waiting.len() >= self.capacity {
            if waits && state.is_read() && state.awaited < MAX_AWAITED {
                return Posted::Later;
            }
            state.missed += 1;
            return Posted::Missed;
        }
        state.keep(copy);
        if state.waiting.len() >= self.capacity && !state.is_full {
            state.is_full = true;
            return Posted::NowFull;
        }
        Posted::Kept
    }

    /// The reader of the inbox has waited so long for room.
    pub(crate) fn add_awaited(&self, awaited: Duration) {
        self.lock().awaited += awaited;
    }

    /// The next message that has not expired, `None` when nothing more comes; and whether senders are to be told that
    /// there is room again.
    pub(crate) fn poll_take(&self, context: &Context<'_>) -> (Poll<Option<Waiting>>, bool) {
        let mut state = self.lock();
        state.is_waking = false;
        let message = state.take();
        if state.waiting.len() <= self.capacity / 2 {
            state.awaited = Duration::ZERO;
        }
        let has_room_again = state.has_room_again(self.capacity);
        let polled = match message {
            None if !state.ended => {
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    state.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            message => Poll::Ready(message),
        };
        (polled, has_room_again)
    }

    /// Reports whether there is something to take. If not, this waker is woken when there is.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let is_there = !state.waiting.is_empty() || state.ended;
        if !is_there && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        is_there
    }

    /// Lets a full mailbox have room again if messages in it have expired; whether it has.
    pub(crate) fn drop_expired(&self) -> bool {
        let mut state = self.lock();
        state.drop_expired();
        state.has_room_again(self.capacity)
    }

    /// Whether senders are to be told that it is full.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.lock();
        state.is_full && !state.ended
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many messages of groups found no room.
    pub(crate) fn missed(&self) -> u64 {
        self.lock().missed
    }

    /// How many messages expired here.
    pub(crate) fn expired(&self) -> u64 {
        self.lock().expired
    }

    /// Nothing more comes: the owner gets what waits, then the end.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.wake();
    }

    /// The owner is gone, and what waits with it; returns how much that was.
    pub(crate) fn close(&self) -> usize {
        let mut state = self.lock();
        state.ended = true;
        std::mem::take(&mut state.waiting).len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.is_waking = true;
            waker.wake();
        }
    }

    fn take(&mut self) -> Option<Waiting> {
        if let Some(now) = self.drop_expired() {
            self.taken = Some(now);
        }
        let taken = self.waiting.pop_front();
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_PLACES {
            self.waiting.shrink_to_fit();
        }
        taken
    }

    /// Drops what expired at the head: messages for one mailbox mostly expire in the order in which they came. Returns the time,
    /// if any waited.
    fn drop_expired(&mut self) -> Option<Instant> {
        let mut deadline = self.waiting.front()?.deadline;
        let now = Instant::now();
        while deadline <= now {
            self.waiting.pop_front();
            self.expired += 1;
            let Some(next) = self.waiting.front() else { break };
            deadline = next.deadline;
        }
        Some(now)
    }

    /// Whether its owner is taking what waits, or was woken for it.
    fn is_read(&self) -> bool {
        self.is_waking || self.taken.is_some_and(|taken| taken.elapsed() < READ_WITHIN)
    }

    /// A full mailbox has room again when it is half empty, so that senders are not told at every message.
    fn has_room_again(&mut self, capacity: usize) -> bool {
        let has_room = self.is_full && self.waiting.len() <= capacity / 2;
        self.is_full &= !has_room;
        has_room
    }
}
