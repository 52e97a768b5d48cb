//! `request`.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::{end, program_on, run, start};
use crate::support::{Server, unique_prefix};

#[test]
fn a_request_is_answered_by_a_receive_and_a_send_and_its_reply_is_one_line_of_json() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_request_is_answered"));
    let asking =
        start(program_on(&server, &prefix).args(["request", "jobs", r#"{"n": 1}"#, "--timeout", "20"]));
    let mut serving = start(program_on(&server, &prefix).args(["receive", "jobs"]));
    let line = BufReader::new(serving.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let request: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&request["channel"], &request["message"]["message"]), (&json!("jobs"), &json!({"n": 1})));
    let reply_channel = request["message"]["reply_channel"].as_str().unwrap();
    run(program_on(&server, &prefix).args(["send", reply_channel, r#"{"$bytes":"AP8="}"#])).done();
    assert_eq!(end(asking).done(), "{\"$bytes\":\"AP8=\"}\n");
    assert_eq!(end(serving).status, Some(0));
}

#[test]
fn a_request_that_nobody_answers_ends_with_status_1_and_is_not_left_behind() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_request_that_nobody"));
    let ask =
        |arguments: &[&str]| run(program_on(&server, &prefix).args(["request", "jobs", "1"]).args(arguments));
    let asked = ask(&["--timeout", "0.3"]);
    asked.failed(1, "channel \"jobs\": no reply came within 300ms");
    run(program_on(&server, &prefix).args(["receive", "jobs", "--timeout", "0"]))
        .failed(1, "nothing arrived at once");
    ask(&["--timeout", "0"]).failed(2, "the timeout of a request is 0ns; it is from 1 ms to ten years");
    ask(&["--timeout", "soon"]).failed(2, "invalid value 'soon' for '--timeout <SECONDS>'");
}
