//! `dist/`, for programs that have no Rust: the scripts as servers get them, and a manifest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use asgi_redis::scripts::all;
use serde_json::Value;
use sha1_smol::Sha1;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn each_script_in_dist_is_what_servers_get() {
    let mut expected =
        BTreeSet::from(["README.md", "manifest.json", "releases.json", "vectors"].map(str::to_owned));
    for script in all() {
        let name = format!("{}.lua", script.name());
        let text =
            std::fs::read_to_string(folder().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text == script.source(), "dist/{name} is not the script of lua/: run scripts/dist");
        expected.insert(name);
    }
    let files =
        std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_manifest_is_what_the_command_line_prints() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_asgi-redis"));
    let printed = program.args(["scripts", "--json"]).output().unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert!(
        manifest() == printed,
        "dist/manifest.json is not what `scripts --json` prints: run scripts/dist"
    );
}

#[test]
fn the_manifest_names_each_text_by_its_sha() {
    let manifest = manifest();
    let scripts = manifest.as_array().unwrap();
    assert_eq!(scripts.len(), all().len());
    for script in scripts {
        let name = script["name"].as_str().unwrap();
        let text = std::fs::read(folder().join(format!("{name}.lua"))).unwrap();
        assert_eq!(script["sha"], Sha1::from(text).digest().to_string(), "{name}");
        assert_eq!(script["schema"], 3);
        let keys = script["slots"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|slot| slot["kind"] == "key" && slot["variadic"] == false)
            .count();
        assert!(script["keys"]["least"].as_u64().unwrap() >= keys as u64, "{name}");
    }
}
