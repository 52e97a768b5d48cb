//! What a new connection must be before the client says hello on it: to a primary, of a server that no other shard has, and
//! subscribed.

use super::task::Task;
use crate::error::ErrorKind;
use crate::redis::connection::{Connection, Introduction};
use crate::redis::failure::Failure;
use crate::redis::refusal::in_cluster_mode;
use crate::redis::server::Server;
use crate::redis::twins::Twin;

impl Task {
    /// Opens a connection, looks which role the server has, and subscribes. That comes before hello: until then the server may
    /// take the old connection for the listener.
    ///
    /// Several of these may overlap, so none changes anything. All of it together may take `connect_timeout`: a network may
    /// swallow everything in the middle of it, and a busy machine may be slow at any part.
    pub(super) async fn reach(&self) -> Result<Connection, Failure> {
        let settings = self.server.log_in().await?;
        let reaching = async {
            let connection = self.server.open(&settings, &self.keys, &self.tickets).await?;
            let introduction = connection.introduction().await?;
            self.check_role(&connection, &introduction).await?;
            connection.subscribe(&self.keys.wake(&self.client)).await?;
            Ok(connection)
        };
        self.server.in_time(reaching).await
    }

    /// A replica takes no writes, and its subscribers get what its primary hands to others.
    async fn check_role(&self, connection: &Connection, introduction: &Introduction) -> Result<(), Failure> {
        let host = &self.server.host;
        if introduction.is_in_cluster {
            return Err(Failure::new(ErrorKind::Unsupported, in_cluster_mode(host)));
        }
        if introduction.is_primary {
            return Ok(());
        }
        Err(match self.twins.primary_of(connection, &self.keys).await? {
            Some(primary) => {
                self.one_server(&format!("server {host} is a replica of {primary}, which is named too"))
            }
            None => Failure::new(
                ErrorKind::Replica,
                format!("server {host} is a replica and takes no writes; name its primary"),
            ),
        })
    }

    /// Compares the server with those of the other shards.
    pub(super) async fn compare(&mut self, connection: &Connection) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_compared, true) {
            return Ok(());
        }
        let Server { shard, host, .. } = &*self.server;
        match self.twins.come_up(*shard, host, &self.client, connection, &self.keys).await {
            Ok(()) => Ok(()),
            Err(Twin::Of(other)) => Err(self.one_server(&format!("hosts {other} and {host} are one server"))),
            Err(Twin::Unknown(failure)) => Err(failure),
        }
    }

    /// A list that names a server twice is a wrong option; found later, the second counts as down.
    fn one_server(&self, which: &str) -> Failure {
        let kind = if self.is_first_attempt { ErrorKind::Config } else { ErrorKind::Connection };
        Failure::new(
            kind,
            format!("{which}: groups would get messages twice, and channels hold half; name it once"),
        )
    }
}
