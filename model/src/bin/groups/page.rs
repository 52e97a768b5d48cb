//! What the owner does with a page of the server's memberships.

use std::collections::{BTreeMap, BTreeSet};

use crate::owner::{Member, Trust, Walk};
use crate::rules::Broken;
use crate::state::{GROUPS, Key, Listed, Operation, Tag, What};
use crate::world::World;

/// A page's members: the end of each, and whether its group has row and index.
type Content = BTreeMap<Key, (i64, bool)>;

impl World {
    /// Takes a page over, or has the server put right after the mirror. A page counts only for the walk that asked for it,
    /// and at the number that the mirror has.
    pub fn read_page(&mut self, n: u64, by: Tag, call: u64, range: (u8, u8), now: i64, groups: &[Listed]) {
        let (low, high) = range;
        if !self.note_own_call(call, n) {
            return;
        }
        let walk = self.owner.walk;
        let trust = match walk {
            Some(walk) if walk.next == low && call >= self.owner.page_call => walk.trust,
            None if low == self.owner.scrub => Trust::Mirror,
            _ => return,
        };
        if self.owner.verdict.is_some() {
            return;
        }
        if !(n == self.owner.n && by == self.owner.by) {
            self.conclude_from(n);
            if self.owner.verdict.is_some() {
                return;
            }
        }
        let mut content = Content::new();
        for listed in groups {
            let members = listed.members.iter();
            content.extend(members.map(|(a, end)| ((listed.group, *a), (*end, listed.complete))));
        }
        if trust == Trust::Server {
            self.owner.mirror.retain(|key, _| key.0 < low || key.0 > high);
            for (key, (end, _)) in content {
                let member = self.member(end, now);
                self.owner.mirror.insert(key, member);
            }
        } else {
            for repair in self.repairs(range, now, &content) {
                if !matches!(repair.what, What::LeaveIf(_)) {
                    self.owner.pending.insert(repair.key);
                }
                self.fired += 1;
                self.say(|| format!("owner repairs {repair:?}"));
                self.owner.plan_repair(repair);
            }
        }
        self.go_on_after(walk, high);
    }

    fn go_on_after(&mut self, walk: Option<Walk>, high: u8) {
        let next = if high >= GROUPS { 0 } else { high + 1 };
        let Some(walk) = walk else {
            self.owner.scrub = next;
            self.owner.rounds += u64::from(next == 0);
            return;
        };
        self.owner.page_asked = false;
        if next != 0 {
            self.owner.walk = Some(Walk { next, ..walk });
            return;
        }
        self.owner.walk = None;
        if walk.fixes_clock {
            self.owner.fixes_clock = false;
        }
    }

    /// Returns what puts the server right: who is too much, who is missing, and whose end differs. None for members of whom
    /// a change of the program is under way.
    fn repairs(&self, range: (u8, u8), now: i64, content: &Content) -> Vec<Operation> {
        let owner = &self.owner;
        let planned = owner.todo.iter().chain(owner.unread.iter().flat_map(|u| &u.operations));
        let busy: BTreeSet<Key> = planned.filter(|p| p.by_program).map(|p| p.operation.key).collect();
        let is_free = |key: &Key| self.breaks(Broken::FixOver) || !busy.contains(key);
        let mut repairs = vec![];
        for (key, (end, _)) in content {
            if *end > now && !owner.mirror.contains_key(key) && is_free(key) {
                repairs.push(Operation { what: What::LeaveIf(*end), key: *key });
            }
        }
        for (key, member) in owner.mirror.range((range.0, 0)..=(range.1, u8::MAX)) {
            let what = self.repair(now, *member, content.get(key).copied(), is_free(key));
            repairs.extend(what.map(|what| Operation { what, key: *key }));
        }
        repairs
    }

    /// Returns the repair of a member of the mirror, by what the page has of it.
    fn repair(
        &self,
        now: i64,
        member: Member,
        on_server: Option<(i64, bool)>,
        is_free: bool,
    ) -> Option<What> {
        let fixes_clock = self.owner.fixes_clock;
        let counted_end = member.counted_end + self.owner.offset.unwrap_or(0);
        let (left, end) = if fixes_clock {
            (member.counted_end - self.time, counted_end)
        } else {
            (member.end - now, member.end)
        };
        if left <= 0 {
            let superfluous = on_server.filter(|(end, _)| fixes_clock && *end > now);
            return superfluous.map(|(end, _)| What::LeaveIf(end));
        }
        if !is_free {
            return None;
        }
        let named = if self.breaks(Broken::FixLeft) { left } else { end };
        match on_server {
            Some((seen, true)) => {
                let same = if fixes_clock {
                    (seen - counted_end).abs() < 1000
                } else {
                    seen == member.end || self.breaks(Broken::NoEnds)
                };
                (seen <= now || !same).then_some(What::SetEndIf { end: named, seen })
            }
            _ => Some(What::JoinIfAbsent { end: named, read: self.owner.n }),
        }
    }
}
