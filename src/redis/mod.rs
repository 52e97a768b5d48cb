//! The Redis layer: it names, routes and calls; the scripts do the rest.
//!
//! - [`keys`] has every key, [`entry`] the bytes of an entry, [`script`] the scripts, [`calls`] a typed function for
//!   each of them, [`failure`] what can go wrong with a call.
//! - [`connection`] is one open connection, [`link`] the task that keeps a shard connected.
//! - [`send`] are the sends to a shard, [`receive`] the receives of the layer; [`shard`] holds a shard's parts together.

mod calls;
mod connection;
mod entry;
mod failure;
mod keys;
mod link;
mod receive;
pub(crate) mod script;
mod send;
mod shard;

use std::sync::Arc;

use self::entry::message_body;
use self::receive::Tickets;
use self::send::Outgoing;
use self::shard::Shard;

use crate::config::{Config, ConfigBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{BoxFuture, ChannelLayer};
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName};

/// A channel layer whose messages wait in Redis.
///
/// Clones share one layer: its connection, its receives and its sends. When the last clone is dropped, what was in
/// flight goes back in the background; [`close`](ChannelLayer::close) waits for that.
///
/// # Cost
///
/// A send is one command and one round trip; sends that are under way at once share commands, up to 128 messages each.
/// A receive is one command; while it waits, one command a third of the lease (20 s by default) stands for all receives
/// of the process, in parts of 500, and its message is pushed to it. What was received is acknowledged with the next
/// receive.
///
/// # Outages
///
/// While the server cannot be reached, sends fail at once; receives wait. The layer connects again by itself, after at
/// most half a second, and asks again for what it may have missed.
///
/// # Runtime
///
/// It needs a Tokio runtime with time and I/O enabled, and lives in the one in which it was connected.
#[derive(Clone, Debug)]
pub struct RedisChannelLayer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    tickets: Arc<Tickets>,
    shards: Vec<Shard>,
}

impl RedisChannelLayer {
    /// Begins a layer with the default options: `redis://localhost:6379/0`, prefix `asgi:`, messages expire after
    /// 60 s, channels hold 100.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Connects a layer with checked options. One round trip for each step: connect, subscribe, look for the scripts,
    /// load those that miss, say hello.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) or [`Timeout`](ErrorKind::Timeout) when the server cannot be reached,
    /// [`Schema`](ErrorKind::Schema) when its data are another version's, [`Config`](ErrorKind::Config) when there is
    /// more than one host, which this version does not support yet, or when there is no Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::config("a layer is connected inside a Tokio runtime, and there is none here"));
        }
        if config.hosts().len() > 1 {
            return Err(Error::config(format!(
                "option `hosts`: this version connects to one host, not to {}",
                config.hosts().len()
            )));
        }
        let tickets = Arc::new(Tickets::new(config.hosts().len()));
        let shards = config.hosts().iter().enumerate();
        let shards: Vec<Shard> = shards
            .map(|(number, host)| Shard::start(number, host, &config, &tickets))
            .collect::<Result<_>>()?;
        for shard in &shards {
            shard.connected().await?;
        }
        Ok(Self { inner: Arc::new(Inner { config, tickets, shards }) })
    }

    /// The shard on which a channel lives.
    fn shard_of(&self, _channel: &ChannelName) -> Result<&Shard> {
        self.inner.shards.first().ok_or_else(receive::closed)
    }

    /// One message of any of these channels; `None` if it does not wait and nothing was there.
    async fn take(
        &self,
        channels: &[ChannelName],
        waits: bool,
    ) -> Result<Option<(ChannelName, PackedMessage)>> {
        let channels = self.readable(channels)?;
        let receiving = self.inner.tickets.open([(0, channels)], waits)?;
        let Some((channel, entry)) = receiving.message().await? else { return Ok(None) };
        let payload = entry.into_payload(channel.as_str())?;
        Ok(Some((channel, PackedMessage::from_bytes(payload))))
    }

    /// The channels of a receive, each once.
    fn readable(&self, channels: &[ChannelName]) -> Result<Arc<[ChannelName]>> {
        let invalid = |why: String| Err(Error::new(ErrorKind::InvalidName, why));
        let most = self.inner.config.max_channels_per_receive();
        if channels.is_empty() {
            return invalid("a receive names at least one channel".to_owned());
        }
        if channels.len() > most {
            return invalid(format!(
                "a receive names {} channels, option `max_channels_per_receive` allows {most}",
                channels.len()
            ));
        }
        for channel in channels {
            match channel.kind() {
                ChannelKind::Normal | ChannelKind::SingleReader => {}
                ChannelKind::ProcessSpecific => {
                    return invalid(format!(
                        "channel {channel:?} is an address inside an inbox and is not received from; its messages come to the inbox {:?}",
                        channel.queue()
                    ));
                }
                ChannelKind::Inbox => {
                    return invalid(format!(
                        "channel {channel:?} is an inbox, and this version has no inboxes yet"
                    ));
                }
            }
        }
        let mut each_once: Vec<ChannelName> = Vec::with_capacity(channels.len());
        let mut seen = std::collections::HashSet::with_capacity(channels.len());
        each_once.extend(channels.iter().filter(|channel| seen.insert(channel.as_str())).cloned());
        Ok(each_once.into())
    }
}

impl ConfigBuilder {
    /// Checks the options and connects a layer.
    ///
    /// # Errors
    ///
    /// As [`ConfigBuilder::build`] and [`RedisChannelLayer::connect`].
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(&self) -> Result<RedisChannelLayer> {
        RedisChannelLayer::connect(self.build()?).await
    }
}

impl ChannelLayer for RedisChannelLayer {
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if channel.kind() == ChannelKind::Inbox {
                return Err(Error::new(
                    ErrorKind::InvalidName,
                    format!(
                        "channel {channel:?} is an inbox; send to an address in it, which follows the `!`"
                    ),
                ));
            }
            let most = self.inner.config.max_message_size();
            if message.len() > most {
                return Err(Error::new(
                    ErrorKind::MessageTooLarge,
                    format!(
                        "channel {channel:?}: the message has {} bytes, option `max_message_size` allows {most}; send it in parts",
                        message.len()
                    ),
                ));
            }
            let outgoing = Outgoing {
                queue: channel.queue().into(),
                capacity: self.inner.config.capacity_of(channel),
                body: message_body(channel.local(), message.as_bytes()),
                ordered: channel.kind() != ChannelKind::Normal,
            };
            self.shard_of(channel)?.send(outgoing).await
        })
    }

    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
        Box::pin(async move {
            // A ticket that waits ends with a message or an error.
            self.take(channels, true).await?.ok_or_else(receive::closed)
        })
    }

    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
        Box::pin(async move {
            for shard in &self.inner.shards {
                shard.check_reachable()?;
            }
            self.take(channels, false).await
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            for shard in &self.inner.shards {
                shard.flush().await?;
            }
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // Asked for here and not in the future: closing goes on even if that is never polled.
        let closing: Vec<_> = self.inner.shards.iter().map(Shard::close).collect();
        Box::pin(async move {
            let mut outcome = Ok(());
            for closing in closing {
                outcome = outcome.and(closing.await);
            }
            outcome
        })
    }
}
