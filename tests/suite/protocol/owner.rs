//! An inbox and who owns it, as the tests of groups and inboxes see them; and all steps of the scripts that have steps.

use super::Shard;
use super::client::Client;
use crate::support::{Entry, Keep, Pop};

/// A lease that no test outlives.
pub(super) const LONG_LEASE: u64 = 600_000;

/// A client that has an inbox and reads it.
pub(super) struct Owner {
    pub(super) client: Client,
    inbox: String,
    next_ticket: u64,
}

impl Owner {
    /// Owns an inbox that the server does not know yet.
    pub(super) async fn new(shard: &Shard, inbox: &str) -> Self {
        let client = shard.client().await;
        let kept = shard.inbox_keep(inbox, client.id(), LONG_LEASE, &[], &[]).await;
        assert!(matches!(kept, Keep::New { .. }), "{inbox}: {kept:?}");
        Self { client, inbox: inbox.to_owned(), next_ticket: 1 }
    }

    pub(super) fn id(&self) -> &str {
        self.client.id()
    }

    /// The next batch, acknowledged; empty when nothing waits.
    pub(super) async fn read(&mut self) -> Vec<Entry> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let Some(batch) = self.client.attempt_batch(ticket, &self.inbox).await else { return Vec::new() };
        self.client.ack(ticket, batch.last().unwrap()).await;
        batch
    }

    /// The bodies of all that waits, acknowledged.
    pub(super) async fn read_all(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let batch = self.read().await;
            if batch.is_empty() {
                return bodies;
            }
            bodies.extend(batch.iter().map(Entry::text));
        }
    }

    /// A ticket that waits for what comes next.
    pub(super) async fn wait(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        assert_eq!(self.client.say(&Pop::new().wait(ticket, &[&self.inbox])).await, []);
        ticket
    }
}

impl Shard {
    /// How many members a group has.
    pub(super) async fn group_len(&self, group: &str) -> u64 {
        let (mut cursor, mut all) = (String::new(), 0);
        loop {
            let (next, members) = self.group_len_step(group, &cursor, u64::MAX >> 12).await;
            all += members;
            cursor = next;
            if cursor.is_empty() {
                return all;
            }
        }
    }

    /// The members of a group in order, as often as they were listed, and the number of steps.
    pub(super) async fn group_list(&self, group: &str) -> (Vec<String>, usize) {
        let (mut queue, mut cursor) = (String::new(), "0".to_owned());
        let (mut channels, mut steps) = (Vec::new(), 0);
        loop {
            let (next_queue, next_cursor, found) = self.group_list_step(group, &queue, &cursor).await;
            channels.extend(found);
            steps += 1;
            (queue, cursor) = (next_queue, next_cursor);
            if queue.is_empty() {
                channels.sort();
                return (channels, steps);
            }
        }
    }

    /// The groups of a channel.
    pub(super) async fn channel_groups(&self, channel: &str) -> Vec<String> {
        let (mut cursor, mut all) = (String::new(), Vec::new());
        loop {
            let (next, groups) = self.channel_groups_step(channel, &cursor).await;
            all.extend(groups);
            cursor = next;
            if cursor.is_empty() {
                return all;
            }
        }
    }

    /// Takes a channel out of all its groups: how many it left.
    pub(super) async fn group_leave(&self, channel: &str) -> u64 {
        let (mut cursor, mut all) = (String::new(), 0);
        loop {
            let (next, left) = self.group_leave_step(channel, None, &cursor).await.unwrap();
            all += left;
            cursor = next;
            if cursor.is_empty() {
                return all;
            }
        }
    }

    /// All members of an inbox, as `(group, address)` in order.
    pub(super) async fn inbox_members(&self, inbox: &str) -> Vec<(String, String)> {
        let (mut group, mut cursor) = (String::new(), "0".to_owned());
        let mut all = Vec::new();
        loop {
            let step = self.inbox_groups_step(inbox, &group, &cursor).await;
            for (name, members) in step.members {
                all.extend(members.into_iter().map(|(address, _)| (name.clone(), address)));
            }
            (group, cursor) = (step.group, step.cursor);
            if group.is_empty() {
                all.sort();
                return all;
            }
        }
    }
}
