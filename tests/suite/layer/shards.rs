//! Several servers as one layer: where messages are, and how they are received from all at once.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, RedisChannelLayer};
use futures::future::join_all;

use super::{MOMENT, layers, soon};
use crate::support::{Server, unique_prefix};

/// Options of a layer over three databases of one server, each a shard of its own.
fn three(server: &Server, test: &str) -> ConfigBuilder {
    let urls = [0, 1, 2].map(|db| server.url_with_db(db));
    ConfigBuilder::new().hosts(urls).prefix(unique_prefix(test))
}

/// The same shards, each as a layer of its own.
async fn each(server: &Server, prefix: &str) -> [RedisChannelLayer; 3] {
    let mut layers = Vec::new();
    for db in [0, 1, 2] {
        let options = ConfigBuilder::new().hosts([server.url_with_db(db)]).prefix(prefix);
        layers.push(options.connect().await.unwrap());
    }
    layers.try_into().unwrap()
}

async fn drain(layer: &RedisChannelLayer, channel: &str) -> Vec<u64> {
    let mut messages = Vec::new();
    while let Some((_, message)) = layer.try_receive(&[channel]).await.unwrap() {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn messages_of_a_normal_channel_spread_over_all_servers_and_are_received_from_all() {
    let server = Server::shared();
    let prefix = unique_prefix("spread");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    let alone = each(&server, &prefix).await;
    for number in 0..90_u64 {
        layer.send("jobs", &number).await.unwrap();
    }
    let mut found = Vec::new();
    for shard in &alone {
        let there = drain(shard, "jobs").await;
        assert!((20..=40).contains(&there.len()), "{} of 90 on one server", there.len());
        found.extend(there);
    }
    found.sort_unstable();
    assert_eq!(found, (0..90).collect::<Vec<_>>());

    for number in 0..90_u64 {
        layer.send("jobs", &number).await.unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..90 {
        received.push(soon("a message", layer.receive::<u64>(["jobs"])).await.unwrap().1);
    }
    received.sort_unstable();
    assert_eq!(received, (0..90).collect::<Vec<_>>());
    assert_eq!(layer.try_receive::<u64>(["jobs"]).await.unwrap(), None);
}

#[tokio::test]
async fn a_blocked_receive_is_woken_by_a_message_on_any_server() {
    let server = Server::shared();
    let prefix = unique_prefix("woken");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    for (number, shard) in each(&server, &prefix).await.iter().enumerate() {
        let receive = layer.receive::<usize>(["jobs", "others", "own?1"]);
        let sent = async {
            tokio::time::sleep(MOMENT).await;
            shard.send("jobs", &number).await.unwrap();
        };
        let (received, ()) = soon("a message", futures::future::join(receive, sent)).await;
        assert_eq!(received.unwrap().1, number);
    }
}

/// Shows R9 and R17.
#[tokio::test]
async fn a_receive_takes_one_message_though_all_servers_hand_it_one_at_once() {
    let server = Server::shared();
    let prefix = unique_prefix("one-of-three");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    let alone = each(&server, &prefix).await;
    for round in 0..20_u64 {
        let first = layer.receive::<u64>(["jobs"]);
        let sends = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let sends = alone.iter().zip(0..).map(|(shard, n)| async move {
                shard.send("jobs", &(3 * round + n)).await.unwrap();
            });
            join_all(sends).await;
        };
        let (first, _) = soon("a message", futures::future::join(first, sends)).await;
        let mut received = vec![first.unwrap().1];
        for _ in 0..2 {
            received.push(soon("the others", layer.receive::<u64>(["jobs"])).await.unwrap().1);
        }
        received.sort_unstable();
        assert_eq!(received, (3 * round..3 * round + 3).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_capacity_of_a_normal_channel_is_exact_over_all_servers() {
    let server = Server::shared();
    for capacity in [1, 2, 3, 10, 100] {
        let layers: [_; 2] = layers(&three(&server, "shares").capacity(capacity)).await;
        let sends = (0..150).map(|number| {
            let layer = &layers[number % 2];
            async move { layer.send("jobs", &number).await }
        });
        let outcomes = join_all(sends).await;
        let full = outcomes.iter().filter(|sent| sent.is_err()).count();
        assert_eq!(full, 150 - capacity, "capacity {capacity}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::ChannelFull, "{error}");
            assert!(error.to_string().contains(&format!("its capacity is {capacity};")), "{error}");
        }
        for _ in 0..capacity {
            soon("a message", layers[0].receive::<u64>(["jobs"])).await.unwrap();
        }
        assert_eq!(layers[0].try_receive::<u64>(["jobs"]).await.unwrap(), None);
    }
}

#[tokio::test]
async fn channels_that_are_sent_to_by_turns_spread_over_all_servers_each() {
    let server = Server::shared();
    let prefix = unique_prefix("by-turns");
    let names = ["a", "b", "c"];
    let layer = three(&server, "").prefix(&prefix).capacity(1_000).connect().await.unwrap();
    for number in 0..270_u64 {
        layer.send(names[usize::try_from(number).unwrap() % 3], &number).await.unwrap();
    }
    for shard in each(&server, &prefix).await {
        for name in names {
            let there = drain(&shard, name).await.len();
            assert!((20..=40).contains(&there), "{there} of 90 of channel {name} on one server");
        }
    }
}

#[tokio::test]
async fn what_waits_on_one_server_does_not_wait_until_another_is_empty() {
    let server = Server::shared();
    let prefix = unique_prefix("by-servers");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    for (number, shard) in each(&server, &prefix).await.iter().enumerate() {
        for _ in 0..100 {
            shard.send("jobs", &number).await.unwrap();
        }
    }
    let mut taken = [0; 3];
    for _ in 0..120 {
        taken[soon("a message", layer.receive::<usize>(["jobs"])).await.unwrap().1] += 1;
    }
    // How evenly depends on how fast each server answers.
    assert!(taken.iter().all(|taken| (1..100).contains(taken)), "{taken:?} of 120, of which each has 100");
}

#[tokio::test]
async fn a_single_reader_channel_keeps_its_order_and_lives_on_one_server() {
    let server = Server::shared();
    let prefix = unique_prefix("ordered");
    let [reader, writer] = layers(&three(&server, "").prefix(&prefix)).await;
    for number in 0..100_u64 {
        writer.send("body?1", &number).await.unwrap();
    }
    for number in 0..50_u64 {
        assert_eq!(soon("a message", reader.receive::<u64>(["body?1"])).await.unwrap().1, number);
    }
    let mut left = Vec::new();
    for shard in each(&server, &prefix).await {
        left.push(drain(&shard, "body?1").await.len());
    }
    left.sort_unstable();
    assert_eq!(left, [0, 0, 50]);
}

#[tokio::test]
async fn inboxes_and_groups_reach_over_all_servers() {
    let server = Server::shared();
    let options = three(&server, "groups-over-three");
    let processes: [_; 4] = layers(&options).await;
    let mut mailboxes = Vec::new();
    for process in &processes {
        for _ in 0..3 {
            let inbox = process.open_inbox("websocket.send").await.unwrap();
            mailboxes.push(inbox.open_mailbox().unwrap());
        }
    }
    for mailbox in &mailboxes {
        processes[0].group_add("room", mailbox.name()).await.unwrap();
    }
    processes[0].group_add("room", "log").await.unwrap();
    processes[0].group_add("room", "body?1").await.unwrap();
    assert_eq!(processes[3].group_len("room").await.unwrap(), 14);
    let receipt = processes[1].group_send("room", "hi").await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full(), receipt.unreached().len()), (14, 0, 0));
    for mailbox in &mut mailboxes {
        assert_eq!(soon("a copy", mailbox.receive::<String>()).await.unwrap(), "hi");
    }
    for channel in ["log", "body?1"] {
        let copy = soon("a copy", processes[2].receive::<String>([channel])).await.unwrap();
        assert_eq!(copy.1, "hi");
    }
    assert_eq!(processes[2].try_receive::<String>(["log"]).await.unwrap(), None);
}
