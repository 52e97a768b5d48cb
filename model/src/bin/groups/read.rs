//! What the owner does with the entries of its inbox, one after the other.

use std::collections::BTreeSet;

use crate::owner::{Member, Planned, Since, Trust, Unread, Walk};
use crate::rules::Broken;
use crate::state::{Entry, Key, OWNER, Operation, Outcome, Tag, What};
use crate::world::World;

impl World {
    pub fn read_entry(&mut self, entry: Entry) {
        self.say(|| format!("owner reads {entry:?}"));
        match entry {
            Entry::Message { message, group, now } => {
                let members = self.owner.mirror.iter().filter(|(key, m)| key.0 == group && m.end > now);
                let got: Vec<u8> = members.map(|(key, _)| key.1).collect();
                self.check(message, &got);
            }
            Entry::Overflow if self.old => self.owner.reads_all = true,
            Entry::Overflow => self.conclude(Trust::Server),
            Entry::Flushed { now } => {
                self.owner.mirror.clear();
                if !self.breaks(Broken::FlushLost) {
                    // R41: an own change from before it whose entry was not read is lost, and would have been removed by it.
                    let told_at = &self.owner.told_at;
                    self.owner
                        .unread
                        .retain(|u| u.told.is_none() || told_at.get(&u.call).is_none_or(|told| *told > now));
                }
                self.owner.pending.clear();
                self.conclude(Trust::Server);
            }
            Entry::Changes { n, by, now, done } => self.read_changes(n, by, now, &done),
            Entry::Kept { n, by, call } => {
                let is_new = self.note_own_call(call.1, n);
                let same = n == self.owner.n && (by == self.owner.by || self.breaks(Broken::NoTag));
                if is_new && self.owner.verdict.is_none() && !same {
                    self.conclude_from(n);
                }
            }
            Entry::Page { n, by, call, low, high, now, groups } => {
                self.read_page(n, by, call.1, (low, high), now, &groups);
            }
            Entry::OldJoin { key, end, us, first } => {
                if first && !self.owner.lost_since {
                    self.owner.mirror.retain(|k, m| k.0 != key.0 || m.us >= us);
                }
                self.take_old(key, Member { end, counted_end: 0, us });
            }
            Entry::OldLeave { key, us } => {
                if self.owner.mirror.get(&key).is_some_and(|m| m.us <= us) {
                    self.owner.mirror.remove(&key);
                }
            }
        }
    }

    /// Takes a member into the mirror by schema 2: the later word counts.
    pub fn take_old(&mut self, key: Key, member: Member) {
        let known = self.owner.mirror.entry(key).or_insert(member);
        if known.us <= member.us {
            *known = member;
        }
    }

    /// Decides whom to believe. That the mirror is right is not taken back before the chain begins anew.
    pub fn conclude(&mut self, trust: Trust) {
        if self.breaks(Broken::NoChain) {
            return;
        }
        let trust = if self.breaks(Broken::TrustServer) { Trust::Server } else { trust };
        self.fired += 1;
        self.say(|| format!("owner believes {trust:?}"));
        if self.owner.verdict != Some(Trust::Mirror) {
            self.owner.verdict = Some(trust);
        }
    }

    /// Decides by a number that is not the owner's: the server went back, or entries are missing.
    pub fn conclude_from(&mut self, n: u64) {
        self.conclude(if n <= self.owner.n { Trust::Mirror } else { Trust::Server });
    }

    /// Notes a call of the owner whose entry was read. Own changes before it are lost. Returns false for a repeat of an old
    /// state.
    pub fn note_own_call(&mut self, call: u64, n: u64) -> bool {
        if self.breaks(Broken::NoFilter) {
            return true;
        }
        if call <= self.last_seen(OWNER) {
            self.conclude(Trust::Mirror);
            return false;
        }
        self.owner.seen.insert(OWNER, call);
        if self.owner.begins.is_some_and(|begins| begins < call) {
            self.owner.begins = None;
        }
        let lost = self.owner.unread.iter().filter(|u| u.call < call).filter_map(|u| u.told);
        for told in lost.collect::<Vec<u64>>() {
            self.conclude(if told > n || told == 0 { Trust::Mirror } else { Trust::Server });
        }
        self.owner.unread.retain(|u| u.call >= call || u.told.is_some());
        true
    }

    fn last_seen(&self, client: u8) -> u64 {
        self.owner.seen.get(&client).copied().unwrap_or(0)
    }

    fn read_changes(&mut self, n: u64, by: Tag, now: i64, done: &[(Outcome, Key, i64)]) {
        let is_own = by.0 == OWNER;
        let is_repeat = by.1 <= self.last_seen(by.0);
        let is_fork = |u: &Unread| u.told == Some(n) && by != (OWNER, u.call);
        if !self.breaks(Broken::NoFork) && self.owner.unread.iter().any(is_fork) {
            self.conclude(Trust::Mirror);
        }
        if !self.breaks(Broken::NoFilter) && is_repeat {
            self.conclude(Trust::Mirror);
            return;
        }
        if !is_own {
            self.owner.seen.insert(by.0, by.1);
        } else if !self.note_own_call(by.1, n) {
            return;
        }
        if done.iter().any(|d| d.0 == Outcome::Begun) {
            self.begin_anew(n, by, now);
            return;
        }
        if self.owner.verdict.is_none() {
            if n == self.owner.n + 1 {
                self.owner.n = n;
                self.owner.by = by;
            } else {
                self.conclude_from(n);
            }
        }
        for (outcome, key, _) in done {
            if matches!(outcome, Outcome::Joined | Outcome::Left) {
                if !self.owner.unread.is_empty() && self.owner.verdict.is_some() {
                    self.owner.since.push(Since { key: *key, n, call: if is_own { by.1 } else { 0 } });
                }
                let change = self.change_of.get(&by).copied().unwrap_or(0);
                self.read.insert(*key, change);
            }
        }
        let asked = if is_own { self.take_unread(by.1, done) } else { vec![] };
        self.apply_changes(is_own, now, done, &asked);
    }

    /// Returns the operations of an own change that was read. If a repair was refused, a walk is to follow.
    fn take_unread(&mut self, call: u64, done: &[(Outcome, Key, i64)]) -> Vec<Operation> {
        let mut asked: Vec<Operation> = vec![];
        for unread in self.owner.unread.iter().filter(|u| u.call == call) {
            asked.extend(unread.operations.iter().map(|p| p.operation));
        }
        let repairs = asked.iter().filter(|o| o.what.is_repair()).count();
        if repairs > done.iter().filter(|d| d.0 == Outcome::Repaired).count() {
            self.owner.walk_again();
        }
        self.owner.unread.retain(|u| u.call != call);
        asked
    }

    fn apply_changes(&mut self, is_own: bool, now: i64, done: &[(Outcome, Key, i64)], asked: &[Operation]) {
        // Members that the program changed in this entry.
        let mut changed: BTreeSet<Key> = BTreeSet::new();
        for &(outcome, key, end) in done {
            let of_member = asked.iter().find(|o| o.key == key).map(|o| o.what);
            match outcome {
                Outcome::Joined | Outcome::Left if is_own && self.breaks(Broken::OwnReply) => {}
                Outcome::Joined => {
                    let member = self.member(end, now);
                    self.owner.mirror.insert(key, member);
                    self.owner.pending.remove(&key);
                    changed.insert(key);
                }
                Outcome::Left => {
                    self.owner.mirror.remove(&key);
                    self.owner.pending.remove(&key);
                    changed.insert(key);
                }
                Outcome::Repaired if end >= 0 => {
                    self.apply_repair(key, end, now, of_member, changed.contains(&key));
                }
                Outcome::Repaired => {
                    let guard = of_member.map(|what| match what {
                        What::LeaveIf(end) => end,
                        _ => -1,
                    });
                    if self.owner.mirror.get(&key).map(|m| m.end) == guard {
                        self.owner.mirror.remove(&key);
                    }
                }
                Outcome::Begun => {}
            }
        }
    }

    /// Takes a repair that set an end. The mirror stays, if something was read of the member since; then the server is put
    /// right after it.
    fn apply_repair(&mut self, key: Key, end: i64, now: i64, asked: Option<What>, changed: bool) {
        let was_pending = self.owner.pending.remove(&key);
        let wanted = asked.map(|what| match what {
            What::JoinIfAbsent { end, .. } | What::SetEndIf { end, .. } => end,
            _ => -1,
        });
        let (adopts, resurrects) = (self.breaks(Broken::Adopt), self.breaks(Broken::Resurrect));
        match self.owner.mirror.get_mut(&key) {
            Some(m) if adopts || was_pending && wanted == Some(end) => m.end = end,
            Some(m) if m.end == end => {}
            Some(_) if was_pending => self.owner.walk_again(),
            Some(m) => {
                let what = What::SetEndIf { end: m.end, seen: end };
                self.owner.plan_repair(Operation { what, key });
                self.owner.pending.insert(key);
            }
            None if resurrects => {
                let member = self.member(end, now);
                self.owner.mirror.insert(key, member);
            }
            None if !changed => self.owner.plan_repair(Operation { what: What::LeaveIf(end), key }),
            None => {}
        }
    }

    /// Takes the number of an entry as it is, and walks through all pages. If the mirror is right, own changes that were
    /// answered and lost come first.
    fn begin_anew(&mut self, n: u64, by: Tag, now: i64) {
        self.owner.begins = None;
        self.owner.n = n;
        self.owner.by = by;
        let lost: Vec<Unread> = self.owner.unread.iter().filter(|u| u.call < by.1).cloned().collect();
        self.owner.unread.retain(|u| u.call > by.1);
        let Some(trust) = self.owner.verdict.take() else { return };
        if trust == Trust::Mirror && !self.breaks(Broken::NoUnseen) {
            for unread in lost {
                self.apply_lost(&unread, now);
            }
        }
        self.owner.since.clear();
        self.owner.pending.clear();
        self.owner.todo.retain(|p| p.by_program);
        self.owner.walk = Some(Walk { trust, next: 0, fixes_clock: false });
        self.owner.page_asked = false;
    }

    /// Applies a change that was answered and lost, unless a later one of the member was read.
    fn apply_lost(&mut self, unread: &Unread, now: i64) {
        let Some(told) = unread.told else { return };
        for Planned { operation, .. } in &unread.operations {
            let key = operation.key;
            let is_later =
                |s: &Since| s.key == key && if s.call > 0 { s.call > unread.call } else { s.n >= told };
            if self.owner.since.iter().any(is_later) {
                continue;
            }
            match operation.what {
                What::Join(left) => {
                    let told_at = self.owner.told_at.get(&unread.call).copied().unwrap_or(now);
                    let end = told_at + left;
                    let member = Member { end, counted_end: self.time + end - now, us: 0 };
                    self.owner.mirror.insert(key, member);
                }
                What::Leave => {
                    self.owner.mirror.remove(&key);
                }
                _ => {}
            }
        }
    }

    /// Returns a member of the mirror by an entry of the server's time `now`, which may be old.
    pub fn member(&self, end: i64, now: i64) -> Member {
        let age = self.owner.offset.map_or(0, |offset| self.time + offset - now);
        let age = age.clamp(0, self.time - self.owner.empty_at);
        Member { end, counted_end: self.time - age + (end - now), us: 0 }
    }
}
