//! The workers, as processes, and what they write.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use super::books::Books;
use super::lateness;
use super::runtime::spawn;
use super::worker::{MAILBOXES, RECEIVERS};

/// Nothing more comes if nothing came for so long.
const SILENCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// A line of a worker, and when it came.
pub(crate) struct Event {
    /// Workers count from one; zero is the parent, and what watches the processors.
    pub(crate) worker: usize,
    pub(crate) at: Instant,
    pub(crate) line: String,
}

pub(crate) struct Crew {
    /// Each with its number, which no other gets.
    workers: Vec<(usize, Child, ChildStdin)>,
    hosts: Vec<String>,
    seed: u64,
    started: usize,
    written: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    /// They end with it.
    _watchers: Vec<Child>,
}

impl Crew {
    pub(crate) fn start(count: usize, hosts: &[String], seed: u64) -> Self {
        let (written, events) = mpsc::unbounded_channel();
        let late = written.clone();
        // Where the proxies run.
        spawn(lateness::watch(move |by| {
            let line = format!("late {}", by.as_millis());
            let _ = late.send(Event { worker: 0, at: Instant::now(), line });
        }));
        let mut watchers = lateness::watch_processors();
        for watcher in &mut watchers {
            read(watcher, 0, written.clone());
        }
        let (workers, hosts) = (Vec::new(), hosts.to_vec());
        let mut crew = Self { workers, hosts, seed, started: 0, written, events, _watchers: watchers };
        for _ in 0..count {
            let worker = crew.hire();
            crew.workers.push(worker);
        }
        crew
    }

    fn hire(&mut self) -> (usize, Child, ChildStdin) {
        self.started += 1;
        let worker = self.started;
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(&program)
            .arg("worker")
            .arg(worker.to_string())
            .arg(self.seed.to_string())
            .args(&self.hosts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a worker starts");
        let input = child.stdin.take().expect("piped");
        read(&mut child, worker, self.written.clone());
        (worker, child, input)
    }

    /// Tells each worker the mailboxes of all.
    pub(crate) async fn introduce(&mut self, books: &mut Books) {
        while books.mailboxes().len() < MAILBOXES * self.workers.len() {
            let event = timeout(PATIENCE, self.events.recv()).await.ok().flatten().expect("workers start");
            books.note(event);
        }
        for name in books.mailboxes() {
            self.tell(&format!("peer {name}")).await;
        }
    }

    /// Kills a worker, and lets another take its place; `handed` tells what servers still name as handed to it.
    pub(crate) async fn replace(
        &mut self,
        worker: usize,
        books: &mut Books,
        handed: impl AsyncFnOnce() -> BTreeSet<u64>,
    ) {
        let (number, mut child, _) = self.workers.swap_remove(worker);
        child.kill().await.expect("a worker is killed");
        let in_hand = (RECEIVERS + 1) * self.hosts.len();
        for name in books.was_killed(number, handed().await, in_hand) {
            self.tell(&format!("gone {name}")).await;
        }
        let next = self.hire();
        self.workers.push(next);
        self.introduce(books).await;
    }

    /// Takes down what the workers write for some time.
    pub(crate) async fn listen(&mut self, books: &mut Books, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(Some(event)) = timeout_at(end, self.events.recv()).await {
            books.note(event);
        }
    }

    /// Freezes a worker, or lets it go on.
    pub(crate) async fn signal(&self, worker: usize, signal: &str) {
        if let Some(id) = self.workers.get(worker).and_then(|(_, child, _)| child.id()) {
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).status().await;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.workers.len()
    }

    /// No more is sent; what is on its way arrives.
    pub(crate) async fn finish(&mut self, books: &mut Books) {
        self.tell("stop").await;
        let mut last = tokio::time::Instant::now();
        while let Ok(Some(event)) = timeout_at(last + SILENCE, self.events.recv()).await {
            if !event.line.starts_with("late ") {
                last = tokio::time::Instant::now();
            }
            books.note(event);
        }
    }

    /// The workers close their layers and end.
    pub(crate) async fn close(&mut self, books: &mut Books) {
        self.tell("close").await;
        for (_, child, _) in &mut self.workers {
            if timeout(PATIENCE, child.wait()).await.is_err() {
                books.wrong("a worker does not end".to_owned());
            }
        }
        while let Ok(event) = self.events.try_recv() {
            books.note(event);
        }
    }

    async fn tell(&mut self, command: &str) {
        for (_, _, input) in &mut self.workers {
            let line = format!("{command}\n");
            let _ = input.write_all(line.as_bytes()).await;
            let _ = input.flush().await;
        }
    }
}

/// Passes on what a process writes, a line an event.
fn read(process: &mut Child, worker: usize, written: mpsc::UnboundedSender<Event>) {
    let output = process.stdout.take().expect("piped");
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if written.send(Event { worker, at: Instant::now(), line }).is_err() {
                return;
            }
        }
    });
}
