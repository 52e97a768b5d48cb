//! The check of borders finds what it is to find, on trees of a few files.

use super::order::{Order, count};
use super::tree::Tree;

const TABLE: &str = "
<!-- order of rooms: begin -->
| row | is |
|---|---|
| `low.rs` | what all use |
| `memory/` | one of two |
| `redis/keys.rs` | the first file of the other |
| `redis/calls/` | a room inside it |
| `redis/mod.rs` | the last |
<!-- order of rooms: end -->
";

/// A tree with every row of the table filled, and some of its files replaced.
fn faults_of_document(document: &str, files: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut all = vec![("low.rs", ""), ("memory/mod.rs", ""), ("redis/keys.rs", ""), ("redis/mod.rs", "")];
    all.push(("redis/calls/mod.rs", ""));
    all.retain(|(path, _)| !files.iter().any(|(replaced, _)| path == replaced));
    all.extend(files);
    Order::read(document).faults(&Tree::new(all))
}

fn faults(files: &[(&'static str, &'static str)]) -> Vec<String> {
    faults_of_document(TABLE, files)
}

#[test]
fn imports_of_lower_files_are_right_however_they_are_written() {
    let downward = "
        use crate::low::{self, Low};
        use super::super::super::low::More as Other;
        use super::keys::*;
        pub(in crate::redis) fn call(keys: &crate::redis::keys::Keys) -> impl Sized + use<'_> { super::keys::of(keys) }
    ";
    assert_eq!(faults(&[("redis/calls/pop.rs", downward)]), [""; 0]);
}

#[test]
fn an_import_of_a_higher_file_is_found_in_every_form() {
    for upward in [
        "use super::calls::Pop;",
        "use super::{calls};",
        "use crate::{low::Low, redis::{calls::{Push, Pop}}};",
        "fn call() { crate::redis::calls::pop() }",
        "fn call<'a>(quote: char) -> super::calls::Pop<'a> { let _ = ('\"', '\\'', 'x', quote); }",
        "fn call() { let _ = r#\"use \"nothing\"\"#; super::calls::pop() }",
    ] {
        let faults = faults(&[("redis/keys.rs", upward)]);
        assert_eq!(faults.len(), 1, "{upward}: {faults:?}");
        assert!(faults[0].starts_with("redis/keys.rs imports from redis/calls/mod.rs"), "{faults:?}");
        assert!(faults[0].ends_with("which stands higher"), "{faults:?}");
    }
}

#[test]
fn comments_texts_tests_macros_and_other_crates_are_no_imports() {
    let nothing = "
        //! Reads [`calls`](super::calls) and `crate::redis::calls`.
        /* use super::calls::Pop; */
        use redis::calls::Pop;
        #[cfg(test)]
        use super::calls::Push;
        const TEXT: &str = \"use super::calls::Pop;\";
        fn call() { crate::pop_tests!(super_calls); }
        macro_rules! pop_tests { ($name:ident) => { use super::calls::$name; }; }
        #[cfg(test)]
        mod tests {
            use crate::redis::calls::Pop;
            fn one() { if true { super::super::calls::pop() } }
        }
    ";
    assert_eq!(faults(&[("redis/keys.rs", nothing), ("redis/tests.rs", "use crate::nowhere::A;")]), [""; 0]);
}

#[test]
fn what_a_room_exports_again_stands_where_it_was_made() {
    let room = ("redis/mod.rs", "pub(crate) use self::keys::Keys as Names; pub(crate) use self::calls::Pop;");
    assert_eq!(faults(&[room, ("redis/calls/pop.rs", "use crate::redis::Names;")]), [""; 0]);
    let upward = faults(&[room, ("redis/keys.rs", "use crate::redis::Pop;")]);
    assert!(upward[0].starts_with("redis/keys.rs imports from redis/calls/mod.rs"), "{upward:?}");
}

#[test]
fn the_mod_file_of_a_room_is_higher_than_its_parts() {
    let upward = faults(&[("redis/calls/pop.rs", "use crate::redis::Layer;")]);
    assert!(upward[0].starts_with("redis/calls/pop.rs imports from redis/mod.rs"), "{upward:?}");
}

#[test]
fn a_circle_inside_a_row_is_found_and_told_once() {
    let circle =
        [("redis/calls/pop.rs", "use super::push::Push;"), ("redis/calls/push.rs", "use super::pop::Pop;")];
    let found = faults(&circle);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("redis/calls/pop.rs -> redis/calls/push.rs -> redis/calls/pop.rs"),
        "{found:?}"
    );
    assert_eq!(faults(&circle[1..]), [""; 0]);
}

#[test]
fn memory_and_redis_do_not_know_each_other() {
    let down = faults(&[("redis/keys.rs", "use crate::memory::Queue;")]);
    assert!(down[0].ends_with("these rooms do not know each other"), "{down:?}");
    let up = faults(&[("memory/mod.rs", "use crate::redis::keys::Keys;")]);
    assert!(up[0].ends_with("these rooms do not know each other"), "{up:?}");
}

#[test]
fn a_file_without_a_row_and_a_row_without_a_file_are_found() {
    assert_eq!(faults(&[("redis/pool.rs", "")]), ["redis/pool.rs stands in no room of the table"]);
    let stale = TABLE.replace("| `low.rs`", "| `lower.rs` | |\n| `low.rs`");
    assert_eq!(faults_of_document(&stale, &[]), ["lower.rs is a row of the table and no file of src/"]);
}

#[test]
fn an_exception_lets_one_import_pass_and_is_found_when_it_is_not_needed() {
    let table = format!(
        "{TABLE}\n<!-- exceptions to the order: begin -->\n| `redis/keys.rs` | `redis/mod.rs` | why |\n\
         <!-- exceptions to the order: end -->\n"
    );
    assert_eq!(faults_of_document(&table, &[("redis/keys.rs", "use super::Layer;")]), [""; 0]);
    let unneeded = faults_of_document(&table, &[]);
    assert_eq!(unneeded, ["redis/keys.rs no longer needs its exception for redis/mod.rs"]);
}

#[test]
fn rooms_and_arrows_between_them_are_counted_once() {
    let files = [
        ("lib.rs", "pub use redis::Layer;"),
        ("low.rs", ""),
        ("memory/mod.rs", "use crate::low::Low; use crate::low::Lower;"),
        ("redis/mod.rs", "use crate::low::Low; use self::keys::Keys;"),
        ("redis/keys.rs", "use crate::low::Low;"),
    ];
    assert_eq!(count(&Tree::new(files)), (3, 2));
}
