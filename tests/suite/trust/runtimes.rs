//! A layer is used where its runtime is not: from another, after its own has ended or while nobody drives it, or from none.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer};
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};

use super::{MOMENT, PATIENCE, options};
use crate::support::Server;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A layer in a runtime of its own.
fn layer_in(runtime: &Runtime, server: &Server, test: &str) -> RedisChannelLayer {
    runtime
        .block_on(options([server.url()], test).response_timeout(Duration::from_secs(2)).connect())
        .unwrap()
}

#[test]
fn sends_that_wait_and_later_ones_end_when_the_runtime_of_the_layer_ends() {
    for _ in 0..5 {
        end_a_runtime_during_sends();
    }
}

fn end_a_runtime_during_sends() {
    let server = Server::process(&[]);
    let (own, other) = (runtime(), runtime());
    let layer = layer_in(&own, &server, "runtime-ends");
    server.pause();
    let sending = other.spawn({
        let layer = layer.clone();
        async move { join_all((0..300).map(async |number: u64| layer.send("jobs", &number).await)).await }
    });
    std::thread::sleep(MOMENT);
    own.shutdown_background();
    server.unpause();
    let outcomes = other.block_on(async { tokio::time::timeout(PATIENCE, sending).await });
    let outcomes = outcomes.expect("sends that wait end").unwrap();
    assert!(outcomes.iter().any(Result::is_err));
    let later = other.block_on(async {
        let later = join_all((0..10).map(async |number: u64| layer.send("jobs", &number).await));
        tokio::time::timeout(PATIENCE, later).await
    });
    for outcome in later.expect("later sends end") {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("runtime"), "{error}");
    }
}

#[test]
fn everything_else_that_waits_ends_when_the_runtime_of_the_layer_ends() {
    let server = Server::process(&[]);
    let (own, other) = (runtime(), runtime());
    let layer = layer_in(&own, &server, "runtime-ends-all");
    let inbox = own.block_on(layer.open_inbox("chat")).unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let waiting =
        other.spawn({
            let layer = layer.clone();
            async move {
                tokio::join!(layer.receive::<u64>(["jobs"]), mailbox.receive::<u64>(), inbox.next::<u64>())
            }
        });
    std::thread::sleep(MOMENT);
    own.shutdown_background();
    let ended = other.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
    let (receive, mailbox, next) = ended.expect("what waits ends").unwrap();
    assert!(receive.is_err() && mailbox.is_err() && next.is_err());
    let ends = other.block_on(async {
        let all = async {
            let _ = layer.close().await;
            (layer.flush().await, layer.try_receive::<u64>(["jobs"]).await, layer.group_len("room").await)
        };
        tokio::time::timeout(PATIENCE, all).await
    });
    let (flush, receive, len) = ends.expect("later calls end");
    assert!(flush.is_err() && receive.is_err() && len.is_err());
}

/// What a call gives that is made on a thread without a runtime, as text.
fn outside<T: Send>(call: impl AsyncFnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| futures::executor::block_on(call()));
        thread.join().map_err(|panic| {
            panic.downcast_ref::<&str>().map_or_else(|| "it panicked".to_owned(), |text| (*text).to_owned())
        })
    })
}

#[test]
fn outside_a_runtime_calls_give_errors_or_do_their_work_and_do_not_panic() {
    let server = Server::process(&[]);
    let own = runtime();
    let layer = layer_in(&own, &server, "no-runtime");
    let inbox = own.block_on(layer.open_inbox("chat")).unwrap();
    let layer = &layer;
    let panicked: Vec<(&str, String)> = [
        ("send", outside(async || drop(layer.send("jobs", &1).await)).err()),
        (
            "many sends",
            outside(async || drop(join_all((0..50).map(async |n: u64| layer.send("jobs", &n).await)).await))
                .err(),
        ),
        ("send_wait", outside(async || drop(layer.send_wait("jobs", &1, MOMENT).await)).err()),
        ("try_receive", outside(async || drop(layer.try_receive::<u64>(["jobs"]).await)).err()),
        (
            "receive_timeout",
            outside(async || drop(layer.receive_timeout::<u64>(["none"], MOMENT).await)).err(),
        ),
        ("group_add", outside(async || drop(layer.group_add("room", "jobs").await)).err()),
        ("group_send", outside(async || drop(layer.group_send("room", &1).await)).err()),
        ("group_len", outside(async || drop(layer.group_len("room").await)).err()),
        ("open_inbox", outside(async || drop(layer.open_inbox("chat").await)).err()),
        ("inbox.close", outside(async || inbox.close().await).err()),
        ("health", outside(async || drop(layer.health().await)).err()),
        ("survey", outside(async || drop(layer.survey().await)).err()),
        ("flush", outside(async || drop(layer.flush().await)).err()),
        ("close", outside(async || drop(layer.close().await)).err()),
    ]
    .into_iter()
    .filter_map(|(call, panic)| Some((call, panic?)))
    .collect();
    assert!(panicked.is_empty(), "{panicked:#?}");
}

#[test]
fn a_layer_whose_runtime_nobody_drives_says_so_in_time() {
    let server = Server::process(&[]);
    let undriven = Builder::new_current_thread().enable_all().build().unwrap();
    let layer = layer_in(&undriven, &server, "undriven");
    let layer = Arc::new(layer);
    let other = runtime();
    let hangs: Vec<&str> = other.block_on(async {
        let mut hangs = Vec::new();
        let burst = join_all((0..50).map(async |number: u64| layer.send("jobs", &number).await));
        match tokio::time::timeout(PATIENCE, burst).await {
            Err(_) => hangs.push("a burst of sends"),
            Ok(sent) => sent.into_iter().filter_map(Result::err).for_each(|error| {
                assert!(error.to_string().contains("runtime"), "{error}");
            }),
        }
        match tokio::time::timeout(PATIENCE, layer.try_receive::<u64>(["jobs"])).await {
            Err(_) => hangs.push("try_receive"),
            Ok(received) => assert!(received.unwrap_err().to_string().contains("runtime")),
        }
        match tokio::time::timeout(PATIENCE, layer.close()).await {
            Err(_) => hangs.push("close"),
            Ok(closed) => assert!(closed.unwrap_err().to_string().contains("runtime")),
        }
        hangs
    });
    assert!(hangs.is_empty(), "they hang: {hangs:?}");
}
