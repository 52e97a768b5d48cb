//! What the owner does with a reply.

use std::collections::BTreeSet;

use crate::owner::Member;
use crate::rules::Broken;
use crate::state::{Key, Operation, Reply, What};
use crate::world::World;

/// A step of the server's clock that is looked at, in ms.
const STEP: i64 = 5000;

impl World {
    pub fn read_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Changed { call, now, n } => self.changed(call, now, n),
            Reply::Kept { new, now, after, groups } => self.kept(new, now, after, groups),
            Reply::Paged => self.owner.scrubbing = false,
            Reply::Popped(entries) => {
                self.owner.popping = false;
                if entries.iter().all(|e| e.0 <= self.owner.acknowledged) {
                    self.owner.empty_at = self.time;
                }
                self.owner.buffer.extend(entries);
            }
            Reply::All { now, members } => {
                self.owner.reads_all = false;
                self.owner.lost_since = false;
                self.owner.page_asked = false;
                let us = now * 1000;
                let known: BTreeSet<Key> = members.iter().map(|m| m.0).collect();
                self.owner.mirror.retain(|key, m| known.contains(key) || m.us >= us);
                for (key, end) in members {
                    self.take_old(key, Member { end, counted_end: 0, us });
                }
            }
        }
    }

    /// Notes the number of an own change. What it did is known when its entry is read.
    fn changed(&mut self, call: u64, now: i64, n: u64) {
        if self.owner.in_flight == Some(call) {
            self.owner.in_flight = None;
        }
        if let Some(unread) = self.owner.unread.iter_mut().find(|u| u.call == call) {
            unread.told = Some(n);
            self.owner.told_at.insert(call, now);
            let operations: Vec<Operation> = unread.operations.iter().map(|p| p.operation).collect();
            for Operation { what, key } in &operations {
                if matches!(what, What::Join(_) | What::Leave) {
                    let change = self.truth.get(key).map_or(0, |truth| truth.change);
                    self.answered.insert(*key, change);
                }
            }
            if self.breaks(Broken::OwnReply) {
                self.apply_at_once(&operations, now);
            }
        }
        if self.old {
            self.take_all_unread(now);
        }
    }

    /// Schema 2: what was answered is done. What a repair joined lasts at least as long as asked.
    fn take_all_unread(&mut self, now: i64) {
        for planned in self.owner.unread.drain(..).flat_map(|u| u.operations) {
            let Operation { what, key } = planned.operation;
            if let (What::JoinIfAbsent { end: left, .. }, Some(m)) = (what, self.owner.mirror.get_mut(&key)) {
                m.end = m.end.max(now + left);
                m.us = now * 1000 + 950;
            }
        }
    }

    /// Against the rule: applies an own change at its reply.
    fn apply_at_once(&mut self, operations: &[Operation], now: i64) {
        for Operation { what, key } in operations {
            match what {
                What::Join(left) => {
                    let member = self.member(now + left, now);
                    self.owner.mirror.insert(*key, member);
                }
                What::Leave => {
                    self.owner.mirror.remove(key);
                }
                _ => {}
            }
        }
    }

    /// Takes the answer to a beat: looks for a step of the clock, and for groups that are missing.
    fn kept(&mut self, new: bool, now: i64, after: u64, groups: usize) {
        self.owner.page_age += 1;
        if self.owner.page_asked && self.owner.page_age > 2 && !self.old {
            self.owner.page_asked = false;
        }
        self.owner.keeping = false;
        let offset = now - self.time;
        let stepped = self.owner.offset.is_some_and(|before| (offset - before).abs() > STEP);
        if stepped && !self.breaks(Broken::NoClock) && !self.old {
            self.owner.rewalk = Some(true);
            self.owner.clock_stepped = true;
            self.say(|| "owner sees a step of the clock".to_owned());
        }
        self.owner.offset = Some(offset);
        self.owner.kept_after = after;
        let living = self.owner.mirror.iter().filter(|(_, m)| m.counted_end > self.time);
        let own: BTreeSet<u8> = living.map(|(key, _)| key.0).collect();
        if !self.old
            && groups < own.len()
            && self.owner.verdict.is_none()
            && self.owner.walk.is_none()
            && self.owner.rewalk.is_none()
            && !self.breaks(Broken::NoScrub)
        {
            self.owner.rewalk = Some(false);
        }
        if self.old && new && after > 0 {
            self.owner.lost_since = true;
            self.owner.reads_all = true;
            let members: Vec<(Key, i64)> = self.owner.mirror.iter().map(|(key, m)| (*key, m.end)).collect();
            for (key, end) in members {
                let what = What::JoinIfAbsent { end: (end - now).max(1), read: u64::MAX };
                self.owner.plan_repair(Operation { what, key });
            }
        }
    }
}
