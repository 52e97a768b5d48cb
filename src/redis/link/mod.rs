//! The link to one shard: what others hold of its connection, and the task that keeps it connected.
//!
//! On a new connection the task subscribes to the wake channel, then calls hello, then asks for all open tickets; only
//! then do others get the connection, so nothing is written before.

mod backoff;
mod eviction;
mod fetch;
mod role;
mod status;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::status::Status;
pub(super) use self::task::MAX_TRIES;
use self::task::Task;
use super::clock::ShardClock;
use super::connection::Connection;
use super::failure::Failure;
use super::keys::{ClientId, Keys};
use super::plain::Plain;
use super::receive::Tickets;
use super::server::Server;
use super::twins::Twins;
use crate::error::{ErrorKind, Result};
use crate::layer::refusals::runtime_ended;

/// What the rest of the layer holds of a shard's connection. Dropping it ends the task, which first gives back what
/// was in flight.
#[derive(Debug)]
pub(super) struct Link {
    client: ClientId,
    status: watch::Receiver<Status>,
    /// The epoch that those wait for whom the server had forgotten.
    wanted: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    plain: Arc<Plain>,
}

impl Link {
    /// Starts the task.
    pub(super) fn start(
        server: Server,
        keys: Keys,
        tickets: Arc<Tickets>,
        lease: Duration,
        clock: Arc<ShardClock>,
        twins: Arc<Twins>,
    ) -> Result<Self> {
        let client = ClientId::random()?;
        let (status, status_seen) = watch::channel(Status::Connecting);
        let (closing, closing_seen) = watch::channel(false);
        let (wanted, wanted_seen) = watch::channel(0);
        let server = Arc::new(server);
        let plain = Arc::new(Plain::new(Arc::clone(&server), keys.clone(), Arc::clone(&tickets)));
        let task = Task {
            server,
            plain: Arc::clone(&plain),
            keys,
            client: client.clone(),
            tickets,
            lease,
            clock,
            twins,
            status,
            wanted: wanted_seen,
            closing: closing_seen,
            generation: 0,
            greeted: Instant::now(),
            epoch: 0,
            told: None,
            is_compared: false,
            is_first_attempt: true,
            connections: 0,
            end_broken: None,
        };
        tokio::spawn(task.run());
        Ok(Self { client, status: status_seen, wanted, closing, plain })
    }

    /// What this process calls itself on the shard.
    pub(super) fn client(&self) -> &ClientId {
        &self.client
    }

    /// What makes calls whose replies may be large.
    pub(super) fn plain(&self) -> &Plain {
        &self.plain
    }

    /// The connection, or at once why there is none.
    pub(super) fn connection(&self) -> Result<Connection, Failure> {
        self.status.borrow().connection()
    }

    /// From when on the server counts as silent if no answer comes; nothing if it owes none, or is not connected.
    pub(super) fn silent_from(&self) -> Option<Instant> {
        match &*self.status.borrow() {
            Status::Up(connection) => connection.answers().silent_from(),
            _ => None,
        }
    }

    /// The connection, once the first attempt to connect has ended.
    pub(super) async fn first_connection(&self) -> Result<Connection, Failure> {
        self.wait_for(|status| !matches!(status, Status::Connecting)).await
    }

    /// The connection after the server was given anew what it did not have in an epoch.
    pub(super) async fn healed_since(&self, epoch: u64) -> Result<Connection, Failure> {
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
    pub(super) async fn up_since(&self, epoch: u64) -> Result<Connection, Failure> {
        self.wait_for(|status| match status {
            Status::Up(connection) => connection.epoch > epoch,
            Status::Connecting | Status::Down(_) => false,
            Status::Closed(_) => true,
        })
        .await
    }

    /// Waits until the server is not connected; returns why.
    pub(super) async fn went_down(&self) -> Failure {
        let is_down = |status: &Status| matches!(status, Status::Down(_) | Status::Closed(_));
        loop {
            if let Err(failure) = self.wait_for(is_down).await {
                return failure;
            }
        }
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
                Ok(Status::Closed(Some(failure))) if failure.kind != ErrorKind::Closed => {
                    Err(failure.to_error())
                }
                _ => Ok(()),
            }
        }
    }

    async fn wait_for(&self, wanted: impl FnMut(&Status) -> bool) -> Result<Connection, Failure> {
        let mut status = self.status.clone();
        match status.wait_for(wanted).await {
            Ok(status) => status.connection(),
            Err(_) => Err(runtime_ended().into()),
        }
    }
}
