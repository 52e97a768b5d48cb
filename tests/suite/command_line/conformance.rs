//! `conformance`: what it tries is what the pages say, and a program that is no peer is told as one. `scripts/test-python` runs a
//! client under it, whole and broken on purpose.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use super::{program, run};

const PAGES: [(&str, &str); 7] = [
    ("sender", "sender"),
    ("taker", "taker"),
    ("waiter", "waiter"),
    ("servers", "several-servers"),
    ("inbox", "inbox-owner"),
    ("sealing", "sealing"),
    ("hiding", "hiding"),
];

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/contract/{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the driver tries, as `tier/rule`.
fn listed() -> BTreeSet<String> {
    let checks = run(program().args(["--json", "conformance", "--list"])).json();
    checks
        .iter()
        .map(|check| format!("{}/{}", check["tier"].as_str().unwrap(), check["rule"].as_str().unwrap()))
        .collect()
}

#[test]
fn what_is_tried_is_what_the_page_of_the_driver_and_the_checklists_say() {
    let listed = listed();
    assert!(listed.len() > 50);
    let row = Regex::new(r"(?m)^\| `([a-z]+/[A-Za-z0-9]+)` \| ").unwrap();
    let page_of_driver = page("driver");
    let told: BTreeSet<String> = row.captures_iter(&page_of_driver).map(|row| row[1].to_owned()).collect();
    assert_eq!(told, listed);
    for (tier, name) in PAGES {
        let text = page(name);
        let rows = text.lines().filter(|line| line.starts_with("| MUST") || line.starts_with("| SHOULD"));
        for cells in rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>()) {
            let is_tried = listed.contains(&format!("{tier}/{}", cells[1]));
            assert_eq!(cells.last() == Some(&"driver"), is_tried, "{name}.md: {cells:?}");
        }
    }
}

#[test]
fn each_rule_of_a_client_stands_in_a_checklist() {
    let rule = Regex::new(r"\| R([0-9]+) \|").unwrap();
    let in_lists: BTreeSet<u32> = PAGES
        .iter()
        .flat_map(|(_, name)| {
            rule.captures_iter(&page(name)).map(|found| found[1].parse().unwrap()).collect::<Vec<u32>>()
        })
        .collect();
    let protocol = include_str!("../../../docs/protocol.md");
    let heading = Regex::new(r"(?m)^### R([0-9]+)\. ").unwrap();
    // R1 to R4 are what the scripts do.
    let due: BTreeSet<u32> = heading
        .captures_iter(protocol)
        .map(|found| found[1].parse().unwrap())
        .filter(|rule| *rule > 4)
        .collect();
    assert_eq!(in_lists, due);
}

#[test]
fn a_program_that_is_no_peer_is_told_as_one() {
    for (command, status, words) in [
        ("no-such-program", 5, "ended before it printed a line"),
        ("true", 5, "ended before it printed a line"),
        ("echo hello", 5, "the first line of \"echo hello\" is not {\"tiers\": [...]}"),
        (
            r#"echo '{"tiers": ["sander"]}'"#,
            5,
            "the peer names the tier \"sander\"; the tiers are sender, taker",
        ),
        (r#"echo '{"tiers": []}'"#, 5, "has none of the chosen tiers"),
    ] {
        let ended = run(program().args(["conformance", "--peer", command]));
        assert_eq!(ended.status, Some(status), "{command}: {}", ended.err);
        assert!(ended.err.contains(words), "{command}: {}", ended.err);
    }
    let ended = run(program().args(["conformance", "--peer", "true", "--only", "nothing"]));
    assert_eq!(
        (ended.status, ended.err.contains("nothing is named nothing")),
        (Some(2), true),
        "{}",
        ended.err
    );
    let ended = run(program().arg("conformance"));
    assert_eq!(ended.status, Some(2), "{}", ended.err);
}

/// A peer that answers nothing, and one that says that all is done: neither passes.
#[test]
fn a_peer_that_does_nothing_breaks_rules_and_the_exit_status_tells() {
    let liar = r#"sh -c 'echo "{\"tiers\": [\"taker\"]}"; while read -r line; do id=${line#*\"id\":}; id=${id%%[,\}]*}; echo "{\"id\": $id, \"ok\": null}"; done'"#;
    let ended = run(program().args(["conformance", "--only", "taker/order", "--peer", liar]));
    assert_eq!(ended.status, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("broken   taker    order"), "{}", ended.out);
    assert!(ended.out.contains("took null in place of [\"jobs\",1]"), "{}", ended.out);
    let ended = run(program().args(["conformance", "--only", "sender", "--peer", liar]));
    assert_eq!(ended.status, Some(5), "{}{}", ended.out, ended.err);

    let talker = r#"sh -c 'echo "{\"tiers\": [\"taker\"]}"; echo nonsense; sleep 60'"#;
    let ended = run(program().args(["conformance", "--only", "taker/order", "--peer", talker]));
    assert_eq!(ended.status, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("the peer"), "{}", ended.out);
}

/// The client of another language that needs nothing but its language. Skipped where there is no `node`.
#[test]
fn the_sender_and_taker_in_node_keeps_the_rules_of_its_tiers() {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no node");
        return;
    }
    let peer = format!("node {}/examples/node/peer.mjs", env!("CARGO_MANIFEST_DIR"));
    let ended =
        run(program().args(["conformance", "--jobs", "2", "--only", "sender,taker", "--peer", &peer]));
    assert_eq!(ended.status, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.ends_with("14 hold, 0 broken, 0 left out\n"), "{}", ended.out);
}
