//! A layer is used where its runtime is not: from a thread without one, from another that ends, or after its own has ended.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::subject::{Settings, Subject};
use super::support::{Client, MOMENT, address, moment, number, plain, soon, until};
use crate::{BoxFuture, ChannelLayerExt, ErrorKind, Result};

type Call = (&'static str, fn(Client) -> BoxFuture<'static, Result<()>>);

/// Every call that asks the layer for something and does not wait without end.
const CALLS: [Call; 14] = [
    ("send", |layer| Box::pin(async move { layer.send("a", &1).await })),
    ("send to a single-reader channel", |layer| Box::pin(async move { layer.send("a?1", &1).await })),
    ("send_wait", |layer| Box::pin(async move { layer.send_wait("a", &1, MOMENT).await })),
    ("try_receive", |layer| Box::pin(async move { layer.try_receive::<u64>(["a"]).await.map(drop) })),
    ("receive_timeout", |layer| {
        Box::pin(async move { layer.receive_timeout::<u64>(["b"], MOMENT).await.map(drop) })
    }),
    ("open_inbox", |layer| Box::pin(async move { layer.open_inbox("a").await.map(drop) })),
    ("group_add", |layer| Box::pin(async move { layer.group_add("room", "a?1").await })),
    ("group_send", |layer| Box::pin(async move { layer.group_send("room", &1).await.map(drop) })),
    ("group_channels", |layer| Box::pin(async move { layer.group_channels("room").await.map(drop) })),
    ("group_len", |layer| Box::pin(async move { layer.group_len("room").await.map(drop) })),
    ("channel_groups", |layer| Box::pin(async move { layer.channel_groups("a?1").await.map(drop) })),
    ("group_discard", |layer| Box::pin(async move { layer.group_discard("room", "a?1").await })),
    ("leave_groups", |layer| Box::pin(async move { layer.leave_groups("a?1").await })),
    ("flush", |layer| Box::pin(async move { layer.flush().await })),
];

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which has no runtime.
fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What a call gives on a thread without a runtime.
async fn outside((name, call): Call, client: &Client) -> Result<()> {
    let client = Arc::clone(client);
    let (told, outcome) = oneshot::channel();
    std::thread::spawn(move || told.send(drive(call(client))));
    let outcome = soon(&format!("{name} outside of a runtime"), outcome).await;
    outcome.unwrap_or_else(|_| panic!("{name} panicked outside of a runtime"))
}

pub(super) async fn calls_outside_of_a_runtime_do_their_work_or_say_what_is_missing(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for call in CALLS {
        if let Err(error) = outside(call, &client).await {
            assert_eq!(error.kind(), ErrorKind::NoRuntime, "{}: {error}", call.0);
        }
    }
    client.send("c?1", &7).await.unwrap();
    assert_eq!(number(&client, "c?1").await, 7, "within one all goes on");
}

pub(super) async fn what_waits_in_a_runtime_that_ends_takes_nothing_along(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let inbox = client.open_inbox("inbox").await.unwrap();
    let own = runtime();
    let here = Arc::new(());
    for channel in ["a", "a?1"] {
        let (client, there) = (client.clone(), Arc::clone(&here));
        own.spawn(async move {
            let _ = client.receive::<u64>([channel, "other"]).await;
            drop(there);
        });
    }
    own.spawn({
        let (inbox, there) = (inbox.clone(), Arc::clone(&here));
        async move {
            let _ = inbox.next::<u64>().await;
            drop(there);
        }
    });
    moment().await;
    own.shutdown_background();
    until("the end of the tasks", async || Arc::strong_count(&here) == 1).await;
    for channel in ["a", "a?1"] {
        other.send(channel, &1).await.unwrap();
        assert_eq!(number(&client, channel).await, 1, "{channel}");
    }
    let local = address(&inbox, "x");
    other.send(&local, &2).await.unwrap();
    assert_eq!(soon("the inbox", inbox.next::<u64>()).await.unwrap(), (local, 2));
}

pub(super) async fn every_call_ends_after_the_runtime_of_the_layer_has_ended(subject: &dyn Subject) {
    let own = runtime();
    let settings = Settings::default();
    let layers = std::thread::scope(|scope| {
        scope.spawn(|| own.block_on(subject.layers(&settings, 1))).join().unwrap()
    });
    let client: Client = layers.into_iter().next().unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.receive::<u64>(["b"]).await }
    });
    moment().await;
    own.shutdown_background();
    let sent = soon("a send", client.send("b", &1)).await;
    let received = soon("the end of a receive that waits", waits).await.unwrap();
    // A layer that needs no tasks of its own goes on; another one ends all.
    assert_eq!(sent.is_ok(), received.is_ok(), "{sent:?}, {received:?}");
    for (name, call) in CALLS {
        let _ = soon(name, call(client.clone())).await;
    }
    let _ = soon("closing", client.close()).await;
}
