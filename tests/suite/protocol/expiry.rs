//! Deadlines: the server's clock alone, and nothing delivered or kept past them.

use std::time::Duration;

use super::Shard;
use crate::support::{Pop, Push, PushReply};

const SHORT: u64 = 50;

async fn until_expired() {
    tokio::time::sleep(Duration::from_millis(2 * SHORT)).await;
}

#[tokio::test]
async fn a_deadline_is_the_time_of_the_server_and_the_expiry() {
    let shard = Shard::new().await;
    let before = shard.time().await;
    shard.push(&Push::to("a", &["m"]).expiry(12_345)).await;
    let after = shard.time().await;
    let entry = shard.take("a").await.unwrap();
    assert!((before..=after).contains(&entry.microseconds()), "{before} {entry:?} {after}");
    assert_eq!(entry.deadline(), entry.microseconds() / 1000 + 12_345);
}

#[tokio::test]
async fn an_expired_message_is_never_delivered() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    // A later one keeps the key alive, so it is not the server that removes the expired ones.
    shard.push(&Push::to("a", &["old1", "old2"]).expiry(SHORT)).await;
    shard.send("a", &["live"]).await;
    shard.push(&Push::to("a", &["old3"]).expiry(SHORT)).await;
    until_expired().await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "live");
    assert_eq!(client.ask(2, &["a"]).await, None);
    assert!(!shard.exists('q', "a").await);
}

#[tokio::test]
async fn the_key_of_a_queue_lives_until_its_last_deadline() {
    let shard = Shard::new().await;
    for (expiry, least, most) in [(20_000, 10_000, 20_000), (60_000, 50_000, 60_000), (100, 50_000, 60_000)] {
        shard.push(&Push::to("a", &["m"]).expiry(expiry)).await;
        let left = shard.ttl('q', "a").await;
        assert!((least..=most).contains(&left), "{left} after {expiry}");
    }
}

#[tokio::test]
async fn a_refused_message_does_not_prolong_the_life_of_a_queue() {
    let shard = Shard::new().await;
    shard.push(&Push::to("a", &["m"]).expiry(20_000).capacity(1)).await;
    let push = Push::to("a", &["m"]).expiry(600_000).capacity(1);
    assert_ne!(shard.push(&push).await, PushReply::ALL_SENT);
    assert!(shard.ttl('q', "a").await <= 20_000);
}

#[tokio::test]
async fn given_back_messages_live_until_the_last_of_their_deadlines() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for (ticket, expiry) in [(1, 20_000), (2, 60_000), (3, 10_000)] {
        shard.push(&Push::to("a", &["m"]).expiry(expiry)).await;
        client.ask(ticket, &["a"]).await.unwrap();
    }
    for (ticket, least, most) in [(1, 10_000, 20_000), (2, 50_000, 60_000), (3, 50_000, 60_000)] {
        client.release(ticket).await;
        let left = shard.ttl('b', "a").await;
        assert!((least..=most).contains(&left), "{left} after ticket {ticket}");
    }
}

#[tokio::test]
async fn a_message_that_expired_in_a_tickets_hands_counts_as_absent() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a", "b"]).await;
    shard.push(&Push::to("a", &["old"]).expiry(SHORT)).await;
    assert_eq!(client.wake().await.entry.text(), "old");
    until_expired().await;

    shard.send("a", &["next"]).await;
    let next = client.ask(1, &["a", "b"]).await.unwrap();
    assert_eq!(next.text(), "next");
    assert_eq!(client.ask(1, &["a", "b"]).await.unwrap(), next, "it is recorded in its place");
}

#[tokio::test]
async fn a_ticket_whose_message_expired_waits_again() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a", "b"]).await;
    shard.push(&Push::to("a", &["old"]).expiry(SHORT)).await;
    client.wake().await;
    until_expired().await;
    assert_eq!(client.ask(1, &["a", "b"]).await, None);
    shard.send("a", &["next"]).await;
    assert_eq!(client.wake().await.entry.text(), "next");

    client.release(1).await;
    assert_eq!(shard.drain("a").await, ["next"]);
    assert!(!shard.exists('w', "b").await);
}

#[tokio::test]
async fn a_message_that_expired_is_dropped_when_it_is_released() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.push(&Push::to("a", &["old"]).expiry(SHORT)).await;
    client.ask(1, &["a"]).await.unwrap();
    let mut waiter = shard.client().await;
    waiter.ask(1, &["a"]).await;
    until_expired().await;

    client.release(1).await;
    assert_eq!(waiter.wakes().await, []);
    assert!(!shard.exists('b', "a").await);
    assert_eq!(client.field("1").await, None);
}

#[tokio::test]
async fn a_message_that_expired_after_it_was_given_back_is_dropped() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.push(&Push::to("a", &["old"]).expiry(300)).await;
    shard.send("a", &["live"]).await;
    for ticket in [1, 2] {
        client.ask(ticket, &["a"]).await.unwrap();
    }
    client.say(&Pop::new().release(1).release(2)).await;
    assert_eq!(shard.ask::<u64>(redis::cmd("ZCARD").arg(shard.key('b', "a"))).await, 2);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(client.ask(3, &["a"]).await.unwrap().text(), "live");
    assert!(!shard.exists('b', "a").await);
}

/// As long as a message may still be delivered, its ticket is known.
/// Shows R4.
#[tokio::test]
async fn a_client_is_remembered_as_long_as_a_message_that_it_was_handed() {
    const TWO_HOURS: u64 = 7_200_000;
    let shard = Shard::new().await;
    let (taker, waiter) = (shard.client_with_lease(20_000).await, shard.client_with_lease(20_000).await);
    waiter.ask(1, &["b"]).await;
    shard.push(&Push::to("a", &["m"]).expiry(TWO_HOURS)).await;
    shard.push(&Push::to("b", &["m"]).expiry(TWO_HOURS)).await;
    taker.ask(1, &["a"]).await.unwrap();
    for client in [&taker, &waiter] {
        let left = shard.ttl('c', client.id()).await;
        assert!((TWO_HOURS - 10_000..=TWO_HOURS).contains(&left), "{left}");
    }
}

/// Puts an entry into a queue whose deadline is the server's current millisecond.
async fn append_at_its_deadline(shard: &Shard, queue: &str) {
    let deadline = shard.time_ms().await;
    let entry = [&1_u64.to_be_bytes()[..], &1_u16.to_be_bytes(), &deadline.to_be_bytes(), b"m old"].concat();
    let mut append = redis::cmd("RPUSH");
    let () = shard.ask(append.arg(shard.key('q', queue)).arg(entry)).await;
}

/// Each round often ends within that millisecond.
#[tokio::test]
async fn from_the_millisecond_of_its_deadline_on_a_message_is_not_delivered_and_takes_no_room() {
    let shard = Shard::new().await;
    for _ in 0..100 {
        append_at_its_deadline(&shard, "taken").await;
        assert_eq!(shard.take("taken").await, None);
        append_at_its_deadline(&shard, "in!").await;
        assert!(shard.drain_inbox("in!").await.is_empty());
        append_at_its_deadline(&shard, "full").await;
        assert_eq!(shard.push(&Push::to("full", &["new"]).capacity(1)).await, PushReply::ALL_SENT);
        assert_eq!(shard.drain("full").await, ["new"]);
    }
}
