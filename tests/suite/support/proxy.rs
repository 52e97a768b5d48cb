//! A faulty network: a proxy in front of a server that passes, holds back or cuts what goes through it.
//!
//! The suite and the soak test share this file. A server is known here by its address, `host:port`.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::runtime::{block_on, spawn};
use super::temporary::Directory;

/// A proxy that runs on a runtime of its own; dropped, it closes its connections.
pub(crate) struct Proxy {
    url: String,
    network: watch::Sender<Network>,
    connections: Arc<Mutex<Connections>>,
    target: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
    _directory: Option<Directory>,
}

#[derive(Default)]
struct Connections {
    open: Vec<JoinHandle<()>>,
    accepted: u64,
}

/// One way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From clients to the server.
    Requests,
    /// From the server to clients.
    Replies,
}

/// What the network does to what goes through it; nothing at first.
#[derive(Clone, Copy, Default)]
pub(crate) struct Network {
    pub(crate) requests_stalled: bool,
    pub(crate) replies_stalled: bool,
    pub(crate) refusing: bool,
    pub(crate) swallowing: bool,
}

impl Network {
    fn stalled(&self, direction: Direction) -> bool {
        match direction {
            Direction::Requests => self.requests_stalled,
            Direction::Replies => self.replies_stalled,
        }
    }
}

impl Proxy {
    /// Starts a proxy on a TCP port of the loopback interface.
    pub(crate) fn before(address: String) -> Self {
        let listener = block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        Self::serve(Listener::Tcp(listener), url, None, address)
    }

    /// Starts a proxy on a unix socket, so that clients can be tested on one wherever the server runs.
    pub(crate) fn on_unix_socket_before(address: String) -> Self {
        let directory = Directory::new();
        let path = directory.path().join("socket");
        let listener = block_on(async { UnixListener::bind(&path) }).unwrap();
        let url = format!("unix://{}", path.display());
        Self::serve(Listener::Unix(listener), url, Some(directory), address)
    }

    fn serve(listener: Listener, url: String, directory: Option<Directory>, address: String) -> Self {
        let (network, seen) = watch::channel(Network::default());
        let connections = Arc::default();
        let target = Arc::new(Mutex::new(address));
        let listener = spawn(accept(listener, Arc::clone(&target), Arc::clone(&connections), seen));
        Self { url, network, connections, target, listener, _directory: directory }
    }

    /// The URL of database 0 through the proxy.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// How many connections clients have opened so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.lock().unwrap().accepted
    }

    /// How many connections of clients are open now, as far as this end knows.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.lock().unwrap().open.iter().filter(|task| !task.is_finished()).count()
    }

    /// Closes all connections that are open now; they are closed when it returns.
    pub(crate) fn cut(&self) {
        let open = std::mem::take(&mut self.connections.lock().unwrap().open);
        block_on(end(open));
    }

    /// Holds back everything in both directions, the news of a closed end too, and closes nothing: a connection then
    /// looks as it does after the other machine has vanished.
    pub(crate) fn stall(&self) {
        self.stall_only(Direction::Requests);
        self.stall_only(Direction::Replies);
    }

    /// Holds back one direction. With the replies held back the server does what clients ask, and `cut` then makes
    /// sure that they never learn of it.
    pub(crate) fn stall_only(&self, direction: Direction) {
        self.network.send_modify(|network| match direction {
            Direction::Requests => network.requests_stalled = true,
            Direction::Replies => network.replies_stalled = true,
        });
    }

    /// Closes every new connection as soon as it opens, and leaves the open ones alone.
    pub(crate) fn refuse(&self) {
        self.network.send_modify(|network| network.refusing = true);
    }

    /// Has new connections lead to another server, as when an address moves. The open ones stay where they are.
    pub(crate) fn lead_to_address(&self, address: String) {
        *self.target.lock().unwrap() = address;
    }

    /// Swallows everything until `pass`, and closes nothing: connections that are open now, or are opened meanwhile, never
    /// hear of the other side again, not even after it.
    pub(crate) fn swallow(&self) {
        self.network.send_modify(|network| network.swallowing = true);
    }

    /// Passes everything again, first what was held back on connections that are still open.
    pub(crate) fn pass(&self) {
        self.set(Network::default());
    }

    /// Has the network do this, and nothing else, from now on.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        // Awaited, so that it adds no connection after the cut.
        let _ = block_on(&mut self.listener);
        self.cut();
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Ends tasks, and returns when nothing of them is left.
async fn end(tasks: impl IntoIterator<Item = JoinHandle<()>> + Send) {
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}

/// Takes connections until it is aborted.
async fn accept(
    listener: Listener,
    target: Arc<Mutex<String>>,
    connections: Arc<Mutex<Connections>>,
    network: watch::Receiver<Network>,
) {
    loop {
        let client = listener.accept().await.unwrap();
        let mut connections = connections.lock().unwrap();
        connections.accepted += 1;
        if !network.borrow().refusing {
            connections.open.retain(|task| !task.is_finished());
            let server = target.lock().unwrap().clone();
            connections.open.push(spawn(connect(client, server, network.clone())));
        }
    }
}

/// Joins a client with the server until one of them ends the connection.
async fn connect(client: Box<dyn Stream>, server: String, network: watch::Receiver<Network>) {
    if network.borrow().swallowing {
        return hold(client).await;
    }
    // Without a server the client's connection is closed.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = server.set_nodelay(true);
    // They outlive the pumps: what is swallowed stays open.
    let (mut client_reader, mut client_writer) = split(client);
    let (mut server_reader, mut server_writer) = split(server);
    let mut hole = network.clone();
    // A broken connection shows itself to both ends by its closing.
    let _ = tokio::select! {
        end = pump(&mut client_reader, &mut server_writer, Direction::Requests, network.clone()) => end,
        end = pump(&mut server_reader, &mut client_writer, Direction::Replies, network) => end,
        () = until_swallowing(&mut hole) => {
            // The server's end stays open too, as long as the client's.
            hold(&mut client_reader).await;
            Ok(())
        }
    };
}

/// Reads what a client sends until it closes its end, and says nothing.
async fn hold(mut client: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 1024];
    while client.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

async fn until_swallowing(network: &mut watch::Receiver<Network>) {
    // Without a proxy its connections are closed.
    let _ = network.wait_for(|network| network.swallowing).await;
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // The end of the stream is held back like everything else.
        let _ = network.wait_for(|network| !network.stalled(direction)).await;
        match read? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}
