//! After a flush there is nothing, and everybody goes on.

use super::subject::Subject;
use super::support::{
    address, all_waiting, capacity, clients, mailed, moment, next, nothing, number, plain, poll_at_most,
    soon, waiting,
};
use crate::{ChannelLayerExt, GroupReceipt};

pub(super) async fn a_flush_looks_empty_to_every_client(subject: &dyn Subject) {
    let three: [_; 3] = plain(subject).await;
    let inbox = three[0].open_inbox("a").await.unwrap();
    let names: Vec<String> =
        (0..200).flat_map(|number| [format!("n-{number}"), format!("s?{number}")]).collect();
    for name in &names {
        three[1].send(name, &1).await.unwrap();
    }
    three[1].send(address(&inbox, "x"), &1).await.unwrap();
    soon("the flush", three[2].flush()).await.unwrap();
    for (name, client) in names.iter().zip(three.iter().cycle()) {
        assert_eq!(waiting(client, name).await, None, "on {name}");
    }
    assert!(nothing(inbox.next::<u64>()).await);
}

pub(super) async fn a_flush_empties_the_groups(subject: &dyn Subject) {
    let [owner, sender, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for channel in [mailbox.name().as_str(), "a?1"] {
        sender.group_add("room", channel).await.unwrap();
    }
    let _ = sender.group_send("room", &1).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 1);
    soon("the flush", other.flush()).await.unwrap();
    for client in [&owner, &sender, &other] {
        assert!(client.group_is_empty("room").await.unwrap());
        assert_eq!(client.group_channels("room").await.unwrap(), [""; 0]);
        assert_eq!(client.channel_groups("a?1").await.unwrap(), [""; 0]);
        assert_eq!(client.channel_groups(mailbox.name()).await.unwrap(), [""; 0]);
        assert_eq!(client.group_send("room", &2).await.unwrap(), GroupReceipt::default());
    }
    assert!(nothing(mailbox.receive::<u64>()).await);
    assert_eq!(all_waiting(&owner, "a?1").await, [0; 0]);
    // And its mailbox may be added again.
    sender.group_add("room", mailbox.name()).await.unwrap();
    let _ = sender.group_send("room", &3).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 3);
}

pub(super) async fn receives_that_wait_go_on_after_a_flush(subject: &dyn Subject) {
    let [receiver, sender] = plain(subject).await;
    let inbox = receiver.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let (name, whole) = (mailbox.name().clone(), address(&inbox, "x"));
    assert!(poll_at_most(1, inbox.next::<u64>()).await.is_none());
    let waits = ["normal", "single?1"].map(|channel| {
        let receiver = receiver.clone();
        tokio::spawn(async move { number(&receiver, channel).await })
    });
    let mail = tokio::spawn(async move { mailed(&mut mailbox).await });
    moment().await;
    soon("the flush", sender.flush()).await.unwrap();
    moment().await;
    sender.send("normal", &1).await.unwrap();
    sender.send("single?1", &2).await.unwrap();
    sender.send(&name, &3).await.unwrap();
    sender.send(&whole, &4).await.unwrap();
    for (wait, expected) in waits.into_iter().zip(1..) {
        assert_eq!(wait.await.unwrap(), expected);
    }
    assert_eq!(mail.await.unwrap(), 3);
    assert_eq!(next(&inbox).await, (whole, 4));
}

pub(super) async fn a_flush_makes_room(subject: &dyn Subject) {
    let [client, other] = clients(subject, &capacity(2)).await;
    let inbox = client.open_inbox("a").await.unwrap();
    let in_inbox = address(&inbox, "x");
    for round in 0..2 {
        for channel in ["a", "a?1", in_inbox.as_str()] {
            for message in 0..2 {
                other.send(channel, &message).await.unwrap();
            }
            assert!(other.send(channel, &2).await.is_err(), "in round {round}");
        }
        soon("the flush", client.flush()).await.unwrap();
    }
}

pub(super) async fn a_flush_of_nothing_and_two_at_once_do_no_harm(subject: &dyn Subject) {
    let [one, two] = plain(subject).await;
    soon("a flush of nothing", one.flush()).await.unwrap();
    for message in 0..20 {
        one.send("a?1", &message).await.unwrap();
    }
    let flushes = futures_util::future::join(one.flush(), two.flush());
    let (first, second) = soon("both", flushes).await;
    first.unwrap();
    second.unwrap();
    one.send("a?1", &9).await.unwrap();
    assert_eq!(all_waiting(&two, "a?1").await, [9]);
}
