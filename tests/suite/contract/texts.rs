//! The texts for users and contributors: they name every option and every file.

use std::collections::BTreeSet;
use std::path::Path;

use asgi_redis::{ConfigBuilder, Value};
use regex::Regex;

const OPTIONS: &str = include_str!("../../../docs/guides/options.md");

#[test]
fn the_tables_of_options_name_every_option_and_no_other() {
    let tables = OPTIONS.split("\n| option | unit, range | default | meaning |\n").skip(1);
    let name = Regex::new("`([a-z_]+)`").unwrap();
    let rows = tables.flat_map(|rows| rows.lines().skip(1).take_while(|line| line.starts_with('|')));
    let told: BTreeSet<&str> = rows
        .flat_map(|row| name.captures_iter(row.split('|').nth(1).unwrap()))
        .map(|found| found.extract::<1>().1[0])
        .collect();

    let refusal = ConfigBuilder::try_from(Value::map([("no such option", 1)])).unwrap_err().to_string();
    let (_, options) = refusal.split_once("the options are ").expect(&refusal);
    let options: BTreeSet<&str> = options.split(", ").map(|option| option.trim_matches('`')).collect();
    assert_eq!(told, options);
}

#[test]
fn the_map_of_the_house_names_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    for folder in ["src", "src/redis"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let told = if file.path().is_dir() { format!("`{folder}/{name}") } else { name };
            assert!(map.contains(&told), "the map in docs/architecture.md lacks {told}, of {folder}/");
        }
    }
}
