//! Futures that are polled and dropped by a thread which is none of the runtime's, while the runtime is entered there: so
//! event loops of other languages drive them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt};
use futures::executor::block_on;
use tokio::runtime::Builder;

use super::options;
use crate::support::Server;

#[test]
fn every_call_is_driven_by_a_foreign_thread_in_the_entered_runtime() {
    let server = Server::shared();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let layer = block_on(options(&server, "entered").connect()).unwrap();
    block_on(layer.send("jobs", 1)).unwrap();
    assert_eq!(block_on(layer.receive::<u32>("jobs")).unwrap().1, 1);
    assert!(block_on(layer.try_receive::<u32>("jobs")).unwrap().is_none());
    assert!(block_on(layer.receive_timeout::<u32>("jobs", Duration::from_millis(10))).unwrap().is_none());
    let inbox = block_on(layer.open_inbox("chat")).unwrap();
    let mailbox = inbox.open_mailbox().unwrap().into_shared();
    block_on(layer.group_add("room", mailbox.name())).unwrap();
    assert_eq!(block_on(layer.group_len("room")).unwrap(), 1);
    assert_eq!(block_on(layer.group_send("room", 2)).unwrap().delivered(), 1);
    assert_eq!(block_on(mailbox.receive::<u32>()).unwrap(), 2);
    block_on(layer.group_discard("room", mailbox.name())).unwrap();
    assert!(block_on(layer.health())[0].is_up());
    drop((mailbox, inbox));
    block_on(layer.flush()).unwrap();
    block_on(layer.close()).unwrap();
}

#[test]
fn receives_that_a_foreign_thread_drops_in_the_entered_runtime_lose_and_reorder_nothing() {
    let server = Server::shared();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let layer = block_on(options(&server, "entered-drops").capacity(1000).connect()).unwrap();
    let inbox = block_on(layer.open_inbox("chat")).unwrap();
    let mailbox = inbox.open_mailbox().unwrap().into_shared();
    let (mut jobs, mut letters) = (Vec::<u32>::new(), Vec::<u32>::new());
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..200_u32 {
        block_on(layer.send("jobs", number)).unwrap();
        block_on(layer.send(mailbox.name(), number)).unwrap();
        for _ in 0..random.u32(0..4) {
            jobs.extend(after_polls(random.u32(0..3), layer.receive::<u32>("jobs")).map(|it| it.unwrap().1));
            letters.extend(after_polls(random.u32(0..3), mailbox.receive::<u32>()).map(Result::unwrap));
        }
    }
    while jobs.len() < 200 {
        jobs.push(block_on(layer.receive::<u32>("jobs")).unwrap().1);
    }
    while letters.len() < 200 {
        letters.push(block_on(mailbox.receive::<u32>()).unwrap());
    }
    let sent: Vec<u32> = (0..200).collect();
    assert_eq!(jobs, sent);
    assert_eq!(letters, sent);
}

/// Polls so often with a pause in between, then drops.
fn after_polls<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    None
}
