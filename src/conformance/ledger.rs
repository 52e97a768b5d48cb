//! The ledger of a test: every message that was sent, and what became of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::support::PATIENCE;

/// Numbers messages, and checks at the end that each accepted one arrived exactly once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: AtomicU64,
    messages: Mutex<BTreeMap<u64, Fate>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Fate {
    sent: Option<Sent>,
    received: u32,
}

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Accepted,
    /// The send was dropped: it may arrive, once.
    Perhaps,
}

impl Ledger {
    /// A number for a new message.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn sent(&self, number: u64, sent: Sent) {
        self.messages.lock().unwrap().entry(number).or_default().sent = Some(sent);
        self.changed.notify_waiters();
    }

    pub(super) fn received(&self, number: u64) {
        self.messages.lock().unwrap().entry(number).or_default().received += 1;
        self.changed.notify_waiters();
    }

    /// How many messages were accepted.
    pub(super) fn accepted(&self) -> usize {
        let messages = self.messages.lock().unwrap();
        messages.values().filter(|fate| fate.sent == Some(Sent::Accepted)).count()
    }

    /// Waits until every accepted message has come; fails if one does not, or if any came twice or from nowhere.
    pub(super) async fn balance(&self) {
        let settled = async {
            loop {
                let changed = self.changed.notified();
                if !self.faults().contains("lost") {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, settled).await;
        assert_eq!(self.faults(), "", "what became of the messages");
    }

    fn faults(&self) -> String {
        let messages = self.messages.lock().unwrap();
        let (mut lost, mut repeated, mut from_nowhere) = (Vec::new(), Vec::new(), Vec::new());
        for (number, fate) in &*messages {
            match (fate.sent, fate.received) {
                (Some(Sent::Accepted), 0) => lost.push(*number),
                (None, 1..) => from_nowhere.push(*number),
                (_, 2..) => repeated.push(*number),
                _ => {}
            }
        }
        [("lost", lost), ("repeated", repeated), ("received but not sent", from_nowhere)]
            .iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(|(what, numbers)| {
                format!("{} {what}, such as {:?}; ", numbers.len(), &numbers[..numbers.len().min(20)])
            })
            .collect()
    }
}
