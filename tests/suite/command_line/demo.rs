//! `demo`: on a given server, on a private one, without any, and interrupted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ended, end, program, run, signal, start, wait_until};
use crate::support::{Kind, Server};

/// An hour for the memory of clients, and the lease.
const CLIENT_MS: i64 = 3_660_000;

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key} is a whole number in {report}"))
}

/// What the sums of a good run are.
#[track_caller]
pub(super) fn assert_sums_meet(ended: &Ended, server: &str) {
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let report = &ended.json()[0];
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "layer",
        "server",
        "sent",
        "received",
        "refused",
        "expired",
        "lost",
        "duplicated",
        "attempts",
        "receives_dropped",
        "out_of_order",
        "verdict",
        "group",
        "messages_per_s",
        "p50_us",
        "p99_us",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let layer = if server.starts_with("the memory") { "MemoryLayer" } else { "RedisChannelLayer" };
    assert_eq!(report["layer"], layer);
    assert_eq!(report["verdict"], "nothing lost, nothing repeated");
    assert!(report["server"].as_str().unwrap().starts_with(server), "{report}");
    let [sent, received, refused, expired] =
        ["sent", "received", "refused", "expired"].map(|key| number(report, key));
    assert_eq!((number(report, "lost"), number(report, "duplicated")), (0, 0));
    assert_eq!(sent, received + expired);
    assert_eq!(expired, 3, "those that nobody reads");
    assert!(refused >= 10, "20 are sent at once to a channel that holds 10: {report}");
    assert!(received > 100, "{report}");
    assert!(number(report, "messages_per_s") > 0);
    assert!(0 < number(report, "p50_us") && number(report, "p50_us") <= number(report, "p99_us"), "{report}");
    assert_copies_meet(&report["group"]);
}

/// Every copy of a message to a room was received, or missed by a mailbox that was full; and no other was received.
#[track_caller]
fn assert_copies_meet(group: &Value) {
    let keys = group.as_object().unwrap().keys().map(String::as_str);
    let expected =
        ["due", "duplicated", "joins", "leaves", "lost", "missed", "not_members", "received", "sends"];
    assert_eq!(keys.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    let [due, received, missed] = ["due", "received", "missed"].map(|key| number(group, key));
    assert_eq!(due, received + missed, "{group}");
    for key in ["lost", "duplicated", "not_members"] {
        assert_eq!(number(group, key), 0, "{group}");
    }
    assert!(number(group, "joins") > number(group, "leaves") && number(group, "leaves") > 0, "{group}");
    assert!(received > number(group, "sends") && number(group, "sends") > 20 && missed > 0, "{group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_given_server_the_sums_meet_and_nothing_stays_for_good() {
    let server = Server::private();
    let started = Instant::now();
    let demo = run(program().args(["demo", "--json", "--redis", &server.url()]));
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_sums_meet(&demo, &format!("{}/0", server.url()));
    assert!(
        demo.err.starts_with(&format!("asgi-redis: on {}/0\nasgi-redis: producers and ", server.url())),
        "{demo:?}"
    );
    assert!(!demo.err.contains(['\r', '\x1b']), "{demo:?}");

    let mut connection = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(!keys.is_empty());
    for key in keys.iter().filter(|key| !key.ends_with(":schema")) {
        let expires: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(key.starts_with("asgi-redis-demo-") && key.contains(":c:"), "{keys:?}");
        assert!((1..=CLIENT_MS).contains(&expires), "{key}: {expires}");
    }
}

#[test]
fn without_json_a_table_is_printed() {
    let server = Server::shared();
    let table = run(program().arg("demo").env("ASGI_REDIS_URL", server.url()));
    assert_eq!(table.status, Some(0), "{table:?}");
    assert!(table.out.lines().all(|line| line.chars().count() <= 80), "{table:?}");
    let names: Vec<&str> =
        table.out.lines().map(|line| line.trim_start().split("  ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "layer",
            "server",
            "sent",
            "received",
            "refused",
            "expired",
            "lost",
            "duplicated",
            "out of order",
            "to rooms",
            "copies due",
            "received",
            "missed",
            "lost",
            "duplicated",
            "strayed",
            "messages/s",
            "p50",
            "p99",
            "nothing lost, nothing repeated"
        ]
    );
}

#[test]
fn without_a_server_program_it_runs_in_memory_and_says_so_and_how_to_get_one() {
    let demo = run(program().args(["demo", "--json"]).env("PATH", ""));
    assert_sums_meet(&demo, "the memory of this process");
    for said in [
        "no server: --redis, ASGI_REDIS_URL and --config name none, and no redis-server or valkey-server",
        "Give --redis URL, or install one, for example with `apt install redis-server`",
        "on the memory of this process",
    ] {
        assert!(demo.err.contains(said), "{demo:?}");
    }
}

#[test]
fn memory_may_be_asked_for_by_url_by_the_environment_and_by_a_document() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(br#"{"default": {"BACKEND": "asgiref.inmemory.ChannelLayer"}}"#).unwrap();
    let demo = || {
        let mut demo = program();
        demo.args(["demo", "--json"]);
        demo
    };
    for demo in [
        run(demo().args(["--redis", "memory://"])),
        run(demo().env("ASGI_REDIS_URL", "memory://")),
        run(demo().arg("--config").arg(file.path())),
    ] {
        assert_sums_meet(&demo, "the memory of this process");
        assert!(!demo.err.contains("no server"), "{demo:?}");
    }
}

#[test]
fn nothing_but_the_demo_runs_in_memory() {
    for command in
        [&["send", "a", "1"][..], &["receive", "a"], &["flush"], &["shards"], &["group", "len", "g"]]
    {
        run(program().args(["--redis", "memory://"]).args(command))
            .failed(2, "memory:// is the memory of this program alone, where nobody else sends or receives");
    }
}

/// Where the private server of a demo listens, once the demo says so.
fn socket_of(demo: &mut Child) -> PathBuf {
    let mut line = String::new();
    BufReader::new(demo.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let path = line.trim_end().rsplit_once(" at ").unwrap_or_else(|| panic!("{line}")).1;
    assert!(line.starts_with("asgi-redis: on a private "), "{line}");
    path.into()
}

fn process_at(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"INFO server\r\n").unwrap();
    let mut lines = BufReader::new(stream.take(64 << 10)).lines();
    lines.find_map(|line| Some(line.unwrap().strip_prefix("process_id:")?.to_owned())).unwrap()
}

fn assert_removed(socket: &Path, process: &str) {
    assert!(!socket.exists() && !socket.parent().unwrap().exists(), "{socket:?}");
    let ended = || {
        let found =
            std::process::Command::new("sh").args(["-c", "kill -0 \"$0\" 2>/dev/null", process]).status();
        !found.unwrap().success()
    };
    wait_until("the private server has ended", ended);
}

#[test]
fn without_a_given_server_it_starts_a_private_one_and_removes_it() {
    if !Kind::available().contains(&Kind::Process) {
        assert_eq!(run(program().arg("demo")).status, Some(0));
        return;
    }
    let mut demo = start(program().args(["demo", "--json"]));
    let socket = socket_of(&mut demo);
    let process = process_at(&socket);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&socket.parent().unwrap().metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "nobody else may enter");
    assert_sums_meet(&end(demo), "a private ");
    assert_removed(&socket, &process);
}

#[test]
fn a_demo_that_is_asked_to_end_removes_its_server() {
    if !Kind::available().contains(&Kind::Process) {
        assert_eq!(run(program().arg("demo")).status, Some(0));
        return;
    }
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let mut demo = start(program().arg("demo"));
        let socket = socket_of(&mut demo);
        let process = process_at(&socket);
        std::thread::sleep(Duration::from_millis(700));
        signal(&demo, name);
        let demo = end(demo);
        assert_eq!(demo.status, Some(status), "{demo:?}");
        assert!(demo.out.lines().any(|line| line.starts_with("received ")), "{demo:?}");
        assert!(
            demo.out.trim_end().ends_with("interrupted: what was under way counts as lost here"),
            "{demo:?}"
        );
        assert!(demo.out.lines().all(|line| line.chars().count() <= 80), "{demo:?}");
        assert_removed(&socket, &process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_asked_to_end_cleans_up_on_a_given_server() {
    let server = Server::private();
    let mut demo = start(program().args(["demo", "--redis", &server.url()]));
    let mut line = String::new();
    BufReader::new(demo.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    signal(&demo, "TERM");
    assert_eq!(end(demo).status, Some(143));
    let mut connection = server.connection().await;
    for queues in ["*:q:*", "*:b:*"] {
        let keys: Vec<String> = redis::cmd("KEYS").arg(queues).query_async(&mut connection).await.unwrap();
        assert_eq!(keys, <[String; 0]>::default());
    }
}

#[test]
fn a_server_that_goes_in_the_middle_is_told_and_not_counted() {
    let server = Server::private();
    let mut demo = start(program().args(["demo", "--redis", &server.url()]));
    let mut line = String::new();
    BufReader::new(demo.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    server.stop();
    let demo = end(demo);
    assert_eq!((demo.status, demo.out.as_str()), (Some(4), ""), "{demo:?}");
    assert!(demo.err.contains(&format!("server {}/0 ", server.url())), "{demo:?}");
}
