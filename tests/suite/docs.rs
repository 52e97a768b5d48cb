//! The rules of the protocol have one numbering: `docs/protocol.md` defines each rule once, and everything else cites it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;

const PROTOCOL: &str = include_str!("../../docs/protocol.md");
const CONTRACT: &str = include_str!("../../lua/README.md");

/// Rules that no test of the suite cites by its name, and where they are shown instead.
const SHOWN_ELSEWHERE: [(u32, &str); 2] = [
    (17, "src/redis/receive/tests.rs and layer/shards.rs show it as a whole"),
    (20, "protocol/inbox_owner.rs shows it as a whole"),
];

/// The rules that a text cites, as `R7`.
fn cited(text: &str) -> BTreeSet<u32> {
    let rule = Regex::new(r"(?:^|[^\w.+/-])R([1-9][0-9]?)(?:$|[^\w+/=-])").unwrap();
    // Neighbours share the character between them, so each line is read twice.
    let shifted = text.replace(' ', "  ");
    rule.captures_iter(&shifted).map(|found| found[1].parse().unwrap()).collect()
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
    let elsewhere: BTreeMap<u32, &str> = SHOWN_ELSEWHERE.into();
    let duties = Regex::new(r"(?m)^- \*\*R([0-9]+)\. ").unwrap();
    let duties: BTreeSet<u32> =
        duties.captures_iter(CONTRACT).map(|found| found[1].parse().unwrap()).collect();
    for rule in defined() {
        assert!(rule <= 4 || duties.contains(&rule), "lua/README.md has no duty R{rule}");
        let shown = in_tests.contains(&rule) || elsewhere.contains_key(&rule);
        assert!(shown, "no test of the suite cites R{rule}");
    }
}

#[test]
fn a_citation_is_told_from_other_words() {
    let text = "R1 and (R2), R3: `R29`; R2D2, AR4, R05, xR6+ R7=";
    assert_eq!(cited(text), BTreeSet::from([1, 2, 3, 29]));
}
