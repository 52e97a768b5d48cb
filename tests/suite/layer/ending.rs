//! Closing and dropping a layer gives back what was in flight.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ChannelName, ConfigBuilder, ErrorKind, RedisChannelLayer};
use futures::future::join_all;
use tokio::sync::watch;

use super::{MOMENT, PATIENCE, fill, layers, options, options_at, soon, through_and_beside};
use crate::support::{Ledger, Proxy, Sent, Server, Servers, calls, unique_prefix};

on_one_and_three_servers!(closing_ends_waiting_receives_and_every_later_call);
async fn closing_ends_waiting_receives_and_every_later_call(servers: Servers) {
    let [layer, other] = layers(&options(&servers, "close")).await;
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<u64>(["a"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(soon("the receive", waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.send("a", &1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.receive::<u64>(["a"]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.try_receive::<u64>(["a"]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    soon("closing again", layer.close()).await.unwrap();
    // Nobody is taken for a waiter who is gone.
    other.send("a", &1).await.unwrap();
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

on_one_and_three_servers!(what_arrived_and_was_not_returned_goes_back_when_the_layer_is_closed);
/// Shows R16.
async fn what_arrived_and_was_not_returned_goes_back_when_the_layer_is_closed(servers: Servers) {
    let [layer, other] = layers(&options(&servers, "close-filled")).await;
    let mut receive = pin!(layer.receive::<u64>(["a"]));
    fill(receive.as_mut(), &other).await;
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::Closed, "or it would be delivered twice");
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

on_one_and_three_servers!(dropping_the_last_clone_gives_back_in_the_background);
async fn dropping_the_last_clone_gives_back_in_the_background(servers: Servers) {
    let [layer, other] = layers(&options(&servers, "drop")).await;
    {
        let layer = layer;
        let mut receive = pin!(layer.receive::<u64>(["a"]));
        fill(receive.as_mut(), &other).await;
    }
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_dropped_layer_leaves_no_connection_and_no_task() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let layer = options(&server, "gone").connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    drop(layer);
    let gone = async {
        loop {
            let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
            if list.lines().count() == 1 && tokio::runtime::Handle::current().metrics().num_alive_tasks() <= 1
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of its connection and tasks", gone).await;
}

/// Receives until told to stop; then closes its layer, and what it was given and did not return must come back.
async fn receive_until_stopped(
    layer: RedisChannelLayer,
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<u32>,
) {
    stop.mark_unchanged();
    let working = async {
        loop {
            match layer.receive::<u64>(["work", "more"]).await {
                Ok((_, number)) => ledger.received(number),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed),
            }
        }
    };
    let several = async {
        tokio::join!(working, async {
            loop {
                match layer.receive::<u64>(["work"]).await {
                    Ok((_, number)) => ledger.received(number),
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed),
                }
            }
        })
    };
    let closing = async {
        stop.changed().await.unwrap();
        layer.close().await.unwrap();
    };
    tokio::join!(several, closing);
}

on_one_and_three_servers!(
    fifty_clean_restarts_of_one_of_four_receivers_under_load_lose_and_repeat_nothing,
    threads
);
/// Shows R16.
async fn fifty_clean_restarts_of_one_of_four_receivers_under_load_lose_and_repeat_nothing(servers: Servers) {
    let options = options(&servers, "restarts");
    let [sender] = layers(&options).await;
    let ledger = Arc::new(Ledger::default());
    let (restart, restarted) = watch::channel(0);
    let (end, ended) = watch::channel(0);
    let mut steady = Vec::new();
    for layer in layers::<3>(&options).await {
        steady.push(tokio::spawn(receive_until_stopped(layer, Arc::clone(&ledger), ended.clone())));
    }
    let restarting = tokio::spawn({
        let (options, ledger) = (options.clone(), Arc::clone(&ledger));
        async move {
            for turn in 1..=50 {
                let layer = options.connect().await.unwrap();
                let receiving =
                    tokio::spawn(receive_until_stopped(layer, Arc::clone(&ledger), restarted.clone()));
                tokio::time::sleep(Duration::from_millis(20)).await;
                restart.send_replace(turn);
                receiving.await.unwrap();
            }
        }
    });
    let mut sent = 0;
    let sending = async {
        while !restarting.is_finished() {
            let batch = (0..20).map(|turn| {
                let (sender, number) = (&sender, ledger.number());
                let channel = if turn % 2 == 0 { "work" } else { "more" };
                async move {
                    sender.send_wait(channel, &number, PATIENCE).await.unwrap();
                    number
                }
            });
            for number in join_all(batch).await {
                ledger.sent(number, Sent::Accepted);
                sent += 1;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 3, sending).await.unwrap();
    restarting.await.unwrap();
    ledger.wait_for_received(sent).await;
    end.send_replace(1);
    for ended in join_all(steady).await {
        ended.unwrap();
    }
    ledger.balance();
    assert!(sent > 500, "only {sent} messages were on their way meanwhile");
}

/// Closes a layer under a program that opens and drops receives without pause; says how many calls that took.
async fn calls_until_closed(server: &Server) -> u64 {
    let layer = options(server, "close-busy").connect().await.unwrap();
    let (layer_of_busy, stop) = (layer.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let busy = tokio::spawn(async move {
        let channels = ["a".parse::<ChannelName>().unwrap()];
        let mut receives = VecDeque::new();
        while !stopped.load(Ordering::Relaxed) {
            let mut receive = layer_of_busy.receive_packed(&channels);
            let _ = futures::poll!(receive.as_mut());
            receives.push_back(receive);
            // Each stays long enough to be asked for, and one is always new.
            if receives.len() > 400 {
                receives.pop_front();
            }
            tokio::task::yield_now().await;
        }
    });
    tokio::time::sleep(MOMENT).await;
    let mut admin = server.connection().await;
    let before = calls(&mut admin, "evalsha").await;
    let closed = tokio::time::timeout(PATIENCE, layer.close()).await;
    stop.store(true, Ordering::Relaxed);
    busy.await.unwrap();
    closed.expect("closing took too long").unwrap();
    calls(&mut admin, "evalsha").await - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_closes_while_its_program_opens_and_drops_receives_without_pause() {
    let server = Server::private();
    for _ in 0..6 {
        let calls = calls_until_closed(&server).await;
        assert!(calls < 80, "{calls} calls until the layer was closed");
    }
}

#[tokio::test]
async fn what_arrived_goes_back_though_the_connection_broke_just_before_closing() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [layer, other] = through_and_beside(&proxy, &server, "close-cut").await;
    let mut receive = pin!(layer.receive::<u64>(["a"]));
    fill(receive.as_mut(), &other).await;
    proxy.cut();
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(soon("the message", other.receive::<u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn closing_says_that_a_server_out_of_reach_was_not_told() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let short = Duration::from_millis(300);
    let options = options_at(&proxy.url(), "close-stalled").response_timeout(short).connect_timeout(short);
    let layer = options.connect().await.unwrap();
    let mut receive = pin!(layer.receive::<u64>(["a"]));
    assert!(futures::poll!(receive.as_mut()).is_pending());
    tokio::time::sleep(MOMENT).await;
    proxy.stall();
    assert!(layer.send("a", &1).await.is_err());
    // By then the task tries to connect, which takes as long as it may.
    tokio::time::sleep(MOMENT).await;
    let error = soon("closing", layer.close()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout), "{error}");
    assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_receive_ends_when_the_runtime_of_its_layer_has_ended() {
    let server = Server::shared();
    let prefix = unique_prefix("runtime");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let layer = first.block_on(ConfigBuilder::new().hosts([server.url()]).prefix(prefix).connect()).unwrap();
    drop(first);
    runtime().block_on(async {
        let error = soon("the receive", layer.receive::<u64>(["a"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        for error in [error, soon("the send", layer.send("a", 1)).await.unwrap_err()] {
            assert!(
                error
                    .to_string()
                    .starts_with("the Tokio runtime in which this layer was connected has shut down"),
                "{error}"
            );
        }
    });
}

/// Shows R16.
#[tokio::test]
async fn closing_ends_the_lease_of_a_client_that_has_reconnected() {
    let server = Server::private();
    let layer = options(&server, "lease-end").connect().await.unwrap();
    let mut cutter = server.connection().await;
    let _: i64 =
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async(&mut cutter).await.unwrap();
    while let Err(error) = layer.try_receive::<u64>(["nothing"]).await {
        assert!(error.may_retry(), "{error}");
        tokio::time::sleep(MOMENT).await;
    }
    let mut admin = server.connection().await;
    let clients: Vec<String> = redis::cmd("KEYS").arg("*:c:*").query_async(&mut admin).await.unwrap();
    let [client] = clients.as_slice() else { panic!("{clients:?}") };
    let mut lease = async || -> u64 {
        redis::cmd("HGET").arg(client).arg("lease").query_async(&mut admin).await.unwrap()
    };
    assert!(lease().await > 0);
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(lease().await, 0);
}
