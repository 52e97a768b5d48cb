//! What `lua/README.md` promises is true: its tables are those of the scripts, its session works when typed, its rights
//! are enough, its limits are where it says, and its bytes are the bytes.
//! And the texts for users and contributors leave nothing out.

mod by_hand;
mod dist;
mod releases;
mod rights;
mod session;
mod tables;
mod texts;
mod upgrade;
mod vectors;

use std::pin::pin;
use std::time::Duration;

use asgi_redis::{ChannelLayerExt, RedisChannelLayer, Value};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use regex::Regex;

const CONTRACT: &str = include_str!("../../../lua/README.md");
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands under a heading, up to the next of the same rank or a higher one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = CONTRACT.split_once(&format!("\n{heading}\n")).expect(heading);
    let rank = heading.split(' ').next().unwrap().len();
    let end = Regex::new(&format!("(?m)^#{{1,{rank}}} ")).unwrap();
    end.find(rest).map_or(rest, |next| &rest[..next.start()])
}

/// The rows of the table in a section that has this head.
fn table(section: &'static str, head: &str) -> Vec<&'static str> {
    let (_, rest) = section.split_once(&format!("\n{head}\n")).expect(head);
    rest.lines().skip(1).take_while(|line| line.starts_with('|')).collect()
}

fn cells(row: &'static str) -> Vec<&'static str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

async fn keys(connection: &mut MultiplexedConnection, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let step = ["SCAN", &cursor, "MATCH", &format!("{prefix}*"), "COUNT", "1000"];
        let (next, keys): (String, Vec<String>) = ask(connection, &step).await;
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            return found;
        }
    }
}

/// Leaves a message that was handed to a receive, and came back because that was dropped.
async fn give_back(layer: &RedisChannelLayer, connection: &mut MultiplexedConnection, prefix: &str) {
    let line = format!("{prefix}w:returned");
    {
        let mut receive = pin!(layer.receive::<Value>(["returned", "other"]));
        assert!(futures::poll!(&mut receive).is_pending());
        until(connection, &["EXISTS", &line], 1).await;
        layer.send("returned", "message").await.unwrap();
    }
    until(connection, &["ZCARD", &format!("{prefix}b:returned")], 1).await;
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &[&str]) -> T {
    let mut cmd = Cmd::new();
    cmd.arg(command);
    cmd.query_async(connection).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

async fn until(connection: &mut MultiplexedConnection, command: &[&str], wanted: i64) {
    let met = async {
        while ask::<i64>(connection, command).await != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{command:?} never gave {wanted}"));
}

/// The seconds and the microseconds of the server's clock.
async fn time(connection: &mut MultiplexedConnection) -> (u64, u64) {
    let (seconds, microseconds): (u64, u64) = ask(connection, &["TIME"]).await;
    (seconds, seconds * 1_000_000 + microseconds)
}
