//! The suite's checks of itself: every test asserts something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

/// What makes a test fail, besides a helper that asserts.
const FAILS: [&str; 8] = [
    "assert",
    "panic!",
    "unreachable!",
    ".unwrap()",
    ".unwrap_err()",
    ".expect(",
    ".expect_err(",
    "should_panic",
];

/// A function of the sources, and the text of its body with the attributes above it.
struct Function {
    name: String,
    text: String,
    is_test: bool,
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Cuts a formatted source into its functions: each ends at the next closing brace of its own indentation.
fn functions(source: &str) -> Vec<Function> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indentation = &line[..line.len() - code.len()];
        let mut words = code
            .split_whitespace()
            .skip_while(|word| matches!(*word, "async" | "const" | "pub") || word.starts_with("pub("));
        if words.next() != Some("fn") {
            continue;
        }
        let Some(name) = words.next().and_then(|name| name.split(['(', '<']).next()) else { continue };
        let first = (0..at).rev().take_while(|above| is_attribute(lines[*above])).last().unwrap_or(at);
        let end = format!("{indentation}}}");
        let ends_here = code.ends_with('}') || code.ends_with(';');
        let length = lines[at..].iter().position(|line| *line == end).filter(|_| !ends_here).unwrap_or(0);
        let is_test = lines[first..at].iter().any(|line| {
            let attribute = line.trim();
            attribute == "#[test]" || attribute.starts_with("#[tokio::test")
        });
        found.push(Function { name: name.to_owned(), text: lines[first..=at + length].join("\n"), is_test });
    }
    found
}

fn is_attribute(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("#[") || line.starts_with("//")
}

/// Whether a text calls a function of this name, or passes it as the one argument of a call.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let is_whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        is_whole && (matches!(after, Some('(' | ':')) || (before, after) == (Some('('), Some(')')))
    })
}

/// The tests that cannot fail: they neither assert nor call a function of the sources that does.
fn without_assertion(functions: &[Function]) -> Vec<&str> {
    let body = |function: &Function| function.text.split_once('{').map_or("", |(_, body)| body).to_owned();
    let mut may_fail: BTreeMap<&str, bool> = BTreeMap::new();
    for function in functions {
        let fails = FAILS.iter().any(|word| function.text.contains(word));
        *may_fail.entry(&function.name).or_default() |= fails;
    }
    loop {
        let known: Vec<&str> = may_fail.iter().filter(|(_, fails)| **fails).map(|(name, _)| *name).collect();
        let more: Vec<&str> = functions
            .iter()
            .filter(|function| !may_fail[function.name.as_str()])
            .filter(|function| known.iter().any(|name| calls(&body(function), name)))
            .map(|function| function.name.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        for name in more {
            may_fail.insert(name, true);
        }
    }
    let tests = functions.iter().filter(|function| function.is_test);
    tests.filter(|test| !may_fail[test.name.as_str()]).map(|test| test.name.as_str()).collect()
}

#[test]
fn every_test_has_an_assertion() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"].map(|folder| sources(&root.join(folder))).concat();
    let all: Vec<Function> =
        files.iter().flat_map(|file| functions(&std::fs::read_to_string(file).unwrap())).collect();
    let tests = all.iter().filter(|function| function.is_test).count();
    assert!(tests > 300, "the scan finds the tests: {tests}");
    assert_eq!(without_assertion(&all), <[&str; 0]>::default());
}

#[test]
fn the_scan_finds_a_test_that_asserts_nothing() {
    let source = "\
#[test]
fn empty() {
    drop(harmless());
}

#[tokio::test(flavor = \"multi_thread\")]
async fn by_a_helper() {
    helper(1);
}

#[test]
fn by_itself() {
    assert!(true);
}

fn harmless() {}

fn helper(number: u8) {
    deeper(number);
}

fn deeper(number: u8) {
    assert_eq!(number, 1);
}
";
    assert_eq!(without_assertion(&functions(source)), ["empty"]);
}

/// The mutations of a list: their names, their files, and the old texts, which may have several lines.
fn mutations(list: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, Vec<&str>)> = Vec::new();
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            found.push((name.to_owned(), String::new(), Vec::new()));
        } else if let Some(last) = found.last_mut() {
            if let Some(file) = line.strip_prefix("in ") {
                last.1 = file.to_owned();
            } else if let Some(old) = line.strip_prefix('-') {
                last.2.push(old);
            }
        }
    }
    found.into_iter().map(|(name, file, old)| (name, file, old.join("\n"))).collect()
}

/// `scripts/test` breaks some of the scripts only, so it would notice late that a line was changed and its mutation not.
#[test]
fn each_mutation_of_a_script_has_a_line_of_its_own_to_break() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("tests/mutations")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        for (name, file, old) in mutations(&std::fs::read_to_string(&path).unwrap()) {
            let script = std::fs::read_to_string(root.join("lua").join(&file));
            let script = script.unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
            assert_eq!(script.matches(&old).count(), 1, "{name}: how often {file} holds this: {old}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} mutations");
}

/// The mutations of the memory layer that a script lists: the name, the file, and the text that it holds once.
#[test]
fn each_mutation_of_the_memory_layer_has_a_text_of_its_own_to_break() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join("scripts/test-mutations")).unwrap();
    let mutation = Regex::new(r#"(?m)^mutation "([^"]+)" (\S+) <<'END'\n([\s\S]*?\n)---\n"#).unwrap();
    let mut count = 0;
    for found in mutation.captures_iter(&list) {
        let (_, [name, file, text]) = found.extract();
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(source.matches(text).count(), 1, "{name}: how often {file} holds this: {text}");
        count += 1;
    }
    assert!(count > 20, "{count} mutations were read");
}
