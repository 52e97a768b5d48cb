//! A channel layer on Redis.

mod capacity;
mod channel_layers;
mod config;
mod decode_failure;
mod error;
mod host;
mod layer;
mod message;
mod name;
mod options;
mod redis;
mod value;
mod well_formed;

pub use capacity::{Pattern, glob, regex};
pub use channel_layers::{Backend, ChannelLayers, ConfiguredLayer};
pub use config::{Config, ConfigBuilder};
pub use error::{Error, ErrorKind, Result};
pub use host::{Host, HostSpec};
pub use layer::{BoxFuture, ChannelLayer, ChannelLayerExt};
pub use message::PackedMessage;
pub use name::{ChannelKind, ChannelName, GroupName};
pub use redis::RedisChannelLayer;
pub use value::Value;

/// The scripts of the engine: what runs on the server, for those who call it from any client.
pub mod scripts {
    pub use crate::redis::script::{Script, Slot, SlotKind, all, get};
}
