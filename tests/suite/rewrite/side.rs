//! One of the two texts, with the keys that it writes.

use std::collections::BTreeMap;
use std::path::Path;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::steps::{CLIENTS, Step};
use crate::support::scripts::texts;
use crate::support::{Server, patient};

/// The list from which the scripts read the time here: seconds and microseconds, as TIME has them.
const CLOCK: &str = "clock";
const BEGIN: u64 = 1_800_000_000_000_000;
/// How far apart two times to live may be: the calls come one after the other, on a machine that may be busy.
const APART_MS: i64 = 20_000;

pub(super) struct Side {
    prefix: &'static str,
    connection: MultiplexedConnection,
    pushed: UnboundedReceiver<PushInfo>,
    texts: BTreeMap<String, String>,
    /// The present texts, where the others are earlier ones.
    present: BTreeMap<String, String>,
    now: u64,
}

/// What a step led to.
#[derive(Debug)]
pub(super) struct Outcome {
    reply: Option<Value>,
    published: Vec<Vec<u8>>,
    keys: BTreeMap<String, Key>,
}

#[derive(Debug)]
struct Key {
    /// The content, in an order of its own where the type has none.
    content: Vec<String>,
    left_ms: i64,
}

impl Outcome {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let keys = self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|((name, key), (other_name, other_key))| {
                name == other_name
                    && key.content == other_key.content
                    && (key.left_ms - other_key.left_ms).abs() < APART_MS
                    && (key.left_ms < 0) == (other_key.left_ms < 0)
            });
        self.reply == other.reply && self.published == other.published && keys
    }

    pub(super) fn reply(&self) -> Option<&Value> {
        self.reply.as_ref()
    }

    pub(super) fn published(&self) -> &[Vec<u8>] {
        &self.published
    }
}

impl Side {
    /// The texts are those of the library, but for those that stand in a folder.
    pub(super) async fn new(server: &Server, prefix: &'static str, earlier: Option<&Path>) -> Self {
        let (sender, pushed) = unbounded_channel();
        let config = patient().set_push_sender(sender);
        let client = redis::Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut texts: BTreeMap<String, String> =
            texts::all().iter().map(|text| (text.name.clone(), text.source.clone())).collect();
        let mut present = texts.clone();
        if let Some(folder) = earlier {
            for (name, text) in &mut texts {
                if let Ok(earlier) = std::fs::read_to_string(folder.join(format!("{name}.lua"))) {
                    *text = earlier;
                }
            }
        }
        for text in texts.values_mut().chain(present.values_mut()) {
            *text = text.replace("call('TIME')", &format!("call('LRANGE', '{CLOCK}', 0, 1)"));
        }
        let mut side = Self { prefix, connection, pushed, texts, present, now: BEGIN };
        for client in CLIENTS.iter().filter(|client| **client != "deaf") {
            let _ = side.ask(redis::cmd("SUBSCRIBE").arg(format!("{prefix}wake:{client}"))).await;
        }
        side
    }

    /// As [`run`](Self::run), by the present text of the script.
    pub(super) async fn run_by_present(&mut self, step: &Step) -> Outcome {
        std::mem::swap(&mut self.texts, &mut self.present);
        let outcome = self.run(step).await;
        std::mem::swap(&mut self.texts, &mut self.present);
        outcome
    }

    pub(super) async fn run(&mut self, step: &Step) -> Outcome {
        // No two calls come in one microsecond. What tells when a queue was searched last lives by the server's own clock.
        self.now += 1;
        let (seconds, microseconds) = (self.now / 1_000_000, self.now % 1_000_000);
        let _ = self.ask(redis::cmd("DEL").arg(CLOCK)).await;
        let _ = self.ask(redis::cmd("RPUSH").arg(CLOCK).arg(seconds).arg(microseconds)).await;
        for queue in ["a", "b", "c", "in!"] {
            let _ = self.ask(redis::cmd("DEL").arg(format!("{}x:{queue}", self.prefix))).await;
        }
        let reply = match step {
            Step::Clock(microseconds) => {
                self.now += microseconds;
                None
            }
            Step::Call { script, keys, args } => {
                let mut command = redis::cmd("EVAL");
                command.arg(&self.texts[*script]).arg(keys.len());
                for key in keys {
                    command.arg(key.replace("{}", self.prefix));
                }
                for arg in args {
                    if arg == b"{}" {
                        command.arg(self.prefix)
                    } else {
                        command.arg(arg)
                    };
                }
                Some(self.ask(&command).await)
            }
            Step::Command(words) => {
                let mut command = redis::cmd(&words[0]);
                for word in &words[1..] {
                    command.arg(word.replace("{}", self.prefix));
                }
                Some(self.ask(&command).await)
            }
        };
        // What was published before stands before the answer.
        let _ = self.ask(&redis::cmd("PING")).await;
        let mut published = Vec::new();
        while let Ok(push) = self.pushed.try_recv() {
            if push.kind == PushKind::Message
                && let Some(Value::BulkString(news)) = push.data.last()
            {
                published.push(news.clone());
            }
        }
        Outcome { reply: reply.map(without_key), published, keys: self.keys().await }
    }

    async fn keys(&mut self) -> BTreeMap<String, Key> {
        let mut keys = BTreeMap::new();
        let names: Vec<String> = self.value(redis::cmd("KEYS").arg(format!("{}*", self.prefix))).await;
        for name in names {
            let kind: String = self.value(redis::cmd("TYPE").arg(&name)).await;
            let (command, rest): (&str, &[&str]) = match &*kind {
                "string" => ("GET", &[]),
                "list" => ("LRANGE", &["0", "-1"]),
                "hash" => ("HGETALL", &[]),
                "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
                "set" => ("SMEMBERS", &[]),
                other => panic!("{name} is a {other}"),
            };
            let content = self.ask(redis::cmd(command).arg(&name).arg(rest)).await;
            let left_ms = self.value(redis::cmd("PTTL").arg(&name)).await;
            let mut parts = Vec::new();
            flatten(content, &mut parts);
            keys.insert(name[self.prefix.len()..].to_owned(), Key { content: parts, left_ms });
        }
        keys
    }

    async fn value<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> T {
        redis::from_redis_value(self.ask(command).await).unwrap()
    }

    /// The reply; an error is one by its first word.
    async fn ask(&mut self, command: &redis::Cmd) -> Value {
        command.query_async(&mut self.connection).await.unwrap_or_else(|error: redis::RedisError| {
            assert!(!error.is_io_error(), "{error}");
            Value::SimpleString(format!("error {}", error.code().unwrap_or_default()))
        })
    }
}

/// All texts and numbers of a reply; fields of a hash in their own order.
fn flatten(value: Value, parts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => parts.push(bytes.escape_ascii().to_string()),
        Value::Array(values) => values.into_iter().for_each(|value| flatten(value, parts)),
        Value::Map(fields) => {
            let mut fields: Vec<String> = fields
                .into_iter()
                .map(|(field, value)| {
                    let mut both = Vec::new();
                    flatten(field, &mut both);
                    flatten(value, &mut both);
                    both.join("=")
                })
                .collect();
            fields.sort();
            parts.append(&mut fields);
        }
        other => parts.push(format!("{other:?}")),
    }
}

/// A reply in which errors about a key of another type do not name the key, as those of earlier texts do not.
fn without_key(reply: Value) -> Value {
    match reply {
        Value::Array(parts) => Value::Array(parts.into_iter().map(without_key).collect()),
        Value::BulkString(text) if text.starts_with(b"WRONGTYPE ") => {
            let words = String::from_utf8(text).unwrap();
            Value::BulkString(words.split(": ").next().unwrap().into())
        }
        other => other,
    }
}
