//! What a memory layer counts (the "statistics" extension of the specification).

use std::time::Duration;

/// What all channels of a [`MemoryLayer`](crate::MemoryLayer) hold and held. The names are the specification's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// Messages that were accepted since the layer was made. A message to a group counts once for each queue.
    pub messages_count: u64,
    /// Messages that wait to be received. What an inbox has given to its mailboxes does not count here, but in
    /// [`InboxStatistics`](crate::InboxStatistics).
    pub messages_pending: usize,
    /// How long the oldest of these has waited.
    pub messages_max_age: Duration,
    /// How many sends were refused because a channel was full. A full member of a group counts too.
    pub channel_full_count: u64,
}

/// What one channel of a [`MemoryLayer`](crate::MemoryLayer) holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatistics {
    /// Messages that wait to be received; all addresses of an inbox share one queue.
    pub messages_pending: usize,
    /// How long the oldest of these has waited.
    pub messages_max_age: Duration,
}
