//! A ledger: every message that was sent, and what became of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How many numbers of messages a text about faults shows.
const SHOWN: usize = 20;

/// What the sender of a message was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The message was accepted: it must arrive once.
    Accepted,
    /// The message was refused: it must not arrive.
    Refused,
    /// The reply was lost, or the send was dropped: the message may arrive, once.
    Perhaps,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// `None` while the send is under way, or if nobody sent the message.
    pub sent: Option<Sent>,
    /// How often it arrived.
    pub received: u64,
}

impl Fate {
    /// Reports whether it was accepted, and has not arrived.
    pub fn is_missing(&self) -> bool {
        self.sent == Some(Sent::Accepted) && self.received == 0
    }

    /// Reports whether it has arrived although it was refused or never sent.
    pub fn is_from_nowhere(&self) -> bool {
        self.received > 0 && matches!(self.sent, None | Some(Sent::Refused))
    }

    /// Returns how often it arrived again.
    pub fn repeats(&self) -> u64 {
        self.received.saturating_sub(1)
    }
}

/// Numbers messages, and checks that each accepted one arrives exactly once.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    messages: BTreeMap<u64, Fate>,
    received: u64,
}

impl Ledger {
    /// Returns a number for a new message.
    pub fn number(&self) -> u64 {
        let mut books = self.books();
        books.next += 1;
        books.next - 1
    }

    /// Records what the sender of a message was told.
    pub fn sent(&self, number: u64, sent: Sent) {
        self.books().messages.entry(number).or_default().sent = Some(sent);
        self.changed.notify_waiters();
    }

    /// Records an arrival.
    pub fn received(&self, number: u64) {
        let mut books = self.books();
        books.messages.entry(number).or_default().received += 1;
        books.received += 1;
        drop(books);
        self.changed.notify_waiters();
    }

    /// Returns how many messages were accepted, and how many refused.
    pub fn accepted_and_refused(&self) -> (usize, usize) {
        let books = self.books();
        let count = |sent| books.messages.values().filter(|fate| fate.sent == Some(sent)).count();
        (count(Sent::Accepted), count(Sent::Refused))
    }

    /// Waits until `count` messages have arrived.
    ///
    /// # Panics
    ///
    /// If they have not after a minute.
    pub async fn wait_for_received(&self, count: u64) {
        const PATIENCE: Duration = Duration::from_secs(60);
        let _ = tokio::time::timeout(PATIENCE, self.until(|| self.books().received >= count)).await;
        let received = self.books().received;
        assert!(received >= count, "only {received} of {count} messages arrived: {}", self.faults());
    }

    /// Waits until every accepted message has arrived once and no other has.
    ///
    /// # Panics
    ///
    /// If that is not so after 30 seconds.
    pub async fn wait_for_balance(&self) {
        const PATIENCE: Duration = Duration::from_secs(30);
        let _ = tokio::time::timeout(PATIENCE, self.until(|| self.faults().is_empty())).await;
        self.balance();
    }

    /// Checks that every accepted message has arrived once and no other has.
    ///
    /// # Panics
    ///
    /// If that is not so.
    #[track_caller]
    pub fn balance(&self) {
        assert_eq!(self.faults(), "", "what became of the messages");
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so() {
                return;
            }
            changed.await;
        }
    }

    fn faults(&self) -> String {
        let books = self.books();
        let (mut lost, mut repeated, mut from_nowhere) = (Vec::new(), Vec::new(), Vec::new());
        for (number, fate) in &books.messages {
            if fate.is_missing() {
                lost.push(*number);
            } else if fate.is_from_nowhere() {
                from_nowhere.push(*number);
            } else if fate.repeats() > 0 {
                repeated.push(*number);
            }
        }
        [("lost", lost), ("repeated", repeated), ("received but not sent", from_nowhere)]
            .iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(|(what, numbers)| {
                let shown: Vec<_> = numbers.iter().take(SHOWN).collect();
                format!("{} {what}, such as {shown:?}; ", numbers.len())
            })
            .collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named_and_what_may_arrive_is_none() {
        let ledger = Ledger::default();
        for (number, sent, received) in [
            (0, Some(Sent::Accepted), 1),
            (1, Some(Sent::Accepted), 0),
            (2, Some(Sent::Accepted), 2),
            (3, Some(Sent::Perhaps), 0),
            (4, Some(Sent::Perhaps), 1),
            (5, Some(Sent::Refused), 1),
            (6, None, 2),
        ] {
            if let Some(sent) = sent {
                ledger.sent(number, sent);
            }
            for _ in 0..received {
                ledger.received(number);
            }
        }
        let faults = ledger.faults();
        assert_eq!(
            faults,
            "1 lost, such as [1]; 1 repeated, such as [2]; 2 received but not sent, such as [5, 6]; "
        );
        assert_eq!(ledger.accepted_and_refused(), (3, 1));
    }
}
