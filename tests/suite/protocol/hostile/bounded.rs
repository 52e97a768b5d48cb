//! What one call does is bounded, however much of it there is to do: the rest is for the next call.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::{Call, load};
use crate::support::Server;

const EXPIRED: &[u8] = b"\0\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\x03\xe8m x";
const ALIVE: &[u8] = b"\0\0\0\0\0\0\0\x02\0\x01\0\0\x03\xbb\x2c\xc3\xd8\0m live";

async fn server() -> (Server, MultiplexedConnection) {
    let server = Server::private();
    let mut connection = server.connection().await;
    load(&mut connection).await;
    (server, connection)
}

/// So many entries that have expired, and one behind them that has not.
async fn fill(connection: &mut MultiplexedConnection, key: &str, expired: usize) {
    let mut push = redis::cmd("RPUSH");
    push.arg(key).arg(vec![EXPIRED; expired]).arg(ALIVE);
    let () = push.query_async(connection).await.unwrap();
    let () = redis::cmd("PEXPIRE").arg(key).arg(600_000).query_async(connection).await.unwrap();
}

async fn number(connection: &mut MultiplexedConnection, command: &str, key: &str) -> usize {
    redis::cmd(command).arg(key).query_async(connection).await.unwrap()
}

/// A ticket that waited beside entries would not be handed what comes. Shows R18.
#[tokio::test]
async fn a_pop_that_meets_many_expired_entries_stops_and_lets_no_ticket_wait_beside_what_is_left() {
    let (_server, mut connection) = server().await;
    let hello = Call::new("hello", &["asgi:c:me", "asgi:schema"], &["1", "60000", "3"]);
    hello.make(&mut connection).await.unwrap();
    for (queue, line, most) in [("asgi:q:a", "asgi:w:a", 300), ("asgi:q:in!", "asgi:w:in!", 1000)] {
        fill(&mut connection, queue, 2_500).await;
        let arguments = ["asgi:", "me", "1", "60000", "0", "7", "wait", "1"];
        let pop = Call::new("pop", &["asgi:c:me", queue], &arguments);
        let mut left = 2_501;
        loop {
            let Value::Array(reply) = pop.make(&mut connection).await.unwrap() else { panic!() };
            if reply[1] == Value::Int(1) {
                assert_eq!(reply.len(), 5, "the entry that is left is given: {reply:?}");
                break;
            }
            assert_eq!(reply[1..], [Value::Int(0)]);
            let now = number(&mut connection, "LLEN", queue).await;
            assert!(now < left && left - now <= most, "{queue}: {left}, then {now}");
            left = now;
            assert_eq!(number(&mut connection, "EXISTS", line).await, 0, "it does not wait");
        }
        assert!(left < 2_501 - most, "{queue}: several calls");
    }
}

#[tokio::test]
async fn a_drain_of_what_has_expired_comes_in_steps() {
    let (_server, mut connection) = server().await;
    fill(&mut connection, "asgi:q:a", 1_000).await;
    let take = Call::new("drain_take", &["asgi:q:a", "asgi:o:a"], &["asgi:", "batch", "there"]);
    let mut steps = 0;
    loop {
        let Value::Array(reply) = take.make(&mut connection).await.unwrap() else { panic!() };
        steps += 1;
        match reply.len() {
            2 => assert_eq!(number(&mut connection, "EXISTS", "asgi:o:a").await, 0),
            length => break assert_eq!((length, steps), (4, 4)),
        }
    }
}

#[tokio::test]
async fn a_step_of_a_send_to_a_group_has_two_mebibytes() {
    let (_server, mut connection) = server().await;
    for queue in 0..160 {
        let queue = format!("q{queue}");
        let keys = ["i", "q", "s"].map(|kind| format!("asgi:{kind}:{queue}"));
        let arguments = ["asgi:", &queue, "", "", "", "9", "+", "room", "", "600000"];
        Call::new("group_change", &keys.each_ref().map(String::as_str), &arguments)
            .make(&mut connection)
            .await
            .unwrap();
    }
    for (bytes, due) in [(1, 160), (1 << 18, 7), (3 << 20, 1)] {
        let body = format!("groom {}", "x".repeat(bytes));
        let arguments = ["asgi:", "room", "60000", "", "", "", "", &body];
        let Value::Array(reply) =
            Call::new("group_send", &["asgi:g:room"], &arguments).make(&mut connection).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(reply[2], Value::Int(due), "{bytes} bytes: {reply:?}");
    }
}
