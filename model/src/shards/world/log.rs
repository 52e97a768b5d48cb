//! What happens, in words, while a trace is printed.

use std::cell::RefCell;

thread_local! {
    static LOG: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Notes a line, if somebody wants it.
pub fn say(line: impl FnOnce() -> String) {
    LOG.with_borrow_mut(|log| {
        if let Some(lines) = log {
            lines.push(line());
        }
    });
}

/// Runs `work` and returns its result with the lines that it noted.
pub fn logged<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    LOG.set(Some(vec![]));
    let result = work();
    (result, LOG.take().unwrap_or_default())
}
