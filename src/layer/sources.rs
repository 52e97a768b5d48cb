//! Receives that take from several sources at once, of which exactly one gives: a layer's queues and inboxes of this
//! process, or two layers.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Result;
use crate::layer::BoxFuture;
use crate::layer::refusals::current_runtime;
use crate::message::delivery::Delivery;

/// What a receive takes; nothing if it does not wait and nothing was there.
pub(crate) type Taken = Result<Option<Delivery>>;

/// Something that a receive takes from, waiting or not. It is cancel-safe.
pub(crate) type Source<'a> = Box<dyn Fn(bool) -> BoxFuture<'a, Taken> + Send + Sync + 'a>;

/// How long a receive that waits looks at one source alone.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// Counts sends or receives, each of which begins with another of its places.
///
/// The first place is random, so that programs that do one thing and end do not all begin with the same one.
#[derive(Debug)]
pub(crate) struct Turns(AtomicU64);

impl Default for Turns {
    fn default() -> Self {
        // Without randomness all begin with the same one, which is only slower.
        Self(AtomicU64::new(getrandom::u64().unwrap_or_default()))
    }
}

impl Turns {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Picks the index to start from. Golden-ratio steps visit all places equally often, whatever the stride of the caller.
pub(crate) fn turn(count: u64, places: usize) -> usize {
    // Multiples of the golden ratio lie evenly, and so do those of each multiple of it.
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = count.wrapping_mul(GOLDEN) >> 32;
    usize::try_from((fraction * places as u64) >> 32).unwrap_or_default()
}

/// Takes from the first source that gives. `count` tells whose turn it is to be looked at first.
///
/// One that cannot be asked keeps no other from giving what it has. Where a source takes a while to answer, a receive that
/// waits would always be given something by a faster one that is busy; therefore the first in turn is looked at alone,
/// which costs it one try more.
///
/// Cancel-safe.
pub(crate) async fn take_from(mut sources: Vec<Source<'_>>, waits: bool, count: u64) -> Taken {
    let first = turn(count, sources.len());
    sources.rotate_left(first);
    if let [only] = sources.as_slice() {
        return only(waits).await;
    }
    if !waits {
        let mut failed = None;
        for source in &sources {
            match source(false).await {
                Ok(None) => {}
                Err(error) if error.may_retry() => failed = Some(error),
                taken => return taken,
            }
        }
        return failed.map_or(Ok(None), Err);
    }
    current_runtime("a receive from several places at once is made")?;
    if let Some(first) = sources.first() {
        match timeout(LONGEST_LOOK, first(false)).await {
            // What cannot be asked, or answers late, is waited for with the others.
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) if error.may_retry() => {}
            Ok(taken) => return taken,
        }
    }
    let mut all: Vec<Pin<Box<dyn Future<Output = Taken> + Send + '_>>> =
        sources.iter().map(|source| source(true)).collect();
    std::future::poll_fn(|context| {
        let ready = all.iter_mut().map(|taking| taking.as_mut().poll(context)).find(Poll::is_ready);
        ready.unwrap_or(Poll::Pending)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_whatever_others_count_meanwhile() {
        for places in [1, 2, 3, 8] {
            for step in 1..20 {
                let mut turns = vec![0_usize; places];
                for count in 0..1_000_u64 {
                    turns[turn(7 + count * step, places)] += 1;
                }
                let fair = 1_000 / places;
                for turns in turns {
                    assert!(turns.abs_diff(fair) < 40, "{places} places, every {step}th: {turns} of {fair}");
                }
            }
        }
    }
}
