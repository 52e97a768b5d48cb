//! Process-specific channels: an inbox is read by its own client only, by mailbox or by the prefix.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::future::join_all;

use super::subject::Subject;
use super::support::{
    Client, address, mailed, moment, next, nothing, plain, poll_at_most, receive, soon, until,
};
use crate::{ChannelLayerExt, ErrorKind};

/// Fails unless every way of receiving from a channel is refused.
async fn is_not_received_from(client: &Client, channel: &str) {
    for channels in [vec![channel], vec!["normal", channel]] {
        let refused = soon("the refusal", client.receive::<u64>(channels.clone())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName, "{refused}");
        let refused = soon("the refusal", client.try_receive::<u64>(channels)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName, "{refused}");
    }
}

pub(super) async fn a_mailbox_gets_what_any_client_sends_to_its_name(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("websocket.send").await.unwrap();
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for (sender, number) in [(&owner, 1), (&other, 2)] {
        sender.send(one.name(), &number).await.unwrap();
        sender.send(two.name(), &(number + 10)).await.unwrap();
        assert_eq!(mailed(&mut one).await, number);
        assert_eq!(mailed(&mut two).await, number + 10);
    }
    assert!(nothing(one.receive::<u64>()).await, "each came once");
}

pub(super) async fn a_mailbox_is_a_stream_of_messages(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for number in 0..3 {
        sender.send(mailbox.name(), &number).await.unwrap();
    }
    for expected in 0..3 {
        let message = soon("a message", mailbox.next()).await.expect("the stream goes on");
        assert_eq!(message.unpack::<u64>().unwrap(), expected);
    }
}

pub(super) async fn a_receive_that_waits_in_a_mailbox_is_woken(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let name = mailbox.name().clone();
    for number in 0..3 {
        let waits = tokio::spawn(async move { (mailed(&mut mailbox).await, mailbox) });
        moment().await;
        sender.send(&name, &number).await.unwrap();
        let received;
        (received, mailbox) = waits.await.unwrap();
        assert_eq!(received, number);
    }
}

pub(super) async fn an_inbox_is_read_by_its_prefix_with_the_full_channel(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("http.response").await.unwrap();
    // Addresses are the owner's own, and need not be told to anybody.
    for (local, number) in [("a", 0_u64), ("b", 1), ("a", 2), ("-_.9", 3)] {
        sender.send(address(&inbox, local), &number).await.unwrap();
        let whole = [inbox.name().as_str()];
        let received = if number % 2 == 0 { next(&inbox).await } else { receive(&owner, &whole).await };
        assert_eq!(received, (address(&inbox, local), number));
    }
}

pub(super) async fn what_was_sent_before_an_inbox_is_read_waits_for_it(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    for number in 0..20_u64 {
        sender.send(address(&inbox, "x"), &number).await.unwrap();
    }
    moment().await;
    for number in 0..20 {
        assert_eq!(next(&inbox).await, (address(&inbox, "x"), number));
    }
}

pub(super) async fn mailboxes_and_the_whole_inbox_are_read_side_by_side(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    assert!(poll_at_most(1, inbox.next::<u64>()).await.is_none());
    let mut mailbox = inbox.open_mailbox().unwrap();
    for number in 0..20 {
        sender.send(mailbox.name(), &number).await.unwrap();
        sender.send(address(&inbox, "x"), &(number + 100)).await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(mailed(&mut mailbox).await, number);
        assert_eq!(next(&inbox).await, (address(&inbox, "x"), number + 100));
    }
}

pub(super) async fn try_receive_takes_from_an_inbox_what_has_come(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mixed = [inbox.name().as_str(), "normal"];
    let look = async || soon("a look", owner.try_receive::<u64>(mixed)).await.unwrap();
    assert!(look().await.is_none());
    for (channel, number) in [(address(&inbox, "x"), 1), ("normal".parse().unwrap(), 2)] {
        sender.send(&channel, &number).await.unwrap();
        let mut found = None;
        until("it has come", async || {
            found = look().await;
            found.is_some()
        })
        .await;
        assert_eq!(found, Some((channel, number)));
    }
    assert!(look().await.is_none());
}

pub(super) async fn receiving_on_an_address_is_an_error(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    for client in [&owner, &other] {
        is_not_received_from(client, mailbox.name().as_str()).await;
        is_not_received_from(client, address(&inbox, "x").as_str()).await;
        is_not_received_from(client, "never.opened!x").await;
    }
}

pub(super) async fn receiving_from_the_inbox_of_another_client_is_an_error(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    is_not_received_from(&other, inbox.name().as_str()).await;
    is_not_received_from(&other, "never.opened!").await;
    other.send(address(&inbox, "x"), &1).await.unwrap();
    assert_eq!(next(&inbox).await.1, 1);
}

pub(super) async fn nothing_is_sent_to_an_inbox_as_such(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    for client in [&owner, &sender] {
        let refused = client.send(inbox.name(), &1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName, "{refused}");
        let refused = client.group_add("room", inbox.name()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName, "{refused}");
    }
    assert!(nothing(inbox.next::<u64>()).await);
}

pub(super) async fn several_that_read_an_inbox_share_its_messages(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    for round in 0..10_u64 {
        let mut waiting: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                tokio::spawn(async move { next(&inbox).await.1 })
            })
            .collect();
        tokio::task::yield_now().await;
        // One of them goes, and takes no wake-up along.
        waiting.remove(usize::try_from(round % 4).unwrap()).abort();
        join_all((0..3).map(|number| {
            let (sender, channel) = (sender.clone(), address(&inbox, "x"));
            async move { sender.send(channel, &(round * 10 + number)).await.unwrap() }
        }))
        .await;
        let got: BTreeSet<u64> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(got, BTreeSet::from([round * 10, round * 10 + 1, round * 10 + 2]));
    }
}

pub(super) async fn a_dropped_mailbox_gets_nothing_and_its_senders_are_not_told(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut stays, goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let name = goes.name().clone();
    drop(goes);
    sender.send(&name, &1).await.unwrap();
    sender.send(stays.name(), &2).await.unwrap();
    assert_eq!(mailed(&mut stays).await, 2);
    until("it is counted", async || inbox.statistics().unknown + inbox.statistics().unread == 1).await;
}

pub(super) async fn an_inbox_lives_as_long_as_one_of_its_handles(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let clone = inbox.clone();
    drop(inbox);
    sender.send(address(&clone, "x"), &1).await.unwrap();
    assert_eq!(next(&clone).await.1, 1);
    let mut mailbox = clone.open_mailbox().unwrap();
    drop((clone, owner));
    sender.send(mailbox.name(), &2).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 2, "a mailbox keeps its inbox, and the layer's connection");
}
