//! The task that keeps one shard connected: it connects, greets, passes on what receivers ask, beats, and begins
//! again when the connection breaks.
//!
//! On a new connection it subscribes to the wake channel, then calls hello, then asks for all open tickets; only then do
//! others get the connection, so nothing is written before.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::calls::{Hello, HelloReply, Pop, PopReply, SCHEMA};
use super::clock::ShardClock;
use super::connection::{Connection, Target};
use super::failure::{Cause, Failure, refusal};
use super::keys::{ClientId, Keys};
use super::milliseconds::milliseconds;
use super::receive::{NextCall, Tickets, closed};
use super::script;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::refusals::runtime_ended;

/// The pause after a failed attempt to connect; it doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long the first attempt to connect again may take. A server that was cut off answers at once when it is back,
/// unless the attempt is stuck from before; each further attempt may take twice as long, up to `connect_timeout`.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// How often in a row a server may answer that it forgot us, or our scripts, before that counts as a fault.
pub(super) const MOST_TRIES: usize = 5;

/// Whether a shard can be asked.
#[derive(Clone, Debug)]
enum Status {
    Connecting,
    Up(Connection),
    Down(Cause),
    /// Ended; with why the server could not be told.
    Closed(Option<Cause>),
}

/// What the rest of the layer holds of a shard's connection. Dropping it ends the task, which first gives back what
/// was in flight.
#[derive(Debug)]
pub(super) struct Link {
    client: ClientId,
    status: watch::Receiver<Status>,
    /// The epoch that those wait for whom the server had forgotten.
    wanted: watch::Sender<u64>,
    closing: watch::Sender<bool>,
}

impl Link {
    /// Starts the task.
    pub(super) fn start(
        target: Target,
        keys: Keys,
        tickets: Arc<Tickets>,
        lease: Duration,
        clock: Arc<ShardClock>,
    ) -> Result<Self> {
        let client = ClientId::random()?;
        let (status, status_seen) = watch::channel(Status::Connecting);
        let (closing, closing_seen) = watch::channel(false);
        let (wanted, wanted_seen) = watch::channel(0);
        let task = Task {
            target,
            keys,
            client: client.clone(),
            tickets,
            lease,
            clock,
            status,
            wanted: wanted_seen,
            closing: closing_seen,
            generation: 0,
            epoch: 0,
            told: false,
        };
        tokio::spawn(task.run());
        Ok(Self { client, status: status_seen, wanted, closing })
    }

    /// What this process calls itself on the shard.
    pub(super) fn client(&self) -> &ClientId {
        &self.client
    }

    /// The connection, or at once why there is none.
    pub(super) fn connection(&self) -> Result<Connection> {
        connection_of(&self.status.borrow())
    }

    /// From when on the server counts as silent if no answer comes; nothing if it owes none, or is not connected.
    pub(super) fn silent_from(&self) -> Option<Instant> {
        match &*self.status.borrow() {
            Status::Up(connection) => connection.answers().silent_from(),
            _ => None,
        }
    }

    /// The connection, once the first attempt to connect has ended.
    pub(super) async fn first_connection(&self) -> Result<Connection> {
        self.wait_for(|status| !matches!(status, Status::Connecting)).await
    }

    /// The connection after the server was given anew what it did not have in an epoch.
    pub(super) async fn healed_since(&self, epoch: u64) -> Result<Connection> {
        // Many learn at once that the server forgot; it is greeted once for all of them.
        self.wanted.send_if_modified(|wanted| {
            let news = *wanted <= epoch;
            *wanted = (*wanted).max(epoch + 1);
            news
        });
        self.wait_for(|status| match status {
            Status::Connecting => false,
            Status::Up(connection) => connection.epoch > epoch,
            Status::Down(_) | Status::Closed(_) => true,
        })
        .await
    }

    /// Waits until the server was greeted anew after an epoch, or is up for the first time.
    pub(super) async fn up_since(&self, epoch: u64) -> Result<Connection> {
        self.wait_for(|status| match status {
            Status::Up(connection) => connection.epoch > epoch,
            Status::Connecting | Status::Down(_) => false,
            Status::Closed(_) => true,
        })
        .await
    }

    /// Gives back what is in flight, ends the lease and the task.
    ///
    /// That goes on even if the future is dropped.
    pub(super) fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.closing.send_replace(true);
        let mut status = self.status.clone();
        async move {
            match status.wait_for(|status| matches!(status, Status::Closed(_))).await.as_deref() {
                // A runtime that ended has closed everything.
                Ok(Status::Closed(Some(cause))) if cause.kind != ErrorKind::Closed => Err(cause.to_error()),
                _ => Ok(()),
            }
        }
    }

    async fn wait_for(&self, wanted: impl FnMut(&Status) -> bool) -> Result<Connection> {
        let mut status = self.status.clone();
        match status.wait_for(wanted).await {
            Ok(status) => connection_of(&status),
            Err(_) => Err(runtime_ended()),
        }
    }
}

fn connection_of(status: &Status) -> Result<Connection> {
    match status {
        Status::Up(connection) => Ok(connection.clone()),
        Status::Down(cause) => Err(cause.not_executed().to_error()),
        Status::Connecting => Err(Error::new(ErrorKind::Connection, "the server is not connected yet")),
        Status::Closed(Some(cause)) if cause.kind == ErrorKind::Closed => Err(cause.to_error()),
        Status::Closed(_) => Err(closed()),
    }
}

struct Task {
    target: Target,
    keys: Keys,
    client: ClientId,
    tickets: Arc<Tickets>,
    lease: Duration,
    clock: Arc<ShardClock>,
    status: watch::Sender<Status>,
    wanted: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    generation: u64,
    epoch: u64,
    /// Whether the outage was told.
    told: bool,
}

/// How a pop ended that the server understood.
enum Said {
    Done,
    /// The server forgot this connection, or the scripts.
    Forgotten,
}

impl Task {
    async fn run(mut self) {
        let longest_patience = self.target.connect_timeout;
        let (mut pause, mut patience) = (FIRST_PAUSE, longest_patience);
        let mut closing = self.closing.clone();
        loop {
            let connected = tokio::select! {
                connected = self.connect(patience) => connected,
                () = until_closing(&mut closing) => return self.end_unconnected().await,
            };
            let cause = match connected {
                Ok(connection) => {
                    let connected = Instant::now();
                    match self.serve(connection).await {
                        Ok(()) => return self.end(None),
                        Err(cause) => {
                            patience = FIRST_PATIENCE.min(longest_patience);
                            // A server that greets and then cuts is not tried ever faster.
                            if connected.elapsed() > LONGEST_PAUSE {
                                pause = FIRST_PAUSE;
                            }
                            cause
                        }
                    }
                }
                Err(cause) => {
                    patience = (patience * 2).min(longest_patience);
                    cause
                }
            };
            if is_closing(&closing) {
                return self.end_unconnected().await;
            }
            self.go_down(cause);
            tokio::select! {
                () = sleep(pause) => {}
                () = until_closing(&mut closing) => return self.end_unconnected().await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, loads what misses, and greets.
    async fn connect(&mut self, patience: Duration) -> Result<Connection, Cause> {
        let mut connection = self.target.connect(&self.keys, &self.tickets, patience).await?;
        // Before hello: until then the server may take the old connection for the listener.
        connection.subscribe(&self.keys.wake(&self.client)).await?;
        self.greet(&mut connection).await?;
        if std::mem::take(&mut self.told) {
            tracing::info!(host = %self.target.host, "connected again");
        }
        Ok(connection)
    }

    /// Gives the server the scripts it misses and a new generation, and asks for all open tickets; then others may
    /// use the connection.
    async fn greet(&mut self, connection: &mut Connection) -> Result<(), Cause> {
        for _ in 0..MOST_TRIES {
            match connection.load_missing_scripts().await {
                Ok(()) => {}
                Err(Failure::NoScript) => continue,
                Err(Failure::Other(cause)) => return Err(cause),
            }
            self.generation += 1;
            let hello = Hello {
                client: &self.client,
                generation: self.generation,
                lease_ms: milliseconds(self.lease),
            };
            let asked = Moment::now();
            match connection.call(&hello).await {
                Ok(HelloReply::Welcome { now_ms, known }) => {
                    if !self.clock.learn(asked, now_ms) && self.clock.is_needed() {
                        self.read_clock(connection).await?;
                    }
                    if !known && self.generation > 1 {
                        tracing::warn!(host = %self.target.host, "the server has lost its data");
                    }
                }
                Ok(HelloReply::Stale { generation }) => {
                    self.generation = self.generation.max(generation);
                    continue;
                }
                Ok(HelloReply::Schema { schema }) => {
                    return Err(Cause::new(
                        ErrorKind::Schema,
                        format!(
                            "server {} holds data of schema {schema} under prefix {:?}, this version reads and writes {SCHEMA}; use another prefix or another version",
                            self.target.host,
                            self.keys.prefix()
                        ),
                    ));
                }
                Err(Failure::NoScript) => continue,
                Err(Failure::Other(cause)) => return Err(cause),
            }
            connection.generation = self.generation;
            self.tickets.ask_again(self.target.shard);
            if let Said::Done = self.say_all(connection).await? {
                self.epoch += 1;
                connection.epoch = self.epoch;
                self.status.send_replace(Status::Up(connection.clone()));
                return Ok(());
            }
        }
        Err(Cause::new(
            ErrorKind::Connection,
            format!("server {} forgot this client {MOST_TRIES} times in a row", self.target.host),
        ))
    }

    /// Passes on what receivers ask until the connection breaks or the layer is closed.
    async fn serve(&mut self, mut connection: Connection) -> Result<(), Cause> {
        let something_to_say = self.tickets.something_to_say(self.target.shard);
        let mut wanted = self.wanted.clone();
        let mut closing = self.closing.clone();
        let period = self.lease / 3;
        let mut beat = interval_at(Instant::now() + period, period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                () = something_to_say.notified() => self.say_all(&connection).await?,
                _ = beat.tick() => self.beat(&mut connection).await?,
                () = until_wanted(&mut wanted, connection.epoch) => Said::Forgotten,
                () = connection.broken() => {
                    return Err(Cause::new(
                        ErrorKind::Connection,
                        format!("the connection to server {} broke", self.target.host),
                    ));
                }
                () = until_closing(&mut closing) => return self.farewell(&mut connection).await,
            };
            if let Said::Forgotten = said {
                self.greet(&mut connection).await?;
            }
        }
    }

    /// Renews the lease, and asks again for all that is open: a push may have been lost on its way.
    async fn beat(&self, connection: &mut Connection) -> Result<Said, Cause> {
        if self.clock.is_needed() {
            self.read_clock(connection).await?;
        }
        self.tickets.ask_again(self.target.shard);
        let call = self.tickets.next_call(self.target.shard).unwrap_or_default();
        match self.say(connection, &call, self.lease).await? {
            Said::Done => self.say_all(connection).await,
            Said::Forgotten => Ok(Said::Forgotten),
        }
    }

    /// Clocks drift apart, and that of the server may be set.
    async fn read_clock(&self, connection: &mut Connection) -> Result<(), Cause> {
        let asked = Moment::now();
        match connection.time().await {
            Ok(now_ms) if self.clock.learn(asked, now_ms) => {}
            Ok(_) => tracing::debug!(host = %self.target.host, "the server's time came too late to rely on"),
            Err(Failure::Other(cause)) if cause.is_outage() => return Err(cause),
            Err(_) => tracing::debug!(host = %self.target.host, "the server did not tell its time"),
        }
        Ok(())
    }

    /// Passes on what there was when it began: a program that goes on opening tickets does not keep the task from all else.
    async fn say_all(&self, connection: &Connection) -> Result<Said, Cause> {
        let newest = self.tickets.newest();
        while let Some(call) = self.tickets.next_call(self.target.shard) {
            if let Said::Forgotten = self.say(connection, &call, self.lease).await? {
                return Ok(Said::Forgotten);
            }
            if call.open.last().is_some_and(|open| open.ticket > newest) {
                break;
            }
        }
        Ok(Said::Done)
    }

    async fn say(&self, connection: &Connection, call: &NextCall, lease: Duration) -> Result<Said, Cause> {
        let pop = Pop {
            client: &self.client,
            generation: connection.generation,
            lease_ms: milliseconds(lease),
            finished: &call.finished,
            open: &call.open,
        };
        match connection.call(&pop).await {
            Ok(PopReply::Ok { served, given }) => {
                let failed = |text: &str| refusal(&self.target.host, Some(&script::POP), text).to_error();
                self.tickets.answered(self.target.shard, call, served, given, failed);
                Ok(Said::Done)
            }
            Ok(PopReply::Stale) | Err(Failure::NoScript) => Ok(Said::Forgotten),
            Err(Failure::Other(cause)) => {
                if !cause.is_outage() {
                    self.tickets.failed(call, || cause.to_error());
                }
                // What is finished was not heard: it is said again on the next connection, with a pause before it.
                Err(cause)
            }
        }
    }

    /// Gives back what is in flight and ends the lease.
    async fn farewell(&mut self, connection: &mut Connection) -> Result<(), Cause> {
        self.tickets.close();
        for _ in 0..MOST_TRIES {
            let mut said = self.say_all(connection).await?;
            if let Said::Done = said {
                said = self.say(connection, &NextCall::default(), Duration::ZERO).await?;
            }
            match said {
                Said::Done => return Ok(()),
                Said::Forgotten => self.greet(connection).await?,
            }
        }
        Ok(())
    }

    /// Closed without a connection: tries once more, if the server still has something of ours.
    async fn end_unconnected(&mut self) {
        self.tickets.close();
        if !self.tickets.owes(self.target.shard) {
            return self.end(None);
        }
        let told = match self.connect(self.target.connect_timeout).await {
            Ok(mut connection) => self.farewell(&mut connection).await,
            Err(cause) => Err(cause),
        };
        self.end(told.err());
    }

    fn go_down(&mut self, cause: Cause) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(host = %self.target.host, cause = cause.message, "lost a server; connecting again");
        }
        self.tickets.unreachable(self.target.shard, || cause.not_executed().to_error());
        self.status.send_replace(Status::Down(cause));
    }

    fn end(&self, cause: Option<Cause>) {
        self.tickets.close();
        self.status.send_replace(Status::Closed(cause));
    }
}

impl Drop for Task {
    /// A task that its runtime dropped leaves nobody waiting.
    fn drop(&mut self) {
        if !matches!(*self.status.borrow(), Status::Closed(_)) {
            self.tickets.end(runtime_ended);
            let cause = Cause::new(ErrorKind::Closed, runtime_ended().to_string());
            self.status.send_replace(Status::Closed(Some(cause)));
        }
    }
}

fn is_closing(closing: &watch::Receiver<bool>) -> bool {
    closing.has_changed().is_err() || *closing.borrow()
}

/// Waits until somebody wants a later epoch.
async fn until_wanted(wanted: &mut watch::Receiver<u64>, epoch: u64) {
    if wanted.wait_for(|wanted| *wanted > epoch).await.is_err() {
        // The layer was dropped, which is seen elsewhere.
        std::future::pending::<()>().await;
    }
}

/// Waits until the layer is closed, or dropped.
async fn until_closing(closing: &mut watch::Receiver<bool>) {
    // An error says that the other end was dropped.
    let _ = closing.wait_for(|closing| *closing).await;
}
