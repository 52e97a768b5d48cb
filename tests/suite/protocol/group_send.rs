//! A send to a group: one entry for each queue, and a receipt.

use std::time::Duration;

use super::owner::LONG_LEASE;
use super::{Owner, Shard};
use crate::support::{Add, Discard, Fenced, GroupSend, Push, PushReply, Receipt};

const SHORT: u64 = 200;

async fn until_expired() {
    tokio::time::sleep(Duration::from_millis(SHORT + 50)).await;
}

fn delivered(delivered: u64) -> Receipt {
    Receipt { delivered, ..Receipt::default() }
}

async fn send(shard: &Shard, group: &str, payload: &str) -> Receipt {
    shard.group_send(&GroupSend::to(group, payload)).await.unwrap()
}

#[tokio::test]
async fn each_queue_gets_one_entry_however_many_members_it_has() {
    let shard = Shard::new().await;
    let (mut one, mut two) = (Owner::new(&shard, "one!").await, Owner::new(&shard, "two!").await);
    shard.group_add(&Add::to("room", &["one!a", "one!b", "one!c", "two!a", "chat", "body?x"])).await;
    one.read_all().await;
    two.read_all().await;
    let before = shard.time().await;
    let receipt = shard.group_send(&GroupSend::to("room", "hi").expiry(12_345)).await.unwrap();
    assert_eq!(receipt, delivered(4));
    for batch in [one.read().await, two.read().await] {
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].text(), "groom hi");
        assert!((before..=shard.time().await).contains(&batch[0].microseconds()));
        assert_eq!(batch[0].deadline(), batch[0].microseconds() / 1000 + 12_345);
    }
    assert_eq!(shard.drain("chat").await, ["groom hi"]);
    assert_eq!(shard.drain("body?x").await, ["groom hi"]);
    assert_eq!(send(&shard, "nobody.is.here", "hi").await, delivered(0));
}

#[tokio::test]
async fn a_payload_is_any_bytes() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["chat"])).await;
    let payload: Vec<u8> = (0..=255).collect();
    shard.group_send(&GroupSend::to("room", &payload)).await;
    assert_eq!(shard.take("chat").await.unwrap().body(), [b"groom ", &payload[..]].concat());
}

#[tokio::test]
async fn a_queue_lives_as_long_as_what_was_sent_to_it() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["chat"])).await;
    for (expiry, least, most) in [(20_000, 10_000, 20_000), (60_000, 50_000, 60_000), (100, 50_000, 60_000)] {
        shard.group_send(&GroupSend::to("room", "hi").expiry(expiry)).await;
        let left = shard.ttl('q', "chat").await;
        assert!((least..=most).contains(&left), "{left} after {expiry}");
    }
}

#[tokio::test]
async fn a_full_queue_is_passed_over_counted_and_named_when_asked() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a", "small"]).capacity(1)).await;
    shard.group_add(&Add::to("room", &["large"]).capacity(2)).await;
    assert_eq!(send(&shard, "room", "1").await, delivered(3));
    let receipt = shard.group_send(&GroupSend::to("room", "2").names()).await.unwrap();
    let names = vec!["one!".to_owned(), "small".to_owned()];
    assert_eq!(receipt, Receipt { delivered: 1, full: 2, names, ..Receipt::default() });
    assert_eq!(send(&shard, "room", "3").await, Receipt { full: 3, ..Receipt::default() });
    assert_eq!(shard.drain("large").await, ["groom 1", "groom 2"]);
    assert_eq!(shard.drain("small").await, ["groom 1"]);
    assert_eq!(one.read_all().await, ["c1 : +room a", "groom 1"]);
    assert_eq!(send(&shard, "room", "4").await, delivered(3));
}

#[tokio::test]
async fn the_capacity_is_the_one_of_who_added_last() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["chat"]).capacity(1)).await;
    assert_eq!(send(&shard, "room", "1").await.delivered, 1);
    assert_eq!(send(&shard, "room", "2").await.full, 1);
    shard.group_add(&Add::to("room", &["chat"]).capacity(2)).await;
    assert_eq!(send(&shard, "room", "3").await.delivered, 1);
    assert_eq!(shard.length("chat").await, 2);
}

#[tokio::test]
async fn expired_messages_make_room_for_a_group_too() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["chat"]).capacity(2)).await;
    shard.group_send(&GroupSend::to("room", "old").expiry(SHORT)).await;
    shard.send("chat", &["m keeps the key alive"]).await;
    assert_eq!(send(&shard, "room", "1").await.full, 1);
    until_expired().await;
    assert_eq!(send(&shard, "room", "2").await.delivered, 1);
    assert_eq!(shard.drain("chat").await, ["m keeps the key alive", "groom 2"]);
}

#[tokio::test]
async fn a_mailbox_that_was_reported_full_hinders_no_group() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a"])).await;
    shard.inbox_keep("one!", one.id(), LONG_LEASE, &["a", "", "room"], &[]).await;
    assert_eq!(send(&shard, "room", "hi").await, delivered(1));
    assert_eq!(one.read_all().await, ["c1 : +room a", "groom hi"]);
}

#[tokio::test]
async fn a_queue_whose_last_membership_ended_is_counted_once_and_forgotten() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a", "chat"]).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &["stays"])).await;
    until_expired().await;
    assert_eq!(send(&shard, "room", "1").await, Receipt { delivered: 1, expired: 2, ..Receipt::default() });
    assert_eq!(send(&shard, "room", "2").await, delivered(1));
    assert!(!one.read_all().await.contains(&"groom 1".to_owned()));
    for (kind, name) in [('m', "room one!"), ('s', "one!"), ('m', "room chat"), ('s', "chat"), ('q', "chat")]
    {
        assert!(!shard.exists(kind, name).await, "{kind}:{name}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_fails_for_its_queue_alone() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["a", "bad", "c"])).await;
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    let receipt = shard.group_send(&GroupSend::to("room", "hi").names()).await.unwrap();
    assert_eq!(receipt, Receipt { delivered: 2, failed: 1, ..Receipt::default() });
    assert_eq!(shard.drain("c").await, ["groom hi"]);
}

/// Else one key of another's making would silence the group from the day on which a membership ended.
#[tokio::test]
async fn keys_that_are_none_do_not_stop_the_removal_of_a_queue_nor_the_send() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["a", "bad"]).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &["c"])).await;
    shard.command(&["SET", &shard.key('s', "bad"), "text"]).await;
    until_expired().await;
    assert_eq!(send(&shard, "room", "1").await, Receipt { delivered: 1, expired: 2, ..Receipt::default() });
    assert_eq!(send(&shard, "room", "2").await, delivered(1));
    assert_eq!(shard.drain("c").await, ["groom 1", "groom 2"]);
}

#[tokio::test]
async fn an_owner_that_is_none_counts_as_dead() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["one!a", "chat"])).await;
    shard.command(&["SET", &shard.key('i', "one!"), "text"]).await;
    assert_eq!(send(&shard, "room", "1").await, Receipt { delivered: 1, expired: 1, ..Receipt::default() });
    assert_eq!(shard.group_len("room").await, 1);
}

#[tokio::test]
async fn a_row_that_is_none_is_forgotten() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["a", "b", "c"])).await;
    shard.command(&["HSET", &shard.key('d', "room"), "a", "text"]).await;
    shard.command(&["HDEL", &shard.key('d', "room"), "b"]).await;
    assert_eq!(send(&shard, "room", "1").await, Receipt { delivered: 1, expired: 2, ..Receipt::default() });
    assert_eq!(shard.group_list("room").await.0, ["c"]);
}

#[tokio::test]
async fn what_a_replaced_connection_sends_reaches_nobody() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.group_add(&Add::to("room", &["chat"])).await;
    let send = GroupSend::to("room", "hi");
    assert_eq!(shard.group_send(&send.clone().fence(client.id(), 0)).await, Fenced::Stale);
    assert!(!shard.exists('q', "chat").await);
    let sent = shard.group_send(&send.fence(client.id(), client.generation())).await;
    assert_eq!(sent, Fenced::Ok(delivered(1)));
}

#[tokio::test]
async fn direct_messages_and_those_of_groups_keep_their_order() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a"])).await;
    for number in 0..5 {
        shard.send("one!", &[format!("ma {number}")]).await;
        send(&shard, "room", &number.to_string()).await;
    }
    let expected = (0..5).flat_map(|number| [format!("ma {number}"), format!("groom {number}")]);
    assert_eq!(one.read_all().await[1..], expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_ticket_that_waits_on_a_member_is_handed_the_message() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    client.ask(1, &["other", "chat"]).await;
    shard.group_add(&Add::to("room", &["chat"]).capacity(0)).await;
    assert_eq!(send(&shard, "room", "hi").await, delivered(1));
    let wake = client.wake().await;
    assert_eq!((wake.ticket, &*wake.queue, &*wake.entry.text()), (1, "chat", "groom hi"));
    assert_eq!(shard.length("chat").await, 0);
    assert_eq!(send(&shard, "room", "no room").await.full, 1);
}

#[tokio::test]
async fn a_reader_that_waits_on_its_inbox_is_handed_the_message() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a"])).await;
    one.read_all().await;
    let ticket = one.wait().await;
    assert_eq!(send(&shard, "room", "hi").await, delivered(1));
    let wake = one.client.wake().await;
    assert_eq!((wake.ticket, &*wake.entry.text()), (ticket, "groom hi"));
    assert_eq!(one.client.ask_batch(ticket, "one!").await.unwrap(), [wake.entry]);
}

#[tokio::test]
async fn many_queues_are_sent_to_in_steps_and_each_once() {
    let shard = Shard::new().await;
    let names: Vec<String> = (0..2300).map(|number| format!("chat{number:04}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    let mut cursor = String::new();
    let mut steps = Vec::new();
    loop {
        let step = shard.group_send(&GroupSend::to("room", "hi").at(&cursor)).await.unwrap();
        steps.push(step.delivered);
        cursor = step.cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(steps, [1000, 1000, 300]);
    for name in &names {
        assert_eq!(shard.length(name).await, 1, "{name}");
    }
}

/// Lua can hand on some 8,000 values at once.
#[tokio::test]
async fn a_thousand_full_queues_are_all_named() {
    let shard = Shard::new().await;
    let names: Vec<String> = (0..1000).map(|number| format!("chat{number:03}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some).capacity(0)).await;
    }
    assert_eq!(shard.group_send(&GroupSend::to("room", "hi").names()).await.unwrap().names, names);
}

#[tokio::test]
async fn who_left_or_whose_owner_died_gets_nothing() {
    let shard = Shard::new().await;
    let (mut one, mut two) = (Owner::new(&shard, "one!").await, Owner::new(&shard, "two!").await);
    shard.group_add(&Add::to("room", &["one!a", "two!a", "chat"])).await;
    shard.group_discard(&Discard::from("room", &["one!a", "chat"])).await;
    shard.inbox_keep("two!", two.id(), 1, &[], &[]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(send(&shard, "room", "hi").await, Receipt { expired: 1, ..Receipt::default() });
    assert_eq!(one.read_all().await, ["c1 : +room a", "c2 : -room a"]);
    assert_eq!(two.read_all().await, ["c1 : +room a"]);
    assert!(!shard.exists('q', "chat").await);
}

#[tokio::test]
async fn the_members_of_a_dead_owner_stay_as_long_as_it_may_come_back() {
    let shard = Shard::new().await;
    let one = Owner::new(&shard, "one!").await;
    let expired = Receipt { expired: 1, ..Receipt::default() };
    let age = async |ms: u64| {
        // The row's last number is the time of the last addition.
        let mut row: Vec<u8> = shard.ask(redis::cmd("HGET").arg(shard.key('d', "room")).arg("one!")).await;
        let added = u64::from_be_bytes(row.split_off(16).try_into().unwrap());
        row.extend((added - ms).to_be_bytes());
        let changed: i64 =
            shard.ask(redis::cmd("HSET").arg(shard.key('d', "room")).arg("one!").arg(row)).await;
        assert_eq!(changed, 0);
    };
    shard.group_add(&Add::to("room", &["one!a"])).await;
    shard.inbox_keep("one!", one.id(), 1, &[], &[]).await;
    age(100_000).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..2 {
        assert_eq!(send(&shard, "room", "hi").await, expired, "the server remembers the owner");
    }
    shard.command(&["DEL", &shard.key('i', "one!")]).await;
    shard.group_add(&Add::to("room", &["one!b"])).await;
    age(50_000).await;
    for _ in 0..2 {
        assert_eq!(send(&shard, "room", "hi").await, expired, "somebody was added just now");
    }
    assert_eq!(shard.inbox_members("one!").await.len(), 2);
    age(20_000).await;
    assert_eq!(send(&shard, "room", "hi").await, expired);
    assert_eq!(send(&shard, "room", "hi").await, delivered(0));
    assert_eq!(shard.inbox_members("one!").await, []);
    assert!(!shard.keys().await.iter().any(|key| key.contains("room")));
}

#[tokio::test]
async fn a_queue_with_a_member_left_gets_the_message() {
    let shard = Shard::new().await;
    let mut one = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("room", &["one!a"]).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &["one!b"])).await;
    shard.group_add(&Add::to("room", &["one!c"]).expiry(SHORT)).await;
    until_expired().await;
    assert_eq!(send(&shard, "room", "hi").await, delivered(1), "one member is left");
    assert!(one.read_all().await.contains(&"groom hi".to_owned()));
    assert_eq!(shard.push(&Push::to("one!", &["mb 1"])).await, PushReply::ALL_SENT);
}
