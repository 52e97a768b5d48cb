//! What the library takes from `OUT_DIR`: the folder of expanded scripts, and the constants that describe them.

use std::fmt::{self, Write};
use std::path::Path;
use std::{fs, io};

use super::{CompiledScript, Kind, Slot};

/// Writes `<out_dir>/lua/<name>.lua` for each script, and `<out_dir>/scripts.rs`.
pub(crate) fn write(scripts: &[CompiledScript], out_dir: &Path) -> io::Result<()> {
    let folder = out_dir.join("lua");
    // The whole folder is embedded, so a script that was removed must not linger in it.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for script in scripts {
        fs::write(folder.join(format!("{}.lua", script.name)), &script.source)?;
    }
    let source = rust_source(scripts).map_err(io::Error::other)?;
    fs::write(out_dir.join("scripts.rs"), source)
}

/// The text of `scripts.rs`.
fn rust_source(scripts: &[CompiledScript]) -> Result<String, fmt::Error> {
    let mut rust = String::new();
    for script in scripts {
        write_doc(&mut rust, script)?;
        write_static(&mut rust, script)?;
    }
    writeln!(rust, "/// Every script, in the order of their names.")?;
    writeln!(rust, "pub(crate) static ALL: &[&Script] = &[")?;
    for script in scripts {
        writeln!(rust, "    &{},", constant(script))?;
    }
    writeln!(rust, "];")?;
    Ok(rust)
}

fn constant(script: &CompiledScript) -> String {
    script.name.to_ascii_uppercase()
}

fn write_doc(rust: &mut String, script: &CompiledScript) -> fmt::Result {
    writeln!(rust, "/// {}", escape(&script.doc))?;
    writeln!(rust, "///")?;
    for slot in &script.slots {
        let dots = if slot.variadic { "..." } else { "" };
        let Slot { index, name, told, text, .. } = slot;
        let table = match slot.kind {
            Kind::Key => "KEYS",
            Kind::Argument => "ARGV",
        };
        let ty = escape(told);
        let text = escape(text);
        writeln!(rust, "/// - `{table}[{index}]` `{name}`, {ty}{dots}: {text}")?;
    }
    for reply in &script.reply {
        writeln!(rust, "/// - replies {}", escape(reply))?;
    }
    Ok(())
}

fn write_static(rust: &mut String, script: &CompiledScript) -> fmt::Result {
    let CompiledScript { name, sha, doc, reply, .. } = script;
    writeln!(rust, "pub(crate) static {}: Script = Script {{", constant(script))?;
    writeln!(rust, "    name: {name:?},")?;
    writeln!(rust, "    sha: {sha:?},")?;
    writeln!(rust, "    doc: {doc:?},")?;
    writeln!(rust, "    reply: &{reply:?},")?;
    writeln!(rust, "    slots: &[")?;
    for Slot { kind, index, name, told, text, variadic, .. } in &script.slots {
        writeln!(
            rust,
            "        Slot {{ kind: SlotKind::{kind:?}, index: {index}, name: {name:?}, ty: {told:?}, text: {text:?}, \
             variadic: {variadic} }},"
        )?;
    }
    writeln!(rust, "    ],")?;
    writeln!(rust, "    lines: {},", script.source.lines().count())?;
    writeln!(rust, "    runs: &[")?;
    for run in &script.runs {
        let (start, file, line) = (run.start, &run.file, run.line);
        writeln!(rust, "        Run {{ start: {start}, file: {file:?}, line: {line} }},")?;
    }
    writeln!(rust, "    ],")?;
    writeln!(rust, "}};\n")
}

/// Text as Markdown that shows it unchanged.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}
