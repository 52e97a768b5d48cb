//! The operations on groups, shard by shard: steps of bounded scripts, put together.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::calls::{
    ChannelGroups, GroupLen, GroupList, GroupMembers, GroupSend, GroupSendReply, ListPlace, Operation, What,
};
use super::milliseconds::milliseconds;
use super::shard::Shard;
use crate::config::Config;
use crate::error::Result;
use crate::layer::receipt::GroupReceipt;
use crate::layer::refusals::check_member;
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};

impl Shard {
    /// Adds channels of one queue of this shard to groups.
    pub(super) async fn group_add<'a>(
        &self,
        queue: &str,
        capacity: usize,
        members: impl IntoIterator<Item = (&'a GroupName, &'a str)>,
        expiry: Duration,
    ) -> Result<()> {
        let what = What::Join { left_ms: milliseconds(expiry) };
        self.changes().make(queue, capacity, self.operations(members, what)).await
    }

    /// Adds a channel of this shard to a group, with a label.
    pub(super) async fn group_add_labelled(
        &self,
        (queue, address): (&str, &str),
        capacity: usize,
        group: &GroupName,
        label: &Label,
        expiry: Duration,
    ) -> Result<()> {
        let what = What::Join { left_ms: milliseconds(expiry) };
        let mut operations = self.operations([(group, address)], what);
        let names = self.names();
        for operation in &mut operations {
            let channel = names.queue(queue).into_owned() + &operation.address;
            operation.label = Some(names.label(&operation.group, &channel, label.as_str()).into());
        }
        self.changes().make(queue, capacity, operations).await
    }

    /// Takes channels of one queue of this shard out of groups.
    pub(super) async fn group_discard<'a>(
        &self,
        queue: &str,
        capacity: usize,
        members: impl IntoIterator<Item = (&'a GroupName, &'a str)>,
    ) -> Result<()> {
        self.changes().make(queue, capacity, self.operations(members, What::Leave)).await
    }

    fn operations<'a>(
        &self,
        members: impl IntoIterator<Item = (&'a GroupName, &'a str)>,
        what: What,
    ) -> Vec<Operation> {
        let names = self.names();
        let operation = |(group, address): (&GroupName, &str)| Operation {
            group: names.group(group.as_str()).into(),
            address: names.address(address).into(),
            what,
            label: None,
        };
        members.into_iter().map(operation).collect()
    }

    /// Takes a channel of this shard out of all its groups.
    pub(super) async fn leave_groups_packed(&self, channel: &ChannelName) -> Result<()> {
        member(channel)?;
        self.changes().leave_all(channel).await
    }

    /// Sends a message to the queues of a group on this shard.
    pub(super) async fn group_send(
        &self,
        group: &GroupName,
        message: &PackedMessage,
        name_full: bool,
        config: &Config,
    ) -> Result<GroupReceipt> {
        let expiry_ms = milliseconds(config.expiry());
        let mut receipt = GroupReceipt::default();
        let mut cursor = String::new();
        loop {
            // Sealed anew for each step and each try: what is sealed is good for so long from then on.
            let send = |generation| {
                let body = self.envelope().group_body(group, message)?;
                let fence = (self.client(), generation);
                Ok(GroupSend { group, fence, expiry_ms, cursor: &cursor, name_full, body })
            };
            match self.ask_with(send).await {
                Ok(GroupSendReply { cursor: next, delivered, full, expired, failed, full_queues }) => {
                    let names =
                        full_queues.iter().map(|name| ChannelName::new(name)).collect::<Result<_>>()?;
                    let step = GroupReceipt::new(delivered, full, expired, failed).with_full_queues(names);
                    receipt = receipt.and(step);
                    if next.is_empty() {
                        return Ok(receipt);
                    }
                    cursor = next;
                }
                Err(error) if cursor.is_empty() => return Err(error),
                // Some have it already.
                Err(error) => return Err(error.with_perhaps_sent(true)),
            }
        }
    }

    /// Counts the channels in a group on this shard, but not beyond `enough`.
    pub(super) async fn group_len(&self, group: &GroupName, enough: usize) -> Result<usize> {
        let mut members = 0;
        let mut cursor = String::new();
        loop {
            let left = enough.saturating_sub(members).min(i32::MAX as usize);
            let (next, counted) = self.ask(|_| GroupLen { group, cursor: &cursor, enough: left }).await?;
            members += counted;
            if next.is_empty() || members >= enough {
                return Ok(members);
            }
            cursor = next;
        }
    }

    /// Lists the channels in a group on this shard.
    pub(super) async fn group_channels(&self, group: &GroupName) -> Result<Vec<ChannelName>> {
        let mut channels = HashSet::new();
        let mut place = ListPlace::start();
        loop {
            let (next, listed) = self.ask(|_| GroupList { group, place: &place }).await?;
            channels.extend(listed);
            if next.is_start() {
                return channels.iter().map(|name| ChannelName::new(name)).collect();
            }
            place = next;
        }
    }

    /// Lists the members of a group on this shard.
    pub(super) async fn group_members(&self, group: &GroupName) -> Result<Vec<GroupMember>> {
        let mut members = HashMap::new();
        let mut place = ListPlace::start();
        loop {
            let list = GroupMembers { group, place: &place };
            let step = self.ask(|_| GroupMembers { group, place: &place }).await?;
            // One that is listed twice has the label of the later time.
            members.extend(list.reveal(step.members, self.names()));
            if step.next.is_start() {
                return members
                    .into_iter()
                    .map(|(channel, label)| {
                        let label = label.as_deref().map(Label::new).transpose()?;
                        Ok(GroupMember::new(ChannelName::new(&channel)?, label))
                    })
                    .collect();
            }
            place = step.next;
        }
    }

    /// Lists the groups of a channel of this shard.
    pub(super) async fn channel_groups(&self, channel: &ChannelName) -> Result<Vec<GroupName>> {
        member(channel)?;
        let mut groups = Vec::new();
        let mut cursor = String::new();
        loop {
            let (next, listed) = self.ask(|_| ChannelGroups { channel, cursor: &cursor }).await?;
            for group in &listed {
                groups.push(GroupName::new(group)?);
            }
            if next.is_empty() {
                return Ok(groups);
            }
            cursor = next;
        }
    }
}

/// A channel as a member of groups: its queue, and its address in it.
pub(super) fn member(channel: &ChannelName) -> Result<(&str, &str)> {
    check_member(channel)?;
    Ok((channel.queue(), channel.local().unwrap_or_default()))
}
