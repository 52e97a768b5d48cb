//! Whether a shard can be asked, as its task tells all who hold the link.

use crate::error::ErrorKind;
use crate::layer::refusals::closed;
use crate::redis::connection::Connection;
use crate::redis::failure::Failure;

/// Whether a shard can be asked.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Connecting,
    Up(Connection),
    Down(Failure),
    /// Ended; with why the server could not be told.
    Closed(Option<Failure>),
}

impl Status {
    /// The connection, or why there is none.
    pub(super) fn connection(&self) -> Result<Connection, Failure> {
        match self {
            Self::Up(connection) => Ok(connection.clone()),
            Self::Down(failure) => Err(failure.not_executed()),
            Self::Connecting => Err(Failure::new(ErrorKind::Connection, "the server is not connected yet")),
            Self::Closed(Some(failure)) if failure.kind == ErrorKind::Closed => Err(failure.clone()),
            Self::Closed(_) => Err(closed().into()),
        }
    }
}
