//! `send`, `receive`, `new-channel` and `flush`.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use asgi_redis::{ChannelLayer, ConfigBuilder, PackedMessage};
use serde_json::json;

use super::{PATIENCE, end, program_on, run, run_with_input, start};
use crate::support::{Server, unique_prefix};

#[test]
fn a_sent_message_is_received_as_one_line_of_json() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_sent_message_is_received"));
    let message =
        r#"{"path":"/","tries":[1,-2,1.5,18446744073709551615],"body":{"$bytes":"AP8="},"none":null}"#;
    assert_eq!(run(program_on(&server, &prefix).args(["send", "http.request", message])).done(), "");
    let out = run(program_on(&server, &prefix).args(["receive", "http.request"])).done();
    assert_eq!(out, format!("{{\"channel\":\"http.request\",\"message\":{message}}}\n"));
}

#[test]
fn every_form_of_message_comes_back_as_it_was_written() {
    let (server, prefix) = (Server::shared(), unique_prefix("every_form_of_message"));
    for message in [
        "null",
        "-5",
        "\"text\"",
        "{}",
        r#"{"$ext":[-5,"AP8="]}"#,
        r#"{"$float":"-Infinity"}"#,
        r#"{"$map":[[1,{"$bytes":""}],[1,"again"]]}"#,
        r#"{"$map":[["$bytes","a key that looks like a mark"]]}"#,
    ] {
        assert_eq!(run(program_on(&server, &prefix).args(["send", "forms", message])).done(), "");
        let out = run(program_on(&server, &prefix).args(["receive", "forms", "--timeout", "5"])).done();
        assert_eq!(out, format!("{{\"channel\":\"forms\",\"message\":{message}}}\n"));
    }
}

#[test]
fn a_message_is_read_from_standard_input() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_message_is_read_from"));
    let out =
        run_with_input(program_on(&server, &prefix).args(["send", "a", "-", "--json"]), "{\"n\":\n 1}\n")
            .done();
    assert_eq!(out, "{\"channel\":\"a\",\"sent\":true}\n");
    let received = run(program_on(&server, &prefix).args(["receive", "a"]));
    assert_eq!(received.json(), [json!({"channel": "a", "message": {"n": 1}})]);
}

#[test]
fn a_receive_waits_on_several_channels_and_prints_each_message_at_once() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_receive_waits"));
    let mut receive = start(program_on(&server, &prefix).args(["receive", "a", "b", "--count", "2"]));
    let mut lines = BufReader::new(receive.stdout.take().unwrap()).lines();
    for (channel, message) in [("b", "1"), ("a", "2")] {
        run(program_on(&server, &prefix).args(["send", channel, message])).done();
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("{{\"channel\":\"{channel}\",\"message\":{message}}}"));
    }
    assert_eq!(end(receive).status, Some(0));
}

#[test]
fn a_receive_takes_as_many_messages_as_it_is_told() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_receive_takes_as_many"));
    for message in ["1", "2", "3", "4"] {
        run(program_on(&server, &prefix).args(["send", "a?b", message])).done();
    }
    let receive =
        |arguments: &[&str]| run(program_on(&server, &prefix).args(["receive", "a?b"]).args(arguments));
    let message = |number: u64| json!({"channel": "a?b", "message": number});
    assert_eq!(receive(&[]).json(), [message(1)]);
    assert_eq!(receive(&["--timeout", "0"]).json(), [message(2)]);
    let all = receive(&["--count", "0", "--timeout", "0.2"]);
    assert_eq!(all.json(), [message(3), message(4)]);
    assert_eq!(all.done().lines().count(), 2);
}

#[test]
fn what_does_not_arrive_in_time_makes_the_exit_status_1() {
    let (server, prefix) = (Server::shared(), unique_prefix("what_does_not_arrive"));
    let receive =
        |arguments: &[&str]| run(program_on(&server, &prefix).args(["receive", "a"]).args(arguments));
    receive(&["--timeout", "0.2"]).failed(1, "nothing arrived within 0.2 s");
    receive(&["--timeout", "0"]).failed(1, "nothing arrived at once");
    receive(&["--timeout", "0", "--count", "0"]).failed(1, "nothing arrived");

    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    let one_of_two = receive(&["--timeout", "0.2", "--count", "2"]);
    one_of_two.failed(1, "only 1 of 2 messages arrived");
    assert_eq!(one_of_two.json(), [json!({"channel": "a", "message": 1})]);
}

#[test]
fn a_full_channel_refuses_with_exit_status_3() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_full_channel_refuses"));
    let send = || run(program_on(&server, &prefix).args(["send", "a", "1", "--capacity", "2"]));
    send().done();
    send().done();
    send().failed(3, "channel \"a\"");
    let received = run(program_on(&server, &prefix).args(["receive", "a", "--count", "0", "--timeout", "0"]));
    assert_eq!(received.done().lines().count(), 2);
}

#[test]
fn an_expired_message_is_not_received() {
    let (server, prefix) = (Server::shared(), unique_prefix("an_expired_message"));
    run(program_on(&server, &prefix).args(["send", "a", "1", "--expiry", "0.05"])).done();
    std::thread::sleep(std::time::Duration::from_millis(60));
    run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"])).failed(1, "nothing arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_printed_and_told_and_the_next_one_still_comes() {
    let (server, prefix) = (Server::shared(), unique_prefix("what_is_no_message"));
    let layer = ConfigBuilder::new().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();
    let channel = "a".parse().unwrap();
    layer.send_packed(&channel, PackedMessage::from_bytes(&b"\xc1"[..])).await.unwrap();
    layer.send_packed(&channel, PackedMessage::pack(&1).unwrap()).await.unwrap();
    layer.close().await.unwrap();

    let received = run(program_on(&server, &prefix).args(["receive", "a", "--count", "2"]));
    received.failed(5, "channel \"a\": cannot decode a message of 1 bytes");
    let undecoded = json!({"channel": "a", "undecoded": {"$bytes": "wQ=="}});
    assert_eq!(received.json(), [undecoded, json!({"channel": "a", "message": 1})]);
}

#[test]
fn a_reader_that_goes_ends_a_receive_quietly() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_reader_that_goes"));
    let mut receive = start(program_on(&server, &prefix).args(["receive", "a", "--count", "0"]));
    let mut out = BufReader::new(receive.stdout.take().unwrap());
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    run(program_on(&server, &prefix).args(["send", "a", "2"])).done();
    let receive = end(receive);
    assert_eq!((receive.status, receive.err.as_str()), (Some(0), ""));
    let next = run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"]));
    assert_eq!(next.json(), [json!({"channel": "a", "message": 2})], "what was not printed went back");
}

#[test]
fn what_is_not_printed_and_cannot_go_back_is_told_and_makes_the_exit_status_5() {
    let (server, prefix) = (Server::shared(), unique_prefix("what_is_not_printed"));
    let mut receive = start(program_on(&server, &prefix).args(["receive", "a?b"]));
    drop(receive.stdout.take().unwrap());
    // Behind others it would be out of order.
    run(program_on(&server, &prefix).args(["send", "a?b", "\"two  spaces\""])).done();
    let receive = end(receive);
    assert_eq!(receive.status, Some(5), "{receive:?}");
    assert!(receive.err.starts_with("asgi-redis: channel \"a?b\": a message was taken and not printed: "));
    assert!(receive.err.ends_with("\n{\"channel\":\"a?b\",\"message\":\"two  spaces\"}\n"), "{receive:?}");
}

#[test]
fn a_reader_that_stops_reading_does_not_keep_a_receive_from_ending() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_reader_that_stops"));
    let mut receive = start(program_on(&server, &prefix).args(["receive", "a", "--count", "0"]));
    // More than a pipe holds.
    let message = serde_json::to_string(&"x".repeat(200_000)).unwrap();
    run_with_input(program_on(&server, &prefix).args(["send", "a", "-"]), &message).done();
    let mut out = receive.stdout.take().unwrap();
    let mut first = [0; 1];
    out.read_exact(&mut first).unwrap();
    super::signal(&receive, "TERM");
    let started = std::time::Instant::now();
    let receive = end(receive);
    assert_eq!(receive.status, Some(5), "143 would say that nothing is lost");
    assert!(receive.err.contains("a message was taken and not printed: the reader of the output does not"));
    assert!(started.elapsed() < PATIENCE / 2);
}

#[test]
fn a_new_channel_is_a_name_that_can_be_sent_to() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_new_channel"));
    let make =
        |arguments: &[&str]| run(program_on(&server, &prefix).args(["new-channel", "body?"]).args(arguments));
    let (first, second) = (make(&[]).done(), make(&["--json"]));
    let first = first.trim_end();
    assert!(first.starts_with("body?") && first.len() == 27, "{first}");
    assert_ne!(second.json()[0]["channel"], first);
    run(program_on(&server, &prefix).args(["send", first, "1"])).done();
    assert_eq!(run(program_on(&server, &prefix).args(["receive", first])).json().len(), 1);
}

#[test]
fn a_flush_removes_what_waits_under_its_prefix_only() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_flush_removes"));
    let other = format!("{prefix}other:");
    for prefix in [&prefix, &other] {
        run(program_on(&server, prefix).args(["send", "a", "1"])).done();
    }
    assert_eq!(run(program_on(&server, &prefix).args(["flush", "--yes"])).done(), "");
    run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"])).failed(1, "nothing arrived");
    let flushed = run(program_on(&server, &prefix).args(["flush", "--yes", "--json"])).json().remove(0);
    assert_eq!(
        (&flushed["flushed"], &flushed["prefix"]),
        (&true.into(), &prefix.as_str().into()),
        "{flushed}"
    );
    assert_eq!(run(program_on(&server, &other).args(["receive", "a", "--timeout", "0"])).json().len(), 1);
}

#[test]
fn nothing_is_received_for_a_standard_output_that_is_closed() {
    let (server, prefix) = (Server::shared(), unique_prefix("closed-output"));
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    let through = |redirect: &str| {
        let program = env!("CARGO_BIN_EXE_asgi-redis");
        let line = format!(
            "exec {program} --redis {} --prefix {prefix} receive a --timeout 0 {redirect}",
            server.url()
        );
        Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    let closed = through(">&-");
    assert_eq!(closed.status.code(), Some(5), "{closed:?}");
    assert!(String::from_utf8_lossy(&closed.stderr).contains("standard output is closed"), "{closed:?}");
    assert_eq!(through(">/dev/null").status.code(), Some(0), "it is still there, and may be thrown away");
    run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"])).failed(1, "nothing arrived");
}
