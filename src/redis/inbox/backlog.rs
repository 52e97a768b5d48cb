//! Since when the entries of a batch can have waited at most. It is known by our own clock, which only counts: what waited
//! before was in the batch before.

use tokio::time::Instant;

use crate::redis::entry::Entry;
use crate::redis::milliseconds::milliseconds;

/// A batch of fewer entries and bytes has all that waited.
const MAX_BATCH_ENTRIES: usize = 200;
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// What is known of how long entries waited.
#[derive(Debug)]
pub(super) struct Backlog {
    /// When the present batch was asked for.
    asked: Instant,
    /// Nothing of the present batch waited then.
    empty_at: Instant,
    /// The same of the next batch.
    next_empty_at: Instant,
}

impl Backlog {
    /// That of an inbox which did not exist before it was asked for.
    pub(super) fn new(asked: Instant) -> Self {
        Self { asked, empty_at: asked, next_empty_at: asked }
    }

    /// A batch is asked for.
    pub(super) fn asked(&mut self) {
        self.asked = Instant::now();
    }

    /// A batch came.
    pub(super) fn came(&mut self, entries: &[Entry]) {
        self.empty_at = self.next_empty_at;
        let bytes: usize = entries.iter().map(Entry::len).sum();
        if entries.len() < MAX_BATCH_ENTRIES && bytes < MAX_BATCH_BYTES {
            // What comes next was pushed after the server looked for this one.
            self.next_empty_at = self.asked;
        }
    }

    /// The most ms that an entry of the present batch had waited at a time.
    pub(super) fn most_ms(&self, at: Instant) -> u64 {
        milliseconds(at.saturating_duration_since(self.empty_at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_a_batch_that_had_all_waited_since_that_was_asked_for_at_most() {
        let mut backlog = Backlog::new(Instant::now());
        let second = Duration::from_secs(1);
        let entry = Entry::new(vec![0; 20].into());
        tokio::time::advance(second).await;
        backlog.asked();
        tokio::time::advance(second).await;
        backlog.came(std::slice::from_ref(&entry));
        assert_eq!(backlog.most_ms(Instant::now()), 2_000, "since it was opened");
        backlog.asked();
        backlog.came(&vec![entry; MAX_BATCH_ENTRIES]);
        assert_eq!(backlog.most_ms(Instant::now()), 1_000);
        tokio::time::advance(second).await;
        backlog.asked();
        backlog.came(&[Entry::new(vec![0; MAX_BATCH_BYTES].into())]);
        assert_eq!(backlog.most_ms(Instant::now()), 2_000, "the one before may have left some there");
    }
}
