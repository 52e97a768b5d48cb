//! The build of the scripts: what a good folder compiles to, and what the build says about each mistake.

#[path = "../../../src/redis/script/compiler/mod.rs"]
pub(crate) mod compiler;

mod bad_scripts;
mod embedded_scripts;
mod good_scripts;

use std::path::PathBuf;

use compiler::{CompiledScript, ScriptError};

/// Compiles the folder `fixtures/<case>` as if it were `lua/`.
fn compile(case: &str) -> Result<Vec<CompiledScript>, ScriptError> {
    compiler::compile_folder(&fixture(case))
}

fn fixture(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/build/fixtures").join(case)
}
