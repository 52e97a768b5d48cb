//! What became of a message that was sent to a group.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind};
use crate::name::{ChannelName, GroupName};

/// Tells once that a group has full queues: a send that reaches the others is no error, so nobody might notice.
#[derive(Debug, Default)]
pub(crate) struct FullWarning(AtomicBool);

impl FullWarning {
    pub(crate) fn see(&self, group: &GroupName, receipt: &GroupReceipt) {
        if receipt.full > 0 && !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %group,
                full = receipt.full,
                "a message to a group found full queues: an inbox holds `inbox_capacity` messages and `inbox_bytes`, a channel `capacity`; receipts count them, and this is not told again"
            );
        }
    }
}

/// What became of a message that was sent to a group: a group send never fails for a full member, it tells.
///
/// It counts queues, not members: all mailboxes of one inbox share one queue, and one entry in it reaches all of them.
///
/// A send that reached some of its members is no error, so that `?` alone does not tell; [`reached_all`](Self::reached_all) does.
#[must_use = "a group send that missed members is no error: look at the receipt, or call `reached_all()?` on it"]
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

    /// Fails unless the message is with every queue of the group, as far as that can be known. Queues whose members are gone
    /// do not count.
    ///
    /// # Errors
    ///
    /// - [`Connection`](crate::ErrorKind::Connection): a server is down. If members lived there they were missed; if none did,
    ///   nobody was, and the text says that this is not known. [`unreached`](Self::unreached) names the servers.
    /// - [`ChannelFull`](crate::ErrorKind::ChannelFull): queues were full, and their members were missed.
    /// - [`Script`](crate::ErrorKind::Script): keys of another program stand in the place of queues.
    ///
    /// Others have the message, so [`perhaps_sent`](Error::perhaps_sent) is true: sent again, it would reach these twice.
    ///
    /// ```
    /// use asgi_redis::{ErrorKind, GroupReceipt};
    ///
    /// assert!(GroupReceipt::new(4, 0, 1, 0).reached_all().is_ok());
    /// let missed = GroupReceipt::new(3, 1, 0, 0).reached_all().unwrap_err();
    /// assert_eq!(missed.kind(), ErrorKind::ChannelFull);
    /// assert_eq!(missed.to_string(), "the message did not reach 1 of 4 queues of the group: 1 full");
    /// ```
    pub fn reached_all(&self) -> crate::Result<()> {
        let missed = self.full + self.failed;
        let mut why = Vec::new();
        if self.full > 0 {
            why.push(format!("{} full", self.full));
        }
        if self.failed > 0 {
            why.push(format!("{} with keys of another program in their place", self.failed));
        }
        let servers: Vec<&str> = self.unreached.iter().map(UnreachedShard::host).collect();
        let kind = match (self.unreached.is_empty(), self.failed) {
            (false, _) => ErrorKind::Connection,
            (true, 1..) => ErrorKind::Script,
            (true, 0) => ErrorKind::ChannelFull,
        };
        let queues = format!(
            "the message did not reach {missed} of {} queues of the group: {}",
            self.delivered + missed,
            why.join(", ")
        );
        let down = format!(
            "members may have been missed, if any live on {}: {}",
            servers.join(", "),
            self.unreached.first().map_or("", UnreachedShard::reason)
        );
        let text = match (missed, self.unreached.is_empty()) {
            (0, true) => return Ok(()),
            (0, false) => down,
            (_, true) => queues,
            (_, false) => format!("{queues}; {down}"),
        };
        let perhaps_sent = self.delivered > 0 || self.unreached.iter().any(UnreachedShard::perhaps_sent);
        Err(Error::new(kind, text).with_perhaps_sent(perhaps_sent))
    }

    pub(crate) fn note_unreached(&mut self, shard: UnreachedShard) {
        self.unreached.push(shard);
    }

    /// The receipt of a layer of one's own: of how many queues what became.
    pub fn new(delivered: usize, full: usize, expired: usize, failed: usize) -> Self {
        Self { delivered, full, expired, failed, ..Self::default() }
    }

    /// The same receipt with the names of the full queues.
    pub fn with_full_queues(mut self, names: Vec<ChannelName>) -> Self {
        self.full_queues = names;
        self
    }

    /// Both receipts as one, of a message that was sent in two parts.
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
