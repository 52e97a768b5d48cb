//! Calls of the scripts by hand, past the tap, and those that the tap has seen of the client.

use std::time::Instant;

use asgi_redis::scripts::{all, get};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Value};

use super::tap::Tap;

/// One server under one prefix.
#[derive(Debug)]
pub(super) struct Scripts {
    client: Client,
    prefix: String,
}

impl Scripts {
    pub(super) fn new(url: &str, prefix: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|error| error.to_string())?;
        Ok(Self { client, prefix: prefix.to_owned() })
    }

    pub(super) fn key(&self, kind: char, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    /// Gives all scripts to the server.
    pub(super) async fn load(&self) -> Result<(), String> {
        for script in all() {
            let _: String = self.command(&["SCRIPT", "LOAD", script.source()]).await?;
        }
        Ok(())
    }

    /// A command over a connection of its own, because the server may have been started again.
    pub(super) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, String> {
        let mut command = Cmd::new();
        command.arg(words);
        self.ask(&command).await
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        // However slow the machine is; the check as a whole has an end.
        let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connected = self.client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connected.map_err(|error| format!("the driver's own connection: {error}"))?;
        command.query_async(&mut connection).await.map_err(|error| format!("a call by hand: {error}"))
    }

    async fn call(&self, name: &str, keys: &[String], arguments: &[&[u8]]) -> Result<Value, String> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(sha(name)).arg(keys.len()).arg(keys).arg(arguments);
        match self.ask(&command).await {
            Err(error) if error.contains("NOSCRIPT") || error.contains("NoScript") => {
                self.load().await?;
                self.ask(&command).await
            }
            reply => reply,
        }
    }

    /// Sends a body to a queue, with room for 1,000 and for a minute. Returns the reply.
    pub(super) async fn push(&self, queue: &str, body: &[u8]) -> Result<Value, String> {
        let arguments = [self.prefix.as_bytes(), b"60000", b"", b"", b"1000", b"1", body];
        self.call("push", &[self.key('q', queue)], &arguments).await
    }

    /// Sends a number as a message.
    pub(super) async fn send(&self, channel: &str, number: u8) -> Result<(), String> {
        let (queue, address) = split(channel);
        let reply = self.push(queue, &[b"m", address.as_bytes(), b" ", &[number]].concat()).await?;
        match reply {
            Value::BulkString(sent) if sent == b"sent" => Ok(()),
            other => Err(format!("a push by hand to {channel} was answered {other:?}")),
        }
    }

    /// What waits first in a queue, or the first of an inbox, if anything does. Of a queue it is taken.
    pub(super) async fn take(&self, queue: &str) -> Result<Option<Vec<u8>>, String> {
        let keys = [self.key('c', ""), self.key('q', queue)];
        let arguments: [&[u8]; 8] = [self.prefix.as_bytes(), b"", b"0", b"0", b"0", b"1", b"try", b"1"];
        let reply = self.call("pop", &keys, &arguments).await?;
        Ok(match reply {
            Value::Array(parts) => match parts.into_iter().nth(4) {
                Some(Value::BulkString(entry)) => Some(entry),
                Some(Value::Array(entries)) => match entries.into_iter().next() {
                    Some(Value::BulkString(entry)) => Some(entry),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    }

    /// Appends bytes to a list, as another program might.
    pub(super) async fn append(&self, key: &str, bytes: &[u8]) -> Result<(), String> {
        let mut command = redis::cmd("RPUSH");
        self.ask::<u64>(command.arg(key).arg(bytes)).await.map(drop)
    }

    /// How many entries wait in the list of a queue.
    pub(super) async fn waiting(&self, queue: &str) -> Result<u64, String> {
        self.command(&["LLEN", &self.key('q', queue)]).await
    }

    /// One change, by nobody: its kind, group, address and time.
    pub(super) async fn change(&self, queue: &str, operation: [&str; 4]) -> Result<(), String> {
        let keys = ['i', 'q', 's'].map(|kind| self.key(kind, queue));
        let mut arguments: Vec<&[u8]> =
            vec![self.prefix.as_bytes(), queue.as_bytes(), b"", b"", b"", b"1000"];
        arguments.extend(operation.iter().map(|part| part.as_bytes()));
        self.call("group_change", &keys, &arguments).await.map(drop)
    }

    /// Sends a number to a group. Returns to how many queues it went.
    pub(super) async fn group_send(&self, group: &str, number: u8) -> Result<i64, String> {
        let body = [b"g", group.as_bytes(), b" ", &[number]].concat();
        let arguments: [&[u8]; 8] =
            [self.prefix.as_bytes(), group.as_bytes(), b"60000", b"", b"", b"", b"", &body];
        match self.call("group_send", &[self.key('g', group)], &arguments).await? {
            Value::Array(parts) => match parts.get(2) {
                Some(Value::Int(delivered)) => Ok(*delivered),
                other => Err(format!("group_send told {other:?}")),
            },
            other => Err(format!("group_send answered {other:?}")),
        }
    }

    /// A flush of all messages and groups, and the word of it to the owners of inboxes.
    pub(super) async fn flush(&self) -> Result<(), String> {
        for script in ["flush", "flush_inboxes"] {
            let mut cursor = b"0".to_vec();
            loop {
                let key = format!("{}schema", self.prefix);
                let reply = self.call(script, &[key], &[self.prefix.as_bytes(), &cursor, b"1000"]).await?;
                match reply {
                    Value::Array(parts) => match parts.first() {
                        Some(Value::BulkString(more)) if more == b"more" => {}
                        Some(Value::BulkString(next)) if next == b"0" => break,
                        Some(Value::BulkString(next)) => cursor = next.clone(),
                        other => return Err(format!("{script} told {other:?}")),
                    },
                    other => return Err(format!("{script} answered {other:?}")),
                }
            }
        }
        Ok(())
    }

    /// The fields of a client's hash that are tickets.
    pub(super) async fn tickets(&self, client: &str) -> Result<Vec<String>, String> {
        let mut fields: Vec<String> = self.command(&["HKEYS", &self.key('c', client)]).await?;
        fields.retain(|field| field != "g" && field != "lease");
        Ok(fields)
    }
}

pub(super) fn sha(name: &str) -> &'static str {
    get(name).map_or("", |script| script.sha())
}

fn split(channel: &str) -> (&str, &str) {
    channel.split_at(channel.find('!').map_or(channel.len(), |mark| mark + 1))
}

/// A call of a script that the client made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) connection: u64,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn argument(&self, place: usize) -> String {
        self.arguments.get(place).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    fn number(&self, place: usize) -> usize {
        self.argument(place).parse().unwrap_or_default()
    }

    /// Of a pop, the finished tickets and their ids.
    pub(super) fn finished(&self) -> Vec<(String, Vec<u8>)> {
        let count = self.number(4);
        (0..count)
            .map(|place| {
                (self.argument(5 + 2 * place), self.arguments.get(6 + 2 * place).cloned().unwrap_or_default())
            })
            .collect()
    }

    /// Of a pop, the open tickets.
    pub(super) fn open(&self) -> Vec<String> {
        let first = 5 + 2 * self.number(4);
        (first..self.arguments.len()).step_by(3).map(|place| self.argument(place)).collect()
    }
}

/// The calls of a script that a client made since a mark.
pub(super) fn calls_of(tap: &Tap, name: &str, since: usize) -> Vec<Call> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    tap.seen()
        .into_iter()
        .skip(since)
        .filter_map(|seen| {
            let [verb, hash, count, rest @ ..] = &seen.words[..] else { return None };
            if !verb.eq_ignore_ascii_case(b"EVALSHA") || hash != sha(name).as_bytes() {
                return None;
            }
            let (keys, arguments) = rest.split_at_checked(text(count).parse().ok()?)?;
            let keys = keys.iter().map(text).collect();
            Some(Call { at: seen.at, connection: seen.connection, keys, arguments: arguments.to_vec() })
        })
        .collect()
}

/// The name of the client that said hello last on a server.
pub(super) fn client_of(tap: &Tap) -> Result<String, String> {
    let hello = calls_of(tap, "hello", 0).pop().ok_or("the client has not called hello")?;
    let key = hello.keys.first().ok_or("hello has no key")?;
    key.split_once("c:")
        .map(|(_, client)| client.to_owned())
        .ok_or_else(|| format!("hello has the key {key:?}"))
}
