//! The inboxes of this process, by name, and receives that read them together with other channels.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, ErrorKind, Result};
use crate::inbox::Mailboxes;
use crate::layer::refusals::check_receivable;
use crate::layer::sources::{Source, Taken, Turns, take_from};
use crate::name::{ChannelKind, ChannelName};

/// The inboxes that this process has opened and still has.
#[derive(Debug, Default)]
pub(crate) struct OwnInboxes {
    open: Mutex<HashMap<ChannelName, Weak<Mailboxes>>>,
    turns: Turns,
}

/// What a receive reads: queues of the layer, each once, and inboxes of this process.
#[derive(Debug)]
pub(crate) struct Readable {
    queues: Arc<[ChannelName]>,
    inboxes: Vec<Arc<Mailboxes>>,
    count: u64,
}

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
            return Ok(Readable { queues: channels.into(), inboxes: Vec::new(), count: 0 });
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
                        "channel {channel:?} is no inbox of this process; open one with `open_inbox`, and receive from its name"
                    ),
                ));
            }
        }
        Ok(Readable { queues: queues.into(), inboxes, count: self.turns.next() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Weak<Mailboxes>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readable {
    /// Takes one message of the inboxes or, by `from_queues`, of the queues.
    ///
    /// Cancel-safe if what `from_queues` returns is.
    pub(crate) async fn take<'a, F>(
        self,
        waits: bool,
        from_queues: impl Fn(Arc<[ChannelName]>, bool) -> F + Send + Sync + 'a,
    ) -> Taken
    where
        F: Future<Output = Taken> + Send + 'a,
    {
        let Self { queues, inboxes, count } = self;
        if inboxes.is_empty() {
            return from_queues(queues, waits).await;
        }
        let mut sources: Vec<Source<'a>> = Vec::with_capacity(inboxes.len() + 1);
        if !queues.is_empty() {
            sources.push(Box::new(move |waits| Box::pin(from_queues(Arc::clone(&queues), waits))));
        }
        for inbox in inboxes {
            sources.push(Box::new(move |waits| {
                let inbox = Arc::clone(&inbox);
                Box::pin(async move {
                    if waits { inbox.next().await.map(Some) } else { inbox.try_next().transpose() }
                })
            }));
        }
        take_from(sources, waits, count).await
    }
}
