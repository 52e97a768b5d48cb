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
    let reply: Vec<String> = push.query_async(&mut connection).await.unwrap();
    assert_eq!(reply, ["sent"]);
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
async fn the_hard_limits_are_where_the_table_says() {
    let server = Server::private();
    let mut connection = server.connection().await;
    let rows = table(section("### Limits"), "| what | hard limit | the crate keeps to |");
    let limit = |what: &str| -> usize {
        let row = rows.iter().find(|row| cells(row)[0] == what).expect(what);
        cells(row)[1].split([' ', ':']).next().unwrap().trim_matches(',').replace(',', "").parse().unwrap()
    };
    let hello = ["asgi:c:me".to_owned(), "asgi:schema".to_owned()];
    let mut cmd = by_hand(&mut connection, "hello", &hello).await;
    let _: redis::Value = cmd.arg(1).arg(60_000).arg(1).query_async(&mut connection).await.unwrap();

    let most = limit("entries to one queue in one push");
    for (count, fits) in [(most, true), (most + 1, false)] {
        let mut cmd = by_hand(&mut connection, "push", &[format!("asgi:q:{count}")]).await;
        cmd.arg("asgi:").arg(60_000).arg("").arg("").arg(1_000_000).arg(count).arg(vec!["m x"; count]);
        assert_fits(&mut connection, &cmd, fits, "entries", count).await;
    }
    for (what, tickets, channels) in [
        ("open tickets in one pop", limit("open tickets in one pop"), 1),
        ("channels of one ticket", 1, limit("channels of one ticket")),
    ] {
        for (more, fits) in [(0, true), (1, false)] {
            let (tickets, channels) =
                if channels == 1 { (tickets + more, 1) } else { (tickets, channels + more) };
            let mut keys = vec!["asgi:c:me".to_owned()];
            keys.extend(
                (0..tickets * channels).map(|number| format!("asgi:q:{what}{number}").replace(' ', "")),
            );
            let mut cmd = by_hand(&mut connection, "pop", &keys).await;
            cmd.arg("asgi:").arg("me").arg(1).arg(60_000).arg(0);
            for ticket in 1..=tickets {
                cmd.arg(ticket).arg("wait").arg(channels);
            }
            assert_fits(&mut connection, &cmd, fits, what, tickets * channels).await;
        }
    }
    let most = limit("finished tickets in one pop");
    for (count, fits) in [(most, true), (most + 1, false)] {
        let mut cmd = by_hand(&mut connection, "pop", &["asgi:c:me".to_owned()]).await;
        cmd.arg("asgi:").arg("me").arg(1).arg(60_000).arg(count);
        for ticket in 0..count {
            cmd.arg(100_000 + ticket).arg("");
        }
        assert_fits(&mut connection, &cmd, fits, "finished", count).await;
    }
}

async fn assert_fits(
    connection: &mut MultiplexedConnection,
    cmd: &Cmd,
    fits: bool,
    what: &str,
    count: usize,
) {
    let reply: redis::RedisResult<redis::Value> = cmd.query_async(connection).await;
    match reply {
        Ok(_) => assert!(fits, "{count} {what} fit"),
        Err(error) => {
            assert!(
                !fits && error.to_string().contains("too many results to unpack"),
                "{count} {what}: {error}"
            );
        }
    }
}
