//! How threads of the runtime wake an event loop: a list of tickets, and a byte on a socket that the loop reads.
//!
//! Each loop has one port, which is an attribute of it. A call that has to wait leaves an asyncio future under its ticket, and
//! the loop completes it; so threads of the runtime need no GIL.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// So many calls in a row are done without a turn for the loop's other tasks.
const CALLS_A_TURN: u32 = 64;

/// One loop's port.
#[pyclass(module = "channels_asgi_redis._core", frozen, weakref)]
pub(crate) struct Port {
    bell: Arc<Bell>,
    hears: UnixStream,
    /// The futures of calls that wait, by their tickets. Taken by those who hold the GIL.
    waiting: Mutex<HashMap<u64, Py<PyAny>>>,
    last: AtomicU64,
    calls_in_turn: AtomicU32,
}

/// What threads of the runtime have of a port.
struct Bell {
    rings: UnixStream,
    ready: Mutex<Vec<u64>>,
}

/// Wakes one call.
pub(crate) struct Ticket {
    bell: Arc<Bell>,
    number: u64,
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_first = {
            let mut ready = self.bell.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.push(self.number);
            ready.len() == 1
        };
        if is_first {
            // Full means that the loop is about to look; closed, that there is none.
            let _ = (&self.bell.rings).write(&[0]);
        }
    }
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
const ATTRIBUTE: &str = "_channels_asgi_redis_port";

/// Returns the loop that runs in this thread.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let get = RUNNING_LOOP
        .get_or_try_init(py, || py.import("asyncio")?.getattr("get_running_loop").map(Bound::unbind))?;
    get.bind(py).call0()
}

impl Port {
    /// Returns the port of a loop, which is made when the loop is seen first.
    pub(crate) fn of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let name = intern!(py, ATTRIBUTE);
        if let Some(port) = event_loop.getattr_opt(name)? {
            return Ok(port.cast_into::<Self>()?);
        }
        let (rings, hears) = UnixStream::pair()?;
        rings.set_nonblocking(true)?;
        hears.set_nonblocking(true)?;
        let descriptor = hears.as_raw_fd();
        let port = Self {
            bell: Arc::new(Bell { rings, ready: Mutex::default() }),
            hears,
            waiting: Mutex::default(),
            last: AtomicU64::new(0),
            calls_in_turn: AtomicU32::new(0),
        };
        let port = Bound::new(py, port)?;
        event_loop.setattr(name, &port).map_err(|error| {
            PyRuntimeError::new_err(format!(
                "{event_loop} takes no attributes ({error}); run the channel layer on a loop of asyncio or uvloop"
            ))
        })?;
        let heard = port.getattr(intern!(py, "heard"))?;
        event_loop.call_method1(intern!(py, "add_reader"), (descriptor, heard)).map_err(|error| {
            PyRuntimeError::new_err(format!(
                "{event_loop} watches no sockets ({error}); run the channel layer on a loop of asyncio or uvloop"
            ))
        })?;
        Ok(port)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Ticket { bell: Arc::clone(&self.bell), number }
    }

    /// Leaves what is to be completed when the ticket is woken.
    pub(crate) fn wait(&self, ticket: u64, future: Py<PyAny>) {
        self.calls_in_turn.store(0, Ordering::Relaxed);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, future);
    }

    pub(crate) fn forget(&self, ticket: u64) {
        let future = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        drop(future);
    }

    /// Whether other tasks of the loop are to have a turn first: calls that never wait would starve them.
    pub(crate) fn is_turn_over(&self) -> bool {
        let calls = self.calls_in_turn.fetch_add(1, Ordering::Relaxed);
        let is_over = calls >= CALLS_A_TURN;
        if is_over {
            self.calls_in_turn.store(0, Ordering::Relaxed);
        }
        is_over
    }
}

#[pymethods]
impl Port {
    /// Completes what was woken. The loop calls it.
    fn heard(&self, py: Python<'_>) -> PyResult<()> {
        let mut bytes = [0; 64];
        loop {
            match (&self.hears).read(&mut bytes) {
                Ok(64) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.calls_in_turn.store(0, Ordering::Relaxed);
        let ready = std::mem::take(&mut *self.bell.ready.lock().unwrap_or_else(PoisonError::into_inner));
        for ticket in ready {
            let future = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
            let Some(future) = future else { continue };
            let future = future.bind(py);
            if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }

    /// A future refers to its task, and that to its loop, which has this port.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(waiting) = self.waiting.try_lock() {
            for future in waiting.values() {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        drop(waiting);
    }
}
