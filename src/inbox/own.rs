//! The inboxes of this process, by name, and receives that read them together with other channels.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use super::Mailboxes;
use crate::checks::check_receivable;
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// The inboxes that this process has opened and still has.
#[derive(Debug, Default)]
pub(crate) struct OwnInboxes {
    open: Mutex<HashMap<ChannelName, Weak<Mailboxes>>>,
    /// Counts receives, each of which begins with another of its sources.
    turn: AtomicUsize,
}

/// What a receive reads: queues of the layer, each once, and inboxes of this process.
#[derive(Debug)]
pub(crate) struct Readable {
    queues: Arc<[ChannelName]>,
    inboxes: Vec<Arc<Mailboxes>>,
    turn: usize,
}

/// What a receive takes; nothing if it does not wait and nothing was there.
pub(crate) type Taken = Result<Option<(ChannelName, PackedMessage)>>;

impl OwnInboxes {
    pub(crate) fn insert(&self, inbox: &Arc<Mailboxes>) {
        let mut inboxes = self.lock();
        inboxes.retain(|_, inbox| inbox.strong_count() > 0);
        inboxes.insert(inbox.name().clone(), Arc::downgrade(inbox));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Mailboxes>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Checks the channels of a receive, of which there may be at most so many.
    pub(crate) fn readable(&self, channels: &[ChannelName], most: usize) -> Result<Readable> {
        check_receivable(channels, most)?;
        // The usual receive, without a set of what was seen.
        if let [channel] = channels
            && channel.kind() != ChannelKind::Inbox
        {
            return Ok(Readable { queues: channels.into(), inboxes: Vec::new(), turn: 0 });
        }
        let mut queues: Vec<ChannelName> = Vec::with_capacity(channels.len());
        let mut inboxes = Vec::new();
        let mut seen = HashSet::with_capacity(channels.len());
        for channel in channels.iter().filter(|channel| seen.insert(channel.as_str())) {
            if channel.kind() != ChannelKind::Inbox {
                queues.push(channel.clone());
            } else if let Some(inbox) = self.lock().get(channel).and_then(Weak::upgrade) {
                inboxes.push(inbox);
            } else {
                return Err(Error::new(
                    ErrorKind::InvalidName,
                    format!(
                        "channel {channel:?} is no inbox of this process; open one with `inbox`, and receive from its name"
                    ),
                ));
            }
        }
        Ok(Readable { queues: queues.into(), inboxes, turn: self.turn.fetch_add(1, Ordering::Relaxed) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Weak<Mailboxes>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readable {
    /// Takes one message of the inboxes or, by `from_queues`, of the queues.
    ///
    /// Cancel-safe if what `from_queues` returns is.
    pub(crate) async fn take<F>(self, waits: bool, from_queues: impl FnOnce(Arc<[ChannelName]>) -> F) -> Taken
    where
        F: Future<Output = Taken> + Send,
    {
        let Self { queues, inboxes, turn } = self;
        let mut queues = (!queues.is_empty()).then(|| from_queues(queues));
        if waits && !inboxes.is_empty() {
            let mut all: Vec<Next<'_>> = Vec::with_capacity(inboxes.len() + 1);
            if let Some(queues) = queues {
                all.push(Box::pin(queues));
            }
            for inbox in inboxes {
                all.push(Box::pin(async move { inbox.next().await.map(Some) }));
            }
            return first_of(all, turn).await;
        }
        // The queues have the place behind the inboxes.
        let places = inboxes.len() + 1;
        let mut failed = None;
        for place in (0..places).map(|place| (place + turn) % places) {
            let taken = match (inboxes.get(place), queues.take_if(|_| place + 1 == places)) {
                (Some(inbox), _) => inbox.try_next().transpose()?,
                // A server that cannot be asked does not keep an inbox from giving what it has.
                (None, Some(queues)) => queues.await.unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                }),
                (None, None) => None,
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

type Next<'a> = Pin<Box<dyn Future<Output = Taken> + Send + 'a>>;

/// Waits for the first of several receives, and drops the others, which then have taken nothing. `turn` says which of
/// them is looked at first, so that a busy one does not starve the others.
///
/// Cancel-safe if all of them are.
pub(crate) async fn first_of(mut all: Vec<Next<'_>>, turn: usize) -> Taken {
    let places = all.len().max(1);
    all.rotate_left(turn % places);
    std::future::poll_fn(|context| {
        let ready = all.iter_mut().map(|next| next.as_mut().poll(context)).find(Poll::is_ready);
        ready.unwrap_or(Poll::Pending)
    })
    .await
}
