//! What holds while the servers change under the layer: their role, their data, their clock, their name, the way to them.
//!
//! Each file is one kind of change. The servers are processes, because they talk to each other.

mod clock_steps;
mod demoted;
mod half_open;
mod health;
mod leftovers;
mod lost_replies;
mod old_state;
mod one_refuses;
mod output_limit;
mod own_key;
mod runtimes;
mod two_names;

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Inbox, Mailbox, RedisChannelLayer};
use tokio::task::JoinHandle;

use crate::support::{Ledger, Server, unique_prefix};

/// How long a test waits for what must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for what must not need a beat, which by default comes every 20 s.
const PROMPTLY: Duration = Duration::from_secs(5);
/// How long a test watches that nothing happens.
const MOMENT: Duration = Duration::from_millis(200);
/// In this time everything is right again when a fault has ended.
const BACK: Duration = Duration::from_secs(2);

/// A layer's options on servers, under a prefix that no other test has.
fn options<U: AsRef<str>>(urls: impl IntoIterator<Item = U>, test: &str) -> ConfigBuilder {
    let urls: Vec<U> = urls.into_iter().collect();
    let urls: Vec<&str> = urls.iter().map(AsRef::as_ref).collect();
    ConfigBuilder::new().hosts(urls).prefix(unique_prefix(test))
}

/// An owner with an inbox, and another process.
async fn owner_and_other(options: &ConfigBuilder) -> (RedisChannelLayer, Inbox, RedisChannelLayer) {
    let owner = options.connect().await.unwrap();
    let inbox = owner.open_inbox("chat").await.unwrap();
    // Until its reader waits.
    tokio::time::sleep(MOMENT).await;
    (owner, inbox, options.connect().await.unwrap())
}

/// What a future gives in some time.
async fn within<T>(time: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(time, future).await else {
        panic!("{what} took more than {time:?}")
    };
    output
}

/// What a future gives without the help of a beat.
async fn promptly<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PROMPTLY, what, future).await
}

/// Waits until something is so, which must not need a beat.
async fn until(what: &str, is_so: impl AsyncFnMut() -> bool) {
    until_in(PROMPTLY, what, is_so).await;
}

async fn until_in(time: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(time, what, waiting).await;
}

/// Waits until a layer has noticed that its connection broke, and has another.
async fn up_again(layer: &RedisChannelLayer) {
    until("it is up again", async || layer.health().await[0].is_up()).await;
}

/// Sends again and again as long as nothing was sent.
async fn send_at_last(layer: &RedisChannelLayer, channel: &str, number: u64) {
    let sent = async {
        while let Err(error) = layer.send(channel, &number).await {
            assert!(error.may_retry(), "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(PATIENCE, "a send that goes through", sent).await;
}

/// Receives on a channel for ever, into a ledger.
fn receive_all(layer: &RedisChannelLayer, channel: &'static str, ledger: &Arc<Ledger>) -> JoinHandle<()> {
    let (layer, ledger) = (layer.clone(), Arc::clone(ledger));
    tokio::spawn(async move {
        while let Ok((_, number)) = layer.receive::<u64>([channel]).await {
            ledger.received(number);
        }
    })
}

/// What a mailbox gets in some time.
async fn got_in(time: Duration, mailbox: &mut Mailbox) -> Vec<u64> {
    let mut got = Vec::new();
    let receiving = async {
        while let Ok(number) = mailbox.receive().await {
            got.push(number);
        }
    };
    let _ = tokio::time::timeout(time, receiving).await;
    got
}

/// The keys of a server that begin so.
async fn keys(server: &Server, beginning: &str) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{beginning}*"))
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    keys.sort_unstable();
    keys
}

/// The prefix of a layer's options.
fn prefix_of(options: &ConfigBuilder) -> String {
    options.build().unwrap().prefix().to_owned()
}
