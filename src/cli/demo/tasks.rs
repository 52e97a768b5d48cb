//! How a task of the demo ends.

use asgi_redis::Error;
use tokio::task::JoinError;

use crate::cli::outcome::Failure;

/// Returns the outcome of a task. A task that was aborted has none, and a panic continues here.
pub(super) fn outcome(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(ended) => Ok(ended?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(()),
        },
    }
}
