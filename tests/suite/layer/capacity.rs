//! A channel at capacity refuses, exactly.

use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelLayerExt, ChannelName, ErrorKind, glob};
use futures::future::join_all;

use super::{layers, options, soon, until};
use crate::support::Servers;

on_one_and_three_servers!(
    of_100_concurrent_senders_at_capacity_10_exactly_10_are_accepted_and_again_after_expiry,
    threads
);
async fn of_100_concurrent_senders_at_capacity_10_exactly_10_are_accepted_and_again_after_expiry(
    servers: Servers,
) {
    let options = options(&servers, "capacity").capacity(10).expiry(Duration::from_millis(1500));
    let layers: [_; 4] = layers(&options).await;
    for round in 0..2 {
        let sends = (0..100).map(|sender: usize| {
            let layer = layers[sender % 4].clone();
            tokio::spawn(async move { layer.send("small", &sender).await })
        });
        let mut accepted = 0;
        for sent in join_all(sends).await {
            match sent.unwrap() {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ChannelFull);
                    assert!(error.may_retry() && !error.perhaps_sent());
                    let found = match servers.all().len() {
                        1 => "10 messages wait",
                        _ => "on all servers that can be reached",
                    };
                    let text = error.to_string();
                    assert!(text.contains("channel \"small\" is full") && text.contains(found), "{text}");
                    assert!(
                        text.ends_with("its capacity is 10; receive some, or send again later"),
                        "{text}"
                    );
                }
            }
        }
        assert_eq!(accepted, 10, "in round {round}");
        tokio::time::sleep(Duration::from_millis(1800)).await;
    }
}

on_one_and_three_servers!(a_taken_message_makes_room_and_patterns_give_channels_their_own_capacity);
async fn a_taken_message_makes_room_and_patterns_give_channels_their_own_capacity(servers: Servers) {
    let options = options(&servers, "room").channel_capacity([(glob("tiny*"), 1)]);
    let layer = options.connect().await.unwrap();
    layer.send("tiny.a", &1).await.unwrap();
    layer.send("tiny.b", &1).await.unwrap();
    layer.send("other", &1).await.unwrap();
    layer.send("other", &1).await.unwrap();
    assert_eq!(layer.send("tiny.a", &2).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    layer.receive::<u64>(["tiny.a"]).await.unwrap();
    layer.send("tiny.a", &3).await.unwrap();
}

on_one_and_three_servers!(all_addresses_of_an_inbox_share_its_capacity);
async fn all_addresses_of_an_inbox_share_its_capacity(servers: Servers) {
    let layer = options(&servers, "inbox").inbox_capacity(2).connect().await.unwrap();
    layer.send("send.p7!a", &1).await.unwrap();
    layer.send("send.p7!b", &1).await.unwrap();
    let error = layer.send("send.p7!c", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    assert!(error.to_string().contains("whose capacity is 2 (option `inbox_capacity`)"), "{error}");
    layer.send("send.p8!c", &1).await.unwrap();
}

on_one_and_three_servers!(an_inbox_holds_more_than_a_channel_unless_a_pattern_says_how_much);
async fn an_inbox_holds_more_than_a_channel_unless_a_pattern_says_how_much(servers: Servers) {
    let options = options(&servers, "inbox-more").capacity(1).channel_capacity([(glob("small!*"), 3)]);
    let layer = options.connect().await.unwrap();
    for message in 0..50 {
        layer.send("send.p7!a", &message).await.unwrap();
    }
    for message in 0..3 {
        layer.send(&*format!("small.p7!{message}"), &message).await.unwrap();
    }
    let error = layer.send("small.p7!x", &3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    layer.group_add("room", "small.p7!x").await.unwrap();
    layer.send("send?a", &1).await.unwrap();
    assert_eq!(layer.send("send?a", &2).await.unwrap_err().kind(), ErrorKind::ChannelFull);
}

on_one_and_three_servers!(an_inbox_whose_process_does_not_read_has_as_many_bytes_as_it_may);
async fn an_inbox_whose_process_does_not_read_has_as_many_bytes_as_it_may(servers: Servers) {
    const MIB: usize = 1 << 20;
    let [owner, sender] = layers(&options(&servers, "bytes").inbox_bytes(3 * MIB)).await;
    // Nothing was opened in it, so nobody reads it yet.
    let inbox = owner.open_inbox("member").await.unwrap();
    let names = ["a", "b"].map(|address| ChannelName::new(&format!("{}{address}", inbox.name())).unwrap());
    sender.group_add("room", &names[1]).await.unwrap();
    let half = "x".repeat(MIB / 2);
    let mut accepted = 0;
    let error = loop {
        match sender.send(&names[0], &half).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    // A server's allocator gives some more bytes than are asked for.
    assert!((4..=5).contains(&accepted), "{accepted} of half a MiB in 3 MiB");
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    assert!(error.to_string().contains("option `inbox_bytes`"), "{error}");
    let receipt = sender.group_send("room", &half).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full()), (0, 1));
    sender.send(&names[0], "small").await.unwrap();
    assert!(sender.group_send("room", "small").await.unwrap().reached_all().is_ok());
    // What is taken makes room.
    for _ in 0..accepted {
        let (_, message) = soon("a large one", inbox.next::<String>()).await.unwrap();
        assert_eq!(message.len(), half.len());
    }
    until("there is room again", async || sender.send(&names[0], &half).await.is_ok()).await;
}

on_one_and_three_servers!(send_wait_waits_for_room_and_not_longer_than_told);
async fn send_wait_waits_for_room_and_not_longer_than_told(servers: Servers) {
    let layer = options(&servers, "wait").capacity(1).connect().await.unwrap();
    layer.send("full", &1).await.unwrap();
    let started = Instant::now();
    let error = layer.send_wait("full", &2, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    assert!(started.elapsed() >= Duration::from_millis(200));
    let (sent, received) = tokio::join!(layer.send_wait("full", &3, super::PATIENCE), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        layer.receive::<u64>(["full"]).await
    });
    sent.unwrap();
    assert_eq!(received.unwrap().1, 1);
    assert_eq!(soon("the message that waited for room", layer.receive::<u64>(["full"])).await.unwrap().1, 3);
}

on_one_and_three_servers!(a_full_channel_does_not_stop_sends_to_another_in_the_same_call);
async fn a_full_channel_does_not_stop_sends_to_another_in_the_same_call(servers: Servers) {
    let layer = options(&servers, "neighbours").capacity(1).connect().await.unwrap();
    layer.send("full", &1).await.unwrap();
    let sends = (0..50).map(|number| {
        let layer = layer.clone();
        async move {
            let channel = if number % 2 == 0 { "full".to_owned() } else { format!("free-{number}") };
            (number % 2 == 0, layer.send(&channel, &number).await)
        }
    });
    for (to_full, sent) in join_all(sends).await {
        assert_eq!(sent.is_err(), to_full, "{sent:?}");
    }
    layer.flush().await.unwrap();
}

on_one_and_three_servers!(expired_messages_in_front_of_a_live_one_do_not_count);
async fn expired_messages_in_front_of_a_live_one_do_not_count(servers: Servers) {
    let long = options(&servers, "front").capacity(2);
    let short = long.clone().expiry(Duration::from_millis(400));
    let [long, short] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    short.send("a", &1).await.unwrap();
    long.send("a", &2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    long.send("a", &3).await.unwrap();
    assert_eq!(long.send("a", &4).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    let mut left = [0; 2];
    for left in &mut left {
        *left = long.try_receive::<u64>(["a"]).await.unwrap().unwrap().1;
    }
    left.sort_unstable();
    assert_eq!(left, [2, 3]);
}

on_one_and_three_servers!(expired_messages_behind_a_live_one_make_room_too);
async fn expired_messages_behind_a_live_one_make_room_too(servers: Servers) {
    let long = options(&servers, "behind").capacity(10);
    let short = long.clone().expiry(Duration::from_millis(600));
    let [long, short] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    long.send("a", &0).await.unwrap();
    for number in 1..10 {
        short.send("a", &number).await.unwrap();
    }
    assert_eq!(short.send("a", &10).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    tokio::time::sleep(Duration::from_millis(1800)).await;
    for number in 11..20 {
        long.send("a", &number).await.unwrap();
    }
    let error = long.send("a", &20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    let mut left = Vec::new();
    while let Some((_, number)) = long.try_receive::<u64>(["a"]).await.unwrap() {
        left.push(number);
    }
    left.sort_unstable();
    assert_eq!(left, [0, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
}
