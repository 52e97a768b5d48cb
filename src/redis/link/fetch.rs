//! Fetches what a reply only announced, over the connection that does not listen.

use std::sync::Arc;

use tokio::time::sleep;

use super::backoff;
use crate::error::ErrorKind;
use crate::redis::calls::Fetch;
use crate::redis::failure::Failure;
use crate::redis::keys::ClientId;
use crate::redis::plain::Plain;
use crate::redis::receive::Tickets;

/// What fetching needs.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) shard: usize,
    pub(super) host: Arc<str>,
    pub(super) client: ClientId,
    pub(super) tickets: Arc<Tickets>,
    pub(super) plain: Arc<Plain>,
}

impl Fetcher {
    /// Fetches one after the other, until the server has forgotten this client or its scripts; returns that.
    ///
    /// Cancel-safe: what was not fetched yet stays on the list.
    pub(super) async fn run(self, generation: u64) -> Failure {
        let Self { shard, host, client, tickets, plain } = &self;
        loop {
            let (ticket, queue) = tickets.to_fetch(*shard).await;
            match plain.call(&Fetch { client, generation, ticket, queue: &queue }).await {
                Ok(Some(handed)) => tickets.fetched(*shard, ticket, handed),
                Ok(None) => {
                    // It has expired, or a flush came. A server that talks nonsense is not asked without pause.
                    sleep(backoff::AFTER_NONE).await;
                    tickets.not_there(*shard, ticket);
                }
                Err(failure) if failure.is_forgotten => return failure,
                Err(failure) if failure.is_outage() => {
                    tracing::warn!(%host, queue, cause = failure.message, "a large message did not come; trying on");
                    tickets.unreachable_for(*shard, ticket, || failure.not_executed().to_error());
                    sleep(backoff::LONGEST).await;
                }
                Err(failure) if failure.kind == ErrorKind::Rights => {
                    tickets.denied(*shard, [ticket], || failure.to_error());
                    sleep(backoff::LONGEST).await;
                }
                Err(failure) => tickets.failed([ticket], || failure.to_error()),
            }
        }
    }
}
