//! Requests to end: Ctrl-C, a polite kill, and a terminal that was closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::{Failure, Status};

/// From its making on, these signals no longer end the process by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Status::Failed, format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Status {
        tokio::select! {
            _ = self.hangup.recv() => Status::Interrupted(1),
            _ = self.interrupt.recv() => Status::Interrupted(2),
            _ = self.terminate.recv() => Status::Interrupted(15),
        }
    }
}
