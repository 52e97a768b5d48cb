//! The task that reads an inbox: it gives messages to mailboxes, those of groups to all their members here, and keeps the
//! inbox's memberships alive.
//!
//! It reads one batch at a time. The batch is acknowledged when each message of it is in its mailbox and the server knows
//! which mailboxes that has filled, so no more can be accepted for a mailbox than it and one inbox hold.
//!
//! - [`log`] is what it knows of its groups: the changes of memberships stand in the inbox among the messages.
//! - [`clock`] is the server's clock, [`backlog`] how long entries can have waited.
//! - [`reports`] are the mailboxes that senders are told of as full.

mod backlog;
mod clock;
mod log;
mod mirror;
mod open;
mod reports;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use self::log::{Due, Log, Time};
use self::mirror::Member;
pub(super) use self::open::open;
pub(super) use self::reports::Report;
use self::reports::Reports;
use super::calls::{InboxKeepReply, InboxPageReply};
use super::entry::{Entry, Said};
use super::log_entry::Place;
use super::milliseconds::milliseconds;
use super::receive::{Receiving, Tickets};
use super::shard::Shard;
use crate::error::{ErrorKind, Result};
use crate::inbox::{Changes, Mailboxes, Recipient, Slot, fan_out};
use crate::message::PackedMessage;
use crate::seal::Target;

/// The pause before a call is made again that failed, while the server is connected.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before an inbox is read again that the server refused to read.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

struct Reader {
    mailboxes: Arc<Mailboxes>,
    tickets: Arc<Tickets>,
    shard: Arc<Shard>,
    log: Log,
    reports: Reports,
    lease: Duration,
    /// Memberships are renewed for so long, when half of it is over.
    renew_after: Option<Duration>,
    /// The connection's epoch at the last sign of life.
    epoch: u64,
    /// Until then a time that is odd is no reason to read the server's clock again.
    odd_until: Option<Instant>,
    /// No call is made before, because the last one failed.
    patience: Option<Instant>,
    /// Whether the server refused the last read.
    is_refused: bool,
}

/// Where the reader is.
enum Reading {
    Nothing,
    Waiting(Receiving),
    /// What is left of a batch that is not acknowledged yet, and when it came.
    Batch(Receiving, std::vec::IntoIter<Entry>, Instant),
}

impl Reader {
    async fn run(mut self) {
        let mut beat = interval(self.lease / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut reading = Reading::Nothing;
        while !self.mailboxes.is_closing() {
            self.call_what_is_due().await;
            // Who reads the inbox as a whole bounds what is kept for it; mailboxes bound themselves.
            if self.mailboxes.wants_more() {
                match reading {
                    Reading::Nothing => match self.ask() {
                        Ok(receiving) => reading = Reading::Waiting(receiving),
                        Err(_) => break,
                    },
                    Reading::Waiting(_) => {}
                    Reading::Batch(receiving, mut entries, at) => {
                        if let Some(entry) = entries.next() {
                            self.give(entry, at).await;
                            reading = Reading::Batch(receiving, entries, at);
                        } else {
                            self.report().await;
                            receiving.acknowledge();
                            reading = Reading::Nothing;
                        }
                        continue;
                    }
                }
            }
            let batch = async {
                match &mut reading {
                    Reading::Waiting(receiving) => receiving.batch().await,
                    _ => std::future::pending().await,
                }
            };
            let patience = async {
                match self.patience {
                    Some(patience) => sleep_until(patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                batch = batch => match (batch, reading) {
                    (Ok(entries), Reading::Waiting(receiving)) => {
                        self.log.clock.came(&entries);
                        self.is_refused = false;
                        reading = Reading::Batch(receiving, entries.into_iter(), Instant::now());
                    }
                    (Err(error), _) if error.kind() != ErrorKind::Closed => {
                        // Its key is not ours, or a right is missing: it goes on soon after the server does.
                        if !std::mem::replace(&mut self.is_refused, true) {
                            tracing::warn!(inbox = %self.mailboxes.name(), %error, "cannot read an inbox; trying on");
                        }
                        reading = Reading::Nothing;
                        tokio::select! {
                            () = sleep(REFUSED_PAUSE) => {}
                            _ = beat.tick() => self.beat(),
                            () = self.mailboxes.changed() => self.note_changes().await,
                        }
                    }
                    // The layer was closed.
                    _ => break,
                },
                () = self.mailboxes.changed() => self.note_changes().await,
                _ = beat.tick() => self.beat(),
                () = patience => self.patience = None,
                greeted = self.shard.up_since(self.epoch) => match greeted {
                    Ok(epoch) => {
                        self.epoch = epoch;
                        self.patience = None;
                        self.log.connected_anew();
                    }
                    Err(_) => break,
                },
            }
        }
        self.close().await;
    }

    /// Opens the ticket of the next batch.
    fn ask(&mut self) -> Result<Receiving> {
        let channels = Arc::from([self.mailboxes.name().clone()]);
        let receiving = self.tickets.open([(self.shard.number(), channels)], true)?;
        self.log.clock.asked();
        Ok(receiving)
    }

    /// Makes the calls that the log wants.
    async fn call_what_is_due(&mut self) {
        while self.patience.is_none()
            && let Some(due) = self.log.due()
        {
            let called = match due {
                Due::Begin => self.begin().await,
                Due::Keep => self.keep().await,
                Due::Page(from) => self.page(from).await,
            };
            if let Err(error) = called {
                tracing::debug!(inbox = %self.mailboxes.name(), %error, "could not tell of an inbox");
                self.patience = Some(Instant::now() + PAUSE);
            }
        }
    }

    async fn begin(&mut self) -> Result<()> {
        let call = self.log.line().begin().await?;
        self.log.has_begun(call);
        Ok(())
    }

    /// Gives a sign of life, with what is to be reported of mailboxes. A server that has other marks than it was told is told
    /// of all, once.
    async fn keep(&mut self) -> Result<()> {
        let mut was_told_anew = false;
        loop {
            let report = self.reports.next();
            was_told_anew |= report.begins_anew;
            let asked = Instant::now();
            let last = self.log.last();
            let kept = self.log.line().keep(milliseconds(self.lease), Some(last), &report).await;
            match kept {
                Ok(InboxKeepReply::Kept { now_us, groups, marks }) => {
                    self.shard.envelope().clock().learn(asked, now_us / 1000);
                    self.log.kept(asked, now_us, groups);
                    let differs = self.reports.told(report, marks);
                    if self.reports.is_empty() || differs && was_told_anew {
                        return Ok(());
                    }
                }
                Ok(InboxKeepReply::Taken) => {
                    tracing::error!(inbox = %self.mailboxes.name(), "another process has taken the name of an inbox");
                    self.reports.not_told(report);
                    self.patience = Some(Instant::now() + self.lease / 3);
                    return Ok(());
                }
                Err(error) => {
                    self.reports.not_told(report);
                    return Err(error);
                }
            }
        }
    }

    async fn page(&mut self, from: Place) -> Result<()> {
        let asked = Instant::now();
        match self.log.line().page(&from).await? {
            (call, InboxPageReply::Written { now_us }) => {
                self.log.asked_for_page(call);
                self.log.learn_time(asked, now_us);
            }
            // A sign of life finds out what that means.
            (_, InboxPageReply::Taken) => self.log.wants_keep(),
        }
        Ok(())
    }

    /// Reports mailboxes, if there is something to report.
    async fn report(&mut self) {
        if !self.reports.is_empty()
            && self.patience.is_none()
            && let Err(error) = self.keep().await
        {
            tracing::debug!(inbox = %self.mailboxes.name(), %error, "could not tell of full mailboxes");
        }
    }

    fn beat(&mut self) {
        self.mailboxes.drop_expired();
        let with_room: Vec<Arc<Slot>> =
            self.reports.marked().filter(|slot| slot.drop_expired()).map(Arc::clone).collect();
        self.reports.note(with_room);
        self.log.beat();
        if let Some(expiry) = self.renew_after {
            self.log.renew(milliseconds(expiry));
        }
    }

    async fn note_changes(&mut self) {
        let Some(Changes { dropped, with_room }) = self.mailboxes.take_changes() else { return };
        for slot in dropped {
            self.log.mailbox_is_gone(slot.address());
            self.reports.note([slot]);
        }
        self.reports.note(with_room);
        self.report().await;
    }

    /// Gives what an entry tells to the mailboxes that it concerns.
    async fn give(&mut self, entry: Entry, at: Instant) {
        let time = Time { pushed_ms: entry.pushed_us() / 1000, came: at };
        let deadline_ms = entry.deadline_ms();
        let mailboxes = Arc::clone(&self.mailboxes);
        let inbox = mailboxes.name().as_str();
        if self.log.clock.is_odd(time.pushed_ms, at) && self.odd_until.is_none_or(|until| until <= at) {
            // The server's clock was perhaps set, and this is to be read by what it shows now.
            self.odd_until = Some(at + PAUSE);
            if let Err(error) = self.keep().await {
                tracing::debug!(inbox, %error, "could not read a server's clock");
                self.log.wants_keep();
            }
        }
        match self.shard.envelope().read_said(entry, inbox) {
            // What does not open is counted there.
            Ok(None) => {}
            Ok(Some(Said::Message { address, payload })) => {
                let target = Target::Channel(inbox, &address);
                let Some((message, deadline)) = self.open(target, payload, deadline_ms, time) else { return };
                if let Some(full) = self.mailboxes.post(&address, deadline, message) {
                    self.reports.note([full]);
                }
            }
            Ok(Some(Said::GroupMessage { group, written, payload })) => {
                let target = Target::Group(&group);
                // Once for all members.
                let Some((message, deadline)) = self.open(target, payload, deadline_ms, time) else { return };
                self.fan_out(&written, time.pushed_ms, deadline, message).await;
            }
            Ok(Some(Said::Log(entry))) => self.log.read(entry, time, &mailboxes),
            Err(error) => {
                tracing::warn!(inbox = %self.mailboxes.name(), %error, "an inbox held what is no entry");
                self.mailboxes.post_failure(error);
            }
        }
    }

    /// Opens a payload. Returns the message and until when it lives here; nothing if it does not open, which is counted.
    fn open(
        &self,
        target: Target<'_>,
        payload: Bytes,
        deadline_ms: u64,
        time: Time,
    ) -> Option<(PackedMessage, Instant)> {
        let opened = self.shard.envelope().open(self.mailboxes.name().as_str(), target, payload, time.came);
        let opened = opened.map_err(|error| self.mailboxes.post_failure(error)).ok()??;
        let until_ms = deadline_ms.min(opened.until_ms);
        let deadline = self.log.clock.lives_until(time.pushed_ms, until_ms, time.came);
        Some((PackedMessage::from_bytes(opened.message), deadline))
    }

    /// Gives a message to each member of a group. They share its bytes.
    async fn fan_out(&mut self, group: &str, sent_ms: u64, deadline: Instant, message: PackedMessage) {
        let Some(members) = self.log.mirror().members(group) else { return };
        let names = self.shard.names();
        let recipient = |(address, member): (&Arc<str>, &Member)| match &member.mailbox {
            Some(slot) => Some(Recipient::Mailbox(Arc::clone(slot))),
            None if names.are_plain() => Some(Recipient::Address(Arc::clone(address))),
            // What another key has hidden is of no mailbox here.
            None => names.reveal_address(address).map(|address| Recipient::Address(address.into())),
        };
        let recipients = members.iter().filter(|(_, member)| member.gets(sent_ms)).filter_map(recipient);
        let full = fan_out(&self.mailboxes, recipients.collect(), deadline, message).await;
        self.reports.note(full);
    }

    /// Ends the inbox on the server; if that cannot be, its memberships end with their lease.
    async fn close(&self) {
        if let Err(error) = self.log.line().close().await {
            let inbox = self.mailboxes.name();
            tracing::debug!(%inbox, %error, "could not end an inbox on the server");
        }
    }
}

impl Drop for Reader {
    /// A reader that its runtime dropped leaves nobody waiting.
    fn drop(&mut self) {
        self.mailboxes.end();
    }
}
