//! Compiles the scripts of `lua/` into typed constants.
//!
//! The library takes two things from `OUT_DIR`: the folder `lua/` with the scripts as the server gets them, and
//! `scripts.rs` with one constant for each. A mistake in a script fails the build with its file, line and one sentence.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

#[path = "src/redis/script/compiler/mod.rs"]
mod compiler;

fn main() {
    println!("cargo::rerun-if-changed=lua");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/redis/script/compiler");
    if let Err(error) = build() {
        // Cargo fails the build on each of these, and shows them without the noise of a panic.
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let scripts = compiler::compile_folder(Path::new("lua"))?;
    compiler::write(&scripts, &out_dir).map_err(|error| format!("{}: {error}", out_dir.display()))?;
    Ok(())
}
