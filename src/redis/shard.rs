//! One shard: a server's connection, and what is sent over it.

use std::sync::Arc;

use super::calls::Flush;
use super::connection::Target;
use super::failure::Failure;
use super::keys::Keys;
use super::link::{Link, MOST_TRIES};
use super::receive::Tickets;
use super::send::{Outgoing, Sends};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;

/// One Redis keyspace in which a script is atomic.
#[derive(Debug)]
pub(super) struct Shard {
    link: Arc<Link>,
    sends: Arc<Sends>,
    host: Arc<str>,
}

impl Shard {
    /// Starts connecting.
    pub(super) fn start(number: usize, host: &Host, config: &Config, tickets: &Arc<Tickets>) -> Result<Self> {
        let name: Arc<str> = host.to_string().into();
        let target = Target {
            info: host.connection_info().clone(),
            host: Arc::clone(&name),
            shard: number,
            connect_timeout: config.connect_timeout(),
            response_timeout: config.response_timeout(),
        };
        let link = Link::start(target, Keys::new(config.prefix()), Arc::clone(tickets), config.lease())?;
        let link = Arc::new(link);
        let sends =
            Sends::start(Arc::clone(&link), Arc::clone(&name), config.expiry(), config.max_sends_in_flight());
        Ok(Self { link, sends, host: name })
    }

    /// Waits until the first attempt to connect has ended.
    pub(super) async fn connected(&self) -> Result<()> {
        self.link.first_connection().await.map(drop)
    }

    /// Says why the shard cannot be asked now, if so.
    pub(super) fn check_reachable(&self) -> Result<()> {
        self.link.connection().map(drop)
    }

    pub(super) async fn send(&self, message: Outgoing) -> Result<()> {
        self.sends.send(message).await
    }

    /// Removes all messages and groups, in bounded steps.
    pub(super) async fn flush(&self) -> Result<()> {
        let mut connection = self.link.connection()?;
        let mut cursor = Some("0".to_owned());
        let mut tries = 0;
        while let Some(here) = &cursor {
            match connection.call(&Flush { cursor: here }).await {
                Ok(reply) => cursor = reply.next,
                Err(Failure::NoScript) if tries < MOST_TRIES => {
                    tries += 1;
                    connection = self.link.healed_since(connection.epoch).await?;
                }
                Err(Failure::NoScript) => {
                    return Err(Error::new(
                        ErrorKind::Connection,
                        format!("server {} forgot its scripts {MOST_TRIES} times in a row", self.host),
                    ));
                }
                Err(Failure::Other(cause)) => return Err(cause.not_executed().to_error()),
            }
        }
        Ok(())
    }

    pub(super) fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.link.close()
    }
}
