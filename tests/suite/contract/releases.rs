//! `dist/releases.json`: the SHA-1 of each script in each release, and what may change between two. docs/contract/compatibility.md
//! has the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use asgi_redis::scripts::SCHEMA;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use sha1_smol::Sha1;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One line of `dist/releases.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Release {
    contract: String,
    #[serde(rename = "crate")]
    package: String,
    /// The day; none before it.
    released: Option<String>,
    schema: u64,
    scripts: BTreeMap<String, String>,
    vectors: BTreeMap<String, String>,
}

/// How much the version of the contract must rise at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rise {
    #[default]
    None,
    Patch,
    Minor,
    /// The first number, which is that of the schema.
    Major,
}

/// What is there now.
struct Present {
    manifest: Value,
    scripts: BTreeMap<String, String>,
    vectors: BTreeMap<String, String>,
}

impl Present {
    fn read() -> Self {
        let manifest = read_json(&root().join("dist/manifest.json"));
        Self {
            manifest,
            scripts: shas(&root().join("dist"), "lua"),
            vectors: shas(&root().join("dist/vectors"), "json"),
        }
    }
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The SHA-1 of each file with this ending, by its name without the ending.
fn shas(folder: &Path, ending: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == ending));
    let sha = |path: &PathBuf| Sha1::from(std::fs::read(path).unwrap()).digest().to_string();
    files.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), sha(&path))).collect()
}

fn version(text: &str) -> [u64; 3] {
    let numbers: Vec<u64> = text.split('.').map(|number| number.parse().unwrap_or(u64::MAX)).collect();
    numbers.try_into().unwrap_or([u64::MAX; 3])
}

/// How much the version rises from one to the other.
fn rise(from: [u64; 3], to: [u64; 3]) -> Rise {
    match () {
        () if to[0] > from[0] => Rise::Major,
        () if to[0] == from[0] && to[1] > from[1] => Rise::Minor,
        () if to[..2] == from[..2] && to[2] > from[2] => Rise::Patch,
        () => Rise::None,
    }
}

/// What is against the rules in a list of releases, the newest first.
fn faults(releases: &[Release], present: &Present, kept: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(newest) = releases.first() else { return vec!["there is no release".to_owned()] };
    if (&newest.scripts, &newest.vectors) != (&present.scripts, &present.vectors) {
        faults.push(match newest.released {
            None => "the newest entry is not what stands in dist/: run scripts/dist".to_owned(),
            Some(_) => format!("{} is released, and dist/ has changed: add an entry", newest.contract),
        });
    }
    for (place, release) in releases.iter().enumerate() {
        let name = &release.contract;
        if version(name)[0] != release.schema {
            faults.push(format!("the first number of {name} is not the schema, {}", release.schema));
        }
        if release.released.is_none() {
            if place > 0 {
                faults.push(format!("{name} is not released, and another one followed it"));
            }
            continue;
        }
        let texts = shas(&kept.join(name), "lua");
        for script in texts.keys().chain(release.scripts.keys()).collect::<BTreeSet<_>>() {
            if texts.get(script) != release.scripts.get(script) {
                faults.push(format!("{script} of {name} has another SHA-1 than when it was released"));
            }
        }
    }
    for pair in releases.windows(2) {
        let [newer, older] = pair else { continue };
        let manifest = |release: &Release| read_json(&kept.join(&release.contract).join("manifest.json"));
        let newer_manifest = match newer.released {
            None => present.manifest.clone(),
            Some(_) => manifest(newer),
        };
        let (least, reasons) = least_rise(&manifest(older), &newer_manifest);
        if rise(version(&older.contract), version(&newer.contract)) < least {
            let (older, newer) = (&older.contract, &newer.contract);
            faults.push(format!("from {older} to {newer} is too little: {}", reasons.join("; ")));
        }
    }
    faults
}

/// How much the version must rise from one manifest to another, and why.
fn least_rise(older: &Value, newer: &Value) -> (Rise, Vec<String>) {
    let scripts = |manifest: &Value| -> BTreeMap<String, Value> {
        let scripts = manifest.as_array().unwrap().iter();
        scripts.map(|script| (script["name"].as_str().unwrap().to_owned(), script.clone())).collect()
    };
    let (older, newer) = (scripts(older), scripts(newer));
    let (mut least, mut reasons) = (Rise::None, Vec::new());
    let mut needs = |rise: Rise, why: String| {
        least = least.max(rise);
        reasons.push(why);
    };
    for name in newer.keys().filter(|name| !older.contains_key(*name)) {
        needs(Rise::Minor, format!("{name} is new"));
    }
    for (name, was) in &older {
        let Some(is) = newer.get(name) else {
            needs(Rise::Major, format!("{name} is gone"));
            continue;
        };
        if was["schema"] != is["schema"] {
            needs(Rise::Major, format!("{name} is of another schema"));
        }
        if was["sha"] != is["sha"] {
            needs(Rise::Patch, format!("{name} has another text"));
        }
        let (slots, new_slots) = (was["slots"].as_array().unwrap(), is["slots"].as_array().unwrap());
        if slots.len() != new_slots.len() {
            needs(Rise::Major, format!("{name} has another number of slots: give it a new name"));
        }
        for (slot, new_slot) in slots.iter().zip(new_slots) {
            let same = ["kind", "index", "variadic", "name"].iter().all(|part| slot[part] == new_slot[part]);
            let slot_name = slot["name"].as_str().unwrap();
            let types = [slot, new_slot].map(|slot| slot["type"].as_str().unwrap());
            if !same || !admits(types[1], types[0]) {
                needs(
                    Rise::Major,
                    format!("{name}: {slot_name} takes less, or something else: give it a new name"),
                );
            } else if types[0] != types[1] {
                needs(Rise::Minor, format!("{name}: {slot_name} takes more"));
            }
        }
        let forms = |script: &Value| -> BTreeSet<String> {
            let replies = script["replies"].as_array().unwrap().iter();
            replies.map(|reply| reply["form"].as_str().unwrap().to_owned()).collect()
        };
        let (forms, new_forms) = (forms(was), forms(is));
        for form in forms.difference(&new_forms) {
            needs(Rise::Major, format!("{name} no longer answers {form}: give it a new name"));
        }
        for form in new_forms.difference(&forms) {
            needs(Rise::Minor, format!("{name} answers {form} too"));
        }
    }
    (least, reasons)
}

/// Whether a slot of the newer type takes all that one of the older type takes.
fn admits(newer: &str, older: &str) -> bool {
    let range = Regex::new(r"(-?[0-9]+)\.\.([0-9]+)").unwrap();
    let bounds = |ty: &str| -> Vec<(i128, i128)> {
        range.captures_iter(ty).map(|found| (found[1].parse().unwrap(), found[2].parse().unwrap())).collect()
    };
    let words = |ty: &str| -> Option<BTreeSet<String>> {
        let words = ty.strip_prefix("word ")?.trim_end_matches(" or empty");
        Some(words.split(", ").map(str::to_owned).collect())
    };
    let may_be_empty = |ty: &str| ty.ends_with(" or empty");
    if may_be_empty(older) && !may_be_empty(newer) {
        return false;
    }
    if let (Some(older), Some(newer)) = (words(older), words(newer)) {
        return older.is_subset(&newer);
    }
    let shape = |ty: &str| range.replace_all(ty.trim_end_matches(" or empty"), "range").into_owned();
    let (older_bounds, newer_bounds) = (bounds(older), bounds(newer));
    shape(older) == shape(newer)
        && older_bounds
            .iter()
            .zip(&newer_bounds)
            .all(|(older, newer)| newer.0 <= older.0 && older.1 <= newer.1)
}

fn kept() -> PathBuf {
    root().join("tests/suite/contract/releases")
}

fn listed() -> Vec<Release> {
    serde_json::from_value(read_json(&root().join("dist/releases.json"))).unwrap()
}

#[test]
fn the_list_of_releases_keeps_the_rules() {
    let (releases, present) = (listed(), Present::read());
    assert_eq!(faults(&releases, &present, &kept()), [""; 0]);
    assert_eq!(i64::try_from(releases[0].schema).unwrap(), SCHEMA);
    assert_eq!(releases[0].package, env!("CARGO_PKG_VERSION"));
    for script in present.manifest.as_array().unwrap() {
        let since = script["since"].as_str().unwrap();
        assert!(releases.iter().any(|release| release.package == since), "{}: since {since}", script["name"]);
    }
}

#[test]
fn what_a_tag_has_released_still_stands_in_the_list() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let releases = listed();
    assert!(!releases.is_empty());
    for tag in git(&["tag", "--list", "v*"]).lines() {
        let listed = git(&["show", &format!("{tag}:dist/releases.json")]);
        let Ok(then) = serde_json::from_str::<Vec<Release>>(&listed) else { continue };
        for release in then.iter().filter(|release| release.released.is_some()) {
            assert!(releases.contains(release), "{} was changed since {tag}", release.contract);
        }
    }
}

/// A made-up script.
fn script(name: &str, text: &str, slots: &[(&str, &str)], replies: &[&str]) -> (String, Value) {
    let slots = slots.iter().enumerate().map(|(place, (name, ty))| {
        json!({ "kind": "argument", "index": place + 1, "variadic": false, "name": name, "type": ty })
    });
    let replies = replies.iter().map(|form| json!({ "form": form, "means": "" }));
    let sha = Sha1::from(text).digest().to_string();
    let described = json!({
        "name": name, "sha": sha, "schema": 3, "slots": slots.collect::<Vec<_>>(),
        "replies": replies.collect::<Vec<_>>(),
    });
    (text.to_owned(), described)
}

fn manifest(scripts: &[(String, Value)]) -> Value {
    scripts.iter().map(|(_, described)| described.clone()).collect()
}

#[test]
fn each_change_of_a_manifest_needs_its_rise() {
    let was =
        script("push", "one", &[("expiry", "int 1..1000 ms"), ("marks", "word some, all")], &["\"sent\""]);
    let needs =
        |scripts: &[(String, Value)]| least_rise(&manifest(std::slice::from_ref(&was)), &manifest(scripts)).0;
    let push = |slots: &[(&str, &str)], replies: &[&str]| script("push", "two", slots, replies);
    let slots = [("expiry", "int 1..1000 ms"), ("marks", "word some, all")];
    assert_eq!(needs(std::slice::from_ref(&was)), Rise::None);
    assert_eq!(needs(&[push(&slots, &["\"sent\""])]), Rise::Patch);
    assert_eq!(needs(&[was.clone(), script("fetch", "x", &[], &["{}"])]), Rise::Minor);
    assert_eq!(needs(&[]), Rise::Major);
    for (expiry, marks, replies, rise) in [
        ("int 0..1000 ms", "word some, all", &["\"sent\""][..], Rise::Minor),
        ("int 1..1000 ms or empty", "word some, all", &["\"sent\""], Rise::Minor),
        ("int 1..1000 ms", "word some, all, none", &["\"sent\""], Rise::Minor),
        ("int 1..1000 ms", "word some, all", &["\"sent\"", "{\"new\"}"], Rise::Minor),
        ("int 2..1000 ms", "word some, all", &["\"sent\""], Rise::Major),
        ("int 1..999 ms", "word some, all", &["\"sent\""], Rise::Major),
        ("int 1..1000 s", "word some, all", &["\"sent\""], Rise::Major),
        ("text", "word some, all", &["\"sent\""], Rise::Major),
        ("int 1..1000 ms", "word all", &["\"sent\""], Rise::Major),
        ("int 1..1000 ms", "word some, all", &["{\"sent\", n}"], Rise::Major),
    ] {
        let found = needs(&[push(&[("expiry", expiry), ("marks", marks)], replies)]);
        assert_eq!(found, rise, "{expiry}, {marks}, {replies:?}");
    }
    assert_eq!(needs(&[push(&slots[..1], &["\"sent\""])]), Rise::Major, "a slot is gone");
    assert_eq!(needs(&[push(&[slots[1], slots[0]], &["\"sent\""])]), Rise::Major, "slots changed places");
}

#[test]
fn a_released_text_that_was_changed_and_a_version_that_rises_too_little_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let keep = |version: &str, scripts: &[(String, Value)]| {
        let folder = folder.path().join(version);
        std::fs::create_dir_all(&folder).unwrap();
        for (text, described) in scripts {
            std::fs::write(folder.join(format!("{}.lua", described["name"].as_str().unwrap())), text)
                .unwrap();
        }
        std::fs::write(folder.join("manifest.json"), manifest(scripts).to_string()).unwrap();
    };
    let release = |version: &str, released: Option<&str>, scripts: &[(String, Value)]| Release {
        contract: version.to_owned(),
        package: "0.1.0".to_owned(),
        released: released.map(str::to_owned),
        schema: 3,
        scripts: scripts.iter().map(|(_, it)| (text(&it["name"]), text(&it["sha"]))).collect(),
        vectors: BTreeMap::new(),
    };
    let present = |scripts: &[(String, Value)]| Present {
        manifest: manifest(scripts),
        scripts: release("", None, scripts).scripts,
        vectors: BTreeMap::new(),
    };
    let first = [script("push", "one", &[("expiry", "int 1..1000 ms")], &["\"sent\""])];
    let second = [first[0].clone(), script("fetch", "x", &[], &["{}"])];
    keep("3.0.0", &first);
    let old = release("3.0.0", Some("2026-12-01"), &first);

    let right = [release("3.1.0", None, &second), old.clone()];
    assert_eq!(faults(&right, &present(&second), folder.path()), [""; 0]);
    let [fault] =
        &faults(&[release("3.0.1", None, &second), old.clone()], &present(&second), folder.path())[..]
    else {
        panic!("a new script asks for more than a patch")
    };
    assert_eq!(fault, "from 3.0.0 to 3.0.1 is too little: fetch is new");
    let [fault] = &faults(std::slice::from_ref(&old), &present(&second), folder.path())[..] else {
        panic!("a release does not take a new script")
    };
    assert_eq!(fault, "3.0.0 is released, and dist/ has changed: add an entry");
    let [fault] = &faults(&[release("4.0.0", None, &second), old], &present(&second), folder.path())[..]
    else {
        panic!("the first number is the schema")
    };
    assert_eq!(fault, "the first number of 4.0.0 is not the schema, 3");

    std::fs::write(folder.path().join("3.0.0/push.lua"), "another").unwrap();
    let [fault] = &faults(&right, &present(&second), folder.path())[..] else { panic!("a text was changed") };
    assert_eq!(fault, "push of 3.0.0 has another SHA-1 than when it was released");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn the_earlier_texts_are_those_of_their_manifest_and_what_changed_since_needs_no_new_schema() {
    let folder = root().join("tests/suite/contract/earlier");
    let (earlier, present) = (read_json(&folder.join("manifest.json")), Present::read());
    let described = earlier.as_array().unwrap().iter();
    let told: BTreeMap<String, String> =
        described.map(|script| (text(&script["name"]), text(&script["sha"]))).collect();
    assert_eq!(shas(&folder, "lua"), told);
    let (least, reasons) = least_rise(&earlier, &present.manifest);
    let mut why = String::new();
    for reason in &reasons {
        writeln!(why, "{reason}").unwrap();
    }
    assert!(least <= Rise::Minor, "{why}");
}
