//! The task itself: it connects, greets, passes on what receivers ask, beats, and begins again when the connection
//! breaks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::backoff::{self, Backoff};
use super::eviction;
use super::fetch::Fetcher;
use super::status::Status;
use crate::error::ErrorKind;
use crate::events::Event;
use crate::layer::refusals::runtime_ended;
use crate::redis::attempts::first_to_end;
use crate::redis::calls::{ClientTickets, Given, Hello, HelloReply, Lease, Outcome, Pop, PopReply};
use crate::redis::clock::ShardClock;
use crate::redis::connection::{Connection, End};
use crate::redis::failure::Failure;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::milliseconds::milliseconds;
use crate::redis::plain::Plain;
use crate::redis::receive::{NextCall, Tickets};
use crate::redis::refusal::Asked;
use crate::redis::script;
use crate::redis::server::Server;
use crate::redis::twins::Twins;

/// How often in a row a server may answer that it forgot us, or our scripts, before that counts as a fault.
pub(in crate::redis) const MAX_TRIES: usize = 5;

/// The pause between two greetings that the server asks for.
const BETWEEN_GREETINGS: Duration = Duration::from_millis(500);

pub(super) struct Task {
    pub(super) server: Arc<Server>,
    pub(super) plain: Arc<Plain>,
    pub(super) keys: Keys,
    pub(super) client: ClientId,
    pub(super) tickets: Arc<Tickets>,
    pub(super) lease: Duration,
    pub(super) clock: Arc<ShardClock>,
    pub(super) twins: Arc<Twins>,
    pub(super) status: watch::Sender<Status>,
    pub(super) wanted: watch::Receiver<u64>,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) generation: u64,
    /// When it said hello last.
    pub(super) greeted: Instant,
    pub(super) epoch: u64,
    /// The outage that was told.
    pub(super) told: Option<ErrorKind>,
    /// Whether the server of this connection is known not to be that of another shard.
    pub(super) is_compared: bool,
    pub(super) is_first_attempt: bool,
    /// How many connections there were.
    pub(super) connections: u64,
    /// Ends the last connection, which broke.
    pub(super) end_broken: Option<End>,
}

impl Task {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut closing = self.closing.clone();
        loop {
            let connected = tokio::select! {
                connected = self.connect() => connected,
                () = until_closing(&mut closing) => return self.end_unconnected().await,
            };
            self.is_first_attempt = false;
            let failure = match connected {
                Ok(connection) => {
                    let connected = Instant::now();
                    let end = connection.end();
                    match self.serve(connection).await {
                        Ok(()) => return self.end(None),
                        Err(failure) => {
                            self.end_broken = Some(end);
                            // A server that greets and then cuts is not tried ever faster.
                            if connected.elapsed() > backoff::LONGEST {
                                backoff.reset();
                            }
                            failure
                        }
                    }
                }
                Err(failure) => failure,
            };
            if is_closing(&closing) {
                return self.end_unconnected().await;
            }
            self.go_down(failure);
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                () = until_closing(&mut closing) => return self.end_unconnected().await,
            }
        }
    }

    /// Connects, loads what misses, and greets.
    async fn connect(&mut self) -> Result<Connection, Failure> {
        let mut connection = first_to_end(|| self.reach()).await?;
        self.is_compared = false;
        self.connections += 1;
        self.greet(&mut connection).await?;
        // Whoever asked on the last connection after it had fallen silent would wait for the whole time of an answer. A server
        // that answers here answers nothing there any more.
        if let Some(end) = self.end_broken.take() {
            end.now();
        }
        if self.told.take().is_some() {
            tracing::info!(host = %self.server.host, "connected again");
        }
        // Whoever made the layer knows of the first attempt.
        if !self.is_first_attempt {
            let (host, is_first) = (Arc::clone(&self.server.host), self.epoch == 1);
            self.server
                .events
                .tell(|| if is_first { Event::Connected { host } } else { Event::Back { host } });
        }
        Ok(connection)
    }

    /// Gives the server the scripts it misses and a new generation, and asks for all open tickets; then others may
    /// use the connection.
    async fn greet(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        for _ in 0..MAX_TRIES {
            match connection.load_missing_scripts().await {
                Ok(()) => {}
                Err(failure) if failure.is_forgotten => continue,
                Err(failure) => return Err(failure),
            }
            self.generation += 1;
            let hello = Hello {
                client: &self.client,
                generation: self.generation,
                lease_ms: milliseconds(self.lease),
            };
            let asked = Instant::now();
            match connection.call(&hello).await {
                Ok(HelloReply::Welcome { now_ms, known }) => {
                    self.compare(connection).await?;
                    if !self.clock.learn(asked, now_ms) && self.clock.is_needed() {
                        self.read_clock(connection).await?;
                    }
                    if !known && self.generation > 1 {
                        tracing::warn!(host = %self.server.host, "the server has lost its data");
                        self.server.events.tell(|| Event::DataLost { host: Arc::clone(&self.server.host) });
                    }
                }
                Ok(HelloReply::Stale { generation }) => {
                    self.generation = self.generation.max(generation);
                    continue;
                }
                Ok(HelloReply::Schema { schema }) => {
                    return Err(Failure::new(
                        ErrorKind::Schema,
                        format!(
                            "server {} holds data of schema {schema} under prefix {:?}, this version reads and writes {}; use another prefix or another version",
                            self.server.host,
                            self.keys.prefix(),
                            script::SCHEMA
                        ),
                    ));
                }
                Err(failure) if failure.is_forgotten => continue,
                Err(failure) => return Err(failure),
            }
            connection.generation = self.generation;
            self.greeted = Instant::now();
            self.tickets.ask_again(self.server.shard);
            let mut said = self.say_all(connection).await;
            if said.is_ok() && self.generation > 1 {
                said = self.finish_unknown(connection).await;
            }
            match said {
                Ok(()) => {
                    self.epoch += 1;
                    connection.epoch = self.epoch;
                    self.status.send_replace(Status::Up(connection.clone()));
                    return Ok(());
                }
                Err(failure) if failure.is_forgotten => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(
            ErrorKind::Connection,
            format!("server {} forgot this client {MAX_TRIES} times in a row", self.server.host),
        ))
    }

    /// Finishes the tickets that the server knows and this process does not: an older state of the server may have come back.
    async fn finish_unknown(&self, connection: &Connection) -> Result<(), Failure> {
        let mut cursor = "0".to_owned();
        loop {
            let (client, generation) = (&self.client, connection.generation);
            let listed = connection.call(&ClientTickets { client, generation, cursor: &cursor }).await?;
            self.tickets.recorded(self.server.shard, &listed.tickets);
            match listed.next {
                Some(next) => cursor = next,
                None => return self.say_all(connection).await,
            }
        }
    }

    /// Passes on what receivers ask until the connection breaks or the layer is closed.
    async fn serve(&mut self, mut connection: Connection) -> Result<(), Failure> {
        let something_to_say = self.tickets.something_to_say(self.server.shard)?;
        let mut wanted = self.wanted.clone();
        let mut closing = self.closing.clone();
        let mut policy = pin!(eviction::policy(connection.clone(), self.client.clone()).fuse());
        let mut fetching = pin!(self.fetcher().run(connection.generation));
        let mut evicts = false;
        let mut often = interval_at(Instant::now() + eviction::ASK_AGAIN, eviction::ASK_AGAIN);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let period = self.lease / 3;
        let mut beat = interval_at(Instant::now() + period, period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                () = something_to_say.notified() => self.say_all(&connection).await,
                _ = beat.tick() => self.beat(&connection).await,
                () = until_wanted(&mut wanted, connection.epoch) => Err(Failure::forgotten(&self.server.host)),
                () = self.outlived(&connection) => Err(Failure::forgotten(&self.server.host)),
                Some(policy) = &mut policy => {
                    evicts = true;
                    often.reset();
                    if self.connections == 1 {
                        eviction::warn_of(&policy, &self.server.host);
                    }
                    continue;
                }
                failure = &mut fetching => Err(failure),
                _ = often.tick(), if evicts => {
                    self.tickets.ask_again(self.server.shard);
                    self.say_all(&connection).await
                }
                () = connection.broken() => Err(Failure::new(
                    ErrorKind::Connection,
                    format!("the connection to server {} broke", self.server.host),
                )),
                () = until_closing(&mut closing) => return self.farewell(&mut connection).await,
            };
            match said {
                Ok(()) => {}
                Err(failure) if failure.is_forgotten => {
                    self.greet(&mut connection).await?;
                    fetching.set(self.fetcher().run(connection.generation));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher {
            shard: self.server.shard,
            host: Arc::clone(&self.server.host),
            client: self.client.clone(),
            tickets: Arc::clone(&self.tickets),
            plain: Arc::clone(&self.plain),
        }
    }

    /// Waits until the server takes our lease for over. One that does so at every hello is not greeted without pause.
    async fn outlived(&self, connection: &Connection) {
        connection.outlived().await;
        sleep_until(self.greeted + BETWEEN_GREETINGS).await;
    }

    /// Renews the lease, and asks again for all that is open: a push may have been lost on its way.
    async fn beat(&self, connection: &Connection) -> Result<(), Failure> {
        if self.clock.is_needed() {
            self.read_clock(connection).await?;
        }
        self.plain.close_if_idle();
        self.tickets.ask_again(self.server.shard);
        // A call with nothing in it renews the lease too.
        let call = self.tickets.next_call(self.server.shard).unwrap_or_default();
        self.say(connection, &call, Lease::Lasts(self.lease)).await?;
        self.say_all(connection).await
    }

    /// Clocks drift apart, and that of the server may be set.
    async fn read_clock(&self, connection: &Connection) -> Result<(), Failure> {
        let asked = Instant::now();
        match connection.time().await {
            Ok(now_ms) if self.clock.learn(asked, now_ms) => {}
            Ok(_) => tracing::debug!(host = %self.server.host, "the server's time came too late to rely on"),
            Err(failure) if failure.is_outage() => return Err(failure),
            Err(_) => tracing::debug!(host = %self.server.host, "the server did not tell its time"),
        }
        Ok(())
    }

    /// Passes on what there was when it began: a program that goes on opening tickets does not keep the task from all else.
    async fn say_all(&self, connection: &Connection) -> Result<(), Failure> {
        let newest = self.tickets.newest();
        while let Some(call) = self.tickets.next_call(self.server.shard) {
            self.say(connection, &call, Lease::Lasts(self.lease)).await?;
            if call.open.last().is_some_and(|open| open.ticket > newest) {
                break;
            }
        }
        Ok(())
    }

    async fn say(&self, connection: &Connection, call: &NextCall, lease: Lease) -> Result<(), Failure> {
        let pop = Pop {
            client: &self.client,
            generation: connection.generation,
            lease,
            finished: &call.finished,
            open: &call.open,
        };
        match connection.call(&pop).await {
            Ok(PopReply { given, .. }) if !is_asked_for(&given, call) => Err(Failure::new(
                ErrorKind::Script,
                format!("server {} gave what no ticket of the call asks for", self.server.host),
            )),
            Ok(PopReply { served, given }) => {
                let asked = Asked { host: &self.server.host, prefix: self.keys.prefix() };
                let failed = |text: &str| asked.refusal(Some(&script::POP), text).to_error();
                self.tickets.answered(self.server.shard, call, served, given, failed);
                if served == 0 && !call.open.is_empty() {
                    // It dropped as many expired entries as one call may, or it talks nonsense: neither is asked without pause.
                    sleep(backoff::AFTER_NONE).await;
                }
                Ok(())
            }
            Err(failure) => {
                let open = call.open.iter().map(|open| open.ticket);
                if failure.kind == ErrorKind::Rights {
                    self.tickets.denied(self.server.shard, open, || failure.to_error());
                } else if !failure.is_forgotten && !failure.is_outage() {
                    self.tickets.failed(open, || failure.to_error());
                }
                // What is finished was not heard: it is said again on the next connection, with a pause before it.
                Err(failure)
            }
        }
    }

    /// Gives back what is in flight and ends the lease.
    async fn farewell(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        self.tickets.close();
        for _ in 0..MAX_TRIES {
            let mut said = self.say_all(connection).await;
            if said.is_ok() {
                // On its first connection nothing of an earlier one can come late, and with all answers here nothing of
                // this one.
                let is_done = self.connections == 1 && !connection.answers().are_owed();
                let lease = if is_done { Lease::Forget } else { Lease::End };
                said = self.say(connection, &NextCall::default(), lease).await;
            }
            match said {
                Err(failure) if failure.is_forgotten => self.greet(connection).await?,
                said => return said,
            }
        }
        Ok(())
    }

    /// Closed without a connection: tries once more, if the server still has something of ours.
    async fn end_unconnected(&mut self) {
        self.tickets.close();
        if !self.tickets.owes(self.server.shard) {
            return self.end(None);
        }
        let told = match self.connect().await {
            Ok(mut connection) => self.farewell(&mut connection).await,
            Err(failure) => Err(failure),
        };
        self.end(told.err());
    }

    fn go_down(&mut self, failure: Failure) {
        // Whether it is silent or not there changes from try to try.
        let kind = match failure.kind {
            ErrorKind::Timeout => ErrorKind::Connection,
            kind => kind,
        };
        let told = self.told.replace(kind);
        if told != Some(kind) {
            self.server.events.tell(|| {
                let (host, reason) = (Arc::clone(&self.server.host), failure.message.as_str().into());
                match told {
                    None => Event::Lost { host, kind, reason },
                    Some(_) => Event::StillLost { host, kind, reason },
                }
            });
        }
        match told {
            None => {
                tracing::warn!(host = %self.server.host, cause = failure.message, "lost a server; connecting again");
            }
            Some(told) if told != kind => {
                tracing::warn!(host = %self.server.host, cause = failure.message, "a server is not back; trying on");
            }
            Some(_) => {}
        }
        self.plain.close();
        self.twins.go_down(self.server.shard);
        self.tickets.unreachable(self.server.shard, || failure.not_executed().to_error());
        self.status.send_replace(Status::Down(failure));
    }

    fn end(&self, failure: Option<Failure>) {
        self.plain.close();
        self.twins.go_down(self.server.shard);
        self.tickets.close();
        self.status.send_replace(Status::Closed(failure));
    }
}

impl Drop for Task {
    /// A task that its runtime dropped leaves nobody waiting.
    fn drop(&mut self) {
        if !matches!(*self.status.borrow(), Status::Closed(_)) {
            self.tickets.end(runtime_ended);
            let failure = Failure::new(ErrorKind::Closed, runtime_ended().to_string());
            self.status.send_replace(Status::Closed(Some(failure)));
        }
    }
}

/// Whether a server gave only what tickets of a call ask for, in their order.
fn is_asked_for(given: &[Given], call: &NextCall) -> bool {
    let mut open = call.open.iter();
    given.iter().all(|given| {
        let Some(open) = open.find(|open| open.ticket == given.ticket) else { return false };
        let queue = match &given.outcome {
            Outcome::Handed(handed) => &handed.queue,
            Outcome::Announced(queue) => queue,
            Outcome::Failed(_) => return true,
        };
        open.channels.iter().any(|channel| channel.queue() == queue)
    })
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
