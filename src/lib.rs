//! A channel layer on Redis: programs on many machines pass messages to one another by name, through queues with a
//! capacity and an expiry.
//!
//! A **channel** is a name. A send puts a message into its queue, unless as many wait there as its capacity allows; a
//! receive takes one out, or waits for one, on any number of channels at once. Nobody is given what another was given,
//! and what nobody takes in time expires. A **group** is a set of channels; a message to it reaches each of them. A
//! process with many channels, one for each of its websockets say, opens an **inbox** with a **mailbox** for each.
//! Every atomic step is a Lua script inside Redis; this crate names, packs and calls.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use asgi_redis::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Request {
//!     path: String,
//!     reply_channel: ChannelName,
//! }
//!
//! # async fn example() -> asgi_redis::Result<()> {
//! let layer = RedisChannelLayer::builder().hosts("redis://127.0.0.1:6379/0").connect().await?;
//!
//! let reply_channel = layer.new_channel("http.response?")?;
//! let request = Request { path: "/".into(), reply_channel: reply_channel.clone() };
//! layer.send("http.request", &request).await?; // of ErrorKind::ChannelFull when its capacity waits
//!
//! // Elsewhere: waits on both, and may be dropped at any point.
//! let (_, request): (_, Request) = layer.receive(["http.request", "http.disconnect"]).await?;
//! layer.send(&request.reply_channel, "hello").await?;
//!
//! let answer = layer.receive_timeout::<String>(reply_channel, Duration::from_secs(5)).await?;
//! layer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to begin
//!
//! - [`RedisChannelLayer`] is the layer, and its [`builder`](RedisChannelLayer::builder) has the options, see [`ConfigBuilder`].
//! - [`ChannelLayerExt`] has the operations for any serde type: `send`, `receive`, `group_add`, `group_send` and the others.
//!   [`prelude`] imports it with all that most programs name.
//! - [`Inbox`] and [`Mailbox`] are a process's own channels, such as its websockets.
//! - [`MemoryLayer`] is the same layer within one process, for tests and programs without a server.
//! - [`Error`] has a [`kind`](Error::kind), and tells whether a call may be repeated.
//!
//! The other items serve special needs: [`LocalAndRemote`] is two layers as one, [`ChannelLayers`] reads a
//! `CHANNEL_LAYERS` document, [`Value`] is a message without a struct, [`ChannelLayer`] is what a layer of one's own
//! implements, and [`scripts`] are the engine for programs that call it by hand, as `lua/README.md` describes.
//!
//! # Scope
//!
//! One or several Redis (7.0 or newer) or Valkey (7.2 or newer) servers, or none, on a Tokio runtime. There is no Redis
//! Cluster and no Sentinel; what there is not is refused by name.
//!
//! # Features
//!
//! None is on by default. `json` has messages as JSON text, as websockets speak it; `cli` builds the program `asgi-redis`; `conformance` has a test for each rule of a layer;
//! `test-server` starts real servers for tests.

mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connect;
mod error;
mod events;
mod inbox;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod layer;
mod local_and_remote;
mod member;
mod memory;
mod message;
mod name;
mod redis;
mod seal;
#[cfg(all(unix, feature = "test-server"))]
pub mod test_server;
#[cfg(test)]
mod vectors;

pub use config::capacity::{Pattern, glob, matching, regex};
pub use config::channel_layers::{Backend, ChannelLayers, ConfiguredLayer};
pub use config::credentials::Credentials;
pub use config::host::{Host, HostSpec};
pub use config::host_specs::HostSpecs;
pub use config::tls::Pem;
pub use config::{Config, ConfigBuilder};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Events};
pub use inbox::shared_mailbox::SharedMailbox;
pub use inbox::{Inbox, InboxStatistics, Mailbox};
pub use layer::receipt::{GroupReceipt, UnreachedShard};
pub use layer::request::RequestStatistics;
pub use layer::{BoxFuture, ChannelLayer, ChannelLayerExt, ChannelNames};
pub use local_and_remote::LocalAndRemote;
pub use member::{GroupMember, Label};
pub use memory::{ChannelStatistics, MemoryLayer, MemoryStatistics};
pub use message::PackedMessage;
pub use message::delivery::Delivery;
#[cfg(feature = "json")]
pub use message::json::Json;
pub use message::request::Request;
pub use message::value::Value;
pub use name::{ChannelKind, ChannelName, GroupName};
#[cfg(unix)]
pub use redis::descriptors::HeldDescriptors;
pub use redis::{DrainReport, RedisChannelLayer, ShardHealth, ShardSurvey};
pub use seal::SealStatistics;

/// What most programs need, in one import: `use asgi_redis::prelude::*`.
pub mod prelude {
    pub use crate::{
        ChannelLayer, ChannelLayerExt, ChannelName, ConfigBuilder, Error, ErrorKind, GroupMember, GroupName,
        GroupReceipt, Inbox, Label, LocalAndRemote, Mailbox, MemoryLayer, PackedMessage, RedisChannelLayer,
        Request, Result, Value, glob, regex,
    };
}

/// The scripts of the engine: what runs on the server, for those who call it from any client.
pub mod scripts {
    pub use crate::redis::script::{SCHEMA, Script, Slot, SlotKind, all, get};
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
        from_channels_redis = "../docs/guides/from-channels-redis.md";
        #[cfg(feature = "json")]
        inboxes_and_groups = "../docs/guides/inboxes-and-groups.md";
        memory = "../docs/guides/memory.md";
        options = "../docs/guides/options.md";
        requests = "../docs/guides/requests.md";
        several_servers = "../docs/guides/several-servers.md";
        #[cfg(feature = "conformance")]
        testing = "../docs/guides/testing.md";
    }
}
