//! The rules of the protocol have one numbering: `docs/protocol.md` defines each rule once, and everything else cites it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;

const PROTOCOL: &str = include_str!("../../docs/protocol.md");
const CONTRACT: &str = include_str!("../../lua/README.md");

/// The rules that a text cites, as `R7`.
fn cited(text: &str) -> BTreeSet<u32> {
    let rule = Regex::new(r"(?:^|[^\w.+/-])R([1-9][0-9]?)(?:$|[^\w+/=-])").unwrap();
    // Neighbours share the character between them, so each line is read twice.
    let shifted = text.replace(' ', "  ");
    let mut rules: BTreeSet<u32> =
        rule.captures_iter(&shifted).map(|found| found[1].parse().unwrap()).collect();
    // The model's variants have their rules as numbers.
    let breaks = Regex::new(r"breaks: &\[([0-9, ]+)\]").unwrap();
    for found in breaks.captures_iter(text) {
        rules.extend(found[1].split(',').map(|number| number.trim().parse::<u32>().unwrap()));
    }
    rules
}

/// The rules that `docs/protocol.md` defines, as often as it does.
fn defined() -> Vec<u32> {
    let heading = Regex::new(r"(?m)^### R([0-9]+)\. \S").unwrap();
    heading.captures_iter(PROTOCOL).map(|found| found[1].parse().unwrap()).collect()
}

/// Every text of the repository in which a rule may be cited, by its path.
fn texts() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "lua", "tests", "docs", "model", "README.md", "CONTRIBUTING.md"];
    let listed = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "--"])
        .args(folders)
        .current_dir(root)
        .output()
        .unwrap();
    assert!(listed.status.success(), "git: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).unwrap();
    let readable = |path: &&str| [".rs", ".lua", ".md"].iter().any(|ending| path.ends_with(ending));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok().map(|text| (path.to_owned(), text));
    paths.lines().filter(readable).filter_map(read).collect()
}

#[test]
fn every_rule_is_defined_once_and_in_order() {
    let defined = defined();
    let expected: Vec<u32> = (1..=u32::try_from(defined.len()).unwrap()).collect();
    assert_eq!(defined, expected);
    assert!(defined.len() >= 29, "{defined:?}");
}

#[test]
fn every_cited_rule_exists() {
    let defined: BTreeSet<u32> = defined().into_iter().collect();
    let mut citing = 0;
    for (path, text) in texts() {
        let cited = cited(&text);
        citing += usize::from(!cited.is_empty());
        let unknown: Vec<_> = cited.difference(&defined).collect();
        assert!(unknown.is_empty(), "{path} cites rules that docs/protocol.md does not define: R{unknown:?}");
    }
    assert!(citing > 10, "the texts were found: {citing} of them cite a rule");
}

#[test]
fn every_rule_is_a_duty_in_the_contract_or_a_rule_of_the_scripts_and_is_shown_by_a_test() {
    let in_tests: BTreeSet<u32> = texts()
        .iter()
        .filter(|(path, _)| path.starts_with("tests/suite/") && path.as_str() != "tests/suite/docs.rs")
        .flat_map(|(_, text)| cited(text))
        .collect();
    let duties = Regex::new(r"(?m)^- \*\*R([0-9]+)\. ").unwrap();
    let duties: BTreeSet<u32> =
        duties.captures_iter(CONTRACT).map(|found| found[1].parse().unwrap()).collect();
    for rule in defined() {
        assert!(rule <= 4 || duties.contains(&rule), "lua/README.md has no duty R{rule}");
        assert!(in_tests.contains(&rule), "no test of the suite cites R{rule}");
    }
}

/// The comment in front of a test in a file.
fn comment_of(path: &str, test: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()?;
    let function = Regex::new(&format!(r"((?m:^ *(?:///|#\[).*\n)*) *(?:async )?fn {test}\(")).unwrap();
    Some(function.captures(&text)?[1].to_owned())
}

#[test]
fn every_test_that_is_named_beside_a_rule_exists_and_cites_it() {
    let rule = Regex::new(r"(?m)^### R([0-9]+)\. ").unwrap();
    let named = Regex::new(r"`([^`]+)`").unwrap();
    let starts: Vec<(u32, usize)> =
        rule.captures_iter(PROTOCOL).map(|it| (it[1].parse().unwrap(), it.get(0).unwrap().start())).collect();
    for (number, start) in starts {
        let section = PROTOCOL[start + 4..].split("\n## ").next().unwrap().split("\n### ").next().unwrap();
        let (_, tests) =
            section.split_once("- **Tests.** ").unwrap_or_else(|| panic!("R{number} names no tests"));
        let tests = tests.split("\n\n").next().unwrap().split("\n- ").next().unwrap();
        let (mut path, mut seen) = ("", 0);
        for name in named.captures_iter(tests).map(|found| found.get(1).unwrap().as_str()) {
            if name.ends_with(".rs") {
                path = name;
            } else if name.len() >= 20 {
                let comment =
                    comment_of(path, name).unwrap_or_else(|| panic!("R{number}: no test {name} in {path}"));
                assert!(cited(&comment).contains(&number), "{name} in {path} does not cite R{number}");
                seen += 1;
            }
        }
        assert!(seen > 0, "R{number} names no test");
    }
}

#[test]
fn every_file_that_the_protocol_names_exists() {
    let path = Regex::new(r"`((?:src|lua|tests|model|docs)/[\w./]+)`").unwrap();
    for found in path.captures_iter(PROTOCOL) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&found[1]).exists(), "there is no {}", &found[1]);
    }
}

#[test]
fn a_citation_is_told_from_other_words() {
    let text = "R1 and (R2), R3: `R29`; R2D2, AR4, R05, xR6+ R7= breaks: &[8, 15]";
    assert_eq!(cited(text), BTreeSet::from([1, 2, 3, 8, 15, 29]));
}
