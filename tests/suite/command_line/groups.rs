//! `group add`, `discard`, `list`, `len` and `send`.

use std::process::Command;
use std::sync::Arc;

use asgi_redis::{ChannelLayer, ConfigBuilder};
use serde_json::{Value, json};

use super::{Ended, program, program_on, run, run_with_input};
use crate::support::{Server, unique_prefix};

/// The server and the prefix of one test.
struct Layer {
    server: Arc<Server>,
    prefix: String,
}

impl Layer {
    fn new(test: &str) -> Self {
        Self { server: Server::shared(), prefix: unique_prefix(test) }
    }

    fn program(&self) -> Command {
        program_on(&self.server, &self.prefix)
    }

    fn group(&self, arguments: &[&str]) -> Ended {
        run(self.program().arg("group").args(arguments))
    }

    fn waiting(&self, channel: &str) -> Vec<Value> {
        let received =
            run(self.program().args(["receive", channel, "--count", "0", "--timeout", "0"])).json();
        received.iter().map(|line| line["message"].clone()).collect()
    }
}

#[test]
fn a_label_is_listed_behind_its_channel() {
    let layer = Layer::new("a_label_is_listed");
    layer.group(&["add", "room", "b?1", "a?1", "--label", "user-42"]).done();
    layer.group(&["add", "room", "c?1"]).done();
    assert_eq!(layer.group(&["list", "room", "--labels"]).done(), "a?1 user-42\nb?1 user-42\nc?1\n");
    assert_eq!(layer.group(&["list", "room"]).done(), "a?1\nb?1\nc?1\n");
    let listed = layer.group(&["list", "room", "--labels", "--json"]).json();
    let members = json!([
        {"channel": "a?1", "label": "user-42"},
        {"channel": "b?1", "label": "user-42"},
        {"channel": "c?1", "label": null},
    ]);
    assert_eq!(listed, [json!({"group": "room", "members": members})]);
    let refused = layer.group(&["add", "room", "d?1", "--label", "Ann Lee"]);
    refused.failed(2, "invalid label \"Ann Lee\": ' ' is not allowed");
    assert_eq!(layer.group(&["len", "room"]).done(), "3\n");
}

#[test]
fn what_is_added_is_listed_and_counted_until_it_is_discarded() {
    let layer = Layer::new("what_is_added_is_listed");
    assert_eq!(layer.group(&["list", "room"]).done(), "");
    assert_eq!(layer.group(&["len", "room"]).done(), "0\n");
    assert_eq!(layer.group(&["add", "room", "c", "a?b", "a"]).done(), "");
    layer.group(&["add", "room", "a"]).done();
    assert_eq!(layer.group(&["list", "room"]).done(), "a\na?b\nc\n");
    assert_eq!(layer.group(&["len", "room"]).done(), "3\n");
    assert_eq!(layer.group(&["discard", "room", "a", "never-in-it"]).done(), "a\n");
    assert_eq!(layer.group(&["list", "room"]).done(), "a?b\nc\n");
    assert_eq!(layer.group(&["list", "other"]).done(), "");
    run(layer.program().args(["flush", "--yes"])).done();
    assert_eq!(layer.group(&["len", "room"]).done(), "0\n");
}

#[test]
fn each_command_prints_one_line_of_json_when_asked() {
    let layer = Layer::new("each_command_prints_one_line");
    for (arguments, printed) in [
        (&["add", "room", "b", "a"] as &[&str], json!({"group": "room", "added": ["b", "a"]})),
        (&["list", "room"], json!({"group": "room", "channels": ["a", "b"]})),
        (&["len", "room"], json!({"group": "room", "channels": 2})),
        (
            &["send", "room", "1"],
            json!({"group": "room", "delivered": 2, "full": 0, "expired": 0, "failed": 0}),
        ),
        (
            &["send", "room", "1", "--names"],
            json!({"group": "room", "delivered": 2, "full": 0, "expired": 0, "failed": 0, "full_queues": []}),
        ),
        (&["discard", "room", "a", "c"], json!({"group": "room", "discarded": ["a"], "not_in_it": ["c"]})),
    ] {
        let ended = run(layer.program().arg("group").args(arguments).arg("--json"));
        assert_eq!(ended.json(), [printed], "{arguments:?}");
        ended.done();
    }
}

#[test]
fn a_message_reaches_each_channel_of_the_group_once_and_no_other() {
    let layer = Layer::new("a_message_reaches_each_channel");
    layer.group(&["add", "room", "a", "b?c"]).done();
    layer.group(&["add", "other", "d"]).done();
    let sent = layer.group(&["send", "room", r#"{"n":{"$bytes":"AP8="}}"#]).done();
    assert_eq!(sent, "delivered 2, full 0, expired 0, failed 0\n");
    run_with_input(layer.program().args(["group", "send", "room", "-"]), "-5").done();
    for member in ["a", "b?c"] {
        assert_eq!(layer.waiting(member), [json!({"n": {"$bytes": "AP8="}}), json!(-5)]);
    }
    assert_eq!(layer.waiting("d"), <[Value; 0]>::default());
    assert_eq!(layer.group(&["send", "nobody", "1"]).done(), "delivered 0, full 0, expired 0, failed 0\n");
}

#[test]
fn a_full_queue_is_counted_and_named_and_makes_the_exit_status_3() {
    let layer = Layer::new("a_full_queue_is_counted");
    layer.group(&["add", "room", "small", "tiny?x", "--capacity", "1"]).done();
    layer.group(&["add", "room", "large"]).done();
    layer.group(&["send", "room", "1"]).done();

    let full = layer.group(&["send", "room", "2"]);
    full.failed(3, "group \"room\": 2 of 3 queues were full");
    assert_eq!(full.out, "delivered 1, full 2, expired 0, failed 0\n");
    let named = layer.group(&["send", "room", "3", "--names"]);
    named.failed(3, "group \"room\": 2 of 3 queues were full");
    let mut lines: Vec<&str> = named.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["delivered 1, full 2, expired 0, failed 0", "small", "tiny?x"]);
    assert_eq!(layer.waiting("large"), [1, 2, 3]);
    assert_eq!(layer.waiting("small"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_key_in_the_place_of_a_queue_makes_the_exit_status_5() {
    let layer = Layer::new("another_programs_key");
    let mut connection = layer.server.connection().await;
    let key = format!("{}q:foreign", layer.prefix);
    redis::cmd("SET").arg(&key).arg("not ours").exec_async(&mut connection).await.unwrap();
    layer.group(&["add", "room", "foreign", "ours"]).done();
    let sent = layer.group(&["send", "room", "1"]);
    sent.failed(5, "group \"room\": 1 of 2 queues could not be written to");
    assert_eq!(sent.out, "delivered 1, full 0, expired 0, failed 1\n");
    assert_eq!(layer.waiting("ours"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_of_another_process_are_members_while_it_lives() {
    let layer = Layer::new("mailboxes_of_another_process");
    let owner =
        ConfigBuilder::new().hosts([layer.server.url()]).prefix(&layer.prefix).connect().await.unwrap();
    let inbox = owner.open_inbox("websocket.send").await.unwrap();
    let mut mailboxes = [inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap()];
    let mut names: Vec<String> = mailboxes.iter().map(|mailbox| mailbox.name().to_string()).collect();
    names.sort_unstable();
    layer.group(&["add", "room", &names[0], &names[1]]).done();
    assert_eq!(layer.group(&["list", "room"]).done().lines().collect::<Vec<_>>(), names);

    let sent = layer.group(&["send", "room", "\"hi\""]).done();
    assert_eq!(sent, "delivered 1, full 0, expired 0, failed 0\n", "one queue has both");
    for mailbox in &mut mailboxes {
        assert_eq!(mailbox.receive::<String>().await.unwrap(), "hi");
    }
    owner.close().await.unwrap();
    assert_eq!(layer.group(&["len", "room"]).done(), "0\n");
    assert_eq!(layer.group(&["send", "room", "1"]).done(), "delivered 0, full 0, expired 0, failed 0\n");
}

#[test]
fn wrong_use_is_told_before_a_server_is_asked() {
    for (arguments, said) in [
        (&["add", "room"] as &[&str], "the following required arguments were not provided: <CHANNEL>..."),
        (&["send", "room"], "the following required arguments were not provided: <JSON>"),
        (&["add", "ro!om", "a"], "invalid group name \"ro!om\": groups have no `?` or `!` in their names"),
        (&["add", "room", "a", "b c"], "invalid channel name \"b c\": ' ' is not allowed"),
        (&["discard", "room", "b?"], "invalid channel name \"b?\": something must follow the `?`"),
        (&["list", ""], "invalid group name \"\": it is empty"),
        (&["len", "a b"], "invalid group name \"a b\": ' ' is not allowed"),
        (&["send", "room", "{"], "the message is not JSON: EOF while parsing an object"),
        (&["send", "room", "1", "2"], "unexpected argument '2' found"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
    ] {
        let ended = run(program().arg("group").args(arguments).args(["--redis", "unix:///nonexistent"]));
        ended.failed(2, said);
    }
    for arguments in [&["add", "room", "a"] as &[&str], &["list", "room"], &["send", "room", "1"]] {
        run(program().arg("group").args(arguments).args(["--redis", "unix:///nonexistent"]))
            .failed(4, "server unix:///nonexistent?db=0 cannot be reached");
    }
}

#[test]
fn an_inbox_itself_is_no_member() {
    let layer = Layer::new("an_inbox_itself");
    for command in ["add", "discard"] {
        layer.group(&[command, "room", "a.b!"]).failed(2, "channel \"a.b!\" is an inbox; an address in it");
    }
}

#[test]
fn a_message_that_is_too_large_names_the_group() {
    let layer = Layer::new("a_message_that_is_too_large");
    let message = format!("\"{}\"", "x".repeat(9 << 18));
    run_with_input(layer.program().args(["group", "send", "room", "-"]), &message)
        .failed(5, "group \"room\": the message has 2359301 bytes");
}
