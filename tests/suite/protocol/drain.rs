//! Moving a queue from one server to another by raw calls: at whatever point it ends early, nothing is lost or repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Shard;
use crate::support::{Add, Entry, Push, Taken};

async fn take(shard: &Shard, batch: &str) -> Taken {
    shard.drain_take("q?1", batch, "there").await.expect("something waits")
}

fn texts(taken: &Taken) -> Vec<String> {
    taken.entries.iter().map(|(_, entry)| entry.text()).collect()
}

#[tokio::test]
async fn a_batch_stays_the_same_until_it_is_done() {
    let old = Shard::new().await;
    old.send("q?1", &["m 1", "m 2"]).await;
    let taken = take(&old, "first").await;
    assert_eq!(
        (&*taken.batch, &*taken.target, texts(&taken)),
        ("first", "there", vec!["m 1".into(), "m 2".into()])
    );
    assert!(taken.entries.iter().all(|(left, _)| (59_000..=60_000).contains(left)), "{taken:?}");
    assert_eq!(old.take("q?1").await, None, "nobody else is given it");
    old.send("q?1", &["m 3"]).await;
    let again = old.drain_take("q?1", "second", "elsewhere").await.unwrap();
    assert_eq!((&*again.batch, &*again.target, texts(&again)), ("first", "there", texts(&taken)));
    assert_eq!(old.drain_done("q?1", "second").await, 0, "that is another batch");
    assert_eq!(old.drain_done("q?1", "first").await, 2);
    assert_eq!(old.drain_done("q?1", "first").await, 0);
    assert_eq!(texts(&take(&old, "second").await), ["m 3"]);
    assert_eq!(old.drain_done("q?1", "second").await, 1);
    assert_eq!(old.drain_take("q?1", "third", "there").await, None);
    assert!(!old.exists('o', "q?1").await);
}

#[tokio::test]
async fn a_batch_is_put_once_in_front_and_in_order() {
    let (old, new) = (Shard::new().await, Shard::new().await);
    old.send("q?1", &["m 1", "m 2"]).await;
    new.send("q?1", &["m 3"]).await;
    let taken = take(&old, "batch").await;
    assert_eq!(new.drain_put("q?1", &taken).await, Some(2));
    assert_eq!(new.drain_put("q?1", &taken).await, None);
    assert_eq!(new.drain("q?1").await, ["m 1", "m 2", "m 3"]);
    assert_eq!(new.drain_put("q?1", &taken).await, None, "nor when they were received");
    assert!(new.ttl('p', "batch").await > 3_600_000, "the mark outlasts the entries by an hour");
}

#[tokio::test]
async fn a_ticket_that_waits_is_handed_what_is_put() {
    let (old, new) = (Shard::new().await, Shard::new().await);
    let mut reader = new.client().await;
    assert_eq!(reader.ask(1, &["q?1"]).await, None);
    old.send("q?1", &["m 1", "m 2"]).await;
    new.drain_put("q?1", &take(&old, "batch").await).await;
    assert_eq!(reader.wake().await.entry.text(), "m 1");
    assert_eq!(new.drain("q?1").await, ["m 2"]);
}

#[tokio::test]
async fn what_has_expired_is_not_put_and_what_came_back_is_taken_first() {
    let (old, new) = (Shard::new().await, Shard::new().await);
    let reader = old.client().await;
    assert_eq!(
        old.push(&Push::to("q?1", &["m short"]).expiry(100)).await,
        crate::support::PushReply::ALL_SENT
    );
    old.send("q?1", &["m 1", "m 2"]).await;
    let short = take(&old, "short").await;
    assert_eq!(old.drain_done("q?1", "short").await, 3);
    tokio::time::sleep(Duration::from_millis(150)).await;
    // Its time is counted by the old server, and over there it begins with what is left.
    let mut late = short.clone();
    late.entries[0].0 -= 150;
    assert_eq!(new.drain_put("q?1", &late).await, Some(2));

    old.send("q?1", &["m 3", "m 4"]).await;
    let got = reader.ask(1, &["q?1"]).await.unwrap();
    assert_eq!(got.text(), "m 3");
    reader.release(1).await;
    assert_eq!(texts(&take(&old, "back").await), ["m 3", "m 4"]);
}

/// The deadline in an entry's header.
fn deadline(entry: &Entry) -> u64 {
    u64::from_be_bytes(entry.0[10..18].try_into().unwrap())
}

#[tokio::test]
async fn a_deadline_is_that_of_the_new_servers_clock_whatever_the_old_one_showed() {
    const HOUR: u64 = 3_600_000;
    let (old, new) = (Shard::new().await, Shard::new().await);
    for (batch, shift) in [("behind", HOUR.wrapping_neg()), ("ahead", HOUR)] {
        old.send("q?1", &["m 1"]).await;
        let mut taken = take(&old, batch).await;
        old.drain_done("q?1", batch).await;
        // As a server would have written it whose clock is an hour wrong.
        let wrong = deadline(&taken.entries[0].1).wrapping_add(shift);
        taken.entries[0].1.0[10..18].copy_from_slice(&wrong.to_be_bytes());
        taken.entries[0].0 = 30_000;
        let before = new.time_ms().await;
        assert_eq!(new.drain_put("q?1", &taken).await, Some(1));
        let after = new.time_ms().await;
        let put = new.take("q?1").await.expect("it has half a minute left");
        assert_eq!(put.text(), "m 1");
        assert!((before + 30_000..=after + 30_000).contains(&deadline(&put)), "{batch}: {}", deadline(&put));
    }
}

#[tokio::test]
async fn a_batch_is_bounded_in_entries_and_in_bytes() {
    let old = Shard::new().await;
    let many: Vec<String> = (0..450).map(|number| format!("m {number}")).collect();
    for some in many.chunks(90) {
        assert_eq!(
            old.push(&Push::to("q?1", some).capacity(1000)).await,
            crate::support::PushReply::ALL_SENT
        );
    }
    for (batch, length) in [("a", 200), ("b", 200), ("c", 50)] {
        assert_eq!(take(&old, batch).await.entries.len(), length);
        old.drain_done("q?1", batch).await;
    }
    let large = [format!("m {}", "x".repeat(400_000))];
    for _ in 0..5 {
        old.send("q?1", &large).await;
    }
    assert_eq!(take(&old, "d").await.entries.len(), 3);
}

#[tokio::test]
async fn queues_are_listed_with_all_that_waits_in_them() {
    let shard = Shard::new().await;
    shard.send("jobs", &["m 1", "m 2"]).await;
    shard.send("q?1", &["m 1", "m 2", "m 3"]).await;
    take(&shard, "aside").await;
    shard.send("q?1", &["m 4"]).await;
    let (cursor, groups, mut queues) = shard.queue_list_step("0", 1_000_000).await;
    assert_eq!((&*cursor, groups), ("0", 0));
    queues.sort();
    let expected = [("jobs", 2), ("q?1", 1), ("q?1", 3)].map(|(queue, entries)| (queue.to_owned(), entries));
    assert_eq!(queues, expected);
}

#[tokio::test]
async fn a_batch_lives_until_its_last_entry_expires() {
    let shard = Shard::new().await;
    for expiry in [30_000, 60_000, 20_000] {
        shard.push(&Push::to("q?1", &["m"]).expiry(expiry)).await;
    }
    take(&shard, "batch").await;
    let left = shard.ttl('o', "q?1").await;
    assert!((31_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_queue_of_another_program_is_not_drained() {
    let shard = Shard::new().await;
    shard.command(&["SET", &shard.key('q', "q?1"), "text"]).await;
    let error = shard.try_drain_take("q?1", "batch", "there").await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert!(!shard.exists('o', "q?1").await);
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_a_call_is_refused_whole() {
    let shard = Shard::new().await;
    shard.send("q?1", &["m"]).await;
    let mut taken = take(&shard, "batch").await;
    taken.entries = vec![taken.entries[0].clone(); 1750];
    let error = shard.try_drain_put("q?1", &taken).await.unwrap_err();
    assert!(error.contains("make several calls"), "{error}");
    assert!(!shard.exists('q', "q?1").await && !shard.exists('p', "batch").await);
}

#[tokio::test]
async fn a_list_of_queues_counts_groups_and_skips_keys_that_are_none_of_the_layers() {
    let shard = Shard::new().await;
    shard.send("jobs", &["m"]).await;
    shard.group_add(&Add::to("one", &["a"])).await;
    shard.group_add(&Add::to("two", &["a"])).await;
    shard.command(&["SET", &shard.key('q', "text"), "text"]).await;
    let longer = shard.beside(&format!("{}q:", shard.prefix())).await;
    longer.send("others", &["m"]).await;
    let listed = shard.queue_list_step("0", 1_000_000).await;
    assert_eq!(listed, ("0".to_owned(), 2, vec![("jobs".to_owned(), 1)]));
}

#[tokio::test]
async fn an_entry_that_is_none_is_moved_as_it_is() {
    let (old, new) = (Shard::new().await, Shard::new().await);
    old.command(&["RPUSH", &old.key('q', "q?1"), "text"]).await;
    new.drain_put("q?1", &take(&old, "batch").await).await;
    assert_eq!(new.take("q?1").await.unwrap().0, b"text");
}

#[tokio::test]
async fn a_list_of_queues_comes_in_steps_and_has_what_came_back() {
    let shard = Shard::alone().await;
    let names: Vec<String> = (0..200).map(|number| format!("q{number}")).collect();
    let client = shard.client().await;
    for name in &names {
        shard.send(name, &["m"]).await;
    }
    assert!(client.ask(1, &["q7"]).await.is_some());
    client.release(1).await;
    assert!(shard.exists('b', "q7").await && !shard.exists('q', "q7").await);
    let (mut listed, mut cursor, mut steps) = (std::collections::BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let (next, _, queues) = shard.queue_list_step(&cursor, 10).await;
        listed.extend(queues.into_iter().map(|(name, _)| name));
        steps += 1;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert!(steps > 5, "{steps}");
    assert_eq!(listed, names.into_iter().collect());
}

#[tokio::test]
async fn what_is_listed_tells_live_messages_from_expired_ones_and_receives_that_wait() {
    let shard = Shard::new().await;
    shard.push(&Push::to("mixed", &["m 1", "m 2"]).expiry(1500).and("old", &["m 1"])).await;
    shard.push(&Push::to("mixed", &["m 3"])).await;
    shard.push(&Push::to("old", &["m 4"]).expiry(60_000)).await;
    shard.group_add(&Add::to("room", &["in.box!a"])).await;
    shard.send("in.box!", &["ma m"]).await;
    let [here, gone] = [shard.client_with_lease(600_000).await, shard.client_with_lease(1000).await];
    let both = &["jobs", "other"][..];
    for (client, ticket, queues) in [(&here, 1, both), (&here, 2, &["jobs"]), (&gone, 1, &["jobs"])] {
        assert!(client.ask(ticket, queues).await.is_none());
    }
    tokio::time::sleep(Duration::from_millis(1600)).await;
    let expected = [
        ("in.box!", [2, 1, 0]),
        ("jobs", [0, 0, 2]),
        ("mixed", [3, 1, 0]),
        ("old", [2, 1, 0]),
        ("other", [0, 0, 1]),
    ];
    assert_eq!(counts(&shard).await, expected.map(|(queue, counts)| (queue.to_owned(), counts)).into());
}

#[tokio::test]
async fn of_a_long_queue_the_live_messages_are_counted_by_the_order_in_which_they_expire() {
    let shard = Shard::new().await;
    let many = vec!["ma m"; 900];
    for _ in 0..8 {
        shard.push(&Push::to("in.box!", &many).capacity(100_000).expiry(1500)).await;
    }
    shard.push(&Push::to("in.box!", &many).capacity(100_000)).await;
    shard.group_add(&Add::to("room", &["in.box!a"])).await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert_eq!(counts(&shard).await, [("in.box!".to_owned(), [8101, 900, 0])].into());
}

/// Of each queue: its entries, the live messages among them, and the receives that wait.
async fn counts(shard: &Shard) -> BTreeMap<String, [i64; 3]> {
    let (_, _, listed) = shard.queue_list_whole_step("0", 1_000_000).await;
    let mut counts = BTreeMap::new();
    for (queue, [entries, live, waiting]) in listed {
        let count = counts.entry(queue).or_insert([0; 3]);
        *count = [count[0] + entries, count[1] + live, count[2] + waiting];
    }
    counts
}
