//! What became of a message that was sent to a group.

use crate::error::Error;
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
    unreached: Vec<UnreachedShard>,
}

/// A server that a group's message may not have reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachedShard {
    host: String,
    reason: String,
    perhaps_sent: bool,
}

impl UnreachedShard {
    pub(crate) fn new(host: &str, error: &Error) -> Self {
        Self { host: host.to_owned(), reason: error.to_string(), perhaps_sent: error.perhaps_sent() }
    }

    /// The server, as a URL without credentials.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Why, in one line.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether some members there may have got the message all the same.
    pub fn perhaps_sent(&self) -> bool {
        self.perhaps_sent
    }
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

    /// The servers that failed, if others did not: the members that live there do not count in any of the above.
    pub fn unreached(&self) -> &[UnreachedShard] {
        &self.unreached
    }

    pub(crate) fn note_unreached(&mut self, shard: UnreachedShard) {
        self.unreached.push(shard);
    }

    /// The receipt of a layer of one's own: of how many queues what became.
    pub fn new(delivered: usize, full: usize, expired: usize, failed: usize) -> Self {
        Self { delivered, full, expired, failed, ..Self::default() }
    }

    /// The same receipt with the names of the full queues.
    #[must_use]
    pub fn with_full_queues(mut self, names: Vec<ChannelName>) -> Self {
        self.full_queues = names;
        self
    }

    /// Both receipts as one, of a message that was sent in two parts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.delivered += other.delivered;
        self.full += other.full;
        self.expired += other.expired;
        self.failed += other.failed;
        self.full_queues.extend(other.full_queues);
        self.unreached.extend(other.unreached);
        self
    }
}
