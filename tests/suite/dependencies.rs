//! What the crate depends on: licences, sources, bans, the oldest Rust, and a reason for each direct dependency.
//!
//! `scripts/check-dependencies` adds the advisories of the RustSec database where cargo-deny is installed.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use serde_json::Value;

const DENY: &str = include_str!("../../deny.toml");
const MANIFEST: &str = include_str!("../../Cargo.toml");

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).unwrap()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().unwrap()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// The text in quotes after `before`, on each line of a list in deny.toml.
fn list(head: &str, before: &str) -> HashSet<&'static str> {
    let (_, rest) = DENY.split_once(&format!("\n{head} = [\n")).unwrap();
    let (items, _) = rest.split_once("\n]").unwrap();
    items.lines().map(|line| line.split_once(before).unwrap().1.split('"').next().unwrap()).collect()
}

#[test]
fn every_licence_is_an_allowed_one() {
    let allowed = list("allow", "\"");
    let metadata = metadata();
    let refused: Vec<_> = packages(&metadata)
        .iter()
        .filter(|package| !satisfied(text(package, "license"), &allowed))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(refused.is_empty(), "not allowed by deny.toml: {refused:#?}");
}

/// Whether an SPDX expression can be met with the allowed licences; `/` is an old way to write `OR`, and a licence with
/// an exception is another one than without.
fn satisfied(expression: &str, allowed: &HashSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens = spaced.split_whitespace().peekable();
    let met = alternatives(&mut tokens, allowed);
    met && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(tokens: &mut Tokens<'_>, allowed: &HashSet<&str>) -> bool {
    let mut met = conjunction(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        met |= conjunction(tokens, allowed);
    }
    met
}

fn conjunction(tokens: &mut Tokens<'_>, allowed: &HashSet<&str>) -> bool {
    let mut met = licence(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= licence(tokens, allowed);
    }
    met
}

fn licence(tokens: &mut Tokens<'_>, allowed: &HashSet<&str>) -> bool {
    match tokens.next() {
        Some("(") => alternatives(tokens, allowed) & (tokens.next() == Some(")")),
        Some(name) => {
            let exception = tokens.next_if_eq(&"WITH").map(|_| tokens.next().unwrap_or_default());
            let licence = exception.map_or(name.to_owned(), |exception| format!("{name} WITH {exception}"));
            allowed.contains(licence.as_str())
        }
        None => false,
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed = HashSet::from(["MIT", "ISC", "GPL-2.0 WITH Y"]);
    for met in
        ["GPL-2.0 WITH Y", "MIT", "MIT/GPL-3.0", "GPL-3.0 OR MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC"]
    {
        assert!(satisfied(met, &allowed), "{met}");
    }
    for unmet in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "MIT WITH X",
        "MIT WITH",
        "GPL-2.0",
        "MIT ISC",
    ] {
        assert!(!satisfied(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_dependency_comes_from_crates_io_and_none_is_banned() {
    let banned = list("deny", "crate = \"");
    let metadata = metadata();
    let members = metadata["workspace_members"].as_array().unwrap();
    for package in packages(&metadata) {
        let (name, source) = (text(package, "name"), &package["source"]);
        assert!(!banned.contains(name), "{name} is banned by deny.toml");
        let from_crates_io = source == "registry+https://github.com/rust-lang/crates.io-index";
        assert!(from_crates_io || members.contains(&package["id"]), "{name} comes from {source}");
    }
}

#[test]
fn no_dependency_of_users_asks_for_a_newer_rust_than_the_crate_does() {
    let metadata = metadata();
    let by_id: HashMap<&str, &Value> =
        packages(&metadata).iter().map(|package| (text(package, "id"), package)).collect();
    let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let ours = version(text(by_id[root], "rust_version"));

    let mut seen = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        let package = by_id[id];
        let wanted = version(text(package, "rust_version"));
        assert!(wanted <= ours, "{} wants Rust {wanted:?}", text(package, "name"));
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let next = text(dependency, "pkg");
            if kinds.iter().any(|kind| kind["kind"] != "dev") && seen.insert(next) {
                open.push(next);
            }
        }
    }
    assert!(seen.len() > 10, "the graph was walked: {seen:?}");
}

fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = text.split('.').map_while(|part| part.parse().ok()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn the_library_alone_pulls_in_no_crate_of_the_command_line() {
    let metadata = metadata();
    let root = packages(&metadata).iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).unwrap();
    let of_cli: Vec<&str> = ["cli", "test-server"]
        .iter()
        .flat_map(|feature| root["features"][feature].as_array().unwrap())
        .filter_map(|f| f.as_str()?.strip_prefix("dep:"))
        .collect();
    assert!(of_cli.contains(&"clap") && of_cli.contains(&"tempfile"), "{of_cli:?}");

    let tree = cargo(&["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    assert!(tree.lines().any(|line| line.starts_with("redis v")), "{tree}");
    for line in tree.lines() {
        assert!(
            !of_cli.contains(&line.split(' ').next().unwrap()),
            "{line} is a dependency without the feature"
        );
    }
}

#[test]
fn each_direct_dependency_has_its_reason_beside_it() {
    let mut in_dependencies = false;
    let mut seen = 0;
    for line in MANIFEST.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies && !line.is_empty() && !line.starts_with('#') {
            let reason = line.split_once(" # ").map_or("", |(_, reason)| reason);
            assert!(reason.split(' ').count() >= 3, "a reason is missing beside: {line}");
            seen += 1;
        }
    }
    assert!(seen > 10, "the dependencies were found");
}
