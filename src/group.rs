//! What became of a message that was sent to a group.

use crate::name::ChannelName;

/// What became of a message that was sent to a group: a group send never fails for a full member, it tells.
///
/// It counts queues, not members: all mailboxes of one inbox share one queue, and one entry in it reaches all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupReceipt {
    delivered: usize,
    full: usize,
    expired: usize,
    failed: usize,
    full_queues: Vec<ChannelName>,
}

impl GroupReceipt {
    /// Queues in which the message waits now, or whose reader has it already.
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// Queues that were full, so that their members do not get it.
    pub fn full(&self) -> usize {
        self.full
    }

    /// Queues that were in the group and have no member any more: the memberships ended, or their process did.
    pub fn expired(&self) -> usize {
        self.expired
    }

    /// Queues that could not be written to, because another program's key stands in their place.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The channels and inboxes that were full, if the send was asked for their names.
    pub fn full_queues(&self) -> &[ChannelName] {
        &self.full_queues
    }

    pub(crate) fn new(delivered: usize, full: usize, expired: usize, failed: usize) -> Self {
        Self { delivered, full, expired, failed, full_queues: Vec::new() }
    }

    pub(crate) fn with_full_queues(mut self, names: Vec<ChannelName>) -> Self {
        self.full_queues = names;
        self
    }

    /// Both receipts as one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.delivered += other.delivered;
        self.full += other.full;
        self.expired += other.expired;
        self.failed += other.failed;
        self.full_queues.extend(other.full_queues);
        self
    }
}
