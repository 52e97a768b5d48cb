//! A send that tries again while it is refused and was certainly not sent: for want of room, or of a server.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::refusals::current_runtime;
use crate::error::{Error, ErrorKind, Result};

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// No try begins with less time than this, if its time is limited.
const LEAST_TRY: Duration = Duration::from_millis(100);

/// For how long a send tries on, and through what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) longest: Duration,
    /// Whether also while no server takes it, not only while the channel is full.
    pub(super) through_outages: bool,
}

impl Patience {
    fn tries_on_after(&self, error: &Error) -> bool {
        let is_full = error.kind() == ErrorKind::ChannelFull;
        error.may_retry() && (is_full || self.through_outages)
    }
}

/// Sends, and tries again as long as that cannot send twice. A patience through outages holds also for a server that does not
/// answer: then the message was perhaps sent.
pub(super) async fn until_accepted<S, T>(
    to: impl Fn() -> String,
    patience: Patience,
    send: impl Fn() -> S,
) -> Result<T>
where
    S: Future<Output = Result<T>>,
{
    current_runtime("a send that waits is made")?;
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let sent = match started.checked_add(patience.longest) {
            Some(end) if patience.through_outages => timeout_at(end, send()).await.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "{}: the server did not answer within {:?}; the message was perhaps sent",
                        to(),
                        patience.longest
                    ),
                )
                .with_perhaps_sent(true))
            }),
            _ => send().await,
        };
        let refused = match sent {
            Err(error) if patience.tries_on_after(&error) => error,
            other => return other,
        };
        let left = patience.longest.saturating_sub(started.elapsed());
        // A try through an outage is given some time, or it would end as perhaps sent.
        let (least, longest) =
            if patience.through_outages { (LEAST_TRY, left / 2) } else { (Duration::ZERO, left) };
        if left <= least {
            return Err(refused);
        }
        sleep(pause.min(longest)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
