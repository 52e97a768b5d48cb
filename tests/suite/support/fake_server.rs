//! A server of the test's making: it speaks RESP3, and a test decides what it answers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asgi_redis::scripts;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::runtime::{block_on, spawn};

/// A server that greets as a real one does, and answers each script as the test says. Dropped, it ends.
pub(crate) struct FakeServer {
    url: String,
    calls: Arc<AtomicU64>,
    listener: JoinHandle<()>,
}

/// What a script is answered: its name comes in, RESP goes out.
type Answer = dyn Fn(&str) -> String + Send + Sync;

impl FakeServer {
    /// Starts a server.
    pub(crate) fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::start_slow(Duration::ZERO, answer)
    }

    /// Starts a server that takes its time for each SUBSCRIBE.
    pub(crate) fn start_slow(
        slow: Duration,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let calls: Arc<AtomicU64> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let counted = Arc::clone(&calls);
        let listener = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn(serve(client, slow, Arc::clone(&answer), Arc::clone(&counted)));
            }
        });
        Self { url, calls, listener }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// How many scripts were called so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// An array of parts that are RESP already.
pub(crate) fn array(parts: &[&str]) -> String {
    format!("*{}\r\n{}", parts.len(), parts.concat())
}

async fn serve(client: TcpStream, slow: Duration, answer: Arc<Answer>, calls: Arc<AtomicU64>) {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(request) = read(&mut reader).await {
        let words: Vec<&str> = request.iter().map(String::as_str).collect();
        let reply = match words[0].to_ascii_uppercase().as_str() {
            "HELLO" => {
                "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
                    .to_owned()
            }
            "SUBSCRIBE" => {
                tokio::time::sleep(slow).await;
                format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{}\r\n:1\r\n", words[1].len(), words[1])
            }
            "SCRIPT" => array(&vec![":1\r\n"; words.len() - 2]),
            "EVALSHA" => {
                calls.fetch_add(1, Ordering::Relaxed);
                let script = scripts::all().iter().find(|script| script.sha() == words[1]).unwrap();
                answer(script.name())
            }
            _ => "+OK\r\n".to_owned(),
        };
        if writer.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A request: an array of bulk strings. Nothing at the end of the stream.
async fn read(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let count = number(reader, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(reader, '$').await?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

async fn number(reader: &mut (impl AsyncBufReadExt + Unpin), kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.strip_prefix(kind)?.trim().parse().ok()
}
