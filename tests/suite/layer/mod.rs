//! The Redis layer from end to end: names in, messages out, on real servers.

mod cancelled;
mod capacity;
mod connection;
mod delivery;
mod ending;
mod errors;
mod idle;
mod scripts;

use std::time::Duration;

use asgi_redis::{ConfigBuilder, RedisChannelLayer};

use crate::support::{Server, unique_prefix};

/// How long a test waits for what must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test watches that nothing happens.
const MOMENT: Duration = Duration::from_millis(150);

/// A layer's options on a server, under a prefix that no other test has.
fn options(server: &Server, test: &str) -> ConfigBuilder {
    options_at(&server.url(), test)
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
