//! How long the largest calls that scripts take block the server. The table of limits in `lua/README.md` has what this prints on
//! a quiet machine, as `cargo test --test suite --all-features -- --nocapture hostile::largest`.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{Call, load};
use crate::support::Server;

/// Of each call the least counts, because what a machine does besides only adds to it.
const ROUNDS: usize = 5;
/// In ms; what is to have expired has, after so long.
const EXPIRY: &str = "100";
/// Far above what a quiet machine needs: a call without a bound takes longer.
const MOST_MS: f64 = 500.0;

fn text(parts: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    parts.into_iter().map(String::into_bytes).collect()
}

/// A call whose first keys and arguments are few, and the others many.
fn call(
    script: &'static str,
    keys: &[&str],
    more: Vec<String>,
    arguments: &[&str],
    many: Vec<String>,
) -> Call {
    let mut call = Call::new(script, keys, arguments);
    call.keys.extend(text(more));
    call.arguments.extend(text(many));
    call
}

fn names(kind: char, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("asgi:{kind}:q{number}")).collect()
}

fn repeated(parts: &[&str], count: usize) -> Vec<String> {
    (0..count)
        .flat_map(|number| parts.iter().map(move |part| part.replace('#', &number.to_string())))
        .collect()
}

fn pop(queues: usize) -> Call {
    let count = queues.to_string();
    let arguments = ["asgi:", "me", "1", "60000", "0", "1", "wait", &count];
    call("pop", &["asgi:c:me"], names('q', queues), &arguments, Vec::new())
}

fn pop_of(queue: &str) -> Call {
    let arguments = ["asgi:", "me", "1", "60000", "0", "1", "wait", "1"];
    Call::new("pop", &["asgi:c:me", &format!("asgi:q:{queue}")], &arguments)
}

/// A queue of so many entries that have expired by the time of the call, and one that keeps it alive.
fn expired(queue: &str, count: usize) -> Vec<Call> {
    let key = format!("asgi:q:{queue}");
    let push = |expiry: &str, count: usize| {
        let arguments = ["asgi:", expiry, "", "", "100000", &count.to_string()];
        call("push", &[&*key], Vec::new(), &arguments, repeated(&["m x"], count))
    };
    vec![push(EXPIRY, count), push("60000", 1)]
}

fn filled(queues: usize) -> Vec<Call> {
    let push = |number: usize| {
        let key = format!("asgi:q:q{number}");
        call("push", &[&*key], Vec::new(), &["asgi:", "60000", "", "", "100", "10"], repeated(&["m x"], 10))
    };
    (0..queues).map(push).collect()
}

fn list(keys: usize) -> Call {
    Call::new("queue_list", &["asgi:schema"], &["asgi:", "0", &keys.to_string()])
}

fn join(queue: &str, group: &str) -> Call {
    let keys = ["i", "q", "s"].map(|kind| format!("asgi:{kind}:{queue}"));
    let arguments = ["asgi:", queue, "", "", "", "9", "+", group, "", "600000"];
    Call::new("group_change", &keys.each_ref().map(String::as_str), &arguments)
}

fn group_send(bytes: usize) -> Call {
    let body = format!("groom {}", "x".repeat(bytes));
    Call::new("group_send", &["asgi:g:room"], &["asgi:", "room", "60000", "", "", "", "", &body])
}

const INBOX: [&str; 3] = ["asgi:i:in!", "asgi:q:in!", "asgi:s:in!"];

/// Each: what it is, what is done before, and the call.
fn cases() -> Vec<(&'static str, Vec<Call>, Call)> {
    let members = |count| (0..count).map(|number| join(&format!("q{number}"), "room")).collect::<Vec<Call>>();
    let joins = call(
        "group_change",
        &INBOX,
        Vec::new(),
        &["asgi:", "in!", "", "", "", "9"],
        repeated(&["+", "g#", "x", "600000"], 200),
    );
    let keep = ["asgi:i:in!", "asgi:s:in!", "asgi:f:in!"];
    let owned = Call::new(
        "inbox_keep",
        &keep,
        &["asgi:", "in!", "me", "", "60000", "67108864", "1", "0", ":", "some", "0"],
    );
    let leave = Call::new(
        "group_leave",
        &["asgi:s:in!", "asgi:i:in!", "asgi:q:in!"],
        &["asgi:", "in!", "x", "", "", "", ""],
    );
    let page = Call::new(
        "inbox_page",
        &["asgi:i:in!", "asgi:s:in!", "asgi:q:in!"],
        &["asgi:", "in!", "me", "2", "", "", ""],
    );
    let mut tickets = repeated(&["#", ""], 500);
    tickets.extend(repeated(&["1000#", "wait", "1"], 500));
    let acks = call("pop", &["asgi:c:me"], names('q', 500), &["asgi:", "me", "1", "60000", "500"], tickets);
    vec![
        (
            "keys of one push: 500",
            Vec::new(),
            call(
                "push",
                &[],
                names('q', 500),
                &["asgi:", "60000", "", ""],
                repeated(&["9", "1", "m x"], 500),
            ),
        ),
        (
            "arguments of one push: 2,000",
            Vec::new(),
            call(
                "push",
                &["asgi:q:a"],
                Vec::new(),
                &["asgi:", "60000", "", "", "9999", "1994"],
                repeated(&["m x"], 1994),
            ),
        ),
        ("keys of one pop: 1,001", Vec::new(), pop(1000)),
        ("the same once more, as a beat", vec![pop(1000)], pop(1000)),
        ("arguments of one pop: 2,505", Vec::new(), acks),
        (
            "entries of one drain_put: 200",
            Vec::new(),
            call(
                "drain_put",
                &["asgi:q:a", "asgi:p:b"],
                Vec::new(),
                &["asgi:"],
                repeated(&["60000", "eighteen bytes #...m x"], 200),
            ),
        ),
        ("operations of one group_change: 200", vec![owned.clone()], joins.clone()),
        (
            "arguments of one inbox_keep: 3,500",
            Vec::new(),
            call(
                "inbox_keep",
                &keep,
                Vec::new(),
                &["asgi:", "in!", "me", "", "60000", "67108864", "1", "0", ":", "some", "3490"],
                repeated(&["a#"], 3490),
            ),
        ),
        ("groups of one step of group_leave: 200", vec![joins.clone()], leave),
        ("groups and members of one page: 200", vec![owned, joins], page),
        ("expired entries that one pop drops: 300", expired("q0", 400), pop(1)),
        ("the same of an inbox: 1,000", expired("in!", 1200), pop_of("in!")),
        ("keys of one step of queue_list: 1,000", filled(900), list(1000)),
        ("queues of one step of group_send: 1,000", members(1000), group_send(200)),
        ("the same of 256 KiB: 7", members(150), group_send(1 << 18)),
        ("the same of 1 MiB: 1", members(150), group_send((1 << 20) + 1)),
        (
            "queues of one step of group_len: 1,000",
            members(1000),
            Call::new("group_len", &["asgi:g:room"], &["asgi:", "room", "", "9999"]),
        ),
    ]
}

/// How long the server was in scripts since the last reset, in ms.
async fn script_ms(connection: &mut MultiplexedConnection) -> f64 {
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let (_, rest) = text.split_once("cmdstat_evalsha:").unwrap();
    let (_, rest) = rest.split_once("usec=").unwrap();
    rest.split(',').next().unwrap().parse::<f64>().unwrap() / 1000.0
}

#[tokio::test]
async fn the_largest_calls_block_the_server_for_a_short_time() {
    let server = Server::private();
    let mut connection = server.connection().await;
    load(&mut connection).await;
    for (what, before, call) in cases() {
        let mut least = f64::INFINITY;
        for _ in 0..ROUNDS {
            let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
            let hello = Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", "60000", "3"]);
            for call in [hello].iter().chain(&before) {
                call.make(&mut connection).await.unwrap();
            }
            if what.contains("expired") || what.contains("of an inbox") {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut connection).await.unwrap();
            call.make(&mut connection).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            least = least.min(script_ms(&mut connection).await);
        }
        println!("{least:>8.2} ms  {what}");
        assert!(least < MOST_MS, "{what}: {least} ms");
    }
}
