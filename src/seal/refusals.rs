//! What did not open: counted by reason, and told now and then.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A warning is given at most so often.
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
/// Each of them was taken from its queue, and the receive went on to the next one. What is no message at all, such as
/// a cut entry or what another program wrote there, is counted too where there are keys; a layer without any gives it to
/// the program, as an error of the kind [`Decode`](crate::ErrorKind::Decode). A layer without encryption keys
/// counts too: it never gives sealed bytes to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealStatistics {
    /// No key opens them: they were sealed by another key, or tampered with. Also what tells an inbox of its groups
    /// (who joined, who left) counts here, if another key has hidden the names in it.
    pub no_key_opens: u64,
    /// They were sealed for another channel or group than the one they came to.
    pub moved: u64,
    /// They were sealed longer ago than they are good for: somebody put them there again, or was very late.
    pub too_old: u64,
    /// They are in clear text, and the layer has keys.
    pub clear_text: u64,
    /// They are sealed, and the layer has no keys.
    pub sealed: u64,
    /// They are cut, or no entries of this layer, or sealed in a way that this version does not know.
    pub malformed: u64,
}

impl SealStatistics {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.no_key_opens + self.moved + self.too_old + self.clear_text + self.sealed + self.malformed
    }
}

/// The counters of one layer.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; 6],
    warned: Mutex<Option<Instant>>,
}

impl Refusals {
    /// A message of a queue was dropped.
    pub(crate) fn note(&self, refusal: Refusal, queue: &str) {
        if let Some(count) = self.counts.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|warned| warned.elapsed() < PAUSE) {
            return;
        }
        *warned = Some(Instant::now());
        drop(warned);
        let dropped = self.statistics().total();
        tracing::warn!(channel = queue, why = %refusal, dropped, "dropped a message that does not open");
    }

    pub(crate) fn statistics(&self) -> SealStatistics {
        let count = |refusal: Refusal| {
            self.counts.get(refusal as usize).map_or(0, |count| count.load(Ordering::Relaxed))
        };
        SealStatistics {
            no_key_opens: count(Refusal::NoKey),
            moved: count(Refusal::Moved),
            too_old: count(Refusal::TooOld),
            clear_text: count(Refusal::ClearText),
            sealed: count(Refusal::Sealed),
            malformed: count(Refusal::Malformed),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no key opens it, or it was tampered with",
            Self::Moved => "it was sealed for another channel or group",
            Self::TooOld => "its time was over",
            Self::ClearText => "it is in clear text, and the layer has encryption keys",
            Self::Sealed => "it is sealed, and the layer has no encryption keys",
            Self::Malformed => "it is cut, or no entry of this layer, or a newer version's",
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
