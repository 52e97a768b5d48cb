//! What is said of a server that removes keys when it is full.

use std::time::Duration;

use crate::redis::calls::{Health, HealthReply};
use crate::redis::connection::Connection;
use crate::redis::keys::ClientId;

/// A program that ends sooner is not told: an answer that it is owed when it closes keeps the server from forgetting it.
pub(super) const AFTER: Duration = Duration::from_secs(1);

/// Warns of a server that removes keys when it is full. Nobody waits for this.
pub(super) async fn warn_of(connection: Connection, client: ClientId) {
    if let Ok(HealthReply::Well { may_ask: true }) = connection.call(&Health { client: &client }).await
        && let Ok(Some(policy)) = connection.eviction_policy().await
    {
        tracing::warn!(
            host = connection.host(),
            policy,
            "the server removes keys when it is full, and messages and memberships with them; set its maxmemory-policy to noeviction"
        );
    }
}
