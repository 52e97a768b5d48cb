//! Every message reaches one receiver, once, and a receive waits on any channels at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tokio::sync::watch;

use super::subject::Subject;
use super::support::{
    Client, PATIENCE, address, capacity, clients, moment, nothing, number, plain, receive, soon, until,
    waiting,
};
use crate::internals::{Ledger, Sent};
use crate::{ChannelLayer, ChannelLayerExt, ChannelName, ErrorKind, PackedMessage};

/// Sends a message as soon as the receive has had a moment to wait.
async fn while_it_waits(receive: impl Future<Output = (ChannelName, u64)>, sender: &Client, channel: &str) {
    let sent = async {
        moment().await;
        sender.send(channel, &7).await.unwrap();
    };
    let (received, ()) = join(receive, sent).await;
    assert_eq!((received.0.as_str(), received.1), (channel, 7));
}

pub(super) async fn a_message_waits_for_its_reader(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    for channel in ["a", "a?1"] {
        sender.send(channel, &1).await.unwrap();
        moment().await;
        assert_eq!(number(&receiver, channel).await, 1);
        assert!(nothing(receiver.receive::<u64>([channel])).await, "it came once");
    }
}

pub(super) async fn each_channel_gives_its_own_messages(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let channels = ["a", "b", "a?1", "a?2", "b?1"];
    for (channel, message) in channels.into_iter().zip(0_u64..) {
        sender.send(channel, &message).await.unwrap();
    }
    for (channel, message) in channels.into_iter().rev().zip((0_u64..5).rev()) {
        let (from, received): (_, u64) = receive(&receiver, &[channel]).await;
        assert_eq!((from.as_str(), received), (channel, message));
    }
}

pub(super) async fn competing_readers_get_each_message_once(subject: &dyn Subject) {
    const CHANNELS: [&str; 3] = ["one", "two", "three"];
    let four: [_; 4] = plain(subject).await;
    let ledger = Arc::new(Ledger::default());
    let (stop, stopped) = watch::channel(false);
    let reading: Vec<_> = (0..6)
        .map(|reader| {
            let client = four[reader % 3].clone();
            let (ledger, mut stopped) = (Arc::clone(&ledger), stopped.clone());
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        received = client.receive::<u64>(CHANNELS) => ledger.received(received.unwrap().1),
                        _ = stopped.wait_for(|stop| *stop) => return,
                    }
                }
            })
        })
        .collect();
    let sending = (0..6).map(|sender| {
        let client = four[2 + sender % 2].clone();
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            for turn in 0..300 {
                let number = ledger.number();
                client.send_wait(CHANNELS[turn % 3], &number, PATIENCE).await.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        })
    });
    for sent in join_all(sending).await {
        sent.unwrap();
    }
    ledger.wait_for_balance().await;
    moment().await;
    stop.send_replace(true);
    for read in join_all(reading).await {
        read.unwrap();
    }
    ledger.wait_for_balance().await;
    assert_eq!(ledger.accepted_and_refused().0, 1_800);
}

pub(super) async fn receives_of_one_client_at_once_share_the_messages(subject: &dyn Subject) {
    let [receiver, sender] = plain(subject).await;
    let receives = join_all((0..100).map(|_| receiver.receive::<u64>(["work"])));
    let sends = async {
        moment().await;
        join_all((0..100_u64).map(|number| {
            let sender = sender.clone();
            async move { sender.send("work", &number).await.unwrap() }
        }))
        .await
    };
    let (received, _) = soon("all messages", join(receives, sends)).await;
    let mut numbers: Vec<u64> = received.into_iter().map(|received| received.unwrap().1).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..100), "{numbers:?}");
}

pub(super) async fn one_message_wakes_one_of_many_that_wait(subject: &dyn Subject) {
    let three: [_; 3] = plain(subject).await;
    let receives: Vec<_> = (0..9)
        .map(|number| {
            let client = three[number % 3].clone();
            tokio::spawn(
                async move { client.receive_timeout::<u64>(["a", "b"], Duration::from_secs(2)).await },
            )
        })
        .collect();
    moment().await;
    three[0].send("a", &1).await.unwrap();
    let received = join_all(receives).await;
    let mut got: Vec<u64> =
        received.into_iter().filter_map(|received| received.unwrap().unwrap()).map(|got| got.1).collect();
    if got.is_empty() {
        // The machine was so slow that all had given up; then it waits for the next.
        got.push(number(&three[1], "a").await);
    }
    assert_eq!(got, [1]);
    assert_eq!(waiting(&three[1], "a").await, None);
}

pub(super) async fn a_receive_that_waits_is_woken_by_a_send_of_any_client(subject: &dyn Subject) {
    let [receiver, sender] = plain(subject).await;
    for channel in ["a", "a?1"] {
        for sender in [&sender, &receiver] {
            while_it_waits(receive(&receiver, &[channel]), sender, channel).await;
        }
    }
}

pub(super) async fn a_receive_on_many_channels_is_woken_by_any_of_them(subject: &dyn Subject) {
    let [receiver, sender] = plain(subject).await;
    let names: Vec<String> =
        (0..150).flat_map(|number| [format!("normal-{number}"), format!("single?{number}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for wanted in [0, 299, 130, 131, 131] {
        while_it_waits(receive(&receiver, &names), &sender, names[wanted]).await;
    }
}

pub(super) async fn a_receive_waits_on_channels_of_all_kinds(subject: &dyn Subject) {
    let [receiver, sender] = plain(subject).await;
    let inbox = receiver.open_inbox("inbox").await.unwrap();
    let mixed = [inbox.name().as_str(), "normal", "single?1"];
    let in_inbox = address(&inbox, "x");
    for channel in [in_inbox.as_str(), "normal", "single?1", in_inbox.as_str()] {
        while_it_waits(receive(&receiver, &mixed), &sender, channel).await;
        sender.send(channel, &8).await.unwrap();
        let (from, received): (_, u64) = receive(&receiver, &mixed).await;
        assert_eq!((from.as_str(), received), (channel, 8));
    }
}

pub(super) async fn a_receive_on_no_channel_is_refused(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let none = [""; 0];
    let refused = soon("the refusal", client.receive::<u64>(none)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidName);
    assert_eq!(client.try_receive::<u64>(none).await.unwrap_err().kind(), ErrorKind::InvalidName);
}

pub(super) async fn try_receive_takes_what_is_there_and_waits_for_nothing(subject: &dyn Subject) {
    let [client, sender] = plain(subject).await;
    let channels = ["a", "b", "c?1"];
    let look = async || soon("a look", client.try_receive::<u64>(channels)).await.unwrap();
    for (channel, message) in [("b", 1), ("c?1", 2), ("a", 3)] {
        assert!(look().await.is_none());
        // What looked and found nothing does not take a later message either.
        sender.send(channel, &message).await.unwrap();
        let (from, received) = look().await.expect("what was sent");
        assert_eq!((from.as_str(), received), (channel, message));
    }
    assert!(look().await.is_none());
}

pub(super) async fn a_receive_gives_up_after_its_time_and_takes_nothing_later(subject: &dyn Subject) {
    let [client, sender] = plain(subject).await;
    let inbox = client.open_inbox("inbox").await.unwrap();
    let channels = ["a", "b?1", inbox.name().as_str()];
    let (started, patience) = (Instant::now(), Duration::from_millis(200));
    let gave_up = soon("giving up", client.receive_timeout::<u64>(channels, patience)).await.unwrap();
    assert!(gave_up.is_none() && started.elapsed() >= patience);
    for channel in ["a", "b?1", address(&inbox, "x").as_str()] {
        sender.send(channel, &1).await.unwrap();
        let received = client.receive_timeout::<u64>(channels, PATIENCE).await.unwrap();
        assert_eq!(received.expect("what was sent").0, channel);
    }
}

/// Fills one channel, puts a message into another, and fails if that one is not served before the busy one is empty.
async fn quiet_beside_busy(client: &Client, busy: &str, quiet: &str) {
    for order in [[busy, quiet], [quiet, busy]] {
        for _ in 0..100 {
            client.send(busy, &0).await.unwrap();
        }
        client.send(quiet, &1).await.unwrap();
        let mut before = 0;
        while receive::<u64>(client, &order).await.1 == 0 {
            before += 1;
        }
        // Of several servers the one that has it may answer later than the others.
        assert!(before <= 90, "{quiet} waited for {before} of the 100 messages of {busy}");
        for _ in before..100 {
            assert_eq!(number(client, busy).await, 0);
        }
    }
}

pub(super) async fn a_busy_normal_channel_does_not_starve_a_quiet_one(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    quiet_beside_busy(&client, "busy", "quiet").await;
    quiet_beside_busy(&client, "quiet", "busy").await;
    quiet_beside_busy(&client, "busy?1", "quiet?1").await;
    quiet_beside_busy(&client, "quiet?1", "busy?1").await;
}

pub(super) async fn a_busy_channel_of_one_kind_does_not_starve_a_quiet_one_of_another(subject: &dyn Subject) {
    // What an inbox has given counts in its capacity until the layer has noted that.
    let [client] = clients(subject, &capacity(300)).await;
    quiet_beside_busy(&client, "normal", "single?1").await;
    quiet_beside_busy(&client, "single?1", "normal").await;
    let inbox = client.open_inbox("inbox").await.unwrap();
    let (in_inbox, whole) = (address(&inbox, "x"), inbox.name().as_str());
    for other in ["normal", "single?1"] {
        for (busy, quiet) in [(in_inbox.as_str(), other), (other, in_inbox.as_str())] {
            for _ in 0..100 {
                client.send(busy, &0).await.unwrap();
            }
            client.send(quiet, &1).await.unwrap();
            if quiet == in_inbox.as_str() {
                // A message in memory is received before one from a server can have come.
                until("it has come", async || inbox.statistics().waiting == 1).await;
            }
            let mut received = Vec::new();
            for _ in 0..101 {
                received.push(receive::<u64>(&client, &[whole, other]).await.1);
            }
            let before = received.iter().position(|number| *number == 1).expect("the quiet one's");
            // Of an inbox, what has come from a server by then counts.
            assert!(before <= 90, "{quiet} waited for {before} of the 100 messages of {busy}");
        }
    }
}

pub(super) async fn a_quiet_channel_is_served_while_a_busy_one_is_filled(subject: &dyn Subject) {
    let [client, sender] = clients(subject, &capacity(50)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let filling = tokio::spawn({
        let (sender, stop) = (sender.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                sender.send_wait("busy", &0, PATIENCE).await.unwrap();
            }
        }
    });
    let mut before = 0;
    while waiting(&client, "busy").await.is_none() {}
    for _ in 0..5 {
        sender.send("quiet", &1).await.unwrap();
        while receive::<u64>(&client, &["busy", "quiet"]).await.1 == 0 {
            before += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while !filling.is_finished() {
        waiting(&client, "busy").await;
    }
    filling.await.unwrap();
    assert!(before < 1_000, "5 messages of the quiet channel waited for {before} of the busy one");
}

pub(super) async fn many_tasks_share_one_layer(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let tasks = (0..30).map(|task: u64| {
        let client = client.clone();
        tokio::spawn(async move {
            let channel = client.new_channel("answer?").unwrap();
            for turn in 0..10 {
                client.send(&channel, &(task, turn)).await.unwrap();
                let received: (_, (u64, u64)) = client.receive([&channel]).await.unwrap();
                assert_eq!(received, (channel.clone(), (task, turn)));
            }
        })
    });
    for task in soon("all tasks", join_all(tasks)).await {
        task.unwrap();
    }
}

pub(super) async fn a_layer_is_a_type_parameter_and_an_object(subject: &dyn Subject) {
    async fn with_type_parameter<L: ChannelLayer + ?Sized>(layer: &L) -> u64 {
        layer.send("a", &1).await.unwrap();
        soon("a message", layer.receive(["a"])).await.unwrap().1
    }
    async fn as_object(layer: &dyn ChannelLayer) -> u64 {
        let channels = ["a".parse().unwrap()];
        layer.send_packed(&channels[0], PackedMessage::pack(&2).unwrap()).await.unwrap();
        soon("a message", layer.receive_packed(&channels)).await.unwrap().1.unpack().unwrap()
    }
    let [client] = plain(subject).await;
    assert_eq!(with_type_parameter(&*client).await, 1);
    assert_eq!(as_object(&*client).await, 2);
}

pub(super) async fn namespaces_share_nothing(subject: &dyn Subject) {
    let [one] = plain(subject).await;
    let [two] = plain(subject).await;
    one.group_add("room", "a?1").await.unwrap();
    two.group_add("room", "b?1").await.unwrap();
    let waits = tokio::spawn({
        let two = two.clone();
        async move { nothing(two.receive::<u64>(["a", "a?1"])).await }
    });
    one.send("a", &1).await.unwrap();
    let _ = one.group_send("room", &2).await.unwrap();
    assert!(waits.await.unwrap(), "a message came from another namespace");
    assert_eq!(two.group_len("room").await.unwrap(), 1);
    two.flush().await.unwrap();
    let left: BTreeMap<&str, Option<u64>> =
        BTreeMap::from([("a", waiting(&one, "a").await), ("a?1", waiting(&one, "a?1").await)]);
    assert_eq!(left, BTreeMap::from([("a", Some(1)), ("a?1", Some(2))]));
    assert_eq!(one.group_len("room").await.unwrap(), 1);
}
