//! The clock of a shard, as far as this process knows it: what the server said last, and how long ago that was.
//!
//! No clock of this machine's time of day takes part. It is read at every greeting, and again at every beat, so what
//! two clocks drift apart meanwhile does not count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::milliseconds::milliseconds;
use crate::seal::ALLOWANCE_MS;

/// What is known of a server's clock.
#[derive(Debug)]
pub(super) struct ShardClock {
    /// Whether anybody asks it, so that it is read at every beat.
    is_needed: AtomicBool,
    reading: Mutex<Option<Reading>>,
}

/// What a server's clock showed, and ours at that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) server_ms: u64,
    /// How long the answer took; so `at` is exact to half of it.
    pub(super) took: Duration,
}

impl Reading {
    /// A reading of which the answer has just come. The server told its time since it was asked: most likely in the middle.
    pub(super) fn new(asked: Instant, server_ms: u64) -> Self {
        let took = asked.elapsed();
        Self { at: asked + took / 2, server_ms, took }
    }

    /// Returns what the server's clock shows at a time of ours, in ms.
    pub(super) fn at(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.at) {
            Some(later) => self.server_ms.saturating_add(milliseconds(later)),
            None => self.server_ms.saturating_sub(milliseconds(self.at.duration_since(instant))),
        }
    }
}

impl ShardClock {
    pub(super) fn new(is_needed: bool) -> Self {
        Self { is_needed: AtomicBool::new(is_needed), reading: Mutex::default() }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.is_needed.load(Ordering::Relaxed)
    }

    /// From now on somebody asks it. Returns whether nobody did before, so that it may have been read long ago.
    pub(super) fn need(&self) -> bool {
        !self.is_needed() && !self.is_needed.swap(true, Ordering::Relaxed)
    }

    /// Takes the time that the server told in an answer that has just come. Returns whether the answer was quick enough to
    /// rely on. One that took longer, as in a process that was frozen meanwhile, counts only until a better one comes.
    pub(super) fn learn(&self, asked: Instant, server_ms: u64) -> bool {
        let new = Reading::new(asked, server_ms);
        let is_exact = new.took <= Duration::from_millis(ALLOWANCE_MS);
        let mut reading = self.lock();
        if is_exact || reading.is_none() {
            *reading = Some(new);
        }
        is_exact
    }

    /// Whether it was read a moment ago, so that to read it again would tell nothing new.
    pub(super) fn is_fresh(&self) -> bool {
        self.lock().is_some_and(|reading| reading.at.elapsed() < Duration::from_secs(1))
    }

    /// Until when a message lives, by our clock, that a server pushed and that expires at these times of its own. At most for
    /// the time that it was pushed with, also if the server's clock was set meanwhile.
    pub(super) fn lives_until(&self, pushed_ms: u64, deadline_ms: u64, came: Instant) -> Option<Instant> {
        let now_ms = self.at(came)?.max(pushed_ms);
        came.checked_add(Duration::from_millis(deadline_ms.saturating_sub(now_ms)))
    }

    /// The server's time at one of ours, in ms; `None` before the server was ever reached.
    pub(super) fn at(&self, instant: Instant) -> Option<u64> {
        self.lock().map(|reading| reading.at(instant))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_the_server_said_last_in_both_directions() {
        let clock = ShardClock::new(true);
        let now = Instant::now();
        assert_eq!(clock.at(now), None);
        assert!(clock.learn(now, 1_000_000));
        let read = clock.at(now).unwrap();
        assert!((999_000..=1_000_000).contains(&read), "{read}");
        let minute_later = clock.at(now + Duration::from_secs(60)).unwrap();
        assert!(minute_later.abs_diff(read + 60_000) <= 1, "{minute_later}");
        let second_before = clock.at(now - Duration::from_secs(1)).unwrap();
        assert!(second_before.abs_diff(read - 1_000) <= 1, "{second_before}");
        // The process was frozen between question and answer: the middle tells nothing.
        let frozen = Duration::from_secs(3_600);
        let asked = now.checked_sub(frozen).unwrap();
        assert!(!clock.learn(asked, 1_000_000));
        assert!(clock.at(now).unwrap().abs_diff(read) <= 1, "the reading from before stays");
        let fresh = ShardClock::new(true);
        assert!(!fresh.learn(asked, 1_000_000));
        assert!(fresh.at(now).is_some(), "better than none");
        assert!(fresh.learn(now, 1_000_000));
        assert!(fresh.at(now).unwrap().abs_diff(read) < 1_000, "and gone with the next");
        // The server's clock was set back.
        assert!(clock.learn(Instant::now(), 500));
        assert!((500..5_000).contains(&clock.at(Instant::now()).unwrap()));
    }
}
