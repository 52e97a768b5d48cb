//! A channel layer on Redis: programs on many machines pass messages to one another by name, through queues with a
//! capacity and an expiry.
//!
//! A **channel** is a name. Whoever sends to it puts a message into a queue, unless as many wait there as its capacity
//! says; whoever receives from it, alone or with any number of others, takes one out, or waits for one. Nobody is given
//! what another was given, and what nobody takes in time expires. A **group** is a set of channels; a message to it
//! reaches each of them. A process that has many channels, one for each of its websockets say, opens an **inbox** with a
//! **mailbox** for each: however many of them are in a group, its messages reach the process once. Every atomic step is a Lua script inside Redis;
//! this crate names, packs and calls. Programs without it may call the same [`scripts`], by `lua/README.md`.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use asgi_redis::{ChannelLayer, ChannelLayerExt, RedisChannelLayer, glob};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Request {
//!     path: String,
//!     reply_channel: String,
//! }
//!
//! # async fn example() -> asgi_redis::Result<()> {
//! let layer = RedisChannelLayer::builder()
//!     .hosts(["redis://127.0.0.1:6379/0"])
//!     .channel_capacity([(glob("http.*"), 200)])
//!     .connect()
//!     .await?;
//!
//! let reply_channel = layer.new_channel("http.response?")?;
//! let request = Request { path: "/".into(), reply_channel: reply_channel.to_string() };
//! layer.send("http.request", &request).await?; // of ErrorKind::ChannelFull when 200 wait
//!
//! // Elsewhere: waits on both, and may be dropped at any point.
//! let (_, request): (_, Request) = layer.receive(["http.request", "http.disconnect"]).await?;
//! layer.send_wait(&*request.reply_channel, "hello", Duration::from_secs(5)).await?;
//!
//! let answer = layer.receive_timeout::<String>([reply_channel], Duration::from_secs(5)).await?;
//! layer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is here
//!
//! - [`RedisChannelLayer`] is the layer, [`MemoryLayer`] the same in one process, [`LocalAndRemote`] two as one;
//!   [`ChannelLayer`] is what they promise, [`ChannelLayerExt`] the same for any serde type: most programs call these.
//! - [`Inbox`] is a process's own prefix of channels, [`Mailbox`] one channel in it, [`InboxStatistics`] what became of
//!   messages that were not taken. [`GroupReceipt`] is what became of a message to a group.
//! - [`ConfigBuilder`] has the options, [`Config`] has them checked; [`HostSpec`] and [`Host`] are a server before and
//!   after that. [`glob`] and [`regex()`] make a [`Pattern`] of channels with a capacity of their own.
//! - [`ChannelLayers`] reads a `CHANNEL_LAYERS` document: for each alias a [`ConfiguredLayer`], which a URL makes too.
//!   [`Backend`] is what it is. [`MemoryStatistics`] and [`ChannelStatistics`] tell what waits in memory.
//! - [`ChannelName`] is a name that was checked, of one [`ChannelKind`]; [`GroupName`] is that of a group.
//! - [`ShardHealth`] and [`ShardSurvey`] tell of a server how it is and what waits there, [`DrainReport`] what was moved
//!   from it, [`UnreachedShard`] that a group's message did not reach it; [`SealStatistics`] counts what did not open.
//! - [`Value`] is a message without a struct, [`PackedMessage`] one as bytes.
//! - [`Error`] has an [`ErrorKind`], and tells whether a call may be repeated; [`Result`] is the result of every call.
//! - [`scripts`] are the scripts, for those who call them by hand; [`BoxFuture`] is what the trait's methods return.
//!
//! # Scope
//!
//! One or several Redis (7.0 or newer) or Valkey (7.2 or newer) servers, or none, on a Tokio runtime. There is no Redis
//! Cluster and no Sentinel; what there is not is refused by name.
//!
//! # Features
//!
//! None is on by default. `cli` builds the program `asgi-redis`; `conformance` has a test for each rule of a layer;
//! `test-server` starts real servers for tests.

mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connect;
mod error;
mod inbox;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod layer;
mod local_and_remote;
mod memory;
mod message;
mod name;
mod redis;
mod seal;
#[cfg(all(unix, feature = "test-server"))]
pub mod test_server;

pub use config::capacity::{Pattern, glob, regex};
pub use config::channel_layers::{Backend, ChannelLayers, ConfiguredLayer};
pub use config::host::{Host, HostSpec, HostSpecs};
pub use config::{Config, ConfigBuilder};
pub use error::{Error, ErrorKind, Result};
pub use inbox::{Inbox, InboxStatistics, Mailbox};
pub use layer::receipt::{GroupReceipt, UnreachedShard};
pub use layer::{BoxFuture, ChannelLayer, ChannelLayerExt, ChannelNames};
pub use local_and_remote::LocalAndRemote;
pub use memory::{ChannelStatistics, MemoryLayer, MemoryStatistics};
pub use message::PackedMessage;
pub use message::value::Value;
pub use name::{ChannelKind, ChannelName, GroupName};
pub use redis::{DrainReport, RedisChannelLayer, ShardHealth, ShardSurvey};
pub use seal::SealStatistics;

/// What most programs need, in one import: `use asgi_redis::prelude::*`.
pub mod prelude {
    pub use crate::{
        ChannelLayer, ChannelLayerExt, ChannelName, ConfigBuilder, Error, ErrorKind, GroupName, GroupReceipt,
        Inbox, LocalAndRemote, Mailbox, MemoryLayer, PackedMessage, RedisChannelLayer, Result, Value, glob,
        regex,
    };
}

/// The scripts of the engine: what runs on the server, for those who call it from any client.
pub mod scripts {
    pub use crate::redis::script::{Script, Slot, SlotKind, all, get};
}

// The examples in the README and in docs/ are tests too.
#[cfg(doctest)]
mod documents {
    macro_rules! documents {
        ($($(#[$condition:meta])? $name:ident = $path:literal;)+) => {
            $($(#[$condition])? #[doc = include_str!($path)] mod $name {})+
        };
    }

    documents! {
        readme = "../README.md";
        performance = "../docs/performance.md";
        command_line = "../docs/guides/command-line.md";
        encryption = "../docs/guides/encryption.md";
        errors = "../docs/guides/errors.md";
        from_asgi_redis = "../docs/guides/from-asgi-redis.md";
        inboxes_and_groups = "../docs/guides/inboxes-and-groups.md";
        memory = "../docs/guides/memory.md";
        options = "../docs/guides/options.md";
        several_servers = "../docs/guides/several-servers.md";
        #[cfg(feature = "conformance")]
        testing = "../docs/guides/testing.md";
    }
}
