//! Each sentence that promises something names tests: `docs/promises.md` is the table, and is compared with the pages and with
//! the tests.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

const TABLE: &str = include_str!("../../docs/promises.md");
const README: &str = include_str!("../../README.md");

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// A text in one line.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of the table: the page, the sentence, and its tests as the files and names that stand there.
struct Promise {
    page: String,
    sentence: String,
    tests: String,
}

fn promises() -> Vec<Promise> {
    let heading = Regex::new(r"^## \[.*\]\((.*)\)$").unwrap();
    let (mut page, mut promises) = (String::new(), Vec::new());
    for line in TABLE.lines() {
        if let Some(found) = heading.captures(line) {
            // Links are seen from docs/.
            page = found[1].strip_prefix("../").map_or_else(|| format!("docs/{}", &found[1]), str::to_owned);
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if let [sentence, tests] = cells[..]
            && line.starts_with('|')
            && sentence != "sentence"
        {
            promises.push(Promise { page: page.clone(), sentence: sentence.into(), tests: tests.into() });
        }
    }
    promises
}

/// The sentences of the README's list of promises, but for what is not promised.
fn sentences() -> Vec<String> {
    let section = README.split("\n## ").find(|part| part.starts_with("What is promised")).unwrap();
    let list = joined(&section[..section.find("\nNot promised").unwrap()]);
    let end = Regex::new(r"([.?!](?:\*\*)?) (?:- )?").unwrap();
    let items = list.trim_start_matches("What is promised - ");
    let parts = end.replace_all(items, "$1\n").into_owned();
    // The name of a promise alone promises nothing.
    parts.lines().filter(|part| *part != "**At most once.**").map(str::to_owned).collect()
}

#[test]
fn every_sentence_that_the_readme_promises_names_its_tests() {
    let named: BTreeSet<String> = promises().into_iter().map(|promise| promise.sentence).collect();
    let sentences = sentences();
    assert!(sentences.len() >= 12, "the sentences were found: {sentences:?}");
    let missing: Vec<_> = sentences.iter().filter(|sentence| !named.contains(*sentence)).collect();
    assert!(missing.is_empty(), "docs/promises.md has no line for {missing:#?}");
}

#[test]
fn every_promise_stands_on_its_page() {
    for Promise { page, sentence, .. } in promises() {
        let text = read(&page).unwrap_or_else(|| panic!("there is no page {page}"));
        assert!(joined(&text).contains(&sentence), "{page} does not say: {sentence}");
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let quoted = Regex::new(r"`([^`]+)`").unwrap();
    let mut count = 0;
    for Promise { sentence, tests, .. } in promises() {
        let (mut path, mut text, mut named) = (String::new(), String::new(), 0);
        for word in quoted.captures_iter(&tests).map(|found| found[1].to_owned()) {
            if word.ends_with(".rs") {
                text = read(&word).unwrap_or_else(|| panic!("{sentence}: there is no {word}"));
                path = word;
            } else {
                named += 1;
                let test = Regex::new(&format!(
                    r"(?m)((?:^ *(?:///|//|#\[).*\n)*)^ *(?:pub\(super\) )?(?:async )?fn {word}\("
                ))
                .unwrap();
                let found =
                    test.captures(&text).unwrap_or_else(|| panic!("{sentence}: no test {word} in {path}"));
                assert!(!found[1].contains("#[ignore"), "{sentence}: the test {word} is not run");
            }
        }
        assert!(named > 0, "{sentence}: it names no test");
        count += named;
    }
    assert!(count > 50, "the tests were found: {count}");
}
