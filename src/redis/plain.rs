//! A second connection to a server, which subscribes to nothing: what is large comes over it.
//!
//! A server bounds what it keeps for a connection that listens (`client-output-buffer-limit pubsub`), replies too, and cuts one that
//! has more. So large replies come here. The connection is made when it is needed, and closed when it has been idle for a
//! while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use super::calls::Call;
use super::connection::Connection;
use super::failure::Failure;
use super::keys::Keys;
use super::receive::Tickets;
use super::server::Server;

/// Makes calls whose replies may be large.
#[derive(Debug)]
pub(super) struct Plain {
    server: Arc<Server>,
    keys: Keys,
    tickets: Arc<Tickets>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    connection: Option<Connection>,
    /// Whether it was used since it was last looked at.
    is_used: bool,
}

impl Plain {
    pub(super) fn new(server: Arc<Server>, keys: Keys, tickets: Arc<Tickets>) -> Self {
        Self { server, keys, tickets, kept: Mutex::default() }
    }

    /// Makes a call. One round trip, and some more where the connection is to be made first.
    ///
    /// If the future is dropped the call may be executed all the same.
    pub(super) async fn call<C: Call>(&self, call: &C) -> Result<C::Reply, Failure> {
        let connection = self.connection().await?;
        let outcome = connection.call(call).await;
        if outcome.as_ref().is_err_and(Failure::is_outage) {
            self.close();
        }
        outcome
    }

    /// Closes the connection, if there is one. What is under way on it still comes.
    pub(super) fn close(&self) {
        self.lock().connection = None;
    }

    /// Closes the connection if nobody used it since this was called last.
    pub(super) fn close_if_idle(&self) {
        let mut kept = self.lock();
        if !std::mem::take(&mut kept.is_used) {
            kept.connection = None;
        }
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        if let Some(connection) = self.kept()
            && connection.broken().now_or_never().is_none()
        {
            return Ok(connection);
        }
        let settings = self.server.log_in().await?;
        let connection = self.server.in_time(self.server.open(&settings, &self.keys, &self.tickets)).await?;
        let mut kept = self.lock();
        kept.is_used = true;
        kept.connection = Some(connection.clone());
        Ok(connection)
    }

    fn kept(&self) -> Option<Connection> {
        let mut kept = self.lock();
        kept.is_used |= kept.connection.is_some();
        kept.connection.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code that holds the lock can panic halfway through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
