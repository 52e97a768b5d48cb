//! Streams of messages lose nothing, and what a group's message was decoded to is shared.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use serde::{Deserialize, Deserializer};

use super::subject::Subject;
use super::support::{
    MOMENT, Random, all_waiting, capacity, clients, moment, number, plain, poll_at_most, soon,
};
use crate::{ChannelLayer, ChannelLayerExt, ErrorKind, Value};

pub(super) async fn a_layer_is_a_stream_of_the_messages_of_some_channels(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let mut messages = receiver.messages::<u64>(["a", "b?1"]);
    for (channel, message) in [("a", 1), ("b?1", 2), ("a", 3)] {
        sender.send(channel, message).await.unwrap();
        let (from, received) = soon("a message", messages.next()).await.unwrap().unwrap();
        assert_eq!((from.as_str(), received), (channel, message));
    }
    // One of another type is an item, and the stream goes on.
    sender.send("a", "no number").await.unwrap();
    assert_eq!(soon("an item", messages.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Decode);
    sender.send("a", 4).await.unwrap();
    assert_eq!(soon("a message", messages.next()).await.unwrap().unwrap().1, 4);
    receiver.close().await.unwrap();
    assert!(soon("the end", messages.next()).await.is_none());
}

pub(super) async fn a_layer_is_a_stream_of_requests(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    let serve = async {
        let mut requests = worker.requests::<u64>("jobs");
        for _ in 0..3 {
            let request = soon("a request", requests.next()).await.unwrap().unwrap();
            let doubled = request.message * 2;
            request.reply(&worker, doubled).await.unwrap();
        }
    };
    let ask = async {
        for asked in 0..3_u64 {
            let reply = caller.request::<u64>("jobs", asked, super::support::PATIENCE);
            assert_eq!(soon("a reply", reply).await.unwrap(), 2 * asked);
        }
    };
    futures_util::future::join(serve, ask).await;
}

pub(super) async fn streams_dropped_at_random_lose_and_reorder_nothing(subject: &dyn Subject) {
    const MESSAGES: u64 = 100;
    let [sender, receiver] = clients(subject, &capacity(1_000)).await;
    let mut random = Random::new(7);
    for channel in ["a", "b?1"] {
        let mut received = Vec::new();
        let mut sent = 0;
        while received.len() < usize::try_from(MESSAGES).unwrap() {
            let mut messages = receiver.messages::<u64>(channel);
            for _ in 0..random.below(4) {
                if sent < MESSAGES {
                    sender.send(channel, sent).await.unwrap();
                    sent += 1;
                }
                let polls = usize::try_from(1 + random.below(3)).unwrap();
                let polled = poll_at_most(polls, messages.next());
                let next = tokio::time::timeout(MOMENT, polled).await.ok().flatten();
                received.extend(next.map(|item| item.unwrap().unwrap().1));
            }
            // With a poll under way, or with a message that it was handed.
            drop(messages);
            if sent == MESSAGES {
                let mut messages = receiver.messages::<u64>(channel);
                let next = tokio::time::timeout(MOMENT, messages.next()).await;
                received.extend(next.ok().map(|item| item.unwrap().unwrap().1));
            }
        }
        if channel == "a" {
            received.sort_unstable();
        }
        assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>(), "{channel}");
        assert!(all_waiting(&receiver, channel).await.is_empty());
    }
}

pub(super) async fn a_stream_that_is_not_polled_gives_back_what_it_has_when_it_is_dropped(
    subject: &dyn Subject,
) {
    let [sender, receiver, other] = plain(subject).await;
    for channel in ["a", "b?1"] {
        let mut messages = receiver.messages::<u64>(channel);
        assert!(poll_at_most(1, messages.next()).await.is_none());
        moment().await;
        sender.send(channel, 1).await.unwrap();
        moment().await;
        drop(messages);
        assert_eq!(number(&other, channel).await, 1);
    }
}

pub(super) async fn a_stream_of_a_wrong_name_ends_with_its_refusal(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for wrong in [vec!["a b"], vec![], vec!["inbox!x"], vec!["inbox!"]] {
        let seen: Vec<_> = soon("the end", pin!(client.messages::<u64>(&wrong)).collect::<Vec<_>>()).await;
        let kinds: Vec<_> = seen.into_iter().map(|item| item.unwrap_err().kind()).collect();
        assert_eq!(kinds, [ErrorKind::InvalidName], "{wrong:?}");
    }
}

/// Counts how often something is decoded.
static DECODED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Counted(u64);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > u64::MAX / 2 {
            DECODED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Self(number))
    }
}

pub(super) async fn the_copies_of_a_groups_message_are_decoded_once_for_each_type(subject: &dyn Subject) {
    const MAILBOXES: usize = 50;
    let [sender, owner] = plain(subject).await;
    let inbox = owner.open_inbox("room").await.unwrap();
    let mut mailboxes: Vec<_> = (0..MAILBOXES).map(|_| inbox.open_mailbox().unwrap()).collect();
    sender
        .group_add_many(["room"], mailboxes.iter().map(|it| it.name().clone()).collect::<Vec<_>>())
        .await
        .unwrap();
    // A number of this test and layer, because others run at the same time.
    for round in 0..3 {
        let message = u64::MAX - round;
        sender.group_send("room", message).await.unwrap().reached_all().unwrap();
        let before = DECODED.load(Ordering::Relaxed);
        let mut decoded = Vec::new();
        for mailbox in &mut mailboxes {
            decoded.push(soon("a message", mailbox.receive_shared::<Counted>()).await.unwrap());
        }
        let others: BTreeSet<usize> = decoded.iter().map(|it| Arc::as_ptr(it).addr()).collect();
        assert_eq!((others.len(), decoded.iter().all(|it| it.0 == message)), (1, true));
        assert!(DECODED.load(Ordering::Relaxed) > before);
    }
    // Each gets the form that it wants, and an error is that of one mailbox.
    sender.group_send("room", 7).await.unwrap().reached_all().unwrap();
    let [one, two, three, four, ..] = mailboxes.as_mut_slice() else { panic!("there are fifty") };
    assert_eq!(*soon("a number", one.receive_shared::<u64>()).await.unwrap(), 7);
    let error = soon("an error", two.receive_shared::<String>()).await.unwrap_err();
    assert_eq!((error.kind(), error.undecoded().is_some()), (ErrorKind::Decode, true));
    assert_eq!(*soon("a value", three.receive_shared::<Value>()).await.unwrap(), Value::from(7));
    assert_eq!(soon("a number", four.receive::<u64>()).await.unwrap(), 7);
    // A direct message is decoded by itself.
    sender.send(one.name(), 8).await.unwrap();
    assert_eq!(*soon("a number", one.receive_shared::<u64>()).await.unwrap(), 8);
}
