//! `shards` and `drain`: what waits on which server, and taking one out.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder};
use serde_json::json;

use super::{program, run, start};
use crate::support::{Server, unique_prefix};

#[test]
fn each_server_is_shown_with_what_waits_on_it_and_one_that_is_down_makes_the_exit_status_4() {
    let (server, prefix) = (Server::shared(), unique_prefix("shards-shown"));
    let urls = [server.url_with_db(0), server.url_with_db(1)];
    let on = |urls: &[&str], arguments: &[&str]| {
        let mut command = program();
        for url in urls {
            command.args(["--redis", url]);
        }
        run(command.args(["--prefix", &prefix]).args(arguments))
    };
    for message in ["1", "2", "3"] {
        on(&[&urls[1]], &["send", "jobs", message]).done();
    }
    let both = [&*urls[0], &*urls[1]];
    let shown = on(&both, &["shards", "--queues", "--json"]).json();
    assert_eq!(shown.len(), 2);
    for (shard, (queues, messages)) in shown.iter().zip([(json!({}), 0), (json!({"jobs": 3}), 3)]) {
        assert_eq!((&shard["up"], &shard["groups"]), (&json!(true), &json!(0)), "{shard}");
        assert_eq!((&shard["messages_by_queue"], &shard["messages"]), (&queues, &json!(messages)), "{shard}");
        assert!(shard["latency_us"].is_u64() && shard["version"].as_str().unwrap().contains('.'), "{shard}");
    }
    let text = on(&both, &["shards"]).done();
    assert!(text.lines().nth(1).unwrap().ends_with(": 3 messages in 1 queues, 0 groups"), "{text}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = on(&[&urls[0], &format!("redis://{nobody}")], &["shards", "--json"]);
    assert_eq!(down.status, Some(4), "{down:?}");
    let shown = down.json();
    assert_eq!((&shown[0]["up"], &shown[1]["up"]), (&json!(true), &json!(false)));
    assert!(shown[1]["error"].as_str().unwrap().contains("cannot be reached"), "{down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let (server, prefix) = (Server::shared(), unique_prefix("drain-killed"));
    let options = ConfigBuilder::new().prefix(&prefix).capacity(100_000);
    let old = options.clone().hosts([server.url_with_db(0)]).connect().await.unwrap();
    let new = options.hosts([1, 2].map(|db| server.url_with_db(db))).connect().await.unwrap();
    let drain = || {
        let mut command = program();
        command.args(["--redis", &server.url_with_db(1), "--redis", &server.url_with_db(2)]);
        command.args(["--prefix", &prefix, "--json", "drain", "--from", &server.url_with_db(0)]);
        command
    };
    let mut next = 0_u64;
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..15 {
        let sends = (0..800).map(|number| {
            let (old, number) = (&old, next + number);
            async move { old.send("jobs", &number).await.unwrap() }
        });
        futures::future::join_all(sends).await;
        for number in 800..1000 {
            old.send("body?1", &(next + number)).await.unwrap();
        }
        next += 1000;
        let mut draining = start(&mut drain());
        // A drain takes some milliseconds to connect, and some to move the messages.
        tokio::time::sleep(Duration::from_micros(random.u64(2_000..25_000))).await;
        draining.kill().unwrap();
        draining.wait().unwrap();
    }
    let ended = run(&mut drain());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut received = Vec::new();
    let mut ordered = Vec::new();
    while let Some((channel, number)) = new.try_receive::<_, u64>(["body?1", "jobs"]).await.unwrap() {
        if channel == "body?1" {
            ordered.push(number);
        }
        received.push(number);
    }
    assert!(ordered.is_sorted(), "the order of a single-reader channel was not kept");
    received.sort_unstable();
    assert_eq!(received, (0..next).collect::<Vec<_>>());
    old.close().await.unwrap();
}

#[test]
fn a_server_is_not_drained_into_a_list_that_has_it() {
    let (server, prefix) = (Server::shared(), unique_prefix("drain-same"));
    let mut command = program();
    command.args(["--redis", &server.url(), "--prefix", &prefix, "drain", "--from", &server.url()]);
    run(&mut command).failed(2, "a server is to be drained into a host list that has it");
}
