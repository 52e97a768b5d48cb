//! A message that nobody took in time is gone, and takes no room.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::subject::{Settings, Subject};
use super::support::{
    Client, address, all_waiting, clients, in_time, moment, nothing, number, poll_once, soon, until, waiting,
};
use crate::{ChannelLayerExt, ErrorKind};

/// An expiry to wait for.
const SHORT: Duration = Duration::from_millis(400);
/// An expiry within which something can be done even on a busy machine.
const LONG: Duration = Duration::from_secs(2);

fn expiring(expiry: Duration) -> Settings {
    Settings { expiry, ..Settings::default() }
}

/// Waits until what was sent before with this expiry is gone for certain.
async fn outlive(expiry: Duration) {
    tokio::time::sleep(expiry + Duration::from_millis(100)).await;
}

pub(super) async fn an_expired_message_is_never_delivered(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(SHORT)).await;
    for channel in ["a", "a?1"] {
        for message in 0..3 {
            sender.send(channel, &message).await.unwrap();
        }
        outlive(SHORT).await;
        assert_eq!(waiting(&receiver, channel).await, None);
        assert!(nothing(receiver.receive::<u64>([channel])).await);
    }
}

pub(super) async fn an_expired_message_in_an_inbox_is_never_delivered(subject: &dyn Subject) {
    let [sender, owner] = clients(subject, &expiring(SHORT)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    sender.send(address(&inbox, "x"), &1).await.unwrap();
    outlive(SHORT).await;
    assert!(nothing(inbox.next::<u64>()).await, "it waited in the inbox");
    sender.send(address(&inbox, "x"), &2).await.unwrap();
    // By now it has been read from the inbox, for somebody who came and went.
    outlive(SHORT).await;
    assert!(nothing(inbox.next::<u64>()).await, "it waited in the process");
}

pub(super) async fn an_expired_message_in_a_mailbox_is_never_delivered(subject: &dyn Subject) {
    let [sender, owner] = clients(subject, &expiring(SHORT)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    sender.send(mailbox.name(), &1).await.unwrap();
    let _ = sender.group_send("room", &2).await.unwrap();
    outlive(SHORT).await;
    assert!(nothing(mailbox.receive::<u64>()).await);
}

pub(super) async fn an_expired_message_of_a_group_is_never_delivered(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(SHORT)).await;
    sender.group_add("room", "a?1").await.unwrap();
    let _ = sender.group_send("room", &1).await.unwrap();
    outlive(SHORT).await;
    assert_eq!(waiting(&receiver, "a?1").await, None);
}

pub(super) async fn a_message_waits_for_all_of_its_expiry(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(LONG)).await;
    for channel in ["a", "a?1"] {
        let received = in_time(async || {
            let sent = Instant::now();
            sender.send(channel, &1).await.unwrap();
            tokio::time::sleep(LONG / 2).await;
            let received = waiting(&receiver, channel).await;
            (sent.elapsed() < LONG).then_some(received)
        })
        .await;
        assert_eq!(received, Some(1), "on {channel}");
    }
}

pub(super) async fn a_live_message_behind_an_expired_one_is_delivered(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(LONG)).await;
    for channel in ["a", "a?1"] {
        let received = in_time(async || {
            sender.send(channel, &1).await.unwrap();
            tokio::time::sleep(LONG / 2).await;
            let sent = Instant::now();
            sender.send(channel, &2).await.unwrap();
            tokio::time::sleep(LONG * 2 / 3).await;
            let received = all_waiting(&receiver, channel).await;
            (sent.elapsed() < LONG).then_some(received)
        })
        .await;
        assert_eq!(received, [2], "on {channel}");
    }
}

/// Sends until a send is refused. Returns how many were accepted.
async fn fill(sender: &Client, channel: &str) -> usize {
    let mut accepted = 0;
    while sender.send(channel, &accepted).await.is_ok() {
        accepted += 1;
    }
    accepted
}

pub(super) async fn expired_messages_take_no_room(subject: &dyn Subject) {
    let settings = Settings { capacity: 4, ..expiring(LONG) };
    let [sender, other] = clients(subject, &settings).await;
    for channel in ["a", "a?1", "inbox"] {
        let (before, after) = in_time(async || {
            outlive(LONG).await;
            let inbox = other.open_inbox("inbox").await.unwrap();
            let channel = if channel == "inbox" { address(&inbox, "x") } else { channel.parse().unwrap() };
            let started = Instant::now();
            let before = fill(&sender, channel.as_str()).await;
            let is_fast = started.elapsed() < LONG;
            outlive(LONG).await;
            let started = Instant::now();
            let after = fill(&other, channel.as_str()).await;
            (is_fast && started.elapsed() < LONG).then_some((before, after))
        })
        .await;
        assert_eq!((before, after), (4, 4), "on {channel}");
    }
}

pub(super) async fn an_expired_message_beside_live_ones_takes_no_room(subject: &dyn Subject) {
    let settings = Settings { capacity: 3, ..expiring(LONG) };
    for channel in ["a", "a?1"] {
        let (accepted, received) = in_time(async || {
            let [sender, other] = clients(subject, &settings).await;
            for message in 0..2 {
                sender.send(channel, &message).await.unwrap();
            }
            tokio::time::sleep(LONG / 2).await;
            let sent = Instant::now();
            sender.send(channel, &2).await.unwrap();
            tokio::time::sleep(LONG * 2 / 3).await;
            // Two of the three have expired by now.
            let accepted = fill(&other, channel).await;
            let received = all_waiting(&other, channel).await.len();
            (sent.elapsed() < LONG).then_some((accepted, received))
        })
        .await;
        assert_eq!((accepted, received), (2, 3), "on {channel}");
    }
}

pub(super) async fn a_receive_that_waits_gets_the_next_live_message(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(SHORT)).await;
    sender.send("a", &1).await.unwrap();
    outlive(SHORT).await;
    let waits = tokio::spawn(async move { number(&receiver, "a").await });
    // The first of these expires if the receive does not wait yet.
    until("it has a message", async || {
        sender.send("a", &2).await.unwrap();
        moment().await;
        waits.is_finished()
    })
    .await;
    assert_eq!(waits.await.unwrap(), 2);
}

pub(super) async fn what_expired_while_a_receive_had_it_does_not_go_back(subject: &dyn Subject) {
    let [sender, receiver, other] = clients(subject, &expiring(SHORT)).await;
    {
        let mut receive = pin!(receiver.receive::<u64>(["a"]));
        assert!(poll_once(receive.as_mut()).await.is_pending());
        moment().await;
        sender.send("a", &1).await.unwrap();
        outlive(SHORT).await;
    }
    assert!(nothing(other.receive::<u64>(["a"])).await);
}

pub(super) async fn a_full_mailbox_has_room_again_when_its_messages_have_expired(subject: &dyn Subject) {
    let settings = Settings { capacity: 3, ..expiring(LONG) };
    let [owner, sender] = clients(subject, &settings).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let refused = async {
        loop {
            match sender.send(mailbox.name(), &1).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    };
    assert_eq!(soon("a refusal", refused).await.kind(), ErrorKind::ChannelFull);
    outlive(LONG).await;
    until("a message comes through", async || {
        sender.send(mailbox.name(), &2).await.is_ok()
            && matches!(tokio::time::timeout(LONG, mailbox.receive::<u64>()).await, Ok(Ok(2)))
    })
    .await;
}

pub(super) async fn a_message_may_expire_before_others_or_after_them(subject: &dyn Subject) {
    let [sender, receiver] = clients(subject, &expiring(LONG)).await;
    for channel in ["a", "a?1"] {
        sender.send_with_expiry(channel, 1, SHORT).await.unwrap();
        sender.send(channel, 2).await.unwrap();
        sender.send_with_expiry(channel, 3, SHORT).await.unwrap();
        sender.send_with_expiry(channel, 4, Duration::from_secs(600)).await.unwrap();
    }
    // Sends under way at once may share calls, and have expiries of their own all the same.
    let together = (0..100_u64).map(|number| {
        let expiry = if number % 3 == 0 { SHORT } else { Duration::from_secs(60 + number % 2) };
        sender.send_with_expiry("b", number, expiry)
    });
    for sent in join_all(together).await {
        sent.unwrap();
    }
    outlive(SHORT).await;
    let mut left = all_waiting(&receiver, "b").await;
    left.sort_unstable();
    assert_eq!(left, (0..100).filter(|number| number % 3 != 0).collect::<Vec<u64>>());
    assert_eq!(all_waiting(&receiver, "a?1").await, [2, 4]);
    outlive(LONG).await;
    assert_eq!(all_waiting(&receiver, "a").await, [4]);
    for wrong in [Duration::ZERO, Duration::MAX] {
        let refused = sender.send_with_expiry("a", 5, wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
}
