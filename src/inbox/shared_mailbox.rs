//! A mailbox that several tasks read at once: a line of receives before one slot.
//!
//! A slot knows one waker. Here that is the line, which wakes the receive that has waited longest. Each receive that ends
//! looks whether the next one is to be woken, so that a message never waits beside a receive that sleeps.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use serde::de::DeserializeOwned;

use super::{Mailbox, closed};
use crate::error::Result;
use crate::message::PackedMessage;
use crate::name::ChannelName;

/// A [`Mailbox`] for several readers: clones share it, and any number of receives may wait at once. Each message goes to one
/// of them. [`Mailbox::into_shared`] makes one.
///
/// It ends as a mailbox does, when the last clone is dropped: it leaves its groups, and what waited in it is gone.
///
/// ```
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> asgi_redis::Result<()> {
/// let layer = MemoryLayer::builder().in_memory()?;
/// let mailbox = layer.open_inbox("websocket.send").await?.open_mailbox()?.into_shared();
/// let other = mailbox.clone();
/// layer.send(mailbox.name(), 1).await?;
/// layer.send(mailbox.name(), 2).await?;
/// let (one, two) = tokio::join!(mailbox.receive::<u32>(), other.receive::<u32>());
/// assert_eq!(one? + two?, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMailbox {
    shared: Arc<Shared>,
}

struct Shared {
    mailbox: Mailbox,
    line: Arc<Line>,
    /// Of the line, for the slot.
    waker: Waker,
}

impl Mailbox {
    /// Lets several tasks read this mailbox at once.
    pub fn into_shared(self) -> SharedMailbox {
        let line = Arc::new(Line::default());
        let waker = Waker::from(Arc::clone(&line));
        SharedMailbox { shared: Arc::new(Shared { mailbox: self, line, waker }) }
    }
}

impl SharedMailbox {
    /// Its full name: what others send to and add to groups.
    pub fn name(&self) -> &ChannelName {
        self.shared.mailbox.name()
    }

    /// Waits for the next message and unpacks it. The receive that has waited longest is woken first.
    ///
    /// # Errors
    ///
    /// As [`Mailbox::receive`].
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message is taken in the same poll in which it is returned, and a receive that is dropped after it was
    /// woken wakes the next one.
    pub async fn receive<T: DeserializeOwned>(&self) -> Result<T> {
        let message = self.receive_packed().await?;
        message.unpack_owned().map_err(|error| error.on_channel(self.name().as_str()))
    }

    /// As [`receive`](Self::receive), without unpacking.
    ///
    /// # Errors
    ///
    /// As [`Mailbox::receive_packed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive`](Self::receive).
    pub async fn receive_packed(&self) -> Result<PackedMessage> {
        let mut turn = Turn { shared: &self.shared, place: None };
        let next = std::future::poll_fn(|context| turn.poll(context)).await;
        next.ok_or_else(|| closed(self.shared.mailbox.handle.mailboxes.name()))
    }

    /// How many messages of groups were dropped because the mailbox was full.
    pub fn missed(&self) -> u64 {
        self.shared.mailbox.missed()
    }
}

impl fmt::Debug for SharedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMailbox").field("name", self.name()).finish_non_exhaustive()
    }
}

/// The receives that wait.
#[derive(Default)]
struct Line(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    last: u64,
    /// By their numbers, which rise.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    waker: Waker,
    /// It was woken and has not looked since.
    is_woken: bool,
}

impl Line {
    /// Takes a place at the end, or keeps the one that a receive has.
    fn stand(&self, place: &mut Option<u64>, waker: &Waker) {
        let mut waiters = self.lock();
        if let Some(waiter) = place.and_then(|number| waiters.get(number)) {
            waiter.is_woken = false;
            waiter.waker.clone_from(waker);
            return;
        }
        waiters.last += 1;
        let number = waiters.last;
        waiters.waiting.push_back(Waiter { number, waker: waker.clone(), is_woken: false });
        *place = Some(number);
    }

    /// Leaves the line; whether the receive was woken for something that it has not looked at.
    fn leave(&self, place: &mut Option<u64>) -> bool {
        let Some(number) = place.take() else { return false };
        let mut waiters = self.lock();
        let Ok(index) = waiters.waiting.binary_search_by_key(&number, |waiter| waiter.number) else {
            return false;
        };
        waiters.waiting.remove(index).is_some_and(|waiter| waiter.is_woken)
    }

    /// Whether a receive sleeps.
    fn has_sleeper(&self) -> bool {
        self.lock().waiting.iter().any(|waiter| !waiter.is_woken)
    }

    fn wake_next(&self) {
        let next = {
            let mut waiters = self.lock();
            let sleeper = waiters.waiting.iter_mut().find(|waiter| !waiter.is_woken);
            sleeper.map(|waiter| {
                waiter.is_woken = true;
                waiter.waker.clone()
            })
        };
        if let Some(next) = next {
            next.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // No code that holds the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn get(&mut self, number: u64) -> Option<&mut Waiter> {
        let index = self.waiting.binary_search_by_key(&number, |waiter| waiter.number).ok()?;
        self.waiting.get_mut(index)
    }
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_next();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_next();
    }
}

/// One receive: its place in the line.
struct Turn<'a> {
    shared: &'a Shared,
    place: Option<u64>,
}

impl Turn<'_> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<PackedMessage>> {
        // Before looking, or what arrives in between would wake nobody.
        self.shared.line.stand(&mut self.place, context.waker());
        let taken = self.shared.mailbox.poll_take(&Context::from_waker(&self.shared.waker));
        if taken.is_ready() {
            self.shared.line.leave(&mut self.place);
            self.shared.pass_on();
        }
        taken
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.shared.line.leave(&mut self.place) {
            self.shared.pass_on();
        }
    }
}

impl Shared {
    /// Wakes the next receive if something waits for it, or sees to it that it will be woken.
    fn pass_on(&self) {
        if self.line.has_sleeper() && self.mailbox.slot.wait(&self.waker) {
            self.line.wake_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures::task::{ArcWake, waker};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;

    use super::*;
    use crate::inbox::{Inbox, Mailboxes};
    use crate::{ConfigBuilder, ErrorKind};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn mailbox() -> (Arc<Mailboxes>, SharedMailbox) {
        let mailboxes = Arc::new(Mailboxes::new(ChannelName::new("chat.1!").unwrap(), 10));
        let inbox = Inbox::new(Arc::clone(&mailboxes), ConfigBuilder::new().build().unwrap(), Arc::new(()));
        let mailbox = inbox.open_mailbox().unwrap().into_shared();
        (mailboxes, mailbox)
    }

    fn post(mailboxes: &Mailboxes, mailbox: &SharedMailbox, message: u32) {
        let address = mailbox.name().local().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        assert!(mailboxes.post(address, until, PackedMessage::pack(&message).unwrap()).is_none());
    }

    fn poll(
        receive: std::pin::Pin<&mut impl Future<Output = Result<u32>>>,
        count: &Arc<Count>,
    ) -> Poll<Result<u32>> {
        receive.poll(&mut Context::from_waker(&waker(Arc::clone(count))))
    }

    #[test]
    fn each_message_wakes_the_receive_that_has_waited_longest() {
        let (mailboxes, mailbox) = mailbox();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut receives = [pin!(mailbox.receive::<u32>()), pin!(mailbox.receive()), pin!(mailbox.receive())];
        for (receive, count) in receives.iter_mut().zip(&counts) {
            assert!(poll(receive.as_mut(), count).is_pending());
        }
        for message in 0..3 {
            post(&mailboxes, &mailbox, message);
        }
        for (message, (receive, count)) in (0..3).zip(receives.iter_mut().zip(&counts)) {
            assert_eq!(count.get(), 1, "receive {message} was woken");
            match poll(receive.as_mut(), count) {
                Poll::Ready(taken) => assert_eq!(taken.unwrap(), message),
                Poll::Pending => panic!("receive {message} found nothing"),
            }
        }
    }

    #[test]
    fn a_receive_that_is_dropped_after_it_was_woken_wakes_the_next() {
        let (mailboxes, mailbox) = mailbox();
        let [first, second]: [Arc<Count>; 2] = Default::default();
        let mut next = pin!(mailbox.receive::<u32>());
        {
            let mut dropped = pin!(mailbox.receive::<u32>());
            assert!(poll(dropped.as_mut(), &first).is_pending());
            assert!(poll(next.as_mut(), &second).is_pending());
            post(&mailboxes, &mailbox, 7);
            assert_eq!((first.get(), second.get()), (1, 0));
        }
        assert_eq!(second.get(), 1);
        assert!(matches!(poll(next.as_mut(), &second), Poll::Ready(Ok(7))));
    }

    #[test]
    fn a_receive_that_finds_nothing_keeps_its_place_and_is_woken_again() {
        let (mailboxes, mailbox) = mailbox();
        let [early, late]: [Arc<Count>; 2] = Default::default();
        let mut waits = pin!(mailbox.receive::<u32>());
        assert!(poll(waits.as_mut(), &early).is_pending());
        post(&mailboxes, &mailbox, 1);
        // Another one comes first.
        assert!(matches!(poll(pin!(mailbox.receive::<u32>()).as_mut(), &late), Poll::Ready(Ok(1))));
        assert!(poll(waits.as_mut(), &early).is_pending());
        let mut behind = pin!(mailbox.receive::<u32>());
        assert!(poll(behind.as_mut(), &late).is_pending());
        post(&mailboxes, &mailbox, 2);
        assert_eq!((early.get(), late.get()), (2, 0));
        assert!(matches!(poll(waits.as_mut(), &early), Poll::Ready(Ok(2))));
        post(&mailboxes, &mailbox, 3);
        assert_eq!(late.get(), 1);
        assert!(matches!(poll(behind.as_mut(), &late), Poll::Ready(Ok(3))));
    }

    #[tokio::test]
    async fn all_that_wait_are_told_of_the_end() {
        let (mailboxes, mailbox) = mailbox();
        let receives: Vec<_> = std::iter::repeat_with(|| mailbox.clone())
            .take(4)
            .map(|mailbox| tokio::spawn(async move { mailbox.receive::<u32>().await }))
            .collect();
        tokio::task::yield_now().await;
        mailboxes.end();
        for receive in receives {
            let ended = tokio::time::timeout(Duration::from_secs(5), receive).await.unwrap().unwrap();
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn receives_dropped_at_random_lose_and_repeat_nothing() {
        let (mailboxes, mailbox) = mailbox();
        const MESSAGES: u32 = 5_000;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let readers: Vec<_> = (0..4)
            .map(|seed| {
                let (mailbox, taken) = (mailbox.clone(), Arc::clone(&taken));
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(seed);
                    loop {
                        let patience = Duration::from_micros(random.u64(0..300));
                        if let Ok(message) = tokio::time::timeout(patience, mailbox.receive::<u32>()).await {
                            taken.lock().unwrap().push(message.unwrap());
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for message in 0..MESSAGES {
            post_when_there_is_room(&mailboxes, &mailbox, message).await;
        }
        let all = async {
            while taken.lock().unwrap().len() < MESSAGES as usize {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("all messages arrive");
        readers.iter().for_each(|reader| reader.abort());
        let mut taken = taken.lock().unwrap().clone();
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(0..MESSAGES));
    }

    async fn post_when_there_is_room(mailboxes: &Mailboxes, mailbox: &SharedMailbox, message: u32) {
        let address = mailbox.name().local().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let _ = mailboxes.post(address, until, PackedMessage::pack(&message).unwrap());
        if message.is_multiple_of(8) {
            tokio::task::yield_now().await;
        }
    }
}
