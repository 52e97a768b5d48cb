//! A process that sends and receives all the time, and writes each event to its standard output:
//! `mailbox NAME` at first, then `s KIND ID TO` (a send begins; q to a queue, m to a mailbox, g to the group), `a ID` (accepted),
//! `f ID WHY` (refused, certainly not sent), `p ID WHY` (perhaps sent), `r PLACE ID` (received), `late MS` (its timers are), `e TEXT`
//! (what must not happen).
//! It obeys `peer NAME`, `gone NAME`, `stop` and `close` on its standard input.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use asgi_redis::RedisChannelLayer;
use asgi_redis::prelude::*;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::lateness;

pub(crate) const PREFIX: &str = "soak:";
pub(crate) const GROUP: &str = "everybody";
const QUEUES: [&str; 4] = ["jobs.a", "jobs.b", "jobs.c", "jobs.d"];
pub(crate) const MAILBOXES: usize = 2;
pub(crate) const RECEIVERS: usize = 3;

/// Ids as they are written into messages, so that they are found in a server's data whatever stands around them.
pub(crate) fn ids_in(bytes: &[u8]) -> Vec<u64> {
    const MARK: &[u8] = b"id#";
    let mut ids = Vec::new();
    for place in
        bytes.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK).map(|(place, _)| place)
    {
        let digits = bytes.get(place + MARK.len()..).unwrap_or_default();
        let text: String = digits
            .iter()
            .take_while(|digit| digit.is_ascii_digit())
            .map(|digit| char::from(*digit))
            .collect();
        ids.extend(text.parse::<u64>());
    }
    ids
}

fn note(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // The parent is gone: so is the reason to go on.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Runs a worker: its number, the seed, and the hosts.
pub(crate) fn main(mut words: impl Iterator<Item = String>) {
    let number: u64 = words.next().and_then(|word| word.parse().ok()).expect("the worker's number");
    let seed: u64 = words.next().and_then(|word| word.parse().ok()).expect("the seed");
    let hosts: Vec<String> = words.collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work(number, seed, hosts));
}

#[derive(Clone)]
struct Worker {
    layer: RedisChannelLayer,
    ids: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    under_way: Arc<Semaphore>,
}

const UNDER_WAY: u32 = 500;

async fn work(number: u64, seed: u64, hosts: Vec<String>) {
    tokio::spawn(lateness::watch(|by| note(format_args!("late {}", by.as_millis()))));
    let layer = RedisChannelLayer::builder()
        .hosts(hosts)
        .prefix(PREFIX)
        .expiry(Duration::from_secs(600))
        .capacity(20_000)
        .connect()
        .await
        .expect("the servers are up");
    let inbox = layer.open_inbox("soak").await.expect("an inbox");
    let worker = Worker {
        layer: layer.clone(),
        // Numbers of different workers differ.
        ids: Arc::new(AtomicU64::new(number * 1_000_000_000)),
        is_stopped: Arc::default(),
        under_way: Arc::new(Semaphore::new(UNDER_WAY as usize)),
    };
    for _ in 0..MAILBOXES {
        let mailbox = inbox.open_mailbox().expect("a mailbox");
        layer.group_add(GROUP, mailbox.name()).await.expect("a member");
        note(format_args!("mailbox {}", mailbox.name()));
        tokio::spawn(read_mailbox(mailbox));
    }
    for _ in 0..RECEIVERS {
        tokio::spawn(read_queues(layer.clone()));
    }
    let (peers, known) = mpsc::unbounded_channel();
    let sending = tokio::spawn(worker.clone().send_all(seed ^ number, known));
    let mut commands = commands();
    while let Some(command) = commands.recv().await {
        match command.split_once(' ') {
            Some((word @ ("peer" | "gone"), name)) => drop(peers.send((word == "peer", name.to_owned()))),
            _ if command == "stop" => {
                worker.is_stopped.store(true, Ordering::Relaxed);
                let _ = worker.under_way.acquire_many(UNDER_WAY).await;
                note(format_args!("stopped"));
            }
            _ => break,
        }
    }
    sending.abort();
    match tokio::time::timeout(Duration::from_secs(10), layer.close()).await {
        Ok(Ok(())) => note(format_args!("closed")),
        Ok(Err(error)) => note(format_args!("e close: {error}")),
        Err(_) => note(format_args!("e close does not end")),
    }
}

async fn read_queues(layer: RedisChannelLayer) {
    loop {
        match layer.receive::<String>(QUEUES).await {
            Ok((queue, text)) => {
                ids_in(text.as_bytes()).iter().for_each(|id| note(format_args!("r {queue} {id}")));
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn read_mailbox(mut mailbox: Mailbox) {
    let name = mailbox.name().to_string();
    loop {
        match mailbox.receive::<String>().await {
            Ok(text) => ids_in(text.as_bytes()).iter().for_each(|id| note(format_args!("r {name} {id}"))),
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                note(format_args!("e a mailbox: {error}"));
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Worker {
    async fn send_all(self, seed: u64, mut known: mpsc::UnboundedReceiver<(bool, String)>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut peers: Vec<String> = Vec::new();
        loop {
            sleep(Duration::from_millis(random.u64(2..8))).await;
            while let Ok((is_there, peer)) = known.try_recv() {
                peers.retain(|known| *known != peer);
                peers.extend(is_there.then_some(peer));
            }
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            // A send may wait for a silent server: there is room for those, but not without end.
            let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() else { continue };
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let (kind, to) = match random.u32(0..10) {
                0 => ('g', GROUP.to_owned()),
                1..4 if !peers.is_empty() => ('m', peers[random.usize(0..peers.len())].clone()),
                _ => ('q', QUEUES[random.usize(0..QUEUES.len())].to_owned()),
            };
            let text = format!("id#{id};{}", "x".repeat(random.usize(0..200)));
            let layer = self.layer.clone();
            note(format_args!("s {kind} {id} {to}"));
            tokio::spawn(async move {
                let outcome = match kind {
                    'g' => layer.group_send(to, &text).await.map(drop),
                    _ => layer.send(to, &text).await,
                };
                match outcome {
                    Ok(()) => note(format_args!("a {id}")),
                    Err(error) if error.perhaps_sent() => note(format_args!("p {id} {error}")),
                    Err(error) => note(format_args!("f {id} {error}")),
                }
                drop(permit);
            });
        }
    }
}

fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    commands
}
