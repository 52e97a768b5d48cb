//! What others left under the layer's keys: it fails the one who meets it, and nobody else.

use super::Shard;
use crate::support::{Entry, Pop, PopReply, Push, PushReply, Refusal};

fn wrong_type(error: &str) {
    assert!(error.contains("WRONGTYPE"), "{error}");
}

/// A header's length, then a deadline of all ones.
fn endless() -> Vec<u8> {
    [&b"idididid00"[..], &[0xff; 8], b"body"].concat()
}

async fn append(shard: &Shard, queue: &str, entry: &[u8]) {
    let _: u64 = shard.ask(redis::cmd("RPUSH").arg(shard.key('q', queue)).arg(entry)).await;
}

#[tokio::test]
async fn a_push_names_the_places_of_a_queue_that_is_none_and_sends_the_rest() {
    let shard = Shard::new().await;
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    let push = Push::to("a", &["a1"]).and("bad", &["x1", "x2"]).and("b", &["b1"]);
    let PushReply::Sent(refused) = shard.push(&push).await else { panic!() };
    let [(2, Refusal::Error(first)), (3, Refusal::Error(second))] = &refused[..] else {
        panic!("{refused:?}")
    };
    wrong_type(first);
    wrong_type(second);
    assert_eq!(shard.drain("a").await, ["a1"]);
    assert_eq!(shard.drain("b").await, ["b1"]);
    assert_eq!(shard.ask::<String>(redis::cmd("GET").arg(shard.key('q', "bad"))).await, "text");
}

#[tokio::test]
async fn a_queue_that_is_none_fails_the_ticket_that_meets_it_and_no_other() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    shard.command(&["SET", &shard.key('b', "worse"), "text"]).await;
    shard.send("a", &["m1", "m2", "m3"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();

    let pop = Pop::new()
        .ack(1, &m1)
        .wait(2, &["a"])
        .wait(3, &["bad", "a"])
        .attempt(4, &["worse"])
        .wait(5, &["a", "bad"])
        .wait(6, &["c"]);
    let PopReply::Ok { served: 5, given } = client.pop(&pop).await else { panic!() };
    let tickets: Vec<u64> = given.iter().map(|given| given.ticket).collect();
    assert_eq!(tickets, [2, 3, 4, 5]);
    assert_eq!(given[0].entry().text(), "m2");
    wrong_type(given[1].error());
    wrong_type(given[2].error());
    assert_eq!(given[3].entry().text(), "m3", "what it finds before is given");

    shard.send("c", &["m"]).await;
    assert_eq!(client.wake().await.ticket, 6);
    assert_eq!(client.field("1").await, None);
    assert_eq!(client.field("3").await, None, "a ticket that failed neither waits nor holds anything");
}

#[tokio::test]
async fn an_entry_that_is_none_is_given_to_a_reader_who_may_refuse_it() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let garbage = [b"".to_vec(), b"x".to_vec(), b"no header here".to_vec(), endless()];
    for entry in &garbage {
        append(&shard, "a", entry).await;
    }
    shard.send("a", &["m"]).await;
    for (ticket, entry) in (1..).zip(&garbage) {
        let given = client.ask(ticket, &["a"]).await.unwrap();
        assert_eq!(&given.0, entry);
        assert_eq!(client.ask(ticket, &["a"]).await.as_ref(), Some(&given));
        client.ack(ticket, &given).await;
        assert_eq!(client.field(&ticket.to_string()).await, None);
    }
    assert_eq!(client.ask(9, &["a"]).await.unwrap().text(), "m");
}

#[tokio::test]
async fn an_entry_that_is_none_can_be_given_back() {
    let shard = Shard::new().await;
    let (client, mut other) = (shard.client().await, shard.client().await);
    for garbage in [b"x".to_vec(), endless()] {
        append(&shard, "a", &garbage).await;
        assert!(client.ask(1, &["a"]).await.is_some());
        client.release(1).await;
        assert_eq!(client.ask(2, &["a"]).await.unwrap().0, garbage);
        other.ask(1, &["a"]).await;
        client.release(2).await;
        let handed = other.wake().await.entry;
        assert_eq!(handed.0, garbage);
        other.ack(1, &handed).await;
    }
}

#[tokio::test]
async fn an_entry_that_is_none_takes_its_room_and_stops_no_push() {
    let shard = Shard::new().await;
    for garbage in [b"x".to_vec(), endless()] {
        append(&shard, "a", &garbage).await;
        let push = Push::to("a", &["m1", "m2"]).capacity(2);
        assert_eq!(shard.push(&push).await, PushReply::Sent(vec![(2, Refusal::Full { live: 2 })]));
        assert_eq!(shard.take("a").await.map(|entry| entry.0), Some(garbage));
        assert_eq!(shard.drain("a").await, ["m1"]);
    }
}

#[tokio::test]
async fn an_entry_of_the_distant_past_is_dropped_like_any_that_expired() {
    let shard = Shard::new().await;
    append(&shard, "a", &[0; 18]).await;
    shard.send("a", &["m"]).await;
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn an_acknowledgement_that_is_no_id_gives_the_message_back() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m"]).await;
    client.ask(1, &["a"]).await.unwrap();
    client.ack(1, &Entry(b"x".to_vec())).await;
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn names_and_bodies_may_hold_what_has_a_meaning_in_a_record() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    for (ticket, body) in (1..).zip(["\n", " ", "h\nw ", "\n \n "]) {
        client.ask(ticket, &["a", "body?x"]).await;
        shard.send("body?x", &[body]).await;
        let entry = client.wake().await.entry;
        let again = client.say(&Pop::new().wait(ticket, &["a", "body?x"])).await;
        assert_eq!((again.len(), again[0].ticket, again[0].one()), (1, ticket, ("body?x".into(), entry)));
        client.release(ticket).await;
        assert_eq!(shard.drain("body?x").await, [body]);
    }
}

#[tokio::test]
async fn a_line_that_is_none_fails_the_ticket_that_would_wait_in_it_and_loses_no_message() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.command(&["SET", &shard.key('w', "bad"), "text"]).await;
    shard.send("a", &["m"]).await;
    let pop = Pop::new().wait(1, &["a"]).wait(2, &["bad"]);
    let answered = shard.try_pop(Some((client.id(), client.generation())), 60_000, &pop).await;
    let again = client.ask(1, &["a"]).await;
    assert_eq!(again.map(|entry| entry.text()).as_deref(), Some("m"), "answered {answered:?}");
    let PopReply::Ok { given, .. } = answered.unwrap() else { panic!() };
    wrong_type(given[1].error());
}

#[tokio::test]
async fn a_line_that_is_none_has_no_waiters_and_stops_no_push() {
    let shard = Shard::new().await;
    shard.command(&["SET", &shard.key('w', "bad"), "text"]).await;
    let push = Push::to("a", &["m"]).and("bad", &["m"]).and("b", &["m"]);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    for queue in ["a", "bad", "b"] {
        assert_eq!(shard.drain(queue).await, ["m"], "{queue}");
    }
}

#[tokio::test]
async fn a_key_of_given_back_messages_that_is_none_fails_no_other_ticket() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1"]).await;
    shard.send("b", &["m2"]).await;
    client.ask(1, &["a"]).await.unwrap();
    shard.command(&["SET", &shard.key('b', "a"), "text"]).await;
    let given = client.say(&Pop::new().release(1).wait(2, &["b"])).await;
    assert_eq!(given[0].entry().text(), "m2");
}

#[tokio::test]
async fn a_waiter_that_is_none_is_skipped() {
    let shard = Shard::new().await;
    let _: u64 = shard.ask(redis::cmd("ZADD").arg(shard.key('w', "a")).arg(1).arg("nobody")).await;
    shard.send("a", &["m"]).await;
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn a_client_that_is_none_is_skipped() {
    let shard = Shard::new().await;
    let gone = shard.client().await;
    gone.ask(1, &["a"]).await;
    shard.command(&["SET", &shard.key('c', gone.id()), "text"]).await;
    shard.send("a", &["m"]).await;
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_given_back_to_its_place_goes_to_the_end_of_its_queue() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["1", "2"]).await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "1");
    shard.command(&["SET", &shard.key('b', "a"), "text"]).await;
    client.release(1).await;
    shard.command(&["DEL", &shard.key('b', "a")]).await;
    assert_eq!(shard.drain("a").await, ["2", "1"]);
}
