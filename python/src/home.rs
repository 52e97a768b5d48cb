//! The runtime in which all layers of this process live, and what becomes of it when the process forks.
//!
//! A child of a fork has none of the runtime's threads, and a lock may be held for ever by one of them. So the child leaves
//! the runtime behind, and with it whatever lived there: [`Owned`] forgets in place of dropping.

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use asgi_redis::HeldDescriptors;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::task::JoinHandle;

use crate::core::Inner;

/// How often the process has forked on its way here.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// Taken by those who hold the GIL, so no fork happens meanwhile.
static HOME: Mutex<Option<&'static Home>> = Mutex::new(None);

thread_local! {
    static HELD: RefCell<Option<HeldDescriptors>> = const { RefCell::new(None) };
}

/// The runtime of this process.
pub(crate) struct Home {
    runtime: Runtime,
    generation: u64,
    /// The layers that were made here, to be closed when the process ends.
    layers: Mutex<Vec<Weak<Inner>>>,
}

impl Home {
    /// Returns the runtime of this process, which begins with the first layer that is used.
    pub(crate) fn here() -> PyResult<&'static Self> {
        let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = *home {
            return Ok(home);
        }
        // One thread: it reads the sockets and wakes the loops, which do the rest.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("asgi-redis")
            .enable_all()
            .build()
            .map_err(|error| PyOSError::new_err(format!("no thread for channel layers: {error}")))?;
        let made: &'static Self = Box::leak(Box::new(Self {
            runtime,
            generation: GENERATION.load(Ordering::Relaxed),
            layers: Mutex::default(),
        }));
        *home = Some(made);
        Ok(made)
    }

    /// Whether this process is the one in which it was made, and not a child of it.
    pub(crate) fn is_here(&self) -> bool {
        self.generation == GENERATION.load(Ordering::Relaxed)
    }

    /// Where futures and layers are polled and dropped, their timers and sockets are those of this runtime.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    pub(crate) fn remember(&self, layer: Weak<Inner>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.retain(|layer| layer.strong_count() > 0);
        layers.push(layer);
    }
}

/// Something that lives in a runtime: dropped there, or left behind by the child of a fork.
pub(crate) struct Owned<T> {
    value: Option<T>,
    home: &'static Home,
}

impl<T> Owned<T> {
    pub(crate) fn new(home: &'static Home, value: T) -> Self {
        Self { value: Some(value), home }
    }

    pub(crate) fn home(&self) -> &'static Home {
        self.home
    }

    /// Returns the value, unless this is a child of the process in which it was made.
    pub(crate) fn get(&mut self) -> Option<&mut T> {
        if self.home.is_here() { self.value.as_mut() } else { None }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        if self.home.is_here() {
            let _entered = self.home.enter();
            drop(value);
        } else {
            mem::forget(value);
        }
    }
}

/// Holds the connections still until the fork is over.
#[pyfunction]
pub(crate) fn before_fork() {
    HELD.set(Some(HeldDescriptors::hold()));
}

#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    HELD.take();
}

/// Leaves behind what the child cannot use. Returns the descriptors that it is to close.
#[pyfunction]
pub(crate) fn after_fork_in_child() -> Vec<i32> {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    *HOME.lock().unwrap_or_else(PoisonError::into_inner) = None;
    HELD.take().map(HeldDescriptors::in_child).unwrap_or_default()
}

/// Closes all layers of this process, for at most so many seconds: the order is the inboxes, which leave their groups, then
/// what was taken and not returned goes back, then the connections.
#[pyfunction]
pub(crate) fn close_all(py: Python<'_>, seconds: f64) {
    let Some(home) = *HOME.lock().unwrap_or_else(PoisonError::into_inner) else { return };
    let layers = mem::take(&mut *home.layers.lock().unwrap_or_else(PoisonError::into_inner));
    py.detach(|| {
        home.block_on(async {
            let closing: Vec<_> = layers
                .iter()
                .filter_map(Weak::upgrade)
                .map(|layer| home.runtime.spawn(async move { layer.close().await }))
                .collect();
            let all = async {
                for layer in closing {
                    // What cannot be told to a server ends with its lease.
                    let _ = layer.await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)), all).await;
        });
    });
}
