//! Capacity: how many messages wait in a queue at most, and what is said of those that do not fit.

use std::time::Duration;

use super::Shard;
use crate::support::{Push, PushReply, Refusal};

fn full(place: u64, live: u64) -> (u64, Refusal) {
    (place, Refusal::Full { live })
}

#[tokio::test]
async fn a_queue_takes_exactly_its_capacity() {
    let shard = Shard::new().await;
    for _ in 0..3 {
        assert_eq!(shard.push(&Push::to("a", &["m"]).capacity(3)).await, PushReply::ALL_SENT);
    }
    assert_eq!(shard.push(&Push::to("a", &["m"]).capacity(3)).await, PushReply::Sent(vec![full(1, 3)]));
    assert_eq!(shard.length("a").await, 3);
    assert_eq!(shard.push(&Push::to("a", &["m"]).capacity(4)).await, PushReply::ALL_SENT);
}

#[tokio::test]
async fn of_a_batch_the_first_fit_and_the_others_are_named_by_their_places() {
    let shard = Shard::new().await;
    shard.send("b", &["b1"]).await;
    shard.send("d", &["d1", "d2", "d3"]).await;
    let push = Push::to("a", &["a1", "a2", "a3"])
        .capacity(2)
        .and("b", &["b2", "b3"])
        .capacity(2)
        .and("c", &["c1"])
        .and("d", &["d4"])
        .capacity(2);
    let refused = vec![full(3, 2), full(5, 2), full(7, 3)];
    assert_eq!(shard.push(&push).await, PushReply::Sent(refused));
    assert_eq!(shard.drain("a").await, ["a1", "a2"]);
    assert_eq!(shard.drain("b").await, ["b1", "b2"]);
    assert_eq!(shard.drain("c").await, ["c1"]);
    assert_eq!(shard.drain("d").await, ["d1", "d2", "d3"], "a lower capacity removes nothing");
}

#[tokio::test]
async fn with_a_capacity_of_zero_only_a_waiting_ticket_gets_a_message() {
    let shard = Shard::new().await;
    assert_eq!(shard.push(&Push::to("a", &["m1"]).capacity(0)).await, PushReply::Sent(vec![full(1, 0)]));
    assert!(!shard.exists('q', "a").await);
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    let push = Push::to("a", &["m2", "m3"]).capacity(0);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full(2, 0)]));
    assert_eq!(client.wake().await.entry.text(), "m2");
}

/// Shows R2.
#[tokio::test]
async fn concurrent_senders_never_exceed_it() {
    let shard = Shard::new().await;
    let push = Push::to("a", &["m"]).capacity(10);
    let replies = futures::future::join_all((0..100).map(|_| shard.push(&push))).await;
    assert_eq!(replies.iter().filter(|reply| **reply == PushReply::ALL_SENT).count(), 10);
    assert!(replies.iter().all(|reply| matches!(reply, PushReply::Sent(refused) if refused.len() < 2)));
    assert_eq!(shard.length("a").await, 10);
}

#[tokio::test]
async fn expired_messages_at_the_head_make_room() {
    let shard = Shard::new().await;
    let push = Push::to("a", &["old1", "old2"]).capacity(3).expiry(50);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    assert_eq!(shard.push(&Push::to("a", &["live"]).capacity(3)).await, PushReply::ALL_SENT);
    tokio::time::sleep(Duration::from_millis(100)).await;

    let push = Push::to("a", &["new1", "new2", "new3"]).capacity(3);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full(3, 3)]));
    assert_eq!(shard.length("a").await, 3, "none stays that is not needed");
    assert_eq!(shard.drain("a").await, ["live", "new1", "new2"]);
}

#[tokio::test]
async fn a_queue_of_expired_messages_alone_takes_as_many_as_an_empty_one() {
    let shard = Shard::new().await;
    shard.send("a", &["keeps the key alive"]).await;
    assert_eq!(shard.push(&Push::to("a", &["old", "old"]).expiry(50)).await, PushReply::ALL_SENT);
    assert_eq!(shard.take("a").await.unwrap().text(), "keeps the key alive");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(shard.length("a").await, 2, "dead ones stand there");

    let push = Push::to("a", &["m1", "m2", "m3", "m4"]).capacity(3);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full(4, 3)]));
    assert_eq!(shard.drain("a").await, ["m1", "m2", "m3"]);
}

#[tokio::test]
async fn a_full_queue_is_searched_again_when_the_next_of_its_messages_expires() {
    let shard = Shard::new().await;
    shard.send("a", &["first"]).await;
    assert_eq!(shard.push(&Push::to("a", &["short"]).expiry(600)).await, PushReply::ALL_SENT);
    assert_eq!(shard.push(&Push::to("a", &["no"]).capacity(2)).await, PushReply::Sent(vec![full(1, 2)]));
    let left: i64 = shard.ask(redis::cmd("PTTL").arg(shard.key('x', "a"))).await;
    assert!(left <= 600, "{left}");
}

#[tokio::test]
async fn a_full_queue_is_searched_in_its_first_thousand_entries() {
    let shard = Shard::new().await;
    shard.push(&Push::to("a", &["m"; 1100]).capacity(2000)).await;
    assert_eq!(shard.push(&Push::to("a", &["old"]).capacity(2000).expiry(1)).await, PushReply::ALL_SENT);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let refused = shard.push(&Push::to("a", &["no"]).capacity(1101)).await;
    assert_eq!(refused, PushReply::Sent(vec![full(1, 1101)]));
}
