//! What waits to change the memberships of one queue, and whose turn it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

use super::MAX_OPERATIONS;
use super::book::Book;
use super::busy::Busy;
use crate::name::ChannelName;
use crate::redis::calls::Operation;
use crate::redis::failure::Failure;

/// The line of one queue.
#[derive(Debug)]
pub(super) struct Line {
    queue: Box<str>,
    /// One call at a time, in the order in which they ask for their turn.
    turn: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Waiting, Option<OwnedSemaphorePermit>)>,
    /// What the owner of the inbox puts right, when there is room beside what programs want.
    repairs: VecDeque<Operation>,
    /// The capacity of the inbox, for repairs.
    capacity: usize,
    /// Where the calls are noted that change an inbox of this process.
    book: Option<Arc<Book>>,
    /// The owner is about to begin anew, and all changes wait.
    is_held: bool,
    is_driven: bool,
}

/// What became of a change.
pub(super) type Outcome = Result<(), Failure>;

/// A change that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Operations in order. Without somebody who waits for the outcome they are the owner's own, and go back into its book
    /// if the call fails.
    Change { operations: Vec<Operation>, capacity: usize, outcome: Option<oneshot::Sender<Outcome>> },
    /// The channel leaves all groups.
    LeaveAll { channel: ChannelName, outcome: oneshot::Sender<Outcome> },
}

/// One call, or one after the other for the same channel.
#[derive(Debug)]
pub(super) enum Batch {
    Changes { operations: Arc<[Operation]>, capacity: usize, waiting: Vec<Shared> },
    LeaveAll { channel: ChannelName, outcome: oneshot::Sender<Outcome>, room: Option<OwnedSemaphorePermit> },
}

/// Who waits for some of the operations of a call.
#[derive(Debug)]
pub(super) struct Shared {
    from: usize,
    to: usize,
    outcome: oneshot::Sender<Outcome>,
    /// Kept until the change is made: a dropped one still takes it.
    _room: Option<OwnedSemaphorePermit>,
}

impl Shared {
    /// Tells what became of these operations.
    pub(super) fn end(
        self,
        outcome: &Result<Vec<(usize, String)>, Failure>,
        failure: impl Fn(&str) -> Failure,
    ) {
        let outcome = match outcome {
            Ok(failures) => {
                let ours = failures.iter().find(|(index, _)| (self.from..self.to).contains(index));
                ours.map_or(Ok(()), |(_, why)| Err(failure(why)))
            }
            Err(failure) => Err(failure.clone()),
        };
        // Who dropped the change wants no outcome.
        let _ = self.outcome.send(outcome);
    }
}

impl Line {
    pub(super) fn new(queue: &str) -> Self {
        Self { queue: queue.into(), turn: Semaphore::new(1), state: Mutex::default() }
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// Waits for the turn to make a call; none comes if this was closed, which it never is.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turn.acquire().await.ok()
    }

    pub(super) fn join(&self, waiting: Waiting, room: Option<OwnedSemaphorePermit>) {
        self.lock().waiting.push_back((waiting, room));
    }

    /// Whether there is something to call and no task that does so; from now on there is one.
    pub(super) fn is_to_be_driven(&self) -> bool {
        let mut state = self.lock();
        let is_due = !state.is_driven && !state.is_held && state.has_work();
        state.is_driven |= is_due;
        is_due
    }

    /// Whether nobody needs the line any more.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        !state.is_driven && !state.has_work() && state.book.is_none()
    }

    /// Takes the next call; none if nothing may be called now, and the task that asks is to end.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.waiting.retain(|(waiting, _)| !waiting.is_dropped());
        if state.is_held || !state.has_work() {
            state.is_driven = false;
            return None;
        }
        if let Some((Waiting::LeaveAll { .. }, _)) = state.waiting.front()
            && let Some((Waiting::LeaveAll { channel, outcome }, room)) = state.waiting.pop_front()
        {
            return Some(Batch::LeaveAll { channel, outcome, room });
        }
        let (mut operations, mut shared, mut of_call) = (Vec::new(), Vec::new(), None);
        while let Some((Waiting::Change { operations: next, capacity, .. }, _)) = state.waiting.front() {
            if of_call.is_some_and(|of_call| of_call != *capacity)
                || (!operations.is_empty() && operations.len() + next.len() > MAX_OPERATIONS)
            {
                break;
            }
            of_call = Some(*capacity);
            let Some((Waiting::Change { operations: next, outcome, .. }, room)) = state.waiting.pop_front()
            else {
                break;
            };
            let from = operations.len();
            operations.extend(next);
            if let Some(outcome) = outcome {
                shared.push(Shared { from, to: operations.len(), outcome, _room: room });
            }
        }
        let capacity = of_call.unwrap_or(state.capacity);
        let is_next_leave = matches!(state.waiting.front(), Some((Waiting::LeaveAll { .. }, _)));
        if capacity == state.capacity && !is_next_leave {
            let repairs = state.repairs.len().min(MAX_OPERATIONS.saturating_sub(operations.len()));
            operations.extend(state.repairs.drain(..repairs));
        }
        Some(Batch::Changes { operations: operations.into(), capacity, waiting: shared })
    }

    /// Ends what waits while all changes are held.
    pub(super) fn fail_held(&self, failure: &Failure) {
        let mut state = self.lock();
        if !state.is_held || state.is_driven {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        for (waiting, room) in waiting {
            match waiting {
                Waiting::Change { outcome: Some(outcome), .. } | Waiting::LeaveAll { outcome, .. } => {
                    // Who dropped the change wants no outcome.
                    let _ = outcome.send(Err(failure.clone()));
                }
                own @ Waiting::Change { outcome: None, .. } => state.waiting.push_back((own, room)),
            }
        }
    }

    // For the owner of the inbox.

    /// From now on the calls that change this inbox are noted.
    pub(super) fn own(&self, book: Arc<Book>, capacity: usize) {
        let mut state = self.lock();
        state.book = Some(book);
        state.capacity = capacity;
    }

    /// The inbox has no owner any more, who would want something.
    pub(super) fn disown(&self) {
        let mut state = self.lock();
        state.book = None;
        state.is_held = false;
        state.repairs.clear();
        state.waiting.retain(|(waiting, _)| !matches!(waiting, Waiting::Change { outcome: None, .. }));
    }

    pub(super) fn book(&self) -> Option<Arc<Book>> {
        self.lock().book.clone()
    }

    /// Lets all changes wait, or go on.
    pub(super) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
    }

    pub(super) fn repair(&self, repairs: impl IntoIterator<Item = Operation>) {
        self.lock().repairs.extend(repairs);
    }

    pub(super) fn forget_repairs(&self) {
        self.lock().repairs.clear();
    }

    #[cfg(test)]
    pub(super) fn take_repairs_for_tests(&self) -> Vec<Operation> {
        self.lock().repairs.drain(..).collect()
    }

    pub(super) fn has_work(&self) -> bool {
        let state = self.lock();
        state.is_driven || state.has_work()
    }

    /// Adds the members of whom a change waits, and the addresses that are to leave all groups.
    pub(super) fn add_waiting(&self, busy: &mut Busy, address: impl Fn(&ChannelName) -> Box<str>) {
        for (waiting, _) in &self.lock().waiting {
            match waiting {
                Waiting::Change { operations, .. } => operations.iter().for_each(|it| busy.add(it)),
                Waiting::LeaveAll { channel, .. } => busy.add_address(address(channel)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether who wanted it has gone.
    fn is_dropped(&self) -> bool {
        match self {
            Self::Change { outcome, .. } => outcome.as_ref().is_some_and(oneshot::Sender::is_closed),
            Self::LeaveAll { outcome, .. } => outcome.is_closed(),
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.repairs.is_empty()
    }
}
