//! Users that lack one of the published rights: for each script and each command in its text an error names the right, and
//! nothing was done.

use std::collections::BTreeSet;

use asgi_redis::scripts;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::snapshot::Snapshot;
use super::{Call, load};
use crate::support::{Server, connect, texts};

const CONTRACT: &str = include_str!("../../../../lua/README.md");
/// An entry that has expired long ago.
const EXPIRED: &[u8] = b"\0\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\x03\xe8m x";

async fn do_all(connection: &mut MultiplexedConnection, calls: &[Call]) {
    for call in calls {
        call.make(connection).await.unwrap_or_else(|error| panic!("{}: {error}", call.shown()));
    }
}

fn push(queue: &str, capacity: &str, body: &str) -> Call {
    Call::new("push", &[&format!("asgi:q:{queue}")], &["asgi:", "600000", "", "", capacity, "1", body])
}

fn wait(ticket: &str, queue: &str) -> Call {
    let arguments = ["asgi:", "me", "1", "3600000", "0", ticket, "wait", "1"];
    Call::new("pop", &["asgi:c:me", &format!("asgi:q:{queue}")], &arguments)
}

fn take(queue: &str) -> Call {
    Call::new("pop", &["asgi:c:", &format!("asgi:q:{queue}")], &["asgi:", "", "0", "0", "0", "1", "try", "1"])
}

fn keep(inbox: &str, call: &str, full: &[&str]) -> Call {
    let keys = ["i", "s", "f"].map(|kind| format!("asgi:{kind}:{inbox}"));
    let count = full.len().to_string();
    let arguments = ["asgi:", inbox, "me", "", "600000", "67108864", call, "0", ":", "some", &count];
    Call::new("inbox_keep", &keys.each_ref().map(String::as_str), &[&arguments[..], full].concat())
}

fn change(script: &'static str, queue: &str, operations: &[&str]) -> Call {
    let keys = ["i", "q", "s"].map(|kind| format!("asgi:{kind}:{queue}"));
    let arguments = ["asgi:", queue, "", "", "", "1"];
    Call::new(script, &keys.each_ref().map(String::as_str), &[&arguments[..], operations].concat())
}

/// A client with a ticket that waits, one that has an entry, and one that reads an inbox; queues with messages, without, full,
/// and with what has expired; a group of some of them.
async fn prepare(admin: &mut MultiplexedConnection) {
    let () = redis::cmd("FLUSHALL").query_async(admin).await.unwrap();
    let hello = Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", "3600000", "3"]);
    do_all(
        admin,
        &[
            hello,
            wait("1", "waits"),
            keep("in!", "1", &["slow"]),
            wait("2", "wait!"),
            keep("wait!", "2", &[]),
        ],
    )
    .await;
    let members = [
        change("group_change", "in!", &["+", "room", "x", "600000", "+", "hall", "x", "600000"]),
        change("group_change", "waits", &["+", "room", "", "600000"]),
        change("group_change", "full", &["+", "room", "", "600000"]),
    ];
    do_all(admin, &members).await;
    do_all(admin, &[push("a", "9", "m x"), wait("3", "a"), push("a", "9", "m y"), push("in!", "9", "mx x")])
        .await;
    let aside = Call::new("drain_take", &["asgi:q:full", "asgi:o:full"], &["asgi:", "batch", "there"]);
    do_all(admin, &[push("full", "1", "m x"), aside, push("full", "1", "m x")]).await;
    let mut old = redis::cmd("RPUSH");
    let () = old.arg("asgi:q:old").arg(EXPIRED).arg(EXPIRED).query_async(admin).await.unwrap();
    let () = redis::cmd("PEXPIRE").arg("asgi:q:old").arg(600_000).query_async(admin).await.unwrap();
}

/// Calls that reach what the scripts do, by callers that are no client.
fn calls() -> Vec<Call> {
    let mut calls = vec![
        Call::new("hello", &["asgi:c:new", "asgi:schema"], &["1", "60000", "3"]),
        Call::new("client_tickets", &["asgi:c:me"], &["1", "0"]),
        Call::new("health", &["asgi:c:me"], &["asgi:"]),
        Call::new("fetch", &["asgi:c:me", "asgi:q:a"], &["asgi:", "1", "3"]),
        Call::new("fetch", &["asgi:c:me", "asgi:q:in!"], &["asgi:", "1", "1"]),
        push("a", "9", "m x"),
        push("full", "1", "m x"),
        push("old", "1", "m x"),
        push("new", "9", "m x"),
        push("waits", "9", "m x"),
        push("in!", "9", "mslow x"),
        push("wait!", "9", "mx x"),
        push("new!", "9", "mx x"),
        change("group_change", "in!", &["+", "new", "y", "60000", "-", "room", "x", ""]),
        change("group_change", "wait!", &["+", "new", "y", "60000"]),
        change("group_discard", "in!", &["-", "room", "x", ""]),
        Call::new(
            "group_send",
            &["asgi:g:room"],
            &["asgi:", "room", "60000", "", "", "", "names", "groom x"],
        ),
        keep("in!", "9", &["a", "b"]),
        Call::new(
            "group_leave",
            &["asgi:s:in!", "asgi:i:in!", "asgi:q:in!"],
            &["asgi:", "in!", "x", "", "", "", ""],
        ),
        Call::new(
            "inbox_page",
            &["asgi:i:in!", "asgi:s:in!", "asgi:q:in!"],
            &["asgi:", "in!", "me", "9", "", "", ""],
        ),
        Call::new("inbox_close", &["asgi:i:in!"], &["asgi:", "in!", "me"]),
        Call::new("group_len", &["asgi:g:room"], &["asgi:", "room", "", "9"]),
        Call::new("group_list", &["asgi:g:room"], &["asgi:", "room", "", "0"]),
        Call::new("group_members", &["asgi:g:room"], &["asgi:", "room", "", "0"]),
        Call::new("channel_groups", &["asgi:s:in!"], &["asgi:", "in!", "x", ""]),
        Call::new("drain_take", &["asgi:q:a", "asgi:o:a"], &["asgi:", "next", "there"]),
        Call::new("drain_put", &["asgi:q:waits", "asgi:p:next"], &["asgi:", "5000", "eighteen bytes ...m x"]),
        Call::new("drain_put", &["asgi:q:new", "asgi:p:next"], &["asgi:", "5000", "eighteen bytes ...m x"]),
        Call::new("drain_done", &["asgi:o:full"], &["batch"]),
    ];
    calls.extend(["a", "old", "in!", "none"].map(take));
    calls.extend(
        ["flush", "flush_inboxes", "queue_list"]
            .map(|script| Call::new(script, &["asgi:schema"], &["asgi:", "0", "1000"])),
    );
    calls
}

/// The commands in the text of a script, in lower case.
fn commands(script: &str) -> BTreeSet<String> {
    let source = &texts::all().iter().find(|text| text.name == script).unwrap().source;
    source.split("call('").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_lowercase())).collect()
}

/// A user with all published rights but one.
async fn user_without(
    admin: &mut MultiplexedConnection,
    server: &Server,
    command: &str,
) -> MultiplexedConnection {
    let (_, rest) = CONTRACT.split_once("\n## Rights\n").unwrap();
    let (_, rest) = rest.split_once("```text\n").unwrap();
    let mut words: Vec<&str> = rest.split_once("```").unwrap().0.split_whitespace().collect();
    words.splice(2..3, ["lacks", "reset"]);
    let denied = format!("-{command}");
    words.push(&denied);
    let () = redis::cmd(words[0]).arg(&words[1..]).query_async(admin).await.unwrap();
    connect(&format!("redis://lacks:secret@{}", server.address())).await
}

/// Whether an answer tells of a right, alone or for one of its queues or tickets.
fn told(reply: &Result<Value, RedisError>) -> Option<String> {
    let text = match reply {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    };
    let denied = ["permission", "can't run this command", "denied"];
    denied.iter().any(|words| text.contains(words)).then_some(text)
}

#[tokio::test]
async fn a_user_without_a_right_is_told_which_and_nothing_is_done() {
    let server = Server::private();
    let mut admin = server.connection().await;
    load(&mut admin).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("asgi:wake:me").await.unwrap();

    let (mut pairs, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for call in calls() {
        for command in commands(call.script) {
            prepare(&mut admin).await;
            let mut user = user_without(&mut admin, &server, &command).await;
            let before = Snapshot::take(&mut admin).await;
            let reply = call.make(&mut user).await;
            let changes = Snapshot::take(&mut admin).await.changes(&before);
            pairs.insert((call.script, command.clone()));
            let what = format!("{} without +{command}", call.shown());
            let Some(text) = told(&reply) else {
                assert!(reply.is_ok(), "{what}: {reply:?}");
                continue;
            };
            refused.insert((call.script, command.clone()));
            assert!(changes.is_empty(), "{what}: {text}, yet {changes:?}");
            assert!(names(&text, &command) || at_its_line(call.script, &text, &command), "{what}: {text}");
        }
    }
    println!("{} pairs of script and command, of which {} were refused", pairs.len(), refused.len());
    assert!(scripts::all().iter().all(|script| pairs.iter().any(|(name, _)| *name == script.name())));
}

fn names(text: &str, command: &str) -> bool {
    let quoted = format!("\"{}\"", command.to_uppercase());
    [format!("+{command}"), format!("'{command}'"), quoted].iter().any(|name| text.contains(name))
}

/// Redis 7.0 names no command, but the line.
fn at_its_line(script: &str, text: &str, command: &str) -> bool {
    let line = text
        .split_once("@user_script:")
        .map(|(_, rest)| rest.trim_end_matches('.'))
        .and_then(|line| line.parse().ok());
    let source = &texts::all().iter().find(|text| text.name == script).unwrap().source;
    let line = line.and_then(|line: usize| source.lines().nth(line - 1)).unwrap_or_default();
    line.contains(&format!("call('{}'", command.to_uppercase()))
}
