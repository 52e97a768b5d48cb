//! Random joins, leaves and sends by several clients: who applies the control entries of an inbox in order delivers each
//! group's message to exactly those who were members when it was sent.

mod mirror;

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Dice;
use super::{Owner, Shard};
use crate::support::{Add, Discard, Fenced, GroupSend};
use mirror::Mirror;

const SEEDS: u64 = 40;
const STEPS: u32 = 400;
const GROUPS: [&str; 3] = ["room", "hall", "attic"];
const INBOXES: [&str; 3] = ["one!", "two!", "three!"];
const ADDRESSES: [&str; 4] = ["a", "b", "c", "d"];
const SHORT: u64 = 15;

/// Who is in which group until when, in milliseconds, as the replies of the scripts have it.
#[derive(Default)]
struct Model {
    members: BTreeMap<(&'static str, String), u64>,
    /// What each channel must get, and what it may get since a membership ended while it was sent.
    due: BTreeMap<String, Vec<String>>,
    perhaps: BTreeSet<(String, String)>,
}

impl Model {
    fn send(&mut self, group: &str, message: &str, before: u64, after: u64) {
        for ((_, channel), end) in self.members.iter().filter(|((name, _), _)| *name == group) {
            if *end > after / 1000 {
                self.due.entry(channel.clone()).or_default().push(message.to_owned());
            } else if *end > before / 1000 {
                self.perhaps.insert((channel.clone(), message.to_owned()));
            }
        }
    }
}

/// Shows R23 and R24.
#[tokio::test]
async fn each_message_of_a_group_reaches_exactly_those_who_were_members_when_it_was_sent() {
    futures::future::join_all((1..=SEEDS).map(run)).await;
}

async fn run(seed: u64) {
    let shard = Shard::new().await;
    let mut dice = Dice(seed);
    let mut readers = Vec::new();
    for inbox in INBOXES {
        readers.push((Owner::new(&shard, inbox).await, Mirror::new(inbox)));
    }
    let mut model = Model::default();
    let mut sent = 0;
    for _ in 0..STEPS {
        let group = GROUPS[dice.index(GROUPS.len())];
        let channel =
            format!("{}{}", INBOXES[dice.index(INBOXES.len())], ADDRESSES[dice.index(ADDRESSES.len())]);
        match dice.roll(12) {
            0..=3 => {
                let expiry = if dice.one_in(3) { SHORT } else { 60_000 };
                let add = Add::to(group, &[&channel]).capacity(10_000).expiry(expiry);
                let Fenced::Ok(now) = shard.group_add(&add).await else { panic!() };
                model.members.insert((group, channel), now / 1000 + expiry);
            }
            4 | 5 => {
                shard.group_discard(&Discard::from(group, &[&channel])).await;
                model.members.remove(&(group, channel));
            }
            6 if dice.one_in(2) => {
                shard.group_leave(&channel).await;
                model.members.retain(|(_, member), _| *member != channel);
            }
            6..=8 => {
                sent += 1;
                let message = format!("{group} {sent}");
                let before = shard.time().await;
                let receipt = shard.group_send(&GroupSend::to(group, &message)).await.unwrap();
                assert_eq!((receipt.full, receipt.failed, &*receipt.cursor), (0, 0, ""), "seed {seed}");
                model.send(group, &message, before, shard.time().await);
            }
            9 | 10 => {
                let (owner, mirror) = &mut readers[dice.index(INBOXES.len())];
                mirror.apply(&owner.read().await);
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(dice.roll(6))).await,
        }
    }
    for (owner, mirror) in &mut readers {
        loop {
            let batch = owner.read().await;
            if batch.is_empty() {
                break;
            }
            mirror.apply(&batch);
        }
    }

    let mut delivered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, mirror) in readers {
        delivered.extend(mirror.into_delivered());
    }
    for (channel, message) in &model.perhaps {
        let messages = delivered.entry(channel.clone()).or_default();
        let times = messages.iter().filter(|got| *got == message).count();
        assert!(times < 2, "seed {seed}: {channel} got {message} {times} times");
        messages.retain(|got| got != message);
    }
    delivered.retain(|_, messages| !messages.is_empty());
    assert_eq!(delivered, model.due, "seed {seed}");
    assert!(model.due.values().map(Vec::len).sum::<usize>() > 50, "seed {seed} shows little");
}
