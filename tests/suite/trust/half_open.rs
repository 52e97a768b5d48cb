//! A network that swallows everything and closes nothing.

use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayerExt, ErrorKind};

use super::{BACK, MOMENT, PATIENCE, PROMPTLY, options, within};
use crate::support::{FakeServer, Proxy, Server};

/// For how long the network is a hole.
async fn is_back_soon_after(hole: Duration) {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let layer =
        options([proxy.url()], "half-open").response_timeout(Duration::from_secs(1)).connect().await.unwrap();
    proxy.swallow();
    // It notices by what it asks.
    let begun = Instant::now();
    let error = layer.send("jobs", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    tokio::time::sleep(hole.saturating_sub(begun.elapsed())).await;
    proxy.pass();
    within(BACK, "the way back", async {
        while layer.send("jobs", &2).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_way_back_is_short_after_a_short_hole() {
    is_back_soon_after(Duration::from_millis(2_500)).await;
}

#[tokio::test]
async fn the_way_back_is_short_after_a_hole_of_five_seconds() {
    is_back_soon_after(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_way_back_is_short_after_a_long_hole() {
    is_back_soon_after(Duration::from_millis(14_500)).await;
}

#[tokio::test]
async fn who_asked_late_in_a_hole_hears_soon_after_it_and_not_when_the_answer_is_overdue() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let overdue = Duration::from_secs(15);
    let layer = options([proxy.url()], "half-open-late").response_timeout(overdue).connect().await.unwrap();
    proxy.swallow();
    let first = tokio::spawn({
        let layer = layer.clone();
        async move { layer.send("jobs", &1).await }
    });
    tokio::time::sleep(overdue - 5 * MOMENT).await;
    // These have nearly all of their time when the first one finds that the connection is lost.
    let late = tokio::spawn({
        let layer = layer.clone();
        async move { tokio::join!(layer.send("jobs", &2), layer.group_add("room", "jobs")) }
    });
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    proxy.pass();
    let (sent, added) = within(PROMPTLY, "those who asked late", late).await.unwrap();
    assert!(sent.is_err_and(|error| error.perhaps_sent()));
    assert_eq!(added.unwrap_err().kind(), ErrorKind::Connection);
}

#[tokio::test]
async fn a_first_connection_does_not_wait_for_an_attempt_that_is_stuck() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    proxy.swallow();
    let options = options([proxy.url()], "half-open-first");
    let connecting = tokio::spawn(async move { options.connect().await });
    tokio::time::sleep(5 * MOMENT).await;
    proxy.pass();
    within(BACK, "connecting", connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hole_that_opens_while_the_connection_is_set_up_is_left_as_soon() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let layer = options([proxy.url()], "half-open-setup").connect().await.unwrap();
    // The server answers nothing of the new connection, which is open and has been accepted.
    server.pause();
    proxy.cut();
    tokio::time::sleep(2 * MOMENT).await;
    proxy.swallow();
    server.unpause();
    tokio::time::sleep(5 * MOMENT).await;
    proxy.pass();
    within(BACK, "the way back", async {
        while layer.send("jobs", &1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn at_most_three_attempts_are_pending_and_each_second_brings_another() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let layer = options([proxy.url()], "half-open-attempts").connect().await.unwrap();
    let before = proxy.connections();
    proxy.swallow();
    // The open connection ends, and its successor leads nowhere.
    proxy.cut();
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        // One that was given up is open at the proxy for a moment longer.
        let open = proxy.open_connections();
        tokio::time::sleep(Duration::from_millis(20)).await;
        most = most.max(open.min(proxy.open_connections()));
    }
    let attempts = proxy.connections() - before;
    assert!((6..=10).contains(&attempts), "{attempts} attempts in 8 s");
    assert_eq!(most, 3, "pending at once");
    drop(layer);
}

#[tokio::test]
async fn connect_timeout_says_how_long_connecting_may_take() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    proxy.swallow();
    let timeout = Duration::from_millis(2_500);
    let begun = Instant::now();
    let error =
        options([proxy.url()], "connect-timeout").connect_timeout(timeout).connect().await.unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Connection), "{error}");
    assert!(took >= timeout && took < timeout + BACK, "{took:?}");
}

#[tokio::test]
async fn a_server_that_is_slow_when_a_connection_is_made_is_given_all_the_time_to_connect() {
    let server = FakeServer::start_slow(Duration::from_millis(2_500), |_| super::own_key::welcome());
    let options = options([server.url()], "slow-server").connect_timeout(PATIENCE);
    within(PATIENCE, "connecting", options.connect()).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_is_slow_and_not_stuck_gets_its_whole_time() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let layer = options([proxy.url()], "half-open-slow").connect().await.unwrap();
    proxy.stall();
    proxy.cut();
    // Each new attempt is answered four seconds after it began.
    let slow = tokio::time::sleep(Duration::from_secs(4));
    let begun = proxy.connections();
    slow.await;
    assert!(proxy.connections() > begun || begun > 1);
    proxy.pass();
    within(BACK, "the way back", async {
        while layer.send("jobs", &1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
