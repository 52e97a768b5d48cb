//! The ledger of a test: every message that was sent, and what became of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Numbers messages, and checks at the end that each accepted one arrived exactly once.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: AtomicU64,
    messages: Mutex<BTreeMap<u64, Fate>>,
    settled: AtomicU64,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Fate {
    sent: Option<Sent>,
    received: u32,
}

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Accepted,
    Refused,
    /// The reply was lost: it may arrive, once.
    Perhaps,
}

impl Ledger {
    /// A number for a new message.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn sent(&self, number: u64, sent: Sent) {
        self.messages.lock().unwrap().entry(number).or_default().sent = Some(sent);
        self.changed.notify_waiters();
    }

    pub(crate) fn received(&self, number: u64) {
        self.messages.lock().unwrap().entry(number).or_default().received += 1;
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until `count` messages were received; fails if that takes too long.
    pub(crate) async fn wait_for_received(&self, count: u64) {
        let all = async {
            loop {
                let changed = self.changed.notified();
                if self.settled.load(Ordering::Relaxed) >= count {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), all).await.is_err() {
            panic!(
                "only {} of {count} messages arrived: {}",
                self.settled.load(Ordering::Relaxed),
                self.faults()
            );
        }
    }

    /// Waits until sent = received; fails if that takes too long.
    pub(crate) async fn wait_for_balance(&self) {
        let balanced = async {
            loop {
                let changed = self.changed.notified();
                if self.faults().is_empty() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), balanced).await;
        self.balance();
    }

    /// Fails unless sent = received, nothing twice and nothing from nowhere.
    #[track_caller]
    pub(crate) fn balance(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "{faults}");
    }

    /// How many messages were accepted, and how many refused.
    pub(crate) fn accepted_and_refused(&self) -> (usize, usize) {
        let messages = self.messages.lock().unwrap();
        let count = |sent| messages.values().filter(|fate| fate.sent == Some(sent)).count();
        (count(Sent::Accepted), count(Sent::Refused))
    }

    fn faults(&self) -> String {
        let messages = self.messages.lock().unwrap();
        let (mut lost, mut repeated, mut from_nowhere) = (Vec::new(), Vec::new(), Vec::new());
        for (number, fate) in &*messages {
            match (fate.sent, fate.received) {
                (Some(Sent::Accepted), 0) => lost.push(*number),
                (Some(Sent::Refused) | None, 1..) => from_nowhere.push(*number),
                (_, 2..) => repeated.push(*number),
                _ => {}
            }
        }
        let mut text = String::new();
        for (what, numbers) in
            [("lost", lost), ("repeated", repeated), ("received but not sent", from_nowhere)]
        {
            if !numbers.is_empty() {
                let some = &numbers[..numbers.len().min(20)];
                text += &format!("{} {what}, such as {some:?}; ", numbers.len());
            }
        }
        text
    }
}
