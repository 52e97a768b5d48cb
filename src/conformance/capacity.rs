//! A channel at capacity refuses, exactly.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use super::subject::{Settings, Subject};
use super::support::{
    Client, PATIENCE, address, all_waiting, capacity, clients, moment, next, number, receive, soon,
};
use crate::{ChannelLayerExt, ChannelName, ErrorKind};

/// Fails unless a send is refused for want of room.
async fn is_full(client: &Client, channel: &str) {
    let refused = soon("the refusal", client.send(channel, &99)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ChannelFull, "{refused}");
    assert!(refused.may_retry() && !refused.perhaps_sent(), "{refused}");
}

/// Sends the numbers up to a hundred at once, each from a task of its own; returns those that were accepted, in order.
async fn send_hundred(clients: &[Client], channels: &[ChannelName]) -> Vec<u64> {
    let sends = (0..100_usize).map(|turn| {
        let (client, channel) =
            (clients[turn % clients.len()].clone(), channels[turn % channels.len()].clone());
        tokio::spawn(async move { client.send(channel, &turn).await })
    });
    let outcomes = soon("all sends", join_all(sends)).await;
    let accepted = outcomes.into_iter().zip(0..).filter_map(|(sent, number)| match sent.unwrap() {
        Ok(()) => Some(number),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ChannelFull, "{error}");
            None
        }
    });
    accepted.collect()
}

pub(super) async fn a_send_to_a_full_channel_is_refused_at_once(subject: &dyn Subject) {
    let [client, other] = clients(subject, &capacity(2)).await;
    for channel in ["a", "a?1"] {
        client.send(channel, &0).await.unwrap();
        other.send(channel, &1).await.unwrap();
        is_full(&client, channel).await;
        is_full(&other, channel).await;
        let mut received = all_waiting(&client, channel).await;
        received.sort_unstable();
        assert_eq!(received, [0, 1], "what was refused is not sent");
    }
}

pub(super) async fn of_a_hundred_concurrent_senders_as_many_are_accepted_as_the_capacity(
    subject: &dyn Subject,
) {
    for limit in [1, 7, 10] {
        let four: [_; 4] = clients(subject, &capacity(limit)).await;
        for channel in ["a", "a?1"] {
            let accepted = send_hundred(&four, &[channel.parse().unwrap()]).await;
            assert_eq!(accepted.len(), limit, "on {channel}");
            let mut received = all_waiting(&four[0], channel).await;
            received.sort_unstable();
            assert_eq!(received, accepted, "what was accepted, and nothing else, arrives on {channel}");
        }
    }
}

pub(super) async fn a_channel_takes_all_of_its_capacity(subject: &dyn Subject) {
    let [client] = clients(subject, &Settings::default()).await;
    for channel in ["a", "a?1"] {
        for message in 0..100 {
            client.send(channel, &message).await.unwrap();
        }
        is_full(&client, channel).await;
    }
}

pub(super) async fn taking_a_message_makes_room_for_one(subject: &dyn Subject) {
    let [client, other] = clients(subject, &capacity(3)).await;
    for channel in ["a", "a?1"] {
        let is_exact = channel != "a" || !subject.may_exceed_capacity_while_receiving();
        for message in 0..3 {
            client.send(channel, &message).await.unwrap();
        }
        let mut received = Vec::new();
        for message in 3..20 {
            if is_exact {
                is_full(&client, channel).await;
            }
            received.push(number(&client, channel).await);
            other.send(channel, &message).await.unwrap();
        }
        while received.len() < 20 {
            received.push(number(&other, channel).await);
        }
        received.sort_unstable();
        assert!(received.into_iter().eq(0..20), "on {channel}");
    }
}

pub(super) async fn a_full_channel_stops_no_send_to_another(subject: &dyn Subject) {
    let [client] = clients(subject, &capacity(1)).await;
    client.send("full", &1).await.unwrap();
    let sends = (0..50).map(|number| {
        let client = client.clone();
        let name = if number % 2 == 0 { "full".to_owned() } else { format!("free-{number}") };
        async move { (number % 2 == 0, client.send(name, &number).await) }
    });
    for (to_full, sent) in soon("all sends", join_all(sends)).await {
        assert_eq!(sent.is_err(), to_full, "{sent:?}");
    }
}

pub(super) async fn the_addresses_of_an_inbox_that_is_not_read_share_one_capacity(subject: &dyn Subject) {
    let four: [_; 4] = clients(subject, &capacity(10)).await;
    let (inbox, other) = (four[0].open_inbox("a").await.unwrap(), four[0].open_inbox("a").await.unwrap());
    let addresses = ["x", "y", "z"].map(|local| address(&inbox, local));
    let accepted = send_hundred(&four, &addresses).await;
    assert_eq!(accepted.len(), 10);
    is_full(&four[1], address(&inbox, "never.used").as_str()).await;
    four[1].send(address(&other, "x"), &1).await.unwrap();
    let mut received = Vec::new();
    for _ in 0..10 {
        received.push(next(&inbox).await.1);
    }
    received.sort_unstable();
    assert_eq!(received, accepted);
    assert_eq!(next(&other).await.1, 1, "another inbox has a capacity of its own");
}

pub(super) async fn a_pattern_gives_channels_a_capacity_of_their_own(subject: &dyn Subject) {
    let patterns = [("small*", 1), ("body?*", 2), ("letter.*", 3)];
    let channel_capacity = patterns.map(|(pattern, capacity)| (pattern.to_owned(), capacity)).to_vec();
    let settings = Settings { channel_capacity, capacity: 5, ..Settings::default() };
    let [client] = clients(subject, &settings).await;
    let inbox = client.open_inbox("letter").await.unwrap();
    let address = address(&inbox, "x");
    for (channel, capacity) in
        [("small.a", 1), ("small.b", 1), ("body?1", 2), ("other", 5), ("other?1", 5), (address.as_str(), 3)]
    {
        for message in 0..capacity {
            client.send(channel, &message).await.unwrap();
        }
        is_full(&client, channel).await;
    }
}

pub(super) async fn the_first_pattern_that_matches_decides(subject: &dyn Subject) {
    let patterns = [("http.*", 1), ("http.request", 2), ("*", 3)];
    let channel_capacity = patterns.map(|(pattern, capacity)| (pattern.to_owned(), capacity)).to_vec();
    let [client] = clients(subject, &Settings { channel_capacity, ..Settings::default() }).await;
    for (channel, capacity) in [("http.request", 1), ("websocket.connect", 3)] {
        for message in 0..capacity {
            client.send(channel, &message).await.unwrap();
        }
        is_full(&client, channel).await;
    }
}

pub(super) async fn a_pattern_need_not_know_the_process_part_of_an_inbox(subject: &dyn Subject) {
    let channel_capacity = vec![("http.response!*".to_owned(), 2)];
    let [client] = clients(subject, &Settings { channel_capacity, ..Settings::default() }).await;
    let inbox = client.open_inbox("http.response").await.unwrap();
    for message in 0..2 {
        client.send(address(&inbox, "x"), &message).await.unwrap();
    }
    is_full(&client, address(&inbox, "y").as_str()).await;
}

pub(super) async fn a_sender_may_wait_for_room_and_not_longer_than_it_says(subject: &dyn Subject) {
    let [client, other] = clients(subject, &capacity(1)).await;
    client.send("full", &1).await.unwrap();
    let (started, patience) = (Instant::now(), Duration::from_millis(300));
    let refused = soon("giving up", client.send_wait("full", &2, patience)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ChannelFull);
    assert!(started.elapsed() >= patience, "it gave up too early");
    let sent = client.send_wait("full", &3, PATIENCE);
    let taken = async {
        moment().await;
        number(&other, "full").await
    };
    let (sent, taken) = join(sent, taken).await;
    sent.unwrap();
    assert_eq!(taken, 1);
    assert_eq!(receive::<u64>(&other, &["full"]).await.1, 3);
}

pub(super) async fn a_sender_that_waits_through_outages_waits_for_room_too(subject: &dyn Subject) {
    let [client, other] = clients(subject, &capacity(1)).await;
    client.send("full", &1).await.unwrap();
    let (started, patience) = (Instant::now(), Duration::from_millis(300));
    let refused = soon("giving up", client.send_within("full", &2, patience)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.perhaps_sent()), (ErrorKind::ChannelFull, false));
    assert!(started.elapsed() >= patience / 2, "it gave up too early");
    let taken = async {
        moment().await;
        number(&other, "full").await
    };
    let (sent, taken) = join(client.send_within("full", &3, PATIENCE), taken).await;
    sent.unwrap();
    assert_eq!((taken, number(&other, "full").await), (1, 3));
}
