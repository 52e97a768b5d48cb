//! The task that reads an inbox: it gives messages to mailboxes, those of groups to all their members here, and keeps the
//! inbox's memberships alive.
//!
//! It reads one batch at a time. The batch is acknowledged when each message of it is in its mailbox and the server knows
//! which mailboxes that has filled, so no more can be accepted for a mailbox than it and one inbox hold.

mod keeper;
mod mirror;

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::keeper::Keeper;
use self::mirror::{Member, Mirror};
use super::entry::{Entry, Said};
use super::receive::{Receiving, Tickets};
use super::shard::Shard;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::inbox::{Changes, Mailboxes, Slot, new_inbox_name};
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};
use crate::seal::Target;

/// After so many copies of a group's message others get a turn.
const COPIES_A_TURN: usize = 512;
/// How many names are tried: one of 96 random bits is hardly ever taken, but its server may be down.
const MOST_NAMES: usize = 16;

/// Opens an inbox on a shard, and reads it for as long as its handles live and the layer is open.
pub(super) async fn open(
    name: &str,
    shard_of: impl Fn(&ChannelName) -> Result<Arc<Shard>>,
    tickets: &Arc<Tickets>,
    config: &Config,
) -> Result<Arc<Mailboxes>> {
    let mut failure = None;
    for _ in 0..MOST_NAMES {
        let name = new_inbox_name(name)?;
        let shard = shard_of(&name)?;
        if let Err(error) = shard.check_reachable() {
            failure = Some(error);
            continue;
        }
        let mailboxes = Arc::new(Mailboxes::new(name.clone(), config.capacity_of(&name)));
        let keeper = Keeper::new(name, shard, config);
        let Some(keeper) = keeper.open().await? else { continue };
        let reader = Reader {
            mailboxes: Arc::clone(&mailboxes),
            tickets: Arc::clone(tickets),
            keeper,
            mirror: Mirror::default(),
            renew_after: config.renew_memberships().then(|| config.group_expiry()),
            period: config.membership_lease() / 3,
            read_us: 0,
        };
        tokio::spawn(reader.run());
        return Ok(mailboxes);
    }
    Err(failure
        .unwrap_or_else(|| Error::bug(format_args!("{MOST_NAMES} random names of an inbox were all taken"))))
}

struct Reader {
    mailboxes: Arc<Mailboxes>,
    tickets: Arc<Tickets>,
    keeper: Keeper,
    mirror: Mirror,
    /// Memberships are renewed for so long, when half of it is over.
    renew_after: Option<Duration>,
    period: Duration,
    /// When the last entry was sent that was read.
    read_us: u64,
}

/// Where the reader is.
enum Reading {
    Nothing,
    Waiting(Receiving),
    /// What is left of a batch that is not acknowledged yet, and when it came.
    Batch(Receiving, std::vec::IntoIter<Entry>, Moment),
}

impl Reader {
    async fn run(mut self) {
        let mut beat = interval(self.period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut reading = Reading::Nothing;
        while !self.mailboxes.is_closing() {
            // Who reads the inbox as a whole bounds what is kept for it; mailboxes bound themselves.
            if self.mailboxes.wants_more() {
                match reading {
                    Reading::Nothing => {
                        let channels = Arc::from([self.mailboxes.name().clone()]);
                        match self.tickets.open([(self.keeper.shard().number(), channels)], true) {
                            Ok(receiving) => reading = Reading::Waiting(receiving),
                            Err(_) => break,
                        }
                    }
                    Reading::Waiting(_) => {}
                    Reading::Batch(receiving, mut entries, at) => {
                        if let Some(entry) = entries.next() {
                            self.give(entry, at).await;
                            reading = Reading::Batch(receiving, entries, at);
                        } else {
                            self.keeper.tell_news(&mut self.mirror, &self.mailboxes).await;
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
            tokio::select! {
                batch = batch => match (batch, reading) {
                    (Ok(entries), Reading::Waiting(receiving)) => {
                        reading = Reading::Batch(receiving, entries.into_iter(), Moment::now());
                    }
                    (Err(error), _) if error.kind() != ErrorKind::Closed => {
                        // Its key is not ours. The next beat tries again.
                        tracing::warn!(inbox = %self.mailboxes.name(), %error, "cannot read an inbox");
                        reading = Reading::Nothing;
                        tokio::select! {
                            _ = beat.tick() => {}
                            () = self.mailboxes.changed() => self.note_changes().await,
                        }
                        self.beat().await;
                    }
                    // The layer was closed.
                    _ => break,
                },
                () = self.mailboxes.changed() => self.note_changes().await,
                _ = beat.tick() => self.beat().await,
                greeted = self.keeper.greeted_anew() => match greeted {
                    Ok(()) => self.beat().await,
                    Err(_) => break,
                },
            }
        }
        self.keeper.close().await;
    }

    /// Keeps the inbox's memberships, and heals what the server has lost.
    async fn beat(&mut self) {
        self.mailboxes.drop_expired();
        let with_room: Vec<Arc<Slot>> =
            self.keeper.marked().filter(|slot| slot.drop_expired()).map(Arc::clone).collect();
        self.keeper.note(with_room);
        if self.keeper.tell(&mut self.mirror, &self.mailboxes).await
            && let Some(expiry) = self.renew_after
        {
            self.keeper.renew(&mut self.mirror, expiry).await;
        }
        // Whatever is read from now on was sent later.
        self.mirror.prune(self.read_us);
    }

    async fn note_changes(&mut self) {
        let Some(Changes { dropped, with_room }) = self.mailboxes.take_changes() else { return };
        for slot in dropped {
            let groups = self.mirror.forget(slot.address());
            self.keeper.note_gone(slot.address(), groups);
            self.keeper.note([slot]);
        }
        self.keeper.note(with_room);
        self.keeper.tell_news(&mut self.mirror, &self.mailboxes).await;
    }

    /// Gives what an entry tells to the mailboxes that it concerns.
    async fn give(&mut self, entry: Entry, at: Moment) {
        let (sent_us, deadline_ms) = (entry.pushed_us(), entry.deadline_ms());
        let mailboxes = Arc::clone(&self.mailboxes);
        let inbox = mailboxes.name().as_str();
        let envelope = self.keeper.shard().envelope().clone();
        let said = envelope.read_said(entry, inbox);
        if let Ok(Some(_)) = &said {
            self.read_us = sent_us;
        }
        match said {
            // What does not open is counted there, and tells no time that could be trusted.
            Ok(None) => {}
            Ok(Some(Said::Message { address, payload })) => {
                let target = Target::Channel(inbox, &address);
                let Some(opened) = envelope.open(inbox, target, payload, at) else { return };
                let deadline = self.keeper.instant(deadline_ms.min(opened.until_ms));
                let message = PackedMessage::from_bytes(opened.message);
                if let Some(full) = self.mailboxes.post(&address, deadline, message) {
                    self.keeper.note([full]);
                }
            }
            Ok(Some(Said::GroupMessage { group, payload })) => {
                let target = Target::Group(&group);
                // Once for all members.
                let Some(opened) = envelope.open(inbox, target, payload, at) else { return };
                let deadline = self.keeper.instant(deadline_ms.min(opened.until_ms));
                let message = PackedMessage::from_bytes(opened.message);
                if let Ok(group) = GroupName::new(&group) {
                    self.fan_out(&group, sent_us, deadline, message).await;
                }
            }
            Ok(Some(Said::Joined { group, address, is_first })) => {
                let Ok(group) = GroupName::new(&group) else { return };
                if is_first && !self.keeper.has_lost_members() {
                    self.mirror.begin(&group, sent_us);
                }
                self.keeper.join(&mut self.mirror, &self.mailboxes, group, &address, deadline_ms, sent_us);
            }
            Ok(Some(Said::Left { group, address })) => {
                if let Ok(group) = GroupName::new(&group) {
                    self.mirror.leave(&group, &address, sent_us);
                }
            }
            Ok(Some(Said::ReadAgain)) => self.keeper.read_again(&mut self.mirror, &self.mailboxes).await,
            Err(error) => {
                tracing::warn!(inbox = %self.mailboxes.name(), %error, "an inbox held what is no entry");
                self.mailboxes.post_failure(error);
            }
        }
    }

    /// Gives a message to each member of a group. They share its bytes.
    async fn fan_out(&mut self, group: &GroupName, sent_us: u64, deadline: Instant, message: PackedMessage) {
        let Some(members) = self.mirror.members(group) else { return };
        let mut without_mailbox = Vec::new();
        for (number, (address, member)) in members.iter().enumerate() {
            if number % COPIES_A_TURN == COPIES_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
            match member {
                member if !member.gets(sent_us) => {}
                Member { mailbox: Some(slot), .. } => {
                    if let Some(full) = self.mailboxes.post_from_group(slot, deadline, message.clone()) {
                        self.keeper.note([full]);
                    }
                }
                Member { mailbox: None, .. } => without_mailbox.push(Arc::clone(address)),
            }
        }
        self.mailboxes.post_to_whole(without_mailbox, deadline, message);
    }
}

impl Drop for Reader {
    /// A reader that its runtime dropped leaves nobody waiting.
    fn drop(&mut self) {
        self.mailboxes.end();
    }
}
