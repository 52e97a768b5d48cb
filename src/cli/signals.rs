//! Requests to end: Ctrl-C, a polite kill, and a terminal that was closed.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::{Failure, Status};

/// From its making on, these signals no longer end the process by themselves.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(u8, Signal)>);

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        let wanted = [(1, SignalKind::hangup()), (2, SignalKind::interrupt()), (15, SignalKind::terminate())];
        let listening = wanted.into_iter().filter(|(number, _)| ignored & (1 << (number - 1)) == 0).map(
            |(number, kind)| {
                signal(kind).map(|signal| (number, signal)).map_err(|error| {
                    Failure::new(Status::Failed, format!("cannot listen for signals: {error}"))
                })
            },
        );
        listening.collect::<Result<_, _>>().map(Self)
    }

    /// Waits for the next of them. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Status {
        poll_fn(|context| {
            let came = self.0.iter_mut().find_map(|(number, signal)| {
                signal.poll_recv(context).is_ready().then_some(Status::Interrupted(*number))
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Returns the signals that this process was started to ignore, as by `nohup`, one bit each. Only Linux shows them; elsewhere
/// no signal counts as ignored.
fn ignored() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
