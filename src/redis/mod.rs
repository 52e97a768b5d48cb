//! The Redis layer.

pub(crate) mod script;
