//! What the layer itself tells: of all commands about their settings, such as keys that are short; while one waits also of an
//! outage and its end, and of messages that were dropped.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::outcome::tell;

/// Where the layer checks its settings.
const SETTINGS: &str = "asgi_redis::config";
/// Where the layer tells of messages that do not open.
const SEALS: &str = "asgi_redis::seal";

/// From its making on, what the layer logs is told on standard error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether a command waits, so that more than its settings is of interest.
    waits: AtomicBool,
    /// How many messages were dropped that did not open.
    dropped: AtomicU64,
    last: Mutex<String>,
}

impl Notices {
    /// Listens to what is about settings.
    pub(crate) fn listen() -> Self {
        let notices = Self::default();
        // A program has one of them; a second one would hear nothing, and nothing depends on it.
        let _ = tracing::subscriber::set_global_default(notices.clone());
        notices
    }

    /// Listens to everything from now on.
    pub(crate) fn wait(&self) {
        self.0.waits.store(true, Ordering::Relaxed);
    }

    /// How many messages were dropped because they did not open.
    pub(crate) fn dropped_messages(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Subscriber for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of messages that do not open the layer logs one in a while as a warning, and the others too, which are counted here.
        let least = if metadata.target().starts_with(SEALS) { Level::DEBUG } else { Level::INFO };
        metadata.is_event() && *metadata.level() <= least && metadata.target().starts_with("asgi_redis")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let target = event.metadata().target();
        if !target.starts_with(SETTINGS) && !self.0.waits.load(Ordering::Relaxed) {
            return;
        }
        if target.starts_with(SEALS) {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            if *event.metadata().level() > Level::INFO {
                return;
            }
        }
        let mut line = Line::default();
        event.record(&mut line);
        let line = line.in_words();
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A command may check its settings more than once.
        if *last != line {
            tell(&line);
            *last = line;
        }
    }

    // Spans are not shown.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event in words: what happened, then its values.
#[derive(Default)]
struct Line {
    message: String,
    values: String,
}

impl Line {
    fn in_words(self) -> String {
        if self.values.is_empty() { self.message } else { format!("{} ({})", self.message, self.values) }
    }

    fn add(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let comma = if self.values.is_empty() { "" } else { ", " };
            write!(self.values, "{comma}{}: {value:?}", field.name())
        };
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &format_args!("{value}"));
    }
}
