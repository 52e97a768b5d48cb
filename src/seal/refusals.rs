//! Payloads that did not open: counted by reason, and logged from time to time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two warnings.
const PAUSE: Duration = Duration::from_secs(10);

/// Why a message was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No key opens it, or it was tampered with.
    NoKey,
    /// It was sent to another channel or group.
    Moved,
    /// Its time was over.
    TooOld,
    /// It is not sealed, and there are keys.
    ClearText,
    /// It is sealed, and there are no keys.
    Sealed,
    /// It is cut, or no entry, or of a version that is not known.
    Malformed,
}

/// How many messages were dropped because they did not open, since the layer was connected, by the reason.
///
/// Each of them was taken from its queue, and the receive continued with the next message. A layer with keys also counts
/// what is no message at all, such as a truncated entry or bytes of another program. A layer without keys returns those to
/// the program, as an error of the kind [`Decode`](crate::ErrorKind::Decode), and counts sealed messages: it never returns
/// sealed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealStatistics {
    /// No key opens them: they were sealed by another key, or tampered with. A control entry, which tells an inbox that an
    /// address joined or left a group, counts here too if another key has hidden the names in it.
    pub no_key_opens: u64,
    /// They were sealed for another channel or group than the one they came to.
    pub moved: u64,
    /// They were sealed longer ago than they are good for: they were replayed, or delivered very late.
    pub too_old: u64,
    /// They are in clear text, and the layer has keys.
    pub clear_text: u64,
    /// They are sealed, and the layer has no keys.
    pub sealed: u64,
    /// They are truncated, or no entries of this layer, or sealed in a format that this version does not know.
    pub malformed: u64,
}

impl SealStatistics {
    /// The sum of all counts.
    pub fn total(&self) -> u64 {
        self.no_key_opens + self.moved + self.too_old + self.clear_text + self.sealed + self.malformed
    }
}

/// The counters of one layer.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    no_key_opens: AtomicU64,
    moved: AtomicU64,
    too_old: AtomicU64,
    clear_text: AtomicU64,
    sealed: AtomicU64,
    malformed: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

impl Refusals {
    /// Counts a dropped message of a queue, and logs a warning unless one was logged a moment ago.
    pub(crate) fn note(&self, refusal: Refusal, queue: &str) {
        self.counter(refusal).fetch_add(1, Ordering::Relaxed);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|warned| warned.elapsed() < PAUSE) {
            tracing::debug!(channel = queue, why = %refusal, "dropped another message that does not open");
            return;
        }
        *warned = Some(Instant::now());
        drop(warned);
        let dropped = self.statistics().total();
        tracing::warn!(channel = queue, why = %refusal, dropped, "dropped a message that does not open");
    }

    pub(crate) fn statistics(&self) -> SealStatistics {
        let count = |refusal| self.counter(refusal).load(Ordering::Relaxed);
        SealStatistics {
            no_key_opens: count(Refusal::NoKey),
            moved: count(Refusal::Moved),
            too_old: count(Refusal::TooOld),
            clear_text: count(Refusal::ClearText),
            sealed: count(Refusal::Sealed),
            malformed: count(Refusal::Malformed),
        }
    }

    fn counter(&self, refusal: Refusal) -> &AtomicU64 {
        match refusal {
            Refusal::NoKey => &self.no_key_opens,
            Refusal::Moved => &self.moved,
            Refusal::TooOld => &self.too_old,
            Refusal::ClearText => &self.clear_text,
            Refusal::Sealed => &self.sealed,
            Refusal::Malformed => &self.malformed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no key opens it, or it was tampered with",
            Self::Moved => "it was sealed for another channel or group",
            Self::TooOld => "it came after its time",
            Self::ClearText => "it is in clear text, and the layer has encryption keys",
            Self::Sealed => "it is sealed, and the layer has no encryption keys",
            Self::Malformed => "it is truncated, or no entry of this layer, or of a newer version",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let refusals = Refusals::default();
        let all = [
            Refusal::NoKey,
            Refusal::Moved,
            Refusal::TooOld,
            Refusal::ClearText,
            Refusal::Sealed,
            Refusal::Malformed,
        ];
        for (times, refusal) in all.into_iter().enumerate() {
            for _ in 0..=times {
                refusals.note(refusal, "q");
            }
        }
        let SealStatistics { no_key_opens, moved, too_old, clear_text, sealed, malformed } =
            refusals.statistics();
        assert_eq!((no_key_opens, moved, too_old, clear_text, sealed, malformed), (1, 2, 3, 4, 5, 6));
        assert_eq!(refusals.statistics().total(), 21);
    }
}
