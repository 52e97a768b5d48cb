//! An awaitable that polls a future of Rust in the step of the task that awaits it.
//!
//! What the future returns leaves Rust in the same step in which the task gets it. A cancellation reaches [`Call::throw`],
//! which drops the future. So a message is either returned to the task or was never taken: nothing finishes while nobody
//! looks, as it would on a thread of the runtime.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asgi_redis::{GroupReceipt, PackedMessage, ShardHealth};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use tokio::time::timeout;

use crate::convert::unpack;
use crate::core::{MailboxOwner, OwnName, Receipt};
use crate::fault::Fault;
use crate::home::{Home, Owned};
use crate::port::{Port, Ticket, running_loop};

/// How often a call that blocks looks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(100);

/// What a call returns, before it is a value of Python.
pub(crate) enum Answer {
    Nothing,
    Message(PackedMessage),
    Packed(PackedMessage),
    Name(OwnName),
    Receipt(GroupReceipt),
    Count(usize),
    Health(Vec<ShardHealth>),
}

pub(crate) type Outcome = Result<Answer, Fault>;
type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One call of a layer. It is awaited once, or waited for.
#[pyclass(module = "channels_asgi_redis._core", frozen, weakref)]
pub(crate) struct Call {
    /// Taken out while a step runs, so that no lock is held while Python is called.
    state: Mutex<Option<State>>,
}

struct State {
    work: Owned<Work>,
    waits: Option<Waits>,
    /// Other tasks of the loop had their turn.
    had_turn: bool,
}

/// How a call is woken.
struct Waits {
    port: Py<Port>,
    ticket: u64,
    waker: Waker,
}

impl Call {
    pub(crate) fn new(home: &'static Home, work: impl Future<Output = Outcome> + Send + 'static) -> Self {
        let work: Work = Box::pin(work);
        let state = State { work: Owned::new(home, work), waits: None, had_turn: false };
        Self { state: Mutex::new(Some(state)) }
    }

    fn take(&self) -> PyResult<State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        state.ok_or_else(|| PyRuntimeError::new_err("this call was awaited already; make another one"))
    }

    fn put(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    fn end(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(state);
    }
}

impl State {
    /// Polls once. Returns what the task is to wait for, or nothing and the outcome.
    fn step<'py>(&mut self, py: Python<'py>) -> PyResult<Result<Bound<'py, PyAny>, Outcome>> {
        let event_loop = running_loop(py)?;
        let waits = match &self.waits {
            Some(waits) => waits,
            None => {
                let port = Port::of(&event_loop)?;
                if !self.had_turn && port.get().is_turn_over() {
                    self.had_turn = true;
                    return Ok(Ok(py.None().into_bound(py)));
                }
                let ticket: Ticket = port.get().ticket();
                let number = ticket.number();
                self.waits.insert(Waits {
                    port: port.unbind(),
                    ticket: number,
                    waker: Arc::new(ticket).into(),
                })
            }
        };
        match poll(&mut self.work, &waits.waker)? {
            Poll::Ready(outcome) => Ok(Err(outcome)),
            Poll::Pending => {
                let future = event_loop.call_method0(intern!(py, "create_future"))?;
                future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
                waits.port.get().wait(waits.ticket, future.clone().unbind());
                Ok(Ok(future))
            }
        }
    }
}

fn poll(work: &mut Owned<Work>, waker: &Waker) -> PyResult<Poll<Outcome>> {
    let home = work.home();
    let work = work.get().ok_or_else(forked)?;
    let _entered = home.enter();
    Ok(work.as_mut().poll(&mut Context::from_waker(waker)))
}

fn forked() -> PyErr {
    PyRuntimeError::new_err("this call was made before the process forked; make another one in the child")
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.port.get().forget(waits.ticket);
        }
    }
}

#[pymethods]
impl Call {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut state = self.take()?;
        match state.step(py)? {
            Ok(waits_for) => {
                self.put(state);
                Ok(Some(waits_for.unbind()))
            }
            Err(outcome) => {
                drop(state);
                let value = value(py, outcome)?;
                Err(PyStopIteration::new_err((value,)))
            }
        }
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.__next__(py)
    }

    /// Ends the call: what it would have returned stays where it was.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        self.end();
        // As an `Err`: a method that returns an exception yields it.
        Err(PyErr::from_value(value.unwrap_or(kind)))
    }

    fn close(&self) {
        self.end();
    }

    /// Waits in this thread, which must not run an event loop.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if running_loop(py).is_ok() {
            return Err(PyRuntimeError::new_err(
                "an event loop runs in this thread, and would stand still; await the call without _sync",
            ));
        }
        let mut state = self.take()?;
        let home = state.work.home();
        loop {
            let work = state.work.get().ok_or_else(forked)?;
            let done = py.detach(|| home.block_on(async { timeout(SIGNALS, work).await }));
            match done {
                Ok(outcome) => return value(py, outcome),
                Err(_) => py.check_signals()?,
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(state) = self.state.try_lock()
            && let Some(waits) = state.as_ref().and_then(|state| state.waits.as_ref())
        {
            visit.call(&waits.port)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.end();
    }
}

/// Returns the value of an outcome, or raises.
fn value(py: Python<'_>, outcome: Outcome) -> PyResult<Py<PyAny>> {
    Ok(match outcome.map_err(|fault| fault.into_exception(py))? {
        Answer::Nothing => py.None(),
        Answer::Message(message) => unpack(py, &message)?,
        Answer::Packed(message) => PyBytes::new(py, message.as_bytes()).into_any().unbind(),
        Answer::Name(name) => {
            let text = PyString::new(py, name.as_str());
            (text, MailboxOwner::new(name)).into_pyobject(py)?.into_any().unbind()
        }
        Answer::Receipt(receipt) => Py::new(py, Receipt::new(receipt))?.into_any(),
        Answer::Count(count) => count.into_pyobject(py)?.into_any().unbind(),
        Answer::Health(servers) => {
            let list = PyList::empty(py);
            for server in &servers {
                let dict = PyDict::new(py);
                dict.set_item("host", server.host())?;
                dict.set_item("is_up", server.is_up())?;
                dict.set_item("latency", server.latency().map(|latency| latency.as_secs_f64()))?;
                dict.set_item("version", server.version())?;
                dict.set_item("eviction_policy", server.eviction_policy())?;
                dict.set_item("error", server.error().map(ToString::to_string))?;
                list.append(dict)?;
            }
            list.into_any().unbind()
        }
    })
}
