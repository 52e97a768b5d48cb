//! What is published: small entries with their tickets, and of large ones the tickets alone.

use super::client::Wake;
use super::{Owner, Shard};
use crate::support::{Pop, Push, PushReply};

const LARGEST: usize = 16384;

/// The body of an entry that has so many bytes with its header.
fn body(entry_bytes: usize) -> Vec<u8> {
    [&b"ma "[..], &vec![b'x'; entry_bytes - 18 - 3]].concat()
}

fn is_announcement(wake: &Wake) -> bool {
    wake.queue.is_empty() && wake.entry.0.is_empty()
}

/// Shows R57.
#[tokio::test]
async fn a_large_entry_is_announced_and_given_by_the_next_pop() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    for (ticket, bytes) in [(1, LARGEST), (2, LARGEST + 1), (3, 3 << 20)] {
        assert!(client.ask(ticket, &["a"]).await.is_none());
        shard.send("a", &[body(bytes)]).await;
        let wake = client.wake().await;
        assert_eq!(wake.ticket, ticket);
        assert_eq!(is_announcement(&wake), bytes > LARGEST, "{bytes}");
        for _ in 0..2 {
            assert_eq!(client.ask(ticket, &["a"]).await.unwrap().body(), body(bytes), "the record has it");
        }
        assert_eq!(shard.length("a").await, 0);
        client.release(ticket).await;
        assert_eq!(shard.take("a").await.unwrap().body(), body(bytes), "it goes back as any other");
    }
}

/// Shows R57.
#[tokio::test]
async fn what_one_call_publishes_is_bounded_and_the_rest_is_announced() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    let tickets = 1..=20;
    let all = tickets.clone().fold(Pop::new(), |pop, ticket| pop.wait(ticket, &["a"]));
    client.pop(&all).await;
    assert_eq!(shard.push(&Push::to("a", &vec![body(LARGEST); 20])).await, PushReply::ALL_SENT);
    let wakes = client.wakes().await;
    let (announced, whole): (Vec<_>, Vec<_>) = wakes.iter().partition(|wake| is_announcement(wake));
    assert_eq!((whole.len(), announced.len()), (2, 18), "32 KiB and the rest");
    for ticket in tickets {
        assert_eq!(client.ask(ticket, &["a"]).await.unwrap().body(), body(LARGEST));
    }
}

/// Shows R57.
#[tokio::test]
async fn a_large_entry_of_an_inbox_is_announced_and_stays_its_readers_batch() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in.box!").await;
    assert!(owner.client.ask_batch(1, "in.box!").await.is_none());
    shard.send("in.box!", &[body(100_000)]).await;
    let wake = owner.client.wake().await;
    assert!(wake.ticket == 1 && is_announcement(&wake));
    let batch = owner.client.ask_batch(1, "in.box!").await.unwrap();
    assert_eq!((batch.len(), batch[0].body()), (1, &body(100_000)[..]));
    owner.client.ack(1, &batch[0]).await;
    assert_eq!(shard.length("in.box!").await, 0);
}
