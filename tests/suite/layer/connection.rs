//! Broken connections, servers that restart, forget or freeze: receives go on, sends say what happened.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayerExt, ConfigBuilder, ErrorKind};

use tokio::sync::watch;

use super::{
    Hosts, MOMENT, PATIENCE, fill, layers, options, options_at, proxies, send_at_last, soon,
    through_and_beside,
};
use crate::support::{Direction, Ledger, Proxy, Sent, Server, Servers};

on_one_and_three_servers!(connections_cut_under_load_lose_and_repeat_nothing, threads);
/// Shows R6, R8, R9 and R12.
async fn connections_cut_under_load_lose_and_repeat_nothing(servers: Servers) {
    let (of_receivers, of_sender) = (proxies(&servers), proxies(&servers));
    // Beats come so late that they do not find what a lost wake-up left behind.
    let options = options(&*of_receivers, "cuts").capacity(1000).lease(Duration::from_secs(600));
    let receivers: [_; 2] = layers(&options).await;
    let sender = options.clone().hosts(of_sender.urls()).connect().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let (stop, stopped) = watch::channel(false);
    let receiving = receivers.map(|layer| {
        let (ledger, mut stopped) = (Arc::clone(&ledger), stopped.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    received = layer.receive::<u64>(["a", "b"]) => ledger.received(received.unwrap().1),
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
            }
        })
    });
    let mut random = fastrand::Rng::with_seed(7);
    let sending = async {
        for _ in 0..20 {
            // However long a busy machine takes to connect again, so many are sent.
            let mut left = 150;
            while left > 0 {
                let number = ledger.number();
                let channel = if random.bool() { "a" } else { "b" };
                match sender.send(channel, &number).await {
                    Ok(()) => ledger.sent(number, Sent::Accepted),
                    Err(error) if error.perhaps_sent() => ledger.sent(number, Sent::Perhaps),
                    Err(error) => {
                        assert!(error.may_retry(), "{error}");
                        ledger.sent(number, Sent::Refused);
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                }
                left -= 1;
            }
            let proxies = if random.bool() { &of_receivers } else { &of_sender };
            proxies[random.usize(0..proxies.len())].cut();
        }
    };
    assert!(tokio::time::timeout(6 * PATIENCE, sending).await.is_ok(), "the sends do not go through");
    ledger.wait_for_balance().await;
    tokio::time::sleep(MOMENT).await;
    stop.send_replace(true);
    for received in receiving {
        soon("the receivers", received).await.unwrap();
    }
    ledger.balance();
    let (accepted, _) = ledger.accepted_and_refused();
    assert!(accepted > 2000, "only {accepted} of 3000 sends went through");
}

on_one_and_three_servers!(the_order_of_one_writer_and_one_reader_survives_their_reconnections, threads);
/// Shows R15.
async fn the_order_of_one_writer_and_one_reader_survives_their_reconnections(servers: Servers) {
    let (of_reader, of_writer) = (proxies(&servers), proxies(&servers));
    let options = options(&*of_reader, "order-cuts").capacity(10_000);
    let reader = options.connect().await.unwrap();
    let writer = options.clone().hosts(of_writer.urls()).connect().await.unwrap();
    let cutting = async {
        for turn in 0..12 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let proxies = if turn % 2 == 0 { &of_reader } else { &of_writer };
            proxies.iter().for_each(Proxy::cut);
        }
    };
    let writing = async {
        for number in 0..1500_u64 {
            while let Err(error) = writer.send("body?1", &number).await {
                if error.perhaps_sent() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        writer.send_wait("body?1", &u64::MAX, PATIENCE).await.unwrap();
    };
    let reading = async {
        let mut last = None;
        loop {
            let (_, number) = reader.receive::<u64>(["body?1"]).await.unwrap();
            assert!(last < Some(number), "{number} came after {last:?}");
            last = Some(number);
            if number == u64::MAX {
                return;
            }
        }
    };
    // Some seconds; on a busy machine many times as long.
    let all = async { tokio::join!(cutting, writing, reading) };
    tokio::time::timeout(4 * PATIENCE, all).await.expect("all are written and read");
}

#[tokio::test]
async fn a_blocked_receive_outlives_a_restart_of_the_server() {
    let server = Arc::new(Server::private());
    let [receiver, sender] = layers(&options(&server, "restart")).await;
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    server.stop();
    tokio::time::sleep(MOMENT).await;
    let started = Instant::now();
    let error = sender.send("a", &1).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "a send to a dead server fails at once");
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.may_retry() && !error.perhaps_sent(), "{error:?}");
    assert!(error.to_string().contains(&server.address()), "{error}");
    assert_eq!(sender.try_receive::<u64>(["a"]).await.unwrap_err().kind(), ErrorKind::Connection);
    server.start();
    send_at_last(&sender, 2).await;
    assert_eq!(soon("the message", receive).await.unwrap().unwrap().1, 2);
}

/// Shows R6.
#[tokio::test]
async fn a_message_pushed_while_the_receiver_was_cut_off_is_received_after_it() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [receiver, sender] = through_and_beside(&proxy, &server, "cut-off").await;
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    // The server publishes to a connection whose news never arrive.
    proxy.stall_only(Direction::Replies);
    sender.send("a", &1).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    assert!(!receive.is_finished());
    proxy.cut();
    proxy.pass();
    assert_eq!(soon("the message", receive).await.unwrap().unwrap().1, 1);
}

/// Shows R12.
#[tokio::test]
async fn a_send_whose_reply_is_lost_is_perhaps_sent_and_was_sent_once() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "perhaps").response_timeout(Duration::from_millis(300));
    let sender = options.connect().await.unwrap();
    let receiver = options.clone().hosts([server.url()]).connect().await.unwrap();
    proxy.stall_only(Direction::Replies);
    let error = sender.send("a", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.perhaps_sent() && !error.may_retry(), "{error:?}");
    proxy.cut();
    proxy.pass();
    assert_eq!(soon("the message", receiver.receive::<u64>(["a"])).await.unwrap().1, 1);
    assert!(receiver.try_receive::<u64>(["a"]).await.unwrap().is_none(), "it came twice");
}

#[tokio::test]
async fn a_frozen_server_delays_nobody_beyond_the_response_timeout() {
    let server = Server::private();
    let options = options(&server, "frozen")
        .response_timeout(Duration::from_millis(400))
        .connect_timeout(Duration::from_millis(400));
    let layer = options.connect().await.unwrap();
    server.pause();
    let error = layer.send("a", &1).await.unwrap_err();
    assert!(error.perhaps_sent(), "{error:?}");
    // By then the connection was given up.
    tokio::time::sleep(MOMENT).await;
    let started = Instant::now();
    let error = layer.send("a", &2).await.unwrap_err();
    assert!(!error.perhaps_sent() && started.elapsed() < Duration::from_millis(300), "{error:?}");
    server.unpause();
    send_at_last(&layer, 3).await;
}

/// Shows R7.
#[tokio::test]
async fn a_receive_blocked_through_flushall_is_found_again_by_the_next_beat() {
    let server = Server::private();
    let [receiver, sender] = layers(&options(&server, "flushall").lease(Duration::from_secs(1))).await;
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    let mut admin = server.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
    sender.send("a", &1).await.unwrap();
    assert_eq!(soon("the message", receive).await.unwrap().unwrap().1, 1);
    // An ordered send meets a server that forgot its writer, and heals without a word.
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
    sender.send("body?1", &2).await.unwrap();
    assert_eq!(soon("it", sender.receive::<u64>(["body?1"])).await.unwrap().1, 2);
}

/// Shows R11 and R13.
#[tokio::test]
async fn a_process_frozen_beyond_its_lease_waits_again_when_it_thaws() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "thaw")
        .lease(Duration::from_secs(1))
        .response_timeout(Duration::from_secs(30));
    let frozen = options.connect().await.unwrap();
    let other = options.clone().hosts([server.url()]).connect().await.unwrap();
    let receive = tokio::spawn(async move { frozen.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    proxy.stall();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    // The lease is over: the frozen receiver swallows nothing.
    other.send("a", &1).await.unwrap();
    assert_eq!(soon("the first", other.receive::<u64>(["a"])).await.unwrap().1, 1);
    proxy.pass();
    tokio::time::sleep(Duration::from_millis(700)).await;
    other.send("a", &2).await.unwrap();
    assert_eq!(soon("the second", receive).await.unwrap().unwrap().1, 2);
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let server = Server::shared();
    let proxy = Proxy::start_on_unix_socket(&server);
    let [one, two] =
        layers(&ConfigBuilder::new().hosts([proxy.url()]).prefix(crate::support::unique_prefix("unix")))
            .await;
    let (received, sent) = tokio::join!(soon("it", one.receive::<u64>(["a"])), two.send("a", &1));
    sent.unwrap();
    assert_eq!(received.unwrap().1, 1);
}

#[tokio::test]
async fn a_blocked_receive_waits_while_the_server_refuses_to_write() {
    let server = Server::private();
    let options = options(&server, "refuses").lease(Duration::from_secs(1));
    let [receiver, sender] = layers(&options).await;
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    let admin = server.connection().await;
    let set = async |value: u64| {
        let mut admin = admin.clone();
        let () = redis::cmd("CONFIG")
            .arg("SET")
            .arg("min-replicas-to-write")
            .arg(value)
            .query_async(&mut admin)
            .await
            .unwrap();
    };
    set(1).await;
    let error = sender.send("a", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.may_retry(), "{error:?}");
    // Several beats are refused meanwhile.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!receive.is_finished());
    set(0).await;
    send_at_last(&sender, 2).await;
    assert_eq!(soon("the message", receive).await.unwrap().unwrap().1, 2);
}

/// Shows R8.
#[tokio::test]
async fn a_release_whose_call_was_cut_off_is_said_again() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [layer, other] = through_and_beside(&proxy, &server, "said-again").await;
    {
        let mut receive = pin!(layer.receive::<u64>(["a"]));
        fill(receive.as_mut(), &other).await;
        proxy.stall_only(Direction::Requests);
    }
    // The release is under way, and never arrives.
    tokio::time::sleep(MOMENT).await;
    proxy.cut();
    proxy.pass();
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_try_receive_that_is_under_way_when_the_server_goes_fails() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let layer = options_at(&proxy.url(), "try-cut").connect().await.unwrap();
    proxy.stall();
    let receive = tokio::spawn(async move { layer.try_receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    assert!(!receive.is_finished());
    proxy.refuse();
    proxy.cut();
    let error = soon("the failure", receive).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
}

#[tokio::test]
async fn a_message_that_expires_on_its_way_to_a_receiver_is_not_delivered() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "expires").expiry(Duration::from_millis(300));
    let receiver = options.connect().await.unwrap();
    let sender = options.clone().hosts([server.url()]).connect().await.unwrap();
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["a"]).await });
    tokio::time::sleep(MOMENT).await;
    proxy.stall_only(Direction::Replies);
    sender.send("a", &1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.cut();
    proxy.pass();
    let sending = async {
        loop {
            let _ = sender.send("a", &2).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let received = tokio::select! {
        received = soon("the message", receive) => received,
        () = sending => unreachable!(),
    };
    assert_eq!(received.unwrap().unwrap().1, 2);
}

#[tokio::test]
async fn a_process_whose_connection_ended_swallows_nothing() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [gone, other] = through_and_beside(&proxy, &server, "ended").await;
    let receives: Vec<_> = (0..3)
        .map(|_| {
            let gone = gone.clone();
            tokio::spawn(async move { gone.receive::<u64>(["a"]).await })
        })
        .collect();
    tokio::time::sleep(MOMENT).await;
    proxy.refuse();
    proxy.cut();
    tokio::time::sleep(MOMENT).await;
    for number in 0..3 {
        other.send("a", &number).await.unwrap();
        assert_eq!(other.try_receive::<u64>(["a"]).await.unwrap().unwrap().1, number);
    }
    assert!(receives.iter().all(|receive| !receive.is_finished()));
}
