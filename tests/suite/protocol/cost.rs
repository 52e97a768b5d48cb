//! How many commands the scripts run inside the server: each costs every message that goes by.

use std::collections::BTreeMap;

use super::Shard;
use crate::support::{Pop, Push};

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
