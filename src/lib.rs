//! A channel layer on Redis.

mod error;
mod name;
mod redis;

pub use error::{Error, ErrorKind, Result};
pub use name::{ChannelKind, ChannelName, GroupName};

/// The scripts of the engine: what runs on the server, for those who call it from any client.
pub mod scripts {
    pub use crate::redis::script::{Script, Slot, SlotKind, all, get};
}
