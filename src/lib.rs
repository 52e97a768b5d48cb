//! A channel layer on Redis.

mod error;
mod name;

pub use error::{Error, ErrorKind, Result};
pub use name::{ChannelKind, ChannelName, GroupName};
