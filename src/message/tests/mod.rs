//! Packing and unpacking.

mod decode_failure;
mod packing;
mod value;
