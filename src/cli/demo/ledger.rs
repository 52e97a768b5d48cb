//! What became of each message, by its number.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asgi_redis::internals::{Fate, Sent};
use tokio::sync::OwnedSemaphorePermit;

/// Shared by all producers and consumers.
#[derive(Clone, Debug)]
pub(super) struct Ledger(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    latencies: Vec<Duration>,
    last_arrival: Option<Instant>,
    progress: Progress,
    out_of_order: u64,
    /// Arrivals under a number that no attempt had.
    unknown: u64,
}

/// How far it is, cheap enough to be asked often.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) refused: u64,
    /// Receives that were dropped.
    pub(super) cancelled: u64,
}

#[derive(Debug)]
struct Message {
    sent_at: Instant,
    fate: Fate,
    /// Sent to expire: nobody reads its channel.
    unread: bool,
    /// Given back to the producer when the message has arrived.
    turn: Option<OwnedSemaphorePermit>,
}

impl State {
    /// Returns a message by its number. Counts a number that no attempt had.
    fn message(&mut self, number: usize) -> Option<&mut Message> {
        let message = self.messages.get_mut(number);
        if message.is_none() {
            self.unknown += 1;
        }
        message
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins an attempt to send. Returns the number of the message. The producer's turn ends when the message has arrived
    /// or was refused.
    pub(super) fn attempt(&self, unread: bool, turn: Option<OwnedSemaphorePermit>) -> usize {
        let mut state = self.state();
        let sent_at = Instant::now();
        state.messages.push(Message { sent_at, fate: Fate::default(), unread, turn });
        state.messages.len() - 1
    }

    pub(super) fn accepted(&self, number: usize) {
        let mut state = self.state();
        state.progress.sent += 1;
        if let Some(message) = state.message(number) {
            message.fate.sent = Some(Sent::Accepted);
        }
    }

    pub(super) fn refused(&self, number: usize) {
        let mut state = self.state();
        state.progress.refused += 1;
        if let Some(message) = state.message(number) {
            message.fate.sent = Some(Sent::Refused);
            message.turn = None;
        }
    }

    pub(super) fn arrived(&self, number: usize) {
        let now = Instant::now();
        let mut state = self.state();
        let state = &mut *state;
        state.last_arrival = Some(now);
        let Some(message) = state.message(number) else { return };
        message.fate.received += 1;
        message.turn = None;
        if message.fate.received == 1 {
            let latency = now.duration_since(message.sent_at);
            state.progress.received += 1;
            state.latencies.push(latency);
        }
    }

    /// A receive was dropped before it returned.
    pub(super) fn cancelled(&self) {
        self.state().progress.cancelled += 1;
    }

    /// A message came after one that was sent later on the same channel.
    pub(super) fn out_of_order(&self) {
        self.state().out_of_order += 1;
    }

    pub(super) fn progress(&self) -> Progress {
        self.state().progress
    }

    /// How many accepted messages are still to be received.
    pub(super) fn outstanding(&self) -> usize {
        self.state().messages.iter().filter(|message| message.fate.is_missing() && !message.unread).count()
    }

    pub(super) fn sums(&self) -> Sums {
        let state = self.state();
        let count = |is: &dyn Fn(&Message) -> bool| {
            state.messages.iter().filter(|message| is(message)).count() as u64
        };
        let mut latencies = state.latencies.clone();
        latencies.sort_unstable();
        let percentile = |hundredths: usize| {
            let index = (latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1));
            latencies.get(index).copied().unwrap_or_default()
        };
        let first = state.messages.first().map(|message| message.sent_at);
        Sums {
            attempts: state.messages.len() as u64,
            sent: count(&|message| message.fate.sent == Some(Sent::Accepted)),
            refused: count(&|message| message.fate.sent == Some(Sent::Refused)),
            received: count(&|message| message.fate.received > 0),
            expired: count(&|message| message.fate.is_missing() && message.unread),
            lost: count(&|message| message.fate.is_missing() && !message.unread),
            late: count(&|message| message.unread && message.fate.received > 0),
            duplicated: state.messages.iter().map(|message| message.fate.repeats()).sum(),
            from_nowhere: count(&|message| message.fate.is_from_nowhere()) + state.unknown,
            out_of_order: state.out_of_order,
            cancelled: state.progress.cancelled,
            time: first
                .zip(state.last_arrival)
                .map(|(first, last)| last.duration_since(first))
                .unwrap_or_default(),
            p50: percentile(50),
            p99: percentile(99),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages by what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// Calls of send.
    pub(super) attempts: u64,
    pub(super) sent: u64,
    pub(super) refused: u64,
    pub(super) received: u64,
    pub(super) expired: u64,
    pub(super) lost: u64,
    /// Received although they had expired.
    pub(super) late: u64,
    pub(super) duplicated: u64,
    /// Received although they were refused or never sent.
    pub(super) from_nowhere: u64,
    pub(super) out_of_order: u64,
    /// Receives that were dropped.
    pub(super) cancelled: u64,
    /// From the first send to the last arrival.
    pub(super) time: Duration,
    /// From the call of send to the arrival, as are the others.
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Sums {
    /// Describes what is wrong with the sums.
    pub(super) fn problems(&self) -> Vec<String> {
        let Self { attempts, sent, refused, received, expired, lost, late, duplicated, .. } = self;
        let Self { from_nowhere, out_of_order, .. } = self;
        let wrong = [
            (*lost > 0, format!("{lost} messages were lost")),
            (*duplicated > 0, format!("{duplicated} messages came twice")),
            (*from_nowhere > 0, format!("{from_nowhere} messages came that were refused or not sent")),
            (*out_of_order > 0, format!("{out_of_order} messages came out of order")),
            (*late > 0, format!("{late} messages came after they had expired")),
            (
                *sent != received + expired + lost,
                format!("{sent} sent are not {received} received, {expired} expired and {lost} lost"),
            ),
            (
                *attempts != sent + refused,
                format!("{attempts} attempts to send are not {sent} sent and {refused} refused"),
            ),
            (*received == 0 || *refused == 0 || *expired == 0, "not everything was shown".to_owned()),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, problem)| problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message of each kind that is as it must be.
    fn fair() -> Ledger {
        let ledger = Ledger::new();
        let (received, refused, expired) =
            (ledger.attempt(false, None), ledger.attempt(false, None), ledger.attempt(true, None));
        ledger.accepted(received);
        ledger.arrived(received);
        ledger.refused(refused);
        ledger.accepted(expired);
        ledger
    }

    #[test]
    fn sums_that_meet_are_no_problem() {
        let sums = fair().sums();
        assert_eq!(
            (sums.attempts, sums.sent, sums.received, sums.refused, sums.expired, sums.lost, sums.duplicated),
            (3, 2, 1, 1, 1, 0, 0)
        );
        assert_eq!(sums.problems(), <[String; 0]>::default());
    }

    #[test]
    fn each_thing_that_goes_wrong_is_a_problem() {
        for (what, happens) in [
            ("1 messages were lost", (|ledger| ledger.accepted(ledger.attempt(false, None))) as fn(&Ledger)),
            ("1 messages came twice", |ledger| ledger.arrived(0)),
            ("2 sent are not 2 received", |ledger| ledger.arrived(1)),
            ("1 messages came that were refused or not sent", |ledger| ledger.arrived(1)),
            ("1 messages came that were refused or not sent", |ledger| ledger.arrived(7)),
            ("1 messages came after they had expired", |ledger| ledger.arrived(2)),
            ("1 messages came out of order", Ledger::out_of_order),
            ("4 attempts to send are not 2 sent and 1 refused", |ledger| {
                ledger.attempt(false, None);
            }),
        ] {
            let ledger = fair();
            happens(&ledger);
            let problems = ledger.sums().problems();
            assert!(problems.iter().any(|problem| problem.starts_with(what)), "{what}: {problems:?}");
        }
        assert_eq!(Ledger::new().sums().problems(), ["not everything was shown"]);
    }
}
