//! The scripts inside the library: those of `lua/`, whole.

use std::path::Path;

use asgi_redis::scripts::{self, SlotKind};

use super::compiler::{self, Kind};

#[test]
fn the_library_holds_every_script_of_the_folder_lua_as_it_compiles() {
    let compiled = compiler::compile_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("lua")).unwrap();
    assert_eq!(
        scripts::all().iter().map(|script| script.name()).collect::<Vec<_>>(),
        compiled.iter().map(|script| script.name.as_str()).collect::<Vec<_>>(),
    );
    for compiled in &compiled {
        let script = scripts::get(&compiled.name).unwrap();
        assert_eq!(script.source(), compiled.source);
        assert_eq!(script.sha(), compiled.sha);
        assert_eq!(script.doc(), compiled.doc);
        assert_eq!(script.reply(), compiled.reply);
        assert_eq!(script.slots().len(), compiled.slots.len());
        for (slot, compiled) in script.slots().iter().zip(&compiled.slots) {
            assert_eq!(slot.kind() == SlotKind::Key, compiled.kind == Kind::Key);
            assert_eq!(slot.index(), compiled.index);
            assert_eq!(slot.name(), compiled.name);
            assert_eq!(slot.ty(), compiled.told);
            assert_eq!(slot.text(), compiled.text);
            assert_eq!(slot.is_variadic(), compiled.variadic);
        }
    }
}

#[test]
fn the_source_of_each_script_hashes_to_its_sha() {
    for script in scripts::all() {
        let sha = sha1_smol::Sha1::from(script.source()).digest().to_string();
        assert_eq!(sha, script.sha(), "{}", script.name());
    }
}

#[test]
fn each_line_of_each_script_is_located_where_it_stands_in_the_folder_lua() {
    for script in scripts::all() {
        let mut is_check = false;
        for (number, line) in (1..).zip(script.source().lines()) {
            let (file, there) = script.locate(number).unwrap();
            // The build made it: it is of the last slot.
            is_check |= line == "-- Checks, made by the build of the types above";
            if is_check {
                is_check = line != "-- Checked";
                continue;
            }
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            assert_eq!(text.lines().nth(there as usize - 1), Some(line), "{}:{number}", script.name());
        }
        let end = u32::try_from(script.source().lines().count()).unwrap();
        assert_eq!(script.locate(end + 1), None, "{}", script.name());
    }
}

#[test]
fn no_script_is_found_by_a_name_that_none_has() {
    assert!(scripts::get("").is_none());
    assert!(scripts::get("push.lua").is_none());
}
