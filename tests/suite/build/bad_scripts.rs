//! Each mistake in a script fails the build with the file, the line and one sentence.

use std::fs;
use std::path::Path;

use super::{compile, compiler};

/// Shows what the build says about the folder `fixtures/<case>`.
#[track_caller]
fn assert_refused(case: &str, told: &[&str]) {
    match compile(case) {
        Ok(_) => panic!("fixtures/{case} compiles"),
        Err(error) => assert_eq!(error.to_string().lines().collect::<Vec<_>>(), told),
    }
}

#[test]
fn a_script_without_its_first_line_is_refused() {
    assert_refused(
        "first_line_missing",
        &["lua/push.lua:1: the first line is not `#!lua` or `#!lua flags=...`"],
    );
}

#[test]
fn a_script_without_a_doc_is_refused() {
    assert_refused(
        "doc_missing",
        &["lua/push.lua:2: the doc is missing; write below `#!lua` what the script does, as `-- ...`"],
    );
}

#[test]
fn a_script_without_a_reply_is_refused() {
    assert_refused(
        "reply_missing",
        &["lua/push.lua:3: the reply is missing; write below the doc `-- reply: ...`"],
    );
}

#[test]
fn a_reply_that_says_nothing_is_refused() {
    assert_refused(
        "reply_empty",
        &["lua/push.lua:3: the reply is empty; write what the script answers behind `reply:`"],
    );
}

#[test]
fn a_script_whose_name_has_capitals_is_refused() {
    assert_refused(
        "name_with_capitals",
        &["lua/pushMany.lua: a script is named verb or verb_noun, in lower-case ASCII letters"],
    );
}

#[test]
fn a_script_whose_name_has_three_words_is_refused() {
    assert_refused(
        "name_of_three_words",
        &["lua/push_many_now.lua: a script is named verb or verb_noun, in lower-case ASCII letters"],
    );
}

#[test]
fn a_gap_between_slots_is_refused() {
    assert_refused("slot_gap", &["lua/push.lua:6: ARGV[3] is bound where ARGV[2] is due; leave no gap"]);
}

#[test]
fn a_gap_in_front_of_the_first_slot_is_refused() {
    assert_refused(
        "slot_gap_at_the_start",
        &["lua/push.lua:5: ARGV[2] is bound where ARGV[1] is due; leave no gap"],
    );
}

#[test]
fn a_slot_numbered_from_zero_is_refused() {
    assert_refused("slot_zero", &["lua/push.lua:5: ARGV[0] is bound, but slots are numbered from 1"]);
}

#[test]
fn a_slot_that_is_bound_twice_is_refused() {
    assert_refused("slot_repeated", &["lua/push.lua:6: ARGV[1] is bound twice"]);
}

#[test]
fn two_slots_of_one_name_is_refused() {
    assert_refused("slot_name_repeated", &["lua/push.lua:6: the name `payload` is bound twice"]);
}

#[test]
fn a_slot_without_a_type_is_refused() {
    assert_refused(
        "slot_without_type",
        &["lua/push.lua:5: the slot `payload` has no type; write `-- [type] text` behind it"],
    );
}

#[test]
fn a_type_that_no_check_is_made_of_is_refused() {
    for (case, lacks) in [
        (
            "type_unknown",
            "the type `integer` of the slot `expiry` lacks one of the types prefix, int, name, token, word, text and bytes",
        ),
        (
            "int_without_range",
            "the type `int` of the slot `expiry` lacks its range, as in `[int 1..1000 ms]`, from -1 or more to 2^53",
        ),
        (
            "variadic_without_count",
            "the type `bytes` of the slot `more` lacks how many there are, as in `[1..100 bytes...]`",
        ),
        ("key_without_shape", "the text of the key `marks` begins with its shape, as `<prefix>q:<queue>`"),
        ("number_or_empty", "the slot `expiry` is made a number; its type is an int that is never empty"),
    ] {
        assert_refused(case, &[&format!("lua/push.lua:6: {lacks}")]);
    }
}

#[test]
fn a_slot_without_a_comment_is_refused() {
    assert_refused(
        "slot_without_comment",
        &["lua/push.lua:5: the slot `payload` has no type; write `-- [type] text` behind it"],
    );
}

#[test]
fn a_slot_without_a_text_is_refused() {
    assert_refused(
        "slot_without_text",
        &["lua/push.lua:5: the slot `payload` has no text; say behind its type what it holds"],
    );
}

#[test]
fn a_slot_bound_inside_an_expression_is_refused() {
    assert_refused(
        "slot_in_an_expression",
        &[
            "lua/push.lua:5: `ARGV` is used outside a slot line; bind each slot at the top, as `local name = ARGV[1] -- [type] text`",
        ],
    );
}

#[test]
fn a_slot_behind_a_variadic_one_is_refused() {
    assert_refused(
        "variadic_not_last",
        &[
            "lua/push.lua:6: ARGV[2] stands behind `payloads`, which takes every slot from ARGV[1] on; put it last",
        ],
    );
}

#[test]
fn a_slot_behind_a_variadic_one_bound_as_a_table_is_refused() {
    assert_refused(
        "variadic_table_not_last",
        &[
            "lua/push.lua:5: KEYS[2] stands behind `queues`, which takes every slot from KEYS[1] on; put it last",
        ],
    );
}

#[test]
fn a_gap_in_front_of_a_variadic_slot_is_refused() {
    assert_refused("variadic_gap", &["lua/push.lua:6: ARGV[3] is bound where ARGV[2] is due; leave no gap"]);
}

#[test]
fn a_variadic_slot_whose_type_has_no_dots_is_refused() {
    assert_refused(
        "variadic_without_dots",
        &["lua/push.lua:5: the slot `payloads` is variadic; end its type with dots: `[1..9 bytes...]`"],
    );
}

#[test]
fn a_type_with_dots_of_a_slot_that_is_not_variadic_is_refused() {
    assert_refused(
        "dots_without_variadic",
        &["lua/push.lua:5: the slot `payload` is not variadic; write its type without dots"],
    );
}

#[test]
fn a_raw_slot_below_the_slot_lines_is_refused() {
    assert_refused(
        "raw_slot_below",
        &[
            "lua/push.lua:6: `KEYS` is used outside a slot line; bind each slot at the top, as `local name = KEYS[1] -- [type] text`",
        ],
    );
}

#[test]
fn a_raw_slot_right_behind_a_long_comment_that_names_it_too_is_refused() {
    assert_refused(
        "raw_slot_below_a_long_comment",
        &[
            "lua/push.lua:7: `ARGV` is used outside a slot line; bind each slot at the top, as `local name = ARGV[1] -- [type] text`",
        ],
    );
}

#[test]
fn a_slot_line_below_code_is_refused() {
    assert_refused(
        "slot_line_below_code",
        &[
            "lua/push.lua:6: `ARGV` is used outside a slot line; bind each slot at the top, as `local name = ARGV[1] -- [type] text`",
        ],
    );
}

#[test]
fn a_slot_line_below_an_include_is_refused() {
    assert_refused(
        "slot_line_below_an_include",
        &[
            "lua/push.lua:6: `ARGV` is used outside a slot line; bind each slot at the top, as `local name = ARGV[1] -- [type] text`",
        ],
    );
}

#[test]
fn a_raw_slot_in_a_library_is_refused() {
    assert_refused(
        "raw_slot_in_a_library",
        &[
            "lua/lib/clock.lua:3: `ARGV` is used in a library; take what it holds as an argument",
            "  included from lua/push.lua:6",
        ],
    );
}

#[test]
fn an_include_of_a_file_that_is_not_there_is_refused() {
    assert_refused(
        "include_missing",
        &["lua/push.lua:6: \"lib/clock\" is included, but there is no lua/lib/clock.lua"],
    );
}

#[test]
fn a_missing_include_of_a_library_with_its_include_stack_is_refused() {
    assert_refused(
        "include_missing_in_a_library",
        &[
            "lua/lib/deadline.lua:2: \"lib/clock\" is included, but there is no lua/lib/clock.lua",
            "  included from lua/lib/entry.lua:2",
            "  included from lua/push.lua:6",
        ],
    );
}

#[test]
fn a_cycle_of_includes_with_its_include_stack_is_refused() {
    assert_refused(
        "include_cycle",
        &[
            "lua/lib/clock.lua:2: the include of \"lib/entry\" closes a cycle",
            "  included from lua/lib/entry.lua:1",
            "  included from lua/push.lua:7",
        ],
    );
}

#[test]
fn a_library_that_includes_itself_is_refused() {
    assert_refused(
        "include_of_itself",
        &[
            "lua/lib/clock.lua:1: the include of \"lib/clock\" closes a cycle",
            "  included from lua/push.lua:6",
        ],
    );
}

#[test]
fn an_include_that_climbs_out_of_the_folder_is_refused() {
    assert_refused(
        "include_outside",
        &["lua/push.lua:6: \"lib/../../secret\" is outside lua/; only files of lua/lib/ are included"],
    );
}

#[test]
fn an_include_by_absolute_path_is_refused() {
    assert_refused(
        "include_absolute",
        &["lua/push.lua:6: \"/etc/clock\" is outside lua/; only files of lua/lib/ are included"],
    );
}

#[test]
fn an_include_of_a_script_is_refused() {
    assert_refused(
        "include_of_a_script",
        &[
            "lua/push.lua:6: \"pop\" is not a library; write \"lib/name\", in lower-case ASCII letters and `_`, without .lua",
        ],
    );
}

#[test]
fn an_include_without_quotes_is_refused() {
    assert_refused(
        "include_without_quotes",
        &[
            "lua/push.lua:6: an include is written `-- @include \"lib/name\"`, alone on its line and without indentation",
        ],
    );
}

#[test]
fn an_include_inside_a_block_is_refused() {
    assert_refused(
        "include_indented",
        &[
            "lua/push.lua:7: an include is written `-- @include \"lib/name\"`, alone on its line and without indentation",
        ],
    );
}

/// Writes a folder of one script, for what a check-out might change in a fixture.
fn folder_of(name: &str, push: &[u8]) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("push.lua"), push).unwrap();
    folder
}

#[test]
fn a_carriage_return_is_refused() {
    let folder = folder_of("carriage_return", b"#!lua\n-- Does nothing.\r\n-- reply: 1\r\nreturn 1\r\n");
    assert_eq!(
        compiler::compile_folder(&folder).unwrap_err().to_string(),
        "lua/push.lua:2: there is a carriage return; lines end with a line feed alone"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let folder = folder_of("not_utf_8", b"#!lua\n-- \xff\n-- reply: 1\nreturn 1\n");
    assert_eq!(
        compiler::compile_folder(&folder).unwrap_err().to_string(),
        "lua/push.lua: it cannot be read: stream did not contain valid UTF-8"
    );
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let told = compile("no_such_folder").unwrap_err().to_string();
    assert!(told.starts_with("lua: it cannot be read: "), "{told}");
}
