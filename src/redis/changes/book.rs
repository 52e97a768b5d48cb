//! The calls of this process that changed an inbox of its own, until the owner reads their entries: by them it knows what
//! was lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::busy::Busy;
use crate::redis::calls::{Operation, What};

/// The calls whose entries were not read yet.
#[derive(Debug, Default)]
pub(super) struct Book {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unread: VecDeque<Unread>,
    /// Leaves of the owner whose call failed.
    returned: Vec<Operation>,
    /// A call with repairs failed.
    has_lost_repairs: bool,
}

/// A call whose entry was not read yet.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Unread {
    pub(in crate::redis) call: u64,
    pub(in crate::redis) sent: Sent,
    /// What its reply told.
    pub(in crate::redis) told: Option<Told>,
}

/// What a call asked for.
#[derive(Clone, Debug)]
pub(in crate::redis) enum Sent {
    Operations(Arc<[Operation]>),
    /// The address leaves all groups.
    LeftAll(Box<str>),
}

/// What the reply of a change told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Told {
    pub(in crate::redis) n: u64,
    pub(in crate::redis) now_us: u64,
}

impl Book {
    /// A call is about to be made.
    pub(super) fn sent(&self, call: u64, sent: Sent) {
        self.lock().unread.push_back(Unread { call, sent, told: None });
    }

    /// A call was answered. What failed of it did nothing.
    pub(super) fn answered(&self, call: u64, n: u64, now_us: u64, failures: &[(usize, String)]) {
        let mut state = self.lock();
        let Some(unread) = state.unread.iter_mut().find(|unread| unread.call == call) else { return };
        unread.told = Some(Told { n, now_us });
        if let (Sent::Operations(operations), false) = (&mut unread.sent, failures.is_empty()) {
            let is_done = |index: &usize| failures.iter().all(|(failed, _)| failed != index);
            let done = operations.iter().enumerate().filter(|(index, _)| is_done(index));
            *operations = done.map(|(_, operation)| operation.clone()).collect();
            state.has_lost_repairs = true;
        }
    }

    /// A call failed, though it may be that the server made it.
    pub(super) fn failed(&self, call: u64, may_be_executed: bool) {
        let mut state = self.lock();
        let Some(at) = state.unread.iter().position(|unread| unread.call == call) else { return };
        let Some(unread) = state.unread.get(at).cloned() else { return };
        if !may_be_executed {
            state.unread.remove(at);
        }
        if let Sent::Operations(operations) = &unread.sent {
            state.has_lost_repairs |= operations.iter().any(|operation| operation.what.is_repair());
            // Who leaves twice is out all the same.
            let leaves = operations.iter().filter(|operation| operation.what == What::Leave);
            state.returned.extend(leaves.cloned());
        }
    }

    pub(super) fn take_returned(&self) -> Vec<Operation> {
        std::mem::take(&mut self.lock().returned)
    }

    pub(super) fn take_lost_repairs(&self) -> bool {
        std::mem::take(&mut self.lock().has_lost_repairs)
    }

    /// Whether a call was answered whose entry was not read.
    pub(super) fn has_answered(&self) -> bool {
        self.lock().unread.iter().any(|unread| unread.told.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().unread.is_empty()
    }

    /// Does something with the calls whose entries were not read.
    pub(super) fn with_unread<T>(&self, use_them: impl FnOnce(&mut VecDeque<Unread>) -> T) -> T {
        use_them(&mut self.lock().unread)
    }

    /// Adds the members that a program changed in calls that were not read.
    pub(super) fn add_unread(&self, busy: &mut Busy) {
        for unread in &self.lock().unread {
            match &unread.sent {
                Sent::Operations(operations) => {
                    let by_program = operations.iter().filter(|operation| !operation.what.is_repair());
                    by_program.for_each(|it| busy.add(it));
                }
                Sent::LeftAll(address) => busy.add_address(address.clone()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
