//! `shards` and `drain`: what waits on which server, and taking one out.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, RedisChannelLayer};
use serde_json::json;

use super::{program, run, start};
use crate::support::{Ledger, Sent, Server, unique_prefix};

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
    let second = ": 3 messages in 1 queue, 0 groups, 0 receives wait";
    assert!(text.lines().nth(1).unwrap().ends_with(second), "{text}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = on(&[&urls[0], &format!("redis://{nobody}")], &["shards", "--json"]);
    assert_eq!(down.status, Some(4), "{down:?}");
    let shown = down.json();
    assert_eq!((&shown[0]["up"], &shown[1]["up"]), (&json!(true), &json!(false)));
    assert!(shown[1]["error"].as_str().unwrap().contains("cannot be reached"), "{down:?}");
}

#[test]
fn expired_messages_do_not_count_and_receives_that_wait_are_shown() {
    let (server, prefix) = (Server::private(), unique_prefix("shards-live"));
    let on = |arguments: &[&str]| run(super::program_on(&server, &prefix).args(arguments));
    on(&["--expiry", "0.05", "send", "jobs", "1"]).done();
    on(&["send", "kept", "2"]).done();
    let mut waiting = super::program_on(&server, &prefix);
    let mut receive = waiting.args(["receive", "wanted"]).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let shown = loop {
        let shown = on(&["shards", "--queues", "--json"]).json().remove(0);
        if (shown["waiting"] == 1 && shown["messages"] == 1) || Instant::now() > deadline {
            break shown;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = on(&["shards", "--queues"]).done();
    receive.kill().unwrap();
    receive.wait().unwrap();
    assert_eq!(shown["messages_by_queue"], json!({"kept": 1}), "{shown}");
    assert_eq!(shown["waiting_by_queue"], json!({"wanted": 1}), "{shown}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(": 1 message in 1 queue, 0 groups, 1 receive waits"), "{text}");
    assert_eq!(lines[1..], ["  kept  1", "  wanted  0, 1 receive waits"], "{text}");
}

#[test]
fn programs_that_send_once_do_not_all_load_the_first_server() {
    let (server, prefix) = (Server::shared(), unique_prefix("send-once"));
    let on_three = |arguments: &[&str]| {
        let mut command = program();
        for db in 0..3 {
            command.args(["--redis", &server.url_with_db(db)]);
        }
        run(command.args(["--prefix", &prefix]).args(arguments))
    };
    for _ in 0..30 {
        on_three(&["send", "jobs", "1"]).done();
    }
    let shown = on_three(&["shards", "--json"]).json();
    let counts: Vec<u64> = shown.iter().map(|shard| shard["messages"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 30);
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}

#[test]
fn programs_that_receive_once_do_not_all_take_from_the_first_channel() {
    let (server, prefix) = (Server::shared(), unique_prefix("receive-once"));
    let with = |arguments: &[&str]| run(super::program_on(&server, &prefix).args(arguments));
    for channel in ["a", "b"] {
        for _ in 0..30 {
            with(&["send", channel, "1"]).done();
        }
    }
    let received: Vec<String> =
        (0..30).map(|_| with(&["receive", "a", "b", "--timeout", "0"]).done()).collect();
    let from_a = received.iter().filter(|line| line.contains(r#""channel":"a""#)).count();
    assert!((1..30).contains(&from_a), "{from_a} of 30 from the first channel");
}

/// Sends with the old list, to a normal channel and, in order, to a single-reader channel, while drains are killed.
async fn send_meanwhile(old: &RedisChannelLayer, ledger: &Ledger, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let number = ledger.number();
            let channel = if number.is_multiple_of(3) { "body?1" } else { "jobs" };
            old.send(channel, &number).await.unwrap();
            ledger.sent(number, Sent::Accepted);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_killed_at_any_moment_under_traffic_move_everything_once_and_in_order() {
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
    let (ledger, ended) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    // More than a few batches wait at the beginning.
    for _ in 0..3000 {
        let number = ledger.number();
        old.send(if number % 3 == 0 { "body?1" } else { "jobs" }, &number).await.unwrap();
        ledger.sent(number, Sent::Accepted);
    }
    let sending = tokio::spawn({
        let (old, ledger, ended) = (old.clone(), Arc::clone(&ledger), Arc::clone(&ended));
        async move { send_meanwhile(&old, &ledger, &ended).await }
    });
    let receiving = tokio::spawn({
        let (new, ledger) = (new.clone(), Arc::clone(&ledger));
        async move {
            let mut before = None;
            loop {
                let (channel, number) = new.receive::<u64>(["body?1", "jobs"]).await.unwrap();
                ledger.received(number);
                if channel == "body?1" {
                    assert!(before < Some(number), "{number} came after {before:?}");
                    before = Some(number);
                }
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..15 {
        let mut draining = start(&mut drain());
        // A drain takes some milliseconds to connect, and some to move the messages.
        tokio::time::sleep(Duration::from_micros(random.u64(2_000..40_000))).await;
        draining.kill().unwrap();
        draining.wait().unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    sending.await.unwrap();
    let ended = run(&mut drain());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    ledger.wait_for_balance().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!receiving.is_finished(), "the order of the single-reader channel was not kept");
    receiving.abort();
    ledger.balance();
    old.close().await.unwrap();
}

#[test]
fn a_server_is_not_drained_into_a_list_that_has_it() {
    let (server, prefix) = (Server::shared(), unique_prefix("drain-same"));
    let mut command = program();
    command.args(["--redis", &server.url(), "--prefix", &prefix, "drain", "--from", &server.url()]);
    run(&mut command).failed(2, "a server is to be drained into a host list that has it");
}

#[test]
fn a_drain_to_a_dead_server_takes_nothing() {
    let (server, prefix) = (Server::shared(), unique_prefix("drain-dead"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = format!("redis://{nobody}");
    let old = |arguments: &[&str]| run(super::program_on(&server, &prefix).args(arguments));
    for channel in ["a", "b?1", "c?2"] {
        old(&["send", channel, "1"]).done();
    }
    let from = server.url();
    for new in [&[&*dead] as &[&str], &[&server.url_with_db(1), &dead]] {
        let mut drain = program();
        for url in new {
            drain.args(["--redis", url]);
        }
        let drained = run(drain.args(["--prefix", &prefix, "drain", "--from", &from]));
        assert_eq!(drained.status, Some(4), "{drained:?}");
        let waiting = old(&["shards", "--json"]).json();
        assert_eq!(waiting[0]["messages"], 3, "{waiting:?}");
        assert_eq!(
            run(super::program_on(&server, &prefix).args(["shards", "--queues"])).done().lines().count(),
            4
        );
    }
    // Nothing is aside: each is still received where it was.
    let received = old(&["receive", "a", "b?1", "c?2", "--count", "0", "--timeout", "0"]);
    assert_eq!(received.json().len(), 3, "{received:?}");
}

/// A batch that a drain took out for a server that is gone, as it stands on the old server.
async fn set_aside(server: &Server, prefix: &str, queue: &str) {
    let mut admin = server.connection().await;
    let (from, aside) = (format!("{prefix}q:{queue}"), format!("{prefix}o:{queue}"));
    let entries: Vec<Vec<u8>> =
        redis::cmd("LRANGE").arg(&from).arg(0).arg(-1).query_async(&mut admin).await.unwrap();
    let () = redis::cmd("RPUSH")
        .arg(&aside)
        .arg("batch redis://gone:6379/0")
        .arg(entries)
        .query_async(&mut admin)
        .await
        .unwrap();
    let () = redis::cmd("DEL").arg(&from).query_async(&mut admin).await.unwrap();
}

#[tokio::test]
async fn what_is_aside_for_a_server_that_is_gone_stops_no_other_queue_and_is_put_back() {
    let (server, prefix) = (Server::shared(), unique_prefix("drain-abandon"));
    let old = |arguments: &[&str]| run(super::program_on(&server, &prefix).args(arguments));
    for channel in ["a", "b", "b", "c"] {
        old(&["send", channel, "1"]).done();
    }
    set_aside(&server, &prefix, "b").await;
    assert_eq!(old(&["shards", "--json"]).json()[0]["messages"], 4);
    let drain = |arguments: &[&str]| {
        let mut drain = program();
        drain.args([
            "--redis",
            &server.url_with_db(1),
            "--prefix",
            &prefix,
            "drain",
            "--from",
            &server.url(),
        ]);
        run(drain.args(arguments))
    };
    let stuck = drain(&[]);
    assert_eq!(stuck.status, Some(2), "{stuck:?}");
    assert!(stuck.err.contains("channel \"b\"") && stuck.err.contains("--abandon"), "{stuck:?}");
    assert_eq!(old(&["shards", "--json"]).json()[0]["messages"], 2, "the others were moved");
    assert_eq!(drain(&["--abandon"]).done(), "put back 2 messages\n");
    drain(&[]).done();
    let new = |arguments: &[&str]| {
        run(program().args(["--redis", &server.url_with_db(1), "--prefix", &prefix]).args(arguments))
    };
    let received = new(&["receive", "a", "b", "c", "--count", "0", "--timeout", "0"]);
    assert_eq!(received.json().len(), 4, "{received:?}");
}
