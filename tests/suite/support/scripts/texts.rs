//! The texts of the scripts that the tests call by hand: those of the library, or those of another folder, so that
//! `scripts/test-mutations` can break a script without a build.

use std::path::Path;
use std::sync::OnceLock;

use asgi_redis::scripts;

use crate::build::compiler;

/// Names the folder that stands in for `lua/`.
const FOLDER: &str = "ASGI_REDIS_TEST_LUA";

/// A script as a server gets it.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) sha: String,
}

/// Returns all texts, in the order of their names.
pub(crate) fn all() -> &'static [Text] {
    static TEXTS: OnceLock<Vec<Text>> = OnceLock::new();
    TEXTS.get_or_init(|| match std::env::var_os(FOLDER) {
        Some(folder) => compiled(Path::new(&folder)),
        None => embedded(),
    })
}

/// Returns the SHA-1 by which a server calls the script.
pub(crate) fn sha(name: &str) -> &'static str {
    &all().iter().find(|text| text.name == name).unwrap_or_else(|| panic!("no script is named {name}")).sha
}

fn embedded() -> Vec<Text> {
    let texts = scripts::all().iter().map(|script| Text {
        name: script.name().to_owned(),
        source: script.source().to_owned(),
        sha: script.sha().to_owned(),
    });
    texts.collect()
}

fn compiled(folder: &Path) -> Vec<Text> {
    let scripts =
        compiler::compile_folder(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(!scripts.is_empty(), "{} holds no script", folder.display());
    scripts
        .into_iter()
        .map(|script| Text { name: script.name, source: script.source, sha: script.sha })
        .collect()
}
