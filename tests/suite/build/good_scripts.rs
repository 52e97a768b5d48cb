//! What a good folder of scripts compiles to. The expected text and hashes were made by hand and by `sha1sum`.

use std::fs;
use std::path::Path;

use super::compiler::{self, CompiledScript, Kind, Run, Slot};
use super::{compile, fixture};

/// The script of this name in `fixtures/whole`.
fn script(name: &str) -> CompiledScript {
    compile("whole").unwrap().into_iter().find(|script| script.name == name).unwrap()
}

fn slot(kind: Kind, index: usize, name: &str, ty: &str, text: &str) -> Slot {
    let [name, ty, text] = [name, ty, text].map(str::to_owned);
    Slot { kind, index, name, ty, text, variadic: false }
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
    assert_eq!(script("push").sha, "120d4cc92590606b612abb192d1cfce3753eabf2");
    assert_eq!(script("group_add").sha, "d5c99cba9fb49a8984798c3a846cb3bb9cc800a4");
}

#[test]
fn a_script_without_includes_stays_as_it_is() {
    assert_eq!(script("group_add").source, fs::read_to_string(fixture("whole/group_add.lua")).unwrap());
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
    assert_eq!(
        script("push").slots,
        [
            slot(Kind::Key, 1, "queue", "list", "<prefix>q:<queue>"),
            slot(Kind::Argument, 1, "payload", "bytes", "sealed by the client, never parsed here"),
            slot(Kind::Argument, 2, "expiry", "int", "milliseconds the message may wait"),
            slot(Kind::Argument, 3, "capacity", "int", "the most live messages that may wait"),
        ]
    );
}

#[test]
fn a_variadic_slot_is_bound_by_unpack_or_as_the_table_and_its_first_index() {
    let queues = slot(Kind::Key, 2, "queues", "list", "<prefix>q:<queue>");
    let entries = slot(Kind::Argument, 2, "entries", "bytes", "one for each queue");
    assert_eq!(
        script("group_add").slots,
        [
            slot(Kind::Key, 1, "group", "hash", "<prefix>g:<group>"),
            Slot { variadic: true, ..queues },
            slot(Kind::Argument, 1, "expiry", "int", "ms the membership lasts"),
            Slot { variadic: true, ..entries },
        ]
    );
}

#[test]
fn the_line_map_leads_from_the_expanded_script_to_the_files() {
    assert_eq!(script("group_add").runs, [run(1, "lua/group_add.lua", 1)]);
    assert_eq!(
        script("push").runs,
        [
            run(1, "lua/push.lua", 1),
            run(17, "lua/lib/clock.lua", 1),
            run(22, "lua/push.lua", 17),
            run(23, "lua/lib/entry.lua", 1),
            run(28, "lua/push.lua", 18),
        ]
    );
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
