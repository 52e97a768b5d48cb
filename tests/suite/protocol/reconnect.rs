//! Connections that break: what an old one still says counts no more, and what was lost is asked for again.

use super::Shard;
use super::client::Listening;
use crate::support::{HelloReply, Pop, PopReply, Push, PushReply};

/// Without generations the old pop would be executed: a message in the hands of a ticket that nobody knows.
/// Shows R1.
#[tokio::test]
async fn a_delayed_pop_of_an_old_connection_is_refused() {
    let shard = Shard::new().await;
    let old = shard.client().await;
    let mut new = old.connected_again(&shard, Listening::Yes).await;
    new.hello().await;
    new.release(1).await;
    shard.send("a", &["m"]).await;
    assert_eq!(old.pop(&Pop::new().wait(1, &["a"])).await, PopReply::Stale);
    assert_eq!(shard.drain("a").await, ["m"]);
}

/// Shows R1.
#[tokio::test]
async fn a_delayed_hello_of_an_old_connection_is_refused() {
    let shard = Shard::new().await;
    let old = shard.client().await;
    let mut new = old.connected_again(&shard, Listening::Yes).await;
    new.hello().await;
    assert_eq!(
        shard.hello(old.id(), old.generation(), 60_000).await,
        HelloReply::Stale { generation: new.generation() }
    );
    assert!(!new.is_stale().await);
}

/// Without the fence the order of one writer would be turned round: the delayed message comes after the next.
/// Shows R15.
#[tokio::test]
async fn a_fenced_push_of_an_old_connection_sends_nothing() {
    let shard = Shard::new().await;
    let old = shard.client().await;
    let mut new = old.connected_again(&shard, Listening::Yes).await;
    new.hello().await;
    assert_eq!(new.push(Push::to("body?x", &["m1"])).await, PushReply::ALL_SENT);

    let delayed = Push::to("body?x", &["m0"]).and("body?y", &["m0"]);
    assert_eq!(old.push(delayed.clone()).await, PushReply::Stale);
    assert_eq!(shard.drain("body?x").await, ["m1"]);
    assert!(!shard.exists('q', "body?y").await);

    // Where the order does not count there is no fence.
    assert_eq!(shard.push(&delayed).await, PushReply::ALL_SENT);
    assert_eq!(shard.drain("body?y").await, ["m0"]);
}

#[tokio::test]
async fn a_fenced_push_needs_a_generation_that_is_known_but_no_lease() {
    let shard = Shard::new().await;
    let push = Push::to("body?x", &["m"]);
    assert_eq!(shard.push(&push.clone().fence("never seen", 1)).await, PushReply::Stale);
    let client = shard.client().await;
    client.end_lease().await;
    assert_eq!(client.push(push).await, PushReply::ALL_SENT);
}

#[tokio::test]
async fn a_pop_whose_reply_was_lost_is_asked_again_and_answered_alike() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2", "m3"]).await;
    let m1 = client.ask(1, &["a"]).await.unwrap();
    let pop = Pop::new().ack(1, &m1).wait(2, &["a"]).wait(3, &["a"]).wait(4, &["a"]);
    let lost = client.say(&pop).await;
    assert_eq!(lost.len(), 2);

    let mut new = client.connected_again(&shard, Listening::Yes).await;
    new.hello().await;
    assert_eq!(new.say(&pop).await, lost);
    shard.send("a", &["m4"]).await;
    assert_eq!(new.wake().await.ticket, 4);
}

/// Shows R8.
#[tokio::test]
async fn a_release_whose_reply_was_lost_gives_back_once() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let other = shard.client().await;
    shard.send("a", &["m"]).await;
    client.ask(1, &["a"]).await.unwrap();
    let pop = Pop::new().release(1);
    client.say(&pop).await;
    let m = other.ask(1, &["a"]).await.unwrap();
    other.ack(1, &m).await;

    let mut new = client.connected_again(&shard, Listening::Yes).await;
    new.hello().await;
    new.say(&pop).await;
    assert_eq!(shard.drain("a").await, [] as [String; 0]);
}

/// A ticket acknowledged without its id, while another's push is not yet read, would lose that.
#[tokio::test]
async fn a_message_that_was_pushed_into_a_broken_connection_is_asked_for_again() {
    let shard = Shard::new().await;
    let old = shard.client().await;
    let mut new = old.connected_again(&shard, Listening::Yes).await;
    old.ask(1, &["a"]).await;
    shard.send("a", &["m"]).await;
    drop(old);
    let m = new.wake().await.entry;
    new.hello().await;
    assert_eq!(new.ask(1, &["a"]).await, Some(m));
}

/// Shows R11.
#[tokio::test]
async fn after_a_loss_of_data_a_pop_is_stale_and_hello_heals_it() {
    let shard = Shard::alone().await;
    let mut client = shard.client().await;
    client.ask(1, &["a"]).await;
    shard.command(&["FLUSHALL"]).await;
    assert_eq!(client.pop(&Pop::new().wait(1, &["a"])).await, PopReply::Stale);
    assert_eq!(client.push(Push::to("b?x", &["m"])).await, PushReply::Stale);

    assert!(!client.hello().await, "the server knows nothing of it");
    assert_eq!(client.ask(1, &["a"]).await, None);
    shard.send("a", &["m"]).await;
    assert_eq!(client.wake().await.ticket, 1);
}

/// With counters that begin again, the old acknowledgement would name the new message.
/// Shows R3.
#[tokio::test]
async fn an_acknowledgement_from_before_a_loss_of_data_deletes_nothing_after_it() {
    let shard = Shard::alone().await;
    let mut client = shard.client().await;
    shard.send("a", &["before"]).await;
    let before = client.ask(1, &["a"]).await.unwrap();
    shard.command(&["FLUSHALL"]).await;
    client.hello().await;
    shard.send("a", &["after"]).await;
    client.ask(1, &["a"]).await.unwrap();
    client.ack(1, &before).await;
    assert_eq!(shard.drain("a").await, ["after"]);
}
