//! `-- @include "lib/name"`: puts files of `lua/lib/` into a script, each once, and keeps the map back to their lines.

use std::path::Path;

use super::error::Place;
use super::lexer::{self, Line};
use super::{Fault, ScriptError, read};

/// Lines of an expanded script that stand together in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first of them in the expanded script, counted from 1.
    pub(crate) start: usize,
    /// For example `lua/push.lua`.
    pub(crate) file: String,
    /// The line in `file` at which `start` stands.
    pub(crate) line: usize,
}

/// Whether the line is meant as an include.
pub(crate) fn is_include(line: &Line<'_>) -> bool {
    line.comment.is_some_and(|comment| comment.trim_start().starts_with("@include"))
}

/// The script's text with every include in its place and its checks below its last slot, and the map of its lines. Of a line
/// of the checks the map tells the last slot.
pub(crate) fn expand(
    folder: &Path,
    file: &str,
    lines: &[Line<'_>],
    last_slot: usize,
    checks: &[String],
) -> Result<(String, Vec<Run>), ScriptError> {
    let mut expansion = Expansion {
        folder,
        text: String::new(),
        length: 0,
        runs: Vec::new(),
        included: Vec::new(),
        stack: Vec::new(),
    };
    let (slots, below) = lines.split_at(last_slot.min(lines.len()));
    expansion.append(file, 1, slots)?;
    for check in checks {
        expansion.runs.push(Run { start: expansion.length + 1, file: file.to_owned(), line: last_slot });
        expansion.push(check);
    }
    expansion.append(file, last_slot + 1, below)?;
    Ok((expansion.text, expansion.runs))
}

struct Expansion<'a> {
    folder: &'a Path,
    text: String,
    /// Lines in `text`.
    length: usize,
    runs: Vec<Run>,
    included: Vec<String>,
    /// The include lines that led here, outermost first.
    stack: Vec<Place>,
}

impl Expansion<'_> {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.length += 1;
    }

    /// Appends lines of a file, of which the first one is `first`.
    fn append(&mut self, file: &str, first: usize, lines: &[Line<'_>]) -> Result<(), ScriptError> {
        let mut run_ended = true;
        for (number, line) in (first..).zip(lines) {
            if run_ended {
                self.runs.push(Run { start: self.length + 1, file: file.to_owned(), line: number });
                run_ended = false;
            }
            // The include line itself stays, so that the expanded text shows where a library begins.
            self.push(line.text);
            if is_include(line) {
                let before = self.length;
                self.include(file, number, line)?;
                run_ended = self.length > before;
            }
        }
        Ok(())
    }

    fn include(&mut self, file: &str, number: usize, line: &Line<'_>) -> Result<(), ScriptError> {
        let library =
            self.resolve(line).map_err(|sentence| self.error(file, Fault::new(number, sentence)))?;
        let path = format!("lua/{library}.lua");
        let place = Place { file: file.to_owned(), line: number };
        if path == file || self.stack.iter().any(|open| open.file == path) {
            let sentence = format!("the include of \"{library}\" closes a cycle");
            return Err(self.error(file, Fault::new(number, sentence)));
        }
        if self.included.iter().any(|included| included == library) {
            return Ok(());
        }
        if !self.folder.join(format!("{library}.lua")).is_file() {
            let sentence = format!("\"{library}\" is included, but there is no {path}");
            return Err(self.error(file, Fault::new(number, sentence)));
        }
        self.included.push(library.to_owned());
        self.stack.push(place);
        let text = read(self.folder, library).map_err(|error| error.included_from(&self.stack))?;
        let lines = lexer::lines(&text);
        check_library(&lines).map_err(|fault| self.error(&path, fault))?;
        self.append(&path, 1, &lines)?;
        self.stack.pop();
        Ok(())
    }

    /// The library that an include line names, for example `lib/clock`.
    fn resolve<'a>(&self, line: &Line<'a>) -> Result<&'a str, String> {
        let named = line.text.strip_prefix("-- @include \"").and_then(|rest| rest.strip_suffix('"'));
        // An indented one may stand in a block, and its functions would end with that block.
        let Some(path) = named else {
            return Err("an include is written `-- @include \"lib/name\"`, alone on its line and without \
                        indentation"
                .to_owned());
        };
        if path.starts_with(['/', '\\'])
            || path.contains(':')
            || path.split(['/', '\\']).any(|part| part == "..")
        {
            return Err(format!("\"{path}\" is outside lua/; only files of lua/lib/ are included"));
        }
        let is_file_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        if !path.strip_prefix("lib/").is_some_and(is_file_name) {
            return Err(format!(
                "\"{path}\" is not a library; write \"lib/name\", in lower-case ASCII letters and `_`, without .lua"
            ));
        }
        Ok(path)
    }

    fn error(&self, file: &str, fault: Fault) -> ScriptError {
        ScriptError::at(file, fault).included_from(&self.stack)
    }
}

/// A library takes all it needs as arguments.
fn check_library(lines: &[Line<'_>]) -> Result<(), Fault> {
    for (number, line) in (1..).zip(lines) {
        if let Some(table) = line.raw_table() {
            let sentence = format!("`{table}` is used in a library; take what it holds as an argument");
            return Err(Fault::new(number, sentence));
        }
    }
    Ok(())
}
