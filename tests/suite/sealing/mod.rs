//! Encryption from end to end: what the server sees, what opens and what does not, keys that change, hidden names.

mod by_hand;
mod inboxes;
mod names;
mod receives;
mod rotation;
mod secrecy;
mod several_servers;
mod shown;
pub(crate) mod watch;

use std::time::Duration;

use asgi_redis::{ChannelLayerExt, ConfigBuilder, RedisChannelLayer};
use redis::aio::MultiplexedConnection;

use crate::support::{Server, unique_prefix};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test watches that nothing happens.
const MOMENT: Duration = Duration::from_millis(150);
const KEY: &str = "a key of thirty-two bytes or more";
const NAME_KEY: &str = "a key of names, thirty-two bytes or more";
/// By how much what is sealed outlives its expiry and the time of its call, as `lua/README.md` says.
const ALLOWANCE: Duration = Duration::from_secs(5);

/// Options without keys, under a prefix that no other test has.
fn clear(server: &Server, test: &str) -> ConfigBuilder {
    ConfigBuilder::new().hosts([server.url()]).prefix(unique_prefix(test))
}

/// The same with a key.
fn sealed(server: &Server, test: &str) -> ConfigBuilder {
    clear(server, test).symmetric_encryption_keys([KEY])
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what} took more than {PATIENCE:?}");
    };
    output
}

async fn received(layer: &RedisChannelLayer, channel: &str) -> u64 {
    soon("a receive", layer.receive::<u64>([channel])).await.unwrap().1
}

/// The database as somebody who has taken it over reads and writes it.
struct Intruder {
    connection: MultiplexedConnection,
    prefix: String,
}

impl Intruder {
    async fn of(server: &Server, options: &ConfigBuilder) -> Self {
        let prefix = options.build().unwrap().prefix().to_owned();
        Self { connection: server.connection().await, prefix }
    }

    /// Takes the oldest entry out of a queue.
    async fn take(&mut self, queue: &str) -> Vec<u8> {
        let mut command = redis::cmd("LPOP");
        command.arg(format!("{}q:{queue}", self.prefix));
        command.query_async(&mut self.connection).await.unwrap()
    }

    /// Puts an entry into a queue.
    async fn put(&mut self, queue: &str, entry: &[u8]) {
        let key = format!("{}q:{queue}", self.prefix);
        let mut command = redis::cmd("RPUSH");
        let () = command.arg(&key).arg(entry).query_async(&mut self.connection).await.unwrap();
    }

    /// Puts an entry into a queue so many times.
    async fn put_many(&mut self, queue: &str, entry: &[u8], times: usize) {
        let mut command = redis::cmd("RPUSH");
        command.arg(format!("{}q:{queue}", self.prefix));
        for _ in 0..times {
            command.arg(entry);
        }
        let () = command.query_async(&mut self.connection).await.unwrap();
    }

    /// A copy of the oldest entry of a queue.
    async fn copy(&mut self, queue: &str) -> Vec<u8> {
        let entry = self.take(queue).await;
        let mut command = redis::cmd("LPUSH");
        let () = command
            .arg(format!("{}q:{queue}", self.prefix))
            .arg(&entry)
            .query_async(&mut self.connection)
            .await
            .unwrap();
        entry
    }
}

/// What the scripts write before the body of an entry.
const HEADER: usize = 18;

/// Where the payload of an entry begins.
fn payload_of(entry: &[u8]) -> usize {
    18 + entry[18..].iter().position(|byte| *byte == b' ').unwrap() + 1
}

/// An entry with a deadline that is far.
fn prolonged(entry: &[u8]) -> Vec<u8> {
    let far = 4_000_000_000_000_u64.to_be_bytes();
    [&entry[..10], &far, &entry[18..]].concat()
}
