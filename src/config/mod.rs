//! The options of the Redis layer: their defaults, their checks, and the documents in which they are written.
//!
//! [`builder`] holds the options as they were written, in code or in a document ([`options`]). Its `build` has all of them
//! checked at once ([`checks`]) and returns a [`checked`] configuration, which nobody needs to check again. [`host`] is one
//! server, [`capacity`] are the capacities by pattern, and [`channel_layers`] reads `CHANNEL_LAYERS` documents.

mod builder;
mod checked;
mod checks;

pub(crate) mod capacity;
pub(crate) mod channel_layers;
pub(crate) mod host;
pub(crate) mod options;

pub use self::builder::ConfigBuilder;
pub use self::checked::Config;

#[cfg(test)]
mod tests;
