//! Attempts to connect that overlap: after a network has swallowed everything, what was begun before stays stuck, and only
//! what begins afterwards gets through.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

/// After so long another attempt begins while the earlier ones are pending.
const NEXT_AFTER: Duration = Duration::from_secs(1);
/// So many are pending at most.
const MAX_PENDING: usize = 3;

/// Begins an attempt, and another one each second while none has ended; returns what the first one to end gives.
///
/// The first attempt is given all the time that it takes, so a slow way is not cut off. Of the later ones the oldest makes
/// room for the next.
pub(super) async fn first_to_end<F: Future>(mut begin: impl FnMut() -> F) -> F::Output {
    let mut pending = vec![Box::pin(begin())];
    let mut next = interval_at(Instant::now() + NEXT_AFTER, NEXT_AFTER);
    loop {
        tokio::select! {
            biased;
            ended = any_of(&mut pending) => return ended,
            _ = next.tick() => {
                if pending.len() == MAX_PENDING {
                    drop(pending.remove(1));
                }
                pending.push(Box::pin(begin()));
            }
        }
    }
}

async fn any_of<F: Future>(pending: &mut [Pin<Box<F>>]) -> F::Output {
    poll_fn(|context| {
        let mut ended = pending.iter_mut().map(|attempt| attempt.as_mut().poll(context));
        ended.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    /// Attempts that take as long as the list tells; then each is stuck.
    async fn race(takes_ms: &[Option<u64>]) -> (usize, Duration) {
        let (begun, started) = (Cell::new(0), Instant::now());
        let begin = || {
            let number = begun.replace(begun.get() + 1);
            let takes = takes_ms.get(number).copied().flatten();
            async move {
                match takes {
                    Some(takes) => sleep(Duration::from_millis(takes)).await,
                    None => pending().await,
                }
                number
            }
        };
        let first = first_to_end(begin).await;
        (first, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_begins_after_the_hole_gets_through_while_earlier_attempts_are_stuck() {
        assert_eq!(race(&[Some(10)]).await, (0, Duration::from_millis(10)));
        assert_eq!(race(&[None, Some(10)]).await, (1, Duration::from_millis(1_010)));
        let stuck = [None, None, None, None, None, None, None, Some(5)];
        assert_eq!(race(&stuck).await, (7, Duration::from_millis(7_005)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_way_is_given_all_its_time() {
        assert_eq!(race(&[Some(4_500)]).await, (0, Duration::from_millis(4_500)));
        assert_eq!(race(&[Some(1_500), Some(700)]).await, (0, Duration::from_millis(1_500)));
    }
}
