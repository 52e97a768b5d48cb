//! Entries of an inbox that expire, before or while they are in a batch: what is acknowledged stays exact.

use std::time::Duration;

use super::Shard;
use crate::support::{Entry, Push, PushReply};

const INBOX: &str = "in.box!";
const SHORT: u64 = 200;

fn texts(batch: &[Entry]) -> Vec<String> {
    batch.iter().map(Entry::text).collect()
}

async fn until_expired() {
    tokio::time::sleep(Duration::from_millis(SHORT + 50)).await;
}

async fn send_short(shard: &Shard, bodies: &[&str]) {
    assert_eq!(shard.push(&Push::to(INBOX, bodies).expiry(SHORT)).await, PushReply::ALL_SENT);
}

#[tokio::test]
async fn expired_entries_are_not_in_a_batch_and_leave_with_it() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    send_short(&shard, &["ma old1"]).await;
    shard.send(INBOX, &["ma 1"]).await;
    send_short(&shard, &["ma old2", "ma old3"]).await;
    shard.send(INBOX, &["ma 2"]).await;
    until_expired().await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(texts(&batch), ["ma 1", "ma 2"]);
    client.ack(1, &batch[1]).await;
    assert!(!shard.exists('q', INBOX).await);
}

#[tokio::test]
async fn an_inbox_of_expired_entries_alone_is_empty_and_its_ticket_waits() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send(INBOX, &["ma keeps the key alive"]).await;
    let many: Vec<String> = (0..450).map(|number| format!("ma {number}")).collect();
    let push = Push::to(INBOX, &many).capacity(1000).expiry(SHORT);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    let first = shard.client().await;
    let entry = shard.raw_entry(INBOX, 0).await;
    first.ask_batch(1, INBOX).await.unwrap();
    first.ack(1, &entry).await;
    until_expired().await;
    assert_eq!(shard.length(INBOX).await, 450);
    assert_eq!(client.ask_batch(1, INBOX).await, None);
    assert!(!shard.exists('q', INBOX).await);
    shard.send(INBOX, &["ma new"]).await;
    assert_eq!(client.wake().await.entry.text(), "ma new");
}

#[tokio::test]
async fn a_batch_that_expired_in_part_is_the_rest_of_it() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    send_short(&shard, &["ma old1"]).await;
    shard.send(INBOX, &["ma 1"]).await;
    send_short(&shard, &["ma old2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(texts(&batch), ["ma old1", "ma 1", "ma old2"]);
    shard.send(INBOX, &["ma 2"]).await;
    until_expired().await;
    assert_eq!(texts(&client.ask_batch(1, INBOX).await.unwrap()), ["ma 1"]);
    client.ack(1, &batch[2]).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 2"]);
}

#[tokio::test]
async fn an_acknowledgement_is_exact_after_a_push_at_capacity_removed_expired_heads() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    send_short(&shard, &["ma old1", "ma old2"]).await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(batch.len(), 4);
    until_expired().await;
    let push = Push::to(INBOX, &["ma 3", "ma 4"]).capacity(4);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    assert_eq!(shard.length(INBOX).await, 4);
    assert_eq!(texts(&client.ask_batch(1, INBOX).await.unwrap()), ["ma 1", "ma 2"]);
    client.ack(1, &batch[3]).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 3", "ma 4"]);
}

/// Else what was delivered before it would be delivered again.
#[tokio::test]
async fn an_acknowledgement_is_exact_after_a_push_at_capacity_removed_the_very_entry_that_it_names() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    send_short(&shard, &["ma old"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(texts(&batch), ["ma 1", "ma 2", "ma old"]);
    until_expired().await;
    let push = Push::to(INBOX, &["ma 3"]).capacity(3);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    assert_eq!(shard.length(INBOX).await, 3, "the expired one has gone");
    assert_eq!(texts(&client.ask_batch(1, INBOX).await.unwrap()), ["ma 1", "ma 2"]);
    client.ack(1, &batch[2]).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 3"]);
}

#[tokio::test]
async fn a_reader_whose_batch_of_one_expired_is_given_the_next_entries() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask_batch(1, INBOX).await;
    send_short(&shard, &["ma old"]).await;
    let old = client.wake().await.entry;
    shard.send(INBOX, &["ma 1"]).await;
    until_expired().await;
    assert_eq!(texts(&client.ask_batch(1, INBOX).await.unwrap()), ["ma 1"]);
    // It took the first one that came, and says so.
    client.ack(1, &old).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 1"]);
}
