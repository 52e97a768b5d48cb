//! What is wrong with a script: where, in one sentence, and how the build came there.

use std::fmt;

/// A mistake in the file at hand.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) sentence: String,
}

impl Fault {
    pub(crate) fn new(line: usize, sentence: impl Into<String>) -> Self {
        Self { line, sentence: sentence.into() }
    }
}

/// Why the scripts do not compile.
///
/// It prints as `lua/push.lua:7: a sentence`, and below that one line for each include that led to the file.
#[derive(Debug)]
pub(crate) struct ScriptError {
    file: String,
    line: Option<usize>,
    sentence: String,
    included_from: Vec<Place>,
}

/// A line of a file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl ScriptError {
    /// A fault of a whole file.
    pub(crate) fn file(file: &str, sentence: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, sentence: sentence.into(), included_from: Vec::new() }
    }

    /// A fault of a line.
    pub(crate) fn at(file: &str, fault: Fault) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(fault.line),
            sentence: fault.sentence,
            included_from: Vec::new(),
        }
    }

    /// Adds the include stack, outermost first.
    pub(crate) fn included_from(mut self, stack: &[Place]) -> Self {
        self.included_from = stack.to_vec();
        self
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.sentence)?;
        for place in self.included_from.iter().rev() {
            write!(f, "\n  included from {}:{}", place.file, place.line)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScriptError {}
