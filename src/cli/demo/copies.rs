//! What became of each copy of a message to a room. There is one copy for each mailbox that was in the room at the send.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Shared by all who send to rooms and all mailboxes.
#[derive(Clone, Debug)]
pub(super) struct Copies(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    attempts: u64,
    sends: u64,
    joins: u64,
    leaves: u64,
    wrong_receipts: u64,
    /// By the number of the mailbox.
    members: HashMap<usize, Share>,
    received: u64,
}

/// The copies of one mailbox, by the numbers of their messages.
#[derive(Debug, Default)]
struct Share {
    due: HashSet<u64>,
    arrivals: HashMap<u64, u64>,
    missed: u64,
}

impl Share {
    fn count(&self, wanted: impl Fn(&u64) -> bool) -> u64 {
        self.arrivals.keys().filter(|number| wanted(number)).count() as u64
    }
}

impl Copies {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins a send to a room. Returns the number of the message.
    pub(super) fn attempt(&self) -> u64 {
        let mut state = self.state();
        state.attempts += 1;
        state.attempts
    }

    /// A message was sent; a copy is due to each of these mailboxes.
    pub(super) fn sent(&self, number: u64, members: impl IntoIterator<Item = usize>) {
        let mut state = self.state();
        state.sends += 1;
        for member in members {
            state.members.entry(member).or_default().due.insert(number);
        }
    }

    pub(super) fn joined(&self) {
        self.state().joins += 1;
    }

    pub(super) fn left(&self) {
        self.state().leaves += 1;
    }

    /// A receipt did not count the queues that were in the room.
    pub(super) fn wrong_receipt(&self) {
        self.state().wrong_receipts += 1;
    }

    pub(super) fn arrived(&self, member: usize, number: u64) {
        let mut state = self.state();
        state.received += 1;
        *state.members.entry(member).or_default().arrivals.entry(number).or_default() += 1;
    }

    /// Records for how many copies a mailbox had no room.
    pub(super) fn missed(&self, member: usize, copies: u64) {
        self.state().members.entry(member).or_default().missed = copies;
    }

    /// How many copies have arrived.
    pub(super) fn received(&self) -> u64 {
        self.state().received
    }

    pub(super) fn sums(&self) -> CopySums {
        let state = self.state();
        let sum = |of: &dyn Fn(&Share) -> u64| state.members.values().map(of).sum::<u64>();
        CopySums {
            sends: state.sends,
            joins: state.joins,
            leaves: state.leaves,
            due: sum(&|member| member.due.len() as u64),
            received: sum(&|member| member.count(|number| member.due.contains(number))),
            missed: sum(&|member| member.missed),
            // For each mailbox alone, so that one too many here does not hide one too few there.
            lost: sum(&|member| {
                let received = member.count(|number| member.due.contains(number));
                (member.due.len() as u64).saturating_sub(received + member.missed)
            }),
            duplicated: sum(&|member| member.arrivals.values().map(|arrivals| arrivals - 1).sum()),
            not_members: sum(&|member| member.count(|number| !member.due.contains(number))),
            wrong_receipts: state.wrong_receipts,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CopySums {
    /// Messages sent to a room.
    pub(super) sends: u64,
    pub(super) joins: u64,
    pub(super) leaves: u64,
    pub(super) due: u64,
    pub(super) received: u64,
    /// Dropped, because the mailbox was full.
    pub(super) missed: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// Received by mailboxes that were not in the room.
    pub(super) not_members: u64,
    #[serde(skip)]
    pub(super) wrong_receipts: u64,
}

impl CopySums {
    /// Describes what is wrong with the sums.
    pub(super) fn problems(&self) -> Vec<String> {
        let Self { due, received, missed, lost, duplicated, not_members, wrong_receipts, .. } = self;
        let wrong = [
            (*lost > 0, format!("{lost} copies to members of rooms were lost")),
            (*duplicated > 0, format!("{duplicated} copies came to a member of a room twice")),
            (*not_members > 0, format!("{not_members} copies came to mailboxes that were not in the room")),
            (
                *wrong_receipts > 0,
                format!("{wrong_receipts} receipts did not count the processes in the room"),
            ),
            (
                *due != received + missed + lost,
                format!("{due} copies due are not {received} received, {missed} missed and {lost} lost"),
            ),
            (
                *received == 0 || *missed == 0 || self.joins == 0 || self.leaves == 0,
                "not everything about rooms was shown".to_owned(),
            ),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, problem)| problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages to two mailboxes, of which the second had room for one.
    fn fair() -> Copies {
        let copies = Copies::new();
        copies.joined();
        copies.left();
        for _ in 0..2 {
            let number = copies.attempt();
            copies.sent(number, [0, 1]);
            copies.arrived(0, number);
        }
        copies.arrived(1, 1);
        copies.missed(1, 1);
        copies
    }

    #[test]
    fn copies_that_are_accounted_for_are_no_problem() {
        let sums = fair().sums();
        assert_eq!((sums.sends, sums.due, sums.received, sums.missed, sums.lost), (2, 4, 3, 1, 0));
        assert_eq!(sums.problems(), <[String; 0]>::default());
    }

    #[test]
    fn each_copy_that_goes_wrong_is_a_problem() {
        for (what, happens) in [
            ("1 copies to members of rooms were lost", (|copies| copies.sent(3, [0])) as fn(&Copies)),
            ("1 copies came to a member of a room twice", |copies| copies.arrived(0, 1)),
            ("1 copies came to mailboxes that were not in the room", |copies| copies.arrived(2, 1)),
            ("4 copies due are not 4 received, 1 missed and 0 lost", |copies| copies.arrived(1, 2)),
            ("4 copies due are not 3 received, 2 missed and 0 lost", |copies| copies.missed(0, 1)),
            ("1 receipts did not count", Copies::wrong_receipt),
        ] {
            let copies = fair();
            happens(&copies);
            let problems = copies.sums().problems();
            assert!(problems.iter().any(|problem| problem.starts_with(what)), "{what}: {problems:?}");
        }
        assert_eq!(Copies::new().sums().problems(), ["not everything about rooms was shown"]);
    }

    #[test]
    fn one_copy_too_many_does_not_hide_one_too_few() {
        let copies = fair();
        copies.sent(3, [0]);
        copies.missed(1, 2);
        assert_eq!(copies.sums().lost, 1);
    }
}
