//! What is to hold: who gets a message, when all faults are healed.

use crate::owner::Owner;
use crate::state::{Call, Reply};
use crate::world::World;

/// What is expected of a member: in until a time of the clock that counts, out, or either.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Expected {
    In(i64),
    Out,
    Any,
}

/// The last change of a member.
#[derive(Clone, Copy)]
pub struct Truth {
    pub expected: Expected,
    pub by_owner: bool,
    pub change: u64,
}

/// The last fault, which is not healed yet. `scrub`: it is healed after two rounds of pages beyond `rounds`.
#[derive(Clone, Copy, Debug)]
pub struct Unsettled {
    pub fault: u64,
    pub rounds: u64,
    pub scrub: bool,
}

/// A message to a group, and who is to get it.
pub struct Message {
    pub group: u8,
    pub expected: Vec<(u8, Expected)>,
    /// All faults were healed.
    pub settled: bool,
    /// Who is out must not get it, though a fault was not healed.
    pub weak: bool,
    pub done: bool,
    pub time: i64,
    pub clock_was_set: bool,
}

impl Message {
    /// Returns whether a member is to get the message, or `None` if either is right.
    fn wants(&self, expected: Expected) -> Option<bool> {
        match expected {
            Expected::In(end) if self.clock_was_set && (end - self.time).abs() < 6000 => None,
            Expected::In(end) => Some(end > self.time),
            Expected::Out => Some(false),
            Expected::Any => None,
        }
    }
}

impl World {
    pub fn fail(&mut self, what: String) {
        self.say(|| format!("VIOLATION {what}"));
        self.failure.get_or_insert(what);
    }

    /// Compares who got a message with who is a member.
    pub fn check(&mut self, message: usize, got: &[u8]) {
        let m = &mut self.messages[message];
        if m.done {
            return;
        }
        m.done = true;
        let mut wrong = None;
        for &(address, expected) in &m.expected {
            let gets = got.contains(&address);
            let Some(wanted) = m.wants(expected).filter(|wanted| *wanted != gets) else { continue };
            if m.settled || m.weak && expected == Expected::Out {
                wrong = Some((address, wanted));
            }
        }
        let (group, settled) = (m.group, m.settled);
        self.checked += u64::from(settled);
        if let Some((address, wanted)) = wrong {
            let how = if wanted { "missed it" } else { "got it, but is no member" };
            self.fail(format!("message {message} to {group} (settled={settled}): {address} {how}"));
        }
    }

    /// Notes a fault: until it is healed, little is expected. `weak`: who is out must still get nothing.
    pub fn fault(&mut self, weak: bool, scrub: bool) {
        self.faults += 1;
        let scrub = scrub || self.unsettled.is_some_and(|u| u.scrub);
        self.unsettled = Some(Unsettled { fault: self.faults, rounds: self.owner.rounds, scrub });
        self.weak = weak;
    }

    /// Reports whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        let Owner { acknowledged, .. } = self.owner;
        self.owner.is_quiet()
            && self.server.queue.iter().all(|(u, _)| *u <= acknowledged)
            && self.calls.iter().all(|c| matches!(c, Call::Pop { .. }))
            && self.replies.iter().all(|r| matches!(r, Reply::Popped(entries) if entries.is_empty()))
    }
}

impl Owner {
    fn is_quiet(&self) -> bool {
        self.up
            && self.todo.is_empty()
            && self.in_flight.is_none()
            && self.verdict.is_none()
            && self.walk.is_none()
            && self.rewalk.is_none()
            && self.unread.is_empty()
            && self.buffer.is_empty()
            && !self.reads_all
    }
}
