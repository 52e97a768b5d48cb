//! pop: what an open ticket gets, and in which order.

use super::Shard;
use crate::support::{Given, Pop, PopReply, Push};

fn texts(given: &[Given]) -> Vec<(u64, String, String)> {
    let text = |given: &Given| {
        let (queue, entry) = given.one();
        (given.ticket, queue, entry.text())
    };
    given.iter().map(text).collect()
}

/// Shows R3 and R5.
#[tokio::test]
async fn a_ticket_asked_again_is_answered_with_the_same_message_and_never_takes_two() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    let entry = client.ask(1, &["a"]).await.unwrap();
    assert_eq!(entry.text(), "m1");
    for _ in 0..3 {
        assert_eq!(client.ask(1, &["a"]).await.unwrap(), entry);
        assert_eq!(client.attempt(1, &["a"]).await.unwrap(), entry);
    }
    assert_eq!(shard.drain("a").await, ["m2"]);
}

#[tokio::test]
async fn the_first_queue_that_has_a_message_gives_it_in_the_order_of_the_names() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("b", &["b1", "b2"]).await;
    shard.send("c", &["c1"]).await;
    let given = client.say(&Pop::new().attempt(1, &["a", "c", "b"]).attempt(2, &["a", "b", "c"])).await;
    assert_eq!(texts(&given), [(1, "c".into(), "c1".into()), (2, "b".into(), "b1".into())]);
    let given = client.say(&Pop::new().attempt(3, &["c", "a", "b"])).await;
    assert_eq!(texts(&given), [(3, "b".into(), "b2".into())]);
}

#[tokio::test]
async fn many_tickets_of_one_call_are_answered_one_by_one() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send("a", &["a1", "a2"]).await;
    shard.send("b", &["b1"]).await;
    let pop = Pop::new().wait(1, &["a"]).wait(2, &["x"]).wait(3, &["a", "b"]).wait(4, &["b", "y"]);
    let given = client.say(&pop).await;
    let expected = [(1, "a".into(), "a1".into()), (3, "a".into(), "a2".into()), (4, "b".into(), "b1".into())];
    assert_eq!(texts(&given), expected);
    assert_eq!(client.say(&pop).await, given);
    shard.send("x", &["x1"]).await;
    assert_eq!(client.wake().await.ticket, 2);
}

#[tokio::test]
async fn a_ticket_that_only_tries_leaves_no_waiter() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    assert_eq!(client.attempt(1, &["a", "b"]).await, None);
    assert_eq!(client.field("1").await, None);
    assert!(!shard.exists('w', "a").await);
    shard.send("a", &["m"]).await;
    assert_eq!(client.wakes().await, []);
    assert_eq!(client.attempt(1, &["a", "b"]).await.unwrap().text(), "m");
    client.release(1).await;
    assert_eq!(shard.drain("a").await, ["m"], "what it took is its own until it says so");
}

#[tokio::test]
async fn without_a_client_a_message_is_taken_at_once_and_nothing_is_recorded() {
    let shard = Shard::new().await;
    shard.send("a", &["m1", "m2"]).await;
    let pop = Pop::new().wait(1, &["a"]).wait(2, &["a"]).wait(3, &["a"]);
    let PopReply::Ok { served: 3, given } = shard.pop(None, 0, &pop).await else { panic!() };
    assert_eq!(texts(&given), [(1, "a".into(), "m1".into()), (2, "a".into(), "m2".into())]);
    assert_eq!(shard.pop(None, 0, &pop).await, PopReply::Ok { served: 3, given: Vec::new() });
    assert!(shard.keys().await.is_empty());
}

/// Shows R18.
#[tokio::test]
async fn a_reply_that_grew_to_an_eighth_of_a_mebibyte_leaves_the_other_tickets_for_the_next_call() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let body = vec![b'x'; 37_000];
    shard.send("a", &[&body, &body, &body, &body, &body, &body]).await;
    let all = (1..=6).fold(Pop::new(), |pop, ticket| pop.wait(ticket, &["a"]));
    // A lost reply asked again is bounded as well.
    for _ in 0..2 {
        let PopReply::Ok { served: 4, given } = client.pop(&all).await else { panic!() };
        assert_eq!(given.iter().map(|given| given.ticket).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
    assert_eq!(client.field("5").await, None, "the others were not looked at");
    let rest = Pop::new().wait(5, &["a"]).wait(6, &["a"]).wait(7, &["a"]);
    let PopReply::Ok { served: 3, given } = client.pop(&rest).await else { panic!() };
    assert_eq!(given.iter().map(|given| given.ticket).collect::<Vec<_>>(), [5, 6]);
}

#[tokio::test]
async fn a_message_larger_than_a_reply_should_be_is_given_alone() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let body = vec![b'x'; 3 << 20];
    shard.send("a", &[&body, &body]).await;
    let all = Pop::new().wait(1, &["a"]).wait(2, &["a"]);
    let PopReply::Ok { served: 1, given } = client.pop(&all).await else { panic!() };
    assert_eq!(given[0].entry().body(), body);
    assert_eq!(client.ask(2, &["a"]).await.unwrap().body(), body);
}

#[tokio::test]
async fn a_thousand_queues_may_be_waited_for_at_once() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    let names: Vec<String> = (0..1000).map(|number| format!("queue{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(client.ask(1, &names).await, None);
    shard.push(&Push::to(names[432], &["m"])).await;
    assert_eq!(client.wake().await.queue, names[432]);
    client.release(1).await;
    assert_eq!(shard.drain(names[432]).await, ["m"]);
    assert!(!shard.keys().await.iter().any(|key| key.starts_with("w:")), "it has left all lines");
}

/// Lua hands on at most some 8,000 values at once: what is too much must be refused before anything is taken.
#[tokio::test]
async fn a_call_of_very_many_tickets_loses_no_message() {
    let shard = Shard::new().await;
    for tickets in [4500, 9000] {
        let client = shard.client().await;
        let queue = format!("queue{tickets}");
        shard.send(&queue, &["m"]).await;
        let many = (1..=tickets).fold(Pop::new(), |pop, ticket| pop.wait(ticket, &[&queue]));
        let answered = shard.try_pop(Some((client.id(), client.generation())), 60_000, &many).await;
        client.end_lease().await;
        let left = match answered {
            Ok(PopReply::Ok { given, .. }) => given.into_iter().map(|given| given.entry().text()).collect(),
            Ok(PopReply::Stale) => panic!(),
            Err(_) => shard.drain(&queue).await,
        };
        assert_eq!(left, ["m"], "{tickets} tickets");
    }
}

/// Shows R5.
#[tokio::test]
async fn a_ticket_named_twice_in_one_call_takes_one_message() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    client.say(&Pop::new().wait(1, &["a"]).wait(1, &["a"])).await;
    client.release(1).await;
    assert_eq!(shard.drain("a").await, ["m1", "m2"]);
}

#[tokio::test]
async fn a_ticket_that_is_finished_and_open_in_one_call_does_not_deliver_twice() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();
    let given = client.say(&Pop::new().ack(1, &m1).wait(1, &["a"])).await;
    assert_ne!(given.first().map(Given::one), Some(("a".into(), m1)));
}
