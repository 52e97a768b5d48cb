//! Requests on real servers: what they cost, what they leave behind, and what they outlive.

use std::process::Child;
use std::time::{Duration, Instant};

use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ChannelName, ConfigBuilder, ErrorKind, RedisChannelLayer, Request, Value,
};
use futures::future::join_all;

use super::{Hosts, keys, layers, options, promptly, soon, until};
use crate::support::{Server, Servers, calls, end_with_the_suite, start_child, unique_prefix};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Answers each request on `jobs` with twice its number, for as long as it is polled.
async fn double(worker: RedisChannelLayer) {
    loop {
        let request: Request<u64> = worker.receive_request("jobs").await.unwrap();
        let doubled = request.message * 2;
        request.reply(&worker, doubled).await.unwrap();
    }
}

/// What decided for a mailbox: see record 0024.
#[tokio::test]
async fn a_request_costs_a_push_for_each_way_and_a_pop_at_each_end_and_those_at_once_share_them() {
    const REQUESTS: u64 = 100;
    let server = Server::private();
    let [caller, worker] = layers(&options(&server, "requests-cost").capacity(1_000)).await;
    let working = tokio::spawn(double(worker));
    let mut admin = server.connection().await;
    // The first opens the inbox, and reads a clock.
    assert_eq!(caller.request::<u64>("jobs", 4, TIMEOUT).await.unwrap(), 8);
    let before = calls(&mut admin, "evalsha").await;
    for number in 0..REQUESTS {
        assert_eq!(caller.request::<u64>("jobs", number, TIMEOUT).await.unwrap(), 2 * number);
    }
    let one_by_one = calls(&mut admin, "evalsha").await - before;
    assert!(one_by_one <= 4 * REQUESTS + 20, "{one_by_one} calls for {REQUESTS} requests");
    let before = calls(&mut admin, "evalsha").await;
    let asked = (0..REQUESTS).map(|number| caller.request::<u64>("jobs", number, TIMEOUT));
    for (number, doubled) in (0..).zip(join_all(asked).await) {
        assert_eq!(doubled.unwrap(), 2 * number);
    }
    let at_once = calls(&mut admin, "evalsha").await - before;
    // The worker here takes and answers one after another, which costs it two calls each.
    assert!(at_once <= 3 * REQUESTS + 20, "{at_once} calls for {REQUESTS} requests at once");
    working.abort();
}

on_one_and_three_servers!(requests_leave_nothing_behind_whether_answered_late_or_dropped);
async fn requests_leave_nothing_behind_whether_answered_late_or_dropped(servers: Servers) {
    let options = options(&servers, "requests-behind");
    let prefix = options.build().unwrap().prefix().to_owned();
    let [caller, worker] = layers(&options).await;
    let working = tokio::spawn(double(worker.clone()));
    assert_eq!(soon("a reply", caller.request::<u64>("jobs", 4, TIMEOUT)).await.unwrap(), 8);
    // Lines of tickets that wait come and go with receives.
    let settled = async |prefix: &str| -> Vec<String> {
        let mut keys = keys(&servers, prefix).await;
        keys.retain(|key| !key.starts_with(&format!("{prefix}w:")));
        keys
    };
    let before = settled(&prefix).await;
    for number in 0..20_u64 {
        let asked = caller.request::<u64>("nobody", number, Duration::from_millis(20));
        assert_eq!(asked.await.unwrap_err().kind(), ErrorKind::TooLate);
        // One that was sent waits for its worker as long as its caller would have waited.
        let mut dropped = std::pin::pin!(caller.request::<u64>("jobs", number, Duration::from_secs(2)));
        assert!(futures::poll!(dropped.as_mut()).is_pending());
        assert_eq!(
            soon("a reply", caller.request::<u64>("jobs", number, TIMEOUT)).await.unwrap(),
            2 * number
        );
    }
    working.abort();
    let nothing_left = async {
        loop {
            let left = settled(&prefix).await;
            if left == before && caller.request_statistics().waiting == 0 {
                return;
            }
            println!("left: {left:?}, before: {before:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    soon("nothing is left", nothing_left).await;
}

/// Says to a child which prefix and servers it works on.
const ROLE: &str = "ASGI_REDIS_SUITE_WORKER";

/// What a child does until its standard input ends, and nothing in a run of the suite: it takes a request, and keeps it.
#[tokio::test]
async fn the_part_of_a_worker_that_does_not_answer() {
    let Ok(role) = std::env::var(ROLE) else { return };
    end_with_the_suite();
    let (prefix, urls) = role.split_once(' ').unwrap();
    let hosts = urls.split(' ').collect::<Vec<_>>();
    let layer = ConfigBuilder::new().hosts(hosts).prefix(prefix).connect().await.unwrap();
    println!("\nready");
    let request: Request<u64> = layer.receive_request("jobs").await.unwrap();
    println!("took {}", request.message);
    std::future::pending::<()>().await;
}

/// A process that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

on_one_and_three_servers!(
    the_deadline_holds_when_the_worker_is_killed_and_nothing_is_answered_twice,
    threads
);
async fn the_deadline_holds_when_the_worker_is_killed_and_nothing_is_answered_twice(servers: Servers) {
    let prefix = unique_prefix("requests-killed");
    let urls = servers.urls();
    let caller = ConfigBuilder::new().hosts(urls.clone()).prefix(prefix.clone()).connect().await.unwrap();
    let role = format!("{prefix} {}", urls.join(" "));
    let (process, mut lines) =
        start_child(module_path!(), "the_part_of_a_worker_that_does_not_answer", (ROLE, &role));
    let mut process = Ending(process);
    let timeout = Duration::from_secs(3);
    let started = Instant::now();
    let asked = tokio::spawn({
        let caller = caller.clone();
        async move { caller.request::<u64>("jobs", 7, timeout).await }
    });
    let took =
        tokio::task::spawn_blocking(move || lines.find(|line| line.as_ref().unwrap().starts_with("took")));
    assert_eq!(soon("the request is taken", took).await.unwrap().unwrap().unwrap(), "took 7");
    process.0.kill().unwrap();
    // Another worker is there in time, and is not given what the dead one had.
    let other = ConfigBuilder::new().hosts(urls).prefix(prefix).connect().await.unwrap();
    let again = other.receive_request::<u64>("jobs");
    assert!(tokio::time::timeout(Duration::from_secs(1), again).await.is_err());
    let error = soon("the deadline", asked).await.unwrap().unwrap_err();
    let waited = started.elapsed();
    assert_eq!((error.kind(), error.perhaps_sent()), (ErrorKind::TooLate, true));
    assert!(waited >= timeout && waited < timeout + Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn a_reply_waits_through_an_outage_and_so_does_a_send_by_option_and_neither_comes_twice() {
    let server = Server::private();
    let [caller, worker] = layers(&options(&server, "requests-outage")).await;
    let asked = tokio::spawn({
        let caller = caller.clone();
        async move { caller.request::<u64>("jobs", 7, TIMEOUT).await }
    });
    let request: Request<u64> = soon("a request", worker.receive_request("jobs")).await.unwrap();
    server.stop();
    until("the server is known to be down", async || worker.send("down", 1).await.is_err()).await;
    let replying = tokio::spawn({
        let worker = worker.clone();
        async move { request.reply(&worker, 14).await }
    });
    let sending = tokio::spawn({
        let worker = worker.clone();
        async move { worker.send_within("after", 1, TIMEOUT).await }
    });
    let short = promptly("giving up", worker.send_within("never", 1, Duration::from_millis(400))).await;
    let short = short.unwrap_err();
    assert!(short.kind().is_outage() && short.may_retry(), "{short:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!replying.is_finished() && !sending.is_finished());
    server.start();
    soon("the reply is sent", replying).await.unwrap().unwrap();
    assert_eq!(soon("the reply", asked).await.unwrap().unwrap(), 14);
    soon("the message is sent", sending).await.unwrap().unwrap();
    assert_eq!(soon("the message", caller.receive::<u64>("after")).await.unwrap().1, 1);
    for channel in ["after", "never"] {
        assert!(caller.try_receive::<u64>(channel).await.unwrap().is_none());
    }
    assert_eq!(caller.request_statistics().late_replies, 0);
}

/// A server that falls silent holds a send with a deadline no longer than that, and the send says that it was perhaps sent.
#[tokio::test]
async fn a_send_through_outages_ends_in_its_time_though_the_server_is_silent() {
    let server = Server::private();
    let [layer] = layers(&options(&server, "requests-silent")).await;
    layer.send("jobs", 1).await.unwrap();
    server.pause();
    let started = Instant::now();
    let error = layer.send_within("jobs", 2, Duration::from_millis(500)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!((error.kind(), error.perhaps_sent()), (ErrorKind::Timeout, true));
    server.unpause();
}

on_one_and_three_servers!(a_reply_waits_for_room_in_its_channel_while_its_caller_waits);
async fn a_reply_waits_for_room_in_its_channel_while_its_caller_waits(servers: Servers) {
    let [caller, worker] = layers(&options(&servers, "requests-room").capacity(1)).await;
    // As a program in another language asks, with a reply channel of its own.
    let reply_channel: ChannelName = caller.new_channel("reply?").unwrap();
    caller.send(&reply_channel, "in the way").await.unwrap();
    let asked = [("message", Value::from(1)), ("reply_channel", Value::from(reply_channel.as_str()))];
    let ask = async |seconds| {
        let expiry = Duration::from_secs(seconds);
        caller.send_with_expiry("jobs", Value::map(asked.clone()), expiry).await.unwrap();
        soon("a request", worker.receive_request::<u64>("jobs")).await.unwrap()
    };
    let refused = soon("giving up", ask(3).await.reply(&worker, 2)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.perhaps_sent()), (ErrorKind::ChannelFull, false));
    let request = ask(60).await;
    let room = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        caller.receive::<String>(&reply_channel).await.unwrap()
    };
    let (replied, _) = futures::join!(request.reply(&worker, 2), room);
    replied.unwrap();
    assert_eq!(soon("the reply", caller.receive::<u64>(&reply_channel)).await.unwrap().1, 2);
}

/// The inbox for replies lives in the runtime of the layer, not in that of the first caller.
#[test]
fn requests_of_a_runtime_that_has_ended_end_no_others() {
    let server = Server::shared();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let home = runtime();
    let [caller, worker] = home.block_on(layers(&options(&server, "requests-runtimes")));
    home.spawn(double(worker));
    for number in 0..3 {
        let other = runtime();
        let doubled =
            other.block_on(async { soon("a reply", caller.request::<u64>("jobs", number, TIMEOUT)).await });
        assert_eq!(doubled.unwrap(), 2 * number);
        drop(other);
    }
    home.block_on(caller.close()).unwrap();
}

#[tokio::test]
async fn a_layer_with_requests_is_dropped_like_any_other() {
    let server = Server::private();
    let options = options(&server, "requests-dropped");
    let prefix = options.build().unwrap().prefix().to_owned();
    let [caller, worker] = layers(&options).await;
    let working = tokio::spawn(double(worker));
    caller.request::<u64>("jobs", 1, TIMEOUT).await.unwrap();
    let inboxes =
        async || keys(&server, &prefix).await.iter().filter(|key| key.contains(":i:reply.")).count();
    assert_eq!(inboxes().await, 1, "{:?}", keys(&server, &prefix).await);
    drop(caller);
    until("the inbox ends", async || inboxes().await == 0).await;
    working.abort();
}
