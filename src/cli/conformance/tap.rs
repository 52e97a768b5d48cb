//! What stands between the client and a server: it sees each command, and holds replies, holds commands, or cuts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy in front of one server. Dropping it closes all its connections.
#[derive(Debug)]
pub(super) struct Tap {
    address: SocketAddr,
    control: watch::Sender<Control>,
    seen: Arc<Mutex<Book>>,
    listener: JoinHandle<()>,
}

/// A command of the client, and when it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Counts connections from 1.
    pub(super) connection: u64,
    pub(super) at: Instant,
    pub(super) words: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Book {
    seen: Vec<Seen>,
    connections: u64,
    /// Replies are held from the next command on that has this word.
    trap: Option<Vec<u8>>,
    /// Commands that were held when their connection was cut, and the server's end of it.
    late: Vec<(OwnedReadHalf, OwnedWriteHalf, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    replies_held: bool,
    /// Commands of the connections up to this one are held.
    commands_held: u64,
    /// The connections up to this one are cut.
    cut: u64,
}

impl Tap {
    pub(super) async fn before(port: u16) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot listen on the loopback interface: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (control, orders) = watch::channel(Control::default());
        let seen = Arc::<Mutex<Book>>::default();
        let listener = tokio::spawn(accept(listener, port, Arc::clone(&seen), control.clone(), orders));
        Ok(Self { address, control, seen, listener })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// All commands so far, in the order in which they came.
    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).seen.clone()
    }

    /// How many commands were seen so far.
    pub(super) fn mark(&self) -> usize {
        lock(&self.seen).seen.len()
    }

    /// How many connections the client has made.
    pub(super) fn connections(&self) -> u64 {
        lock(&self.seen).connections
    }

    /// Holds all replies from the next command on that has this word: the server executes it, and nobody hears of it.
    pub(super) fn trap(&self, word: &[u8]) {
        lock(&self.seen).trap = Some(word.to_vec());
    }

    /// Waits until the trap has caught a command.
    pub(super) async fn caught(&self) -> Result<(), String> {
        for _ in 0..400 {
            if self.control.borrow().replies_held {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the client did not make the call within 4 s".to_owned())
    }

    /// Holds all replies, and what is published.
    pub(super) fn hold_replies(&self) {
        self.control.send_modify(|control| control.replies_held = true);
    }

    /// Holds all commands of the connections that are open now.
    pub(super) fn hold_commands(&self) {
        let last = self.connections();
        self.control.send_modify(|control| control.commands_held = last);
    }

    /// Passes everything again.
    pub(super) fn pass(&self) {
        lock(&self.seen).trap = None;
        self.control.send_modify(|control| {
            control.replies_held = false;
            control.commands_held = 0;
        });
    }

    /// Cuts all connections that are open now. What was held of them is lost, or [late](Self::deliver_late).
    pub(super) async fn cut(&self) {
        let last = self.connections();
        self.control.send_modify(|control| control.cut = last);
        // Until their tasks have seen it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Delivers the commands that were held when their connection was cut. The replies are for nobody.
    pub(super) async fn deliver_late(&self) -> Result<usize, String> {
        let late = std::mem::take(&mut lock(&self.seen).late);
        let count = late.len();
        for (mut reader, mut writer, commands) in late {
            writer
                .write_all(&commands)
                .await
                .map_err(|error| format!("a late command was not taken: {error}"))?;
            let mut reply = [0; 1024];
            // One reply is enough to know that the server has executed it.
            let read = tokio::time::timeout(Duration::from_secs(2), reader.read(&mut reply)).await;
            read.map_err(|_| "a late command was not answered".to_owned())?
                .map_err(|error| error.to_string())?;
        }
        Ok(count)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listener.abort();
        self.control.send_modify(|control| control.cut = u64::MAX);
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // No code that holds the lock can panic halfway through a change.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    port: u16,
    book: Arc<Mutex<Book>>,
    control: watch::Sender<Control>,
    orders: watch::Receiver<Control>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let id = {
            let mut book = lock(&book);
            book.connections += 1;
            book.connections
        };
        tokio::spawn(carry(id, client, port, Arc::clone(&book), control.clone(), orders.clone()));
    }
}

/// Joins a client with the server until one of them ends, or they are cut.
async fn carry(
    id: u64,
    client: TcpStream,
    port: u16,
    book: Arc<Mutex<Book>>,
    control: watch::Sender<Control>,
    mut orders: watch::Receiver<Control>,
) {
    // Without a server the client's connection is closed.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut commands, mut replies) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut unread, mut held) = (Vec::new(), Vec::new());
    loop {
        let now = *orders.borrow_and_update();
        if now.cut >= id {
            break;
        }
        if now.commands_held < id && !held.is_empty() {
            if to_server.write_all(&held).await.is_err() {
                return;
            }
            held.clear();
        }
        tokio::select! {
            read = from_client.read(&mut commands) => {
                let Ok(length @ 1..) = read else { break };
                let some = commands.get(..length).unwrap_or_default();
                unread.extend_from_slice(some);
                note(&book, &control, id, &mut unread);
                if orders.borrow().commands_held >= id {
                    held.extend_from_slice(some);
                } else if to_server.write_all(some).await.is_err() {
                    return;
                }
            }
            read = from_server.read(&mut replies), if !now.replies_held => {
                let Ok(length @ 1..) = read else { return };
                // What comes while they begin to be held was on its way.
                if to_client.write_all(replies.get(..length).unwrap_or_default()).await.is_err() {
                    break;
                }
            }
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
    if !held.is_empty() {
        lock(&book).late.push((from_server, to_server, held));
    }
}

/// Notes the commands that are whole, and springs the trap.
fn note(book: &Mutex<Book>, control: &watch::Sender<Control>, connection: u64, unread: &mut Vec<u8>) {
    let mut book = lock(book);
    while let Some((words, length)) = read_command(unread) {
        unread.drain(..length);
        if book.trap.as_ref().is_some_and(|trap| words.contains(trap)) {
            book.trap = None;
            control.send_modify(|control| control.replies_held = true);
        }
        book.seen.push(Seen { connection, at: Instant::now(), words });
    }
}

/// Reads one command of RESP, an array of bulk strings, and how many bytes it has. `None` if it is not whole yet.
fn read_command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let count = read_number(bytes, b'*', &mut at)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(read_number(bytes, b'$', &mut at)?).ok()?;
        words.push(bytes.get(at..at.checked_add(length)?)?.to_vec());
        at += length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

fn read_number(bytes: &[u8], sign: u8, at: &mut usize) -> Option<u64> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let number = rest.get(..end)?.strip_prefix(&[sign])?;
    *at += end + 2;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_when_it_is_whole() {
        let whole = b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n";
        for length in 0..whole.len() {
            assert!(read_command(&whole[..length]).is_none(), "{length}");
        }
        let read = read_command(&[&whole[..], b"*1"].concat()).unwrap();
        assert_eq!(read, (vec![b"ECHO".to_vec(), b"a\r\n".to_vec()], whole.len()));
        assert!(read_command(b"PING\r\n").is_none());
        assert!(read_command(b"*1\r\n$99999999999999999999\r\n").is_none());
    }
}
