//! Joins, leaves and sends of several processes in every order: each receiver gets exactly what was sent while it was a
//! member, in order and once, however late it is looked up. A simple model says what that is.

mod overlapping;
mod sequential;

use std::panic::AssertUnwindSafe;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Inbox, Mailbox, RedisChannelLayer};
use futures::{FutureExt, StreamExt};

use super::{layers, options, promptly};
use crate::support::Servers;

const SEEDS: u64 = 200;
/// How many programs run at once: their processes are shared, their groups and inboxes are not.
const AT_ONCE: usize = 8;
const GROUPS: usize = 3;
/// What is sent to each receiver at the end: whatever came too much came before it.
const LAST: u64 = u64::MAX;

/// Who can be in a group.
enum Receiver {
    Mailbox(Mailbox),
    Channel(String),
}

impl Receiver {
    fn name(&self) -> String {
        match self {
            Self::Mailbox(mailbox) => mailbox.name().to_string(),
            Self::Channel(name) => name.clone(),
        }
    }

    async fn next(&mut self, layer: &RedisChannelLayer) -> u64 {
        let what = format!("a message for {}", self.name());
        match self {
            Self::Mailbox(mailbox) => promptly(&what, mailbox.receive()).await.unwrap(),
            Self::Channel(name) => promptly(&what, layer.receive([name.as_str()])).await.unwrap().1,
        }
    }

    /// All that is still to come.
    async fn rest(&mut self, layer: &RedisChannelLayer) -> Vec<u64> {
        layer.send(self.name().as_str(), &LAST).await.unwrap();
        let mut rest = Vec::new();
        loop {
            match self.next(layer).await {
                LAST => return rest,
                number => rest.push(number),
            }
        }
    }
}

/// The processes of a program, and its receivers: three mailboxes in each of three inboxes, and two plain channels, of
/// which the second is a normal one if these have an order.
async fn receivers(
    layers: &[RedisChannelLayer],
    seed: u64,
    normal_in_order: bool,
) -> (Vec<Inbox>, Vec<Receiver>) {
    let mut inboxes = Vec::new();
    for layer in layers {
        inboxes.push(layer.open_inbox("member").await.unwrap());
    }
    let mut receivers = Vec::new();
    for number in 0..3 * inboxes.len() {
        receivers.push(Receiver::Mailbox(inboxes[number % inboxes.len()].open_mailbox().unwrap()));
    }
    receivers.push(Receiver::Channel(format!("single?{seed}")));
    receivers
        .push(Receiver::Channel(format!("{}{seed}", if normal_in_order { "normal." } else { "other?" })));
    (inboxes, receivers)
}

fn group(seed: u64, number: usize) -> String {
    format!("room-{seed}-{number}")
}

/// Runs a program for each seed, on three processes; a failure names its seed.
async fn run_all(servers: &Servers, test: &str, program: impl AsyncFn(u64, &[RedisChannelLayer])) {
    let options: ConfigBuilder = options(servers, test);
    let layers: [_; 3] = layers(&options).await;
    futures::stream::iter(0..SEEDS)
        .map(async |seed| {
            let outcome = AssertUnwindSafe(program(seed, &layers)).catch_unwind().await;
            assert!(outcome.is_ok(), "the program of seed {seed} failed");
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
