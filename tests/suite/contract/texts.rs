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
    let options = options();
    assert_eq!(told, options.iter().map(String::as_str).collect());
}

/// Every option, as the refusal of an unknown one names them.
fn options() -> BTreeSet<String> {
    let refusal = ConfigBuilder::try_from(Value::map([("no such option", 1)])).unwrap_err().to_string();
    let (_, options) = refusal.split_once("the options are ").expect(&refusal);
    options.split(", ").map(|option| option.trim_matches('`').to_owned()).collect()
}

/// The rows below a heading of a table, by cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let tables = OPTIONS.split(heading).skip(1);
    let rows = tables.flat_map(|rows| rows.lines().skip(1).take_while(|line| line.starts_with('|')));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn each_option_refuses_the_wrong_value_of_the_table_in_its_words() {
    let (mut told, mut other) = (BTreeSet::new(), Vec::new());
    for row in rows("\n| option | a wrong value is told | changed while others run on the same data |\n") {
        let [option, wrong, change] = row[..] else { panic!("{row:?}") };
        let option = option.trim_matches('`');
        let (value, words) = wrong.strip_prefix('`').unwrap().split_once("`: ").unwrap();
        let document = format!(r#"{{"{option}": {value}}}"#);
        let refusal = serde_json::from_str::<ConfigBuilder>(&document)
            .map_err(|error| error.to_string())
            .and_then(|builder| builder.build().map_err(|error| error.to_string()))
            .map_or_else(|error| error, |_| "not refused".to_owned());
        if !refusal.starts_with(words) {
            other.push(format!("{document}: {refusal}"));
        }
        assert!(!change.is_empty(), "{option}");
        told.insert(option.to_owned());
    }
    assert_eq!(other, [""; 0]);
    assert_eq!(told, options());
}

#[test]
fn the_defaults_in_the_tables_are_those_of_the_code() {
    let config = ConfigBuilder::new().build().unwrap();
    let channel = |name: &str| asgi_redis::ChannelName::new(name).unwrap();
    let numbers = [
        ("expiry", config.expiry().as_secs()),
        ("group_expiry", config.group_expiry().as_secs()),
        ("lease", config.lease().as_secs()),
        ("membership_lease", config.membership_lease().as_secs()),
        ("response_timeout", config.response_timeout().as_secs()),
        ("connect_timeout", config.connect_timeout().as_secs()),
        ("capacity", config.capacity_of(&channel("a")) as u64),
        ("inbox_capacity", config.queue_capacity_of(&channel("a!b")) as u64),
        ("inbox_bytes", config.inbox_bytes() as u64),
        ("max_channels_per_receive", config.max_channels_per_receive() as u64),
        ("max_sends_in_flight", config.max_sends_in_flight() as u64),
    ];
    let rows = rows("\n| option | unit, range | default | meaning |\n");
    for (option, number) in numbers {
        let named = format!("`{option}`");
        let row = rows.iter().find(|row| row[0] == named).expect(option);
        let told = row[2].replace(',', "");
        let told = told.trim_end_matches(" s");
        assert_eq!(told, number.to_string(), "{option}");
    }
    let prefix = rows.iter().find(|row| row[0] == "`prefix`").unwrap();
    assert!(prefix[2].contains(config.prefix()), "{prefix:?}");
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
