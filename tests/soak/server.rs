//! A site of the layer: a server, its replica, and the proxy that clients know as its address.

use std::collections::BTreeSet;
use std::time::Duration;

use asgi_redis::test_server::{ServerProgram, TestServer};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Value};
use tokio::time::sleep;

use super::clock::Clock;
use super::network::Proxy;
use super::product::Product;
use super::worker::{PREFIX, ids_in};

/// Long enough for a server to do what had reached it.
pub(crate) const SETTLED: Duration = Duration::from_millis(50);

pub(crate) struct Site {
    servers: [TestServer; 2],
    clocks: [Clock; 2],
    primary: usize,
    pub(crate) proxy: Proxy,
}

impl Site {
    /// Starts a site of the product that the seed gives this place.
    pub(crate) async fn start(place: usize, seed: u64) -> Self {
        let product = Product::of_test(&format!("site {place}"), seed, Product::wanted());
        let program = product.program().unwrap_or_else(|why| panic!("{why}"));
        println!("server {}: {} {}", place + 1, product.program_name(), program.version());
        let clocks = [Clock::new(), Clock::new()];
        let servers = [start_server(&program, &clocks[0]), start_server(&program, &clocks[1])];
        let proxy = Proxy::start(servers[0].port().expect("a port"));
        let site = Self { servers, clocks, primary: 0, proxy };
        site.follow(1, 0).await;
        site
    }

    pub(crate) fn url(&self) -> &str {
        self.proxy.url()
    }

    pub(crate) fn primary(&self) -> &TestServer {
        &self.servers[self.primary]
    }

    /// Waits until the replica has all that the primary had when this was called.
    pub(crate) async fn replica_is_even(&self) {
        let client = redis::Client::open(self.primary().unix_url()).expect("its URL");
        for _ in 0..100 {
            let mut both = redis::pipe();
            // What waits counts the writes of its own connection only, and this is replicated like one.
            both.cmd("PUBLISH").arg("nobody").arg("").ignore().cmd("WAIT").arg(1).arg(1_000);
            // On a busy machine it may not be open in time, once.
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                connection.set_response_timeout(Duration::from_secs(5));
                if let Ok((1_u64,)) = both.query_async::<(u64,)>(&mut connection).await {
                    return;
                }
            }
            sleep(SETTLED).await;
        }
        panic!("the replica does not catch up");
    }

    /// The replica becomes the primary and the primary its replica; returns what each held before. Clients find the new
    /// one at the same address, once they connect anew.
    pub(crate) async fn change_roles(&mut self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (old, new) = (self.primary, 1 - self.primary);
        let held = self.ids_held().await;
        let () = ask(&self.servers[new], redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
        self.primary = new;
        let restored = self.ids_held().await;
        self.proxy.retarget(self.servers[new].port().expect("a port"));
        self.follow(old, new).await;
        (held, restored)
    }

    /// Kills the primary and starts it again, with the data of its last snapshot or without any; nobody must reach it
    /// meanwhile. Returns what it held, and what it holds now.
    pub(crate) async fn restart(&self, keeps_snapshot: bool) -> (BTreeSet<u64>, BTreeSet<u64>) {
        sleep(SETTLED).await;
        let held = self.ids_held().await;
        if !keeps_snapshot {
            let () = self.ask(&redis::cmd("FLUSHALL")).await;
            let () = self.ask(&redis::cmd("SAVE")).await;
        }
        self.primary().kill();
        self.primary().start_again().expect("the server starts again");
        let restored = self.ids_held().await;
        self.follow(1 - self.primary, self.primary).await;
        (held, restored)
    }

    /// Does something to the data; nobody must reach it meanwhile. Returns what the server held, and what it holds now.
    pub(crate) async fn harm(&self, harm: impl AsyncFnOnce(&Self)) -> (BTreeSet<u64>, BTreeSet<u64>) {
        sleep(SETTLED).await;
        let held = self.ids_held().await;
        harm(self).await;
        (held, self.ids_held().await)
    }

    /// The replica keeps what it has and is told nothing new.
    pub(crate) async fn stop_following(&self) {
        let () = ask(&self.servers[1 - self.primary], redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    }

    async fn follow(&self, replica: usize, primary: usize) {
        let port = self.servers[primary].port().expect("a port");
        let () = ask(&self.servers[replica], redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await;
    }

    /// Sets the clock of the primary, by so many seconds from what it is.
    pub(crate) fn step_clock(&self, seconds: i64) {
        self.clocks[self.primary].step(seconds);
    }

    /// The numbers of all messages in the data: those that wait, and those that clients were handed.
    pub(crate) async fn ids_held(&self) -> BTreeSet<u64> {
        self.ids_in_keys(b"qbc").await
    }

    /// The numbers of the messages that clients were handed, and have not said that they have.
    pub(crate) async fn ids_handed(&self) -> BTreeSet<u64> {
        self.ids_in_keys(b"c").await
    }

    async fn ids_in_keys(&self, kinds: &[u8]) -> BTreeSet<u64> {
        let mut ids = BTreeSet::new();
        for key in self.keys().await {
            let read = match key.as_bytes().get(PREFIX.len()).filter(|kind| kinds.contains(kind)) {
                Some(b'q') => redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).to_owned(),
                // What came back to a queue.
                Some(b'b') => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).to_owned(),
                Some(b'c') => redis::cmd("HVALS").arg(&key).to_owned(),
                _ => continue,
            };
            let values: Vec<Vec<u8>> = self.ask(&read).await;
            ids.extend(values.iter().flat_map(|value| ids_in(value)));
        }
        ids
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let (mut keys, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let scan = redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1000).to_owned();
            let (next, found): (u64, Vec<String>) = self.ask(&scan).await;
            keys.extend(found);
            cursor = next;
            if cursor == 0 {
                keys.sort_unstable();
                keys.dedup();
                return keys;
            }
        }
    }

    /// The keys that are there although all layers were closed and nothing waits, besides the schema's.
    pub(crate) async fn keys_that_stay(&self) -> Vec<String> {
        let mut stay = Vec::new();
        for key in self.keys().await {
            let ttl: i64 = self.ask(redis::cmd("PTTL").arg(&key)).await;
            if ttl < 0 && key != format!("{PREFIX}schema") {
                stay.push(format!("{key} (without a TTL)"));
            } else if ttl >= 0 {
                stay.push(key);
            }
        }
        stay
    }

    /// Keys, and bytes of memory.
    pub(crate) async fn used(&self) -> (u64, u64) {
        let keys: u64 = self.ask(&redis::cmd("DBSIZE")).await;
        let info: String = self.ask(redis::cmd("INFO").arg("memory")).await;
        let bytes = info.lines().find_map(|line| line.trim().strip_prefix("used_memory:"));
        (keys, bytes.and_then(|bytes| bytes.parse().ok()).expect("INFO memory"))
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        ask(self.primary(), command).await
    }

    pub(crate) async fn end(self) {
        for server in &self.servers {
            server.kill();
        }
    }
}

fn start_server(program: &ServerProgram, clock: &Clock) -> TestServer {
    TestServer::builder()
        .program(program.clone())
        .launcher(clock.launcher())
        .arguments(["--dir", "{dir}", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"])
        // Valkey's is ten times that of Redis by default, and fills in the course of a run.
        .arguments(["--repl-timeout", "600", "--repl-backlog-size", "1mb"])
        .start()
        .expect("a server on PATH")
}

/// Asks a server by its socket, whatever its address suffers from.
async fn ask<T: FromRedisValue>(server: &TestServer, command: &Cmd) -> T {
    let client = redis::Client::open(server.unix_url()).expect("its URL");
    let mut last = None;
    for _ in 0..100 {
        match answer(&client, command).await {
            Ok(value) => return FromRedisValue::from_redis_value(value).expect("the reply's type"),
            Err(error) => last = Some(error),
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("a server does not answer: {last:?}");
}

async fn answer(client: &redis::Client, command: &Cmd) -> redis::RedisResult<Value> {
    let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await?;
    command.query_async(&mut connection).await
}
