//! What the owner does next by itself.

use crate::owner::{Planned, Trust, Unread, Walk};
use crate::rules::Broken;
use crate::state::{Call, Operation, What};
use crate::world::World;

/// The most operations of a change.
const MOST_OPERATIONS: usize = 4;

impl World {
    /// Takes one step of the owner: reads an entry, or makes a call.
    pub fn act(&mut self) {
        if !self.owner.up || self.reads_or_pops() {
            return;
        }
        if self.old && self.owner.reads_all {
            self.read_all();
        }
        let is_free = self.owner.in_flight.is_none();
        let is_sure = self.owner.verdict.is_none();
        if !is_sure && self.owner.begins.is_none() && is_free {
            self.begin();
        } else if is_free && is_sure && !self.owner.todo.is_empty() {
            self.change_next();
        } else if self.owner.wants_keep && !self.owner.keeping {
            self.keep_inbox();
        } else {
            self.walk_on();
        }
    }

    /// Reads an entry, or asks for more. Returns whether one was read.
    fn reads_or_pops(&mut self) -> bool {
        if self.owner.buffer.is_empty() {
            if !self.owner.popping {
                self.owner.popping = true;
                self.calls.push_back(Call::Pop { acknowledged: self.owner.acknowledged });
            }
            return false;
        }
        if self.old && self.owner.reads_all {
            self.read_all();
            return false;
        }
        if !self.random.percent(70) {
            return false;
        }
        let Some((number, entry)) = self.owner.buffer.pop_front() else { return false };
        self.read_entry(entry);
        self.owner.acknowledged = number;
        true
    }

    /// Schema 2: asks for all memberships, once all changes are answered.
    fn read_all(&mut self) {
        if !self.owner.page_asked && self.owner.todo.is_empty() && self.owner.in_flight.is_none() {
            self.owner.page_asked = true;
            self.calls.push_back(Call::ReadAll);
        }
    }

    /// Begins the chain of numbers anew.
    fn begin(&mut self) {
        let call = self.owner.next_call();
        self.owner.begins = Some(call);
        self.owner.in_flight = Some(call);
        let n = if self.breaks(Broken::NoEra) { 0 } else { self.owner.n };
        let operations = vec![Operation { what: What::Begin(n), key: (0, 0) }];
        self.calls.push_back(Call::Change { call, operations });
    }

    fn change_next(&mut self) {
        let call = self.owner.next_call();
        let size = self.owner.todo.len().min(MOST_OPERATIONS);
        let planned: Vec<Planned> = self.owner.todo.drain(..size).collect();
        self.owner.in_flight = Some(call);
        let operations = planned.iter().map(|p| p.operation).collect();
        self.calls.push_back(Call::Change { call, operations });
        self.owner.unread.push(Unread { call, operations: planned, told: None });
    }

    /// Keeps the inbox, and asks for the next page of the endless walk. While own changes are unread, the owner is not sure
    /// of its number.
    fn keep_inbox(&mut self) {
        self.owner.wants_keep = false;
        self.owner.keeping = true;
        let call = self.owner.next_call();
        let is_unsure = self.owner.unread.iter().any(|u| u.told.is_some());
        let (n, by) = if is_unsure { (u64::MAX, (0, 0)) } else { (self.owner.n, self.owner.by) };
        self.calls.push_back(Call::Keep { call, n, by, after: self.faults });
        let walks = self.owner.walk.is_some() || self.owner.rewalk.is_some();
        if !self.old && !walks && !self.owner.scrubbing && !self.breaks(Broken::NoScrub) {
            self.owner.scrubbing = true;
            let call = self.owner.next_call();
            self.calls.push_back(Call::Page { call, low: self.owner.scrub });
        }
    }

    /// Begins a walk that is due, and asks for the next page of one.
    fn walk_on(&mut self) {
        let owner = &mut self.owner;
        if owner.verdict.is_some() {
            return;
        }
        if owner.walk.is_none()
            && let Some(fixes_clock) = owner.rewalk.take()
        {
            owner.fixes_clock = fixes_clock;
            owner.walk = Some(Walk { trust: Trust::Mirror, next: 0, fixes_clock });
            owner.page_asked = false;
        }
        if let Some(walk) = owner.walk
            && !owner.page_asked
        {
            owner.page_asked = true;
            owner.page_age = 0;
            let call = owner.next_call();
            owner.page_call = call;
            self.calls.push_back(Call::Page { call, low: walk.next });
        }
    }
}
