//! Several servers as one layer: everything works as with one, and goes on when one of them is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, RedisChannelLayer};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{MOMENT, layers, soon};
use crate::support::{Ledger, Sent, Server, unique_prefix};

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
        received.push(soon("a message", layer.receive::<_, u64>(["jobs"])).await.unwrap().1);
    }
    received.sort_unstable();
    assert_eq!(received, (0..90).collect::<Vec<_>>());
    assert_eq!(layer.try_receive::<_, u64>(["jobs"]).await.unwrap(), None);
}

#[tokio::test]
async fn a_blocked_receive_is_woken_by_a_message_on_any_server() {
    let server = Server::shared();
    let prefix = unique_prefix("woken");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    for (number, shard) in each(&server, &prefix).await.iter().enumerate() {
        let receive = layer.receive::<_, usize>(["jobs", "others", "own?1"]);
        let sent = async {
            tokio::time::sleep(MOMENT).await;
            shard.send("jobs", &number).await.unwrap();
        };
        let (received, ()) = soon("a message", futures::future::join(receive, sent)).await;
        assert_eq!(received.unwrap().1, number);
    }
}

#[tokio::test]
async fn a_receive_takes_one_message_though_all_servers_hand_it_one_at_once() {
    let server = Server::shared();
    let prefix = unique_prefix("one-of-three");
    let layer = three(&server, "").prefix(&prefix).connect().await.unwrap();
    let alone = each(&server, &prefix).await;
    for round in 0..20_u64 {
        let first = layer.receive::<_, u64>(["jobs"]);
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
            received.push(soon("the others", layer.receive::<_, u64>(["jobs"])).await.unwrap().1);
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
            soon("a message", layers[0].receive::<_, u64>(["jobs"])).await.unwrap();
        }
        assert_eq!(layers[0].try_receive::<_, u64>(["jobs"]).await.unwrap(), None);
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
async fn a_single_reader_channel_keeps_its_order_and_lives_on_one_server() {
    let server = Server::shared();
    let prefix = unique_prefix("ordered");
    let [reader, writer] = layers(&three(&server, "").prefix(&prefix)).await;
    for number in 0..100_u64 {
        writer.send("body?1", &number).await.unwrap();
    }
    for number in 0..50_u64 {
        assert_eq!(soon("a message", reader.receive::<_, u64>(["body?1"])).await.unwrap().1, number);
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
            let inbox = process.inbox("websocket.send").await.unwrap();
            mailboxes.push(inbox.open().unwrap());
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
        let copy = soon("a copy", processes[2].receive::<_, String>([channel])).await.unwrap();
        assert_eq!(copy.1, "hi");
    }
    assert_eq!(processes[2].try_receive::<_, String>(["log"]).await.unwrap(), None);
}

/// How long layers wait for an answer of three servers of which one is in trouble.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Three servers, of which tests may end or freeze one.
struct Trio {
    servers: [Server; 3],
}

impl Trio {
    fn start() -> Self {
        Self { servers: [Server::private(), Server::private(), Server::private()] }
    }

    fn options(&self) -> ConfigBuilder {
        ConfigBuilder::new()
            .hosts(self.servers.each_ref().map(Server::url))
            .prefix(unique_prefix("trio"))
            .capacity(1_000_000)
            .channel_capacity([("spread", 300)])
            .response_timeout(TIMEOUT)
    }
}

/// How many of 60 sends to `?` channels fail and how many do not.
async fn sends(layer: &RedisChannelLayer) -> BTreeMap<bool, usize> {
    let mut outcomes = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..60 {
        let sent = layer.send(format!("body?{}", random.u64(..)), &number).await;
        if let Err(error) = &sent {
            assert!(error.may_retry() && error.to_string().contains("127.0.0.1"), "{error}");
        }
        *outcomes.entry(sent.is_ok()).or_default() += 1;
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_fails_only_what_must_go_to_it_and_is_taken_back() {
    let trio = Trio::start();
    let layer = trio.options().connect().await.unwrap();
    let inboxes = join_all((0..6).map(|_| layer.inbox("chat"))).await;
    let mut mailboxes: Vec<_> = inboxes.into_iter().map(|inbox| inbox.unwrap().open().unwrap()).collect();
    for mailbox in &mailboxes {
        layer.group_add("room", mailbox.name()).await.unwrap();
    }
    assert!(layer.health().await.iter().all(|shard| shard.is_up()));
    assert_eq!(sends(&layer).await, BTreeMap::from([(true, 60)]));

    trio.servers[1].stop();
    soon("the loss is noticed", async {
        while layer.health().await[1].is_up() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let health = layer.health().await;
    assert_eq!(health.iter().map(|shard| shard.is_up()).collect::<Vec<_>>(), [true, false, true]);
    assert!(health[0].version().unwrap().contains('.') && health[0].latency().is_some());
    assert!(health[1].error().unwrap().to_string().contains(health[1].host()));

    let outcomes = sends(&layer).await;
    assert!((10..=30).contains(&outcomes[&false]), "{outcomes:?}");
    for number in 0..100 {
        layer.send("jobs", &number).await.unwrap();
        soon("a message", layer.receive::<_, u64>(["jobs"])).await.unwrap();
    }
    let receipt = layer.group_send("room", "hi").await.unwrap();
    assert_eq!(receipt.unreached().len(), 1, "{receipt:?}");
    assert_eq!(receipt.unreached()[0].host(), health[1].host());

    trio.servers[1].start();
    soon("all are back", async {
        while !layer.health().await.iter().all(|shard| shard.is_up()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(sends(&layer).await, BTreeMap::from([(true, 60)]));
    let again = async {
        loop {
            let receipt = layer.group_send("room", "again").await.unwrap();
            if receipt.unreached().is_empty() && receipt.delivered() == 6 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the members on the third server are in the group again", again).await;
    for mailbox in &mut mailboxes {
        let heard = async { while mailbox.receive::<String>().await.unwrap() != "again" {} };
        soon("the group", heard).await;
    }
    layer.close().await.unwrap();
}

/// Senders and receivers of two normal channels.
struct Load {
    ledger: Arc<Ledger>,
    stop_sending: watch::Sender<bool>,
    stop_receiving: watch::Sender<bool>,
    senders: Vec<JoinHandle<Duration>>,
    receivers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(name: &'static str, sender: &RedisChannelLayer, receiver: &RedisChannelLayer) -> Self {
        let channels = [format!("{name}.a"), format!("{name}.b")];
        let ledger = Arc::new(Ledger::default());
        let (stop_sending, _) = watch::channel(false);
        let (stop_receiving, _) = watch::channel(false);
        let receivers = (0..4).map(|_| {
            let (layer, ledger) = (receiver.clone(), Arc::clone(&ledger));
            let mut stopped = stop_receiving.subscribe();
            let channels = channels.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        received = layer.receive::<_, u64>(&channels) => ledger.received(received.unwrap().1),
                        _ = stopped.wait_for(|stopped| *stopped) => return,
                    }
                }
            })
        });
        let senders = (0..8).map(|_| {
            let (layer, ledger) = (sender.clone(), Arc::clone(&ledger));
            let stopped = stop_sending.subscribe();
            let channels = channels.clone();
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                while !*stopped.borrow() {
                    let number = ledger.number();
                    let begun = Instant::now();
                    match layer.send(&channels[usize::from(number % 2 == 0)], &number).await {
                        Ok(()) => {
                            slowest = slowest.max(begun.elapsed());
                            ledger.sent(number, Sent::Accepted);
                        }
                        Err(error) if error.perhaps_sent() => ledger.sent(number, Sent::Perhaps),
                        Err(error) => panic!("{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                slowest
            })
        });
        let (receivers, senders) = (receivers.collect(), senders.collect());
        Self { ledger, stop_sending, stop_receiving, senders, receivers }
    }

    /// Ends the senders; all that was accepted arrives, once. Says how many were accepted, and what the slowest of
    /// these took.
    async fn finish(self) -> (usize, Duration) {
        self.stop_sending.send_replace(true);
        let mut slowest = Duration::ZERO;
        for sender in self.senders {
            slowest = slowest.max(soon("a sender", sender).await.unwrap());
        }
        self.ledger.wait_for_balance().await;
        tokio::time::sleep(MOMENT).await;
        self.stop_receiving.send_replace(true);
        for receiver in self.receivers {
            soon("a receiver", receiver).await.unwrap();
        }
        self.ledger.balance();
        (self.ledger.accepted_and_refused().0, slowest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_under_load_loses_and_repeats_nothing_and_holds_up_only_what_was_written_to_it() {
    let trio = Trio::start();
    let [receiver, sender] = layers(&trio.options()).await;
    let load = Load::start("during", &sender, &receiver);
    tokio::time::sleep(2 * MOMENT).await;
    trio.servers[2].pause();
    soon("the silence is noticed", async {
        while sender.health().await[2].is_up() {
            tokio::time::sleep(MOMENT).await;
        }
    })
    .await;
    // From now on nothing is written to it, so nothing waits for its answer.
    let meanwhile = Load::start("after", &sender, &receiver);
    tokio::time::sleep(4 * MOMENT).await;
    let (accepted, slowest) = meanwhile.finish().await;
    assert!(accepted > 100, "only {accepted} went to the others");
    assert!(slowest < TIMEOUT, "a send to the others took {slowest:?}");
    trio.servers[2].unpause();
    load.finish().await;
    spread_again(&sender).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_under_load_costs_nothing_that_the_others_accepted_and_gets_its_part_again() {
    let trio = Trio::start();
    let [receiver, sender] = layers(&trio.options()).await;
    let load = Load::start("during", &sender, &receiver);
    trio.servers[0].stop();
    // What it had accepted and not handed over is gone with it; from here on it accepts nothing.
    soon("the loss is noticed", async {
        while sender.health().await[0].is_up() || receiver.health().await[0].is_up() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let meanwhile = Load::start("after", &sender, &receiver);
    tokio::time::sleep(4 * MOMENT).await;
    let (accepted, _) = meanwhile.finish().await;
    assert!(accepted > 100, "only {accepted} went to the others");
    trio.servers[0].start();
    spread_again(&sender).await;
    drop(load);
}

/// All servers take messages of a normal channel within 2 s.
async fn spread_again(layer: &RedisChannelLayer) {
    let up = async {
        while !layer.health().await.iter().all(|shard| shard.is_up()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), up).await.expect("the server is taken back within 2 s");
    // Each has a third of the capacity, so two of them cannot hold so many.
    for number in 0..300_u64 {
        layer.send("spread", &number).await.unwrap();
    }
}
