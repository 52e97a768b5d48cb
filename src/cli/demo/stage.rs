//! The server and the layers of the demo.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::test_server::{ServerProgram, TestServer};
use asgi_redis::{Backend, ChannelLayer, ChannelName, ConfigBuilder, ConfiguredLayer, MemoryLayer};
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::random::random;
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

/// How long a private server may take to start.
const START: Duration = Duration::from_secs(5);
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
    _private: Option<TestServer>,
}

#[derive(Debug)]
pub(super) struct Channels {
    /// Many readers compete.
    pub(super) work: Vec<ChannelName>,
    /// One reader each, in order.
    pub(super) replies: [ChannelName; 2],
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
            None => match private_server()? {
                Some(server) => {
                    ConfiguredLayer::new(ConfigBuilder::new().hosts([private.insert(server).url()]))
                }
                None => {
                    tell(&format!("demo: {NO_SERVER}"));
                    ConfiguredLayer::from_url("memory://")
                }
            },
        };
        let random = random()?;
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
        let [first, second] = &consuming;
        let channels = Channels {
            work: work.collect::<Result<_, _>>()?,
            replies: [first.new_channel("demo.reply?")?, second.new_channel("demo.reply?")?],
            full,
            unread: ChannelName::new("demo.unread")?,
        };
        let (kind, server) = match (&processes, &private) {
            (Processes::InMemory(..), _) => ("MemoryLayer", "the memory of this process".to_owned()),
            (Processes::Connected(_), Some(server)) => ("RedisChannelLayer", description(server)),
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

    /// Removes everything of the demo from a server that others use. A private server is dropped as a whole.
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

/// Starts a server of the demo's own. Returns `None` if no server program is on `PATH`.
fn private_server() -> Result<Option<TestServer>, Failure> {
    if ServerProgram::find().is_err() {
        return Ok(None);
    }
    // In place: a start that goes on in the background could outlive an interrupted demo.
    let server = block_in_place(|| TestServer::builder().without_port().patience(START).start());
    let failed = |error| Failure::new(Status::NoServer, format!("{error}; or give --redis URL"));
    server.map(Some).map_err(failed)
}

/// Describes a private server for people.
fn description(server: &TestServer) -> String {
    let program = server.program();
    format!("a private {} {} at {}", program.name(), program.version(), server.socket().display())
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
