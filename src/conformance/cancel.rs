//! Dropping a call that has not returned loses, repeats and reorders nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::subject::Subject;
use super::support::{
    Client, PATIENCE, Random, address, all_waiting, capacity, clients, mailed, moment, number, plain,
    poll_at_most, poll_once, soon, until, waiting,
};
use crate::internals::{Ledger, Sent};
use crate::{ChannelLayerExt, ErrorKind};

/// Lets a receive on some channels wait, and drops it when a message was sent to one of them and it was not polled.
async fn drop_what_was_handed_over(receiver: &Client, channels: &[&str], sender: &Client, message: u64) {
    let mut receive = pin!(receiver.receive::<u64>(channels));
    assert!(poll_once(receive.as_mut()).await.is_pending());
    moment().await;
    sender.send(channels[0], &message).await.unwrap();
    moment().await;
}

pub(super) async fn a_receive_dropped_while_it_waits_takes_no_message(subject: &dyn Subject) {
    let [dropper, other] = plain(subject).await;
    for channel in ["a", "a?1"] {
        for _ in 0..20 {
            assert!(poll_at_most(1, dropper.receive::<u64>([channel, "other"])).await.is_none());
        }
        {
            let mut receive = pin!(dropper.receive::<u64>([channel, "other"]));
            assert!(poll_once(receive.as_mut()).await.is_pending());
            moment().await;
        }
        other.send(channel, &1).await.unwrap();
        assert_eq!(number(&other, channel).await, 1);
    }
}

pub(super) async fn a_message_handed_to_a_dropped_receive_goes_to_another_client(subject: &dyn Subject) {
    let [dropper, sender, other] = plain(subject).await;
    for channel in ["a", "a?1"] {
        drop_what_was_handed_over(&dropper, &[channel, "other"], &sender, 1).await;
        assert_eq!(number(&other, channel).await, 1);
        assert_eq!(waiting(&other, channel).await, None, "it came once");
    }
}

pub(super) async fn a_message_handed_to_a_dropped_receive_goes_to_one_that_waits_already(
    subject: &dyn Subject,
) {
    let [dropper, sender, other] = plain(subject).await;
    let waits = {
        let mut receive = pin!(dropper.receive::<u64>(["a"]));
        assert!(poll_once(receive.as_mut()).await.is_pending());
        moment().await;
        sender.send("a", &1).await.unwrap();
        moment().await;
        let waits = tokio::spawn(async move { number(&other, "a").await });
        moment().await;
        waits
    };
    assert_eq!(waits.await.unwrap(), 1);
}

pub(super) async fn what_goes_back_to_a_single_reader_channel_comes_first_again(subject: &dyn Subject) {
    let [reader, sender] = plain(subject).await;
    for round in 0..3 {
        {
            let mut receive = pin!(reader.receive::<u64>(["body?1", "other"]));
            assert!(poll_once(receive.as_mut()).await.is_pending());
            moment().await;
            // The first is on its way, the others wait behind it.
            for message in 0..5 {
                sender.send("body?1", &(round * 10 + message)).await.unwrap();
            }
            moment().await;
        }
        for message in 0..5 {
            assert_eq!(number(&reader, "body?1").await, round * 10 + message);
        }
    }
}

pub(super) async fn what_goes_back_to_a_single_reader_channel_comes_before_what_was_sent_since(
    subject: &dyn Subject,
) {
    let [reader, sender] = plain(subject).await;
    for round in 0..3 {
        let numbers = [0, 1, 2, 3, 4].map(|message| round * 10 + message);
        {
            let mut receive = pin!(reader.receive::<u64>(["body?1", "other"]));
            assert!(poll_once(receive.as_mut()).await.is_pending());
            moment().await;
            for message in &numbers {
                sender.send("body?1", message).await.unwrap();
            }
            moment().await;
        }
        for message in numbers {
            assert_eq!(number(&reader, "body?1").await, message);
        }
    }
}

pub(super) async fn receives_dropped_at_random_keep_the_ledger_and_the_order(subject: &dyn Subject) {
    for seed in 0..3 {
        dropped_at_random(subject, seed).await;
    }
}

/// Two channels that all read, and one single-reader channel for each of three readers, whose receives are dropped at
/// random.
async fn dropped_at_random(subject: &dyn Subject, seed: u64) {
    let four: [_; 4] = plain(subject).await;
    let ledger = Arc::new(Ledger::default());
    let (stop, stopped) = watch::channel(false);
    let seen: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let reading: Vec<_> = (0..3)
        .map(|reader: u64| {
            let client = four[usize::try_from(reader).unwrap()].clone();
            let (ledger, stopped, seen) = (Arc::clone(&ledger), stopped.clone(), Arc::clone(&seen));
            let mut random = Random::new(seed * 100 + reader);
            tokio::spawn(async move {
                let channels = ["shared.a".to_owned(), "shared.b".to_owned(), format!("body?{reader}")];
                while !*stopped.borrow() {
                    let receive = client.receive::<u64>(&channels);
                    // By the number of its polls or by time, whichever ends first.
                    // Some wait long enough for a reply on a busy machine too.
                    let patient = random.below(8) == 0;
                    let polls = if patient { 1_000 } else { usize::try_from(random.below(5)).unwrap() };
                    let patience = Duration::from_micros(random.below(if patient { 200_000 } else { 4_000 }));
                    let received = tokio::time::timeout(patience, poll_at_most(polls, receive)).await;
                    let Ok(Some(received)) = received else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let (channel, number) = received.unwrap();
                    ledger.received(number);
                    if channel.as_str().contains('?') {
                        let before = seen.lock().unwrap().insert(channel.as_str().to_owned(), number);
                        assert!(before < Some(number), "seed {seed}: {number} after {before:?} on {channel}");
                    }
                }
            })
        })
        .collect();
    let writing = ["shared.a", "shared.b", "body?0", "body?1", "body?2"].map(|channel| {
        let (client, ledger) = (four[3].clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            for _ in 0..150 {
                let number = ledger.number();
                client.send_wait(channel, &number, PATIENCE).await.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        })
    });
    for written in join_all(writing).await {
        written.unwrap();
    }
    ledger.wait_for_balance().await;
    stop.send_replace(true);
    for read in join_all(reading).await {
        read.unwrap();
    }
    ledger.wait_for_balance().await;
}

pub(super) async fn looks_dropped_at_random_keep_the_ledger(subject: &dyn Subject) {
    let [receiver, sender] = clients(subject, &capacity(1_000)).await;
    let ledger = Ledger::default();
    for _ in 0..300 {
        let number = ledger.number();
        sender.send(["a", "b?1"][usize::try_from(number % 2).unwrap()], &number).await.unwrap();
        ledger.sent(number, Sent::Accepted);
    }
    let mut random = Random::new(7);
    for _ in 0..400 {
        let polls = usize::try_from(random.below(4)).unwrap();
        if let Some(Ok(Some((_, number)))) =
            poll_at_most(polls, receiver.try_receive::<u64>(["a", "b?1"])).await
        {
            ledger.received(number);
        }
    }
    take_the_rest(&receiver, &["a", "b?1"], &ledger).await;
}

/// Receives until every accepted message has come.
async fn take_the_rest(client: &Client, channels: &[&str], ledger: &Ledger) {
    let rest = async {
        loop {
            let (_, number) = client.receive::<u64>(channels).await.unwrap();
            ledger.received(number);
        }
    };
    tokio::select! {
        () = rest => {}
        () = ledger.wait_for_balance() => {}
    }
}

pub(super) async fn dropped_sends_send_once_or_not_at_all(subject: &dyn Subject) {
    let [receiver, sender] = clients(subject, &capacity(10_000)).await;
    let ledger = Arc::new(Ledger::default());
    let sends = (0..600_u64).map(|turn| {
        let (sender, ledger) = (sender.clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            let number = ledger.number();
            ledger.sent(number, Sent::Perhaps);
            let polls = usize::try_from(turn % 4).unwrap();
            let channel = ["a", "b?1"][usize::try_from(turn / 4 % 2).unwrap()];
            if let Some(sent) = poll_at_most(polls, sender.send(channel, &number)).await {
                sent.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        })
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    // A later send goes through: the dropped ones left nothing in its way.
    for channel in ["a", "b?1"] {
        let last = ledger.number();
        soon("a later send", sender.send(channel, &last)).await.unwrap();
        ledger.sent(last, Sent::Accepted);
    }
    take_the_rest(&receiver, &["a", "b?1"], &ledger).await;
    moment().await;
    for channel in ["a", "b?1"] {
        all_waiting(&receiver, channel).await.into_iter().for_each(|number| ledger.received(number));
    }
    ledger.wait_for_balance().await;
}

pub(super) async fn reads_of_an_inbox_dropped_at_random_lose_and_reorder_nothing(subject: &dyn Subject) {
    const COUNT: usize = 150;
    let [owner, sender] = clients(subject, &capacity(1_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    assert!(poll_at_most(1, inbox.next::<u64>()).await.is_none());
    let mixed = [inbox.name().as_str(), "single?1"];
    for number in 0..COUNT {
        for channel in [address(&inbox, "x"), mailbox.name().clone(), "single?1".parse().unwrap()] {
            sender.send(channel, &number).await.unwrap();
        }
    }
    let (mut whole, mut own, mut single) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random::new(11);
    let reading = async {
        while whole.len() + own.len() + single.len() < 3 * COUNT {
            // Some wait long enough for a reply on a busy machine too.
            let most = if random.below(8) == 0 { 200_000 } else { 1_500 };
            let patience = Duration::from_micros(random.below(most));
            match random.below(4) {
                0 => whole.extend(poll_at_most(1, inbox.next::<usize>()).await.map(|next| next.unwrap().1)),
                1 => own.extend(poll_at_most(1, mailbox.receive::<usize>()).await.map(Result::unwrap)),
                2 => {
                    let next = poll_at_most(1, mailbox.next()).await.map(Option::unwrap);
                    own.extend(next.map(|message| message.unpack::<usize>().unwrap()));
                }
                _ => {
                    let receive = owner.receive::<usize>(mixed);
                    if let Ok(received) = tokio::time::timeout(patience, receive).await {
                        let (channel, number) = received.unwrap();
                        if channel == "single?1" { single.push(number) } else { whole.push(number) }
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    };
    soon("all messages", reading).await;
    for (which, got) in [("the inbox", &whole), ("the mailbox", &own), ("the channel", &single)] {
        assert!(got.iter().copied().eq(0..COUNT), "{which}: {got:?}");
    }
}

pub(super) async fn a_dropped_group_send_reaches_nobody_twice(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for channel in [mailbox.name().as_str(), "a?1"] {
        sender.group_add("room", channel).await.unwrap();
    }
    for number in 0..100_u64 {
        let polls = usize::try_from(number % 4).unwrap();
        let _ = poll_at_most(polls, sender.group_send("room", &number)).await;
    }
    let last = 100;
    moment().await;
    let _ = sender.group_send("room", &last).await.unwrap();
    let mut mail = vec![mailed(&mut mailbox).await];
    while mail.last() != Some(&last) {
        mail.push(mailed(&mut mailbox).await);
    }
    for received in [mail, all_waiting(&owner, "a?1").await] {
        let mut once = received.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), received.len(), "{received:?}");
        assert_eq!(received.last(), Some(&last));
    }
}

pub(super) async fn closing_goes_on_when_it_is_dropped(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let inbox = client.open_inbox("a").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    assert!(poll_at_most(1, client.close()).await.is_none_or(|closed| closed.is_ok()));
    let ended = soon("the end of the layer", client.receive::<u64>(["a"])).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
    until("its mailbox has left", async || other.group_is_empty("room").await.unwrap()).await;
    let ended = soon("the end of the inbox", inbox.next::<u64>()).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
}
