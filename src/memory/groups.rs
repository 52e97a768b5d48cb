//! Groups: their members by queue, each with the end of its membership.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::inboxes::{FanOut, Owner, PrefixQueue};
use super::queue::Entry;
use super::store::State;
use crate::error::Result;
use crate::inbox::{Mailboxes, Slot};
use crate::layer::receipt::GroupReceipt;
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName, GroupName};

type Inboxes = HashMap<Arc<str>, PrefixQueue>;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By queue in the order of their names, in which they are sent to.
    rows: HashMap<GroupName, BTreeMap<Arc<str>, Row>>,
    /// The groups of each address of each queue.
    groups_of: HashMap<Arc<str>, HashMap<Arc<str>, HashSet<GroupName>>>,
}

/// The members of a group that share a queue.
#[derive(Debug)]
struct Row {
    /// The channel, or the inbox.
    queue: ChannelName,
    /// By their addresses; that of a channel with a queue to itself is empty.
    members: HashMap<Arc<str>, Member>,
    /// How much the queue holds, as who added a member last has it.
    capacity: usize,
}

#[derive(Debug)]
struct Member {
    deadline: Instant,
    mailbox: Option<Arc<Slot>>,
}

/// A member that is to get a message: its address, and its mailbox if it has one.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    address: Arc<str>,
    mailbox: Option<Arc<Slot>>,
}

impl Recipient {
    /// Gives it a message, or says the address for which there is no mailbox.
    pub(super) fn give(self, mailboxes: &Mailboxes, entry: &Entry) -> Option<Arc<str>> {
        let Some(mailbox) = self.mailbox else {
            return mailboxes.is_read_whole().then_some(self.address);
        };
        mailboxes.post_from_group(&mailbox, entry.deadline, entry.message.clone());
        None
    }
}

impl Member {
    fn is_live(&self, now: Instant, owner: Option<&Owner>) -> bool {
        now < self.deadline || (self.mailbox.is_some() && owner.is_some_and(|owner| owner.renews))
    }
}

impl Row {
    /// Who reads its queue, if that counts: members of an inbox are none without its owner.
    fn owner<'a>(&self, inboxes: &'a Inboxes) -> Option<Option<&'a Owner>> {
        if self.queue.kind() != ChannelKind::Inbox {
            return Some(None);
        }
        inboxes.get(self.queue.as_str())?.owner().map(Some)
    }

    /// Whether an address is in the group now.
    fn has(&self, address: &str, inboxes: &Inboxes, now: Instant) -> bool {
        let member = self.members.get(address).zip(self.owner(inboxes));
        member.is_some_and(|(member, owner)| member.is_live(now, owner))
    }

    /// The addresses that are in the group now.
    fn live<'a>(
        &'a self,
        inboxes: &Inboxes,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Member)> {
        let owner = self.owner(inboxes).map(|owner| owner.cloned());
        self.members.iter().filter(move |(_, member)| {
            owner.as_ref().is_some_and(|owner| member.is_live(now, owner.as_ref()))
        })
    }
}

impl Groups {
    fn add(
        &mut self,
        group: &GroupName,
        channel: &ChannelName,
        queue: ChannelName,
        capacity: usize,
        member: Member,
    ) {
        let key: Arc<str> = channel.queue().into();
        let address: Arc<str> = channel.local().unwrap_or_default().into();
        let rows = self.rows.entry(group.clone()).or_default();
        let row =
            rows.entry(Arc::clone(&key)).or_insert_with(|| Row { queue, members: HashMap::new(), capacity });
        row.capacity = capacity;
        row.members.insert(Arc::clone(&address), member);
        let groups = self.groups_of.entry(key).or_default().entry(address).or_default();
        groups.insert(group.clone());
    }

    fn remove(&mut self, group: &GroupName, queue: &str, address: &str) {
        if let Some(rows) = self.rows.get_mut(group) {
            if let Some(row) = rows.get_mut(queue) {
                row.members.remove(address);
                if row.members.is_empty() {
                    rows.remove(queue);
                }
            }
            if rows.is_empty() {
                self.rows.remove(group);
            }
        }
        if let Some(addresses) = self.groups_of.get_mut(queue) {
            if let Some(groups) = addresses.get_mut(address) {
                groups.remove(group);
                if groups.is_empty() {
                    addresses.remove(address);
                }
            }
            if addresses.is_empty() {
                self.groups_of.remove(queue);
            }
        }
    }

    pub(super) fn discard(&mut self, group: &GroupName, channel: &ChannelName) {
        self.remove(group, channel.queue(), channel.local().unwrap_or_default());
    }

    pub(super) fn leave_all(&mut self, channel: &ChannelName) {
        let addresses = self.groups_of.get(channel.queue());
        let groups = addresses.and_then(|addresses| addresses.get(channel.local().unwrap_or_default()));
        let groups: Vec<GroupName> = groups.into_iter().flatten().cloned().collect();
        for group in groups {
            self.discard(&group, channel);
        }
    }

    /// Takes all members that have this queue out of all groups.
    pub(super) fn remove_queue(&mut self, queue: &str) {
        for group in self.groups_of.remove(queue).into_iter().flatten().flat_map(|(_, groups)| groups) {
            if let Some(rows) = self.rows.get_mut(&group) {
                rows.remove(queue);
                if rows.is_empty() {
                    self.rows.remove(&group);
                }
            }
        }
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Forgets memberships that have ended; says how many are left.
    pub(super) fn sweep(&mut self, inboxes: &Inboxes, now: Instant) -> usize {
        let mut ended = Vec::new();
        let mut left = 0;
        for (group, rows) in &self.rows {
            for (queue, row) in rows {
                for address in row.members.keys() {
                    if row.has(address, inboxes, now) {
                        left += 1;
                    } else {
                        ended.push((group.clone(), Arc::clone(queue), Arc::clone(address)));
                    }
                }
            }
        }
        for (group, queue, address) in ended {
            self.remove(&group, &queue, &address);
        }
        left
    }
}

impl State {
    /// Adds a channel to a group.
    pub(super) fn add_to_group(
        &mut self,
        group: &GroupName,
        channel: &ChannelName,
        capacity: usize,
        deadline: Instant,
    ) -> Result<()> {
        self.settle(channel.queue());
        let owner = self.inboxes.get(channel.queue()).and_then(PrefixQueue::owner);
        let mailbox = owner.and_then(|owner| owner.mailboxes.mailbox(channel.local()?));
        if channel.kind() == ChannelKind::ProcessSpecific
            && mailbox.is_none()
            && !owner.is_some_and(|owner| owner.mailboxes.may_be_read_whole())
        {
            // Whoever added it had its name, and it is gone.
            self.groups.discard(group, channel);
            return Ok(());
        }
        let queue = ChannelName::new(channel.queue())?;
        self.note_work(1);
        self.groups.add(group, channel, queue, capacity, Member { deadline, mailbox });
        Ok(())
    }

    /// Sends a message to a group. Returns what became of it, and what is to be given to mailboxes without the lock.
    pub(super) fn send_to_group(
        &mut self,
        group: &GroupName,
        message: &PackedMessage,
        expiry: Duration,
        name_full: bool,
    ) -> (GroupReceipt, Vec<FanOut>) {
        self.settle_group(group);
        let now = Instant::now();
        let (mut delivered, mut expired, mut full) = (0, 0, Vec::new());
        let mut fan_outs = Vec::new();
        let mut ended = Vec::new();
        let mut reached = Vec::new();
        for (key, row) in self.groups.rows.get(group).into_iter().flatten() {
            let mut recipients = row.live(&self.inboxes, now).map(|(address, member)| Recipient {
                address: Arc::clone(address),
                mailbox: member.mailbox.clone(),
            });
            if row.queue.kind() == ChannelKind::Inbox {
                let recipients: Vec<Recipient> = recipients.collect();
                if recipients.is_empty() {
                    ended.push(Arc::clone(key));
                } else {
                    reached.push((row.queue.clone(), row.capacity, recipients));
                }
            } else if recipients.next().is_some() {
                reached.push((row.queue.clone(), row.capacity, Vec::new()));
            } else {
                ended.push(Arc::clone(key));
            }
        }
        for queue in ended {
            expired += 1;
            self.remove_row(group, &queue);
        }
        for (queue, capacity, recipients) in reached {
            let entry = self.new_entry(message.clone(), expiry);
            let sent = if queue.kind() == ChannelKind::Inbox {
                self.send_to_members(queue.as_str(), recipients, entry, capacity)
                    .map(|fan_out| fan_outs.extend(fan_out))
            } else {
                self.send_to_queue(&queue, entry, capacity).map_err(drop)
            };
            match sent {
                Ok(()) => delivered += 1,
                Err(()) => full.push(queue),
            }
        }
        self.count(delivered, full.len());
        let receipt = GroupReceipt::new(delivered, full.len(), expired, 0);
        let receipt = if name_full { receipt.with_full_queues(full) } else { receipt };
        (receipt, fan_outs)
    }

    fn remove_row(&mut self, group: &GroupName, queue: &str) {
        let row = self.groups.rows.get(group).and_then(|rows| rows.get(queue));
        let addresses: Vec<Arc<str>> = row.into_iter().flat_map(|row| row.members.keys().cloned()).collect();
        for address in addresses {
            self.groups.remove(group, queue, &address);
        }
    }

    pub(super) fn channels_of_group(&mut self, group: &GroupName) -> Result<Vec<ChannelName>> {
        self.settle_group(group);
        let now = Instant::now();
        let mut channels = Vec::new();
        for row in self.groups.rows.get(group).into_iter().flat_map(BTreeMap::values) {
            for (address, _) in row.live(&self.inboxes, now) {
                channels.push(ChannelName::new(&format!("{}{address}", row.queue))?);
            }
        }
        Ok(channels)
    }

    pub(super) fn count_group(&mut self, group: &GroupName, enough: usize) -> usize {
        self.settle_group(group);
        let now = Instant::now();
        let rows = self.groups.rows.get(group).into_iter().flat_map(BTreeMap::values);
        rows.flat_map(|row| row.live(&self.inboxes, now)).take(enough).count()
    }

    pub(super) fn groups_of_channel(&mut self, channel: &ChannelName) -> Vec<GroupName> {
        self.settle(channel.queue());
        let now = Instant::now();
        let address = channel.local().unwrap_or_default();
        let groups = self.groups.groups_of.get(channel.queue()).and_then(|addresses| addresses.get(address));
        let is_in = |group: &&GroupName| {
            let row = self.groups.rows.get(*group).and_then(|rows| rows.get(channel.queue()));
            row.is_some_and(|row| row.has(address, &self.inboxes, now))
        };
        groups.into_iter().flatten().filter(is_in).cloned().collect()
    }

    /// Takes the mailboxes out of a group that were dropped, in all inboxes that it has members in.
    fn settle_group(&mut self, group: &GroupName) {
        let rows = self.groups.rows.get(group).into_iter().flatten();
        let inboxes = rows.filter(|(_, row)| row.queue.kind() == ChannelKind::Inbox);
        let inboxes: Vec<Arc<str>> = inboxes.map(|(queue, _)| Arc::clone(queue)).collect();
        for inbox in inboxes {
            self.settle(&inbox);
        }
    }
}
