//! A send to a full channel that waits for space.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::refusals::current_runtime;
use crate::error::{ErrorKind, Result};

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Sends, and tries again while the channel is full, for as long as `patience`.
pub(super) async fn until_room<S>(patience: Duration, send: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<()>>,
{
    current_runtime("a send that waits for space is made")?;
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let full = match send().await {
            Err(error) if error.kind() == ErrorKind::ChannelFull => error,
            other => return other,
        };
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(full);
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
