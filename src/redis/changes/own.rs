//! The line of an inbox of this process, as its owner holds it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::book::{Book, Unread};
use super::busy::Busy;
use super::line::{Line, Waiting};
use super::{Changes, MAX_OPERATIONS};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::ChannelName;
use crate::redis::calls::{
    Change, GroupDiscard, InboxClose, InboxKeep, InboxKeepReply, InboxPage, InboxPageReply, Operation, What,
};
use crate::redis::inbox::Report;
use crate::redis::log_entry::Place;

/// After so many steps that took no member out of its groups, closing ends: the rest ends with its lease.
const MAX_IDLE_STEPS: usize = 10;

/// The line of an inbox, until this is dropped.
#[derive(Debug)]
pub(in crate::redis) struct OwnLine {
    changes: Arc<Changes>,
    line: Arc<Line>,
    book: Arc<Book>,
    inbox: ChannelName,
    capacity: usize,
    /// How many bytes the inbox may have.
    bytes: usize,
}

impl Changes {
    /// The line of an inbox of this process, whose calls are noted from now on.
    pub(in crate::redis) fn own(self: &Arc<Self>, inbox: &ChannelName, config: &Config) -> OwnLine {
        let (capacity, bytes) = (config.queue_capacity_of(inbox), config.inbox_bytes());
        let (line, book) = (self.line(inbox.as_str()), Arc::<Book>::default());
        line.own(Arc::clone(&book), capacity);
        OwnLine { changes: Arc::clone(self), line, book, inbox: inbox.clone(), capacity, bytes }
    }
}

impl OwnLine {
    /// Whether nothing waits, is under way, or is unread.
    pub(in crate::redis) fn is_quiet(&self) -> bool {
        !self.line.has_work() && self.book.is_empty()
    }

    /// Whether a change was answered whose entry was not read.
    pub(in crate::redis) fn has_answered(&self) -> bool {
        self.book.has_answered()
    }

    /// Whether a call with repairs failed since this was asked last.
    pub(in crate::redis) fn take_lost_repairs(&self) -> bool {
        self.book.take_lost_repairs()
    }

    /// Does something with the calls whose entries were not read.
    pub(in crate::redis) fn with_unread<T>(&self, use_them: impl FnOnce(&mut VecDeque<Unread>) -> T) -> T {
        self.book.with_unread(use_them)
    }

    /// As if a call had been made.
    #[cfg(test)]
    pub(in crate::redis) fn sent_for_tests(&self, call: u64, operations: &[Operation]) {
        self.book.sent(call, super::book::Sent::Operations(operations.into()));
    }

    /// As if a call had been answered.
    #[cfg(test)]
    pub(in crate::redis) fn answered_for_tests(&self, call: u64, n: u64, now_us: u64) {
        self.book.answered(call, n, now_us, &[]);
    }

    /// Takes out what the server is to be put right about.
    #[cfg(test)]
    pub(in crate::redis) fn take_repairs_for_tests(&self) -> Vec<Operation> {
        self.line.take_repairs_for_tests()
    }

    /// Of whom a change of the program waits, is under way, or is unread.
    pub(in crate::redis) fn busy(&self) -> Busy {
        let mut busy = Busy::default();
        let hidden =
            |channel: &ChannelName| self.changes.names().address(channel.local().unwrap_or_default()).into();
        self.line.add_waiting(&mut busy, hidden);
        self.book.add_unread(&mut busy);
        busy
    }

    /// Lets all changes wait.
    pub(in crate::redis) fn hold(&self) {
        self.line.hold(true);
    }

    /// Lets changes go on.
    pub(in crate::redis) fn go_on(&self) {
        self.line.hold(false);
        self.changes.drive(&self.line);
    }

    /// Puts the server right, beside what programs change.
    pub(in crate::redis) fn repair(&self, repairs: impl IntoIterator<Item = Operation>) {
        self.line.repair(repairs);
        self.changes.drive(&self.line);
    }

    pub(in crate::redis) fn forget_repairs(&self) {
        self.line.forget_repairs();
    }

    /// Takes members out whose mailbox is gone. If the server cannot be told they come back in `leave_returned`.
    pub(in crate::redis) fn leave(&self, gone: &[Operation]) {
        for some in gone.chunks(MAX_OPERATIONS) {
            let change =
                Waiting::Change { operations: some.to_vec(), capacity: self.capacity, outcome: None };
            self.line.join(change, None);
        }
        self.changes.drive(&self.line);
    }

    /// Takes members out whose leaving failed before.
    pub(in crate::redis) fn leave_returned(&self) {
        self.leave(&self.book.take_returned());
    }

    /// Begins to count changes anew. Returns the number of the call.
    pub(in crate::redis) async fn begin(&self) -> Result<u64> {
        let _turn = self.turn().await?;
        let call = self.changes.next_call();
        let begin = [Operation { group: "".into(), address: "".into(), what: What::Begin, label: None }];
        let caller = &self.changes.caller;
        let change = |generation| Change {
            queue: self.inbox.as_str(),
            fence: (caller.client(), generation),
            call,
            capacity: self.capacity,
            operations: &begin,
        };
        caller.ask(|generation| Ok(GroupDiscard(change(generation)))).await?;
        Ok(call)
    }

    /// One sign of life.
    pub(in crate::redis) async fn keep(
        &self,
        lease_ms: u64,
        last: Option<(u64, &str)>,
        report: &Report,
    ) -> Result<InboxKeepReply> {
        let _turn = self.turn().await?;
        // What is answered and not read yet is not known here, so it must not pass for what the server has.
        let last = last.filter(|_| !self.has_answered());
        let call = self.changes.next_call();
        let (full, with_room) = report.addresses();
        let caller = &self.changes.caller;
        let keep = |generation| {
            Ok(InboxKeep {
                inbox: &self.inbox,
                fence: (caller.client(), generation),
                bytes: self.bytes,
                lease_ms,
                call,
                last_n: last.map(|(n, _)| n),
                last_tag: last.map_or("", |(_, tag)| tag),
                forgets_marks: report.begins_anew,
                full: &full,
                with_room: &with_room,
            })
        };
        caller.ask(keep).await
    }

    /// Asks for a page of the memberships. Returns the number of the call too.
    pub(in crate::redis) async fn page(&self, from: &Place) -> Result<(u64, InboxPageReply)> {
        let _turn = self.turn().await?;
        let call = self.changes.next_call();
        let caller = &self.changes.caller;
        let page = |_| Ok(InboxPage { inbox: &self.inbox, owner: caller.client(), call, from });
        Ok((call, caller.ask(page).await?))
    }

    /// Ends the inbox, in steps; what its owner still wanted is dropped.
    pub(in crate::redis) async fn close(&self) -> Result<()> {
        self.line.disown();
        let _turn = self.turn().await?;
        let caller = &self.changes.caller;
        let close = |_| Ok(InboxClose { inbox: &self.inbox, owner: caller.client() });
        let (mut left, mut idle_steps) = (usize::MAX, 0);
        while left > 0 && idle_steps < MAX_IDLE_STEPS {
            let before = std::mem::replace(&mut left, caller.ask(close).await?);
            idle_steps = if left < before { 0 } else { idle_steps + 1 };
        }
        Ok(())
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.line.turn().await.ok_or_else(|| Error::bug("the turns of a line were closed"))
    }
}

impl Drop for OwnLine {
    fn drop(&mut self) {
        self.line.disown();
        // What waited for the owner goes on without it.
        self.changes.drive(&self.line);
    }
}
