//! The clock of a shard, as far as this process knows it: what the server said last, and how long ago that was.
//!
//! No clock of this machine's time of day takes part. It is read at every greeting, and again at every beat, so what
//! two clocks drift apart meanwhile does not count.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::milliseconds;
use crate::seal::ALLOWANCE_MS;

/// What is known of a server's clock.
#[derive(Debug)]
pub(super) struct ShardClock {
    /// Whether anybody asks it.
    is_needed: bool,
    reading: Mutex<Option<Reading>>,
}

/// The server's time, and ours when it was read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    server_ms: u64,
}

impl ShardClock {
    pub(super) fn new(is_needed: bool) -> Self {
        Self { is_needed, reading: Mutex::default() }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.is_needed
    }

    /// The server said its time, between when it was asked and now: most likely in the middle. Whether that was quick
    /// enough to rely on; what took longer, as in a process that was frozen meanwhile, counts only until it is known
    /// better.
    pub(super) fn learn(&self, asked: Instant, server_ms: u64) -> bool {
        let took = asked.elapsed();
        let is_exact = took <= Duration::from_millis(ALLOWANCE_MS);
        let mut reading = self.lock();
        if is_exact || reading.is_none() {
            *reading = Some(Reading { at: asked + took / 2, server_ms });
        }
        is_exact
    }

    /// The server's time at one of ours, in milliseconds; nothing before it was ever reached.
    pub(super) fn at(&self, instant: Instant) -> Option<u64> {
        let Reading { at, server_ms } = (*self.lock())?;
        Some(match instant.checked_duration_since(at) {
            Some(later) => server_ms.saturating_add(milliseconds(later)),
            None => server_ms.saturating_sub(milliseconds(at.duration_since(instant))),
        })
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
