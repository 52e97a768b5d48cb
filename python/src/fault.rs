//! An error on its way to Python, and the exception that it becomes there.

use asgi_redis::{Error, ErrorKind};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Why a call failed.
pub(crate) enum Fault {
    Layer(Error),
    /// A receive from a process-specific channel that is not this process's, or has ended.
    Foreign(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Layer(error)
    }
}

impl Fault {
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Layer(error) if error.kind().is_outage())
    }

    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Layer(error) => exception(py, &error),
            Self::Foreign(text) => made(py, "ForeignChannel", &text, false, false),
        }
    }
}

/// Returns the exception of an error.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    made(py, class_of(error.kind()), &error.to_string(), error.may_retry(), error.perhaps_sent())
}

/// Returns the class in `_errors.py` for a kind of error.
fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ChannelFull => "ChannelFull",
        ErrorKind::MessageTooLarge => "MessageTooLarge",
        ErrorKind::InvalidName => "InvalidName",
        ErrorKind::Config | ErrorKind::Unsupported => "InvalidOption",
        ErrorKind::Timeout => "ServerTimeout",
        ErrorKind::Decode | ErrorKind::Encode => "InvalidMessage",
        ErrorKind::AlreadyReceiving => "AlreadyReceiving",
        ErrorKind::Closed => "LayerClosed",
        ErrorKind::ServerFull => "ServerFull",
        kind if kind.is_outage() => "ServerUnreachable",
        _ => "LayerError",
    }
}

fn made(py: Python<'_>, class: &str, text: &str, may_retry: bool, perhaps_sent: bool) -> PyErr {
    let make = || {
        let class = errors(py)?.getattr(class)?;
        let exception = class.cast::<PyType>()?.call1((text,))?;
        exception.setattr(intern!(py, "may_retry"), may_retry)?;
        exception.setattr(intern!(py, "perhaps_sent"), perhaps_sent)?;
        Ok(PyErr::from_value(exception))
    };
    make().unwrap_or_else(|error| error)
}

static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn errors(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let module =
        ERRORS.get_or_try_init(py, || py.import("channels_asgi_redis._errors").map(Bound::unbind))?;
    Ok(module.bind(py))
}
