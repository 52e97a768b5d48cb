//! What the owner of an inbox tells the server: that it lives, which mailboxes are full, who has left; and what it does when
//! the server has lost the inbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::mirror::{Member, Mirror};
use crate::config::Config;
use crate::error::{ErrorKind, Result};
use crate::inbox::{Mailboxes, Slot};
use crate::name::{ChannelName, GroupName};
use crate::redis::calls::{
    self, AddMode, Changed, GroupAdd, GroupDiscard, InboxClose, InboxGroups, InboxKeep, InboxKeepReply,
    ListPlace,
};
use crate::redis::link::milliseconds;
use crate::redis::shard::Shard;

/// How many addresses one call names: Lua passes on fewer than 8,000 values.
const MOST_ADDRESSES: usize = 800;
/// How many calls are under way at once, where each is for another group.
const CALLS_AT_ONCE: usize = 64;
/// The pause before reading memberships again, when the server could not be asked.
const PAUSE: Duration = Duration::from_millis(100);

/// An address and the milliseconds for which it is added.
type Due = (Arc<str>, u64);

pub(super) struct Keeper {
    inbox: ChannelName,
    shard: Arc<Shard>,
    capacity: Box<dyn Fn(&ChannelName) -> usize + Send + Sync>,
    lease: Duration,
    /// The connection's epoch at the last sign of life.
    epoch: u64,
    /// The server's time then, and ours.
    now_us: u64,
    at: Instant,
    /// Mailboxes of which the server knows that they are full.
    marked: HashMap<Arc<str>, Arc<Slot>>,
    /// Mailboxes of which it may know otherwise than we.
    to_report: Vec<Arc<Slot>>,
    /// Who is to leave which group.
    leaving: HashMap<GroupName, Vec<Arc<str>>>,
    /// Since when the server may not know our members any more.
    lost_since_us: Option<u64>,
}

impl Keeper {
    pub(super) fn new(inbox: ChannelName, shard: Arc<Shard>, config: &Config) -> Self {
        let lease = config.membership_lease();
        let config = config.clone();
        Self {
            inbox,
            shard,
            capacity: Box::new(move |channel| config.capacity_of(channel)),
            lease,
            epoch: 0,
            now_us: 0,
            at: Instant::now(),
            marked: HashMap::new(),
            to_report: Vec::new(),
            leaving: HashMap::new(),
            lost_since_us: None,
        }
    }

    /// Takes the inbox's name on the server; nothing if another has it.
    pub(super) async fn open(mut self) -> Result<Option<Self>> {
        self.epoch = self.shard.epoch().unwrap_or_default();
        let opened = self.keep(&[], &[]).await?;
        self.lost_since_us = None;
        Ok(opened.then_some(self))
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Waits until the server was greeted anew since the last sign of life.
    pub(super) async fn greeted_anew(&self) -> Result<()> {
        self.shard.up_since(self.epoch).await.map(drop)
    }

    /// Our time for a time of the server.
    pub(super) fn instant(&self, server_ms: u64) -> Instant {
        const FAR: u64 = 10 * 365 * 24 * 3600 * 1000;
        let left = server_ms.saturating_sub(self.now_us / 1000).min(FAR);
        self.at + Duration::from_millis(left)
    }

    /// A mailbox became full, has room again, or was dropped. Of most the server has nothing to learn, and they are not
    /// kept, or they would pile up while it cannot be told.
    pub(super) fn note(&mut self, mailboxes: impl IntoIterator<Item = Arc<Slot>>) {
        let marked = &self.marked;
        let matters = |slot: &Arc<Slot>| slot.is_full() || marked.contains_key(slot.address());
        self.to_report.extend(mailboxes.into_iter().filter(matters));
    }

    /// A member is gone for good.
    pub(super) fn note_gone(&mut self, address: &str, groups: Vec<GroupName>) {
        for group in groups {
            self.leaving.entry(group).or_default().push(address.into());
        }
    }

    /// The mailboxes of which the server knows that they are full.
    pub(super) fn marked(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.marked.values()
    }

    /// Whether the server has lost members that it was not given again yet.
    pub(super) fn has_lost_members(&self) -> bool {
        self.lost_since_us.is_some()
    }

    /// Tells what there is to tell, if anything.
    pub(super) async fn tell_news(&mut self, mirror: &mut Mirror, mailboxes: &Mailboxes) {
        if !self.to_report.is_empty() || self.has_lost_members() {
            self.tell(mirror, mailboxes).await;
        } else if !self.leaving.is_empty()
            && let Err(error) = self.leave().await
        {
            tracing::debug!(inbox = %self.inbox, %error, "could not take members out of their groups");
        }
    }

    /// Gives a sign of life with all that is to be told, and heals what the server has lost; whether all went well. What did
    /// not is told next time.
    pub(super) async fn tell(&mut self, mirror: &mut Mirror, mailboxes: &Mailboxes) -> bool {
        let Some(epoch) = self.shard.epoch() else { return false };
        self.epoch = epoch;
        match self.try_to_tell(mirror, mailboxes).await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(inbox = %self.inbox, %error, "could not tell of an inbox");
                false
            }
        }
    }

    async fn try_to_tell(&mut self, mirror: &mut Mirror, mailboxes: &Mailboxes) -> Result<bool> {
        if !self.report().await? {
            tracing::error!(inbox = %self.inbox, "another process has taken the name of an inbox");
            return Ok(false);
        }
        if let Some(lost_since) = self.lost_since_us {
            self.add_again(mirror, lost_since).await?;
            self.try_to_read_again(mirror, mailboxes).await?;
            // A report may have found it lost once more.
            if self.lost_since_us == Some(lost_since) {
                self.lost_since_us = None;
            }
            let groups = mirror.groups().count();
            tracing::warn!(inbox = %self.inbox, groups, "the server had lost an inbox; its members are in their groups again");
        }
        self.leave().await?;
        Ok(true)
    }

    /// Reports which mailboxes are full and which have room again. That is a sign of life, even without a mailbox.
    async fn report(&mut self) -> Result<bool> {
        loop {
            let few = self.to_report.len().saturating_sub(MOST_ADDRESSES);
            let slots = self.to_report.split_off(few);
            let (mut full, mut with_room) = (Vec::new(), Vec::new());
            for slot in &slots {
                match (slot.is_full(), self.marked.contains_key(slot.address())) {
                    (true, _) => full.push(slot.address()),
                    (false, true) => with_room.push(slot.address()),
                    (false, false) => {}
                }
            }
            match self.keep(&full, &with_room).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.to_report.extend(slots);
                    return Err(error);
                }
            }
            for address in with_room {
                self.marked.remove(address);
            }
            let full = slots.iter().filter(|slot| full.contains(&slot.address()));
            self.marked.extend(full.map(|slot| (Arc::from(slot.address()), Arc::clone(slot))));
            if self.to_report.is_empty() {
                return Ok(true);
            }
        }
    }

    /// One sign of life; false if another has the inbox.
    async fn keep(&mut self, full: &[&str], with_room: &[&str]) -> Result<bool> {
        let keep = |_| InboxKeep {
            inbox: &self.inbox,
            owner: self.shard.client(),
            lease_ms: milliseconds(self.lease),
            full,
            with_room,
        };
        match self.shard.ask(keep).await? {
            InboxKeepReply::Kept { now_us, is_new } => {
                if is_new {
                    self.lost_since_us.get_or_insert(self.now_us);
                    self.to_report.extend(self.marked.drain().map(|(_, slot)| slot));
                }
                (self.now_us, self.at) = (now_us, Instant::now());
                Ok(true)
            }
            InboxKeepReply::Taken => Ok(false),
        }
    }

    /// Adds all members again, for as long as they had left when the server was heard of last.
    async fn add_again(&self, mirror: &mut Mirror, lost_since_us: u64) -> Result<()> {
        let left = |member: &Member| member.deadline_ms.saturating_sub(lost_since_us / 1000);
        self.add(mirror, AddMode::Keep, |member| Some(left(member)).filter(|left| *left > 0)).await
    }

    /// Renews the memberships of which half the time is over.
    pub(super) async fn renew(&self, mirror: &mut Mirror, expiry: Duration) {
        let expiry_ms = milliseconds(expiry);
        let soon = self.now_us / 1000 + expiry_ms / 2;
        let renewed =
            self.add(mirror, AddMode::Renew, |member| (member.deadline_ms < soon).then_some(expiry_ms)).await;
        if let Err(error) = renewed {
            tracing::debug!(inbox = %self.inbox, %error, "could not renew memberships");
        }
    }

    /// Adds members for which there is a time. Here too no group waits for the answer of another.
    async fn add(
        &self,
        mirror: &mut Mirror,
        mode: AddMode,
        left_ms: impl Fn(&Member) -> Option<u64>,
    ) -> Result<()> {
        let mut due: Vec<(GroupName, Vec<Due>)> = Vec::new();
        for (group, members) in mirror.groups() {
            let members =
                members.iter().filter_map(|(address, member)| Some((Arc::clone(address), left_ms(member)?)));
            let members: Vec<Due> = members.collect();
            due.extend(members.chunks(MOST_ADDRESSES).map(|some| (group.clone(), some.to_vec())));
        }
        for calls in due.chunks(CALLS_AT_ONCE) {
            let added = calls.iter().map(|(group, members)| self.add_some(mode, group, members));
            let mut failure = None;
            for ((group, members), added) in calls.iter().zip(join_all(added).await) {
                match added {
                    Ok(Changed::Ok(now_us)) => {
                        for (address, left_ms) in members {
                            // Who was added just now is in; who was renewed may have left, which an entry will tell.
                            let since_us = (mode == AddMode::Keep).then_some(now_us);
                            mirror.prolong(group, address, now_us / 1000 + left_ms, since_us);
                        }
                    }
                    // Nobody answers stale here; the call is made again until it is not.
                    Ok(Changed::Stale) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn add_some(&self, mode: AddMode, group: &GroupName, members: &[Due]) -> Result<Changed> {
        let named = members.iter().map(|(address, left_ms)| {
            let name = ChannelName::new(&format!("{}{address}", self.inbox))?;
            let capacity = (self.capacity)(&name);
            Ok(calls::Member { queue: self.inbox.as_str(), address, capacity, left_ms: *left_ms })
        });
        let members = named.collect::<Result<Vec<_>>>()?;
        let fence = |generation| (self.shard.client(), generation);
        let add = |generation| GroupAdd { group, fence: fence(generation), mode, members: &members };
        self.shard.ask(add).await
    }

    /// Takes those out of their groups who are gone. Meanwhile the inbox is not read, so one group does not wait for the
    /// answer of another. Who could not be taken out stays noted.
    async fn leave(&mut self) -> Result<()> {
        let mut due: Vec<(GroupName, Vec<Arc<str>>)> = Vec::new();
        for (group, gone) in self.leaving.drain() {
            due.extend(gone.chunks(MOST_ADDRESSES).map(|gone| (group.clone(), gone.to_vec())));
        }
        let mut failure = None;
        for calls in due.chunks(CALLS_AT_ONCE) {
            let outcomes = match failure {
                None => join_all(calls.iter().map(|(group, gone)| self.discard(group, gone))).await,
                Some(_) => Vec::new(),
            };
            let mut outcomes = outcomes.into_iter();
            for (group, gone) in calls {
                match outcomes.next() {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => failure = Some(error),
                    None => {}
                }
                self.leaving.entry(group.clone()).or_default().extend(gone.iter().map(Arc::clone));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn discard(&self, group: &GroupName, gone: &[Arc<str>]) -> Result<()> {
        let members: Vec<(&str, &str)> =
            gone.iter().map(|address| (self.inbox.as_str(), &**address)).collect();
        let discard = |generation| GroupDiscard {
            group,
            fence: (self.shard.client(), generation),
            by_owner: true,
            members: &members,
        };
        self.shard.ask(discard).await.map(drop)
    }

    /// Somebody joined a group.
    pub(super) fn join(
        &mut self,
        mirror: &mut Mirror,
        mailboxes: &Mailboxes,
        group: GroupName,
        address: &str,
        deadline_ms: u64,
        since_us: u64,
    ) {
        let mailbox = mailboxes.mailbox(address);
        if mailbox.is_none() && !mailboxes.is_read_whole() {
            // It was added by somebody who had its name, and is gone.
            return self.note_gone(address, vec![group]);
        }
        mirror.join(group, address.into(), Member { deadline_ms, since_us, mailbox });
    }

    /// Reads all memberships anew, however long it takes: until then nobody knows who gets a message.
    pub(super) async fn read_again(&mut self, mirror: &mut Mirror, mailboxes: &Mailboxes) {
        while let Err(error) = self.try_to_read_again(mirror, mailboxes).await {
            if error.kind() == ErrorKind::Closed || mailboxes.is_closing() {
                return;
            }
            tracing::debug!(inbox = %self.inbox, %error, "could not read memberships");
            sleep(PAUSE).await;
        }
    }

    async fn try_to_read_again(&mut self, mirror: &mut Mirror, mailboxes: &Mailboxes) -> Result<()> {
        let mut read = Mirror::default();
        let mut place = ListPlace::start();
        loop {
            let groups = |_| InboxGroups { inbox: &self.inbox, place: &place };
            let (now_us, next, members) = self.shard.ask(groups).await?;
            for member in members {
                let group = GroupName::new(&member.group)?;
                self.join(&mut read, mailboxes, group, &member.address, member.deadline_ms, now_us);
            }
            if next.is_start() {
                *mirror = read;
                return Ok(());
            }
            place = next;
        }
    }

    /// Ends the inbox on the server; if that cannot be, its memberships end with their lease.
    pub(super) async fn close(&self) {
        loop {
            let close = |_| InboxClose { inbox: &self.inbox, owner: self.shard.client() };
            match self.shard.ask(close).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(inbox = %self.inbox, %error, "could not end an inbox on the server");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;
    use crate::message::PackedMessage;
    use crate::redis::envelope::Envelopes;
    use crate::redis::receive::Tickets;

    #[tokio::test]
    async fn only_mailboxes_of_which_there_is_something_to_tell_are_kept_while_the_server_is_down() {
        let config = ConfigBuilder::new().hosts(["redis://127.0.0.1:1"]).build().unwrap();
        let tickets = Arc::new(Tickets::new(1));
        let envelopes = Envelopes::new(&config);
        let shard = Shard::start(0, &config.hosts()[0], &config, &tickets, &envelopes).unwrap();
        let shard = Arc::new(shard);
        let mut keeper = Keeper::new("a.b!".parse().unwrap(), shard, &config);
        let (mut mirror, mailboxes) = (Mirror::default(), Mailboxes::new("a.b!".parse().unwrap(), 10));
        let opened = |address: &str| Arc::new(Slot::new(format!("a.b!{address}").parse().unwrap(), 1));
        let full = opened("full");
        full.post(Instant::now() + Duration::from_secs(60), PackedMessage::pack(&1).unwrap());
        keeper.note([Arc::clone(&full)]);
        for number in 0..1_000 {
            let dropped = opened(&number.to_string());
            dropped.close();
            keeper.note([dropped]);
            keeper.tell_news(&mut mirror, &mailboxes).await;
        }
        assert_eq!(keeper.to_report.len(), 1);
        keeper.note_gone("gone", vec!["room".parse().unwrap(), "hall".parse().unwrap()]);
        keeper.leave().await.unwrap_err();
        assert_eq!(keeper.leaving.len(), 2, "who could not be told of stays noted");
    }
}
