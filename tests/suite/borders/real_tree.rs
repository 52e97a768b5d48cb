//! The files of `src/` keep the order of the document.

use std::path::Path;

use super::order::{self, Order};
use super::tree::Tree;

const ARCHITECTURE: &str = include_str!("../../../docs/architecture.md");

/// All `.rs` files under a folder, by their paths inside `root`, with their texts.
fn files_of(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

fn real_tree() -> Tree {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_of(&src, &src);
    Tree::new(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))
}

#[test]
fn no_file_imports_from_a_higher_one() {
    let tree = real_tree();
    let order = Order::read(ARCHITECTURE);
    let (rooms, arrows) = order::count(&tree);
    println!("{rooms} rooms, {arrows} arrows between rooms");
    let faults = order.faults(&tree);
    assert!(faults.is_empty(), "{} faults against the order of rooms:\n{}", faults.len(), faults.join("\n"));
}
