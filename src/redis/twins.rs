//! Finds out that two hosts of a list are one server: an address and a name of it, a socket and a port, a primary and its
//! replica. Its groups would get everything twice, and its channels would hold half.
//!
//! Each shard's task has a client id of its own, under which its server keeps a record. Who finds the record of another
//! shard on its server has the same data there. That these are not a copy, as two servers have that began with one snapshot,
//! is found by writing a new key through one of them and looking for it through the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::connection::Connection;
use super::failure::Failure;
use super::keys::{ClientId, Keys};

/// How long and how often a replica is asked for what its primary has just written.
const REPLICATED_WITHIN: Duration = Duration::from_secs(1);
const REPLICA_PAUSE: Duration = Duration::from_millis(50);

/// The shards of a layer that are connected.
#[derive(Debug, Default)]
pub(super) struct Twins {
    up: Mutex<Vec<Shard>>,
}

#[derive(Clone, Debug)]
struct Shard {
    number: usize,
    host: Arc<str>,
    client: ClientId,
    connection: Connection,
}

impl Twins {
    /// Notes that a shard has greeted its server, unless that is the server of another shard: then returns this one's host.
    pub(super) async fn come_up(
        &self,
        number: usize,
        host: &Arc<str>,
        client: &ClientId,
        connection: &Connection,
        keys: &Keys,
    ) -> Result<(), Twin> {
        let mut considered: Vec<usize> = Vec::new();
        loop {
            let next = {
                let mut up = self.lock();
                up.retain(|shard| shard.number != number);
                let next = up.iter().find(|shard| !considered.contains(&shard.number)).cloned();
                if next.is_none() {
                    let (host, client, connection) = (Arc::clone(host), client.clone(), connection.clone());
                    up.push(Shard { number, host, client, connection });
                }
                next
            };
            let Some(other) = next else { return Ok(()) };
            considered.push(other.number);
            if have_same_data(connection, &other.connection, &other.client, keys).await? {
                return Err(Twin::Of(other.host));
            }
        }
    }

    /// Notes that a shard has lost its server.
    pub(super) fn go_down(&self, number: usize) {
        self.lock().retain(|shard| shard.number != number);
    }

    /// Returns the host whose replica a connection leads to, if it is one of this layer's.
    pub(super) async fn primary_of(
        &self,
        replica: &Connection,
        keys: &Keys,
    ) -> Result<Option<Arc<str>>, Failure> {
        let mut left = REPLICATED_WITHIN;
        loop {
            let up = self.lock().clone();
            for shard in up {
                if replica.has_key(&keys.client(&shard.client)).await? {
                    return Ok(Some(shard.host));
                }
            }
            if left.is_zero() {
                return Ok(None);
            }
            sleep(REPLICA_PAUSE).await;
            left = left.saturating_sub(REPLICA_PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Shard>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a shard does not come up.
pub(super) enum Twin {
    /// Its server is that of another host.
    Of(Arc<str>),
    /// Its server did not answer.
    Unknown(Failure),
}

impl From<Failure> for Twin {
    fn from(cause: Failure) -> Self {
        Self::Unknown(cause)
    }
}

/// Whether what is written through one connection is read through the other. `client` has a record at the other's server.
pub(super) async fn have_same_data(
    ours: &Connection,
    others: &Connection,
    client: &ClientId,
    keys: &Keys,
) -> Result<bool, Failure> {
    if !ours.has_key(&keys.client(client)).await? {
        return Ok(false);
    }
    let random = ClientId::random().map_err(Failure::from)?;
    let token = keys.token(&random);
    // If the other cannot be written to it is on its way down, and will be compared when it is back.
    Ok(others.put_token(&token).await.is_ok() && ours.has_key(&token).await?)
}
