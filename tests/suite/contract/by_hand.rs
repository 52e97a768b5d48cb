//! Calls by hand: they and a layer understand each other, and meet the limits that the table names.

use asgi_redis::scripts::{self, Script};
use asgi_redis::{ChannelLayer, ChannelLayerExt, RedisChannelLayer, Value};
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use super::{ask, cells, section, table, time};
use crate::support::{Server, unique_prefix};

/// A script, ready to be called by hand.
async fn by_hand(connection: &mut MultiplexedConnection, name: &str, keys: &[String]) -> Cmd {
    let script: &Script = scripts::get(name).unwrap();
    let sha: String = ask(connection, &["SCRIPT", "LOAD", script.source()]).await;
    assert_eq!(sha, script.sha());
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(sha).arg(keys.len()).arg(keys);
    cmd
}

/// `pop` of one queue, at once and without a client: the entry.
async fn pop_by_hand(connection: &mut MultiplexedConnection, prefix: &str, queue: &str) -> Vec<u8> {
    let keys = [format!("{prefix}c:"), format!("{prefix}q:{queue}")];
    let mut cmd = by_hand(connection, "pop", &keys).await;
    cmd.arg(prefix).arg("").arg(0).arg(0).arg(0).arg(1).arg("try").arg(1);
    if queue.ends_with('!') {
        let reply: (String, u64, String, String, [Vec<u8>; 1]) = cmd.query_async(connection).await.unwrap();
        assert_eq!((&*reply.0, reply.1, &*reply.2, &*reply.3), ("ok", 1, "1", queue));
        let [entry] = reply.4;
        return entry;
    }
    let reply: (String, u64, String, String, Vec<u8>) = cmd.query_async(connection).await.unwrap();
    assert_eq!((&*reply.0, reply.1, &*reply.2, &*reply.3), ("ok", 1, "1", queue));
    reply.4
}

#[tokio::test]
async fn what_is_pushed_by_hand_reaches_a_layer_and_the_other_way_round() {
    let server = Server::shared();
    let mut connection = server.connection().await;
    let prefix = unique_prefix("contract-bytes");
    let layer = RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();

    let mut push = by_hand(&mut connection, "push", &[format!("{prefix}q:greetings")]).await;
    push.arg(&prefix).arg(60_000).arg("").arg("").arg(100).arg(1).arg(&b"m \x81\xa4text\xa2hi"[..]);
    let reply: String = push.query_async(&mut connection).await.unwrap();
    assert_eq!(reply, "sent");
    let (_, message): (_, Value) = layer.receive(["greetings"]).await.unwrap();
    assert_eq!(message, Value::map([("text", "hi")]));

    for (channel, queue, head) in
        [("plain", "plain", "m "), ("body?1", "body?1", "m "), ("client7!ab12", "client7!", "mab12 ")]
    {
        let (_, before) = time(&mut connection).await;
        layer.send(channel, &Value::map([("text", "hi")])).await.unwrap();
        let (_, after) = time(&mut connection).await;
        let entry = pop_by_hand(&mut connection, &prefix, queue).await;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let pushed = number(&entry[..8]);
        assert!((before..=after).contains(&pushed), "{pushed} lies between {before} and {after}");
        assert_eq!(number(&entry[8..10]), 1, "its place in the call");
        assert_eq!(number(&entry[10..18]), pushed / 1000 + 60_000, "its deadline");
        assert_eq!(entry[18..], [head.as_bytes(), b"\x81\xa4text\xa2hi"].concat());
    }
    layer.close().await.unwrap();
}

#[tokio::test]
async fn the_limits_are_where_the_table_says_and_a_larger_call_does_nothing() {
    let server = Server::private();
    let mut connection = server.connection().await;
    let rows = table(section("### Limits"), "| what | limit | the crate keeps to | ms |");
    let limit = |what: &str| -> usize {
        let row = rows.iter().find(|row| cells(row)[0] == what).expect(what);
        cells(row)[1].replace(',', "").parse().unwrap()
    };
    let (keys, arguments) = (limit("keys of one pop"), limit("arguments of one push"));
    assert_eq!(limit("channels of one ticket") + 1, keys, "the client is a key too");
    let hello = ["asgi:c:me".to_owned(), "asgi:schema".to_owned()];
    let mut cmd = by_hand(&mut connection, "hello", &hello).await;
    let _: redis::Value = cmd.arg(1).arg(60_000).arg(1).query_async(&mut connection).await.unwrap();

    for (more, fits) in [(0, true), (1, false)] {
        // Arguments of push: four, a capacity, a count, and the bodies.
        let bodies = arguments - 6 + more;
        let mut cmd = by_hand(&mut connection, "push", &["asgi:q:full".to_owned()]).await;
        cmd.arg("asgi:").arg(60_000).arg("").arg("").arg(1_000_000).arg(bodies).arg(vec!["m x"; bodies]);
        assert_fits(&mut connection, &cmd, fits, "arguments").await;
        // One ticket on all channels that a call can name; what waits is not taken by the call that is too large.
        let channels = keys - 1 + more;
        let mut names = vec!["asgi:c:me".to_owned()];
        names.extend((1..channels).map(|number| format!("asgi:q:other{number}")));
        names.push("asgi:q:full".to_owned());
        let mut cmd = by_hand(&mut connection, "pop", &names).await;
        cmd.arg("asgi:").arg("me").arg(1).arg(60_000).arg(0).arg(1 + more).arg("try").arg(channels);
        assert_fits(&mut connection, &cmd, fits, "keys").await;
    }
    let left: usize = redis::cmd("LLEN").arg("asgi:q:full").query_async(&mut connection).await.unwrap();
    assert_eq!(left, arguments - 6 - 1);
}

async fn assert_fits(connection: &mut MultiplexedConnection, cmd: &Cmd, fits: bool, what: &str) {
    match cmd.query_async::<redis::Value>(connection).await {
        Ok(_) => assert!(fits, "too many {what} fit"),
        Err(error) => assert!(!fits && error.to_string().contains("make several"), "{what}: {error}"),
    }
}
