//! Receives that take from several sources at once, of which exactly one gives: a layer's queues and inboxes of this
//! process, or two layers.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Result;
use crate::layer::BoxFuture;
use crate::message::PackedMessage;
use crate::name::ChannelName;

/// What a receive takes; nothing if it does not wait and nothing was there.
pub(crate) type Taken = Result<Option<(ChannelName, PackedMessage)>>;

/// Something that a receive takes from, waiting or not. It is cancel-safe.
pub(crate) type Source<'a> = Box<dyn Fn(bool) -> BoxFuture<'a, Taken> + Send + Sync + 'a>;

/// How long a receive that waits looks at one source alone.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// Says with which source the next receive begins, so that a busy one does not starve the others.
#[derive(Debug, Default)]
pub(crate) struct Turns(AtomicUsize);

impl Turns {
    pub(crate) fn next(&self) -> usize {
        /// 2^32 by the golden ratio: the bits in the middle of its multiples look random, so receives that alternate with
        /// others do not all begin with the same source.
        const STEP: usize = 0x9E37_79B9;
        self.0.fetch_add(STEP, Ordering::Relaxed) >> 16
    }
}

/// Takes from the first source that gives. `turn` says which of them is looked at first.
///
/// One that cannot be asked keeps no other from giving what it has. Where a source takes a while to answer, a receive that
/// waits would always be given something by a faster one that is busy; therefore the first in turn is looked at alone,
/// which costs it one try more.
///
/// Cancel-safe.
pub(crate) async fn take_from(mut sources: Vec<Source<'_>>, waits: bool, turn: usize) -> Taken {
    let count = sources.len().max(1);
    sources.rotate_left(turn % count);
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
