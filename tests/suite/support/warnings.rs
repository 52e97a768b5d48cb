//! What an operator reads: the warnings of a test's layers.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;

/// What is told on this thread, while its guard lives.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<u8>>>);

/// Listening ends when this is dropped.
pub(crate) struct Listening {
    _guard: DefaultGuard,
    _second: Dispatch,
}

impl Warnings {
    /// Notes the warnings of this thread, on which the tasks of a layer run too if its runtime has no other.
    pub(crate) fn listen() -> (Self, Listening) {
        let told = Self::default();
        let dispatch = |told: Self| {
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
            Dispatch::new(subscriber.with_writer(move || told.clone()).finish())
        };
        // Of a single one tracing may not know while another test, on a thread that has none, is the first to tell something.
        let second = dispatch(Self::default());
        let guard = tracing::dispatcher::set_default(&dispatch(told.clone()));
        (told, Listening { _guard: guard, _second: second })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn times(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }
}

impl Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
