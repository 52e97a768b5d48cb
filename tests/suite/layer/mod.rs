//! The Redis layer from end to end: names in, messages out, on real servers.

/// A test of the layer, that is the same whether its messages are on one server or on three: `NAME::on_one_server` and
/// `NAME::on_three_servers`. A test that needs threads of its own says `on_one_and_three_servers!(NAME, threads)`.
macro_rules! on_one_and_three_servers {
    ($test:ident) => {
        on_one_and_three_servers!($test, [tokio::test]);
    };
    ($test:ident, threads) => {
        on_one_and_three_servers!($test, [tokio::test(flavor = "multi_thread", worker_threads = 2)]);
    };
    ($test:ident, [$($attribute:tt)*]) => {
        mod $test {
            use crate::support::Servers;

            #[$($attribute)*]
            async fn on_one_server() {
                super::$test(Servers::one()).await;
            }

            #[$($attribute)*]
            async fn on_three_servers() {
                super::$test(Servers::three()).await;
            }
        }
    };
}

mod bulk;
mod burst;
mod cancelled;
mod capacity;
mod connection;
mod cost;
mod credentials;
mod data_loss;
mod data_loss_told;
mod delivery;
mod drain;
mod ending;
mod entered;
mod errors;
mod events;
mod flushed_groups;
mod forms;
mod groups;
mod groups_over_servers;
mod idle;
mod inbox_ending;
mod inboxes;
mod interleaving;
mod killed_process;
mod killed_receiver;
mod labels;
mod membership;
mod no_runtime;
mod outage_kinds;
mod outages;
mod requests;
mod scripts;
mod shards;
mod slow_mailbox;
mod tls;
mod whole_inbox;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayerExt, ConfigBuilder, RedisChannelLayer};

use crate::support::{Proxy, Server, Servers, connect, unique_prefix};

/// How long a test waits for what must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test watches that nothing happens.
const MOMENT: Duration = Duration::from_millis(150);

/// How long a test waits for what must not need a beat, which by default comes every 20 s: a lost wake-up fails it.
const PROMPTLY: Duration = Duration::from_secs(5);

/// What a layer may be over.
trait Hosts {
    fn urls(&self) -> Vec<String>;
}

impl Hosts for Server {
    fn urls(&self) -> Vec<String> {
        vec![self.url()]
    }
}

impl<T: Hosts> Hosts for Arc<T> {
    fn urls(&self) -> Vec<String> {
        (**self).urls()
    }
}

/// Each server behind a network of its own.
impl Hosts for [Proxy] {
    fn urls(&self) -> Vec<String> {
        self.iter().map(Proxy::url).collect()
    }
}

impl Hosts for Servers {
    fn urls(&self) -> Vec<String> {
        self.all().iter().map(|server| server.url()).collect()
    }
}

/// A layer's options on a server, or on several, under a prefix that no other test has.
fn options(hosts: &(impl Hosts + ?Sized), test: &str) -> ConfigBuilder {
    ConfigBuilder::new().hosts(hosts.urls()).prefix(unique_prefix(test))
}

fn options_at(url: &str, test: &str) -> ConfigBuilder {
    ConfigBuilder::new().hosts([url]).prefix(unique_prefix(test))
}

/// Layers of one prefix: to Redis each is a process of its own.
async fn layers<const N: usize>(options: &ConfigBuilder) -> [RedisChannelLayer; N] {
    let mut layers = Vec::new();
    for _ in 0..N {
        layers.push(options.connect().await.unwrap());
    }
    layers.try_into().unwrap()
}

/// What a future gives within a test's patience.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what} took more than {PATIENCE:?}");
    };
    output
}

/// What a future gives without the help of a beat.
async fn promptly<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PROMPTLY, future).await else {
        panic!("{what} took more than {PROMPTLY:?}");
    };
    output
}

/// Waits until something is so, which must not need a beat.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    promptly(what, waiting).await;
}

/// The keys of a prefix on a server, or on several, in order.
async fn keys(hosts: &impl Hosts, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for url in hosts.urls() {
        let mut admin = connect(&url).await;
        let there: Vec<String> =
            redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut admin).await.unwrap();
        keys.extend(there);
    }
    keys.sort_unstable();
    keys
}

/// A faulty network in front of each of some servers.
fn proxies(servers: &Servers) -> Vec<Proxy> {
    servers.all().iter().map(|server| Proxy::start(server)).collect()
}

/// Two layers of one prefix: the first through a proxy, the second beside it.
async fn through_and_beside(proxy: &Proxy, server: &Server, test: &str) -> [RedisChannelLayer; 2] {
    let options = options_at(&proxy.url(), test);
    let beside = options.clone().hosts([server.url()]);
    [options.connect().await.unwrap(), beside.connect().await.unwrap()]
}

/// Lets a receive on channel `a` wait, and has the message 1 pushed to it, which it then holds and has not returned.
async fn fill<T>(mut receive: Pin<&mut impl Future<Output = T>>, sender: &RedisChannelLayer) {
    assert!(futures::poll!(receive.as_mut()).is_pending());
    tokio::time::sleep(MOMENT).await;
    sender.send("a", &1).await.unwrap();
    tokio::time::sleep(MOMENT).await;
}

/// Sends to channel `a` again and again until the server is there.
async fn send_at_last(sender: &RedisChannelLayer, number: u64) {
    let sent = async {
        while let Err(error) = sender.send("a", &number).await {
            assert!(error.may_retry(), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a send that goes through", sent).await;
}
