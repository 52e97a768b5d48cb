//! An inbox and who owns it, as the tests of groups and inboxes see them; and all steps of the scripts that have steps.

use super::Shard;
use super::client::Client;
use crate::support::{Change, Entry, InboxKeep, Keep, Page, Place, Pop, Told};

/// A lease that no test outlives.
pub(super) const LONG_LEASE: u64 = 600_000;

/// A client that has an inbox and reads it.
pub(super) struct Owner {
    pub(super) client: Client,
    inbox: String,
    next_ticket: u64,
    /// Of its calls that may write into the inbox.
    last_call: u64,
}

impl Owner {
    /// Owns an inbox that the server does not know yet.
    pub(super) async fn new(shard: &Shard, inbox: &str) -> Self {
        let client = shard.client().await;
        let kept = shard.inbox_keep(inbox, client.id(), LONG_LEASE, &[], &[]).await;
        assert!(matches!(kept, Keep::Ok { .. }), "{inbox}: {kept:?}");
        Self { client, inbox: inbox.to_owned(), next_ticket: 1, last_call: 1 }
    }

    pub(super) fn id(&self) -> &str {
        self.client.id()
    }

    /// A change of its own.
    pub(super) fn change(&mut self) -> Change {
        let call = self.next_call();
        Change::of(&self.inbox).by(self.client.id(), self.client.generation(), call)
    }

    /// A sign of life.
    pub(super) fn beat(&mut self) -> InboxKeep {
        let call = self.next_call();
        InboxKeep::of(&self.inbox, self.client.id()).call(call)
    }

    pub(super) fn next_call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }

    /// The tag of its last call.
    pub(super) fn tag(&self) -> String {
        format!("{}:{}", self.client.id(), self.last_call)
    }

    /// A page of its memberships, of which nothing else waits.
    pub(super) async fn page(&mut self, shard: &Shard, from: &Place) -> Page {
        let call = self.next_call();
        shard.inbox_page(&self.inbox, self.client.id(), call, from).await.expect("it owns the inbox");
        match &self.told().await[..] {
            [Told::Page(page)] if page.call == call && page.from.group == from.group => page.clone(),
            other => panic!("told {other:?}"),
        }
    }

    /// All control entries that wait, acknowledged, and nothing else waits.
    pub(super) async fn told(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            let batch = self.read().await;
            if batch.is_empty() {
                return all;
            }
            let read = |entry: &Entry| Told::read(&entry.text()).unwrap_or_else(|| panic!("{entry:?}"));
            all.extend(batch.iter().map(read));
        }
    }

    /// The next batch, acknowledged; empty when nothing waits.
    pub(super) async fn read(&mut self) -> Vec<Entry> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let Some(batch) = self.client.attempt_batch(ticket, &self.inbox).await else { return Vec::new() };
        self.client.ack(ticket, batch.last().unwrap()).await;
        batch
    }

    /// The bodies of all that waits, acknowledged; those of changes without ends.
    pub(super) async fn read_all(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let batch = self.read().await;
            if batch.is_empty() {
                return bodies;
            }
            bodies.extend(batch.iter().map(Entry::brief));
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

    /// All members of an inbox, as `(group, address)` in order, as the keys have them.
    pub(super) async fn inbox_members(&self, inbox: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let range = |kind, name: &str| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(self.key(kind, name)).arg(0).arg(-1);
            command
        };
        let groups: Vec<String> = self.ask(&range('s', inbox)).await;
        for group in groups {
            let members: Vec<String> = self.ask(&range('m', &format!("{group} {inbox}"))).await;
            all.extend(members.into_iter().map(|address| (group.clone(), address)));
        }
        all.sort();
        all
    }

    /// When a membership ends, in milliseconds; nothing of who is not in.
    pub(super) async fn end_of(&self, group: &str, channel: &str) -> Option<u64> {
        let (queue, address) = channel.split_at(channel.find('!').map_or(channel.len(), |mark| mark + 1));
        let mut command = redis::cmd("ZSCORE");
        command.arg(self.key('m', &format!("{group} {queue}"))).arg(address);
        self.ask::<Option<String>>(&command).await.map(|end| end.parse().unwrap())
    }

    /// The end, the capacity and the time of the last addition of a queue's row in a group.
    pub(super) async fn row(&self, group: &str, queue: &str) -> Option<[u64; 3]> {
        let row: Option<Vec<u8>> = self.ask(redis::cmd("HGET").arg(self.key('d', group)).arg(queue)).await;
        let numbers =
            row?.chunks(8).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap())).collect::<Vec<_>>();
        Some(numbers.try_into().unwrap())
    }

    /// A field of an inbox.
    pub(super) async fn inbox_field(&self, inbox: &str, field: &str) -> Option<String> {
        self.ask(redis::cmd("HGET").arg(self.key('i', inbox)).arg(field)).await
    }

    /// All that stands under the prefix, key by key.
    pub(super) async fn dump(&self) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut all = std::collections::BTreeMap::new();
        for key in self.keys().await {
            let dumped: Option<Vec<u8>> =
                self.ask(redis::cmd("DUMP").arg(format!("{}{key}", self.prefix()))).await;
            all.extend(dumped.map(|dumped| (key, dumped)));
        }
        all
    }
}
