//! Three servers of which one dies or freezes: it fails and holds up only what must go to it, and is taken back.

mod under_load;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, RedisChannelLayer, glob};
use futures::future::join_all;

use super::{MOMENT, soon, until};
use crate::support::{Server, Text, unique_prefix};

/// How long layers wait for an answer of a server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How soon a server that is back has its part of the load.
const BACK: Duration = Duration::from_secs(2);

/// Three servers, of which tests may end or freeze one.
struct Trio {
    servers: [Server; 3],
}

impl Trio {
    /// Servers that forget everything when they are killed.
    fn start() -> Self {
        Self { servers: [(); 3].map(|()| Server::private()) }
    }

    /// Servers that know again what they have answered, when they are killed and come back.
    fn start_lasting() -> Self {
        // Not synchronized to the disk: it is the server that is killed, not the machine.
        let lasting = ["--appendonly", "yes", "--appendfsync", "no"];
        Self { servers: [(); 3].map(|()| Server::private_with(&lasting)) }
    }

    fn options(&self) -> ConfigBuilder {
        ConfigBuilder::new()
            .hosts(self.servers.each_ref().map(Server::url))
            .prefix(unique_prefix("trio"))
            .capacity(1_000_000)
            .channel_capacity([(glob("spread*"), 300), (glob("one.*"), 1)])
            .response_timeout(TIMEOUT)
    }
}

/// Waits until a layer says of a server that it is up, or down.
async fn until_up(layer: &RedisChannelLayer, server: usize, up: bool) {
    until("its state is seen", async || layer.health().await[server].is_up() == up).await;
}

/// All servers take messages of a normal channel within 2 s.
async fn spread_again(layer: &RedisChannelLayer, channel: &str) {
    let up = async {
        while !layer.health().await.iter().all(|shard| shard.is_up()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Each has a third of the capacity, so two of them cannot hold so many.
        let sends = join_all((0..300).map(async |number: u64| layer.send(channel, &number).await));
        sends.await.into_iter().for_each(Result::unwrap);
    };
    tokio::time::timeout(BACK, up).await.expect("the server has its part again within 2 s");
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
    let inboxes = join_all((0..6).map(|_| layer.open_inbox("chat"))).await;
    let mut mailboxes: Vec<_> =
        inboxes.into_iter().map(|inbox| inbox.unwrap().open_mailbox().unwrap()).collect();
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
        soon("a message", layer.receive::<u64>(["jobs"])).await.unwrap();
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

#[tokio::test]
async fn where_only_a_dead_server_has_a_share_of_a_capacity_the_send_fails_by_name() {
    let trio = Trio::start();
    let layer = trio.options().connect().await.unwrap();
    trio.servers[1].stop();
    until_up(&layer, 1, false).await;
    let (mut accepted, mut failed) = (0, 0);
    for number in 0..30 {
        let channel = format!("one.{number}");
        match layer.send(&channel, &number).await {
            Ok(()) => {
                accepted += 1;
                // The dead one has no share of this, so it is full and not out of reach.
                let error = layer.send(&channel, &number).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ChannelFull, "{error}");
            }
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
                assert!(error.may_retry() && !error.perhaps_sent(), "{error:?}");
                let text = error.to_string();
                assert!(text.contains(&trio.servers[1].address()) && text.contains(&channel), "{text}");
            }
        }
    }
    assert!(accepted > 10 && failed > 3, "{accepted} accepted, {failed} failed");
}

#[tokio::test]
async fn a_share_of_a_dead_server_is_not_given_to_the_others() {
    let trio = Trio::start();
    let layer = trio.options().connect().await.unwrap();
    trio.servers[2].stop();
    until_up(&layer, 2, false).await;
    let mut accepted = 0;
    while layer.send("spread", &accepted).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 200, "of 300, of which the dead one has 100");
    assert_eq!(layer.send("spread", &0).await.unwrap_err().kind(), ErrorKind::ChannelFull);
}

#[tokio::test]
async fn a_receive_goes_on_with_the_living_and_takes_what_the_dead_one_has_when_it_is_back() {
    let trio = Trio::start_lasting();
    let layer = trio.options().connect().await.unwrap();
    for number in 0..9_u64 {
        layer.send("jobs", &number).await.unwrap();
    }
    trio.servers[0].stop();
    until_up(&layer, 0, false).await;
    let mut received = Vec::new();
    while let Some((_, number)) = layer.try_receive::<u64>(["jobs"]).await.unwrap() {
        received.push(number);
    }
    assert!((4..=7).contains(&received.len()), "the living have {received:?}");
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<u64>(["jobs"]).await.unwrap().1 }
    });
    tokio::time::sleep(MOMENT).await;
    assert!(!waiting.is_finished());
    trio.servers[0].start();
    received.push(soon("one of the rest", waiting).await.unwrap());
    while received.len() < 9 {
        received.push(soon("the rest", layer.receive::<u64>(["jobs"])).await.unwrap().1);
    }
    received.sort_unstable();
    assert_eq!(received, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_try_receive_does_not_wait_for_a_server_that_is_known_to_be_silent() {
    let trio = Trio::start();
    let layer = trio.options().connect().await.unwrap();
    trio.servers[1].pause();
    let first = tokio::spawn({
        let layer = layer.clone();
        async move { layer.try_receive::<u64>(["jobs"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    assert!(!first.is_finished(), "it was asked of all, and one owes its answer");
    for _ in 0..20 {
        let received = layer.try_receive::<u64>(["jobs"]).await.unwrap();
        assert!(received.is_none() && !first.is_finished(), "this one waited for it too");
    }
    assert!(soon("the first", first).await.unwrap().unwrap().is_none(), "nothing was with the others");
    trio.servers[1].unpause();
}

/// What all layers of this run tell of their connections from now on.
struct Told {
    text: Text,
    start: usize,
}

impl Told {
    fn listen() -> Self {
        // One for all threads: what is told on one of them may be decided on another.
        static TEXT: OnceLock<Text> = OnceLock::new();
        let text = TEXT.get_or_init(|| {
            let text = Text::default();
            let writer = text.clone();
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
            text
        });
        Self { text: text.clone(), start: text.read().len() }
    }

    /// How many lines say a thing of a server.
    fn count(&self, what: &str, server: &Server) -> usize {
        let text = self.text.read();
        text[self.start..]
            .lines()
            .filter(|line| line.contains(what) && line.contains(&server.address()))
            .count()
    }
}

#[tokio::test]
async fn an_outage_is_told_once_and_its_end_once() {
    let told = Told::listen();
    let trio = Trio::start();
    let layer = trio.options().connect().await.unwrap();
    let waiting = join_all((0..5).map(|_| layer.receive::<u64>(["quiet"])));
    let told_of = |number: usize| {
        let server = &trio.servers[number];
        (told.count("lost a server", server), told.count("connected again", server))
    };
    let outages = async {
        for outage in 1..=2 {
            trio.servers[1].stop();
            until("it is told", async || told_of(1) == (outage, outage - 1)).await;
            // Several attempts to connect fail meanwhile, and so does what is asked.
            for number in 0..20 {
                let _ = layer.send(format!("body?{number}"), &number).await;
                layer.send("jobs", &number).await.unwrap();
                tokio::time::sleep(MOMENT / 2).await;
            }
            assert_eq!(told_of(1), (outage, outage - 1));
            trio.servers[1].start();
            until("its end is told", async || told_of(1) == (outage, outage)).await;
            tokio::time::sleep(MOMENT).await;
            assert_eq!((told_of(0), told_of(1)), ((0, 0), (outage, outage)));
        }
    };
    tokio::select! {
        () = outages => {}
        _ = waiting => panic!("a receive ended"),
    }
}
