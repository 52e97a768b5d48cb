//! Releases: what a ticket was handed and did not deliver goes to the next waiter, else back to its place.

use super::Shard;
use crate::support::{Pop, Push, PushReply};

#[tokio::test]
async fn a_released_message_goes_to_the_next_ticket_that_waits() {
    let shard = Shard::new().await;
    let (first, mut second) = (shard.client().await, shard.client().await);
    shard.send("a", &["m"]).await;
    let entry = first.ask(1, &["a"]).await.unwrap();
    second.ask(5, &["b", "a"]).await;
    first.release(1).await;
    let wake = second.wake().await;
    assert_eq!((wake.ticket, wake.queue.as_str()), (5, "a"));
    assert_eq!(wake.entry, entry, "its id and deadline stay");
    assert!(!shard.exists('b', "a").await);
}

#[tokio::test]
async fn a_released_message_skips_waiters_that_are_gone() {
    let shard = Shard::new().await;
    let (first, deaf) = (shard.client().await, shard.deaf_client().await);
    shard.send("a", &["m"]).await;
    first.ask(1, &["a"]).await.unwrap();
    deaf.ask(1, &["a"]).await;
    first.release(1).await;
    assert_eq!(shard.drain("a").await, ["m"]);
    assert!(deaf.is_stale().await);
}

/// By LPUSH the one released last would come first.
/// Shows R3.
#[tokio::test]
async fn released_messages_come_in_the_order_of_their_sending() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
        shard.send("a", &["m1"]).await;
        shard.send("a", &["m2", "m3", "m4"]).await;
        let all = Pop::new().wait(1, &["a"]).wait(2, &["a"]).wait(3, &["a"]);
        assert_eq!(client.say(&all).await.len(), 3);
        for ticket in order {
            client.release(ticket).await;
        }
        assert_eq!(shard.drain("a").await, ["m1", "m2", "m3", "m4"], "released in the order {order:?}");

        shard.send("a", &["m1", "m2", "m3"]).await;
        assert_eq!(client.say(&all).await.len(), 3);
        client.say(&order.into_iter().fold(Pop::new(), Pop::release)).await;
        assert_eq!(shard.drain("a").await, ["m1", "m2", "m3"], "released at once as {order:?}");
    }
}

#[tokio::test]
async fn given_back_messages_precede_the_queue_and_those_of_other_names() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1"]).await;
    client.ask(1, &["a"]).await.unwrap();
    shard.send("a", &["m2"]).await;
    shard.send("b", &["other"]).await;
    client.release(1).await;
    assert_eq!(client.ask(2, &["b", "a"]).await.unwrap().text(), "m1");
    assert_eq!(client.ask(3, &["b", "a"]).await.unwrap().text(), "other");
    assert_eq!(client.ask(4, &["b", "a"]).await.unwrap().text(), "m2");
}

#[tokio::test]
async fn a_given_back_message_takes_no_room_from_others() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    assert_eq!(shard.push(&Push::to("a", &["m1"]).capacity(1)).await, PushReply::ALL_SENT);
    client.ask(1, &["a"]).await.unwrap();
    assert_eq!(shard.push(&Push::to("a", &["m2"]).capacity(1)).await, PushReply::ALL_SENT);
    client.release(1).await;
    assert_ne!(shard.push(&Push::to("a", &["m3"]).capacity(1)).await, PushReply::ALL_SENT);
    assert_eq!(shard.drain("a").await, ["m1", "m2"]);
}

#[tokio::test]
async fn a_released_ticket_that_waited_leaves_all_lines() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a", "b", "c"]).await;
    client.ask(2, &["b"]).await;
    client.release(1).await;
    assert!(!shard.exists('w', "a").await);
    assert!(!shard.exists('w', "c").await);
    assert_eq!(client.field("1").await, None);
    shard.send("b", &["m"]).await;
    assert_eq!(client.wake().await.ticket, 2, "the other one still waits");
}

#[tokio::test]
async fn a_ticket_that_was_handed_a_message_leaves_the_other_lines_when_it_finishes() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    for delivered in [true, false] {
        client.ask(1, &["a", "b", "c"]).await;
        shard.send("b", &["m"]).await;
        let entry = client.wake().await.entry;
        client.say(&if delivered { Pop::new().ack(1, &entry) } else { Pop::new().release(1) }).await;
        assert!(!shard.keys().await.iter().any(|key| key.starts_with("w:")));
        shard.drain("b").await;
    }
}

/// It was taken out of one line while its lease was over, and found the message there when it asked again.
#[tokio::test]
async fn a_ticket_that_took_a_message_after_it_had_waited_leaves_the_other_lines_too() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a", "b"]).await;
    client.end_lease().await;
    shard.send("a", &["m"]).await;
    client.hello().await;
    let entry = client.ask(1, &["a", "b"]).await.unwrap();
    assert!(shard.exists('w', "b").await);
    client.ack(1, &entry).await;
    assert!(!shard.exists('w', "b").await);
}

/// Receiving again on a single-reader channel after a receive was dropped: the release travels before the new ticket.
/// Shows R8 and R14.
#[tokio::test]
async fn a_release_in_the_call_of_the_next_ticket_gives_it_the_message_first() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["body?x"]).await;
    shard.send("body?x", &["m1"]).await;
    let m1 = client.wake().await.entry;
    shard.send("body?x", &["m2"]).await;
    let given = client.say(&Pop::new().release(1).wait(2, &["body?x"])).await;
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].ticket, 2);
    assert_eq!(given[0].one(), ("body?x".into(), m1));
    assert_eq!(client.wakes().await, []);
}

#[tokio::test]
async fn a_release_can_hand_the_message_to_a_ticket_of_the_same_call() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send("a", &["m"]).await;
    let entry = client.ask(1, &["a"]).await.unwrap();
    client.ask(2, &["b", "a"]).await;
    let given = client.say(&Pop::new().release(1).wait(2, &["b", "a"]).wait(3, &["a"])).await;
    assert_eq!(given.len(), 1, "one message, one ticket");
    assert_eq!((given[0].ticket, given[0].one()), (2, ("a".into(), entry.clone())));
    let wakes = client.wakes().await;
    assert_eq!(wakes.len(), 1, "told by wake-up too: the same ticket and id");
    assert_eq!((wakes[0].ticket, &wakes[0].entry), (2, &entry));

    assert_eq!(client.ask(2, &["b", "a"]).await, Some(entry.clone()));
    client.ack(2, &entry).await;
    shard.send("a", &["next"]).await;
    assert_eq!(client.wake().await.ticket, 3);
}

/// A client that gave back by itself would not know of a message that came while its connection was half-open.
/// Shows R10.
#[tokio::test]
async fn a_release_by_ticket_gives_back_what_the_client_never_saw() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    shard.send("a", &["m"]).await;
    client.hello().await;
    client.release(1).await;
    assert_eq!(shard.drain("a").await, ["m"]);
}
