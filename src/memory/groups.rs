//! Groups: their members by queue, each with the end of its membership.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::inboxes::{Owner, PrefixQueue};
use crate::error::Result;
use crate::inbox::{Recipient, Slot};
use crate::member::{GroupMember, Label};
use crate::name::{ChannelKind, ChannelName, GroupName};

/// Inboxes by their names, which end in `!`.
pub(super) type Inboxes = HashMap<Arc<str>, PrefixQueue>;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The members of each group, by queue. A message goes to the queues in the order of their names.
    rows: HashMap<GroupName, BTreeMap<Arc<str>, Row>>,
    /// The groups of each address, by queue.
    groups_of: HashMap<Arc<str>, HashMap<Arc<str>, HashSet<GroupName>>>,
}

/// The members of a group that share a queue.
#[derive(Debug)]
struct Row {
    /// The channel, or the inbox.
    queue: ChannelName,
    /// By their addresses. The address of a channel that has its queue to itself is empty.
    members: HashMap<Arc<str>, Membership>,
    /// How many messages the queue holds, by the options of the client that added a member last.
    capacity: usize,
}

/// An address in a group.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) deadline: Instant,
    pub(super) label: Option<Label>,
    pub(super) mailbox: Option<Arc<Slot>>,
}

/// A queue that a message to a group goes to.
pub(super) struct Reached {
    pub(super) queue: ChannelName,
    pub(super) capacity: usize,
    /// The members in an inbox; none for a channel with a queue to itself.
    pub(super) recipients: Vec<Recipient>,
}

/// Who reads a queue.
enum Reader<'a> {
    /// Whoever receives from the channel.
    Anyone,
    /// The program that owns the inbox.
    Owner(&'a Owner),
    /// No program owns the inbox.
    Nobody,
}

impl Membership {
    fn is_live(&self, now: Instant, reader: &Reader<'_>) -> bool {
        let is_renewed = match reader {
            Reader::Nobody => return false,
            Reader::Anyone => false,
            Reader::Owner(owner) => self.mailbox.is_some() && owner.renews,
        };
        now < self.deadline || is_renewed
    }
}

impl Row {
    /// Returns the reader of the members' queue. The members of an inbox count only while it has an owner.
    fn reader<'a>(&self, inboxes: &'a Inboxes) -> Reader<'a> {
        if self.queue.kind() != ChannelKind::Inbox {
            return Reader::Anyone;
        }
        let owner = inboxes.get(self.queue.as_str()).and_then(PrefixQueue::owner);
        owner.map_or(Reader::Nobody, Reader::Owner)
    }

    /// Reports whether an address is in the group now.
    fn has(&self, address: &str, inboxes: &Inboxes, now: Instant) -> bool {
        self.members.get(address).is_some_and(|member| member.is_live(now, &self.reader(inboxes)))
    }

    /// Returns the addresses that are in the group now.
    fn live<'a>(
        &'a self,
        inboxes: &'a Inboxes,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Membership)> {
        let reader = self.reader(inboxes);
        self.members.iter().filter(move |(_, member)| member.is_live(now, &reader))
    }
}

impl Groups {
    /// Adds a channel, or replaces its membership.
    pub(super) fn add(
        &mut self,
        group: &GroupName,
        channel: &ChannelName,
        queue: ChannelName,
        capacity: usize,
        member: Membership,
    ) {
        let key: Arc<str> = channel.queue().into();
        let address: Arc<str> = channel.address().into();
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

    /// Takes a channel out of a group.
    pub(super) fn discard(&mut self, group: &GroupName, channel: &ChannelName) {
        self.remove(group, channel.queue(), channel.address());
    }

    /// Takes a channel out of all its groups.
    pub(super) fn leave_all(&mut self, channel: &ChannelName) {
        let addresses = self.groups_of.get(channel.queue());
        let groups = addresses.and_then(|addresses| addresses.get(channel.address()));
        let groups: Vec<GroupName> = groups.into_iter().flatten().cloned().collect();
        for group in groups {
            self.discard(&group, channel);
        }
    }

    /// Takes all members in this queue out of all groups.
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

    /// Forgets memberships that have ended. Returns how many are left.
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

    /// Returns the queues that a message to a group goes to now, and how many queues had no member any more. Those are
    /// forgotten.
    pub(super) fn reach(
        &mut self,
        group: &GroupName,
        inboxes: &Inboxes,
        now: Instant,
    ) -> (Vec<Reached>, usize) {
        let (mut reached, mut ended) = (Vec::new(), Vec::new());
        for (key, row) in self.rows.get(group).into_iter().flatten() {
            let mut recipients = row
                .live(inboxes, now)
                .map(|(address, member)| Recipient::new(address, member.mailbox.as_ref()));
            let (is_reached, recipients) = if row.queue.kind() == ChannelKind::Inbox {
                let recipients: Vec<Recipient> = recipients.collect();
                (!recipients.is_empty(), recipients)
            } else {
                (recipients.next().is_some(), Vec::new())
            };
            if is_reached {
                reached.push(Reached { queue: row.queue.clone(), capacity: row.capacity, recipients });
            } else {
                ended.push(Arc::clone(key));
            }
        }
        for queue in &ended {
            self.remove_row(group, queue);
        }
        (reached, ended.len())
    }

    fn remove_row(&mut self, group: &GroupName, queue: &str) {
        let row = self.rows.get(group).and_then(|rows| rows.get(queue));
        let addresses: Vec<Arc<str>> = row.into_iter().flat_map(|row| row.members.keys().cloned()).collect();
        for address in addresses {
            self.remove(group, queue, &address);
        }
    }

    /// Returns the members that are in a group now.
    pub(super) fn members(
        &self,
        group: &GroupName,
        inboxes: &Inboxes,
        now: Instant,
    ) -> Result<Vec<GroupMember>> {
        let mut members = Vec::new();
        for row in self.rows.get(group).into_iter().flat_map(BTreeMap::values) {
            for (address, member) in row.live(inboxes, now) {
                let channel = ChannelName::new(&format!("{}{address}", row.queue))?;
                members.push(GroupMember::new(channel, member.label.clone()));
            }
        }
        Ok(members)
    }

    /// Counts the channels that are in a group now, up to `enough`.
    pub(super) fn count(&self, group: &GroupName, enough: usize, inboxes: &Inboxes, now: Instant) -> usize {
        let rows = self.rows.get(group).into_iter().flat_map(BTreeMap::values);
        rows.flat_map(|row| row.live(inboxes, now)).take(enough).count()
    }

    /// Returns the groups in which a channel is now.
    pub(super) fn of_channel(
        &self,
        channel: &ChannelName,
        inboxes: &Inboxes,
        now: Instant,
    ) -> Vec<GroupName> {
        let groups =
            self.groups_of.get(channel.queue()).and_then(|addresses| addresses.get(channel.address()));
        let is_in = |group: &&GroupName| {
            let row = self.rows.get(*group).and_then(|rows| rows.get(channel.queue()));
            row.is_some_and(|row| row.has(channel.address(), inboxes, now))
        };
        groups.into_iter().flatten().filter(is_in).cloned().collect()
    }

    /// Returns the inboxes in which a group has members.
    pub(super) fn inboxes_of(&self, group: &GroupName) -> Vec<Arc<str>> {
        let rows = self.rows.get(group).into_iter().flatten();
        let inboxes = rows.filter(|(_, row)| row.queue.kind() == ChannelKind::Inbox);
        inboxes.map(|(queue, _)| Arc::clone(queue)).collect()
    }
}
