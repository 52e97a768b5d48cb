//! Ids of entries: unique for ever, and in the order of sending.

use super::Shard;
use crate::support::{Entry, Push};

async fn take_all(shard: &Shard, queue: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(entry) = shard.take(queue).await {
        entries.push(entry);
    }
    entries
}

fn rise(entries: &[Entry]) -> bool {
    entries.windows(2).all(|pair| pair[0].id() < pair[1].id())
}

#[tokio::test]
async fn ids_rise_within_a_batch_across_its_queues_and_from_call_to_call() {
    let shard = Shard::new().await;
    let bodies: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for _ in 0..3 {
        shard.push(&Push::to("a", &bodies).capacity(1000).and("b", &bodies).capacity(1000)).await;
    }
    let (a, b) = (take_all(&shard, "a").await, take_all(&shard, "b").await);
    assert!(rise(&a) && rise(&b));
    assert_eq!(a.len() + b.len(), 1800);
    assert_eq!((a[0].place(), a[299].place(), b[0].place(), b[299].place()), (1, 300, 301, 600));
    let mut ids: Vec<&[u8]> = a.iter().chain(&b).map(Entry::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1800);
}

#[tokio::test]
async fn ids_rise_across_a_loss_of_data() {
    let shard = Shard::alone().await;
    let mut entries = Vec::new();
    for _ in 0..5 {
        shard.send("a", &["m", "m"]).await;
        entries.extend(take_all(&shard, "a").await);
        shard.command(&["FLUSHALL"]).await;
    }
    assert_eq!(entries.len(), 10);
    assert!(rise(&entries));
}

#[tokio::test]
async fn an_entry_sorts_by_its_bytes_as_by_its_id() {
    let shard = Shard::new().await;
    let bodies: Vec<String> = (0..600).rev().map(|number| number.to_string()).collect();
    shard.push(&Push::to("a", &bodies).capacity(1000)).await;
    let entries = take_all(&shard, "a").await;
    assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

/// A place has two bytes.
#[tokio::test]
async fn ids_are_unique_in_a_call_of_more_than_65535_messages() {
    let shard = Shard::new().await;
    let many = vec!["m"; 7000];
    let names: Vec<String> = (0..10).map(|number| format!("queue{number}")).collect();
    let push = Push::to("first", &["m"]);
    let push = names.iter().fold(push, |push, name| push.and(name, &many).capacity(7000));
    let answered = shard.try_push(&push).await;
    let mut ids = Vec::new();
    for name in &names {
        let entries: Vec<Vec<u8>> =
            shard.ask(redis::cmd("LRANGE").arg(shard.key('q', name)).arg(0).arg(-1)).await;
        ids.extend(entries.into_iter().map(|entry| entry[..10].to_vec()));
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "{answered:?}");
}
