//! Control entries as entries: their place among the messages, their room and count, and how long they stay.

use std::time::Duration;

use super::{Owner, Shard};
use crate::support::{Add, Discard, GroupSend, InboxKeep, Place, Push, PushReply, Refusal};

const INBOX: &str = "in.box!";
const SHORT: u64 = 200;

async fn until_expired() {
    tokio::time::sleep(Duration::from_millis(SHORT + 50)).await;
}

async fn add(shard: &Shard, group: &str, channel: &str) {
    shard.group_add(&Add::to(group, &[channel])).await.unwrap();
}

async fn controls(shard: &Shard) -> u64 {
    let count: Option<u64> = shard.ask(redis::cmd("HGET").arg(shard.key('i', INBOX)).arg("controls")).await;
    count.unwrap_or(0)
}

async fn push(shard: &Shard, capacity: usize) -> PushReply {
    shard.push(&Push::to(INBOX, &["ma m"]).capacity(capacity)).await
}

/// Shows R23 and R33.
#[tokio::test]
async fn an_owner_is_told_who_joins_and_leaves_in_order_with_the_messages() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    shard.group_send(&GroupSend::to("room", "1")).await;
    shard.group_add(&Add::to("room", &["in.box!b", "chat", "in.box!c"])).await;
    shard.send(INBOX, &["ma direct"]).await;
    shard.group_discard(&Discard::from("room", &["in.box!a", "in.box!absent"])).await;
    shard.group_send(&GroupSend::to("room", "2")).await;
    shard.change(&owner.change().join("other", "b", 1000)).await;
    let tag = owner.tag();
    shard.group_leave("in.box!b").await;
    let expected = [
        "c1 : +room a",
        "groom 1",
        "c2 : +room b +room c",
        "ma direct",
        "c3 : -room a -room absent",
        "groom 2",
        &format!("c4 {tag} +other b"),
        "c5 : *b -other b -room b",
    ];
    assert_eq!(owner.read_all().await, expected);
    assert_eq!(controls(&shard).await, 0);
}

#[tokio::test]
async fn a_control_entry_has_the_time_of_the_change_and_no_end_of_its_own() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let now = shard.group_add(&Add::to("room", &["in.box!a"]).expiry(SHORT)).await.unwrap();
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    let batch = owner.read().await;
    assert_eq!((batch[0].microseconds(), batch[0].place()), (now, 1));
    assert!(batch[0].id() < batch[1].id());
    for entry in &batch {
        assert_eq!(entry.deadline(), 4_102_444_800_000, "{entry:?}");
    }
}

#[tokio::test]
async fn a_reader_that_waits_is_handed_a_control_entry() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let ticket = owner.wait().await;
    add(&shard, "room", "in.box!a").await;
    let wake = owner.client.wake().await;
    assert_eq!((wake.ticket, &*wake.entry.brief()), (ticket, "c1 : +room a"));
    assert_eq!(controls(&shard).await, 1);
    owner.client.ack(ticket, &wake.entry).await;
    assert_eq!(controls(&shard).await, 0);
    let ticket = owner.wait().await;
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    assert_eq!(owner.client.wake().await.ticket, ticket);
}

#[tokio::test]
async fn control_entries_take_no_room() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for number in 0..10 {
        add(&shard, "room", &format!("in.box!a{number}")).await;
    }
    assert_eq!(controls(&shard).await, 10);
    let refused = |place, live| PushReply::Sent(vec![(place, Refusal::Full { live })]);
    assert_eq!(push(&shard, 2).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 2).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 2).await, refused(1, 2));
    shard.group_add(&Add::to("room", &["in.box!a"]).capacity(2)).await;
    assert_eq!(shard.group_send(&GroupSend::to("room", "hi")).await.unwrap().full, 1);
    let batch = shard.push(&Push::to(INBOX, &["ma 3", "ma 4"]).capacity(3)).await;
    assert_eq!(batch, refused(2, 3));
    assert_eq!(owner.read_all().await.len(), 14);
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, refused(1, 1), "those that were read give no room either");
}

#[tokio::test]
async fn an_expired_message_behind_control_entries_takes_no_room() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    let old = Push::to(INBOX, &["ma old"]).capacity(1).expiry(SHORT);
    assert_eq!(shard.push(&old).await, PushReply::ALL_SENT);
    until_expired().await;
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_ne!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(owner.read_all().await, ["c1 : +room a", "ma m"]);
    assert_eq!(controls(&shard).await, 0);
}

/// The reader applies each in its turn, and the chain of numbers has no gap.
/// Shows R42.
#[tokio::test]
async fn a_control_entry_is_read_though_the_membership_that_it_tells_of_has_ended() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    shard.group_add(&Add::to("room", &["in.box!a"]).expiry(SHORT)).await;
    shard.push(&Push::to(INBOX, &["ma old"]).expiry(SHORT)).await;
    until_expired().await;
    // A full inbox makes room by what is no control entry.
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(owner.read_all().await, ["c1 : +room a", "c2 : +room a", "ma m"]);
}

#[tokio::test]
async fn the_count_is_right_as_soon_as_a_batch_was_acknowledged() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    add(&shard, "room", "in.box!b").await;
    let batch = owner.client.ask_batch(101, INBOX).await.unwrap();
    shard.send(INBOX, &["ma m"]).await;
    add(&shard, "room", "in.box!c").await;
    owner.client.ack(101, &batch[1]).await;
    assert_eq!((controls(&shard).await, shard.length(INBOX).await), (1, 2));
    let batch = owner.client.ask_batch(102, INBOX).await.unwrap();
    owner.client.ack(102, &batch[0]).await;
    assert_eq!(controls(&shard).await, 1);
}

/// Shows R42.
#[tokio::test]
async fn control_entries_of_every_kind_are_counted_and_take_no_room() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    shard.keep(&owner.beat().unsure()).await;
    let call = owner.next_call();
    shard.inbox_page(INBOX, owner.id(), call, &Place::default()).await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "10000"]).await;
    add(&shard, "room", "in.box!c").await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "4"]).await;
    shard.flush_inboxes_step("0", 1_000_000).await;
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, PushReply::Sent(vec![(1, Refusal::Full { live: 1 })]));
    let batch = owner.client.ask_batch(101, INBOX).await.unwrap();
    let kinds: String = batch.iter().map(|entry| char::from(entry.body()[0])).collect();
    assert_eq!(kinds, "ckwrfm");
    for (place, left) in [4, 3, 2, 1, 0].into_iter().enumerate() {
        let ticket = 102 + place as u64;
        owner.client.ask_batch(ticket, INBOX).await.unwrap();
        owner.client.ack(ticket, &batch[place]).await;
        assert_eq!(controls(&shard).await, left, "{:?}", batch[place]);
    }
}

#[tokio::test]
async fn the_count_is_never_less_than_none() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for address in ["in.box!d", "in.box!e", "in.box!f"] {
        add(&shard, "room", address).await;
    }
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1"]).await;
    let batch = owner.client.ask_batch(201, INBOX).await.unwrap();
    shard.send(INBOX, &["ma 2"]).await;
    owner.client.ack(201, batch.last().unwrap()).await;
    assert_eq!(controls(&shard).await, 0);
    assert_eq!(owner.read_all().await, ["ma 2"]);
}

/// Shows R41.
#[tokio::test]
async fn the_bytes_of_control_entries_are_counted_too() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let bytes = async || shard.inbox_field(INBOX, "control_bytes").await.unwrap_or_default();
    add(&shard, "room", "in.box!a").await;
    let first = shard.raw_entry(INBOX, 0).await.0.len();
    assert_eq!(bytes().await, first.to_string());
    shard.send(INBOX, &["ma does not count"]).await;
    shard.group_add(&Add::to("room", &["in.box!b", "in.box!c"])).await;
    let second = shard.raw_entry(INBOX, 2).await.0.len();
    assert_eq!(bytes().await, (first + second).to_string());
    let batch = owner.client.ask_batch(101, INBOX).await.unwrap();
    owner.client.ack(101, &batch[0]).await;
    assert_eq!(
        bytes().await,
        usize::midpoint(first, second).to_string(),
        "half of them, for one of two has left"
    );
    owner.read_all().await;
    assert_eq!(bytes().await, "0");
    add(&shard, "room", "in.box!a").await;
    assert_eq!(bytes().await, first.to_string());
}

/// An inbox may have ended with all that stood in it, by the time of its key or by other hands.
#[tokio::test]
async fn control_entries_that_are_gone_give_no_room() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    for address in ["in.box!a", "in.box!b", "in.box!c"] {
        add(&shard, "room", address).await;
    }
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, PushReply::Sent(vec![(1, Refusal::Full { live: 1 })]));

    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "3"]).await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    add(&shard, "room", "in.box!d").await;
    assert_eq!(controls(&shard).await, 1);
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, PushReply::Sent(vec![(1, Refusal::Full { live: 1 })]));

    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "10001"]).await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    add(&shard, "room", "in.box!e").await;
    assert_eq!(shard.drain_inbox(INBOX).await.len(), 1, "it is told");
    assert_eq!(shard.inbox_field(INBOX, "quiet").await, None);

    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "7", "control_bytes", "7"]).await;
    shard.keep(&InboxKeep::of(INBOX, owner.id()).unsure()).await;
    let bytes = shard.raw_entry(INBOX, 0).await.0.len();
    assert_eq!(controls(&shard).await, 1, "nor does a sign of life count them");
    assert_eq!(shard.inbox_field(INBOX, "control_bytes").await.unwrap(), bytes.to_string());
}

#[tokio::test]
async fn a_batch_of_nothing_but_ended_memberships_can_be_asked_for_again_and_acknowledged() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    shard.group_add(&Add::to("room", &["in.box!a"]).expiry(SHORT)).await;
    let first = shard.raw_entry(INBOX, 0).await;
    owner.client.ask_batch(101, INBOX).await.unwrap();
    owner.client.ack(101, &first).await;
    until_expired().await;
    let batch = owner.client.ask_batch(102, INBOX).await.unwrap();
    assert_eq!(owner.client.ask_batch(102, INBOX).await.unwrap(), batch);
    owner.client.ack(102, batch.last().unwrap()).await;
    assert_eq!(shard.length(INBOX).await, 0);
}

#[tokio::test]
async fn a_count_that_is_wrong_is_right_again_once_the_inbox_is_empty() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    assert_eq!(controls(&shard).await, 1);
    assert_eq!(owner.read_all().await, [""; 0]);
    shard.send(INBOX, &["ma 1"]).await;
    assert_eq!(controls(&shard).await, 0);
    assert_eq!(owner.read_all().await, ["ma 1"]);
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1"]).await;
    add(&shard, "room", "in.box!b").await;
    add(&shard, "room", "in.box!c").await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1"]).await;
    assert_eq!(owner.read_all().await, ["c2 : +room b", "c3 : +room c"]);
    assert_eq!(controls(&shard).await, 0, "nor does it fall below nothing");
}

/// Shows R42.
#[tokio::test]
async fn control_entries_keep_an_inbox_alive_as_long_as_its_owner_and_an_hour() {
    const HOUR: u64 = 3_600_000;
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    shard.inbox_keep(INBOX, owner.id(), 20_000, &[], &[]).await;
    let left = async || shard.ttl('q', INBOX).await;
    for (expiry, what) in [(100, "briefly"), (10 * HOUR, "for long"), (100, "behind another")] {
        shard.group_add(&Add::to("room", &["in.box!a"]).expiry(expiry)).await;
        assert!((HOUR + 10_000..=HOUR + 20_000).contains(&left().await), "{what}: {}", left().await);
    }
    shard.push(&Push::to(INBOX, &["ma m"]).expiry(2 * HOUR)).await;
    add(&shard, "room", "in.box!b").await;
    assert!(left().await > 2 * HOUR - 10_000, "a message that lives longer is kept");
    shard.drain_inbox(INBOX).await;
    shard.push(&Push::to(INBOX, &["ma m"]).expiry(1000)).await;
    shard.keep(&InboxKeep::of(INBOX, owner.id()).lease(60_000).unsure()).await;
    assert!(
        (HOUR + 50_000..=HOUR + 60_000).contains(&left().await),
        "behind a message that ends: {}",
        left().await
    );
    shard.inbox_keep(INBOX, owner.id(), 0, &[], &[]).await;
    shard.drain_inbox(INBOX).await;
    add(&shard, "room", "in.box!b").await;
    assert!((HOUR - 10_000..=HOUR).contains(&left().await), "after its lease: {}", left().await);
}
