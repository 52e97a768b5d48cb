//! Standard output: every line goes out at once, and a reader that has gone ends the command quietly.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use super::outcome::{Failure, Status};

/// Writes text and a line end.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    self::text(&format!("{text}\n"))
}

/// Writes text as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    write(text).map_err(|error| failure(&error))
}

/// Writes text as it is, for a caller that has something to save when it cannot be written.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Whether standard output was closed when the program began. Then the runtime has opened `/dev/null` in its place, for reading
/// too, which nobody who wants to throw something away does.
pub(crate) fn is_closed() -> bool {
    let is_null = std::fs::read_link("/proc/self/fd/1").is_ok_and(|target| target == Path::new("/dev/null"));
    let flags = std::fs::read_to_string("/proc/self/fdinfo/1").unwrap_or_default();
    let mode = flags.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    is_null && mode.is_some_and(|mode| mode.ends_with('2'))
}

/// How a command ends that could not write.
pub(crate) fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::new(Status::Done, ""),
        _ => Failure::new(Status::Failed, format!("cannot write to standard output: {error}")),
    }
}

/// Writes one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&to_json(value)?)
}

/// One line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new(Status::Failed, format!("cannot write as JSON: {error}")))
}

/// A number with what it counts, in the singular or plural.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
