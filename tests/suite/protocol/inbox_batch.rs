//! A ticket of an inbox takes a batch: its entries stay in the inbox until they are acknowledged by the last one's id.

use super::Shard;
use crate::support::{Entry, Pop, PopReply, Push, PushReply, Refusal};

const INBOX: &str = "in.box!";

fn texts(batch: &[Entry]) -> Vec<String> {
    batch.iter().map(Entry::text).collect()
}

/// Shows R22.
#[tokio::test]
async fn a_batch_is_all_that_waits_in_order_and_stays_until_it_is_acknowledged() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "mb 2", "ma 3"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(texts(&batch), ["ma 1", "mb 2", "ma 3"]);
    assert_eq!(shard.length(INBOX).await, 3);

    shard.send(INBOX, &["mb 4"]).await;
    assert_eq!(client.ask_batch(1, INBOX).await.unwrap(), batch, "the same ticket has the same batch");
    client.ack(1, &batch[2]).await;
    assert_eq!(client.field("1").await, None);
    assert_eq!(shard.drain_inbox(INBOX).await, ["mb 4"], "nothing else left with it");
    assert!(!shard.exists('q', INBOX).await);
}

#[tokio::test]
async fn an_acknowledgement_may_travel_with_the_next_ticket() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    shard.send(INBOX, &["ma 3"]).await;
    let given = client.say(&Pop::new().ack(1, &batch[1]).wait(2, &[INBOX])).await;
    assert_eq!(texts(given[0].batch(INBOX)), ["ma 3"]);
}

/// Shows R3.
#[tokio::test]
async fn a_repeated_acknowledgement_takes_nothing_more() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    client.ack(1, &batch[1]).await;
    shard.send(INBOX, &["ma 3", "ma 4"]).await;
    client.ack(1, &batch[1]).await;
    let next = client.ask_batch(2, INBOX).await.unwrap();
    assert_eq!(texts(&next), ["ma 3", "ma 4"]);
    client.say(&Pop::new().ack(1, &batch[1]).ack(3, &next[1])).await;
    assert_eq!(shard.length(INBOX).await, 2, "neither does the ticket of another batch");
}

/// Shows R22.
#[tokio::test]
async fn an_acknowledgement_of_an_entry_in_the_middle_keeps_what_stands_behind_it() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2", "ma 3"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    client.ack(1, &batch[1]).await;
    assert_eq!(texts(&client.ask_batch(2, INBOX).await.unwrap()), ["ma 3"]);
}

#[tokio::test]
async fn an_acknowledgement_of_an_entry_behind_the_batch_takes_nothing() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1"]).await;
    client.ask_batch(1, INBOX).await.unwrap();
    shard.send(INBOX, &["ma 2"]).await;
    let second = shard.raw_entry(INBOX, 1).await;
    client.ack(1, &second).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 1", "ma 2"]);
}

#[tokio::test]
async fn a_release_leaves_every_entry_where_it_was() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    client.release(1).await;
    assert_eq!(client.field("1").await, None);
    assert!(!shard.exists('b', INBOX).await);
    assert_eq!(client.ask_batch(2, INBOX).await.unwrap(), batch);
}

/// Shows R22.
#[tokio::test]
async fn a_batch_is_still_the_tickets_after_a_reconnection_and_a_lease_that_ended() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    client.end_lease().await;
    assert!(client.is_stale().await);
    client.hello().await;
    shard.send(INBOX, &["ma 3"]).await;
    assert_eq!(client.ask_batch(1, INBOX).await.unwrap(), batch);
    client.ack(1, &batch[1]).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 3"]);
}

#[tokio::test]
async fn after_a_loss_of_data_an_old_acknowledgement_takes_nothing_new() {
    let shard = Shard::alone().await;
    let mut client = shard.client().await;
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    shard.command(&["FLUSHALL"]).await;
    client.hello().await;
    shard.send(INBOX, &["ma 3", "ma 4"]).await;
    assert_eq!(texts(&client.ask_batch(1, INBOX).await.unwrap()), ["ma 3", "ma 4"]);
    client.ack(1, &batch[1]).await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 3", "ma 4"]);
}

#[tokio::test]
async fn a_batch_has_at_most_two_hundred_entries() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let bodies: Vec<String> = (0..450).map(|number| format!("ma {number}")).collect();
    assert_eq!(shard.push(&Push::to(INBOX, &bodies).capacity(1000)).await, PushReply::ALL_SENT);
    let mut all = Vec::new();
    for (ticket, size) in [(1, 200), (2, 200), (3, 50)] {
        let batch = client.ask_batch(ticket, INBOX).await.unwrap();
        assert_eq!(batch.len(), size);
        client.ack(ticket, batch.last().unwrap()).await;
        all.extend(texts(&batch));
    }
    assert_eq!(all, bodies);
}

/// A reply over the limit of a connection that listens would break it, for ever again.
#[tokio::test]
async fn a_batch_ends_before_it_has_more_than_an_eighth_of_a_mebibyte_however_small_the_first_entries_were() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let large = [&b"ma "[..], &vec![b'x'; 55_000]].concat();
    let bodies: Vec<Vec<u8>> =
        (0..40).map(|number| if number < 3 { b"ma small".to_vec() } else { large.clone() }).collect();
    for body in &bodies {
        shard.send(INBOX, &[body]).await;
    }
    let mut taken = Vec::new();
    for ticket in 1.. {
        let Some(batch) = client.attempt_batch(ticket, INBOX).await else { break };
        let sizes: Vec<usize> = batch.iter().map(|entry| entry.0.len()).collect();
        assert!(sizes.iter().sum::<usize>() <= 1 << 17, "{sizes:?}");
        assert!(taken.len() + sizes.len() == bodies.len() || sizes.len() > 1, "{sizes:?}");
        assert_eq!(texts(&client.attempt_batch(ticket, INBOX).await.unwrap()), texts(&batch));
        client.ack(ticket, batch.last().unwrap()).await;
        taken.extend(batch.iter().map(|entry| entry.body().to_vec()));
    }
    assert_eq!(taken, bodies);
}

#[tokio::test]
async fn a_batch_has_at_least_one_entry_however_large() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let huge = vec![b'm'; 3 << 20];
    shard.send(INBOX, &[&huge, &huge]).await;
    for ticket in [1, 2] {
        let batch = client.ask_batch(ticket, INBOX).await.unwrap();
        assert_eq!(batch.len(), 1);
        client.ack(ticket, &batch[0]).await;
    }
    assert_eq!(client.ask_batch(3, INBOX).await, None);
}

#[tokio::test]
async fn a_large_batch_leaves_further_tickets_of_the_call_for_another() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for inbox in ["one!", "two!"] {
        let half = vec![b'm'; 150_000];
        shard.send(inbox, &[&half, &half]).await;
    }
    let pop = Pop::new().wait(1, &["one!"]).wait(2, &["two!"]);
    let PopReply::Ok { served: 1, given } = client.pop(&pop).await else { panic!() };
    assert_eq!((given.len(), given[0].batch("one!").len()), (1, 1));
}

#[tokio::test]
async fn a_waiting_reader_is_handed_a_batch_of_one_that_stays_in_the_inbox() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    assert_eq!(client.ask_batch(1, INBOX).await, None);
    shard.send(INBOX, &["ma 1", "ma 2"]).await;
    let wake = client.wake().await;
    assert_eq!((wake.ticket, &*wake.queue, &*wake.entry.text()), (1, INBOX, "ma 1"));
    shard.send(INBOX, &["ma 3"]).await;
    assert_eq!(client.wakes().await, [], "who has a batch is not told of more");
    assert_eq!(shard.length(INBOX).await, 3);
    assert_eq!(client.ask_batch(1, INBOX).await.as_deref(), Some(std::slice::from_ref(&wake.entry)));

    let given = client.say(&Pop::new().ack(1, &wake.entry).wait(2, &[INBOX])).await;
    assert_eq!(texts(given[0].batch(INBOX)), ["ma 2", "ma 3"]);
}

#[tokio::test]
async fn a_reader_that_nobody_listens_for_leaves_the_entry_in_the_inbox() {
    let shard = Shard::new().await;
    let mut deaf = shard.deaf_client().await;
    deaf.ask_batch(1, INBOX).await;
    shard.send(INBOX, &["ma 1"]).await;
    assert!(deaf.is_stale().await);
    assert_eq!(deaf.field("1").await, Some(format!("w{INBOX}").into_bytes()));
    shard.send(INBOX, &["ma 2"]).await;
    deaf.hello().await;
    assert_eq!(texts(&deaf.ask_batch(1, INBOX).await.unwrap()), ["ma 1", "ma 2"]);
}

#[tokio::test]
async fn a_released_ticket_that_waited_for_an_inbox_leaves_its_line() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    client.ask_batch(1, INBOX).await;
    assert!(shard.exists('w', INBOX).await);
    client.release(1).await;
    assert!(!shard.exists('w', INBOX).await);
    client.attempt_batch(2, INBOX).await;
    assert!(!shard.exists('w', INBOX).await);
    assert_eq!(client.field("2").await, None);
}

#[tokio::test]
async fn a_ticket_that_no_longer_waits_is_forgotten() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    client.ask_batch(1, INBOX).await;
    assert_eq!(client.attempt_batch(1, INBOX).await, None);
    assert_eq!(client.field("1").await, None);
    shard.send(INBOX, &["ma 1"]).await;
    assert_eq!(client.field("1").await, None);
}

#[tokio::test]
async fn a_ticket_of_an_inbox_and_other_queues_fails_and_takes_nothing() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1"]).await;
    shard.send("a", &["m 2"]).await;
    let pop = Pop::new()
        .wait(1, &[INBOX, "a"])
        .wait(2, &["a", INBOX])
        .wait(3, &[INBOX, "in.box.2!"])
        .wait(4, &["a"]);
    let given = client.say(&pop).await;
    for given in &given[..3] {
        assert!(given.error().contains("of its own"), "{given:?}");
    }
    assert_eq!(given[3].entry().text(), "m 2");
    assert_eq!(client.field("1").await, None);
    assert_eq!(shard.length(INBOX).await, 1);
}

#[tokio::test]
async fn a_pop_of_nobody_takes_a_batch_at_once() {
    let shard = Shard::new().await;
    let bodies: Vec<String> = (0..201).map(|number| format!("ma {number}")).collect();
    assert_eq!(shard.push(&Push::to(INBOX, &bodies).capacity(1000)).await, PushReply::ALL_SENT);
    let PopReply::Ok { given, .. } = shard.pop(None, 0, &Pop::new().attempt(1, &[INBOX])).await else {
        panic!()
    };
    assert_eq!(given[0].batch(INBOX).len(), 200);
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 200"]);
    assert_eq!(shard.drain_inbox(INBOX).await, [""; 0]);
    assert!(!shard.exists('c', "").await);
}

#[tokio::test]
async fn what_a_reader_has_not_acknowledged_takes_its_room() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let push = Push::to(INBOX, &["ma 1", "ma 2"]).capacity(2);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    let full = |place| (place, Refusal::Full { live: 2 });
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full(1), full(2)]));
    client.ack(1, &batch[1]).await;
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
}

#[tokio::test]
async fn an_inbox_that_is_none_fails_its_ticket_alone() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send(INBOX, &["ma 1"]).await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    shard.command(&["SET", &shard.key('q', INBOX), "text"]).await;
    shard.send("a", &["m 2"]).await;
    let given = client.say(&Pop::new().ack(1, &batch[0]).wait(2, &[INBOX]).wait(3, &["a"])).await;
    assert!(given[0].error().contains("WRONGTYPE"), "{given:?}");
    assert_eq!(given[1].entry().text(), "m 2");
    assert_eq!(client.field("2").await, None);
}

#[tokio::test]
async fn entries_of_an_inbox_that_are_none_are_given_to_the_reader_and_can_be_acknowledged() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for garbage in [&b""[..], b"x", b"no header here", &[0xff; 30]] {
        let _: u64 = shard.ask(redis::cmd("RPUSH").arg(shard.key('q', INBOX)).arg(garbage)).await;
    }
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    client.ack(1, batch.last().unwrap()).await;
    assert_eq!(shard.length(INBOX).await, 0);
    // Nothing of it could be named.
    let _: u64 = shard.ask(redis::cmd("RPUSH").arg(shard.key('q', INBOX)).arg("")).await;
    assert_eq!(client.ask_batch(2, INBOX).await, None);
    assert_eq!(shard.length(INBOX).await, 0);
}
