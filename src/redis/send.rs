//! Sends to one shard. A lone send is one call; sends that meet others on their way gather and share calls.
//!
//! While nothing is under way a send calls at once, from the caller's own task. Else it joins those that wait, and the
//! gatherer sends all of them in as few calls as it can, several of which may be under way.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::calls::{Push, PushQueue, PushReply, Refusal};
use super::connection::Connection;
use super::envelope::Envelope;
use super::failure::{Failure, refusal};
use super::link::{Link, MOST_TRIES};
use super::script;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::refusals::{channel_full, mailbox_full, runtime_ended};
use crate::message::PackedMessage;
use crate::name::ChannelName;

/// The most messages, and bytes of messages, that share a call: the server does nothing else meanwhile.
const MOST_ENTRIES: usize = 128;
const MOST_BYTES: usize = 1024 * 1024;
/// How many shared calls may be under way at once.
const MOST_CALLS: usize = 4;

/// One message on its way.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) channel: ChannelName,
    pub(super) capacity: usize,
    pub(super) message: PackedMessage,
    /// Whether the order of the queue counts, across reconnections too.
    pub(super) ordered: bool,
    /// Whether it may go to another server instead, and so does not wait here while this one is silent.
    pub(super) movable: bool,
}

/// The sends to one shard.
#[derive(Debug)]
pub(super) struct Sends {
    link: Arc<Link>,
    host: Arc<str>,
    envelope: Envelope,
    expiry: Duration,
    /// A permit for each message under way.
    room: Arc<Semaphore>,
    state: Mutex<State>,
    gathered: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: Outgoing,
    outcome: oneshot::Sender<Outcome>,
    /// Kept until the message has left the queue: a dropped send still fills it.
    room: OwnedSemaphorePermit,
}

/// What became of one message; shared by all of a call when the call failed.
type Outcome = std::result::Result<Option<Refusal>, Undone>;

/// Who waits for an outcome, and the room that the message takes until then.
type Awaited = (oneshot::Sender<Outcome>, OwnedSemaphorePermit);

#[derive(Clone, Debug)]
enum Undone {
    Failed(super::failure::Cause),
    Unreachable(Arc<Error>),
    /// It was not written, for the server is silent.
    Silent,
}

impl Sends {
    /// Starts the gatherer, which ends when this is dropped.
    pub(super) fn start(
        link: Arc<Link>,
        host: Arc<str>,
        envelope: Envelope,
        expiry: Duration,
        most_under_way: usize,
    ) -> Arc<Self> {
        let sends = Arc::new(Self {
            link,
            host,
            envelope,
            expiry,
            room: Arc::new(Semaphore::new(most_under_way)),
            state: Mutex::default(),
            gathered: Arc::default(),
        });
        tokio::spawn(gather(Arc::downgrade(&sends), Arc::clone(&sends.gathered)));
        sends
    }

    /// Sends one message. While as many are under way as the layer allows, it waits for one of them to end.
    ///
    /// A dropped send has sent the message or not, and never sends it again.
    pub(super) async fn send(&self, message: Outgoing) -> Result<()> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| Error::bug("the room of sends was closed"))?;
        let channel = message.channel.clone();
        let capacity = message.capacity;
        let outcome = match self.join(message, room) {
            Joined::Alone(message, _room) => {
                let _under_way = UnderWay(self);
                let mut outcomes = self.call(std::slice::from_ref(&message)).await;
                outcomes.pop().ok_or_else(|| Error::bug("a call for one message gave no outcome"))?
            }
            Joined::Others(outcome) => match outcome.await {
                Ok(outcome) => outcome,
                // The gatherer ended, which only its runtime does to it.
                Err(_) => return Err(runtime_ended()),
            },
        };
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(Refusal::Full { live })) => Err(channel_full(&channel, live, capacity)),
            Ok(Some(Refusal::MailboxFull)) => Err(mailbox_full(&channel)),
            Ok(Some(Refusal::Error(text))) => Err(refusal(&self.host, Some(&script::PUSH), &text).to_error()),
            Err(Undone::Failed(cause)) => Err(cause.to_error()),
            Err(Undone::Unreachable(error)) => Err(error.duplicate()),
            Err(Undone::Silent) => {
                Err(Error::new(ErrorKind::Connection, format!("server {} does not answer", self.host)))
            }
        }
    }

    fn join(&self, message: Outgoing, room: OwnedSemaphorePermit) -> Joined {
        let mut state = self.lock();
        if state.calls == 0 && state.waiting.is_empty() {
            state.calls = 1;
            return Joined::Alone(message, room);
        }
        let (outcome, awaited) = oneshot::channel();
        state.waiting.push_back(Waiting { message, outcome, room });
        drop(state);
        self.gathered.notify_one();
        Joined::Others(awaited)
    }

    /// Takes as many waiting messages as share the next call, if one may begin.
    fn next_call(&self) -> Option<(Vec<Outgoing>, Vec<Awaited>)> {
        let mut state = self.lock();
        if state.calls >= MOST_CALLS {
            return None;
        }
        let (mut messages, mut outcomes, mut bytes) = (Vec::new(), Vec::new(), 0);
        while messages.len() < MOST_ENTRIES {
            let Some(next) = state.waiting.front() else { break };
            bytes += next.message.message.len();
            if bytes > MOST_BYTES && !messages.is_empty() {
                break;
            }
            if let Some(Waiting { message, outcome, room }) = state.waiting.pop_front()
                && !outcome.is_closed()
            {
                messages.push(message);
                outcomes.push((outcome, room));
            }
        }
        if messages.is_empty() {
            return None;
        }
        state.calls += 1;
        Some((messages, outcomes))
    }

    /// When those that may go elsewhere have waited long enough for calls that get no answer.
    fn patience(&self) -> Option<Instant> {
        let is_any_movable = self.lock().waiting.iter().any(|waiting| waiting.message.movable);
        is_any_movable.then(|| self.link.silent_from()).flatten()
    }

    /// Lets go of those that may go elsewhere, if the server is silent.
    fn let_go(&self) {
        if self.patience().is_none_or(|patience| patience > Instant::now()) {
            return;
        }
        let mut state = self.lock();
        let (movable, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.waiting).into_iter().partition(|waiting| waiting.message.movable);
        state.waiting = waiting;
        drop(state);
        for Waiting { outcome, .. } in movable {
            // Who dropped the send wants no outcome.
            let _ = outcome.send(Err(Undone::Silent));
        }
    }

    /// One call for some messages; an outcome for each.
    async fn call(&self, messages: &[Outgoing]) -> Vec<Outcome> {
        let failed = |undone: Undone| messages.iter().map(|_| Err(undone.clone())).collect();
        let mut connection = match self.link.connection() {
            Ok(connection) => connection,
            Err(error) => return failed(Undone::Unreachable(Arc::new(error))),
        };
        for _ in 0..MOST_TRIES {
            // Sealed anew for each try: what is sealed is good for so long from then on.
            let body = |it: &Outgoing| self.envelope.message_body(&it.channel, &it.message);
            let (push, places) = match share(messages, body) {
                Ok(shared) => shared,
                Err(error) => return failed(Undone::Unreachable(Arc::new(error))),
            };
            match self.push(&connection, &push, messages).await {
                Ok(PushReply::Sent { refused }) => return outcomes(&places, refused),
                // Not executed: the server is given what it misses, then the same call is repeated.
                Ok(PushReply::Stale) | Err(Failure::NoScript) => {}
                Err(Failure::Other(cause)) => return failed(Undone::Failed(cause)),
            }
            connection = match self.link.healed_since(connection.epoch).await {
                Ok(connection) => connection,
                Err(error) => return failed(Undone::Unreachable(Arc::new(error))),
            };
        }
        failed(Undone::Unreachable(Arc::new(Error::new(
            ErrorKind::Connection,
            format!(
                "server {} forgot its scripts or this client {MOST_TRIES} times in a row; nothing was sent",
                self.host
            ),
        ))))
    }

    async fn push(
        &self,
        connection: &Connection,
        queues: &[PushQueue<'_>],
        messages: &[Outgoing],
    ) -> std::result::Result<PushReply, Failure> {
        let ordered = messages.iter().any(|message| message.ordered);
        let push = Push {
            expiry_ms: u64::try_from(self.expiry.as_millis()).unwrap_or(u64::MAX),
            fence: ordered.then(|| (self.link.client(), connection.generation)),
            queues,
        };
        connection.call(&push).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Joined {
    Alone(Outgoing, OwnedSemaphorePermit),
    Others(oneshot::Receiver<Outcome>),
}

/// A call under way; dropping it lets the next one begin.
struct UnderWay<'a>(&'a Sends);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.calls -= 1;
        // A wake-up for nothing would cost a lone send as much as all its own work.
        if !state.waiting.is_empty() {
            self.0.gathered.notify_one();
        }
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        self.gathered.notify_one();
    }
}

/// Sends what gathered, for as long as the sends live.
async fn gather(sends: Weak<Sends>, gathered: Arc<Notify>) {
    let mut patience = None;
    loop {
        let silent = async {
            match patience {
                Some(patience) => sleep_until(patience).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = gathered.notified() => {
                // Who is about to send joins the same call.
                yield_now().await;
            }
            () = silent => {}
        }
        let Some(sends) = sends.upgrade() else { return };
        while let Some((messages, waiting)) = sends.next_call() {
            let sends = Arc::clone(&sends);
            tokio::spawn(async move {
                let _under_way = UnderWay(&sends);
                for (outcome, (waiting, _room)) in sends.call(&messages).await.into_iter().zip(waiting) {
                    // Who dropped the send wants no outcome.
                    let _ = waiting.send(outcome);
                }
            });
        }
        sends.let_go();
        patience = sends.patience();
    }
}

/// Sorts messages by queue, each with its body; returns for each message its place in the call.
fn share(
    messages: &[Outgoing],
    body: impl Fn(&Outgoing) -> Result<Bytes>,
) -> Result<(Vec<PushQueue<'_>>, Vec<usize>)> {
    if let [message] = messages {
        let bodies = vec![body(message)?];
        return Ok((
            vec![PushQueue { queue: message.channel.queue(), capacity: message.capacity, bodies }],
            vec![1],
        ));
    }
    let mut queues: Vec<PushQueue<'_>> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut spots = Vec::with_capacity(messages.len());
    for message in messages {
        let number = *numbers.entry(message.channel.queue()).or_insert_with(|| {
            queues.push(PushQueue {
                queue: message.channel.queue(),
                capacity: message.capacity,
                bodies: Vec::new(),
            });
            queues.len() - 1
        });
        if let Some(queue) = queues.get_mut(number) {
            spots.push((number, queue.bodies.len()));
            queue.bodies.push(body(message)?);
        }
    }
    let starts: Vec<usize> = queues
        .iter()
        .scan(1, |start, queue| {
            let this = *start;
            *start += queue.bodies.len();
            Some(this)
        })
        .collect();
    let place = |(number, spot): (usize, usize)| {
        let start = starts.get(number).ok_or_else(|| Error::bug("a message of a call has no queue in it"))?;
        Ok(start + spot)
    };
    let places = spots.into_iter().map(place).collect::<Result<_>>()?;
    Ok((queues, places))
}

fn outcomes(places: &[usize], refused: Vec<(usize, Refusal)>) -> Vec<Outcome> {
    let mut refused: HashMap<usize, Refusal> = refused.into_iter().collect();
    places.iter().map(|place| Ok(refused.remove(place))).collect()
}
