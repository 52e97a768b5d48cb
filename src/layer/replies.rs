//! Where the replies to this process's requests come: an inbox that a layer opens with its first request, and in it a mailbox for
//! each request.
//!
//! A reply for which no mailbox is there is dropped by the inbox, which counts it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::inbox::{Inbox, Mailbox};
use crate::layer::request::RequestStatistics;

/// What the name of the inbox begins with.
pub(crate) const REPLY_INBOX: &str = "reply";

/// The inbox for replies.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Only one call opens it.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inbox: Option<Inbox>,
    /// What the inboxes counted that have ended.
    late: u64,
}

impl Replies {
    /// Opens a mailbox for one reply, and with `open` the inbox, unless it is there. It may have ended with the runtime that ran
    /// it.
    ///
    /// A dropped call has opened an inbox or not, which the next one finds.
    pub(crate) async fn open_mailbox<F>(&self, open: impl FnOnce() -> F) -> Result<Mailbox>
    where
        F: Future<Output = Result<Inbox>>,
    {
        if let Some(inbox) = self.open_inbox() {
            return inbox.open_mailbox();
        }
        let _opening = self.opening.lock().await;
        if let Some(inbox) = self.open_inbox() {
            return inbox.open_mailbox();
        }
        let inbox = open().await?;
        let mailbox = inbox.open_mailbox()?;
        let mut state = self.lock();
        if let Some(ended) = state.inbox.replace(inbox) {
            state.late += late(&ended);
        }
        Ok(mailbox)
    }

    pub(crate) fn statistics(&self) -> RequestStatistics {
        let state = self.lock();
        let inbox = state.inbox.as_ref();
        RequestStatistics {
            waiting: inbox.map_or(0, |inbox| inbox.statistics().mailboxes),
            late_replies: state.late + inbox.map_or(0, late),
        }
    }

    fn open_inbox(&self) -> Option<Inbox> {
        self.lock().inbox.clone().filter(|inbox| !inbox.has_ended())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many replies came for which nobody waited.
fn late(inbox: &Inbox) -> u64 {
    let counted = inbox.statistics();
    counted.unknown + counted.unread + counted.expired
}
