//! A message for an empty queue goes to the ticket that waited longest, in the same call.

use super::Shard;
use crate::support::{Pop, Push, PushReply};

#[tokio::test]
async fn a_waiting_ticket_is_handed_the_message_and_its_client_told_once() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    assert_eq!(client.ask(7, &["a", "b"]).await, None);

    shard.send("b", &["hello \0 world"]).await;
    let wake = client.wake().await;
    assert_eq!((wake.ticket, wake.queue.as_str(), wake.entry.text().as_str()), (7, "b", "hello \0 world"));
    assert_eq!(client.wakes().await, []);
    assert!(!shard.exists('q', "b").await, "nothing is left in the queue");
    assert_eq!(client.ask(7, &["a", "b"]).await, Some(wake.entry), "it is recorded too");
}

#[tokio::test]
async fn a_message_is_binary_and_may_be_empty() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for (ticket, body) in [(1, every_byte), (2, b"\n a b\n".to_vec()), (3, Vec::new())] {
        client.ask(ticket, &["a"]).await;
        shard.send("a", &[&body]).await;
        let handed = client.wake().await.entry;
        assert_eq!(handed.body(), body);
        assert_eq!(client.ask(ticket, &["a"]).await, Some(handed.clone()));

        client.release(ticket).await;
        assert_eq!(client.ask(10 + ticket, &["a"]).await, Some(handed.clone()));
        client.ack(10 + ticket, &handed).await;
    }
}

/// Shows R2.
#[tokio::test]
async fn the_ticket_that_waited_longest_is_served_first() {
    let shard = Shard::new().await;
    let (mut first, mut second) = (shard.client().await, shard.client().await);
    second.ask(1, &["a"]).await;
    first.ask(1, &["a"]).await;
    second.ask(2, &["b", "a"]).await;
    // To be asked again is no new place in the line.
    second.ask(1, &["a"]).await;

    for body in ["m1", "m2", "m3"] {
        shard.send("a", &[body]).await;
    }
    let told = |wakes: Vec<super::client::Wake>| -> Vec<(u64, String)> {
        wakes.into_iter().map(|wake| (wake.ticket, wake.entry.text())).collect()
    };
    assert_eq!(told(second.wakes().await), [(1, "m1".into()), (2, "m3".into())]);
    assert_eq!(told(first.wakes().await), [(1, "m2".into())]);
}

#[tokio::test]
async fn of_a_batch_each_waiting_ticket_gets_one_and_the_rest_waits_in_order() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    client.ask(2, &["a"]).await;
    // What is handed over takes no room.
    let push = Push::to("a", &["m1", "m2", "m3", "m4"]).capacity(2);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    assert_eq!(client.wake().await.entry.text(), "m1");
    assert_eq!(client.wake().await.entry.text(), "m2");
    assert_eq!(shard.drain("a").await, ["m3", "m4"]);
}

#[tokio::test]
async fn a_message_that_was_handed_over_is_not_in_the_way_of_the_next() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    shard.send("a", &["m1"]).await;
    shard.send("a", &["m2"]).await;
    assert_eq!(client.wakes().await.len(), 1, "one ticket takes one message");
    assert_eq!(client.ask(2, &["a"]).await.unwrap().text(), "m2");
}

#[tokio::test]
async fn a_ticket_of_many_queues_takes_one_message_from_all_of_them() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a", "b", "c"]).await;
    shard.send("b", &["m1"]).await;
    shard.send("a", &["m2"]).await;
    shard.send("c", &["m3"]).await;
    assert_eq!(client.wakes().await.len(), 1);
    assert_eq!(shard.drain("a").await, ["m2"]);
    assert_eq!(shard.drain("c").await, ["m3"]);
}

#[tokio::test]
async fn a_waiter_whose_lease_is_over_is_skipped_and_leaves_the_line() {
    let shard = Shard::new().await;
    let gone = shard.client().await;
    gone.ask(1, &["a"]).await;
    let mut live = shard.client().await;
    live.ask(1, &["a"]).await;
    gone.end_lease().await;

    shard.send("a", &["m1"]).await;
    assert_eq!(live.wake().await.entry.text(), "m1");
    assert!(!shard.exists('w', "a").await);
    shard.send("a", &["m2"]).await;
    assert_eq!(shard.drain("a").await, ["m2"], "nobody waits");
}

#[tokio::test]
async fn a_lease_that_ran_out_by_time_is_over() {
    let shard = Shard::new().await;
    let mut gone = shard.client_with_lease(300).await;
    gone.ask(1, &["a"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    shard.send("a", &["m"]).await;
    assert_eq!(gone.wakes().await, []);
    assert_eq!(shard.drain("a").await, ["m"]);
}

/// Shows R2.
#[tokio::test]
async fn a_waiter_that_nobody_listens_for_is_skipped_and_its_lease_ends() {
    let shard = Shard::new().await;
    let deaf = shard.deaf_client().await;
    deaf.ask(1, &["a"]).await;
    deaf.ask(2, &["b"]).await;
    let mut live = shard.client().await;
    live.ask(1, &["a"]).await;

    shard.send("a", &["m1"]).await;
    assert_eq!(live.wake().await.entry.text(), "m1");
    assert!(deaf.is_stale().await);
    shard.send("b", &["m2"]).await;
    assert_eq!(shard.drain("b").await, ["m2"]);
}

/// With a bound on how many are skipped, the message would wait behind dead waiters while a live one waits.
/// Shows R2.
#[tokio::test]
async fn a_live_waiter_behind_many_dead_ones_gets_the_message() {
    let shard = Shard::new().await;
    let (ended, deaf) = (shard.client().await, shard.deaf_client().await);
    for ticket in 1..=1000 {
        let waits = Pop::new().wait(ticket, &["a"]);
        ended.say(&waits).await;
        if ticket % 10 == 0 {
            deaf.say(&waits).await;
        }
    }
    let mut live = shard.client().await;
    live.ask(1, &["a"]).await;
    ended.end_lease().await;

    shard.send("a", &["m1"]).await;
    assert_eq!(live.wake().await.entry.text(), "m1");
    shard.send("a", &["m2"]).await;
    assert_eq!(shard.drain("a").await, ["m2"]);
    assert!(!shard.exists('w', "a").await, "each dead one was met once");
}

#[tokio::test]
async fn without_a_waiter_messages_are_appended() {
    let shard = Shard::new().await;
    shard.send("a", &["m1", "m2"]).await;
    shard.send("a", &["m3"]).await;
    assert_eq!(shard.drain("a").await, ["m1", "m2", "m3"]);
}

/// As bytes, `10` sorts before `9`.
#[tokio::test]
async fn tickets_of_one_call_are_served_in_their_order() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.say(&[8, 9, 10, 11].into_iter().fold(Pop::new(), |pop, ticket| pop.wait(ticket, &["a"]))).await;
    shard.send("a", &["m1", "m2", "m3", "m4"]).await;
    let tickets: Vec<u64> = client.wakes().await.into_iter().map(|wake| wake.ticket).collect();
    assert_eq!(tickets, [8, 9, 10, 11]);
}

/// Lua hands on at most some 8,000 values at once.
#[tokio::test]
async fn a_push_is_executed_whole_or_not_at_all_however_large() {
    let shard = Shard::new().await;
    let many = vec!["m"; 9000];
    let push = Push::to("a", &["m"]).and("b", &many).capacity(10_000);
    let answered = shard.try_push(&push).await;
    let sent = (shard.length("a").await, shard.length("b").await);
    match &answered {
        Ok(reply) => assert_eq!((reply, sent), (&PushReply::ALL_SENT, (1, 9000))),
        Err(error) => assert_eq!(sent, (0, 0), "{error}"),
    }
}
