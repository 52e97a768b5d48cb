//! hello: what begins a connection, and what refuses the ones before it.

use super::Shard;
use super::client::Listening;
use crate::support::{HelloReply, Pop, PopReply};

const HOUR: u64 = 3_600_000;

/// Shows R1.
#[tokio::test]
async fn a_higher_generation_is_accepted_and_the_same_or_a_lower_one_is_stale() {
    let shard = Shard::new().await;
    let before = shard.time_ms().await;
    let HelloReply::Ok { now, known } = shard.hello("c", 5, 60_000).await else { panic!() };
    assert!(!known);
    assert!((before..=shard.time_ms().await).contains(&now), "the time is the server's");

    assert_eq!(shard.hello("c", 5, 60_000).await, HelloReply::Stale { generation: 5 });
    assert_eq!(shard.hello("c", 4, 60_000).await, HelloReply::Stale { generation: 5 });
    assert!(matches!(shard.hello("c", 6, 60_000).await, HelloReply::Ok { known: true, .. }));
    // Compared as numbers: 10 is more than 6.
    assert!(matches!(shard.hello("c", 10, 60_000).await, HelloReply::Ok { known: true, .. }));
    assert_eq!(shard.hello("c", 9, 60_000).await, HelloReply::Stale { generation: 10 });
}

#[tokio::test]
async fn a_refused_hello_changes_nothing() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let lease_end = client.lease_end().await;
    assert_eq!(shard.hello(client.id(), 1, 1).await, HelloReply::Stale { generation: 1 });
    assert_eq!(
        shard.hello_with_schema(client.id(), 2, 1, 4).await,
        HelloReply::Schema { schema: "3".to_owned() }
    );
    assert_eq!(client.lease_end().await, lease_end);
    assert!(!client.is_stale().await);
}

/// Forgotten with the lease, an old hello would be accepted and an old pop would take a message for nobody.
/// Shows R1.
#[tokio::test]
async fn the_generation_outlives_the_lease() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.hello().await;
    client.end_lease().await;
    shard.send("a", &["m"]).await;

    assert_eq!(shard.hello(client.id(), 1, 60_000).await, HelloReply::Stale { generation: 2 });
    assert_eq!(shard.hello(client.id(), 2, 60_000).await, HelloReply::Stale { generation: 2 });
    assert_eq!(client.pop_as(1, 60_000, &Pop::new().wait(1, &["a"])).await, PopReply::Stale);
    assert_eq!(shard.drain("a").await, ["m"]);
}

#[tokio::test]
async fn a_client_of_another_schema_is_told_which_one_is_there() {
    let shard = Shard::new().await;
    assert!(matches!(shard.hello_with_schema("old", 1, 60_000, 7).await, HelloReply::Ok { .. }));
    assert_eq!(
        shard.hello_with_schema("new", 1, 60_000, 8).await,
        HelloReply::Schema { schema: "7".to_owned() }
    );
    assert!(!shard.exists('c', "new").await);
    assert!(matches!(shard.hello_with_schema("new", 1, 60_000, 7).await, HelloReply::Ok { .. }));
}

#[tokio::test]
async fn a_client_is_remembered_for_an_hour_past_its_lease() {
    let shard = Shard::new().await;
    let client = shard.client_with_lease(20_000).await;
    let left = shard.ttl('c', client.id()).await;
    assert!((HOUR + 10_000..=HOUR + 20_000).contains(&left), "{left}");

    // A hello with a shorter lease takes no time away.
    assert!(matches!(shard.hello(client.id(), 2, 10).await, HelloReply::Ok { .. }));
    let left = shard.ttl('c', client.id()).await;
    assert!((HOUR + 10_000..=HOUR + 20_000).contains(&left), "{left}");
}

#[tokio::test]
async fn the_end_of_a_lease_takes_no_time_from_the_memory_of_a_client() {
    let shard = Shard::new().await;
    let client = shard.client_with_lease(20_000).await;
    client.end_lease().await;
    assert!(shard.ttl('c', client.id()).await > HOUR);
}

/// The half-open socket of before still listens: had the new one not, the message would reach only the old one.
/// Shows R6 and R7.
#[tokio::test]
async fn who_listens_before_hello_misses_no_message_and_who_does_not_gets_it_with_a_beat() {
    let shard = Shard::new().await;
    let half_open = shard.client().await;

    let mut connected = half_open.connected_again(&shard, Listening::Yes).await;
    connected.hello().await;
    assert_eq!(connected.ask(1, &["a"]).await, None);
    shard.send("a", &["m1"]).await;
    assert_eq!(connected.wake().await.entry.text(), "m1");

    let mut late = connected.connected_again(&shard, Listening::No).await;
    late.hello().await;
    assert_eq!(late.ask(2, &["a"]).await, None);
    shard.send("a", &["m2"]).await;
    late.listen().await;
    assert_eq!(late.wakes().await, [], "the old sockets counted as listeners");
    assert_eq!(late.ask(2, &["a"]).await.unwrap().text(), "m2");
    drop(half_open);
}
