//! The queue of an inbox: a message for it goes to its mailboxes at once, or waits while the inbox's program does not want
//! more.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::queue::Entry;
use crate::inbox::{Mailboxes, Recipient, fan_out, fan_out_at_once};

/// The queue of an inbox, in which messages wait that its program has not read yet.
#[derive(Debug, Default)]
pub(super) struct PrefixQueue {
    owner: Option<Owner>,
    waiting: VecDeque<(To, Entry)>,
}

/// The program that reads an inbox.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) mailboxes: Arc<Mailboxes>,
    /// Whether the memberships of open mailboxes last longer than `group_expiry`.
    pub(super) renews: bool,
    /// How many bytes of messages may wait before a message of over [`SMALL_MESSAGE`] bytes is refused.
    pub(super) bytes: usize,
}

/// A message of up to so many bytes is not held against the bytes of its inbox, as it is not on a server.
const SMALL_MESSAGE: usize = 4096;

/// Why an inbox takes no more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Full {
    /// So many live messages wait already.
    Messages(usize),
    /// What waits has as many bytes as it may have.
    Bytes,
}

/// The receivers of a message in an inbox.
#[derive(Debug)]
pub(super) enum To {
    Address(Arc<str>),
    Members(Vec<Recipient>),
}

impl PrefixQueue {
    /// Takes an owner. Returns false if the inbox has one already.
    pub(super) fn open(&mut self, owner: Owner) -> bool {
        let is_free = self.owner.is_none();
        if is_free {
            self.owner = Some(owner);
        }
        is_free
    }

    /// Ends the mailboxes of its owner.
    pub(super) fn end(self) {
        if let Some(Owner { mailboxes, .. }) = self.owner {
            mailboxes.end();
        }
    }

    pub(super) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Returns the mailboxes if a message that is sent now need not wait.
    pub(super) fn takes_at_once(&mut self) -> Option<Arc<Mailboxes>> {
        let mailboxes = Arc::clone(&self.owner.as_ref()?.mailboxes);
        if !self.waiting.is_empty() || !mailboxes.wants_more() {
            self.pump();
            if !self.waiting.is_empty() || !mailboxes.wants_more() {
                return None;
            }
        }
        Some(mailboxes)
    }

    /// Appends a message. Fails if as many live messages wait as the capacity allows, or it is large and they have as many
    /// bytes as they may have.
    pub(super) fn push(&mut self, to: To, entry: Entry, capacity: usize) -> Result<(), Full> {
        if self.waiting.len() >= capacity {
            self.drop_expired(entry.sent);
            if self.waiting.len() >= capacity {
                return Err(Full::Messages(self.waiting.len()));
            }
        }
        if entry.message.len() > SMALL_MESSAGE
            && let Some(owner) = &self.owner
            && !self.waiting.is_empty()
        {
            let bytes = self.waiting.iter().map(|(_, waiting)| waiting.message.len()).sum::<usize>();
            if bytes + entry.message.len() > owner.bytes {
                return Err(Full::Bytes);
            }
        }
        self.waiting.push_back((to, entry));
        if let Some(Owner { mailboxes, .. }) = &self.owner {
            // Its task then looks for room from time to time, because messages that expire make room without a signal.
            mailboxes.wake_reader();
        }
        Ok(())
    }

    /// Gives the mailboxes as many messages as they have room for.
    pub(super) fn pump(&mut self) {
        let Some(Owner { mailboxes, .. }) = &self.owner else { return };
        if !mailboxes.wants_more() {
            mailboxes.drop_expired();
        }
        let now = Instant::now();
        while mailboxes.wants_more() {
            let Some((to, entry)) = self.waiting.pop_front() else { return };
            if entry.is_live(now) {
                post(mailboxes, to, entry);
            }
        }
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        self.waiting.retain(|(_, entry)| entry.is_live(now));
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Reports whether no message waits here and no program reads it.
    pub(super) fn is_idle(&self) -> bool {
        self.owner.is_none() && self.waiting.is_empty()
    }

    /// Returns all messages that wait, with those that have expired.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter().map(|(_, entry)| entry)
    }

    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.waiting().filter(move |entry| entry.is_live(now))
    }
}

fn post(mailboxes: &Mailboxes, to: To, entry: Entry) {
    match to {
        // What this returns, a mailbox that is now full, is not needed: each send asks its mailbox.
        To::Address(address) => drop(mailboxes.post(&address, entry.deadline, entry.message)),
        To::Members(members) => fan_out_at_once(mailboxes, members, entry.deadline, entry.message),
    }
}

/// A group's message on its way to the mailboxes of one inbox.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) members: Vec<Recipient>,
    pub(super) entry: Entry,
}

impl FanOut {
    /// Gives the message to each member, without the lock of the store.
    pub(super) async fn run(self) {
        let Self { mailboxes, members, entry } = self;
        // Which mailboxes are full now is not needed: each send asks its mailbox.
        drop(fan_out(&mailboxes, members, entry.deadline, entry.message).await);
    }
}
