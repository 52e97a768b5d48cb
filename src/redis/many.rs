//! Many memberships in one call of the program: those of one queue go together.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::groups::member;
use super::shards::Shards;
use crate::config::Config;
use crate::error::Result;
use crate::name::{ChannelName, GroupName};

/// The addresses of some channels, by their queue and its capacity; and the first channel of each.
type ByQueue<'a> = BTreeMap<(&'a str, usize), (&'a ChannelName, Vec<&'a str>)>;

impl Shards {
    /// Adds each channel to each group.
    pub(super) async fn group_add_many(
        &self,
        groups: &[GroupName],
        channels: &[ChannelName],
        config: &Config,
    ) -> Result<()> {
        let by_queue = self.by_queue(channels, config)?;
        let added = by_queue.iter().map(async |((queue, capacity), (channel, addresses))| {
            let shard = self.of(channel)?;
            shard.group_add(queue, *capacity, pairs(groups, addresses), config.group_expiry()).await
        });
        join_all(added).await.into_iter().collect()
    }

    /// Takes each channel out of each group.
    pub(super) async fn group_discard_many(
        &self,
        groups: &[GroupName],
        channels: &[ChannelName],
        config: &Config,
    ) -> Result<()> {
        let by_queue = self.by_queue(channels, config)?;
        let left = by_queue.iter().map(async |((queue, capacity), (channel, addresses))| {
            self.of(channel)?.group_discard(queue, *capacity, pairs(groups, addresses)).await
        });
        join_all(left).await.into_iter().collect()
    }

    fn by_queue<'a>(&self, channels: &'a [ChannelName], config: &Config) -> Result<ByQueue<'a>> {
        let mut by_queue = ByQueue::new();
        for channel in channels {
            let (queue, address) = member(channel)?;
            let capacity = self.capacity_on_own_shard(channel, config);
            by_queue.entry((queue, capacity)).or_insert_with(|| (channel, Vec::new())).1.push(address);
        }
        Ok(by_queue)
    }
}

/// Each address with each group; those of a group side by side, which costs the server least.
fn pairs<'a>(
    groups: &'a [GroupName],
    addresses: &'a [&'a str],
) -> impl Iterator<Item = (&'a GroupName, &'a str)> {
    groups.iter().flat_map(|group| addresses.iter().map(move |address| (group, *address)))
}
