//! Dropping a receive at any point loses, repeats and reorders nothing.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer};
use futures::future::{join_all, poll_fn};
use tokio::sync::watch;

use super::{MOMENT, PATIENCE, fill, layers, options, soon};
use crate::support::{Ledger, Sent, Server, Servers};

/// Polls a future as often as it is woken, but drops it when it was pending for the `most`-th time.
async fn poll_at_most<T>(most: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

on_one_and_three_servers!(a_receive_dropped_at_each_of_its_await_points_under_load_keeps_the_ledger, threads);
async fn a_receive_dropped_at_each_of_its_await_points_under_load_keeps_the_ledger(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "await-points").capacity(10_000)).await;
    let ledger = Arc::new(Ledger::default());
    for polls in 1..=4 {
        let sending = tokio::spawn({
            let (sender, ledger) = (sender.clone(), Arc::clone(&ledger));
            async move {
                for _ in 0..300 {
                    let number = ledger.number();
                    sender.send_wait("work", &number, PATIENCE).await.unwrap();
                    ledger.sent(number, Sent::Accepted);
                }
            }
        });
        let mut turn = 0;
        while !sending.is_finished() {
            turn += 1;
            if let Some(received) = poll_at_most(polls, receiver.receive::<u64>(["work", "other"])).await {
                ledger.received(received.unwrap().1);
            }
            if turn % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        sending.await.unwrap();
    }
    drain(&receiver, "work", &ledger, 1200).await;
    ledger.balance();
}

/// Receives what is left, until `count` messages have come in all.
async fn drain(layer: &RedisChannelLayer, channel: &str, ledger: &Ledger, count: u64) {
    let rest = async {
        while let Some((_, number)) = layer.receive_timeout::<u64>([channel], MOMENT * 4).await.unwrap() {
            ledger.received(number);
        }
    };
    soon("the rest", rest).await;
    ledger.wait_for_received(count).await;
}

/// Two channels that all read, and one single-reader channel for each of three receivers, whose receives are dropped
/// at random.
async fn dropped_at_random(servers: &Servers, seed: u64) {
    let options = options(servers, "at-random");
    let [writer] = layers(&options).await;
    let readers: [_; 4] = layers(&options).await;
    let ledger = Arc::new(Ledger::default());
    let (stop, stopped) = watch::channel(false);
    let seen: Arc<Mutex<HashMap<String, u64>>> = Arc::default();

    let reading = readers.into_iter().enumerate().map(|(reader, layer)| {
        let (ledger, stopped, seen) = (Arc::clone(&ledger), stopped.clone(), Arc::clone(&seen));
        let mut random = fastrand::Rng::with_seed(seed * 100 + u64::try_from(reader).unwrap());
        tokio::spawn(async move {
            let mut channels = vec!["shared.a".to_owned(), "shared.b".to_owned()];
            if reader < 3 {
                channels.push(format!("body?{reader}"));
            }
            while !*stopped.borrow() {
                // Some wait long enough for a reply on a busy machine too, or nothing would ever be received there.
                let most = if random.u8(0..8) == 0 { 200_000 } else { 3_000 };
                let patience = Duration::from_micros(random.u64(0..most));
                let received = tokio::time::timeout(patience, layer.receive::<u64>(&channels)).await;
                let Ok(received) = received else { continue };
                let (channel, number) = received.unwrap();
                ledger.received(number);
                if channel.as_str().contains('?') {
                    let before = seen.lock().unwrap().insert(channel.as_str().to_owned(), number);
                    assert!(
                        before < Some(number),
                        "seed {seed}: {number} came after {before:?} on {channel}"
                    );
                }
            }
        })
    });
    let reading: Vec<_> = reading.collect();

    let writing = ["shared.a", "shared.b", "body?0", "body?1", "body?2"].map(|channel| {
        let (writer, ledger) = (writer.clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            for _ in 0..300 {
                let number = ledger.number();
                writer.send_wait(channel, &number, PATIENCE).await.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        })
    });
    for written in join_all(writing).await {
        written.unwrap();
    }
    ledger.wait_for_received(1500).await;
    stop.send_replace(true);
    for read in join_all(reading).await {
        read.unwrap();
    }
    ledger.balance();
}

on_one_and_three_servers!(receives_dropped_at_random_lose_and_repeat_nothing_and_keep_the_order, threads);
/// Shows R10.
async fn receives_dropped_at_random_lose_and_repeat_nothing_and_keep_the_order(servers: Servers) {
    for seed in 0..6 {
        dropped_at_random(&servers, seed).await;
    }
}

on_one_and_three_servers!(a_message_that_arrived_but_was_not_returned_goes_to_another_receiver);
/// Shows R10.
async fn a_message_that_arrived_but_was_not_returned_goes_to_another_receiver(servers: Servers) {
    let [holder, other, sender] = layers(&options(&servers, "arrived")).await;
    {
        let mut receive = pin!(holder.receive::<u64>(["a"]));
        fill(receive.as_mut(), &sender).await;
        assert!(other.try_receive::<u64>(["a"]).await.unwrap().is_none(), "it is with the first receiver");
    }
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

/// Each server keeps an order of its own, so this is of one.
#[tokio::test]
async fn messages_that_go_back_are_received_first_and_in_order() {
    let servers = Servers::one();
    let [holder, other, sender] = layers(&options(&servers, "back")).await;
    {
        let mut receives: Vec<_> = (0..3).map(|_| Box::pin(holder.receive::<u64>(["a"]))).collect();
        for receive in &mut receives {
            assert!(futures::poll!(receive.as_mut()).is_pending());
        }
        tokio::time::sleep(MOMENT).await;
        for number in 0..6 {
            sender.send("a", &number).await.unwrap();
        }
        tokio::time::sleep(MOMENT).await;
        // Dropped in another order than they were handed out.
        receives.swap(0, 1);
    }
    tokio::time::sleep(MOMENT).await;
    for expected in 0..6 {
        assert_eq!(soon("a message", other.receive::<u64>(["a"])).await.unwrap().1, expected);
    }
}

#[tokio::test]
async fn a_dropped_receive_stands_in_no_line() {
    let server = Server::private();
    let layer = options(&server, "lines").connect().await.unwrap();
    for _ in 0..50 {
        let received =
            tokio::time::timeout(Duration::from_millis(5), layer.receive::<u64>(["a", "b", "c?1"]));
        assert!(received.await.is_err());
    }
    tokio::time::sleep(MOMENT).await;
    let mut admin = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
    assert!(!keys.iter().any(|key| key.contains(":w:")), "{keys:?}");
}

on_one_and_three_servers!(dropped_sends_send_once_or_not_at_all, threads);
/// Shows R12.
async fn dropped_sends_send_once_or_not_at_all(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "sends").capacity(100_000)).await;
    let ledger = Arc::new(Ledger::default());
    let mut sends = Vec::new();
    for number in 0..2000 {
        let (sender, ledger) = (sender.clone(), Arc::clone(&ledger));
        assert_eq!(ledger.number(), number);
        ledger.sent(number, Sent::Perhaps);
        sends.push(tokio::spawn(async move {
            let polls = usize::try_from(number % 4).unwrap() + 1;
            if let Some(sent) = poll_at_most(polls, sender.send("a", &number)).await {
                sent.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        }));
    }
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    // A later send goes through: the dropped ones left nothing in its way.
    let last = ledger.number();
    sender.send("a", &last).await.unwrap();
    ledger.sent(last, Sent::Accepted);
    drain(&receiver, "a", &ledger, 1).await;
    ledger.balance();
}

on_one_and_three_servers!(more_releases_than_a_call_carries_go_before_the_next_receive);
/// Shows R8.
async fn more_releases_than_a_call_carries_go_before_the_next_receive(servers: Servers) {
    let [reader, writer] = layers(&options(&servers, "many-releases")).await;
    let mut receives: Vec<_> = (0..600)
        .map(|number| Box::pin(reader.receive::<u64>(vec![format!("quiet-{number}")])))
        .chain([Box::pin(reader.receive::<u64>(vec!["body?1".to_owned()]))])
        .collect();
    for receive in &mut receives {
        assert!(futures::poll!(receive.as_mut()).is_pending());
    }
    tokio::time::sleep(MOMENT * 4).await;
    writer.send("body?1", &1).await.unwrap();
    writer.send("body?1", &2).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    drop(receives);
    for expected in [1, 2] {
        assert_eq!(soon("a message", reader.receive::<u64>(["body?1"])).await.unwrap().1, expected);
    }
}

on_one_and_three_servers!(what_goes_back_is_pushed_to_a_receive_that_waits_already);
async fn what_goes_back_is_pushed_to_a_receive_that_waits_already(servers: Servers) {
    let [holder, other, sender] = layers(&options(&servers, "to-the-next")).await;
    let waiting = {
        let mut receive = pin!(holder.receive::<u64>(["a"]));
        fill(receive.as_mut(), &sender).await;
        let waiting = tokio::spawn(async move { other.receive::<u64>(["a"]).await });
        tokio::time::sleep(MOMENT).await;
        assert!(!waiting.is_finished());
        waiting
    };
    // Long before the next beat could find it.
    let received = tokio::time::timeout(Duration::from_secs(8), waiting).await.expect("no push came");
    assert_eq!(received.unwrap().unwrap().1, 1);
}

on_one_and_three_servers!(what_expired_meanwhile_does_not_go_back);
async fn what_expired_meanwhile_does_not_go_back(servers: Servers) {
    let options = options(&servers, "expired-back").expiry(Duration::from_millis(400));
    let [holder, other, sender] = layers(&options).await;
    let waiting = {
        let mut receive = pin!(holder.receive::<u64>(["a"]));
        fill(receive.as_mut(), &sender).await;
        let waiting = tokio::spawn(async move { other.receive::<u64>(["a"]).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        waiting
    };
    tokio::time::sleep(MOMENT).await;
    sender.send("a", &2).await.unwrap();
    assert_eq!(soon("the message", waiting).await.unwrap().unwrap().1, 2);
}

#[tokio::test]
async fn a_try_receive_that_found_nothing_leaves_nothing_behind() {
    let server = Server::private();
    let layer = options(&server, "try-nothing").connect().await.unwrap();
    for _ in 0..3 {
        assert!(layer.try_receive::<u64>(["a", "b?1"]).await.unwrap().is_none());
    }
    let mut admin = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
    let [client] = keys.iter().filter(|key| !key.ends_with("schema")).collect::<Vec<_>>()[..] else {
        panic!("{keys:?}")
    };
    let fields: u64 = redis::cmd("HLEN").arg(client).query_async(&mut admin).await.unwrap();
    assert_eq!(fields, 2, "its generation and its lease");
}

on_one_and_three_servers!(a_try_receive_dropped_at_each_of_its_await_points_keeps_the_ledger, threads);
async fn a_try_receive_dropped_at_each_of_its_await_points_keeps_the_ledger(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "try-points").capacity(10_000)).await;
    let ledger = Ledger::default();
    for _ in 0..400 {
        let number = ledger.number();
        sender.send("work", &number).await.unwrap();
        ledger.sent(number, Sent::Accepted);
    }
    for turn in 0..400 {
        let received = poll_at_most(turn % 4 + 1, receiver.try_receive::<u64>(["work", "other"])).await;
        if let Some((_, number)) = received.transpose().unwrap().flatten() {
            ledger.received(number);
        }
    }
    drain(&receiver, "work", &ledger, 400).await;
    ledger.balance();
}

on_one_and_three_servers!(a_receive_timeout_whose_time_is_up_as_its_message_comes_keeps_the_ledger);
async fn a_receive_timeout_whose_time_is_up_as_its_message_comes_keeps_the_ledger(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "just-in-time").capacity(10_000)).await;
    let ledger = Ledger::default();
    for turn in 0..300 {
        let number = ledger.number();
        let patience = Duration::from_micros(turn * 10);
        let (received, sent) =
            tokio::join!(receiver.receive_timeout::<u64>(["a"], patience), sender.send("a", &number));
        sent.unwrap();
        ledger.sent(number, Sent::Accepted);
        if let Some((_, number)) = received.unwrap() {
            ledger.received(number);
        }
    }
    drain(&receiver, "a", &ledger, 300).await;
    ledger.balance();
}

#[tokio::test]
async fn a_dropped_flush_is_taken_up_by_the_next() {
    let server = Server::private();
    let layer = options(&server, "flush-points").connect().await.unwrap();
    for number in 0..3000 {
        layer.send(format!("channel-{number}"), &number).await.unwrap();
    }
    for polls in 1..4 {
        poll_at_most(polls, layer.flush()).await;
    }
    layer.flush().await.unwrap();
    let mut admin = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:q:*").query_async(&mut admin).await.unwrap();
    assert_eq!(keys, [""; 0]);
}

on_one_and_three_servers!(a_dropped_close_closes_all_the_same);
async fn a_dropped_close_closes_all_the_same(servers: Servers) {
    let [layer, other] = layers(&options(&servers, "close-points")).await;
    let mut receive = pin!(layer.receive::<u64>(["a"]));
    fill(receive.as_mut(), &other).await;
    // Not polled even once.
    drop(layer.close());
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
    assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_dropped_connect_leaves_no_connection_behind() {
    let server = Server::private();
    let options = options(&server, "connect-points");
    for polls in 1..6 {
        poll_at_most(polls, options.connect()).await;
    }
    let mut admin = server.connection().await;
    let alone = async {
        loop {
            let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
            if list.lines().count() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of the connections", alone).await;
}
