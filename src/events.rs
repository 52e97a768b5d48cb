//! What happens to a layer, for programs that do not read its log: a stream of events.
//!
//! Every part that has something to tell holds the layer's [`EventSource`]. It keeps the last events for those who listen, and costs
//! nothing while nobody does.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt, empty, select, unfold};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

use crate::error::ErrorKind;
use crate::name::ChannelName;

/// So many events are kept for a listener that is slow.
const KEPT: usize = 256;

/// Something that happened to a layer. [`ChannelLayer::events`](crate::ChannelLayer::events) returns them.
///
/// Servers are named as URLs without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server that could not be reached when the layer was made is connected for the first time.
    #[non_exhaustive]
    Connected {
        /// The server.
        host: Arc<str>,
    },
    /// The connection to a server was lost, and is tried again. Sends to it fail; receives wait.
    #[non_exhaustive]
    Lost {
        /// The server.
        host: Arc<str>,
        /// Why, as its sends are told.
        kind: ErrorKind,
        /// The same in one line.
        reason: Arc<str>,
    },
    /// A server that was lost is still not to be used, for another reason than before: it loads its data, say, or its role changed
    /// and it is a replica now, which is [`ErrorKind::Replica`].
    #[non_exhaustive]
    StillLost {
        /// The server.
        host: Arc<str>,
        /// Why, as its sends are told.
        kind: ErrorKind,
        /// The same in one line.
        reason: Arc<str>,
    },
    /// A server that was lost is connected again. What may have been missed was asked for.
    #[non_exhaustive]
    Back {
        /// The server.
        host: Arc<str>,
    },
    /// A server does not know this process any more: it restarted empty, or with an old state, or its data were removed. Messages
    /// that waited there are lost.
    #[non_exhaustive]
    DataLost {
        /// The server.
        host: Arc<str>,
    },
    /// The server of an inbox had lost it or some of its memberships. They are compared and put right.
    #[non_exhaustive]
    MembershipsLost {
        /// The inbox.
        inbox: ChannelName,
    },
    /// The memberships of an inbox were compared, and what was wrong is put right.
    #[non_exhaustive]
    MembershipsHealed {
        /// The inbox.
        inbox: ChannelName,
    },
    /// A mailbox is full, because its owner takes too slowly: its senders are told, and groups pass it over.
    #[non_exhaustive]
    MailboxFull {
        /// The mailbox.
        mailbox: ChannelName,
    },
    /// A mailbox that was full is half empty, and gets messages again.
    #[non_exhaustive]
    MailboxHasRoom {
        /// The mailbox.
        mailbox: ChannelName,
    },
    /// The listener was so slow that older events were dropped for it: so many.
    #[non_exhaustive]
    Missed {
        /// How many.
        events: u64,
    },
}

/// Where the events of a layer come from. Clones share it.
#[derive(Clone)]
pub(crate) struct EventSource(Arc<Mutex<Option<Sender<Event>>>>);

impl Default for EventSource {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(channel(KEPT).0))))
    }
}

impl EventSource {
    /// Tells those who listen.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        let sender = self.lock();
        if let Some(sender) = sender.as_ref().filter(|sender| sender.receiver_count() > 0) {
            // The last one may have gone meanwhile.
            let _ = sender.send(event());
        }
    }

    pub(crate) fn listen(&self) -> Events {
        match self.lock().as_ref() {
            Some(sender) => Events(unfold(sender.subscribe(), next).boxed()),
            None => Events::none(),
        }
    }

    /// No more events come: those who listen get what there is, then the end.
    pub(crate) fn end(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sender<Event>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSource")
    }
}

async fn next(mut receiver: Receiver<Event>) -> Option<(Event, Receiver<Event>)> {
    let event = match receiver.recv().await {
        Ok(event) => event,
        Err(RecvError::Lagged(events)) => Event::Missed { events },
        Err(RecvError::Closed) => return None,
    };
    Some((event, receiver))
}

/// The events of a layer from now on, as a stream. It ends when the layer is closed.
///
/// The last 256 are kept for a listener that is slow. Older ones are dropped for it, and [`Event::Missed`] tells in their place how many.
/// Dropping a poll of it loses nothing.
pub struct Events(BoxStream<'static, Event>);

impl Events {
    /// No events: those of a layer of one's own that has none.
    pub fn none() -> Self {
        Self(empty().boxed())
    }

    /// Waits for the next event; `None` when the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: an event is taken in the same poll in which it is returned.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.next().await
    }

    /// The events of both, of a layer that is made of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(select(self.0, other.0).boxed())
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(host: &str) -> Event {
        Event::Back { host: host.into() }
    }

    #[tokio::test]
    async fn who_listens_gets_all_from_then_on_and_the_end() {
        let source = EventSource::default();
        source.tell(|| panic!("nobody listens"));
        let (mut one, mut other) = (source.listen(), source.listen());
        source.tell(|| back("a"));
        assert_eq!(one.next().await, Some(back("a")));
        source.tell(|| back("b"));
        source.end();
        source.tell(|| panic!("it has ended"));
        assert_eq!([one.next().await, one.next().await], [Some(back("b")), None]);
        assert_eq!(
            [other.next().await, other.next().await, other.next().await],
            [Some(back("a")), Some(back("b")), None]
        );
        assert_eq!(source.listen().next().await, None);
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_it_missed_and_gets_the_newest() {
        let source = EventSource::default();
        let mut events = source.listen();
        for number in 0..KEPT + 44 {
            source.tell(|| back(&number.to_string()));
        }
        assert_eq!(events.next().await, Some(Event::Missed { events: 44 }));
        for number in 44..KEPT + 44 {
            assert_eq!(events.next().await, Some(back(&number.to_string())));
        }
        assert!(futures::poll!(std::pin::pin!(events.next())).is_pending());
    }
}
