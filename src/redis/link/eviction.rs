//! A server that removes keys when it is full: it is warned of, and those who wait there ask again often, for their places in line
//! may be gone.

use std::time::Duration;

use tokio::time::sleep;

use crate::redis::calls::{Health, HealthReply};
use crate::redis::connection::Connection;
use crate::redis::keys::ClientId;

/// A program that ends sooner does not ask: an answer that it is owed when it closes keeps the server from forgetting it.
const AFTER: Duration = Duration::from_secs(1);
/// Who waits at such a server asks again so often.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Looks a while after a connection was made whether the server removes keys; returns its policy if it does, and if its user may
/// ask.
pub(super) async fn policy(connection: Connection, client: ClientId) -> Option<String> {
    sleep(AFTER).await;
    match connection.call(&Health { client: &client }).await {
        Ok(HealthReply::Well { may_ask: true }) => connection.eviction_policy().await.ok().flatten(),
        _ => None,
    }
}

pub(super) fn warn_of(policy: &str, host: &str) {
    tracing::warn!(
        host,
        policy,
        "the server removes keys when it is full, and messages and memberships with them; set its maxmemory-policy to noeviction"
    );
}
