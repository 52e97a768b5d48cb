//! What the server holds, and what is said between it and the owner of the inbox.

use std::collections::{BTreeMap, VecDeque};

pub const GROUPS: u8 = 4;
pub const ADDRESSES: u8 = 5;
/// Control entries that may wait in the inbox before others' changes are left out.
pub const MOST_CONTROLS: usize = 8;
/// Groups in a page.
pub const PAGE: usize = 2;
/// A membership that does not end within a walk, in ms.
pub const LONG: i64 = 1_000_000_000;
pub const LEASE: i64 = 60_000;

/// The client that the owner is.
pub const OWNER: u8 = 0;

/// Who made a change: client and number of the call.
pub type Tag = (u8, u64);
/// A member: group and address.
pub type Key = (u8, u8);

/// What a change does with a member. Times are in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Joins for this time.
    Join(i64),
    Leave,
    /// A repair: joins until this end, if it is not in, and if nothing was flushed after this change, the last that was
    /// read.
    JoinIfAbsent {
        end: i64,
        read: u64,
    },
    /// A repair: leaves, if its end is still this one.
    LeaveIf(i64),
    /// A repair: has another end, if its end is still the one that was seen.
    SetEndIf {
        end: i64,
        seen: i64,
    },
    /// Begins the chain of numbers anew, not below this one.
    Begin(u64),
}

impl What {
    pub fn is_repair(self) -> bool {
        matches!(self, Self::JoinIfAbsent { .. } | Self::LeaveIf(_) | Self::SetEndIf { .. })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub what: What,
    pub key: Key,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Joined,
    Left,
    Repaired,
    Begun,
}

/// A group in a page: whether its row and index exist, and its members with their ends.
#[derive(Clone, Debug)]
pub struct Listed {
    pub group: u8,
    pub complete: bool,
    pub members: Vec<(u8, i64)>,
}

/// An entry of the inbox.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A change: its number, who made it, and each operation with its end (-1: none).
    Changes {
        n: u64,
        by: Tag,
        now: i64,
        done: Vec<(Outcome, Key, i64)>,
    },
    /// A page of the memberships, from group `low` to `high`.
    Page {
        n: u64,
        by: Tag,
        call: Tag,
        low: u8,
        high: u8,
        now: i64,
        groups: Vec<Listed>,
    },
    /// The answer to a beat whose number or tag was not the server's.
    Kept {
        n: u64,
        by: Tag,
        call: Tag,
    },
    /// Further changes of others are left out.
    Overflow,
    Flushed {
        now: i64,
    },
    Message {
        message: usize,
        group: u8,
        now: i64,
    },
    /// Schema 2: a member joined.
    OldJoin {
        key: Key,
        end: i64,
        us: i64,
        first: bool,
    },
    /// Schema 2: a member left.
    OldLeave {
        key: Key,
        us: i64,
    },
}

/// The hash of the inbox.
#[derive(Clone, Debug)]
pub struct InboxHash {
    pub n: u64,
    pub by: Tag,
    /// Changes of others are told.
    pub tells: bool,
    pub lease_end: i64,
    /// The number of the last flush, which is a change too.
    pub flushed: u64,
}

impl InboxHash {
    pub const NEW: Self = Self { n: 0, by: (0, 0), tells: true, lease_end: 0, flushed: 0 };
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    /// It is in the index of its group.
    pub indexed: bool,
    /// The end of its row.
    pub row: Option<i64>,
    pub members: BTreeMap<u8, i64>,
    /// It is among the groups of the inbox.
    pub listed: bool,
}

#[derive(Clone, Default)]
pub struct Server {
    pub inbox: Option<InboxHash>,
    /// The entries, numbered by the model so that the owner can acknowledge them.
    pub queue: VecDeque<(u64, Entry)>,
    pub groups: BTreeMap<u8, Group>,
}

impl Server {
    pub fn end_of(&self, key: Key) -> Option<i64> {
        self.groups.get(&key.0).and_then(|g| g.members.get(&key.1)).copied()
    }

    pub fn n(&self) -> u64 {
        self.inbox.as_ref().map_or(0, |inbox| inbox.n)
    }

    pub fn flushed(&self) -> u64 {
        self.inbox.as_ref().map_or(0, |inbox| inbox.flushed)
    }

    pub fn controls(&self) -> usize {
        self.queue.iter().filter(|(_, e)| !matches!(e, Entry::Message { .. })).count()
    }
}

/// A call of the owner.
#[derive(Clone, Debug)]
pub enum Call {
    Change {
        call: u64,
        operations: Vec<Operation>,
    },
    Keep {
        call: u64,
        n: u64,
        by: Tag,
        after: u64,
    },
    Page {
        call: u64,
        low: u8,
    },
    Pop {
        acknowledged: u64,
    },
    /// Schema 2: all memberships.
    ReadAll,
}

/// A reply to the owner.
#[derive(Clone, Debug)]
pub enum Reply {
    Changed {
        call: u64,
        now: i64,
        n: u64,
    },
    /// `new`: the server did not know the inbox. `after`: the last fault before the beat.
    Kept {
        new: bool,
        now: i64,
        after: u64,
        groups: usize,
    },
    Paged,
    Popped(Vec<(u64, Entry)>),
    All {
        now: i64,
        members: Vec<(Key, i64)>,
    },
}
