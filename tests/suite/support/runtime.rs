//! The fixture's own runtime: containers and proxies go on while a test's runtime is blocked or gone.

use std::panic::resume_unwind;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).thread_name("fixture").enable_all().build().unwrap()
});

/// Runs a future to its end, from any thread.
///
/// A thread of its own waits for it, because `block_on` panics on a thread that drives another runtime.
pub(super) fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    std::thread::scope(|scope| {
        scope.spawn(|| RUNTIME.block_on(future)).join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Runs a future in the background.
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    RUNTIME.spawn(future)
}
