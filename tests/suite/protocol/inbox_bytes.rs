//! The bytes of an inbox: messages of over 4 KiB are refused where others wait and the list would have more than its owner said.

use super::health::{RIGHTS, as_user};
use super::{Owner, Shard};
use crate::support::{Add, GroupSend, InboxKeep, Push, PushReply, Receipt, Refusal, Server};

const INBOX: &str = "in.box!";
const MIB: usize = 1 << 20;

fn body(bytes: usize) -> Vec<u8> {
    [&b"ma "[..], &vec![b'x'; bytes]].concat()
}

/// A shard on which an owner that reads nothing has an inbox of so many bytes.
async fn inbox_of(bytes: usize) -> (Shard, Owner) {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    shard.keep(&InboxKeep::of(INBOX, owner.id()).bytes(bytes)).await;
    (shard, owner)
}

async fn push(shard: &Shard, bodies: &[Vec<u8>]) -> PushReply {
    shard.push(&Push::to(INBOX, bodies).capacity(10_000)).await
}

#[tokio::test]
async fn a_large_message_has_no_room_where_the_list_would_have_more() {
    let (shard, _owner) = inbox_of(2 * MIB).await;
    let mut sent = 0;
    while push(&shard, &[body(MIB / 4)]).await == PushReply::ALL_SENT {
        sent += 1;
    }
    // A server's allocator gives some more bytes than are asked for.
    assert!((6..=7).contains(&sent), "{sent} of a quarter of a MiB");
    assert_eq!(push(&shard, &[body(MIB / 4)]).await, PushReply::Sent(vec![(1, Refusal::InboxHasBytes)]));
    assert_eq!(shard.length(INBOX).await, sent, "it was taken back");
    // A smaller one still fits, and those of up to 4 KiB always do.
    assert_eq!(push(&shard, &[body(MIB / 16)]).await, PushReply::ALL_SENT);
    for _ in 0..300 {
        assert_eq!(push(&shard, &[body(4000)]).await, PushReply::ALL_SENT);
    }
    assert_eq!(push(&shard, &[body(4200)]).await, PushReply::Sent(vec![(1, Refusal::InboxHasBytes)]));
}

#[tokio::test]
async fn of_a_batch_the_last_ones_are_refused() {
    let (shard, _owner) = inbox_of(MIB).await;
    assert_eq!(push(&shard, &[body(1)]).await, PushReply::ALL_SENT);
    let batch = [body(MIB / 2), body(MIB / 4), body(MIB / 3), body(10)];
    let refused = vec![(3, Refusal::InboxHasBytes), (4, Refusal::InboxHasBytes)];
    assert_eq!(push(&shard, &batch).await, PushReply::Sent(refused));
    assert_eq!(shard.length(INBOX).await, 3);
}

#[tokio::test]
async fn one_message_has_room_where_no_other_waits() {
    let (shard, _owner) = inbox_of(MIB).await;
    assert_eq!(push(&shard, &[body(3 * MIB)]).await, PushReply::ALL_SENT);
    assert_eq!(push(&shard, &[body(5000)]).await, PushReply::Sent(vec![(1, Refusal::InboxHasBytes)]));
    assert_eq!(push(&shard, &[body(5)]).await, PushReply::ALL_SENT);
}

#[tokio::test]
async fn a_message_to_a_group_finds_such_an_inbox_full() {
    let (shard, _owner) = inbox_of(MIB).await;
    shard.group_add(&Add::to("room", &["in.box!a", "plain"]).capacity(1000)).await;
    let large = "x".repeat(MIB / 3);
    let send = GroupSend::to("room", &large).names();
    let mut sent = 0;
    let receipt = loop {
        let receipt = shard.group_send(&send).await.unwrap();
        if receipt.full > 0 {
            break receipt;
        }
        sent += 1;
    };
    assert_eq!(sent, 2);
    assert_eq!(
        receipt,
        Receipt { delivered: 1, full: 1, names: vec![INBOX.to_owned()], ..Receipt::default() }
    );
    assert_eq!(shard.length("plain").await, 3, "a queue that is no inbox is bounded by its messages alone");
    let small = shard.group_send(&GroupSend::to("room", "small")).await.unwrap();
    assert_eq!((small.delivered, small.full), (2, 0));
}

#[tokio::test]
async fn an_inbox_whose_owner_said_nothing_has_64_mebibytes() {
    let shard = Shard::new().await;
    let mut sent = 0;
    while push(&shard, &[body(MIB)]).await == PushReply::ALL_SENT {
        sent += 1;
    }
    // A server's allocator gives some more bytes than are asked for.
    assert!((50..=63).contains(&sent), "{sent} of a MiB");
    assert_eq!(push(&shard, &[body(MIB)]).await, PushReply::Sent(vec![(1, Refusal::InboxHasBytes)]));
    assert_eq!(shard.length(INBOX).await, sent);
    assert!((50_000..=60_000).contains(&shard.ttl('q', INBOX).await));
}

#[tokio::test]
async fn a_user_without_the_right_to_ask_for_bytes_is_held_to_the_messages_alone() {
    let server = Server::private();
    let user = as_user(&server, &[RIGHTS, &["-memory|usage"]].concat()).await;
    user.load().await;
    user.keep(&InboxKeep::of(INBOX, "owner").bytes(MIB)).await;
    for _ in 0..4 {
        let push = Push::to(INBOX, &[body(MIB)]).capacity(4);
        assert_eq!(user.push(&push).await, PushReply::ALL_SENT);
    }
    let push = Push::to(INBOX, &[body(MIB)]).capacity(4);
    assert_eq!(user.push(&push).await, PushReply::Sent(vec![(1, Refusal::Full { live: 4 })]));
}
