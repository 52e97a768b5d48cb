//! Calls outside of a Tokio runtime, and calls of a layer whose runtime runs no tasks, end with an error that names it.

use std::time::Duration;

use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ConfigBuilder, Error, ErrorKind, LocalAndRemote, RedisChannelLayer,
};
use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};

use super::{options, soon};
use crate::support::Server;

const SHORT: Duration = Duration::from_millis(500);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[track_caller]
fn names_the_runtime<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error}");
    assert!(error.to_string().ends_with("inside a Tokio runtime, and there is none here"), "{error}");
}

/// The calls that need a server or a task. They run outside of any runtime.
fn every_call_to_redis_is_refused(layer: &impl ChannelLayer) {
    names_the_runtime(block_on(layer.send("single?1", 1)));
    names_the_runtime(block_on(layer.send_wait("single?1", 1, SHORT)));
    names_the_runtime(block_on(layer.send_within("single?1", 1, SHORT)));
    names_the_runtime(block_on(layer.request::<u64>("single?1", 1, SHORT)));
    names_the_runtime(block_on(layer.receive_timeout::<u64>("single?1", SHORT)));
    names_the_runtime(block_on(layer.open_inbox("inbox")));
    names_the_runtime(block_on(layer.group_add("room", "single?1")));
    names_the_runtime(block_on(layer.group_discard("room", "single?1")));
    names_the_runtime(block_on(layer.leave_groups("single?1")));
    names_the_runtime(block_on(layer.group_send("room", 1)));
    names_the_runtime(block_on(layer.group_channels("room")));
    names_the_runtime(block_on(layer.group_len("room")));
    names_the_runtime(block_on(layer.channel_groups("single?1")));
    names_the_runtime(block_on(layer.flush()));
}

#[test]
fn a_redis_layer_outside_of_a_runtime_returns_errors() {
    let server = Server::shared();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let layer = runtime.block_on(options(&server, "no-runtime").connect()).unwrap();
    every_call_to_redis_is_refused(&layer);
    let health = block_on(layer.health());
    assert_eq!(health.len(), 1);
    assert_eq!(health[0].error().map(Error::kind), Some(ErrorKind::NoRuntime));
    names_the_runtime(block_on(layer.survey()).remove(0));
    names_the_runtime(block_on(layer.drain_into(&layer)));
    runtime.block_on(layer.send("jobs", 1)).unwrap();
    assert_eq!(block_on(layer.receive::<u64>("jobs")).unwrap().1, 1, "a receive only waits for tasks");
    block_on(layer.close()).unwrap();
}

#[test]
fn a_local_and_remote_layer_outside_of_a_runtime_returns_errors() {
    let server = Server::shared();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = options(&server, "no-runtime-both");
    let remote = runtime.block_on(options.connect()).unwrap();
    let layer = LocalAndRemote::new(options.in_memory().unwrap(), remote);
    every_call_to_redis_is_refused(&layer);
    names_the_runtime(block_on(layer.receive::<u64>(["jobs", "single?1"])));
    block_on(layer.send("jobs", 1)).unwrap();
    assert_eq!(block_on(layer.receive::<u64>("jobs")).unwrap().1, 1, "memory needs no runtime");
    block_on(layer.close()).unwrap();
}

#[test]
fn a_memory_layer_outside_of_a_runtime_needs_one_only_for_inboxes_and_time_limits() {
    let layer = ConfigBuilder::new().in_memory().unwrap();
    names_the_runtime(block_on(layer.open_inbox("inbox")));
    names_the_runtime(block_on(layer.send_wait("jobs", 1, SHORT)));
    names_the_runtime(block_on(layer.receive_timeout::<u64>("jobs", SHORT)));
    let inbox = current_thread().block_on(layer.open_inbox("inbox")).unwrap();
    names_the_runtime(block_on(layer.receive::<u64>(["jobs", inbox.name().as_str()])));
    block_on(layer.send("jobs", 1)).unwrap();
    block_on(layer.group_add("room", "jobs")).unwrap();
    assert_eq!(block_on(layer.group_send("room", 2)).unwrap().delivered(), 1);
    for number in [1, 2] {
        assert_eq!(block_on(layer.receive::<u64>("jobs")).unwrap().1, number);
    }
    block_on(layer.flush()).unwrap();
    block_on(layer.close()).unwrap();
}

/// A layer of this server, and the current-thread runtime in which it was connected.
fn left_alone(server: &Server, name: &str) -> (RedisChannelLayer, Runtime) {
    let runtime = current_thread();
    let options = options(server, name).response_timeout(SHORT).connect_timeout(SHORT);
    let layer = runtime.block_on(options.connect()).unwrap();
    (layer, runtime)
}

#[track_caller]
fn stands_still(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().starts_with("nobody drives the Tokio runtime"), "{error}");
}

#[test]
fn a_burst_of_sends_ends_when_nobody_drives_the_runtime_of_the_layer() {
    let server = Server::shared();
    let (layer, _runtime) = left_alone(&server, "not-driven-burst");
    current_thread().block_on(async {
        let burst = join_all((0..100).map(|number| layer.send("jobs", number)));
        let ended = soon("the burst", burst).await;
        let still: Vec<_> = ended.iter().filter_map(|sent| sent.as_ref().err()).collect();
        assert_eq!(still.len(), 100);
        let named = still.iter().filter(|error| error.to_string().starts_with("nobody drives"));
        assert!(named.inspect(|error| assert!(error.perhaps_sent())).count() >= 99, "{still:?}");
    });
}

#[test]
fn a_receive_that_does_not_wait_ends_when_nobody_drives_the_runtime_of_the_layer() {
    let server = Server::shared();
    let (layer, _runtime) = left_alone(&server, "not-driven-try");
    current_thread().block_on(async {
        stands_still(&soon("the receive", layer.try_receive::<u64>("jobs")).await.unwrap_err());
    });
}

#[test]
fn closing_ends_when_nobody_drives_the_runtime_of_the_layer() {
    let server = Server::shared();
    let (layer, _runtime) = left_alone(&server, "not-driven-close");
    current_thread().block_on(async {
        stands_still(&soon("closing", layer.close()).await.unwrap_err());
    });
}

#[test]
fn a_burst_of_sends_ends_when_the_runtime_of_the_layer_ends() {
    let server = Server::shared();
    let (layer, runtime) = left_alone(&server, "ended-burst");
    current_thread().block_on(async {
        let burst = tokio::spawn({
            let layer = layer.clone();
            async move { join_all((0..100).map(|number| layer.send("jobs", number))).await }
        });
        tokio::task::yield_now().await;
        runtime.shutdown_background();
        for sent in soon("the burst", burst).await.unwrap() {
            let error = sent.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::Connection), "{error}");
        }
        let later = join_all((0..10).map(|number| layer.send("jobs", number)));
        for sent in soon("the later sends", later).await {
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::Closed);
        }
    });
}
