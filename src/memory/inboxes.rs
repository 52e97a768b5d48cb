//! Inboxes: what is sent to an address in one goes to its mailbox at once, or waits while the inbox's program does not want
//! more. A small task for each inbox notes what its program does.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::groups::Recipient;
use super::queue::Entry;
use super::store::{State, Store, weight};
use crate::error::Result;
use crate::inbox::Mailboxes;
use crate::layer::refusals::{channel_full, mailbox_full};
use crate::name::ChannelName;

/// The queue of an inbox, in which messages wait that its program has not read yet.
#[derive(Debug, Default)]
pub(super) struct PrefixQueue {
    owner: Option<Owner>,
    waiting: VecDeque<(To, Entry)>,
}

/// Who reads an inbox.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) mailboxes: Arc<Mailboxes>,
    /// Whether memberships of open mailboxes do not end by time.
    pub(super) renews: bool,
}

/// For whom a message in an inbox is.
#[derive(Debug)]
pub(super) enum To {
    Address(Arc<str>),
    Members(Vec<Recipient>),
}

impl PrefixQueue {
    pub(super) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Whether what is sent now need not wait.
    fn takes_at_once(&mut self) -> Option<Arc<Mailboxes>> {
        let mailboxes = Arc::clone(&self.owner.as_ref()?.mailboxes);
        if !self.waiting.is_empty() || !mailboxes.wants_more() {
            self.pump();
            if !self.waiting.is_empty() || !mailboxes.wants_more() {
                return None;
            }
        }
        Some(mailboxes)
    }

    /// Appends, unless as many live ones wait as the capacity says; then it says how many do.
    fn push(&mut self, to: To, entry: Entry, capacity: usize) -> Result<(), usize> {
        if self.waiting.len() >= capacity {
            self.drop_expired(entry.sent);
            if self.waiting.len() >= capacity {
                return Err(self.waiting.len());
            }
        }
        self.waiting.push_back((to, entry));
        if let Some(Owner { mailboxes, .. }) = &self.owner {
            // Its task looks now and then whether there is room, though nobody says so: messages expire.
            mailboxes.wake_reader();
        }
        Ok(())
    }

    /// Gives to the mailboxes what they have room for.
    fn pump(&mut self) {
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

    /// Whether nothing waits here and nobody reads it.
    pub(super) fn is_idle(&self) -> bool {
        self.owner.is_none() && self.waiting.is_empty()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter().map(|(_, entry)| entry)
    }

    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.waiting().filter(move |entry| entry.is_live(now))
    }
}

fn post(mailboxes: &Mailboxes, to: To, entry: Entry) {
    match to {
        // Whether a mailbox is full is asked of it with each send.
        To::Address(address) => drop(mailboxes.post(&address, entry.deadline, entry.message)),
        To::Members(members) => {
            let without_mailbox = members.into_iter().filter_map(|member| member.give(mailboxes, &entry));
            mailboxes.post_to_whole(without_mailbox.collect(), entry.deadline, entry.message.clone());
        }
    }
}

impl State {
    /// Opens an inbox; false if another has the name.
    pub(super) fn open_inbox(&mut self, owner: Owner) -> bool {
        let inbox = self.inboxes.entry(owner.mailboxes.name().as_str().into()).or_default();
        let is_free = inbox.owner.is_none();
        if is_free {
            inbox.owner = Some(owner);
        }
        is_free
    }

    /// Sends to one address in an inbox.
    pub(super) fn send_to_inbox(
        &mut self,
        channel: &ChannelName,
        entry: Entry,
        capacity: usize,
    ) -> Result<()> {
        let address = channel.local().unwrap_or_default();
        if let Some(inbox) = self.inboxes.get_mut(channel.queue()) {
            let mailbox = inbox.owner().and_then(|owner| owner.mailboxes.mailbox(address));
            if mailbox.is_some_and(|mailbox| mailbox.is_full() && !mailbox.drop_expired()) {
                return Err(mailbox_full(channel));
            }
            if let Some(mailboxes) = inbox.takes_at_once() {
                mailboxes.post(address, entry.deadline, entry.message);
                return Ok(());
            }
        }
        self.note_work(weight(&entry));
        let inbox = self.inboxes.entry(channel.queue().into()).or_default();
        inbox
            .push(To::Address(address.into()), entry, capacity)
            .map_err(|live| channel_full(channel, live, capacity))
    }

    /// Sends to members of a group in an inbox; whether there was room. If they need not wait for it, they are returned, to
    /// be given the message without the lock.
    pub(super) fn send_to_members(
        &mut self,
        inbox_name: &str,
        members: Vec<Recipient>,
        entry: Entry,
        capacity: usize,
    ) -> Result<Option<FanOut>, ()> {
        let Some(inbox) = self.inboxes.get_mut(inbox_name) else { return Err(()) };
        if let Some(mailboxes) = inbox.takes_at_once() {
            return Ok(Some(FanOut { mailboxes, members, entry }));
        }
        self.note_work(weight(&entry));
        let Some(inbox) = self.inboxes.get_mut(inbox_name) else { return Err(()) };
        inbox.push(To::Members(members), entry, capacity).map(|()| None).map_err(drop)
    }

    /// Notes what the program has done with an inbox's mailboxes, and gives it what it has room for. Says whether it wants
    /// messages and some wait still.
    fn settle_and_pump(&mut self, inbox: &ChannelName) -> bool {
        self.settle(inbox.as_str());
        let Some(inbox) = self.inboxes.get_mut(inbox.as_str()) else { return false };
        inbox.pump();
        let is_read = inbox.owner().is_some_and(|owner| owner.mailboxes.is_read());
        is_read && !inbox.waiting.is_empty()
    }

    /// Takes mailboxes that were dropped out of their groups.
    pub(super) fn settle(&mut self, inbox: &str) {
        let changes = self.inboxes.get(inbox).and_then(|inbox| inbox.owner()?.mailboxes.take_changes());
        for mailbox in changes.into_iter().flat_map(|changes| changes.dropped) {
            self.groups.leave_all(mailbox.name());
        }
    }

    /// Ends an inbox: nobody of it is in a group any more, and what waited is gone.
    pub(super) fn end_inbox(&mut self, inbox: &ChannelName) {
        self.groups.remove_queue(inbox.as_str());
        let ended = self.inboxes.remove(inbox.as_str());
        if let Some(Owner { mailboxes, .. }) = ended.and_then(|inbox| inbox.owner) {
            mailboxes.end();
        }
    }
}

/// A group's message on its way to the mailboxes of one inbox.
#[derive(Debug)]
pub(super) struct FanOut {
    mailboxes: Arc<Mailboxes>,
    members: Vec<Recipient>,
    entry: Entry,
}

/// How often the room for what waits in an inbox is looked for, while nobody takes anything.
const LOOKS_FOR_ROOM: Duration = Duration::from_millis(500);
/// After so many copies others get a turn.
const COPIES_A_TURN: usize = 512;

impl FanOut {
    pub(super) async fn run(self) {
        let Self { mailboxes, members, entry } = self;
        let mut without_mailbox = Vec::new();
        for (number, member) in (1..).zip(members) {
            without_mailbox.extend(member.give(&mailboxes, &entry));
            if number % COPIES_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        mailboxes.post_to_whole(without_mailbox, entry.deadline, entry.message);
    }
}

/// The task of an inbox: it ends with the inbox, and ends it when its program does not want it any more.
pub(super) async fn attend(store: Weak<Store>, mailboxes: Arc<Mailboxes>) {
    let ending = Ending { store, mailboxes };
    let mut waits_for_room = false;
    while !ending.mailboxes.is_closing() {
        let changed = ending.mailboxes.changed();
        if waits_for_room {
            // Or until then, when what takes the room may have expired.
            let _ = tokio::time::timeout(LOOKS_FOR_ROOM, changed).await;
        } else {
            changed.await;
        }
        let Some(store) = ending.store.upgrade() else { return };
        waits_for_room = store.with(|state| state.settle_and_pump(ending.mailboxes.name()));
    }
}

/// Ends the inbox with its task, also when the runtime drops that.
struct Ending {
    store: Weak<Store>,
    mailboxes: Arc<Mailboxes>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        match self.store.upgrade() {
            Some(store) => store.with(|state| state.end_inbox(self.mailboxes.name())),
            None => self.mailboxes.end(),
        }
    }
}
