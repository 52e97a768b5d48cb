//! The compiler of the scripts in `lua/`: part of the build (`build.rs`) and of its tests, not of the library.
//!
//! A script goes through it as follows: the [`lexer`] tells code from comments and strings, the [`header`] is read and
//! checked, with the [`types`] of its slots, of which the [`checks`] of each call are made; the [`includes`] are put in, the
//! result is hashed, and [`generate`] writes the library's constants.

mod checks;
mod error;
mod generate;
mod header;
mod includes;
mod lexer;
pub(crate) mod types;

use std::fs;
use std::path::Path;

pub(crate) use error::{Fault, ScriptError};
pub(crate) use generate::write;
pub(crate) use header::{Kind, Slot};
pub(crate) use includes::Run;

/// One script of `lua/`, ready for the server.
#[derive(Debug)]
pub(crate) struct CompiledScript {
    /// The file's name without `.lua`.
    pub(crate) name: String,
    /// The text with every include in its place.
    pub(crate) source: String,
    /// The SHA-1 of `source` in hex: the name by which a server calls it.
    pub(crate) sha: String,
    pub(crate) doc: String,
    pub(crate) reply: Vec<String>,
    pub(crate) slots: Vec<Slot>,
    /// Where the lines of `source` come from.
    pub(crate) runs: Vec<Run>,
}

/// Compiles every `*.lua` of `folder`, in the order of their names; other files and folders are left alone.
///
/// Errors call the folder `lua`, wherever it is.
pub(crate) fn compile_folder(folder: &Path) -> Result<Vec<CompiledScript>, ScriptError> {
    let unreadable = |error: std::io::Error| ScriptError::file("lua", format!("it cannot be read: {error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".lua") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.iter().map(|name| compile(folder, name)).collect()
}

fn compile(folder: &Path, name: &str) -> Result<CompiledScript, ScriptError> {
    let file = format!("lua/{name}.lua");
    if !is_script_name(name) {
        return Err(ScriptError::file(
            &file,
            "a script is named verb or verb_noun, in lower-case ASCII letters",
        ));
    }
    let text = read(folder, name)?;
    let lines = lexer::lines(&text);
    let header = header::parse(&lines).map_err(|fault| ScriptError::at(&file, fault))?;
    let (source, runs) =
        includes::expand(folder, &file, &lines, header.last_slot, &checks::lines(name, &header.slots))?;
    let sha = sha1_smol::Sha1::from(&source).digest().to_string();
    let header::Header { doc, reply, slots, .. } = header;
    Ok(CompiledScript { name: name.to_owned(), source, sha, doc, reply, slots, runs })
}

/// Reads `<folder>/<name>.lua`.
fn read(folder: &Path, name: &str) -> Result<String, ScriptError> {
    let file = format!("lua/{name}.lua");
    let text = fs::read_to_string(folder.join(format!("{name}.lua")))
        .map_err(|error| ScriptError::file(&file, format!("it cannot be read: {error}")))?;
    // The SHA would differ between check-outs, and the server takes `#!lua\r` for an unknown engine.
    if let Some((before, _)) = text.split_once('\r') {
        let line = before.matches('\n').count() + 1;
        let fault = Fault::new(line, "there is a carriage return; lines end with a line feed alone");
        return Err(ScriptError::at(&file, fault));
    }
    Ok(text)
}

fn is_script_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    match name.split_once('_') {
        Some((verb, noun)) => is_word(verb) && is_word(noun),
        None => is_word(name),
    }
}
