//! Every message reaches one receiver, once, in order where order is promised.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer, Value};
use futures::future::{join_all, try_join_all};
use tokio::sync::watch;

use super::{Hosts, MOMENT, PATIENCE, layers, options, soon};
use crate::support::{Ledger, Monitor, Sent, Server, Servers};

const CHANNELS: [&str; 5] = ["http.request", "http.disconnect", "websocket.receive", "jobs", "mail"];

/// Sends `count` messages, over some channels in turn, and notes each.
async fn send_all(layer: RedisChannelLayer, channels: &[&str], count: u64, ledger: Arc<Ledger>) {
    for turn in 0..count {
        let number = ledger.number();
        let channel = channels[usize::try_from(turn).unwrap() % channels.len()];
        layer.send_wait(channel, &number, PATIENCE).await.unwrap();
        ledger.sent(number, Sent::Accepted);
    }
}

/// Receives until told to stop.
async fn receive_all(
    layer: RedisChannelLayer,
    channels: &[&str],
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            received = layer.receive::<u64>(channels) => ledger.received(received.unwrap().1),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Eight senders, four blocked receivers, each a process of its own to Redis, five channels, 10,000 messages.
async fn ten_thousand(hosts: &impl Hosts, test: &str, meanwhile: impl AsyncFn()) {
    let options = options(hosts, test);
    let senders: [_; 2] = layers(&options).await;
    let receivers: [_; 4] = layers(&options).await;
    let ledger = Arc::new(Ledger::default());
    let (stop, stopped) = watch::channel(false);
    let receiving: Vec<_> = receivers
        .iter()
        .map(|layer| {
            tokio::spawn(receive_all(layer.clone(), &CHANNELS, Arc::clone(&ledger), stopped.clone()))
        })
        .collect();
    let sending = join_all((0..8).map(|sender| {
        tokio::spawn(send_all(senders[sender % 2].clone(), &CHANNELS, 1250, Arc::clone(&ledger)))
    }));
    let (sent, ()) = tokio::join!(sending, meanwhile());
    sent.into_iter().for_each(Result::unwrap);
    ledger.wait_for_received(10_000).await;
    tokio::time::sleep(MOMENT).await;
    stop.send_replace(true);
    try_join_all(receiving).await.unwrap();
    ledger.balance();
    assert_eq!(ledger.accepted_and_refused(), (10_000, 0));
}

on_one_and_three_servers!(ten_thousand_messages_reach_four_blocked_receivers_once_each, threads);
async fn ten_thousand_messages_reach_four_blocked_receivers_once_each(servers: Servers) {
    ten_thousand(&servers, "ten-thousand", async || {}).await;
}

/// Shows R11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_flush_in_the_middle_is_seen_by_nobody() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let flushes = async || {
        let mut admin = admin.clone();
        for _ in 0..10 {
            // Longer than it takes to load all scripts anew, on a busy machine too.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut admin).await.unwrap();
        }
    };
    ten_thousand(&server, "script-flush", flushes).await;
    assert_eq!(crate::support::calls(&mut admin, "eval").await, 0, "a script is never sent again as text");
}

on_one_and_three_servers!(a_message_keeps_its_types_on_the_way);
async fn a_message_keeps_its_types_on_the_way(servers: Servers) {
    let layer = options(&servers, "types").connect().await.unwrap();
    let message = Value::map([
        ("bytes", Value::from(&b"\x00\xffbytes"[..])),
        ("text", Value::from("text \u{1f600}")),
        ("number", Value::from(-(1_i64 << 62))),
        ("float", Value::from(0.5)),
        ("list", Value::from(vec![Value::from(true), Value::Nil])),
    ]);
    layer.send("types", &message).await.unwrap();
    let (channel, received): (_, Value) = soon("the message", layer.receive(["types"])).await.unwrap();
    assert_eq!((channel.as_str(), received), ("types", message));
}

on_one_and_three_servers!(a_blocked_receive_on_many_channels_is_woken_by_any_of_them);
async fn a_blocked_receive_on_many_channels_is_woken_by_any_of_them(servers: Servers) {
    let options = options(&servers, "many");
    let [receiver, sender] = layers(&options).await;
    let names: Vec<String> = (0..30).map(|number| format!("channel-{number}")).collect();
    for wanted in [0, 29, 13, 13] {
        let (received, sent) = tokio::join!(soon("the wake-up", receiver.receive::<u64>(&names)), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sender.send(&names[wanted], &7).await
        });
        sent.unwrap();
        assert_eq!(received.unwrap().0, names[wanted].as_str());
    }
}

on_one_and_three_servers!(a_busy_channel_does_not_starve_a_quiet_one);
async fn a_busy_channel_does_not_starve_a_quiet_one(servers: Servers) {
    let layer = options(&servers, "fair").connect().await.unwrap();
    for _ in 0..100 {
        layer.send("busy", &0).await.unwrap();
    }
    layer.send("quiet", &1).await.unwrap();
    let mut before = 0;
    while soon("a message", layer.receive::<u64>(["busy", "quiet"])).await.unwrap().1 == 0 {
        before += 1;
    }
    // Of several servers the one that has it may answer later than the others.
    let most = if servers.all().len() == 1 { 10 } else { 90 };
    assert!(before < most, "the quiet channel waited for {before} of the 100 messages of the busy one");
}

on_one_and_three_servers!(many_receives_at_once_share_the_messages);
async fn many_receives_at_once_share_the_messages(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "at-once")).await;
    let receives = join_all((0..200).map(|_| receiver.receive::<u64>(["work"])));
    let sends = async {
        tokio::time::sleep(MOMENT).await;
        try_join_all((0..200_u64).map(|number| sender.send("work", Box::leak(Box::new(number)))))
            .await
            .unwrap();
    };
    let (received, ()) = soon("all messages", async { tokio::join!(receives, sends) }).await;
    let mut numbers: Vec<u64> = received.into_iter().map(|received| received.unwrap().1).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

on_one_and_three_servers!(a_single_reader_channel_keeps_the_order_of_its_writer);
async fn a_single_reader_channel_keeps_the_order_of_its_writer(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "order")).await;
    let body = receiver.new_channel("http.request.body?").unwrap();
    let writing = async {
        for number in 0..500_u64 {
            sender.send_wait(&body, &number, PATIENCE).await.unwrap();
        }
    };
    let reading = async {
        for expected in 0..500 {
            assert_eq!(receiver.receive::<u64>([&body]).await.unwrap().1, expected);
        }
    };
    soon("all in order", async { tokio::join!(writing, reading) }).await;
}

on_one_and_three_servers!(a_second_receive_on_a_single_reader_channel_is_an_error_until_the_first_ends);
/// Shows R14.
async fn a_second_receive_on_a_single_reader_channel_is_an_error_until_the_first_ends(servers: Servers) {
    let layer = options(&servers, "single").connect().await.unwrap();
    let first = layer.receive::<u64>(["body?1", "other"]);
    {
        let mut first = std::pin::pin!(first);
        assert!(futures::poll!(first.as_mut()).is_pending());
        let error = layer.receive::<u64>(["body?1"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyReceiving);
        assert!(error.to_string().contains("\"body?1\""), "{error}");
        assert!(layer.try_receive::<u64>(["body?2"]).await.unwrap().is_none(), "another channel is free");
    }
    layer.send("body?1", &5).await.unwrap();
    assert_eq!(soon("the message", layer.receive::<u64>(["body?1"])).await.unwrap().1, 5);
}

on_one_and_three_servers!(try_receive_takes_what_is_there_and_does_not_wait);
async fn try_receive_takes_what_is_there_and_does_not_wait(servers: Servers) {
    let layer = options(&servers, "try").connect().await.unwrap();
    assert!(layer.try_receive::<u64>(["a", "b"]).await.unwrap().is_none());
    layer.send("b", &1).await.unwrap();
    assert_eq!(layer.try_receive::<u64>(["a", "b"]).await.unwrap().unwrap().1, 1);
    // What did not wait does not take a later message either.
    layer.send("a", &2).await.unwrap();
    assert_eq!(layer.try_receive::<u64>(["a", "b"]).await.unwrap().unwrap().1, 2);
}

on_one_and_three_servers!(receive_timeout_gives_up_and_leaves_later_messages_alone);
async fn receive_timeout_gives_up_and_leaves_later_messages_alone(servers: Servers) {
    let layer = options(&servers, "timeout").connect().await.unwrap();
    assert!(layer.receive_timeout::<u64>(["a"], Duration::from_millis(50)).await.unwrap().is_none());
    layer.send("a", &1).await.unwrap();
    let (_, number) = layer.receive_timeout::<u64>(["a"], PATIENCE).await.unwrap().unwrap();
    assert_eq!(number, 1);
}

on_one_and_three_servers!(flush_leaves_nothing_and_a_blocked_receive_gets_the_next_send);
async fn flush_leaves_nothing_and_a_blocked_receive_gets_the_next_send(servers: Servers) {
    let options = options(&servers, "flush");
    let [layer, other] = layers(&options).await;
    let blocked = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<u64>(["quiet"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    let names: Vec<String> = (0..300).map(|number| format!("full-{number}")).collect();
    for name in &names {
        layer.send(name, &1).await.unwrap();
    }
    layer.flush().await.unwrap();
    for name in &names {
        assert!(other.try_receive::<u64>([name]).await.unwrap().is_none());
    }
    other.send("quiet", &9).await.unwrap();
    assert_eq!(soon("the blocked receive", blocked).await.unwrap().unwrap().1, 9);
}

/// Shows R5.
#[tokio::test]
async fn layers_of_different_prefixes_and_databases_share_nothing() {
    let server = Server::shared();
    let one = options(&server, "separate").connect().await.unwrap();
    let other_prefix = options(&server, "separate").connect().await.unwrap();
    let prefix = crate::support::unique_prefix("separate-db");
    let db_0 = super::ConfigBuilder::new().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();
    let db_1 =
        super::ConfigBuilder::new().hosts([server.url_with_db(1)]).prefix(&prefix).connect().await.unwrap();
    let waiting = tokio::spawn(async move { db_1.receive_timeout::<u64>(["a"], MOMENT * 3).await });
    tokio::time::sleep(MOMENT).await;
    one.send("a", &1).await.unwrap();
    db_0.send("a", &1).await.unwrap();
    assert!(other_prefix.try_receive::<u64>(["a"]).await.unwrap().is_none());
    assert!(waiting.await.unwrap().unwrap().is_none(), "a message came from another database");
}

on_one_and_three_servers!(an_expired_message_is_never_delivered);
async fn an_expired_message_is_never_delivered(servers: Servers) {
    let options = options(&servers, "expiry").expiry(Duration::from_millis(100));
    let layer = options.connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(layer.try_receive::<u64>(["a"]).await.unwrap().is_none());
    layer.send("a", &2).await.unwrap();
    assert_eq!(layer.try_receive::<u64>(["a"]).await.unwrap().unwrap().1, 2);
}

on_one_and_three_servers!(an_expired_message_in_front_of_a_live_one_is_passed_over);
async fn an_expired_message_in_front_of_a_live_one_is_passed_over(servers: Servers) {
    let long = options(&servers, "mixed");
    let short = long.clone().expiry(Duration::from_millis(100));
    let [long, short] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    short.send("a", &1).await.unwrap();
    long.send("a", &2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(long.try_receive::<u64>(["a"]).await.unwrap().unwrap().1, 2);
}

on_one_and_three_servers!(the_largest_message_passes_and_a_byte_more_is_refused_by_name);
async fn the_largest_message_passes_and_a_byte_more_is_refused_by_name(servers: Servers) {
    let layer = options(&servers, "large").connect().await.unwrap();
    // A MessagePack string of this length has a 5-byte head.
    let fits = "x".repeat((9 << 18) - 5);
    layer.send("large", &fits).await.unwrap();
    assert_eq!(soon("it", layer.receive::<String>(["large"])).await.unwrap().1.len(), fits.len());
    let error = layer.send("large", &(fits + "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert!(
        error.to_string().contains("has 2359297 bytes, option `max_message_size` allows 2359296"),
        "{error}"
    );
}

on_one_and_three_servers!(large_messages_to_many_receives_arrive_too);
/// Shows R18.
async fn large_messages_to_many_receives_arrive_too(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "many-large")).await;
    let text = "x".repeat(900_000);
    // More in all than a server keeps for a subscribed connection before it cuts it.
    for number in 0..45 {
        sender.send("large", &(number, &text)).await.unwrap();
    }
    let receives = join_all((0..45).map(|_| receiver.receive::<(u64, String)>(["large"])));
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for received in soon("all", receives).await {
        *counts.entry(received.unwrap().1.0).or_default() += 1;
    }
    assert_eq!(counts.len(), 45);
}

on_one_and_three_servers!(the_largest_messages_that_can_be_allowed_pass_by_push_and_by_reply);
async fn the_largest_messages_that_can_be_allowed_pass_by_push_and_by_reply(servers: Servers) {
    let [receiver, sender] = layers(&options(&servers, "largest").max_message_size(16 << 20)).await;
    // A MessagePack string of this length has a 5-byte head.
    let text = "x".repeat((16 << 20) - 5);
    let pushed = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.receive::<String>(["large"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    sender.send("large", &text).await.unwrap();
    assert_eq!(soon("the pushed one", pushed).await.unwrap().unwrap().1.len(), text.len());
    sender.send("large", &text).await.unwrap();
    sender.send("large", &text).await.unwrap();
    let both = async { tokio::join!(receiver.receive::<String>(["large"]), receiver.receive(["large"])) };
    let (one, other): (_, asgi_redis::Result<(_, String)>) = soon("both", both).await;
    assert_eq!((one.unwrap().1.len(), other.unwrap().1.len()), (text.len(), text.len()));
}

/// Shows R15.
#[tokio::test]
async fn a_send_carries_its_connection_where_the_order_counts_and_only_there() {
    let server = Server::private();
    let layer = options(&server, "fence").connect().await.unwrap();
    let monitor = Monitor::start(&server).await;
    for channel in ["normal", "body?1", "inbox!a"] {
        layer.send(channel, &1).await.unwrap();
    }
    let fences: Vec<(String, String)> = monitor
        .finish()
        .await
        .iter()
        .filter(|command| command.contains(asgi_redis::scripts::get("push").unwrap().sha()))
        .map(|command| {
            // EVALSHA, the script, 1, the queue, the prefix, the expiry, then the client and its generation.
            let arguments: Vec<_> = command.split(' ').map(|argument| argument.trim_matches('"')).collect();
            (arguments[6].to_owned(), arguments[7].to_owned())
        })
        .collect();
    let [normal, single_reader, inbox] = fences.as_slice() else { panic!("{fences:?}") };
    assert_eq!((normal.0.as_str(), normal.1.as_str()), ("", ""));
    assert_eq!((single_reader.0.len(), single_reader.1.as_str()), (32, "1"));
    assert_eq!(inbox, single_reader);
}

on_one_and_three_servers!(a_short_lived_message_does_not_shorten_the_life_of_those_before_it);
async fn a_short_lived_message_does_not_shorten_the_life_of_those_before_it(servers: Servers) {
    let long = options(&servers, "shorten");
    let short = long.clone().expiry(Duration::from_millis(100));
    let [long, short] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    long.send("a", &1).await.unwrap();
    short.send("a", &2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(long.try_receive::<u64>(["a"]).await.unwrap().unwrap().1, 1);
    assert!(long.try_receive::<u64>(["a"]).await.unwrap().is_none());
}

on_one_and_three_servers!(the_receive_that_waits_longest_is_served_first);
async fn the_receive_that_waits_longest_is_served_first(servers: Servers) {
    let [first, second, sender] = layers(&options(&servers, "longest")).await;
    let mut waiting = Vec::new();
    for layer in [first, second] {
        waiting.push(tokio::spawn(async move { layer.receive::<u64>(["a"]).await }));
        tokio::time::sleep(MOMENT).await;
    }
    for (number, waiting) in (0..).zip(waiting) {
        sender.send("a", &number).await.unwrap();
        assert_eq!(soon("a message", waiting).await.unwrap().unwrap().1, number);
    }
}

/// Each server keeps an order of its own, so this is of one.
#[tokio::test]
async fn messages_that_share_a_call_wait_in_the_order_of_their_sends() {
    let servers = Servers::one();
    let layer = options(&servers, "call-order").connect().await.unwrap();
    let waiting = layer.receive::<u64>(["a"]);
    let sending = async {
        tokio::time::sleep(MOMENT).await;
        // The first goes alone; the others gather.
        let sends = [layer.send("other", &0), layer.send("a", &0), layer.send("a", &1), layer.send("a", &2)];
        try_join_all(sends).await.unwrap();
    };
    let (first, ()) = soon("the first", async { tokio::join!(waiting, sending) }).await;
    assert_eq!(first.unwrap().1, 0);
    for expected in [1, 2] {
        assert_eq!(layer.try_receive::<u64>(["a"]).await.unwrap().unwrap().1, expected);
    }
}
