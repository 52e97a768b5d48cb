//! A plain connection to a server, and what the server counted and saw.

use std::time::Duration;

use futures::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};

use super::server::Server;

const PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// A plain connection, patient enough for a busy machine.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        self.try_connection(PATIENCE).await.unwrap()
    }

    /// A plain connection whose replies may take `patience`, for tests of servers that are down or frozen.
    pub(crate) async fn try_connection(
        &self,
        patience: Duration,
    ) -> redis::RedisResult<MultiplexedConnection> {
        Client::open(self.url())?.get_multiplexed_async_connection_with_config(&waits_for(patience)).await
    }
}

fn waits_for(patience: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(Some(patience))
}

/// How a test's plain connections are: of its own accord the client gives up after half a second, which a busy machine may
/// take.
pub(crate) fn patient() -> AsyncConnectionConfig {
    waits_for(PATIENCE)
}

/// A plain connection to a URL.
pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
}

/// How often a command ran since the server started, by its name in `INFO commandstats`, such as `evalsha` or
/// `script|load`.
///
/// Runs inside scripts count too, as do those of all other tests unless the server is the test's own.
pub(crate) async fn calls(connection: &mut MultiplexedConnection, command: &str) -> u64 {
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let head = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&head));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// A record of the commands that clients send, made by `MONITOR`.
pub(crate) struct Monitor {
    monitor: redis::aio::Monitor,
    marker: MultiplexedConnection,
}

impl Monitor {
    /// Starts the record.
    pub(crate) async fn start(server: &Server) -> Self {
        let marker = server.connection().await;
        let monitor = Client::open(server.url()).unwrap().get_async_monitor().await.unwrap();
        Self { monitor, marker }
    }

    /// Ends the record: each line is a command with its arguments in quotes, as `"PUBLISH" "channel" "payload"`.
    /// What scripts ran is left out.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.record(false).await
    }

    /// Ends the record, and gives what scripts ran too.
    pub(crate) async fn finish_with_scripts(self) -> Vec<String> {
        self.record(true).await
    }

    async fn record(mut self, with_scripts: bool) -> Vec<String> {
        const END: &str = "the record ends here";
        let () = redis::cmd("ECHO").arg(END).query_async(&mut self.marker).await.unwrap();
        let mut lines = Vec::new();
        let mut seen = self.monitor.into_on_message::<String>();
        while let Some(line) = tokio::time::timeout(PATIENCE, seen.next()).await.unwrap() {
            // `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`, with `lua` for the address inside scripts.
            let (head, command) = line.split_once("] ").unwrap();
            if command.contains(END) {
                break;
            }
            if with_scripts || !head.ends_with(" lua") {
                lines.push(command.to_owned());
            }
        }
        lines
    }
}
