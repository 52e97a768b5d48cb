//! What a good folder of scripts compiles to. The expected text and hashes were made by hand and by `sha1sum`.

use std::fs;
use std::path::Path;

use super::compiler::types::Type;
use super::compiler::{self, CompiledScript, Kind, Run, Slot};
use super::{compile, fixture};

/// The script of this name in `fixtures/whole`.
fn script(name: &str) -> CompiledScript {
    compile("whole").unwrap().into_iter().find(|script| script.name == name).unwrap()
}

fn slot(kind: Kind, index: usize, name: &str, ty: &str, text: &str) -> Slot {
    let parsed =
        Type::parse(ty, kind == Kind::Key, ty.starts_with(|first: char| first.is_ascii_digit())).unwrap();
    let [name, told, text] = [name, ty, text].map(str::to_owned);
    Slot { kind, index, name, told, ty: parsed, text, variadic: false, is_number: false, is_table: false }
}

fn run(start: usize, file: &str, line: usize) -> Run {
    Run { start, file: file.to_owned(), line }
}

#[test]
fn every_lua_file_of_the_folder_is_a_script_and_nothing_else_is() {
    let scripts = compile("whole").unwrap();
    assert_eq!(scripts.iter().map(|script| script.name.as_str()).collect::<Vec<_>>(), ["group_add", "push"]);
}

#[test]
fn a_folder_without_scripts_compiles_to_none() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_scripts");
    fs::create_dir_all(folder.join("lib")).unwrap();
    fs::write(folder.join("lib/clock.lua"), "").unwrap();
    assert!(compiler::compile_folder(&folder).unwrap().is_empty());
}

#[test]
fn includes_are_expanded_in_their_places_and_each_only_once() {
    let expanded = fs::read_to_string(fixture("whole_expanded/push.lua")).unwrap();
    assert_eq!(script("push").source, expanded);
}

#[test]
fn the_sha_is_that_of_the_expanded_bytes() {
    assert_eq!(script("push").sha, "5de0712fbf202cd28467e791658ed754673edbdf");
    assert_eq!(script("group_add").sha, "5089c29bf9f684c2eaaec13f20546818f4d58dca");
}

#[test]
fn below_the_slots_stand_their_checks_and_all_else_stays_as_it_is() {
    let source = script("group_add").source;
    let (slots, rest) = source.split_once("-- Checks, made by the build of the types above\n").unwrap();
    let (checks, below) = rest.split_once("-- Checked\n").unwrap();
    assert_eq!([slots, below].concat(), fs::read_to_string(fixture("whole/group_add.lua")).unwrap());
    assert!(slots.ends_with("one for each queue\n"));
    for due in
        ["#KEYS < 2 or #KEYS > 10", "#entries < 2", "expiry + 0 > 60000", "not find(group, '.g:[^%s:]+$')"]
    {
        assert!(checks.contains(due), "{due}: {checks}");
    }
}

#[test]
fn a_missing_line_feed_at_the_end_of_the_file_is_added() {
    let scripts = compile("bare").unwrap();
    assert_eq!(scripts[0].source, "#!lua\n-- Does nothing.\n-- reply: 1\nreturn 1\n");
    assert_eq!(scripts[0].sha, "32f11247d1df8e464d8ca942974b437f596e4a9e");
}

#[test]
fn the_doc_is_the_first_paragraph_of_comments() {
    assert_eq!(script("push").doc, "Appends one sealed message to a queue, unless it is full.");
}

#[test]
fn each_reply_goes_on_until_its_comment_ends() {
    assert_eq!(
        script("push").reply,
        [r#"{"sent"}"#, r#"{"full", live_messages}: as many live messages wait as the capacity allows"#]
    );
}

#[test]
fn slots_are_read_with_their_types_and_texts() {
    let capacity = slot(Kind::Argument, 3, "capacity", "int 0..999", "the most live messages that may wait");
    assert_eq!(
        script("push").slots,
        [
            slot(Kind::Key, 1, "queue", "list", "<prefix>q:<queue>"),
            slot(Kind::Argument, 1, "payload", "bytes", "sealed by the client, never parsed here"),
            Slot {
                is_number: true,
                ..slot(Kind::Argument, 2, "expiry", "int 1..60000 ms", "the message may wait")
            },
            Slot { is_number: true, ..capacity },
        ]
    );
}

#[test]
fn a_variadic_slot_is_bound_by_unpack_or_as_the_table_and_its_first_index() {
    let queues = slot(Kind::Key, 2, "queues", "1..9 list", "<prefix>q:<queue>");
    let entries = slot(Kind::Argument, 2, "entries", "1..9 bytes", "one for each queue");
    assert_eq!(
        script("group_add").slots,
        [
            slot(Kind::Key, 1, "group", "hash", "<prefix>g:<group>"),
            Slot { variadic: true, ..queues },
            slot(Kind::Argument, 1, "expiry", "int 1..60000 ms", "the membership lasts"),
            Slot { variadic: true, is_table: true, ..entries },
        ]
    );
}

#[test]
fn the_line_map_leads_from_the_expanded_script_to_the_files() {
    // The checks are of the last slot.
    let of_checks =
        |lines: std::ops::RangeInclusive<usize>, file, slot| lines.map(move |line| run(line, file, slot));
    let mut due = vec![run(1, "lua/group_add.lua", 1)];
    due.extend(of_checks(8..=31, "lua/group_add.lua", 7));
    due.push(run(32, "lua/group_add.lua", 8));
    assert_eq!(script("group_add").runs, due);
    let mut due = vec![run(1, "lua/push.lua", 1)];
    due.extend(of_checks(15..=33, "lua/push.lua", 14));
    due.extend([
        run(34, "lua/push.lua", 15),
        run(36, "lua/lib/clock.lua", 1),
        run(41, "lua/push.lua", 17),
        run(42, "lua/lib/entry.lua", 1),
        run(47, "lua/push.lua", 18),
    ]);
    assert_eq!(script("push").runs, due);
}

#[test]
fn the_library_gets_a_typed_constant_and_an_embedded_file_for_each_script() {
    let out_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    fs::create_dir_all(out_dir.join("lua")).unwrap();
    fs::write(out_dir.join("lua/removed.lua"), "").unwrap();

    compiler::write(&compile("whole").unwrap(), &out_dir).unwrap();

    let mut files: Vec<_> =
        fs::read_dir(out_dir.join("lua")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["group_add.lua", "push.lua"]);
    assert_eq!(fs::read_to_string(out_dir.join("lua/push.lua")).unwrap(), script("push").source);
    let expected = fs::read_to_string(fixture("whole_expanded/scripts.rs")).unwrap();
    assert_eq!(fs::read_to_string(out_dir.join("scripts.rs")).unwrap(), expected);
}
