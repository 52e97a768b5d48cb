//! What the owner of the inbox knows: its mirror, and what is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::state::{Entry, Key, Operation, Tag};

/// Whom the owner believes when both differ.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Trust {
    /// The server went back, or lost keys.
    Mirror,
    /// Entries were lost or left out.
    Server,
}

/// A member in the mirror: its end by the server's clock, and by one that only counts.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub end: i64,
    pub counted_end: i64,
    /// Schema 2: when it was told, in µs.
    pub us: i64,
}

/// An operation that waits or is under way.
#[derive(Clone, Copy)]
pub struct Planned {
    pub operation: Operation,
    /// The program asked for it. Else it is a repair.
    pub by_program: bool,
}

/// A change of the owner whose entry was not read yet.
#[derive(Clone)]
pub struct Unread {
    pub call: u64,
    pub operations: Vec<Planned>,
    /// The number that its reply told.
    pub told: Option<u64>,
}

/// A walk through all pages.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    pub trust: Trust,
    pub next: u8,
    pub fixes_clock: bool,
}

/// A change that was read while own ones were unread: `call` is 0 for a change of others.
pub struct Since {
    pub key: Key,
    pub n: u64,
    pub call: u64,
}

#[derive(Default)]
pub struct Owner {
    pub mirror: BTreeMap<Key, Member>,
    pub n: u64,
    pub by: Tag,
    /// For each client, the highest call that was read.
    pub seen: BTreeMap<u8, u64>,
    pub todo: VecDeque<Planned>,
    pub in_flight: Option<u64>,
    pub unread: Vec<Unread>,
    /// Members that are being repaired, of whom nothing was read since.
    pub pending: BTreeSet<Key>,
    pub verdict: Option<Trust>,
    /// The call that begins the chain anew.
    pub begins: Option<u64>,
    pub walk: Option<Walk>,
    pub page_asked: bool,
    pub page_age: u32,
    pub page_call: u64,
    /// A walk is to come, which fixes the clock or not.
    pub rewalk: Option<bool>,
    pub clock_stepped: bool,
    pub fixes_clock: bool,
    /// The next page of the endless walk, and how often it has come round.
    pub scrub: u8,
    pub rounds: u64,
    pub scrubbing: bool,
    pub buffer: VecDeque<(u64, Entry)>,
    pub acknowledged: u64,
    pub popping: bool,
    /// The server's clock less the one that counts.
    pub offset: Option<i64>,
    pub keeping: bool,
    pub wants_keep: bool,
    pub call: u64,
    pub up: bool,
    pub kept_after: u64,
    pub empty_at: i64,
    /// For each change that was answered, the server's time then.
    pub told_at: BTreeMap<u64, i64>,
    pub since: Vec<Since>,
    /// Schema 2: the server has lost the inbox, and all memberships are to be read.
    pub lost_since: bool,
    pub reads_all: bool,
}

impl Owner {
    pub fn next_call(&mut self) -> u64 {
        self.call += 1;
        self.call
    }

    /// Asks for a walk, which fixes the clock if one before it was to.
    pub fn walk_again(&mut self) {
        self.rewalk = Some(self.clock_stepped || self.rewalk == Some(true));
    }

    pub fn plan_repair(&mut self, operation: Operation) {
        self.todo.push_back(Planned { operation, by_program: false });
    }
}
