//! Sends to one shard. A lone send is one call; sends that meet others on their way gather and share calls.
//!
//! While nothing is under way a send calls at once, from the caller's own task. Else it joins those that wait, and the
//! gatherer sends all of them in as few calls as it can, several of which may be under way.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::caller::Caller;
use super::calls::{NotSent, Push, PushQueue};
use super::envelope::Envelope;
use super::failure::Failure;
use super::milliseconds::milliseconds;
use super::refusal::Asked;
use super::script;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::refusals::{channel_full, inbox_has_bytes, mailbox_full, runtime_ended};
use crate::message::PackedMessage;
use crate::name::ChannelName;

/// The most messages, and bytes of messages, that share a call: the server does nothing else meanwhile.
const MAX_ENTRIES: usize = 128;
const MAX_BYTES: usize = 1024 * 1024;
/// How many shared calls may be under way at once.
const MAX_CALLS: usize = 4;

/// One message on its way.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) channel: ChannelName,
    pub(super) capacity: usize,
    pub(super) message: PackedMessage,
    /// How long it waits for a receiver.
    pub(super) expiry: Duration,
    /// Whether others come at once, so that it waits for them rather than begin a call alone.
    pub(super) gathers: bool,
    /// Whether the order of the queue counts, across reconnections too.
    pub(super) ordered: bool,
    /// Whether it may go to another server instead, and so does not wait here while this one is silent.
    pub(super) movable: bool,
}

/// The sends to one shard.
#[derive(Debug)]
pub(super) struct Sends {
    caller: Caller,
    host: Arc<str>,
    /// The layer's prefix, for messages.
    prefix: Box<str>,
    envelope: Envelope,
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
type Outcome = Result<Option<NotSent>, Failure>;

/// Who waits for an outcome, and the room that the message takes until then.
type Awaited = (oneshot::Sender<Outcome>, OwnedSemaphorePermit);

impl Sends {
    /// Starts the gatherer, which ends when this is dropped.
    pub(super) fn start(caller: Caller, host: Arc<str>, envelope: Envelope, config: &Config) -> Arc<Self> {
        let sends = Arc::new(Self {
            caller,
            host,
            prefix: config.prefix().into(),
            envelope,
            room: Arc::new(Semaphore::new(config.max_sends_in_flight())),
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
                // Boxed, because the sends that share calls, as nearly all do in a busy program, are small without it.
                let mut outcomes = Box::pin(self.call(std::slice::from_ref(&message))).await;
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
            Ok(Some(NotSent::Full { live })) => Err(channel_full(&channel, live, capacity)),
            Ok(Some(NotSent::MailboxFull)) => Err(mailbox_full(&channel)),
            Ok(Some(NotSent::InboxHasBytes)) => Err(inbox_has_bytes(&channel)),
            Ok(Some(NotSent::Error(text))) => {
                let asked = Asked { host: &self.host, prefix: &self.prefix };
                Err(asked.refusal(Some(&script::PUSH), &text).to_error())
            }
            Err(failure) => Err(failure.to_error()),
        }
    }

    fn join(&self, message: Outgoing, room: OwnedSemaphorePermit) -> Joined {
        let mut state = self.lock();
        if state.calls == 0 && state.waiting.is_empty() && !message.gathers {
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
        if state.calls >= MAX_CALLS {
            return None;
        }
        let mut next_call: Vec<(Outgoing, Awaited)> =
            Vec::with_capacity(state.waiting.len().min(MAX_ENTRIES));
        let mut bytes = 0;
        // A call has one expiry. Those with another wait for the next one.
        let mut others = Vec::new();
        while next_call.len() < MAX_ENTRIES && others.len() < MAX_ENTRIES {
            let Some(next) = state.waiting.front() else { break };
            let expiry = next_call.first().map(|(message, _)| message.expiry);
            let shares = expiry.is_none_or(|expiry| expiry == next.message.expiry);
            if shares {
                bytes += next.message.message.len();
                if bytes > MAX_BYTES && !next_call.is_empty() {
                    break;
                }
            }
            match state.waiting.pop_front() {
                Some(waiting) if waiting.outcome.is_closed() => {}
                Some(Waiting { message, outcome, room }) if shares => {
                    next_call.push((message, (outcome, room)));
                }
                other => others.extend(other),
            }
        }
        for other in others.into_iter().rev() {
            state.waiting.push_front(other);
        }
        if next_call.is_empty() {
            return None;
        }
        state.calls += 1;
        drop(state);
        // Those of one queue stay in their order.
        next_call.sort_by(|(one, _), (other, _)| one.channel.queue().cmp(other.channel.queue()));
        Some(next_call.into_iter().unzip())
    }

    /// When those that may go elsewhere have waited long enough for calls that get no answer.
    fn patience(&self) -> Option<Instant> {
        let is_any_movable = self.lock().waiting.iter().any(|waiting| waiting.message.movable);
        is_any_movable.then(|| self.caller.link().silent_from()).flatten()
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
        // What waits was not written.
        let silent = Failure::new(ErrorKind::Connection, format!("server {} does not answer", self.host));
        for Waiting { outcome, .. } in movable {
            // Who dropped the send wants no outcome.
            let _ = outcome.send(Err(silent.clone()));
        }
    }

    /// One call for some messages, those of one queue side by side; an outcome for each.
    async fn call(&self, messages: &[Outgoing]) -> Vec<Outcome> {
        match self.try_to_call(messages).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(failure) => vec![Err(failure); messages.len()],
        }
    }

    async fn try_to_call(&self, messages: &[Outgoing]) -> Result<Vec<Option<NotSent>>, Failure> {
        let refused = self.caller.call(|generation| self.push(messages, generation)).await?;
        outcomes(messages.len(), refused)
    }

    /// Makes the call. The bodies are sealed anew for each try, because what is sealed is good for so long from then on.
    fn push<'a>(&'a self, messages: &'a [Outgoing], generation: u64) -> Result<Push<'a>> {
        let is_ordered = messages.iter().any(|message| message.ordered);
        Ok(Push {
            expiry_ms: milliseconds(messages.first().map_or(Duration::ZERO, |message| message.expiry)),
            fence: is_ordered.then(|| (self.caller.client(), generation)),
            queues: share(messages, |it| self.envelope.message_body(&it.channel, &it.message, it.expiry))?,
        })
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

/// The queues of a call, with the bodies of their messages, which stand side by side: the order of the messages is that of
/// the call.
fn share(messages: &[Outgoing], body: impl Fn(&Outgoing) -> Result<Bytes>) -> Result<Vec<PushQueue<'_>>> {
    let queues = messages.chunk_by(|one, next| one.channel.queue() == next.channel.queue());
    queues
        .map(|queue| {
            let first = queue.first().ok_or_else(|| Error::bug("a queue of a call has no messages"))?;
            let bodies = queue.iter().map(&body).collect::<Result<_>>()?;
            Ok(PushQueue { queue: first.channel.queue(), capacity: first.capacity, bodies })
        })
        .collect()
}

/// What became of each message of a call, in the order of the call. The server names those that it refused by their
/// places, from 1.
fn outcomes(messages: usize, refused: Vec<(usize, NotSent)>) -> Result<Vec<Option<NotSent>>, Failure> {
    let mut outcomes = vec![None; messages];
    for (place, why) in refused {
        let Some(outcome) = place.checked_sub(1).and_then(|index| outcomes.get_mut(index)) else {
            let bug = Error::bug(format_args!("message {place} of a call for {messages} was refused"));
            return Err(Failure::from(bug.with_perhaps_sent(true)));
        };
        *outcome = Some(why);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(channel: &str, body: u8) -> Outgoing {
        Outgoing {
            channel: ChannelName::new(channel).unwrap(),
            capacity: 10,
            message: PackedMessage::from_bytes(vec![body]),
            expiry: Duration::from_secs(60),
            gathers: false,
            ordered: false,
            movable: false,
        }
    }

    #[test]
    fn the_queues_of_a_call_have_its_messages_in_their_order() {
        let messages = [outgoing("a", 1), outgoing("b", 2), outgoing("b", 3)];
        let body = |message: &Outgoing| Ok(Bytes::copy_from_slice(message.message.as_bytes()));
        let shared = share(&messages, body).unwrap();
        let shown: Vec<_> = shared.iter().map(|queue| (queue.queue, queue.bodies.concat())).collect();
        assert_eq!(shown, [("a", vec![1]), ("b", vec![2, 3])]);
    }

    #[test]
    fn each_message_of_a_call_has_an_outcome_and_no_place_outside_it_is_gone_past() {
        let refused = vec![(2, NotSent::MailboxFull), (3, NotSent::Full { live: 10 })];
        let due = vec![None, Some(NotSent::MailboxFull), Some(NotSent::Full { live: 10 })];
        assert_eq!(outcomes(3, refused).unwrap(), due);
        for place in [0, 4] {
            let failure = outcomes(3, vec![(place, NotSent::MailboxFull)]).unwrap_err();
            assert_eq!((failure.kind, failure.may_be_executed), (ErrorKind::Internal, true));
        }
    }
}
