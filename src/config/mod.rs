//! The options of the Redis layer: their defaults, their checks, and the documents in which they are written.
//!
//! [`builder`] holds the options as they were written, in code or in a document ([`options`]). [`build`] has all of them
//! checked at once ([`checks`]) and returns a [`checked`] configuration, which nobody needs to check again. [`host`] is one
//! server, [`url`] its text, [`credentials`] who is asked for users and passwords that change, [`tls`] whose certificates are trusted, [`host_specs`] the forms in which several are given, [`host_map`] one as a map, [`capacity`] are the capacities by pattern, and [`channel_layers`] reads `CHANNEL_LAYERS` documents.

mod build;
mod builder;
mod checked;
mod checks;
mod host_map;
mod url;

pub(crate) mod capacity;
pub(crate) mod channel_layers;
pub(crate) mod credentials;
pub(crate) mod host;
pub(crate) mod host_specs;
pub(crate) mod options;
pub(crate) mod tls;

pub use self::builder::ConfigBuilder;
pub use self::checked::Config;
pub(crate) use self::checks::{MILLISECOND, TEN_YEARS};

#[cfg(test)]
mod tests;
