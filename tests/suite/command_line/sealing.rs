//! Encryption keys on the command line: they come from files, never from arguments, and no clock of a client counts.

use std::time::Duration;

use super::configuration::File;
use super::wrong_clock::{WRONG, hours, run_with_clock, with_clock};
use super::{end, program_on, run, start};
use crate::support::{Server, unique_prefix};

const KEY: &str = "a key of thirty-two bytes or more";

#[test]
fn keys_come_from_a_file_of_lines_or_from_the_configuration() {
    let (server, prefix) = (Server::shared(), unique_prefix("keys_come_from"));
    let lines = File::new("keys", &format!("{KEY}\n\nanother key, which opens too and is long enough\n"));
    let document =
        File::new("keys-document", &format!(r#"{{"symmetric_encryption_keys": ["{KEY}"], "capacity": 5}}"#));
    let by_lines = ["--keys", lines.name()];
    let by_document = ["--config", document.name()];
    let receive = ["receive", "a", "--timeout", "0"];
    for (sender, receiver) in [(by_lines, by_document), (by_document, by_lines)] {
        run(program_on(&server, &prefix).args(["send", "a", "1"]).args(sender)).done();
        let got = run(program_on(&server, &prefix).args(receive).args(receiver));
        assert_eq!(got.json()[0]["message"], 1, "{got:?}");
        run(program_on(&server, &prefix).args(["send", "a", "1"]).args(sender)).done();
        let without = run(program_on(&server, &prefix).args(receive));
        assert!(without.err.contains("nothing arrived at once"), "{without:?}");
    }
    let help = run(program_on(&server, &prefix).arg("--help")).done();
    assert!(help.contains("--keys <FILE>"), "{help}");
}

#[test]
fn a_message_that_does_not_open_is_told_and_makes_the_exit_status_5() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_message_that_does_not_open"));
    let keys = File::new("opening-keys", KEY);
    let (sealed, clear): ([&str; 2], [&str; 0]) = (["--keys", keys.name()], []);
    for (sender, receiver, why) in [
        (&sealed[..], &clear[..], "it is sealed, and the layer has no encryption keys"),
        (&clear[..], &sealed[..], "it is in clear text, and the layer has encryption keys"),
    ] {
        run(program_on(&server, &prefix).args(["send", "a", "1"]).args(sender)).done();
        let receive = ["receive", "a", "--timeout", "0"];
        let dropped = run(program_on(&server, &prefix).args(receive).args(receiver));
        assert_eq!((dropped.status, dropped.out.as_str()), (Some(5), ""), "{dropped:?}");
        for said in ["dropped a message that does not open (channel: a", why, "nobody else receives it"] {
            assert!(dropped.err.contains(said), "{said}: {dropped:?}");
        }
    }
    // Also if another one came.
    run(program_on(&server, &prefix).args(["send", "a", "1"]).args(sealed)).done();
    run(program_on(&server, &prefix).args(["send", "a", "2"])).done();
    let one = run(program_on(&server, &prefix).args(["receive", "a"]));
    assert_eq!((one.status, &one.json()[0]["message"]), (Some(5), &2.into()), "{one:?}");
}

#[test]
fn each_message_that_does_not_open_is_counted() {
    let (server, prefix) = (Server::shared(), unique_prefix("each-that-does-not-open"));
    let keys = File::new("counted-keys", KEY);
    for _ in 0..3 {
        run(program_on(&server, &prefix).args(["send", "a", "1", "--keys", keys.name()])).done();
    }
    let dropped = run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"]));
    assert_eq!(dropped.status, Some(5), "{dropped:?}");
    assert!(
        dropped.err.contains("3 messages that do not open were dropped, and nobody else receives them"),
        "{dropped:?}"
    );
}

#[test]
fn short_keys_are_told_once_wherever_they_come_from() {
    let (server, prefix) = (Server::shared(), unique_prefix("short_keys_are_told"));
    let lines = File::new("short-keys", "short\n");
    let document = File::new("short-keys-document", r#"{"symmetric_encryption_keys": ["short"]}"#);
    for keys in [["--keys", lines.name()], ["--config", document.name()]] {
        for command in [&["send", "a", "1"][..], &["receive", "a"], &["flush", "--yes"]] {
            let ended = run(program_on(&server, &prefix).args(command).args(keys));
            ended.failed(
                0,
                "options `symmetric_encryption_keys` and `hide_names`: keys of fewer than 32 bytes",
            );
        }
    }
}

#[test]
fn a_file_of_keys_that_cannot_be_used_is_named_and_no_key_is_shown() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_file_of_keys"));
    let flush = |file: &str| run(program_on(&server, &prefix).args(["flush", "--yes", "--keys", file]));
    flush("/nonexistent/keys").failed(2, "/nonexistent/keys: No such file or directory");
    let empty = File::new("no-keys", "\n\n");
    flush(empty.name()).failed(2, &format!("{}: it has no key", empty.name()));
    let broken = File::new("broken-keys", &format!(r#"{{"symmetric_encryption_keys": ["{KEY}", ""]}}"#));
    let refused = run(program_on(&server, &prefix).args(["flush", "--config", broken.name()]));
    refused.failed(2, "option `symmetric_encryption_keys`: key 2 of 2 is empty");
    assert!(!refused.err.contains(KEY));
    let demo = File::new("demo-keys", KEY);
    run(super::program().args(["demo", "--keys", demo.name()])).failed(2, "demo chooses its own");
}

#[test]
fn sealed_messages_wait_and_expire_by_the_clock_of_the_server() {
    assert_eq!(hours(), 1, "faketime works");
    let (server, prefix) = (Server::shared(), unique_prefix("sealed_messages_wait"));
    let keys = File::new("clock-keys", KEY);
    let with_keys = |arguments: &[&str]| {
        let mut command = program_on(&server, &prefix);
        command.args(arguments).args(["--keys", keys.name()]);
        command
    };
    let send = |expiry: &str| with_keys(&["send", "a", "1", "--expiry", expiry]);
    let mut receive = with_keys(&["receive", "a", "--timeout", "0"]);
    for offset in WRONG {
        run_with_clock(offset, &send("60")).done();
        assert_eq!(run(&mut receive).json().len(), 1, "sealed by a clock {offset} wrong");
        run(&mut send("60")).done();
        assert_eq!(run_with_clock(offset, &receive).json().len(), 1, "opened by a clock {offset} wrong");

        run_with_clock(offset, &send("0.05")).done();
        std::thread::sleep(Duration::from_millis(60));
        run_with_clock(offset, &receive).failed(1, "nothing arrived");

        let waiting = with_keys(&["receive", "a", "--timeout", "10"]);
        let waiting = start(&mut with_clock(offset, &waiting));
        run(&mut send("60")).done();
        assert_eq!(end(waiting).json().len(), 1, "woken with a clock {offset} wrong");
    }
}

#[test]
fn a_drain_that_leaves_queues_under_names_it_cannot_read_names_them_and_fails() {
    let (server, prefix) = (Server::shared(), unique_prefix("unreadable_names"));
    let hidden = |name_key: &str| {
        File::new(
            name_key,
            &format!(
                r#"{{"symmetric_encryption_keys": ["{KEY}"], "hide_names": "{name_key}, which is long enough to be safe"}}"#
            ),
        )
    };
    let (ours, others) = (hidden("names-ours"), hidden("names-others"));
    run(program_on(&server, &prefix).args(["send", "jobs", "1", "--config", ours.name()])).done();
    let drain = |config: &File, more: &[&str]| {
        let mut command = super::program();
        command.args(["--redis", &server.url_with_db(1), "--prefix", &prefix, "--config", config.name()]);
        run(command.args(["drain", "--from", &server.url()]).args(more))
    };
    let refused = drain(&others, &[]);
    assert!(
        refused.out.contains("moved 0 messages") && refused.out.contains("1 stays in queue "),
        "{refused:?}"
    );
    refused.failed(5, "1 message left in 1 queue of no channel");
    let refused = drain(&others, &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    let left = report["left"].as_object().unwrap();
    assert_eq!((left.len(), left.values().next().unwrap(), &report["moved"]), (1, &1.into(), &0.into()));
    let shown =
        run(program_on(&server, &prefix).args(["shards", "--json", "--config", others.name()])).json();
    assert_eq!(shown[0]["messages_by_unrevealed_queue"], report["left"], "{shown:?}");
    assert_eq!(drain(&ours, &["--json"]).json()[0]["moved"], 1);
}
