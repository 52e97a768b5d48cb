//! Random numbers.

use asgi_redis::{Error, ErrorKind};

/// Returns a random number.
pub(super) fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Internal, "the system gives no random numbers, which the demo needs")
            .with_source(error)
    })
}

/// Returns a random number below another one, which is not zero.
pub(super) fn random_below(end: usize) -> Result<usize, Error> {
    let number = random()? % (end as u64);
    usize::try_from(number).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}
