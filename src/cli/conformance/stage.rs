//! What one check has: servers of its own with a tap in front of each, and programs that run the client.

use std::future::Future;
use std::time::{Duration, Instant};

use asgi_redis::test_server::TestServer;
use serde_json::{Value, json};

use super::peer::{Answer, Peer, Pending};
use super::scripts::Scripts;
use super::tap::Tap;

/// How long something may take that is due at once.
pub(super) const SOON: Duration = Duration::from_secs(4);
/// The lease of the clients here.
pub(super) const LEASE: Duration = Duration::from_millis(1500);
/// A third of the lease.
pub(super) const BEAT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Stage {
    command: String,
    verbose: bool,
    pub(super) prefix: String,
    pub(super) nodes: Vec<Node>,
}

/// A server, and what stands in front of it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) server: TestServer,
    pub(super) tap: Tap,
    /// Calls by hand, past the tap.
    pub(super) scripts: Scripts,
}

impl Stage {
    pub(super) async fn new(command: &str, verbose: bool, servers: usize) -> Result<Self, String> {
        let (mut nodes, prefix) = (Vec::new(), "conformance:".to_owned());
        for _ in 0..servers {
            let server = TestServer::start().map_err(|error| error.to_string())?;
            let port = server.port().ok_or("the server has no port")?;
            let tap = Tap::before(port).await?;
            let scripts = Scripts::new(&server.url(), &prefix)?;
            scripts.load().await?;
            nodes.push(Node { server, tap, scripts });
        }
        Ok(Self { command: command.to_owned(), verbose, prefix, nodes })
    }

    /// The first server.
    pub(super) fn node(&self) -> Result<&Node, String> {
        self.nodes.first().ok_or_else(|| "there is no server".to_owned())
    }

    /// A client with the usual options.
    pub(super) async fn peer(&self) -> Result<Peer, String> {
        self.peer_with(json!({})).await
    }

    /// A client with some options of its own.
    pub(super) async fn peer_with(&self, options: Value) -> Result<Peer, String> {
        let (peer, opened) = self.opened(options).await?;
        opened.map_err(|refusal| format!("open ended with {refusal}"))?;
        Ok(peer)
    }

    /// A client that was asked to open, and what became of it.
    pub(super) async fn opened(&self, options: Value) -> Result<(Peer, Answer), String> {
        let peer = Peer::start(&self.command, self.verbose).await?;
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.tap.url()).collect();
        let mut all = json!({
            "hosts": hosts, "prefix": self.prefix, "lease_ms": LEASE.as_millis(), "timeout_ms": 1500, "expiry_ms": 60_000,
            "capacity": 100, "inbox_capacity": 1000, "keys": [], "name_key": null,
        });
        if let (Some(all), Some(own)) = (all.as_object_mut(), options.as_object()) {
            all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let opened = peer.call("open", all).await?;
        Ok((peer, opened))
    }

    /// A client that waits for a channel, once its ticket stands in the line.
    pub(super) async fn waiting(&self, channel: &str) -> Result<(Peer, Pending), String> {
        let peer = self.peer().await?;
        let pending = self.wait_for(&peer, channel).await?;
        Ok((peer, pending))
    }

    /// Lets a client wait for a channel.
    pub(super) async fn wait_for(&self, peer: &Peer, channel: &str) -> Result<Pending, String> {
        let pending = peer.receive(&[channel]).await?;
        self.in_line(channel).await?;
        Ok(pending)
    }

    /// Waits until a ticket stands in the line of a queue on each server.
    pub(super) async fn in_line(&self, queue: &str) -> Result<(), String> {
        for node in &self.nodes {
            let line = node.scripts.key('w', queue);
            until(
                SOON,
                || format!("no ticket waits for {queue}"),
                async || Ok(node.scripts.command::<u64>(&["ZCARD", &line]).await? > 0),
            )
            .await?;
        }
        Ok(())
    }
}

/// Waits until something is so; fails with this text after so long.
pub(super) async fn until<F>(
    patience: Duration,
    otherwise: impl Fn() -> String,
    is_so: impl Fn() -> F,
) -> Result<(), String>
where
    F: Future<Output = Result<bool, String>>,
{
    let began = Instant::now();
    while !is_so().await? {
        if began.elapsed() > patience {
            return Err(format!("{} after {} ms", otherwise(), patience.as_millis()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Fails with this text unless something is so.
pub(super) fn must(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

/// A receive that is to bring this message on this channel soon.
pub(super) async fn brings(pending: &mut Pending, channel: &str, message: &Value) -> Result<(), String> {
    let got = pending.within(SOON).await?.map_err(|refusal| format!("the receive ended with {refusal}"))?;
    must(got == json!([channel, message]), || format!("received {got}, and {message} was sent to {channel}"))
}
