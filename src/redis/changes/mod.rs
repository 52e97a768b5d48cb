//! Changes of memberships on one shard: a line for each queue, in which one call is under way at a time. Changes that meet
//! there gather, and share the next call.
//!
//! The numbers of calls rise, and the entries that calls write into an inbox stand there in the order of their numbers, so
//! its owner knows a repeat when it reads one. So the owner's own calls wait for their turn in the same line.

mod book;
mod busy;
mod line;
mod own;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;

pub(super) use self::book::{Sent, Unread};
use self::line::{Batch, Line, Outcome, Waiting};
pub(super) use self::own::OwnLine;
use super::caller::Caller;
use super::calls::{Change, GroupChange, GroupDiscard, GroupLeave, Operation};
use super::failure::Failure;
use super::refusal::Asked;
use super::script;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layer::refusals::{current_runtime, runtime_ended};
use crate::name::ChannelName;
use crate::seal::Names;

/// The most operations that share a call: the server does nothing else meanwhile.
pub(super) const MAX_OPERATIONS: usize = 128;

/// The changes of memberships on one shard.
#[derive(Debug)]
pub(super) struct Changes {
    caller: Caller,
    host: Arc<str>,
    prefix: Arc<str>,
    names: Names,
    /// Where the lines are driven, so that a change that was begun ends though its caller is gone.
    runtime: Handle,
    /// The number of the last call that may have written into an inbox.
    calls: AtomicU64,
    /// A permit for each change that waits or is under way.
    room: Arc<Semaphore>,
    lines: Mutex<HashMap<Box<str>, Arc<Line>>>,
}

impl Changes {
    pub(super) fn new(caller: Caller, host: Arc<str>, config: &Config) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            caller,
            host,
            prefix: config.prefix().into(),
            names: config.sealing().names.clone(),
            runtime: current_runtime("a layer is connected")?,
            calls: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(config.max_sends_in_flight())),
            lines: Mutex::default(),
        }))
    }

    /// How the server sees names.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Makes changes in one queue, in order. While as many are under way as the layer allows, it waits for one to end.
    ///
    /// Dropped, it makes those changes that wait no more, and ends those that are under way.
    pub(super) async fn make(
        self: &Arc<Self>,
        queue: &str,
        capacity: usize,
        operations: Vec<Operation>,
    ) -> Result<()> {
        let mut outcomes = Vec::new();
        let mut operations = operations.into_iter().peekable();
        while operations.peek().is_some() {
            let some: Vec<Operation> = operations.by_ref().take(MAX_OPERATIONS).collect();
            let waiting = |outcome| Waiting::Change { operations: some, capacity, outcome: Some(outcome) };
            outcomes.push(self.join(queue, waiting).await?);
        }
        for outcome in outcomes {
            self.outcome(queue, outcome).await?;
        }
        Ok(())
    }

    /// Takes a channel out of all its groups, in bounded steps.
    ///
    /// Dropped, it does not begin, or ends all the same.
    pub(super) async fn leave_all(self: &Arc<Self>, channel: &ChannelName) -> Result<()> {
        let waiting = |outcome| Waiting::LeaveAll { channel: channel.clone(), outcome };
        let outcome = self.join(channel.queue(), waiting).await?;
        self.outcome(channel.queue(), outcome).await
    }

    /// Puts a change into the line of its queue, unless the server is down.
    async fn join(
        self: &Arc<Self>,
        queue: &str,
        waiting: impl FnOnce(oneshot::Sender<Outcome>) -> Waiting,
    ) -> Result<oneshot::Receiver<Outcome>> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| Error::bug("the room of changes was closed"))?;
        self.caller.link().connection()?;
        let (outcome, awaited) = oneshot::channel();
        let line = self.line(queue);
        line.join(waiting(outcome), Some(room));
        self.drive(&line);
        Ok(awaited)
    }

    async fn outcome(self: &Arc<Self>, queue: &str, mut outcome: oneshot::Receiver<Outcome>) -> Result<()> {
        let done = loop {
            tokio::select! {
                done = &mut outcome => break done,
                // Those that wait for the owner of the inbox to come to terms with the server wait no longer.
                failure = self.caller.link().went_down() => self.line(queue).fail_held(&failure),
            }
            tokio::select! {
                done = &mut outcome => break done,
                _ = self.caller.link().up_since(0) => {}
            }
        };
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(failure.not_executed().into()),
            // The task that drives the line ended, which only its runtime does to it.
            Err(_) => Err(runtime_ended()),
        }
    }

    /// The line of a queue.
    fn line(&self, queue: &str) -> Arc<Line> {
        let mut lines = self.lock();
        if let Some(line) = lines.get(queue) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line::new(queue));
        lines.insert(queue.into(), Arc::clone(&line));
        line
    }

    /// Has what waits in a line called, if nobody does yet.
    fn drive(self: &Arc<Self>, line: &Arc<Line>) {
        if line.is_to_be_driven() {
            let (changes, line) = (Arc::clone(self), Arc::clone(line));
            self.runtime.spawn(async move { changes.call_all(&line).await });
        }
    }

    async fn call_all(&self, line: &Arc<Line>) {
        loop {
            // Who is about to change something joins the same call.
            yield_now().await;
            let Some(_turn) = line.turn().await else { return };
            match line.next_batch() {
                Some(batch) => self.call(line, batch).await,
                None => break,
            }
        }
        let mut lines = self.lock();
        // One for the map, one for this task: nobody else can join it any more.
        if line.is_idle() && Arc::strong_count(line) == 2 {
            lines.remove(line.queue());
        }
    }

    /// The number of the next call, for who has the turn in the line.
    fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn call(&self, line: &Line, batch: Batch) {
        match batch {
            Batch::Changes { operations, capacity, waiting } => {
                let outcome = self.change(line, capacity, &operations).await;
                let asked = Asked { host: &self.host, prefix: &self.prefix };
                for waiting in waiting {
                    waiting.end(&outcome, |why| asked.refusal(Some(&script::GROUP_CHANGE), why));
                }
            }
            Batch::LeaveAll { channel, outcome, room: _room } => {
                // Who dropped the call wants no outcome.
                let _ = outcome.send(self.leave(line, &channel).await);
            }
        }
    }

    /// One call. Returns what failed of it, by index.
    async fn change(
        &self,
        line: &Line,
        capacity: usize,
        operations: &Arc<[Operation]>,
    ) -> Result<Vec<(usize, String)>, Failure> {
        let call = self.next_call();
        let book = line.book();
        if let Some(book) = &book {
            book.sent(call, Sent::Operations(Arc::clone(operations)));
        }
        let fence = |generation| (self.caller.client(), generation);
        let change =
            |generation| Change { queue: line.queue(), fence: fence(generation), call, capacity, operations };
        let outcome = if operations.iter().any(|operation| operation.what.takes_memory()) {
            self.caller.call(|generation| Ok(GroupChange(change(generation)))).await
        } else {
            self.caller.call(|generation| Ok(GroupDiscard(change(generation)))).await
        };
        if let Some(book) = &book {
            match &outcome {
                Ok(changed) => book.answered(call, changed.n, changed.now_us, &changed.failures),
                Err(failure) => book.failed(call, failure.may_be_executed),
            }
        }
        outcome.map(|changed| changed.failures)
    }

    async fn leave(&self, line: &Line, channel: &ChannelName) -> Outcome {
        let book = line.book();
        let mut cursor = String::new();
        loop {
            let call = self.next_call();
            if let Some(book) = &book {
                let address = channel.local().unwrap_or_default();
                book.sent(call, Sent::LeftAll(self.names.address(address).into()));
            }
            let fence = |generation| (self.caller.client(), generation);
            let leave =
                |generation| Ok(GroupLeave { channel, fence: fence(generation), call, cursor: &cursor });
            match self.caller.call(leave).await {
                Ok(step) => {
                    if let Some(book) = &book {
                        book.answered(call, step.n, step.now_us, &[]);
                    }
                    if step.cursor.is_empty() {
                        return Ok(());
                    }
                    cursor = step.cursor;
                }
                Err(failure) => {
                    if let Some(book) = &book {
                        book.failed(call, failure.may_be_executed);
                    }
                    return Err(failure);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Line>>> {
        // No code that holds the lock can panic halfway through a change.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
