//! The files of `src/` and their arrows: which file imports from which other one.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source};

/// An import: the file that has it, the file where the imported thing stands, and the path as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) path: String,
}

/// The files, by their paths inside `src/`. Files of tests are left out.
pub(super) struct Tree {
    files: BTreeMap<String, Source>,
    /// The file of each module.
    modules: BTreeMap<Path, String>,
}

/// How many re-exports are followed from one name.
const MAX_REEXPORTS: usize = 8;

impl Tree {
    pub(super) fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files: BTreeMap<String, Source> = files
            .into_iter()
            .filter(|(path, _)| !is_of_tests(path))
            .map(|(path, text)| (path.to_owned(), Source::read(text)))
            .collect();
        let modules = files.keys().map(|path| (module_of(path), path.clone()));
        // The command line is a crate of its own, beside the library: `crate` there is looked up by path all the same.
        let modules = modules.filter(|(_, path)| path != "main.rs").collect();
        Self { files, modules }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// All imports between two files, each once.
    pub(super) fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (from, source) in &self.files {
            let module = module_of(from);
            for path in source.uses.iter().map(|(_, path)| path).chain(&source.paths) {
                if let Some(to) = self.file_of(&module, path).filter(|to| *to != from) {
                    arrows.insert(Arrow { from: from.clone(), to: to.to_owned(), path: path.join("::") });
                }
            }
        }
        arrows
    }

    /// The file where the thing stands that a path in a module means; nothing if that is of another crate.
    fn file_of(&self, module: &[String], path: &[String]) -> Option<&str> {
        self.follow(module, path, MAX_REEXPORTS)
    }

    fn follow(&self, module: &[String], path: &[String], reexports: usize) -> Option<&str> {
        let mut here = module.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" | "asgi_redis" => {
                here.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", behind)) =
                    rest.split_first().map(|(first, rest)| (first.as_str(), rest))
                {
                    here.pop();
                    rest = behind;
                }
            }
            child => {
                let is_module = self.modules.contains_key(&[&here[..], &[child.to_owned()]].concat());
                if !is_module {
                    return None;
                }
            }
        }
        while let Some((next, behind)) = rest.split_first() {
            here.push(next.clone());
            if !self.modules.contains_key(&here) {
                here.pop();
                break;
            }
            rest = behind;
        }
        let file = self.modules.get(&here)?;
        let Some((name, behind)) = rest.split_first().filter(|_| reexports > 0) else { return Some(file) };
        // What the module has from elsewhere stands there.
        let bound = self.files[file].uses.iter().find(|(bound, _)| bound == name);
        let elsewhere = bound.and_then(|(_, path)| {
            let path = [path, behind].concat();
            self.follow(&here, &path, reexports - 1)
        });
        elsewhere.or(Some(file))
    }
}

/// The path of a file's module: `redis/calls/mod.rs` is `["redis", "calls"]`, `lib.rs` is empty.
fn module_of(file: &str) -> Path {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(stem, "lib" | "main") { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// Whether a file is compiled for tests only, by its name.
fn is_of_tests(file: &str) -> bool {
    file.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
}
