//! Leases: who waits is alive, and who was handed a message keeps it.

use std::time::Duration;

use super::Shard;
use crate::support::{Pop, PopReply};

#[tokio::test]
async fn a_beat_renews_the_lease_and_the_ticket_keeps_its_place() {
    const LEASE: u64 = 3_000;
    let shard = Shard::new().await;
    let mut first = shard.client_with_lease(LEASE).await;
    let mut second = shard.client().await;
    first.ask(1, &["a"]).await;
    second.ask(1, &["a"]).await;
    let lease_end = first.lease_end().await;
    tokio::time::sleep(Duration::from_millis(LEASE / 4)).await;

    assert_eq!(first.ask(1, &["a"]).await, None);
    let renewed = first.lease_end().await;
    assert!((lease_end + LEASE / 4..=shard.time_ms().await + LEASE).contains(&renewed));
    shard.send("a", &["m1"]).await;
    assert_eq!(first.wake().await.entry.text(), "m1");
    assert_eq!(second.wakes().await, []);
}

#[tokio::test]
async fn a_pop_without_tickets_renews_the_lease() {
    const LEASE: u64 = 3_000;
    let shard = Shard::new().await;
    let client = shard.client_with_lease(LEASE).await;
    let lease_end = client.lease_end().await;
    client.say(&Pop::new()).await;
    assert_eq!(client.lease_end().await, lease_end, "not at every call: each would cost a write");
    tokio::time::sleep(Duration::from_millis(LEASE / 4)).await;
    client.say(&Pop::new()).await;
    assert!(client.lease_end().await > lease_end);
}

#[tokio::test]
async fn a_lease_of_zero_ends_it() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2", "m3"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();
    client.ask(2, &["a"]).await.unwrap();
    // Closing: what was delivered is acknowledged and all else given back, in the last call.
    let close = Pop::new().ack(1, &m1).release(2);
    assert_eq!(client.pop_as(1, 0, &close).await, PopReply::Ok { served: 0, given: Vec::new() });
    assert_eq!(client.lease_end().await, 0);
    assert!(client.is_stale().await);
    assert_eq!(shard.drain("a").await, ["m2", "m3"]);
}

#[tokio::test]
async fn a_lease_of_zero_ends_it_whatever_is_still_asked_for() {
    let shard = Shard::new().await;
    for tickets in [1, 3] {
        let client = shard.client().await;
        shard.send("a", &["m", "m"]).await;
        let last = (1..=tickets).fold(Pop::new(), |pop, ticket| pop.wait(ticket, &["a"]));
        let PopReply::Ok { served, given } = client.pop_as(1, 0, &last).await else { panic!("it was stale") };
        assert_eq!((served as u64, given.len() as u64), (tickets, tickets.min(2)));
        assert_eq!(client.lease_end().await, 0, "{tickets} tickets");
        assert!(client.is_stale().await);
        shard.drain("a").await;
    }
}

/// A lease revived by a pop would leave its other tickets, discarded meanwhile, without a place in any line.
/// Shows R3 and R4.
#[tokio::test]
async fn a_pop_never_revives_a_lease() {
    let shard = Shard::new().await;
    let mut client = shard.client_with_lease(300).await;
    client.ask(1, &["a"]).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    shard.send("a", &["m"]).await;
    for _ in 0..2 {
        assert_eq!(client.pop(&Pop::new().wait(1, &["b"])).await, PopReply::Stale);
    }

    client.hello().await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "m");
}

#[tokio::test]
async fn a_stale_pop_does_nothing_at_all() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();
    client.ask(2, &["x"]).await;
    let all = Pop::new().ack(1, &m1).release(2).wait(3, &["a"]).wait(4, &["y"]);

    let lease_end = client.lease_end().await;
    for generation in [0, 2, 10] {
        assert_eq!(client.pop_as(generation, 0, &all).await, PopReply::Stale);
    }
    assert_eq!(client.lease_end().await, lease_end);
    client.end_lease().await;
    assert_eq!(client.pop(&all).await, PopReply::Stale);
    assert!(!shard.exists('w', "y").await);
    assert_eq!(client.field("3").await, None);

    client.hello().await;
    assert_eq!(client.ask(1, &["a"]).await, Some(m1));
    client.ask(2, &["x"]).await;
    shard.send("x", &["m"]).await;
    assert_eq!(client.wake().await.ticket, 2);
    assert_eq!(shard.drain("a").await, ["m2"]);
}

/// Given to another, a slow client that reads it from its socket afterwards would deliver it a second time; dropped, a
/// client that lives would have lost it.
/// Shows R4.
#[tokio::test]
async fn the_end_of_a_lease_neither_gives_away_nor_drops_what_was_handed() {
    let shard = Shard::new().await;
    let mut slow = shard.client_with_lease(300).await;
    let mut other = shard.client().await;
    slow.ask(1, &["a"]).await;
    shard.send("a", &["m1"]).await;
    shard.send("b", &["m2"]).await;
    let m2 = slow.ask(2, &["b"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(slow.is_stale().await);
    assert_eq!(other.ask(1, &["a", "b"]).await, None);
    assert_eq!(other.wakes().await, []);

    let m1 = slow.wake().await.entry;
    slow.hello().await;
    assert_eq!(slow.ask(1, &["a"]).await, Some(m1.clone()));
    assert_eq!(slow.ask(2, &["b"]).await, Some(m2));
    slow.say(&Pop::new().ack(1, &m1).release(2)).await;
    assert_eq!(other.wake().await.entry.text(), "m2");
}

#[tokio::test]
async fn a_client_that_says_hello_again_waits_again_without_a_new_call_if_nobody_met_its_ticket() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    client.end_lease().await;
    client.hello().await;
    shard.send("a", &["m"]).await;
    assert_eq!(client.wake().await.ticket, 1);
}

/// A beat comes after a third of a lease: until then the line must know its waiters.
#[tokio::test]
async fn a_line_outlives_every_lease_that_waits_in_it() {
    const HOUR: u64 = 3_600_000;
    let shard = Shard::new().await;
    let (patient, other) = (shard.client_with_lease(HOUR).await, shard.client_with_lease(60_000).await);
    patient.ask(1, &["a"]).await;
    other.ask(1, &["a"]).await;
    let left = shard.ttl('w', "a").await;
    assert!(left > HOUR, "{left}");
}
