//! Control entries: what the owner of an inbox is told of its groups, in order with the messages.

use std::time::Duration;

use super::{Owner, Shard};
use crate::support::{Add, Discard, GroupSend, Push, PushReply, Refusal};

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

/// Shows R23.
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
    add(&shard, "other", "in.box!b").await;
    shard.group_leave("in.box!b").await;
    let expected = [
        "=room a",
        "groom 1",
        "+room b",
        "+room c",
        "ma direct",
        "-room a",
        "groom 2",
        "=other b",
        "-other b",
        "-room b",
    ];
    assert_eq!(owner.read_all().await, expected);
    assert_eq!(controls(&shard).await, 0);
}

#[tokio::test]
async fn the_deadline_of_a_control_entry_is_that_of_the_membership() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let now = shard.group_add(&Add::to("room", &["in.box!a", "in.box!b"]).expiry(12_345)).await.unwrap();
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    let batch = owner.read().await;
    for entry in &batch {
        assert_eq!(entry.deadline(), now / 1000 + 12_345, "{entry:?}");
    }
    assert_eq!((batch[0].microseconds(), batch[1].microseconds()), (now, now));
    assert!(batch[0].id() < batch[1].id() && batch[1].id() < batch[2].id());
    assert!(batch[2].microseconds() > now);
}

#[tokio::test]
async fn the_first_member_of_an_inbox_is_told_apart_also_after_all_had_left() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    add(&shard, "room", "in.box!a").await;
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    add(&shard, "room", "in.box!b").await;
    assert_eq!(owner.read_all().await, ["=room a", "+room a", "-room a", "=room b"]);
}

#[tokio::test]
async fn a_reader_that_waits_is_handed_a_control_entry() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let ticket = owner.wait().await;
    add(&shard, "room", "in.box!a").await;
    let wake = owner.client.wake().await;
    assert_eq!((wake.ticket, &*wake.entry.text()), (ticket, "=room a"));
    assert_eq!(controls(&shard).await, 1);
    owner.client.ack(ticket, &wake.entry).await;
    assert_eq!(controls(&shard).await, 0);
    let ticket = owner.wait().await;
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    assert_eq!(owner.client.wake().await.ticket, ticket);
}

#[tokio::test]
async fn an_inbox_without_an_owner_is_told_nothing() {
    let shard = Shard::new().await;
    add(&shard, "room", "in.box!a").await;
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    assert!(!shard.exists('q', INBOX).await);
    assert!(!shard.exists('i', INBOX).await);
}

/// Shows R26.
#[tokio::test]
async fn what_an_owner_does_itself_it_is_not_told() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a", "in.box!b"]).keep()).await;
    assert_eq!(shard.group_discard(&Discard::from("room", &["in.box!a"]).quiet()).await.unwrap(), 1);
    assert_eq!(owner.read_all().await, [""; 0]);
    assert_eq!(shard.group_list("room").await.0, ["in.box!b"]);
    assert_eq!(controls(&shard).await, 0);
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
    shard.group_add(&Add::to("room", &["in.box!a", "in.box!b"]).expiry(SHORT)).await;
    assert_eq!(
        shard.push(&Push::to(INBOX, &["ma old"]).capacity(1).expiry(SHORT)).await,
        PushReply::ALL_SENT
    );
    add(&shard, "room", "in.box!keeps.the.key").await;
    until_expired().await;
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_ne!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(owner.read_all().await.last().unwrap(), "ma m");
    assert_eq!(controls(&shard).await, 0);
}

/// The reader applies each in its turn; of two that change one membership, the second alone may have expired.
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
    let batch = owner.read().await;
    let texts: Vec<String> = batch.iter().map(crate::support::Entry::text).collect();
    assert_eq!(texts, ["=room a", "+room a", "ma m"]);
    assert!(batch[1].deadline() < batch[0].deadline());
}

/// Else the reader would still know the longer one.
#[tokio::test]
async fn that_a_membership_is_shorter_now_is_told_as_long_as_the_longer_one_would_have_lasted() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    owner.read_all().await;
    shard.group_add(&Add::to("room", &["in.box!a"]).expiry(SHORT)).await;
    assert!(shard.ttl('q', INBOX).await > 50_000);
    until_expired().await;
    assert_eq!(owner.read_all().await, ["+room a"]);
}

#[tokio::test]
async fn the_count_is_right_as_soon_as_a_batch_was_acknowledged() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a", "in.box!b"])).await;
    let batch = owner.client.ask_batch(101, INBOX).await.unwrap();
    shard.send(INBOX, &["ma m"]).await;
    add(&shard, "room", "in.box!c").await;
    owner.client.ack(101, &batch[1]).await;
    assert_eq!((controls(&shard).await, shard.length(INBOX).await), (1, 2));
    let batch = owner.client.ask_batch(102, INBOX).await.unwrap();
    owner.client.ack(102, &batch[0]).await;
    assert_eq!(controls(&shard).await, 1);
}

#[tokio::test]
async fn control_entries_of_every_kind_are_counted() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a", "in.box!b"])).await;
    shard.group_discard(&Discard::from("room", &["in.box!a"])).await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1000"]).await;
    add(&shard, "room", "in.box!c").await;
    shard.send(INBOX, &["ma 1"]).await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "9"]).await;
    let batch = owner.client.ask_batch(101, INBOX).await.unwrap();
    let texts: Vec<String> = batch.iter().map(crate::support::Entry::text).collect();
    assert_eq!(texts, ["=room a", "+room b", "-room a", "r", "ma 1"]);
    for (place, left) in [8, 7, 6, 5].into_iter().enumerate() {
        owner.client.ask_batch(102 + place as u64, INBOX).await.unwrap();
        owner.client.ack(102 + place as u64, &batch[place]).await;
        assert_eq!(controls(&shard).await, left, "{:?}", batch[place]);
    }
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1"]).await;
    shard.group_add(&Add::to("room", &["in.box!d", "in.box!e", "in.box!f"])).await;
    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1"]).await;
    let batch = owner.client.ask_batch(201, INBOX).await.unwrap();
    shard.send(INBOX, &["ma 2"]).await;
    owner.client.ack(201, batch.last().unwrap()).await;
    assert_eq!(controls(&shard).await, 0, "never fewer than none");
    assert_eq!(owner.read_all().await, ["ma 2"]);
}

/// An inbox may have ended with all that stood in it, by the time of its key or by other hands.
#[tokio::test]
async fn control_entries_that_are_gone_give_no_room() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a", "in.box!b", "in.box!c"])).await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, PushReply::Sent(vec![(1, Refusal::Full { live: 1 })]));

    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "3"]).await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    add(&shard, "room", "in.box!d").await;
    assert_eq!(controls(&shard).await, 1);
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, 1).await, PushReply::Sent(vec![(1, Refusal::Full { live: 1 })]));

    shard.command(&["HSET", &shard.key('i', INBOX), "controls", "1001"]).await;
    shard.command(&["DEL", &shard.key('q', INBOX)]).await;
    add(&shard, "room", "in.box!e").await;
    assert_eq!(shard.drain_inbox(INBOX).await, ["+room e"]);
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

/// Shows R25.
#[tokio::test]
async fn after_a_thousand_that_wait_one_entry_stands_for_all_further_ones() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let names: Vec<String> = (0..1500).map(|number| format!("in.box!a{number}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    shard.group_discard(&Discard::from("room", &["in.box!a0"])).await;
    assert_eq!((shard.length(INBOX).await, controls(&shard).await), (1001, 1001));
    assert!(shard.ttl('q', INBOX).await > 23 * 3_600_000, "the last one stays when memberships have ended");
    assert_eq!(push(&shard, 1).await, PushReply::ALL_SENT);
    let last = shard.raw_entry(INBOX, 1000).await;
    assert_eq!((last.text(), last.deadline()), ("r".to_owned(), 4_102_444_800_000));
    let read = owner.read_all().await;
    assert_eq!((&*read[999], &*read[1000], &*read[1001]), ("+room a999", "r", "ma m"));
    assert_eq!(read.len(), 1002);
    let mut members = shard.inbox_members(INBOX).await;
    members.dedup();
    assert_eq!(members.len(), 1499);

    add(&shard, "room", "in.box!new").await;
    assert_eq!(owner.read_all().await, ["+room new"]);
}

/// Shows R25.
#[tokio::test]
async fn an_owner_that_reads_its_groups_anew_is_told_of_changes_again() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let names: Vec<String> = (0..1100).map(|number| format!("in.box!a{number}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    add(&shard, "room", "in.box!untold").await;
    assert_eq!(shard.length(INBOX).await, 1001);
    shard.inbox_groups_step(INBOX, "room", "0").await;
    add(&shard, "room", "in.box!untold.too").await;
    assert_eq!(shard.length(INBOX).await, 1001, "a further step changes nothing");
    shard.inbox_groups_step(INBOX, "", "0").await;
    add(&shard, "room", "in.box!told").await;
    let read = owner.read_all().await;
    assert_eq!(read[1000..], ["r", "+room told"]);
    shard.inbox_groups_step("nobodys!", "", "0").await;
    assert!(!shard.exists('i', "nobodys!").await);
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
    assert_eq!(owner.read_all().await, ["+room b", "+room c"]);
    assert_eq!(controls(&shard).await, 0, "nor does it fall below nothing");
}

/// Else an owner that was no longer told of changes would never be again, for nothing waits that could tell it.
#[tokio::test]
async fn after_a_flush_an_owner_is_told_of_changes() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let names: Vec<String> = (0..1100).map(|number| format!("in.box!a{number}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    let mut cursor = "0".to_owned();
    loop {
        cursor = shard.flush_step(&cursor, 1000).await.0;
        if cursor == "0" {
            break;
        }
    }
    shard.send(INBOX, &["ma m"]).await;
    add(&shard, "room", "in.box!a").await;
    assert_eq!(owner.read_all().await, ["ma m", "=room a"]);
}

#[tokio::test]
async fn control_entries_keep_an_inbox_alive_as_long_as_they_matter() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    for (expiry, least, most) in [(20_000, 10_000, 20_000), (60_000, 50_000, 60_000), (100, 50_000, 60_000)] {
        shard.group_add(&Add::to("room", &["in.box!a"]).expiry(expiry)).await;
        let left = shard.ttl('q', INBOX).await;
        assert!((least..=most).contains(&left), "{left} after {expiry}");
    }
}

#[tokio::test]
async fn an_inbox_that_is_none_hinders_no_group() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    shard.command(&["SET", &shard.key('q', INBOX), "text"]).await;
    shard.group_add(&Add::to("room", &["in.box!a", "chat"])).await;
    assert_eq!(shard.group_len("room").await, 2);
    let receipt = shard.group_send(&GroupSend::to("room", "hi")).await.unwrap();
    assert_eq!((receipt.delivered, receipt.failed), (1, 1));
    assert_eq!(shard.group_discard(&Discard::from("room", &["in.box!a"])).await.unwrap(), 1);
}

#[tokio::test]
async fn owners_are_told_of_a_flush_and_read_that_nobody_is_in_a_group() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    add(&shard, "room", "in.box!a").await;
    assert_eq!(owner.read_all().await, ["=room a"]);
    assert_eq!(shard.flush_step("0", 1_000_000).await.0, "0");
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await, ("0".to_owned(), 1));
    assert_eq!(owner.read_all().await, ["r"]);
    assert_eq!(controls(&shard).await, 0);
}
