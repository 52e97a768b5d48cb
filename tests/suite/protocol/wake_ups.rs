//! What is published: small entries with their tickets, and of large ones the tickets alone.

use super::client::Wake;
use super::{Owner, Shard};
use crate::support::{Given, Pop, PopReply, Push, PushReply, Stale};

const LARGEST: usize = 16384;
/// The largest entry that a pop in a brief mode brings.
const BRIEF: usize = 131_072;

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
async fn a_large_entry_that_goes_back_is_announced_to_the_next_ticket_too() {
    let shard = Shard::new().await;
    let [holder, mut next] = [shard.client().await, shard.client().await];
    for bytes in [LARGEST, LARGEST + 1] {
        shard.send("a", &[body(bytes)]).await;
        assert!(holder.ask(1, &["a"]).await.is_some());
        assert!(next.ask(1, &["a"]).await.is_none());
        holder.release(1).await;
        assert_eq!(is_announcement(&next.wake().await), bytes > LARGEST, "{bytes}");
        let entry = next.ask(1, &["a"]).await.unwrap();
        assert_eq!(entry.body(), body(bytes));
        next.ack(1, &entry).await;
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

/// Shows R58.
#[tokio::test]
async fn a_brief_pop_only_announces_a_large_entry_and_fetch_gives_it_whole_and_as_often_as_it_is_asked() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let me = (client.id(), 1);
    for (ticket, bytes) in [(1, BRIEF), (2, BRIEF + 1), (4, 3 << 20)] {
        for waits in [true, false] {
            let pop = |ticket| match waits {
                true => Pop::new().wait_brief(ticket, &["a"]),
                false => Pop::new().attempt_brief(ticket, &["a"]),
            };
            shard.send("a", &[body(bytes)]).await;
            for _ in 0..2 {
                let given = client.say(&pop(ticket)).await[0].sizes();
                assert_eq!(given, [if bytes > BRIEF { 0 } else { bytes }]);
                let fetched = shard.fetch(me, ticket, "a").await.unwrap();
                assert_eq!(fetched[0].body(), body(bytes));
            }
            assert_eq!(client.ask(ticket, &["a"]).await.unwrap().body(), body(bytes), "another mode");
            assert_eq!(shard.fetch(me, ticket, "b").await, Ok(Vec::new()), "another queue");
            assert_eq!(shard.fetch((me.0, 2), ticket, "a").await, Err(Stale));
            client.ack(ticket, &shard.fetch(me, ticket, "a").await.unwrap()[0]).await;
            assert_eq!(shard.fetch(me, ticket, "a").await, Ok(Vec::new()), "it is forgotten");
            assert_eq!(shard.length("a").await, 0);
        }
    }
    shard.push(&Push::to("a", &["m soon gone"]).expiry(20)).await;
    client.ask(5, &["a"]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    assert_eq!(shard.fetch(me, 5, "a").await, Ok(Vec::new()), "it has expired");
    client.end_lease().await;
    assert_eq!(shard.fetch(me, 1, "a").await, Err(Stale), "the lease is over");
}

/// Shows R58.
#[tokio::test]
async fn of_several_tickets_the_large_entries_are_announced_and_the_reply_stays_small() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for bytes in [100, BRIEF + 1, 3 << 20, 100, 100_000, 100_000, 100] {
        shard.send("a", &[body(bytes)]).await;
    }
    let all = (1..=7).fold(Pop::new(), |pop, ticket| pop.wait_brief(ticket, &["a"]));
    let PopReply::Ok { served: 6, given } = client.pop(&all).await else {
        panic!("it looks at no further ticket once it has 128 KiB")
    };
    assert_eq!(given.iter().flat_map(Given::sizes).collect::<Vec<_>>(), [100, 0, 0, 100, 100_000, 100_000]);
}

/// Shows R58.
#[tokio::test]
async fn a_batch_that_is_one_large_entry_is_announced_and_fetched() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, "in.box!").await;
    let me = (owner.client.id(), 1);
    for bytes in [100, BRIEF, 2 << 20, 100] {
        shard.send("in.box!", &[body(bytes)]).await;
    }
    for (ticket, bytes) in [(1, 100), (2, BRIEF), (3, 2 << 20), (4, 100)] {
        let given = owner.client.say(&Pop::new().wait_brief(ticket, &["in.box!"])).await;
        assert_eq!(given[0].sizes(), [if bytes > BRIEF { 0 } else { bytes }]);
        let fetched = shard.fetch(me, ticket, "in.box!").await.unwrap();
        assert_eq!(fetched.iter().map(|entry| entry.0.len()).collect::<Vec<_>>(), [bytes]);
        owner.client.ack(ticket, fetched.last().unwrap()).await;
        assert_eq!(shard.fetch(me, ticket, "in.box!").await, Ok(Vec::new()));
    }
    assert_eq!(shard.length("in.box!").await, 0);
}
