//! Who owns an inbox, which of its mailboxes take messages, and how it ends.

use std::time::Duration;

use super::owner::LONG_LEASE;
use super::{Owner, Shard};
use crate::support::{Add, InboxKeep, Keep, Push, PushReply, Refusal};

const INBOX: &str = "in.box!";

fn full_mailbox(place: u64) -> (u64, Refusal) {
    (place, Refusal::FullMailbox)
}

/// Shows R20.
#[tokio::test]
async fn the_first_to_keep_an_inbox_owns_it_and_others_are_told() {
    let shard = Shard::new().await;
    let before = shard.time().await;
    let Keep::Ok { now, .. } = shard.inbox_keep(INBOX, "one", 1000, &[], &[]).await else { panic!() };
    assert!((before..=shard.time().await).contains(&now));
    let Keep::Ok { now: again, .. } = shard.inbox_keep(INBOX, "one", 1000, &[], &[]).await else { panic!() };
    assert!(again > now);
    assert_eq!(shard.inbox_keep(INBOX, "two", 99_000, &["a"], &[]).await, Keep::Taken);
    assert!(!shard.exists('f', INBOX).await, "nothing was done");
    assert!(shard.ttl('i', INBOX).await <= 3_601_000);
    assert_eq!(shard.inbox_close_step(INBOX, "two").await, None);
    assert!(shard.exists('i', INBOX).await);
}

/// Shows R37.
#[tokio::test]
async fn an_owner_whom_the_server_has_forgotten_is_stale_and_keeps_nothing() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    let keep = InboxKeep::of(INBOX, client.id()).generation(client.generation());
    assert!(matches!(shard.keep(&keep).await, Keep::Ok { .. }));
    shard.command(&["DEL", &shard.key('i', INBOX), &shard.key('c', client.id())]).await;
    assert_eq!(shard.keep(&keep).await, Keep::Stale);
    assert!(!shard.exists('i', INBOX).await);
    client.hello().await;
    assert_eq!(shard.keep(&keep).await, Keep::Stale, "on the connection before");
    let again = InboxKeep::of(INBOX, client.id()).generation(client.generation());
    assert!(matches!(shard.keep(&again).await, Keep::Ok { .. }));
}

#[tokio::test]
async fn a_lost_inbox_is_new_again_and_no_mailbox_is_full() {
    let shard = Shard::new().await;
    shard.inbox_keep(INBOX, "one", 1000, &["a"], &[]).await;
    shard.command(&["DEL", &shard.key('i', INBOX)]).await;
    assert!(matches!(shard.inbox_keep(INBOX, "one", 1000, &["b"], &[]).await, Keep::Ok { marks: 1, .. }));
    let push = Push::to(INBOX, &["ma 1", "mb 2"]);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full_mailbox(2)]));
}

#[tokio::test]
async fn an_inbox_is_remembered_for_its_lease_and_an_hour() {
    let shard = Shard::new().await;
    shard.inbox_keep(INBOX, "one", 20_000, &["a"], &[]).await;
    for kind in ['i', 'f'] {
        let left = shard.ttl(kind, INBOX).await;
        assert!((3_610_000..=3_620_000).contains(&left), "{kind}: {left}");
    }
    shard.inbox_keep(INBOX, "one", 60_000, &[], &[]).await;
    for kind in ['i', 'f'] {
        let left = shard.ttl(kind, INBOX).await;
        assert!((3_650_000..=3_660_000).contains(&left), "{kind}: {left}");
    }
}

/// Shows R27.
#[tokio::test]
async fn a_mailbox_that_was_reported_full_is_refused_until_it_has_room_and_its_neighbours_are_not() {
    let shard = Shard::new().await;
    shard.inbox_keep(INBOX, "one", LONG_LEASE, &["slow", "slower"], &[]).await;
    let push = Push::to("a", &["m 1"])
        .and(INBOX, &["mslow 2", "mother 3", "mslower 4", "mslo 5"])
        .and("b", &["m 6"]);
    let refused = vec![full_mailbox(2), full_mailbox(4)];
    assert_eq!(shard.push(&push).await, PushReply::Sent(refused.clone()));
    assert_eq!(shard.push(&push).await, PushReply::Sent(refused), "into an inbox with messages too");
    assert_eq!(shard.drain_inbox(INBOX).await, ["mother 3", "mslo 5", "mother 3", "mslo 5"]);

    shard.inbox_keep(INBOX, "one", LONG_LEASE, &["third"], &["slow", "unknown"]).await;
    let push = Push::to(INBOX, &["mslow 1", "mslower 2", "mthird 3"]);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full_mailbox(2), full_mailbox(3)]));
    assert_eq!(shard.drain_inbox(INBOX).await, ["mslow 1"]);
    shard.inbox_keep(INBOX, "one", LONG_LEASE, &[], &["slower", "third"]).await;
    assert!(!shard.exists('f', INBOX).await);
}

#[tokio::test]
async fn few_and_many_full_mailboxes_are_told_from_those_whose_names_begin_alike() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    let more: Vec<String> = (0..50).map(|number| format!("more{number}")).collect();
    for full in [1, 4, 5, 50] {
        let marked: Vec<&str> =
            std::iter::once("ab").chain(more.iter().map(String::as_str)).take(full).collect();
        shard.inbox_keep(INBOX, owner.id(), LONG_LEASE, &marked, &[]).await;
        let push = Push::to(INBOX, &["ma 1", "mab 2", "mabc 3", "mb ab ", "mab "]);
        assert_eq!(
            shard.push(&push).await,
            PushReply::Sent(vec![full_mailbox(2), full_mailbox(5)]),
            "{full}"
        );
        assert_eq!(shard.push(&Push::to(INBOX, &["mabc 4"])).await, PushReply::ALL_SENT);
        assert_eq!(shard.drain_inbox(INBOX).await, ["ma 1", "mabc 3", "mb ab ", "mabc 4"]);
    }
}

#[tokio::test]
async fn the_places_of_full_mailboxes_and_of_a_full_inbox_are_told_apart() {
    let shard = Shard::new().await;
    shard.inbox_keep(INBOX, "one", LONG_LEASE, &["slow"], &[]).await;
    let push = Push::to("a", &["m 1"])
        .and(INBOX, &["ma 2", "mslow 3", "ma 4", "mslow 5", "ma 6"])
        .capacity(2)
        .and("other!", &["mslow 7"]);
    let PushReply::Sent(mut refused) = shard.push(&push).await else { panic!() };
    refused.sort_by_key(|(place, _)| *place);
    assert_eq!(refused, [full_mailbox(3), full_mailbox(5), (6, Refusal::Full { live: 2 })]);
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 2", "ma 4"]);
    assert_eq!(shard.drain_inbox("other!").await, ["mslow 7"]);
}

#[tokio::test]
async fn a_call_of_full_mailboxes_alone_sends_nothing_and_wakes_nobody() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.inbox_keep(INBOX, owner.id(), LONG_LEASE, &["slow"], &[]).await;
    owner.wait().await;
    let push = Push::to(INBOX, &["mslow 1"]);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![full_mailbox(1)]));
    assert!(!shard.exists('q', INBOX).await);
    assert_eq!(owner.client.wakes().await, []);
}

#[tokio::test]
async fn marks_of_full_mailboxes_that_are_none_stop_no_push() {
    let shard = Shard::new().await;
    shard.command(&["SET", &shard.key('f', INBOX), "text"]).await;
    let push = Push::to("a", &["m 1"]).and(INBOX, &["ma 2"]);
    assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    assert_eq!(shard.drain_inbox(INBOX).await, ["ma 2"]);
}

/// What is known of an inbox is asked for only when it is full, which may be in the middle of a call.
#[tokio::test]
async fn an_owner_that_is_none_stops_no_push_and_no_pop() {
    let shard = Shard::new().await;
    shard.command(&["SET", &shard.key('i', INBOX), "text"]).await;
    let push = Push::to("a", &["m 1"]).and(INBOX, &["ma 2", "ma 3"]).capacity(1).and("b", &["m 4"]);
    assert_eq!(shard.push(&push).await, PushReply::Sent(vec![(3, Refusal::Full { live: 1 })]));
    assert_eq!(shard.drain("b").await, ["m 4"]);

    let control = [&[0_u8; 10][..], &4_102_444_800_000_u64.to_be_bytes(), b"c1 : +room a 1"].concat();
    let _: u64 = shard.ask(redis::cmd("RPUSH").arg(shard.key('q', INBOX)).arg(control)).await;
    let client = shard.client().await;
    let batch = client.ask_batch(1, INBOX).await.unwrap();
    assert_eq!(batch.len(), 2);
    client.ack(1, &batch[1]).await;
    assert_eq!(client.ask_batch(2, INBOX).await, None);
}

/// Shows R29.
#[tokio::test]
async fn closing_takes_the_members_out_of_their_groups_in_steps_and_then_removes_the_inbox() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    let groups: Vec<String> = (0..250).map(|number| format!("room{number}")).collect();
    for group in &groups {
        shard.group_add(&Add::to(group, &["in.box!a", "in.box!b", "chat"])).await;
    }
    shard.inbox_keep(INBOX, owner.id(), LONG_LEASE, &["a"], &[]).await;
    shard.send("chat", &["m stays"]).await;

    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        assert!(shard.exists('i', INBOX).await, "it is its owner's to the end");
        steps.push(shard.inbox_close_step(INBOX, owner.id()).await.unwrap());
    }
    assert_eq!(steps, [150, 50, 0]);
    let keys = shard.keys().await;
    assert!(keys.iter().all(|key| !key.contains(INBOX)), "{keys:?}");
    assert_eq!(shard.group_list("room7").await.0, ["chat"]);
    assert_eq!(shard.channel_groups("chat").await.len(), 250);
    assert_eq!(shard.drain("chat").await, ["m stays"]);
    assert_eq!(shard.inbox_close_step(INBOX, owner.id()).await, Some(0), "closing again is no error");
}

/// Shows R29.
#[tokio::test]
async fn who_closes_an_inbox_leaves_nothing_of_it() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a"])).await;
    owner.read_all().await;
    assert_eq!(shard.inbox_close_step(INBOX, owner.id()).await, Some(0));
    let keys: Vec<String> = shard.keys().await.into_iter().collect();
    assert_eq!(keys, [format!("c:{}", owner.id()), "schema".to_owned()]);
}

#[tokio::test]
async fn a_lease_that_ended_is_renewed_by_the_same_owner() {
    let shard = Shard::new().await;
    shard.inbox_keep(INBOX, "one", 1, &[], &[]).await;
    shard.group_add(&Add::to("room", &["in.box!a"])).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(shard.group_len("room").await, 0);
    assert!(matches!(shard.inbox_keep(INBOX, "one", LONG_LEASE, &[], &[]).await, Keep::Ok { .. }));
    assert_eq!(shard.group_len("room").await, 1);
}
