//! The vectors of `dist/vectors/`: names, which are public, and the examples of `lua/README.md`, which are among them. The rest
//! is read by tests beside the code, and all of it by those of the client in plain Python.

use std::collections::BTreeSet;
use std::path::Path;

use asgi_redis::{ChannelKind, ChannelName, GroupName};
use regex::Regex;
use serde_json::Value;

use super::{CONTRACT, cells, section, table};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/vectors").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a Vec<Value> {
    vectors[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = text(hex).as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn names_are_those_of_the_vectors() {
    let vectors = read("names");
    for vector in list(&vectors, "channels") {
        let name = ChannelName::new(text(&vector["name"])).unwrap();
        let kind = match name.kind() {
            ChannelKind::Normal => "normal",
            ChannelKind::SingleReader => "single-reader",
            ChannelKind::ProcessSpecific => "mailbox",
            ChannelKind::Inbox => "inbox",
            other => panic!("{other:?}"),
        };
        let known = [kind, name.queue(), name.local().unwrap_or_default()];
        assert_eq!(known, ["kind", "queue", "address"].map(|part| text(&vector[part])), "{name}");
    }
    for name in list(&vectors, "refused_channels") {
        assert!(ChannelName::new(text(name)).is_err(), "{name}");
    }
    for name in list(&vectors, "groups") {
        assert_eq!(GroupName::new(text(name)).unwrap().as_str(), text(name));
    }
    for name in list(&vectors, "refused_groups") {
        assert!(GroupName::new(text(name)).is_err(), "{name}");
    }
}

/// Bytes as `redis-cli` shows them on a terminal.
fn shown(bytes: &[u8]) -> String {
    let letter = |byte: &u8| match byte {
        b'\\' | b'"' => format!("\\{}", char::from(*byte)),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(letter).collect()
}

#[test]
fn the_entries_that_the_page_shows_are_among_the_vectors() {
    let vectors = read("entries");
    let shown: BTreeSet<String> =
        list(&vectors, "messages").iter().map(|vector| shown(&bytes(&vector["entry"]))).collect();
    // Those of messages; a control entry has another deadline.
    let entry = Regex::new(r#"\\x00\\x06[^"]*?[mg][a-z]* \\x81\\xa4text\\xa2hi"#).unwrap();
    let session = section("## A session");
    let told: Vec<&str> = entry.find_iter(session).map(|found| found.as_str()).collect();
    assert!(told.len() >= 4, "{told:?}");
    for told in told {
        assert!(shown.contains(told), "no vector is {told}");
    }

    let vectors = read("control_entries");
    let bodies: BTreeSet<&str> = list(&vectors, "entries").iter().map(|entry| text(&entry["body"])).collect();
    let body = Regex::new(r"(?:\\xd8\\x00|```text\n)([ckw][0-9]+ [^ ]+ [^\n\x22]+)").unwrap();
    let told: Vec<&str> = body.captures_iter(CONTRACT).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(told.len() >= 3, "{told:?}");
    for told in told {
        assert!(bodies.contains(told), "no vector is {told}");
    }
}

#[test]
fn the_servers_and_hidden_names_that_the_page_shows_are_among_the_vectors() {
    let (_, sentence) = section("## Several servers").split_once("With three servers ").unwrap();
    let sentence = sentence.split(".\n").next().unwrap();
    let vectors = read("ring");
    let ring = list(&vectors, "rings").iter().find(|ring| ring["servers"] == 3).unwrap();
    let places = Regex::new(r"`([^`]+)`|server ([0-9])").unwrap();
    let (mut names, mut told) = (Vec::new(), 0);
    for found in places.captures_iter(sentence) {
        match found.get(2) {
            None => names.push(found.get(1).unwrap().as_str()),
            Some(server) => {
                for name in names.drain(..) {
                    assert_eq!(ring["server_of"][name].to_string(), server.as_str(), "{name}");
                    told += 1;
                }
            }
        }
    }
    assert_eq!((told, names.len()), (6, 0), "{sentence}");

    let vectors = read("hidden_names");
    let rows = table(
        section("### Hidden names"),
        "| kind | name | hidden under `a key of names, thirty-two bytes or more` |",
    );
    assert!(rows.len() >= 5);
    for row in rows {
        let [kind, name, written] = cells(row)[..] else { panic!("{row}") };
        let (name, written) = (name.trim_matches('`'), written.trim_matches('`'));
        let is_vector = |vector: &Value| {
            vector["kind"] == kind
                && vector["name"] == name
                && vector["written"] == written
                && vector["key"] == "a key of names, thirty-two bytes or more"
        };
        assert!(list(&vectors, "names").iter().any(is_vector), "no vector is {row}");
    }
}

#[test]
fn the_payload_that_the_page_shows_is_the_first_of_the_vectors() {
    let vectors = read("seal");
    let first = &vectors["payloads"][0];
    let section = section("## Sealed payloads");
    assert!(section.replace(['\n', ' '], "").contains(text(&first["payload"])));
    for told in [
        format!("`{}`", text(&first["key"])),
        format!("channel `{}`", text(&first["name"])),
        format!("sealed at {}", first["sealed_at_ms"]),
        format!("good for {}", first["good_for_ms"]),
    ] {
        assert!(section.contains(&told), "{told}");
    }
    assert_eq!(bytes(&first["message"]), b"\x81\xa4text\xa2hi");
}

#[test]
fn the_page_of_dist_names_each_file_of_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `vectors/")?.split_once('`'));
    let told: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    let files = std::fs::read_dir(folder.join("vectors")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(told, files);
}
