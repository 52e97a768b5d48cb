//! Calls that are none, each with the words that tell why: script, slot and value.

use redis::aio::MultiplexedConnection;

use super::snapshot::Snapshot;
use super::{Call, load};
use crate::support::Server;

async fn server() -> (Server, MultiplexedConnection) {
    let server = Server::private();
    let mut connection = server.connection().await;
    load(&mut connection).await;
    (server, connection)
}

/// Each call is answered with an error of these words, and nothing is done.
async fn assert_refused(connection: &mut MultiplexedConnection, calls: &[(Call, &str)]) {
    let before = Snapshot::take(connection).await;
    for (call, words) in calls {
        let reply = call.make(connection).await;
        let error = reply.expect_err(&call.shown()).to_string();
        assert!(error.contains(words), "{} was answered {error}, not {words}", call.shown());
        let changes = Snapshot::take(connection).await.changes(&before);
        assert!(changes.is_empty(), "{}: {changes:?}", call.shown());
    }
}

fn push(keys: &[&str], arguments: &[&str]) -> Call {
    Call::new("push", keys, arguments)
}

/// A push of one body to the queue `a`, with one argument in another way.
fn push_with(place: usize, value: &str) -> Call {
    let mut arguments = ["asgi:", "60000", "", "", "100", "1", "m payload"];
    arguments[place] = value;
    push(&["asgi:q:a"], &arguments)
}

fn pop(arguments: &[&str]) -> Call {
    Call::new("pop", &["asgi:c:", "asgi:q:a"], arguments)
}

#[tokio::test]
async fn a_wrong_count_of_a_pop_is_an_error_and_no_loop_without_end() {
    let (_server, mut connection) = server().await;
    // Three more of the shape that hung the server.
    let finished = |count| pop(&["asgi:", "", "0", "0", count, "1", "try", "1"]);
    let queues = |count| pop(&["asgi:", "", "0", "0", "0", "1", "try", count]);
    assert_refused(
        &mut connection,
        &[
            (
                pop(&["asgi:", "", "0", "0", "1795394884299", "1", "try", "1"]),
                "pop: ARGV[5] finished: \"1795394884299\"",
            ),
            (finished("inf"), "pop: ARGV[5] finished: \"inf\" is not a whole number"),
            (finished("-inf"), "pop: ARGV[5] finished: \"-inf\""),
            (finished("1000000000"), "pop: ARGV[5] finished: \"1000000000\""),
            (finished("2"), "pop: ARGV: \"8\" is not the number of arguments"),
            (queues("inf"), "pop: ARGV[8] count: \"inf\" is not the number of queues"),
            (queues("1000000000"), "pop: ARGV[8] count: \"1000000000\""),
            (queues("2"), "pop: ARGV[8] count: \"2\""),
            (queues("0"), "pop: ARGV[8] count: \"0\""),
        ],
    )
    .await;
    let push = |count| push_with(5, count);
    assert_refused(
        &mut connection,
        &[
            (push("inf"), "push: ARGV[6] count: \"inf\""),
            (push("1000000000"), "push: ARGV[6] count: \"1000000000\""),
            (push("0"), "push: ARGV[6] count: \"0\""),
            (push("-3"), "push: ARGV[6] count: \"-3\""),
            (push("2"), "push: ARGV[6] count: \"2\""),
            (
                Call::new(
                    "inbox_keep",
                    &["asgi:i:b!", "asgi:s:b!", "asgi:f:b!"],
                    &["asgi:", "b!", "me", "", "1000", "67108864", "1", "0", ":", "some", "9999"],
                ),
                "inbox_keep: ARGV[11] full: \"9999\"",
            ),
            (Call::new("flush", &["asgi:schema"], &["asgi:", "0", "inf"]), "flush: ARGV[3] count: \"inf\""),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_number_that_redis_would_refuse_in_the_middle_is_refused_at_the_beginning() {
    let (_server, mut connection) = server().await;
    let told = |words: &str, value: &str| -> &'static str {
        Box::leak(format!("{words}: \"{value}\" is not a whole number of ms from 1 to ").into_boxed_str())
    };
    let mut calls =
        vec![(push_with(1, "60000.0"), "push: ARGV[2] expiry: \"60000.0\" is not a whole number of ms")];
    for value in [
        "60000.0",
        "6e4",
        "",
        "soon",
        "0x10",
        "060000",
        " 5",
        "5\n",
        "-1",
        "0",
        "nan",
        "99999999999999999999",
        "315360000001",
    ] {
        let shown = value.replace('\n', "?");
        calls.push((push_with(1, value), told("push: ARGV[2] expiry", &shown)));
        let group_send =
            Call::new("group_send", &["asgi:g:room"], &["asgi:", "room", value, "", "", "", "", "groom x"]);
        calls.push((group_send, told("group_send: ARGV[3] expiry", &shown)));
        let hello = Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", value, "3"]);
        calls.push((hello, told("hello: ARGV[2] lease", &shown)));
        let keys = ["asgi:i:b!", "asgi:s:b!", "asgi:f:b!"];
        let keep = Call::new(
            "inbox_keep",
            &keys,
            &["asgi:", "b!", "me", "", value, "67108864", "1", "0", ":", "some", "0"],
        );
        if value != "0" {
            calls.push((keep, "inbox_keep: ARGV[5] lease: "));
        }
        if value != "0" {
            calls.push((push_with(4, value), "push: ARGV[5] capacity: "));
            let keys = ["asgi:i:a", "asgi:q:a", "asgi:s:a"];
            let arguments = ["asgi:", "a", "", "", "", value, "+", "room", "", "60000"];
            if value != "315360000001" {
                calls
                    .push((Call::new("group_change", &keys, &arguments), "group_change: ARGV[6] capacity: "));
            }
        }
    }
    // Of a capacity no command is given the text.
    calls.retain(|(call, _)| !(call.script == "push" && call.arguments[4] == b"060000"));
    assert_refused(&mut connection, &calls).await;
    let long = pop(&["asgi:", "me", "1", "3600001", "0", "1", "try", "1"]);
    let hello = Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", "3600001", "3"]);
    let words = [
        (long, "pop: ARGV[4] lease: \"3600001\" is not a whole number of ms from -1 to 3600000"),
        (hello, "hello: ARGV[2] lease: \"3600001\""),
    ];
    assert_refused(&mut connection, &words).await;
}

#[tokio::test]
async fn a_schema_that_is_no_number_locks_nobody_out() {
    let (_server, mut connection) = server().await;
    let hello = |schema: &str| Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", "60000", schema]);
    let told = "hello: ARGV[3] schema: \"2.0\" is not a whole number from 1 to 999999";
    assert_refused(&mut connection, &[(hello("2.0"), told), (hello(""), "hello: ARGV[3] schema: \"\"")])
        .await;
    hello("3").make(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_lacks_its_last_entry_is_not_marked_as_put() {
    let (_server, mut connection) = server().await;
    let put = |arguments: &[&str]| Call::new("drain_put", &["asgi:q:a", "asgi:p:batch"], arguments);
    let entry = "eighteen bytes ...m payload";
    let refused = [
        (put(&["asgi:", "60000", entry, "60000"]), "drain_put: ARGV: \"4\" is not the number of arguments"),
        (put(&["asgi:", "6e4", entry]), "drain_put: ARGV[2] left: \"6e4\""),
        (put(&["asgi:", "60000", entry, "inf", entry]), "drain_put: ARGV[4] left: \"inf\""),
    ];
    assert_refused(&mut connection, &refused).await;
    let whole = put(&["asgi:", "60000", entry, "60000", entry]);
    let reply: (String, u64) = redis::from_redis_value(whole.make(&mut connection).await.unwrap()).unwrap();
    assert_eq!(reply, ("put".to_owned(), 2));
}

#[tokio::test]
async fn counts_fit_exactly() {
    let (_server, mut connection) = server().await;
    let one = ["asgi:", "60000", "", "", "100", "1", "m payload"];
    let refused = [
        (push(&[], &one), "push: KEYS: \"0\" is not a number of keys"),
        (push(&["asgi:q:a"], &one[..4]), "push: ARGV: \"4\" is not a number of arguments"),
        (
            push(&["asgi:q:a"], &[&one[..], &["m more"]].concat()),
            "push: ARGV: \"8\" is not the number of arguments that the counts tell, which is 7",
        ),
        (push(&["asgi:q:a", "asgi:q:b"], &one), "push: ARGV: \"7\" is not the number of arguments: queue 2"),
        (
            pop(&["asgi:", "", "0", "0", "0"]),
            "pop: KEYS: \"2\" is not the number of keys that the counts tell, which is 1",
        ),
        (pop(&["asgi:", "", "0", "0", "0", "1", "try"]), "pop: ARGV: \"7\""),
        (
            Call::new("health", &["asgi:c:me", "asgi:c:me"], &["asgi:"]),
            "health: KEYS: \"2\" is not the number of its keys, which is 1",
        ),
        (
            Call::new("drain_done", &["asgi:o:a"], &[]),
            "drain_done: ARGV: \"0\" is not the number of its arguments, which is 1",
        ),
    ];
    assert_refused(&mut connection, &refused).await;
}

#[tokio::test]
async fn keys_names_modes_and_bodies_are_what_the_contract_says() {
    let (_server, mut connection) = server().await;
    let keys = |key: &str| push(&[key], &["asgi:", "60000", "", "", "100", "1", "m payload"]);
    let send = |key: &str, body: &str| {
        Call::new("group_send", &[key], &["asgi:", "room", "60000", "", "", "", "", body])
    };
    let take = |aside: &str| Call::new("drain_take", &["asgi:q:a", aside], &["asgi:", "batch", "there"]);
    let refused = [
        (keys("other:q:a"), "push: KEYS[1] queue_keys: \"other:q:a\" is not the key <prefix>q:<queue>"),
        (keys("asgi:x:a"), "push: KEYS[1] queue_keys: \"asgi:x:a\""),
        (keys("asgi:q:"), "push: KEYS[1] queue_keys: \"asgi:q:\""),
        (
            Call::new("pop", &["asgi:c:", "asgi:q:a b"], &["asgi:", "", "0", "0", "0", "1", "try", "1"]),
            "pop: KEYS[2] queue_keys: \"asgi:q:a b\" is not the key of a queue without space",
        ),
        (push_with(6, "mpayload"), "push: ARGV[7] body: \"mpayload\" is not the letter m"),
        (push_with(6, ""), "push: ARGV[7] body: \"\""),
        (push_with(6, "f"), "push: ARGV[7] body: \"f\""),
        (
            pop(&["asgi:", "", "0", "0", "0", "1", "wat", "1"]),
            "pop: ARGV[7] mode: \"wat\" is not \"wait\" or \"try\"",
        ),
        (
            pop(&["asgi:", "", "0", "0", "0", "1", "wait-brief", "1"]),
            "pop: ARGV[7] mode: \"wait-brief\" is not a mode of a call without a client",
        ),
        (pop(&["asgi:", "", "0", "0", "0", "g", "try", "1"]), "pop: ARGV[6] ticket: \"g\""),
        (pop(&["asgi:", "", "0", "0", "1", "lease", "", "1", "try", "1"]), "pop: ARGV[6] ticket: \"lease\""),
        (pop(&["asgi:", "me", "1", "60000", "0", "1", "try", "1"]), "pop: KEYS[1] client_key: \"asgi:c:\""),
        (
            send("asgi:g:hall", "groom x"),
            "group_send: KEYS[1] group_key: \"asgi:g:hall\" is not the key <prefix>g:<group>",
        ),
        (send("asgi:g:room", "ghall x"), "group_send: ARGV[8] body: \"ghall x\""),
        (send("asgi:g:room", "groom"), "group_send: ARGV[8] body: \"groom\""),
        (take("asgi:o:b"), "drain_take: KEYS[2] aside_key: \"asgi:o:b\""),
        (
            Call::new("hello", &["asgi:c:me", "other:schema"], &["1", "60000", "3"]),
            "hello: KEYS[1] client_key: \"asgi:c:me\"",
        ),
        (Call::new("inbox_close", &["asgi:i:a"], &["asgi:", "a", "me"]), "inbox_close: ARGV[2] inbox: \"a\""),
        (
            Call::new("channel_groups", &["asgi:s:a"], &["asgi:", "b", "", ""]),
            "channel_groups: KEYS[1] memberships_key: \"asgi:s:a\"",
        ),
    ];
    assert_refused(&mut connection, &refused).await;
    let long = "x".repeat(100_000);
    let error = push_with(1, &long).make(&mut connection).await.unwrap_err().to_string();
    assert!(error.contains("xxx...\" is not") && error.len() < 300, "{error}");
}
