//! The server and the layers of the demo.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{Backend, ChannelLayer, ChannelName, ConfigBuilder, ConfiguredLayer, MemoryLayer};
use tokio::time::timeout;

use super::server::PrivateServer;
use crate::cli::options::LayerOptions;
use crate::cli::outcome::{Failure, Status, tell};

/// How many messages the channel holds that is filled.
pub(super) const FULL_CAPACITY: usize = 10;
/// How long the messages wait that are to expire.
pub(super) const BRIEF_EXPIRY: Duration = Duration::from_millis(300);

/// How many processes have mailboxes, and what each mailbox holds.
pub(super) const PROCESSES: usize = 3;
const MAILBOX_CAPACITY: usize = 20;

const NO_SERVER: &str = "no server: --redis, ASGI_REDIS_URL and --config name none, and no redis-server or \
                         valkey-server from version 7 on is on PATH; so it runs in the memory of this process. Give \
                         --redis URL, or install one, for example with `apt install redis-server`";

const CLEAN_UP: Duration = Duration::from_secs(5);

/// A layer of any kind.
pub(super) type Layer = Arc<dyn ChannelLayer>;

/// Each layer stands for a process of its own: it has its own connection.
pub(super) struct Stage {
    pub(super) producing: [Layer; 2],
    pub(super) consuming: [Layer; 2],
    /// They have the mailboxes that join rooms.
    pub(super) rooms: [Layer; PROCESSES],
    /// Its messages expire soon.
    pub(super) brief: Layer,
    pub(super) channels: Channels,
    kind: &'static str,
    server: String,
    /// Whether what is left there would be left to others.
    is_shared: bool,
    /// Last, because it is to outlive the layers.
    _private: Option<PrivateServer>,
}

#[derive(Debug)]
pub(super) struct Channels {
    /// Many readers compete.
    pub(super) work: Vec<ChannelName>,
    /// One reader each, in order.
    pub(super) replies: Vec<ChannelName>,
    /// Filled before anyone reads it.
    pub(super) full: ChannelName,
    /// Read by nobody until its messages have expired.
    pub(super) unread: ChannelName,
}

impl Stage {
    /// Connects to the servers that were named, else to one that it starts, else does without.
    pub(super) async fn set(options: &LayerOptions) -> Result<Self, Failure> {
        let mut private = None;
        let named = options.servers()?;
        let is_named = named.is_some();
        let layer = match named {
            Some(layer) => layer,
            None => match PrivateServer::start().await? {
                Some(server) => {
                    ConfiguredLayer::new(ConfigBuilder::new().hosts([private.insert(server).url()]))
                }
                None => {
                    tell(&format!("demo: {NO_SERVER}"));
                    ConfiguredLayer::from_url("memory://")
                }
            },
        };
        let random = getrandom::u64().map_err(|error| {
            Failure::new(Status::Failed, format!("the system gives no random numbers: {error}"))
        })?;
        let full = ChannelName::new("demo.full")?;
        let layer = layer.map_config(|settings| {
            settings
                .prefix(format!("asgi-redis-demo-{random:016x}:"))
                .channel_capacity([(full.as_str(), FULL_CAPACITY), ("demo.mail!*", MAILBOX_CAPACITY)])
        });
        let processes = Processes::of(&layer)?;
        let brief = processes.another(|settings| settings.expiry(BRIEF_EXPIRY)).await?;
        let another = async || processes.another(|settings| settings).await;
        let producing = [another().await?, another().await?];
        let consuming = [another().await?, another().await?];
        let rooms = [another().await?, another().await?, another().await?];

        let work = ["demo.work.1", "demo.work.2", "demo.work.3"].into_iter().map(ChannelName::new);
        let replies = consuming.iter().map(|layer| layer.new_channel("demo.reply?"));
        let channels = Channels {
            work: work.collect::<Result<_, _>>()?,
            replies: replies.collect::<Result<_, _>>()?,
            full,
            unread: ChannelName::new("demo.unread")?,
        };
        let (kind, server) = match (&processes, &private) {
            (Processes::InMemory(..), _) => ("MemoryLayer", "the memory of this process".to_owned()),
            (Processes::Connected(_), Some(server)) => ("RedisChannelLayer", server.description()),
            (Processes::Connected(layer), None) => {
                let settings = layer.config().build()?;
                let hosts = settings.hosts().iter().map(ToString::to_string);
                ("RedisChannelLayer", hosts.collect::<Vec<_>>().join(", "))
            }
        };
        let is_shared = is_named && matches!(processes, Processes::Connected(_));
        Ok(Self { producing, consuming, rooms, brief, channels, kind, server, is_shared, _private: private })
    }

    /// Which layer it is.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// What the messages go through.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Removes what was put on someone else's server, and all of a private one.
    pub(super) async fn strike(self) {
        if !self.is_shared {
            return;
        }
        let cleaned = timeout(CLEAN_UP, async {
            // First, because then what was in flight goes back to its queues.
            for layer in self.producing.iter().chain(&self.consuming).chain(&self.rooms) {
                layer.close().await?;
            }
            self.brief.flush().await?;
            self.brief.close().await
        });
        match cleaned.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tell(&format!("demo: cannot clean up: {error}")),
            Err(_) => tell(&format!("demo: cannot clean up within {CLEAN_UP:?}")),
        }
    }
}

/// How to make a layer for one more process.
enum Processes {
    Connected(ConfiguredLayer),
    InMemory(MemoryLayer, ConfigBuilder),
}

impl Processes {
    fn of(layer: &ConfiguredLayer) -> Result<Self, Failure> {
        Ok(match layer.backend() {
            Backend::Memory => Self::InMemory(layer.config().in_memory()?, layer.config().clone()),
            // What is on this machine alone is of no use to a demo of many processes.
            _ => Self::Connected(ConfiguredLayer::new(layer.config().clone())),
        })
    }

    async fn another(&self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Result<Layer, Failure> {
        match self {
            Self::Connected(layer) => Ok(layer.clone().map_config(change).connect().await?),
            Self::InMemory(shared, settings) => {
                Ok(Arc::new(shared.another_client_with(change(settings.clone()).build()?)))
            }
        }
    }
}
