//! What an operator reads: the warnings of a test's layers.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;

/// A text that is being written.
#[derive(Clone, Default)]
pub(crate) struct Text(Arc<Mutex<Vec<u8>>>);

/// What is told on this thread, while its guard lives.
#[derive(Default)]
pub(crate) struct Warnings(Text);

/// Listening ends when this is dropped.
pub(crate) struct Listening {
    _guard: DefaultGuard,
    _second: Dispatch,
}

impl Warnings {
    /// Notes the warnings of this thread, on which the tasks of a layer run too if its runtime has no other.
    pub(crate) fn listen() -> (Self, Listening) {
        let told = Self::default();
        let dispatch = |told: Text| {
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
            Dispatch::new(subscriber.with_writer(move || told.clone()).finish())
        };
        // Of a single one tracing may not know while another test, on a thread that has none, is the first to tell something.
        let second = dispatch(Text::default());
        let guard = tracing::dispatcher::set_default(&dispatch(told.0.clone()));
        (told, Listening { _guard: guard, _second: second })
    }

    pub(crate) fn text(&self) -> String {
        self.0.read()
    }

    pub(crate) fn times(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }
}

impl Text {
    pub(crate) fn read(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
