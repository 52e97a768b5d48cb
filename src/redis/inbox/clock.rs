//! The server's clock as the reader of an inbox knows it, and whether somebody has set it.
//!
//! How long something lives is counted by our own clock, which nobody sets: a server's clock that is set takes no life from
//! a message or a membership.

use std::time::Duration;

use tokio::time::Instant;

use super::backlog::Backlog;
use crate::redis::clock::Reading;
use crate::redis::entry::Entry;

/// A clock that differs by so much from what it was expected to show was set.
const STEP_MS: u64 = 2_000;
/// What took longer tells nothing about a step.
const PROMPT: Duration = Duration::from_secs(1);

/// What is known of the server's clock.
#[derive(Debug)]
pub(super) struct Clock {
    reading: Reading,
    backlog: Backlog,
}

impl Clock {
    /// The clock of the server on which an inbox was opened; the answer to that has just told the server's time.
    pub(super) fn new(asked: Instant, server_us: u64) -> Self {
        Self { reading: Reading::new(asked, server_us / 1000), backlog: Backlog::new(asked) }
    }

    /// Takes the server's time of an answer that has just come. Returns whether the clock was set since the answer before.
    pub(super) fn learn(&mut self, asked: Instant, server_us: u64) -> bool {
        let reading = Reading::new(asked, server_us / 1000);
        if reading.took > PROMPT {
            return false;
        }
        let expected_ms = self.server_ms(reading.at);
        self.reading = reading;
        expected_ms.abs_diff(reading.server_ms) > STEP_MS
    }

    /// Returns what the server's clock shows at a time of ours.
    pub(super) fn server_ms(&self, at: Instant) -> u64 {
        self.reading.at(at)
    }

    /// A batch is asked for.
    pub(super) fn asked(&mut self) {
        self.backlog.asked();
    }

    /// A batch came.
    pub(super) fn came(&mut self, entries: &[Entry]) {
        self.backlog.came(entries);
    }

    /// Whether an entry cannot have been pushed at its time, unless the clock was set.
    pub(super) fn is_odd(&self, pushed_ms: u64, came: Instant) -> bool {
        let now = self.server_ms(came);
        pushed_ms > now + STEP_MS || pushed_ms + self.backlog.most_ms(came) + STEP_MS < now
    }

    /// Until when something lasts here that ends at a time of the server, by an entry that was pushed at one and came at
    /// one of ours.
    pub(super) fn lives_until(&self, pushed_ms: u64, end_ms: u64, came: Instant) -> Instant {
        const FAR: u64 = 10 * 365 * 24 * 3600 * 1000;
        let age_ms = self.server_ms(came).saturating_sub(pushed_ms).min(self.backlog.most_ms(came));
        let life_ms = end_ms.saturating_sub(pushed_ms).min(FAR);
        let left = Duration::from_millis(life_ms.saturating_sub(age_ms));
        came + left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_on_has_made_no_step_and_one_that_was_set_has() {
        let mut clock = Clock::new(Instant::now(), 100_000_000);
        tokio::time::advance(10 * SECOND).await;
        assert!(!clock.learn(Instant::now(), 110_500_000));
        tokio::time::advance(10 * SECOND).await;
        let slow = Instant::now() - 3 * SECOND;
        assert!(!clock.learn(slow, 50_000_000), "what took that long tells nothing");
        assert!(clock.learn(Instant::now(), 60_000_000));
        assert!(!clock.learn(Instant::now(), 60_000_000));
        assert!(clock.learn(Instant::now(), 90_000_000));
    }

    /// Shows R54.
    #[tokio::test(start_paused = true)]
    async fn a_message_lives_as_long_as_it_was_sent_for_though_the_clock_was_set_back() {
        let mut clock = Clock::new(Instant::now(), 100_000_000);
        clock.asked();
        tokio::time::advance(SECOND).await;
        let now = Instant::now();
        assert!(!clock.is_odd(100_900, now) && clock.is_odd(41_000, now) && clock.is_odd(104_000, now));
        assert_eq!(clock.lives_until(100_900, 160_900, now), now + 60 * SECOND - Duration::from_millis(100));
        assert_eq!(clock.lives_until(41_000, 101_000, now), now + 59 * SECOND, "it waited a second at most");
        assert_eq!(clock.lives_until(200_000, 260_000, now), now + 60 * SECOND);
    }
}
