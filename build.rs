//! Compiles the scripts of `lua/` into typed constants.
fn main() {}
