//! Durations as the scripts take them: whole milliseconds.

use std::time::Duration;

/// Returns the whole milliseconds of a duration, or the largest number if there are more.
pub(in crate::redis) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
