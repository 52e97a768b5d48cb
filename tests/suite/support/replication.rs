//! Roles: making a server the replica of another, and a replica a primary. The servers are processes.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// What makes a replica follow without delay.
const PROMPT: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

impl Server {
    /// A process that may become a primary or a replica.
    pub(crate) fn replicating() -> Self {
        Self::process(&PROMPT)
    }

    /// Makes this server a replica of another; returns when it has all that the other has.
    pub(crate) async fn follow(&self, primary: &Self) {
        self.tell(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
        self.caught_up_with(primary).await;
    }

    /// Makes this server the replica of one that is out of reach: it keeps what it has, and takes no writes.
    pub(crate) async fn follow_nobody_reachable(&self) {
        let port = asgi_redis::test_server::free_port().unwrap();
        self.tell(&["REPLICAOF", "127.0.0.1", &port.to_string()]).await;
    }

    /// Makes this server a primary.
    pub(crate) async fn lead(&self) {
        self.tell(&["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Hands the role of the primary to a replica, with all that was written.
    pub(crate) async fn fail_over_to(&self, replica: &Self) {
        self.tell(&["FAILOVER", "TO", "127.0.0.1", &replica.port().to_string()]).await;
        self.until("it is a replica", |info| info.contains("role:slave")).await;
        replica.until("it is the primary", |info| info.contains("role:master")).await;
        self.caught_up_with(replica).await;
    }

    /// Waits until this replica has all that its primary has.
    pub(crate) async fn caught_up_with(&self, primary: &Self) {
        self.until("the replica is linked", |info| info.contains("master_link_status:up")).await;
        let mut primary = primary.connection().await;
        let end: u64 = field(&replication(&mut primary).await, "master_repl_offset:").parse().unwrap();
        let has = |info: &str| field(info, "slave_repl_offset:").parse::<u64>().is_ok_and(|at| at >= end);
        self.until("the replica has caught up", has).await;
    }

    /// Sends a command whose answer matters only if it is an error.
    pub(crate) async fn tell(&self, words: &[&str]) {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async::<redis::Value>(&mut self.connection().await).await.unwrap();
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&str) -> bool) {
        let mut connection = self.connection().await;
        let waiting = async {
            while !is_so(&replication(&mut connection).await) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never came that {what}");
    }
}

async fn replication(connection: &mut MultiplexedConnection) -> String {
    redis::cmd("INFO").arg("replication").query_async(connection).await.unwrap()
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}
