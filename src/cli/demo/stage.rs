//! The server and the layers of the demo.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelName, ConfigBuilder, RedisChannelLayer};
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

const CLEAN_UP: Duration = Duration::from_secs(5);

/// Each layer stands for a process of its own: it has its own connection.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) producing: [RedisChannelLayer; 2],
    pub(super) consuming: [RedisChannelLayer; 2],
    /// They have the mailboxes that join rooms.
    pub(super) rooms: [RedisChannelLayer; PROCESSES],
    /// Its messages expire soon.
    pub(super) brief: RedisChannelLayer,
    pub(super) channels: Channels,
    server: String,
    /// Last, because it is to outlive the layers. Without it the server is someone else's.
    private: Option<PrivateServer>,
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
    /// Connects to the server that was named, else to one that it starts.
    pub(super) async fn set(options: &LayerOptions) -> Result<Self, Failure> {
        let mut private = None;
        let settings = match options.servers()? {
            Some(settings) => settings,
            None => {
                let server = private.insert(PrivateServer::start().await?);
                ConfigBuilder::new().hosts([server.url()])
            }
        };
        let random = getrandom::u64().map_err(|error| {
            Failure::new(Status::Failed, format!("the system gives no random numbers: {error}"))
        })?;
        let full = ChannelName::new("demo.full")?;
        let settings = settings
            .prefix(format!("asgi-redis-demo-{random:016x}:"))
            .channel_capacity([(full.as_str(), FULL_CAPACITY), ("demo.mail!*", MAILBOX_CAPACITY)]);
        let connect = || settings.connect();
        let producing = [connect().await?, connect().await?];
        let consuming = [connect().await?, connect().await?];
        let rooms = [connect().await?, connect().await?, connect().await?];
        let brief = settings.clone().expiry(BRIEF_EXPIRY).connect().await?;

        let work = ["demo.work.1", "demo.work.2", "demo.work.3"].into_iter().map(ChannelName::new);
        let replies = consuming.iter().map(|layer| layer.new_channel("demo.reply?"));
        let channels = Channels {
            work: work.collect::<Result<_, _>>()?,
            replies: replies.collect::<Result<_, _>>()?,
            full,
            unread: ChannelName::new("demo.unread")?,
        };
        let server = match &private {
            Some(server) => server.description(),
            None => {
                let hosts = settings.build()?;
                hosts.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        };
        Ok(Self { producing, consuming, rooms, brief, channels, server, private })
    }

    /// What the messages go through.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Removes what was put on someone else's server, and all of a private one.
    pub(super) async fn strike(self) {
        if self.private.is_some() {
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
