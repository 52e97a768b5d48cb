//! The operations on groups: adding, listing, and sending to all members.

use std::time::Duration;

use tokio::time::Instant;

use super::groups::{Membership, Reached};
use super::inboxes::{FanOut, PrefixQueue};
use super::store::State;
use crate::error::Result;
use crate::layer::receipt::GroupReceipt;
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName, GroupName};

impl State {
    /// Adds a channel to a group.
    pub(super) fn group_add_packed(
        &mut self,
        group: &GroupName,
        channel: &ChannelName,
        label: Option<&Label>,
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
            // A mailbox that is gone does not come back under its name, so the caller added a dropped one.
            self.groups.discard(group, channel);
            return Ok(());
        }
        let queue = ChannelName::new(channel.queue())?;
        self.note_work(1);
        let label = label.cloned();
        self.groups.add(group, channel, queue, capacity, Membership { deadline, label, mailbox });
        Ok(())
    }

    /// Sends a message to a group. Returns what became of it, and the fan-outs to run without the lock.
    pub(super) fn send_to_group(
        &mut self,
        group: &GroupName,
        message: &PackedMessage,
        expiry: Duration,
        name_full: bool,
    ) -> (GroupReceipt, Vec<FanOut>) {
        self.settle_group(group);
        let (reached, expired) = self.groups.reach(group, &self.inboxes, Instant::now());
        let (mut delivered, mut full, mut fan_outs) = (0, Vec::new(), Vec::new());
        for Reached { queue, capacity, recipients } in reached {
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

    /// Returns the members that are in a group now.
    pub(super) fn group_members_packed(&mut self, group: &GroupName) -> Result<Vec<GroupMember>> {
        self.settle_group(group);
        self.groups.members(group, &self.inboxes, Instant::now())
    }

    /// Counts the channels that are in a group now, up to `enough`.
    pub(super) fn group_len_packed(&mut self, group: &GroupName, enough: usize) -> usize {
        self.settle_group(group);
        self.groups.count(group, enough, &self.inboxes, Instant::now())
    }

    /// Returns the groups in which a channel is now.
    pub(super) fn channel_groups_packed(&mut self, channel: &ChannelName) -> Vec<GroupName> {
        self.settle(channel.queue());
        self.groups.of_channel(channel, &self.inboxes, Instant::now())
    }

    /// Takes dropped mailboxes out of their groups, in all inboxes in which this group has members.
    fn settle_group(&mut self, group: &GroupName) {
        for inbox in self.groups.inboxes_of(group) {
            self.settle(&inbox);
        }
    }
}
