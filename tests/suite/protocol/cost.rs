//! How many commands the scripts run inside the server: each costs every message that goes by.

use std::collections::BTreeMap;

use super::{Owner, Shard};
use crate::support::{Add, Change, GroupSend, Pop, Push};

/// The commands that scripts ran since [`begin`].
async fn commands(shard: &Shard) -> BTreeMap<String, u64> {
    let text: String = shard.ask(redis::cmd("INFO").arg("commandstats")).await;
    let mut commands = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (name, counts) = line.split_once(":calls=").unwrap();
        let calls = counts.split(',').next().unwrap().parse().unwrap();
        if !["evalsha", "config|resetstat", "info"].contains(&name) {
            commands.insert(name.to_owned(), calls);
        }
    }
    commands
}

async fn begin(shard: &Shard) {
    shard.command(&["CONFIG", "RESETSTAT"]).await;
}

async fn at_most(shard: &Shard, most: u64, what: &str) {
    let commands = commands(shard).await;
    let all: u64 = commands.values().sum();
    assert!(all > 0 && all <= most, "{what}: {commands:?}");
}

#[tokio::test]
async fn a_push_runs_three_commands_five_for_an_empty_queue_and_six_to_hand_over() {
    let shard = Shard::alone().await;
    let client = shard.client().await;
    client.ask(1, &["waited.for"]).await;

    begin(&shard).await;
    shard.send("a", &["m"]).await;
    at_most(&shard, 5, "a push to an empty queue").await;

    begin(&shard).await;
    shard.send("a", &["m"]).await;
    at_most(&shard, 3, "a push to a queue with messages").await;

    begin(&shard).await;
    shard.send("a", &vec!["m"; 50]).await;
    at_most(&shard, 3, "a batch").await;

    begin(&shard).await;
    shard.send("waited.for", &["m"]).await;
    at_most(&shard, 6, "a hand-over").await;

    begin(&shard).await;
    client.push(Push::to("a", &["m"])).await;
    at_most(&shard, 4, "a fenced push").await;

    // The first refusal of a second looks through the queue, those that follow do not.
    shard.push(&Push::to("a", &["m"]).capacity(3)).await;
    begin(&shard).await;
    for _ in 0..10 {
        shard.push(&Push::to("a", &["m"]).capacity(3)).await;
    }
    at_most(&shard, 10 * 5 + 10, "ten refusals").await;
}

#[tokio::test]
async fn a_pop_runs_six_commands_to_acknowledge_and_take() {
    let shard = Shard::alone().await;
    let client = shard.client().await;
    shard.send("a", &["m", "m", "m"]).await;
    let entry = client.ask(1, &["a"]).await.unwrap();

    begin(&shard).await;
    let given = client.say(&Pop::new().ack(1, &entry).wait(2, &["a", "b", "c", "d", "e"])).await;
    at_most(&shard, 6, "acknowledging and taking").await;
    assert_eq!(given.len(), 1);

    begin(&shard).await;
    client.ask(2, &["a"]).await.unwrap();
    at_most(&shard, 2, "asking again").await;

    begin(&shard).await;
    client.say(&Pop::new().release(2).wait(3, &["a"])).await;
    at_most(&shard, 10, "giving back and taking again").await;

    begin(&shard).await;
    client.ask(4, &["x"]).await;
    at_most(&shard, 7, "waiting for one queue").await;

    begin(&shard).await;
    shard.take("a").await;
    at_most(&shard, 3, "taking without a client").await;
}

#[tokio::test]
async fn idle_queues_cost_a_message_nothing() {
    let shard = Shard::alone().await;
    let names: Vec<String> = (0..30).map(|number| format!("queue{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let client = shard.client().await;
    client.ask(1, &names).await;

    begin(&shard).await;
    shard.send(names[15], &["m"]).await;
    at_most(&shard, 6, "a hand-over to a ticket of 30 queues").await;
    shard.send(names[15], &["m"]).await;

    begin(&shard).await;
    client.ask(2, &names).await.unwrap();
    at_most(&shard, 5, "taking from one of 30 queues").await;
}

#[tokio::test]
async fn a_send_to_a_group_costs_three_commands_a_queue_however_many_members_there_are() {
    let shard = Shard::alone().await;
    let inboxes = ["one!", "two!", "three!", "four!"];
    let mut owners = Vec::new();
    for inbox in inboxes {
        owners.push(Owner::new(&shard, inbox).await);
    }
    let mut costs = Vec::new();
    for (group, members) in [("small", 1), ("large", 2000)] {
        for inbox in inboxes {
            let names: Vec<String> = (0..members).map(|number| format!("{inbox}a{number}")).collect();
            for some in names.chunks(500) {
                let some: Vec<&str> = some.iter().map(String::as_str).collect();
                shard.group_add(&Add::to(group, &some).capacity(5000)).await;
            }
        }
        begin(&shard).await;
        let receipt = shard.group_send(&GroupSend::to(group, "hi")).await.unwrap();
        assert_eq!(receipt.delivered, 4);
        at_most(&shard, 3 + 3 * 4, group).await;
        costs.push(commands(&shard).await);
    }
    assert_eq!(costs[0], costs[1]);

    for owner in &mut owners {
        owner.read_all().await;
    }
    begin(&shard).await;
    shard.group_send(&GroupSend::to("large", "hi")).await;
    at_most(&shard, 3 + 6 * 4, "a send to four inboxes that are empty").await;
    for owner in &mut owners {
        owner.read_all().await;
        owner.wait().await;
    }
    begin(&shard).await;
    shard.group_send(&GroupSend::to("large", "hi")).await;
    at_most(&shard, 3 + 9 * 4, "a send to four readers that wait").await;
}

#[tokio::test]
async fn to_count_a_group_costs_two_commands_a_queue_however_many_members_there_are() {
    let shard = Shard::alone().await;
    let mut owner = Owner::new(&shard, "one!").await;
    let names: Vec<String> = (0..2000).map(|number| format!("one!a{number}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    owner.read_all().await;
    begin(&shard).await;
    assert_eq!(shard.group_len_step("room", "", 5000).await.1, 2000);
    at_most(&shard, 4, "a count").await;
}

#[tokio::test]
async fn a_batch_costs_ten_commands_for_each_hundred_entries() {
    let shard = Shard::alone().await;
    let owner = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a"])).await;
    let bodies = vec!["ma m"; 199];
    shard.push(&Push::to("one!", &bodies).capacity(500)).await;
    begin(&shard).await;
    let batch = owner.client.ask_batch(101, "one!").await.unwrap();
    assert_eq!(batch.len(), 200);
    at_most(&shard, 20, "a batch of 200").await;
    begin(&shard).await;
    owner.client.ack(101, &batch[199]).await;
    at_most(&shard, 7, "acknowledging it").await;
}

/// The row of the first is right for the others, for it lasts longer than was asked.
#[tokio::test]
async fn who_joins_where_another_of_its_inbox_is_costs_four_commands_and_the_call_six() {
    const HOUR: u64 = 3_600_000;
    let shard = Shard::alone().await;
    let mut owner = Owner::new(&shard, "one!").await;
    let groups: Vec<String> = (0..100).map(|number| format!("room{number}")).collect();
    let joins = |change, address: &str| {
        groups.iter().fold(change, |change: Change, group| change.join(group, address, HOUR))
    };
    begin(&shard).await;
    shard.change(&joins(owner.change(), "first")).await;
    at_most(&shard, 100 * 18 + 7, "the first members of a hundred groups").await;
    for by in [owner.change(), Change::of("one!")] {
        begin(&shard).await;
        shard.change(&joins(by, "second")).await;
        at_most(&shard, 100 * 4 + 7, "the second members").await;
    }
    begin(&shard).await;
    let one_group =
        (0..100).fold(owner.change(), |change, number| change.join("room7", &format!("a{number}"), HOUR));
    shard.change(&one_group).await;
    at_most(&shard, 100 * 3 + 8, "members of one group").await;
    begin(&shard).await;
    shard.change(&owner.change().leave("room7", "a1")).await;
    at_most(&shard, 3 + 7, "leaving").await;

    // With labels three more each, and one more where the group has labels already.
    begin(&shard).await;
    let one = owner.change().join_labelled("room8", "b0", HOUR, "user");
    shard.change(&one).await;
    at_most(&shard, 4 + 3 + 7, "the first label of a group").await;
    begin(&shard).await;
    let labelled = (0..100).fold(owner.change(), |change, number| {
        change.join_labelled("room8", &format!("a{number}"), HOUR, "user")
    });
    shard.change(&labelled).await;
    at_most(&shard, 100 * (3 + 4) + 8, "labelled members of one group").await;
    begin(&shard).await;
    shard.change(&owner.change().join("room8", "c", HOUR)).await;
    at_most(&shard, 4 + 7, "a join beside labels").await;
    begin(&shard).await;
    shard.change(&owner.change().leave("room8", "c")).await;
    at_most(&shard, 3 + 7 + 1, "leaving a group that has labels").await;
}

/// Shows R37.
#[tokio::test]
async fn a_beat_of_who_knows_the_last_change_costs_seven_commands_and_writes_nothing() {
    let shard = Shard::alone().await;
    let owner = Owner::new(&shard, "one!").await;
    shard.inbox_keep("one!", owner.id(), 60_000, &["a"], &["b"]).await;
    let beat = crate::support::InboxKeep::of("one!", owner.id());
    begin(&shard).await;
    shard.keep(&beat).await;
    at_most(&shard, 7, "a beat").await;
    assert_eq!(shard.length("one!").await, 0);
}
