//! What the server does with a call.

use crate::oracle::{Expected, Message, Truth};
use crate::rules::Broken;
use crate::state::{
    ADDRESSES, Call, Entry, GROUPS, InboxHash, Key, LEASE, Listed, MOST_CONTROLS, OWNER, Operation, Outcome,
    PAGE, Reply, Tag, What,
};
use crate::world::World;

/// What the operations of a change did.
#[derive(Default)]
struct Effects {
    done: Vec<(Outcome, Key, i64)>,
    /// What schema 2 tells: an end and whether it is the first of its group, or none for who left.
    old: Vec<(Key, Option<(i64, bool)>)>,
}

impl World {
    pub fn execute(&mut self, call: Call) -> Reply {
        let now = self.now();
        match call {
            Call::Change { call, operations } => {
                self.change((OWNER, call), &operations);
                Reply::Changed { call, now, n: self.server.n() }
            }
            Call::Keep { call, n, by, after } => self.keep(call, n, by, after),
            Call::Page { call, low } => self.page(call, low),
            Call::Pop { acknowledged } => {
                if let Some(at) = self.server.queue.iter().position(|(u, _)| *u == acknowledged) {
                    self.server.queue.drain(..=at);
                }
                Reply::Popped(self.server.queue.iter().take(3).cloned().collect())
            }
            Call::ReadAll => {
                if let Some(inbox) = &mut self.server.inbox {
                    inbox.tells = true;
                }
                let groups = self.server.groups.iter().filter(|(_, x)| x.listed);
                let members = groups.flat_map(|(g, x)| x.members.iter().map(|(a, end)| ((*g, *a), *end)));
                Reply::All { now, members: members.collect() }
            }
        }
    }

    /// Keeps the inbox, and tells its owner where the two differ.
    fn keep(&mut self, call: u64, n: u64, by: Tag, after: u64) -> Reply {
        let now = self.now();
        let new = self.server.inbox.is_none();
        let inbox = self.server.inbox.get_or_insert(InboxHash::NEW);
        inbox.lease_end = now + LEASE;
        let (own_n, own_by) = (inbox.n, inbox.by);
        let differs = !self.old && !(own_n == n && (own_by == by || self.breaks(Broken::NoTag)));
        if differs {
            self.push(Entry::Kept { n: own_n, by: own_by, call: (OWNER, call) });
        }
        let groups = self.server.groups.values().filter(|x| x.listed).count();
        self.say(|| format!("server keep n={n} by={by:?}, has {own_n} {own_by:?}, differs={differs}"));
        Reply::Kept { new, now, after, groups }
    }

    /// Writes a page of the memberships into the inbox.
    fn page(&mut self, call: u64, low: u8) -> Reply {
        let now = self.now();
        let listed = self.server.groups.iter().filter(|(g, x)| **g >= low && x.listed).take(PAGE);
        let groups: Vec<Listed> = listed
            .map(|(g, x)| Listed {
                group: *g,
                complete: x.indexed && x.row.is_some(),
                members: x.members.iter().map(|(a, end)| (*a, *end)).collect(),
            })
            .collect();
        let high = match groups.last() {
            Some(last) if groups.len() == PAGE => last.group,
            _ => GROUPS,
        };
        if let Some(inbox) = &self.server.inbox {
            let (n, by) = (inbox.n, inbox.by);
            self.say(|| format!("server page {low}..{high} {groups:?}"));
            self.push(Entry::Page { n, by, call: (OWNER, call), low, high, now, groups });
        }
        Reply::Paged
    }

    /// Changes memberships, numbers the change, and tells it in the inbox.
    pub fn change(&mut self, by: Tag, operations: &[Operation]) {
        self.changes += 1;
        let change = self.changes;
        self.change_of.insert(by, change);
        let is_own = by.0 == OWNER;
        if !self.old && !self.breaks(Broken::UnknownQuiet) {
            self.server.inbox.get_or_insert(InboxHash::NEW);
        }
        if let (Some(inbox), false) = (&mut self.server.inbox, self.old) {
            for operation in operations {
                if let What::Begin(n) = operation.what {
                    inbox.n = inbox.n.max(n);
                    inbox.tells = true;
                }
            }
            inbox.n += 1;
            inbox.by = by;
        }
        let in_limbo = |key: &Key| !is_own && self.unsettled.is_some() && self.limbo.contains(key);
        let unknown: Vec<Key> = operations.iter().map(|o| o.key).filter(in_limbo).collect();
        let mut effects = Effects::default();
        for operation in operations {
            self.apply(*operation, is_own, change, &mut effects);
        }
        for key in unknown {
            self.truth.insert(key, Truth { expected: Expected::Any, by_owner: false, change });
        }
        let Some(inbox) = &self.server.inbox else { return };
        let (n, tells) = (inbox.n, inbox.tells);
        if self.old {
            let repairs = operations.iter().any(|o| matches!(o.what, What::JoinIfAbsent { .. }));
            if !repairs {
                self.tell_by_schema_2(effects.old);
            }
        } else if is_own || tells {
            self.tell(n, by, effects.done);
        }
    }

    fn tell(&mut self, n: u64, by: Tag, done: Vec<(Outcome, Key, i64)>) {
        if by.0 != OWNER && self.is_full() {
            self.overflow();
            if self.unsettled.is_none() {
                self.fault(false, false);
            }
            return;
        }
        self.say(|| format!("server change n={n} by={by:?} {done:?}"));
        let now = self.now();
        self.push(Entry::Changes { n, by, now, done });
    }

    fn tell_by_schema_2(&mut self, told: Vec<(Key, Option<(i64, bool)>)>) {
        for (key, joined) in told {
            if !self.server.inbox.as_ref().is_some_and(|inbox| inbox.tells) {
                continue;
            }
            self.us = (self.us + 1) % 900;
            let us = self.now() * 1000 + self.us;
            if self.is_full() {
                self.overflow();
                continue;
            }
            self.push(match joined {
                Some((end, first)) => Entry::OldJoin { key, end, us, first },
                None => Entry::OldLeave { key, us },
            });
        }
    }

    fn is_full(&self) -> bool {
        self.rules.meets('s') && self.server.controls() >= MOST_CONTROLS
    }

    fn overflow(&mut self) {
        if let Some(inbox) = &mut self.server.inbox {
            inbox.tells = false;
        }
        self.push(Entry::Overflow);
    }

    fn apply(&mut self, operation: Operation, is_own: bool, change: u64, effects: &mut Effects) {
        let Operation { what, key } = operation;
        let seen = self.server.end_of(key);
        match what {
            What::Begin(_) => effects.done.push((Outcome::Begun, key, 0)),
            What::SetEndIf { seen: wanted, .. } if seen != Some(wanted) => {}
            What::LeaveIf(wanted) if !self.breaks(Broken::GhostAlways) && seen != Some(wanted) => {}
            What::JoinIfAbsent { read, .. }
                if self.server.flushed() > read && !self.breaks(Broken::FlushLate) => {}
            What::Join(time) | What::JoinIfAbsent { end: time, .. } | What::SetEndIf { end: time, .. } => {
                self.join(operation, time, is_own, change, effects);
            }
            What::Leave | What::LeaveIf(_) => {
                if let Some(group) = self.server.groups.get_mut(&key.0) {
                    group.members.remove(&key.1);
                    if group.members.is_empty() {
                        self.server.groups.remove(&key.0);
                    }
                }
                if what == What::Leave {
                    self.truth.insert(key, Truth { expected: Expected::Out, by_owner: is_own, change });
                }
                if seen.is_some() {
                    effects.old.push((key, None));
                }
                if seen.is_some() || !self.breaks(Broken::AbsentQuiet) {
                    let outcome = if what == What::Leave { Outcome::Left } else { Outcome::Repaired };
                    effects.done.push((outcome, key, -1));
                }
            }
        }
    }

    /// Joins for a time, or until an end.
    fn join(&mut self, operation: Operation, time: i64, is_own: bool, change: u64, effects: &mut Effects) {
        let Operation { what, key } = operation;
        let now = self.now();
        let joins = matches!(what, What::Join(_));
        let is_left = joins || self.old || self.breaks(Broken::FixLeft);
        let end = if is_left { now + time } else { time };
        if end <= now {
            return;
        }
        let group = self.server.groups.entry(key.0).or_default();
        let first = group.members.is_empty();
        let is_in = group.members.get(&key.1).is_some_and(|end| *end > now);
        if !(is_in && matches!(what, What::JoinIfAbsent { .. })) {
            group.members.insert(key.1, end);
        }
        let end = group.members.get(&key.1).copied().unwrap_or(end);
        group.row = Some(group.row.unwrap_or(0).max(end));
        group.indexed = true;
        group.listed = true;
        if joins {
            let expected = Expected::In(self.time + time);
            self.truth.insert(key, Truth { expected, by_owner: is_own, change });
            effects.done.push((Outcome::Joined, key, end));
            effects.old.push((key, Some((end, first))));
        } else {
            effects.done.push((Outcome::Repaired, key, end));
        }
    }

    /// Sends a message to a group: into the inbox, if it has a live row and its owner lives.
    pub fn send(&mut self, group: u8) {
        let now = self.now();
        let message = self.messages.len();
        let tells = self.server.inbox.as_ref().is_some_and(|inbox| inbox.tells);
        let expected = (0..ADDRESSES).map(|address| {
            let key = (group, address);
            let known = self.truth.get(&key).map_or(Expected::Out, |truth| truth.expected);
            let in_limbo = self.unsettled.is_some() && self.limbo.contains(&key);
            (address, if in_limbo { Expected::Any } else { known })
        });
        let expected = expected.collect();
        let settled = self.unsettled.is_none() && tells;
        self.messages.push(Message {
            group,
            expected,
            settled,
            weak: self.weak && tells,
            done: false,
            time: self.time,
            clock_was_set: self.clock_was_set,
        });
        let is_alive = self.server.inbox.as_ref().is_some_and(|inbox| inbox.lease_end > now);
        let mut reaches = false;
        if let Some(known) = self.server.groups.get(&group).filter(|x| x.indexed) {
            if known.row.is_some_and(|end| end > now) {
                reaches = is_alive;
            } else {
                self.server.groups.remove(&group);
            }
        }
        self.say(|| format!("message {message} to {group} reaches={reaches} settled={settled}"));
        if reaches {
            self.push(Entry::Message { message, group, now });
        } else {
            self.check(message, &[]);
        }
    }
}
