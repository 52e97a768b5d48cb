//! A step of the world: faults, and then somebody moves.

use crate::oracle::{Expected, Unsettled};
use crate::owner::Planned;
use crate::rules::Broken;
use crate::state::{ADDRESSES, Entry, GROUPS, LONG, Operation, Reply, Server, What};
use crate::world::World;

impl World {
    /// Takes a step. A calm one has no faults, and nobody changes or sends anything.
    pub fn step(&mut self, calm: bool) {
        self.time += self.random.below(12) as i64;
        self.break_connection(calm);
        self.bring_old_state_back(calm);
        self.lose_something(calm);
        self.set_clock_or_flush(calm);
        let choices = if self.may_meet('s', calm) { 14 } else { 10 };
        for _ in 0..2 {
            self.move_somebody(choices, calm);
        }
        if self.owner.clock_stepped && self.is_quiet() {
            self.owner.clock_stepped = false;
        }
        self.settle();
    }

    /// Reports whether a fault may come now. Most come only when the last one is healed.
    fn may_meet(&self, fault: char, calm: bool) -> bool {
        let is_time = "bk".contains(fault) || self.rules.compound || self.unsettled.is_none();
        self.rules.meets(fault) && !calm && (fault == 's' || !self.light && is_time)
    }

    fn break_connection(&mut self, calm: bool) {
        if self.may_meet('b', calm) && self.owner.up && self.random.one_in(150) {
            self.cut_somewhere();
        }
        if !self.owner.up && self.random.percent(20) {
            self.owner.up = true;
            self.owner.wants_keep = true;
            self.say(|| "connected".to_owned());
        }
        if self.random.one_in(60) {
            self.owner.wants_keep = true;
        }
        if self.may_meet('k', calm)
            && self.random.one_in(40)
            && let Some(Reply::Kept { .. }) = self.replies.front()
        {
            self.cut(0);
        }
    }

    fn cut_somewhere(&mut self) {
        let executed = self.random.below(self.calls.len() as u64 + 1);
        self.cut(executed as usize);
    }

    /// Breaks the connection after some more calls were executed. All replies are lost.
    fn cut(&mut self, executed: usize) {
        self.say(|| "connection breaks".to_owned());
        for _ in 0..executed {
            if let Some(call) = self.calls.pop_front() {
                self.execute(call);
            }
        }
        self.calls.clear();
        self.replies.clear();
        let owner = &mut self.owner;
        owner.up = false;
        owner.popping = false;
        owner.keeping = false;
        owner.page_asked = false;
        owner.scrubbing = false;
        owner.begins = None;
        if let Some(call) = owner.in_flight.take() {
            let unread = owner.unread.iter().find(|u| u.call == call);
            if unread.is_some_and(|u| u.operations.iter().any(|p| !p.by_program)) {
                owner.rewalk = Some(owner.clock_stepped);
            }
        }
        if self.old {
            let planned = owner.unread.drain(..).flat_map(|u| u.operations);
            owner.todo.extend(planned.filter(|p| !p.by_program));
        }
    }

    fn bring_old_state_back(&mut self, calm: bool) {
        if calm || !(self.rules.meets('r') || self.rules.meets('l')) {
            return;
        }
        if self.random.one_in(80) {
            self.snapshot = Some((self.server.clone(), self.changes));
        }
        if !(self.may_meet('r', calm) || self.may_meet('l', calm)) || !self.random.one_in(250) {
            return;
        }
        if self.owner.up {
            self.cut_somewhere();
        }
        self.fault(true, false);
        self.flushing = None;
        let (server, changes) = if self.rules.meets('l') || self.random.percent(15) {
            (Server::default(), 0)
        } else {
            self.snapshot.clone().unwrap_or_default()
        };
        self.server = server.clone();
        self.snapshot = Some((server, changes));
        // What the owner has read of the changes since comes back by itself, and so does what it was answered of its own.
        for (key, truth) in self.truth.iter_mut().filter(|(_, truth)| truth.change > changes) {
            let is_read = self.read.get(key).is_some_and(|c| *c >= truth.change);
            let is_answered = self.answered.get(key).is_some_and(|c| *c >= truth.change);
            if !is_read {
                self.limbo.insert(*key);
            }
            let comes_back = is_read || truth.by_owner && is_answered;
            if !comes_back {
                truth.expected = Expected::Any;
            }
        }
        self.say(|| "OLD STATE comes back".to_owned());
    }

    fn lose_something(&mut self, calm: bool) {
        if self.may_meet('q', calm) && self.random.one_in(300) {
            self.fault(false, false);
            self.server.queue.clear();
            self.say(|| "queue lost".to_owned());
        }
        if !self.may_meet('e', calm) || !self.random.one_in(200) {
            return;
        }
        self.fault(false, true);
        let group = self.random.below(u64::from(GROUPS)) as u8;
        let what = self.random.below(4);
        self.say(|| format!("evict {what} of {group}"));
        let known = self.server.groups.get_mut(&group);
        match (what, known) {
            (0, Some(known)) => known.members.clear(),
            (1, Some(known)) => known.row = None,
            (2, Some(known)) => known.indexed = false,
            (0..=2, None) => {}
            _ => self.server.groups.values_mut().for_each(|known| known.listed = false),
        }
    }

    fn set_clock_or_flush(&mut self, calm: bool) {
        if (self.may_meet('c', calm) || self.may_meet('d', calm)) && self.random.one_in(300) {
            let steps = [-60_000, -6_000, 61_000, 10_000_000, 2_000_000_000, -10_000_000];
            let step = if self.rules.meets('d') { -60_000 } else { steps[self.random.below(6) as usize] };
            self.offset += step;
            self.clock_was_set = true;
            self.fault(true, false);
            if self.old && (-99_999..0).contains(&step) {
                self.unsettled = None;
            }
            self.say(|| format!("clock set by {step}"));
        }
        if self.flushing.is_some() {
            self.flush_on();
        } else if self.may_meet('f', calm) && self.random.one_in(300) {
            self.fault(false, false);
            for truth in self.truth.values_mut() {
                truth.expected = Expected::Any;
            }
            self.flushing = Some(0);
            self.say(|| "flush begins".to_owned());
        }
    }

    /// Removes the next group, or the inbox's entries. The last step takes out who is in again, and tells the owner.
    fn flush_on(&mut self) {
        let Some(group) = self.flushing else { return };
        if !self.random.percent(10) {
            return;
        }
        if group < GROUPS {
            self.server.groups.remove(&group);
            if self.random.percent(25) {
                self.server.queue.clear();
            }
            self.flushing = Some(group + 1);
            self.say(|| format!("flush removes group {group}"));
            return;
        }
        self.flushing = None;
        self.fault(true, false);
        for truth in self.truth.values_mut() {
            truth.expected = Expected::Out;
        }
        if !self.breaks(Broken::FlushLeft) {
            self.server.groups.clear();
        }
        let counts = !self.old && !self.breaks(Broken::FlushLate);
        if let Some(inbox) = &mut self.server.inbox {
            if counts {
                inbox.n += 1;
                inbox.by = (u8::MAX, 0);
                inbox.flushed = inbox.n;
            }
            let now = self.now();
            self.push(Entry::Flushed { now });
        }
        self.say(|| "flush ends".to_owned());
    }

    fn move_somebody(&mut self, choices: u64, calm: bool) {
        match self.random.below(choices) {
            0 | 1 => {
                if let Some(call) = self.calls.pop_front() {
                    let reply = self.execute(call);
                    self.replies.push_back(reply);
                }
            }
            2 | 3 => {
                if let Some(reply) = self.replies.pop_front() {
                    self.read_reply(reply);
                }
            }
            4..=6 => self.act(),
            _ if calm || self.light && !self.random.percent(self.rules.light) => {}
            7 => self.let_program_change(),
            8 | 10 | 11 => {
                if self.random.percent(40) {
                    self.let_others_change();
                }
            }
            _ => {
                let group = self.random.below(u64::from(GROUPS)) as u8;
                self.send(group);
            }
        }
    }

    fn any_key(&mut self) -> (u8, u8) {
        let group = self.random.below(u64::from(GROUPS)) as u8;
        (group, self.random.below(u64::from(ADDRESSES)) as u8)
    }

    /// The owner's own program lets a member join or leave.
    fn let_program_change(&mut self) {
        let key = self.any_key();
        let left = if self.random.percent(15) { 2000 + self.random.below(3000) as i64 } else { LONG };
        if self.owner.todo.len() < 6 && self.random.percent(40) {
            let what = if self.random.percent(60) { What::Join(left) } else { What::Leave };
            let operation = Operation { what, key };
            self.owner.todo.push_back(Planned { operation, by_program: true });
        }
    }

    /// Another client lets members join or leave.
    fn let_others_change(&mut self) {
        let client = 1 + self.random.below(2) as u8;
        self.others[client as usize] += 1;
        let size = 1 + self.random.below(3);
        let mut operations = vec![];
        for _ in 0..size {
            let key = self.any_key();
            let what = if self.random.percent(50) { What::Join(LONG) } else { What::Leave };
            operations.push(Operation { what, key });
        }
        self.change((client, self.others[client as usize]), &operations);
    }

    /// Expects all again, once the last fault is healed: all is quiet after a beat and, if keys were lost, two rounds of
    /// pages.
    fn settle(&mut self) {
        let Some(Unsettled { fault, rounds, scrub }) = self.unsettled else { return };
        let scrubbed = !scrub || self.owner.rounds >= rounds + 2 || self.old || self.breaks(Broken::NoScrub);
        let tells = self.server.inbox.as_ref().is_some_and(|inbox| inbox.tells);
        if scrubbed && tells && self.flushing.is_none() && self.owner.kept_after >= fault && self.is_quiet() {
            self.say(|| "settled".to_owned());
            self.unsettled = None;
            self.weak = false;
            self.limbo.clear();
        }
    }
}
