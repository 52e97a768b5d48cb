//! The Tokio runtimes of a call: a call outside of a runtime ends with an error, and so does a call that waits for tasks of
//! the layer which no runtime runs any more.
//!
//! The tasks of a layer run in the runtime in which it was connected. A program may call the layer from another runtime. If
//! the first one has shut down, or is a current-thread runtime that nobody drives, these tasks make no progress.

use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::refusals::{current_runtime, runtime_ended};

/// How long a call may take before the runtime is probed, and the pause between two probes.
const PAUSE: Duration = Duration::from_secs(1);

/// Refuses a call outside of a Tokio runtime, where timers and sockets would panic.
pub(super) fn check_runtime() -> Result<()> {
    current_runtime("a call of a layer is made").map(drop)
}

/// Runs a call that waits for tasks of the layer, and returns its outcome. Returns the outer error if the runtime of these
/// tasks has shut down or does not run them: a task that is given to it then does not start in time.
///
/// Costs nothing within the runtime of the layer, because a call that runs there shows that somebody drives it. Outside of
/// any runtime there are no timers, so there the call is not watched.
///
/// The call is pinned by the caller, because a future that was moved in here would stand in the caller's future twice.
pub(super) async fn watched<T>(
    runtime: &Handle,
    patience: Duration,
    call: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<Result<T>> {
    if Handle::try_current().map_or(true, |here| here.id() == runtime.id()) {
        return Ok(call.await);
    }
    // Boxed, so that the others do not carry its timers.
    Box::pin(watched_from_outside(runtime, patience, call)).await
}

async fn watched_from_outside<T>(
    runtime: &Handle,
    patience: Duration,
    call: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<Result<T>> {
    let done = tokio::select! {
        biased;
        done = call => done,
        error = standstill(runtime, patience) => return Err(error),
    };
    // A server seems silent too while nobody runs the task that reads its answers.
    if done.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Connection)) {
        probe(runtime, PAUSE).await?;
    }
    Ok(done)
}

/// Returns when the runtime runs no tasks, with the error that tells why.
async fn standstill(runtime: &Handle, patience: Duration) -> Error {
    loop {
        sleep(PAUSE).await;
        if let Err(error) = probe(runtime, patience).await {
            return error;
        }
    }
}

/// Gives the runtime a task, and fails unless it ends within `patience`.
async fn probe(runtime: &Handle, patience: Duration) -> Result<()> {
    let mut task = runtime.spawn(async {});
    // Waits twice: if this thread itself was blocked or frozen, the first wait is over before the task could run.
    let mut answer = timeout(patience / 2, &mut task).await;
    if answer.is_err() {
        answer = timeout(patience / 2, &mut task).await;
    }
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(runtime_ended()),
        Err(_) => Err(not_driven()),
    }
}

fn not_driven() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "nobody drives the Tokio runtime in which this layer was connected, so its tasks make no progress; keep `block_on` \
         running there, use a multi-thread runtime, or connect a layer in each runtime",
    )
}
