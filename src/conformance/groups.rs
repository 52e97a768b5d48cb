//! A send to a group reaches its members, once, and tells what became of it.

use super::subject::Subject;
use super::support::{
    Client, address, all_waiting, capacity, clients, mailed, moment, next, nothing, number, plain,
    poll_at_most, soon, sorted, waiting,
};
use crate::{ChannelLayerExt, ErrorKind, GroupReceipt, Mailbox};

/// Fails unless a receipt counts so many queues that have the message, and so many that were full.
fn counts(receipt: &GroupReceipt, delivered: usize, full: usize) {
    assert_eq!((receipt.delivered(), receipt.full()), (delivered, full), "{receipt:?}");
    assert_eq!((receipt.expired(), receipt.failed(), receipt.unreached().len()), (0, 0, 0), "{receipt:?}");
}

pub(super) async fn a_message_to_a_group_reaches_each_member_once_and_nobody_else(subject: &dyn Subject) {
    let [one, two, sender] = plain(subject).await;
    let inboxes = [one.open_inbox("a").await.unwrap(), two.open_inbox("b").await.unwrap()];
    let mut members: Vec<Mailbox> =
        (0..20).map(|number| inboxes[number % 2].open_mailbox().unwrap()).collect();
    let mut stranger = inboxes[0].open_mailbox().unwrap();
    for member in &members {
        sender.group_add("room", member.name()).await.unwrap();
    }
    sender.group_add("other.room", stranger.name()).await.unwrap();
    counts(&sender.group_send("room", &1).await.unwrap(), 2, 0);
    for member in &mut members {
        assert_eq!(mailed(member).await, 1);
    }
    moment().await;
    for member in &mut members {
        assert!(poll_at_most(1, member.receive::<u64>()).await.is_none(), "it came once");
    }
    assert!(nothing(stranger.receive::<u64>()).await);
}

pub(super) async fn members_may_be_channels_of_any_kind(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let mut others = vec!["single?1", "single?2"];
    if !subject.refuses_normal_channels_in_groups() {
        others.push("normal");
    }
    sender.group_add("room", mailbox.name()).await.unwrap();
    for name in &others {
        sender.group_add("room", *name).await.unwrap();
    }
    counts(&sender.group_send("room", &1).await.unwrap(), 1 + others.len(), 0);
    assert_eq!(mailed(&mut mailbox).await, 1);
    for name in others {
        assert_eq!(number(&owner, name).await, 1);
        assert_eq!(waiting(&owner, name).await, None, "{name} has it once");
    }
}

pub(super) async fn a_normal_channel_is_a_member_or_is_refused_by_name(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    if subject.refuses_normal_channels_in_groups() {
        let refused = client.group_add("room", "normal").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert!(refused.to_string().contains("normal"), "{refused}");
        assert!(other.group_is_empty("room").await.unwrap());
        return;
    }
    client.group_add("room", "normal").await.unwrap();
    assert_eq!(other.group_channels("room").await.unwrap(), ["normal"]);
    for message in 0..10 {
        counts(&other.group_send("room", &message).await.unwrap(), 1, 0);
    }
    let mut received = all_waiting(&client, "normal").await;
    received.sort_unstable();
    assert!(received.into_iter().eq(0..10));
}

pub(super) async fn an_address_without_a_mailbox_may_be_a_member(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    assert!(poll_at_most(1, inbox.next::<u64>()).await.is_none());
    for local in ["x", "y"] {
        sender.group_add("room", address(&inbox, local)).await.unwrap();
    }
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let _ = sender.group_send("room", &1).await.unwrap();
    let got = [next(&inbox).await, next(&inbox).await];
    assert!(got.iter().all(|(_, number)| *number == 1));
    assert_eq!(
        sorted(got.map(|(channel, _)| channel)),
        sorted(["x", "y"].map(|local| address(&inbox, local)))
    );
    assert_eq!(mailed(&mut mailbox).await, 1);
    assert!(nothing(inbox.next::<u64>()).await, "each has it once");
}

pub(super) async fn a_message_to_a_group_wakes_who_waits(subject: &dyn Subject) {
    let [reader, sender] = plain(subject).await;
    let inbox = reader.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", "a?1").await.unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let waits = tokio::spawn(async move { number(&reader, "a?1").await });
    let mail = tokio::spawn(async move { mailed(&mut mailbox).await });
    moment().await;
    let _ = sender.group_send("room", &1).await.unwrap();
    assert_eq!((waits.await.unwrap(), mail.await.unwrap()), (1, 1));
}

pub(super) async fn a_channel_that_was_added_twice_gets_a_message_once(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for client in [&owner, &sender, &sender] {
        client.group_add("room", "a?1").await.unwrap();
        client.group_add("room", mailbox.name()).await.unwrap();
    }
    counts(&sender.group_send("room", &1).await.unwrap(), 2, 0);
    assert_eq!(all_waiting(&owner, "a?1").await, [1]);
    assert_eq!(mailed(&mut mailbox).await, 1);
    assert!(nothing(mailbox.receive::<u64>()).await);
    assert_eq!(sender.group_len("room").await.unwrap(), 2);
    // And leaves it by being discarded once.
    sender.group_discard("room", mailbox.name()).await.unwrap();
    sender.group_discard("room", "a?1").await.unwrap();
    assert!(sender.group_is_empty("room").await.unwrap());
}

pub(super) async fn a_group_nobody_is_in_is_no_error(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    assert_eq!(client.group_send("nobody", &1).await.unwrap(), GroupReceipt::default());
    assert_eq!(client.group_send_naming_full("nobody", &1).await.unwrap(), GroupReceipt::default());
}

/// Fills some channels with as many messages as they hold.
async fn fill(client: &Client, channels: &[&str], capacity: u64) {
    for channel in channels {
        for message in 0..capacity {
            client.send(*channel, &message).await.unwrap();
        }
    }
}

pub(super) async fn a_full_member_fails_no_send_and_does_not_get_the_message(subject: &dyn Subject) {
    let [client, sender] = clients(subject, &capacity(3)).await;
    for name in ["full?1", "free?1"] {
        client.group_add("room", name).await.unwrap();
    }
    fill(&sender, &["full?1"], 3).await;
    counts(&sender.group_send("room", &7).await.unwrap(), 1, 1);
    assert_eq!(all_waiting(&client, "free?1").await, [7]);
    assert_eq!(all_waiting(&client, "full?1").await, [0, 1, 2]);
    counts(&sender.group_send("room", &8).await.unwrap(), 2, 0);
    assert_eq!(all_waiting(&client, "full?1").await, [8], "it has room again");
}

pub(super) async fn the_capacity_holds_for_messages_of_groups_too(subject: &dyn Subject) {
    let [client, sender] = clients(subject, &capacity(3)).await;
    client.group_add("room", "a?1").await.unwrap();
    for message in 0..10 {
        let receipt = sender.group_send("room", &message).await.unwrap();
        if message < 3 { counts(&receipt, 1, 0) } else { counts(&receipt, 0, 1) }
    }
    assert_eq!(sender.send("a?1", &10).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    assert_eq!(all_waiting(&client, "a?1").await, [0, 1, 2]);
}

pub(super) async fn the_receipt_names_the_full_queues_on_request(subject: &dyn Subject) {
    let [client, sender] = clients(subject, &capacity(2)).await;
    // Not read, so that it stays full.
    let inbox = client.open_inbox("a").await.unwrap();
    let in_inbox = address(&inbox, "x");
    for name in ["full?1", "full?2", "free?1", in_inbox.as_str()] {
        client.group_add("room", name).await.unwrap();
    }
    fill(&sender, &["full?1", "full?2", in_inbox.as_str()], 2).await;
    let receipt = sender.group_send("room", &7).await.unwrap();
    counts(&receipt, 1, 3);
    assert!(receipt.full_queues().is_empty(), "they are named on request only");
    let receipt = sender.group_send_naming_full("room", &8).await.unwrap();
    counts(&receipt, 1, 3);
    assert_eq!(sorted(receipt.full_queues()), sorted(["full?1", "full?2", inbox.name().as_str()]));
}

pub(super) async fn a_receipt_counts_the_inbox_of_many_members_once(subject: &dyn Subject) {
    let [one, two, sender] = plain(subject).await;
    let inboxes = [
        one.open_inbox("a").await.unwrap(),
        one.open_inbox("a").await.unwrap(),
        two.open_inbox("a").await.unwrap(),
    ];
    let members: Vec<Mailbox> = (0..30).map(|number| inboxes[number % 3].open_mailbox().unwrap()).collect();
    for member in &members {
        sender.group_add("room", member.name()).await.unwrap();
    }
    sender.group_add("room", "a?1").await.unwrap();
    counts(&sender.group_send("room", &1).await.unwrap(), 4, 0);
}

pub(super) async fn messages_to_several_groups_reach_a_member_of_all_once_for_each(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut both, mut first) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    sender.group_add("one", first.name()).await.unwrap();
    for group in ["one", "two"] {
        sender.group_add(group, both.name()).await.unwrap();
        let _ = sender.group_send(group, group).await.unwrap();
    }
    for expected in ["one", "two"] {
        assert_eq!(soon("a copy", both.receive::<String>()).await.unwrap(), expected);
    }
    assert_eq!(soon("a copy", first.receive::<String>()).await.unwrap(), "one");
    assert!(nothing(first.receive::<String>()).await);
}
