//! What the tests share: layers to run on, and how long to wait.
//!
//! A test fails because of the layer, never because of a slow machine. It waits long for what must happen. Where a time is
//! under test, it measures, and starts over if the machine was too slow.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::subject::{Settings, Subject};
use crate::{ChannelLayer, ChannelLayerExt, ChannelName, Inbox, Mailbox};

/// A layer, as one program has it.
pub(super) type Client = Arc<dyn ChannelLayer>;

/// How long a test waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test watches that nothing happens, and how long it gives the layer to do what cannot be seen.
pub(super) const MOMENT: Duration = Duration::from_millis(200);
/// How often a test begins again because the machine was too slow.
const ATTEMPTS: usize = 20;

/// Clients of one new namespace.
pub(super) async fn clients<const N: usize>(subject: &dyn Subject, settings: &Settings) -> [Client; N] {
    let layers = soon("making the layers", subject.layers(settings, N)).await;
    let made = layers.len();
    layers.try_into().unwrap_or_else(|_| panic!("the subject made {made} layers, {N} were wanted"))
}

/// Clients with the default settings.
pub(super) async fn plain<const N: usize>(subject: &dyn Subject) -> [Client; N] {
    clients(subject, &Settings::default()).await
}

/// Settings with one capacity for all channels.
pub(super) fn capacity(capacity: usize) -> Settings {
    Settings { capacity, ..Settings::default() }
}

/// What a future gives, which must not take long.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what}: not within {PATIENCE:?}");
    };
    output
}

/// Waits until something is so, which must not take long.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, waiting).await;
}

/// Gives the layer a moment.
pub(super) async fn moment() {
    tokio::time::sleep(MOMENT).await;
}

/// Whether a future is still not done after a moment. It is dropped then.
pub(super) async fn nothing<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(MOMENT, future).await.is_err()
}

/// Runs a scenario until one run was fast enough to judge the layer by. That run returns a value, a slow one `None`.
pub(super) async fn in_time<T>(mut scenario: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..ATTEMPTS {
        if let Some(outcome) = scenario().await {
            return outcome;
        }
    }
    panic!("in {ATTEMPTS} runs the machine was never fast enough to tell");
}

/// The next message on any of some channels.
pub(super) async fn receive<T: DeserializeOwned>(client: &Client, channels: &[&str]) -> (ChannelName, T) {
    soon("a message", client.receive(channels)).await.unwrap()
}

/// The number that comes next on a channel.
pub(super) async fn number(client: &Client, channel: &str) -> u64 {
    receive(client, &[channel]).await.1
}

/// The number that waits on a channel.
pub(super) async fn waiting(client: &Client, channel: &str) -> Option<u64> {
    soon("a look", client.try_receive([channel])).await.unwrap().map(|(_, number)| number)
}

/// All numbers that wait on a channel, in order.
pub(super) async fn all_waiting(client: &Client, channel: &str) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(number) = waiting(client, channel).await {
        all.push(number);
    }
    all
}

/// The next number in a mailbox.
pub(super) async fn mailed(mailbox: &mut Mailbox) -> u64 {
    soon("a message in the mailbox", mailbox.receive()).await.unwrap()
}

/// The next number for an address without a mailbox.
pub(super) async fn next(inbox: &Inbox) -> (ChannelName, u64) {
    soon("the next message of the inbox", inbox.next()).await.unwrap()
}

/// A channel in an inbox, at an address of the program's own.
pub(super) fn address(inbox: &Inbox, local: &str) -> ChannelName {
    format!("{}{local}", inbox.name()).parse().unwrap()
}

/// Polls a future once.
pub(super) async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls a future as often as it is woken, but not more than `most` times, and then drops it.
pub(super) async fn poll_at_most<T>(most: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The texts of names, in order.
pub(super) fn sorted<N: ToString>(names: impl IntoIterator<Item = N>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    names
}

/// Numbers that look random and are the same in every run (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
