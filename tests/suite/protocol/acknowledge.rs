//! Acknowledgements: what was delivered is forgotten, by ticket and id.

use std::time::Duration;

use super::Shard;
use crate::support::{Pop, Push};

#[tokio::test]
async fn an_acknowledged_message_is_forgotten() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1"]).await;
    let entry = client.ask(1, &["a"]).await.unwrap();
    assert!(client.field("1").await.is_some());
    client.ack(1, &entry).await;
    assert_eq!(client.field("1").await, None);
    // A reply that was lost: the same is said again.
    client.ack(1, &entry).await;
    client.release(1).await;
    assert_eq!(shard.drain("a").await, [] as [String; 0]);
}

/// With "the next call acknowledges", a call that was sent before the message came would acknowledge it.
/// Shows R3.
#[tokio::test]
async fn a_call_that_does_not_name_a_message_acknowledges_none() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    client.ask(1, &["a"]).await;
    shard.send("a", &["m"]).await;
    // The push was not read yet: another future's call, then a beat.
    client.ask(2, &["b"]).await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "m");
}

/// The message of the ticket expired unread and the ticket was given another: that one was not delivered.
/// Shows R3.
#[tokio::test]
async fn an_acknowledgement_of_another_id_gives_the_message_back() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    client.ask(1, &["a"]).await;
    shard.push(&Push::to("a", &["old"]).expiry(500)).await;
    let old = client.ask(1, &["a"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(550)).await;
    shard.send("a", &["next"]).await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "next");

    client.ack(1, &old).await;
    assert_eq!(client.field("1").await, None);
    assert_eq!(shard.drain("a").await, ["next"]);
}

#[tokio::test]
async fn an_acknowledgement_of_a_ticket_that_still_waits_ends_its_wait() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send("b", &["m"]).await;
    let other = client.ask(9, &["b"]).await.unwrap();
    client.ask(1, &["a"]).await;
    client.ack(1, &other).await;
    shard.send("a", &["m"]).await;
    assert_eq!(client.wakes().await, []);
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn a_ticket_finished_twice_in_one_call_counts_once() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    let entry = client.ask(1, &["a"]).await.unwrap();
    client.say(&Pop::new().ack(1, &entry).release(1).ack(1, &entry)).await;
    assert_eq!(shard.drain("a").await, ["m2"]);

    shard.send("a", &["m3"]).await;
    let entry = client.ask(2, &["a"]).await.unwrap();
    client.say(&Pop::new().release(2).release(2).ack(2, &entry)).await;
    assert_eq!(shard.drain("a").await, ["m3"], "once, not twice");
}

#[tokio::test]
async fn a_call_acknowledges_first_and_then_takes() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();
    let given = client.say(&Pop::new().ack(1, &m1).wait(2, &["a"])).await;
    assert_eq!(given[0].entry().text(), "m2");
}
