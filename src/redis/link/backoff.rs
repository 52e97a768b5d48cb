//! The pauses between attempts to connect: they double, up to a longest one, and each gets some random time on top.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
pub(super) const LONGEST: Duration = Duration::from_millis(500);
/// The pause after a call in which the server looked at no ticket, or had nothing of what it had announced.
pub(super) const AFTER_NONE: Duration = Duration::from_millis(12);
/// A pause gets at most so many times its own length on top, and no more than `MAX_JITTER`.
const JITTER: u32 = 4;
const MAX_JITTER: Duration = Duration::from_millis(300);

/// The pauses of one task.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The next pause, without what is added at random.
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Begins with the shortest pause again.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Returns how long to wait now. The random part keeps processes that lost a server together from coming back in step.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause + jitter(pause)
    }
}

/// Returns a random time to add to a pause.
fn jitter(pause: Duration) -> Duration {
    let longest = (JITTER * pause).min(MAX_JITTER);
    // A machine that gives no random numbers reconnects all the same, only in step with others.
    let random = getrandom::u32().unwrap_or_default();
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new();
        for pause_ms in [20, 40, 80, 160, 320, 500, 500] {
            let pause = Duration::from_millis(pause_ms);
            let waited = backoff.pause();
            assert!(waited >= pause && waited <= pause + MAX_JITTER.min(JITTER * pause), "{waited:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST * (1 + JITTER));
    }

    #[test]
    fn two_processes_do_not_wait_equally_long() {
        let [one, other] = [(); 2].map(|()| {
            let mut backoff = Backoff::new();
            [(); 8].map(|()| backoff.pause())
        });
        assert_ne!(one, other);
    }
}
