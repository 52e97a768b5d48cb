//! Every reply that a script's header lists is one that it gives. A reply that is new wants its place here.

use asgi_redis::scripts;

use super::Shard;
use crate::support::{HelloReply, Pop, PopReply, Push, PushReply, Refusal};

/// The shapes that a script's header lists.
fn listed(name: &str) -> Vec<&'static str> {
    let replies = scripts::get(name).unwrap().reply();
    // A list ends with its brace, a text with its quote.
    let end = |reply: &str| reply.find('}').or_else(|| reply.rfind('"')).unwrap();
    replies.iter().map(|reply| &reply[..=end(reply)]).collect()
}

#[tokio::test]
async fn hello_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    assert_eq!(
        listed("hello"),
        [r#"{"ok", now, known}"#, r#"{"stale", generation}"#, r#"{"schema", schema}"#]
    );
    assert!(matches!(shard.hello("c", 1, 1000).await, HelloReply::Ok { known: false, .. }));
    assert!(matches!(shard.hello("c", 2, 1000).await, HelloReply::Ok { known: true, .. }));
    assert_eq!(shard.hello("c", 2, 1000).await, HelloReply::Stale { generation: 2 });
    assert_eq!(shard.hello_with_schema("c", 3, 1000, 2).await, HelloReply::Schema { schema: "1".to_owned() });
}

#[tokio::test]
async fn push_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    assert_eq!(listed("push"), [r#""sent""#, r#"{"sent", place, live, place, live, ...}"#, r#"{"stale"}"#]);
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    let push = Push::to("a", &["m", "m"]).capacity(1).and("bad", &["m"]);
    let PushReply::Sent(refused) = shard.push(&push).await else { panic!() };
    assert!(matches!(refused[..], [(2, Refusal::Full { live: 1 }), (3, Refusal::Error(_))]), "{refused:?}");
    assert_eq!(shard.push(&Push::to("a", &["m"])).await, PushReply::ALL_SENT);
    assert_eq!(shard.push(&Push::to("a", &["m"]).fence("c", 1)).await, PushReply::Stale);
}

#[tokio::test]
async fn pop_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    let shapes = [r#"{"ok", served, ticket, queue, entry, ticket, queue, entry, ...}"#, r#"{"stale"}"#];
    assert_eq!(listed("pop"), shapes);
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    shard.send("a", &["m"]).await;
    let client = shard.client().await;
    let PopReply::Ok { served: 3, given } =
        client.pop(&Pop::new().wait(1, &["a"]).wait(2, &["a"]).wait(3, &["bad"])).await
    else {
        panic!()
    };
    assert_eq!((given.len(), given[0].ticket, given[1].ticket), (2, 1, 3));
    assert!(given[0].outcome.is_ok() && given[1].outcome.is_err());
    assert_eq!(client.pop_as(2, 1000, &Pop::new()).await, PopReply::Stale);
}

#[tokio::test]
async fn flush_gives_the_reply_that_it_lists() {
    let shard = Shard::alone().await;
    assert_eq!(listed("flush"), ["{cursor, removed}"]);
    for number in 0..200 {
        shard.send(&number.to_string(), &["m"]).await;
    }
    let (cursor, removed) = shard.flush_step("0", 10).await;
    assert_ne!(cursor, "0");
    assert!(removed > 0);
    assert_eq!(shard.flush_step(&cursor, 100_000).await.0, "0");
}

#[test]
fn the_scripts_are_those_whose_replies_are_shown_here() {
    let names: Vec<&str> = scripts::all().iter().map(|script| script.name()).collect();
    assert_eq!(names, ["flush", "hello", "pop", "push"]);
}
