//! The client that is tried, as a program: a line of JSON to it for each thing that it is to do, and a line from it for each that is
//! done. docs/contract/driver.md describes the lines.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

/// How long the program may take to begin, and to answer what does not wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// A longer line is not of the protocol.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// So many lines wait to be written to the program.
const MAX_LINES: usize = 1_000;

/// A running program. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Peer {
    process: Child,
    lines: mpsc::Sender<String>,
    waiting: Arc<Mutex<Waiting>>,
    tiers: Vec<String>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    /// Why no answer comes any more.
    ended: Option<String>,
}

/// What became of something: its value, or why not.
pub(super) type Answer = Result<Value, Refusal>;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: String,
    pub(super) text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the error {:?} ({})", self.kind, self.text)
    }
}

/// The first line of the program.
#[derive(Deserialize)]
struct Greeting {
    tiers: Vec<String>,
}

/// Any further line.
#[derive(Deserialize)]
struct Line {
    id: u64,
    #[serde(default)]
    ok: Value,
    error: Option<String>,
    #[serde(default)]
    text: String,
}

/// Something that the program was asked for and that may take its time.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    /// Waits for the answer; fails after so long.
    pub(super) async fn within(&mut self, patience: Duration) -> Result<Answer, String> {
        match tokio::time::timeout(patience, &mut self.answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("the peer ended before it answered".to_owned()),
            Err(_) => Err(format!("no answer of the peer within {} ms", patience.as_millis())),
        }
    }

    /// Whether the answer is there already.
    pub(super) fn is_answered(&mut self) -> Option<Answer> {
        self.answer.try_recv().ok()
    }
}

impl Peer {
    /// Starts the program and reads its first line.
    pub(super) async fn start(command: &str, verbose: bool) -> Result<Self, String> {
        let mut process = Command::new("sh")
            // The program takes the place of the shell, so it is the one that is killed.
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if verbose { Stdio::inherit() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(format!("{command:?} has no standard input or output"));
        };
        let mut stdout = BufReader::new(stdout);
        let first = tokio::time::timeout(PATIENCE, read_line(&mut stdout)).await;
        let first =
            first.map_err(|_| format!("{command:?} printed nothing within {} s", PATIENCE.as_secs()))??;
        let Some(first) = first else {
            return Err(format!(
                "{command:?} ended before it printed a line; --verbose shows its standard error"
            ));
        };
        let Greeting { tiers } = serde_json::from_str(&first).map_err(|error| {
            format!("the first line of {command:?} is not {{\"tiers\": [...]}}: {error}: {}", clipped(&first))
        })?;
        let (lines, to_write) = mpsc::channel(MAX_LINES);
        let waiting = Arc::<Mutex<Waiting>>::default();
        tokio::spawn(write(stdin, to_write));
        tokio::spawn(read(stdout, Arc::clone(&waiting)));
        Ok(Self { process, lines, waiting, tiers })
    }

    pub(super) fn tiers(&self) -> &[String] {
        &self.tiers
    }

    /// Asks for something that may take its time.
    pub(super) async fn ask(&self, what: &str, with: Value) -> Result<Pending, String> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            if let Some(why) = &waiting.ended {
                return Err(why.clone());
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, sender);
            id
        };
        let mut line = with;
        if let Some(fields) = line.as_object_mut() {
            fields.insert("id".to_owned(), json!(id));
            fields.insert("do".to_owned(), json!(what));
        }
        self.lines.send(line.to_string()).await.map_err(|_| "the peer ended".to_owned())?;
        Ok(Pending { id, answer })
    }

    /// Asks for something and waits for the answer.
    pub(super) async fn call(&self, what: &str, with: Value) -> Result<Answer, String> {
        self.ask(what, with).await?.within(PATIENCE).await.map_err(|error| format!("{what}: {error}"))
    }

    /// As [`call`](Self::call), for what must be done.
    pub(super) async fn done(&self, what: &str, with: Value) -> Result<Value, String> {
        self.call(what, with).await?.map_err(|refusal| format!("{what} ended with {refusal}"))
    }

    pub(super) async fn send(&self, channel: &str, message: &Value) -> Result<Value, String> {
        self.done("send", json!({ "channel": channel, "message": message })).await
    }

    /// A receive that waits.
    pub(super) async fn receive(&self, channels: &[&str]) -> Result<Pending, String> {
        self.ask("receive", json!({ "channels": channels, "block": true })).await
    }

    /// What is there now: `null`, or a channel and a message.
    pub(super) async fn take(&self, channels: &[&str]) -> Result<Value, String> {
        self.done("receive", json!({ "channels": channels, "block": false })).await
    }

    /// Ends the process at once, as `kill -9` does.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        self.process.kill().await.map_err(|error| format!("cannot kill the peer: {error}"))
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // No code that holds the lock can panic halfway through a change.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clipped(line: &str) -> String {
    line.chars().take(200).collect()
}

async fn read_line(stdout: &mut BufReader<tokio::process::ChildStdout>) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    loop {
        let some = stdout.fill_buf().await.map_err(|error| format!("cannot read from the peer: {error}"))?;
        if some.is_empty() {
            return Ok(None);
        }
        let end = some.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(some.len(), |end| end + 1);
        line.extend_from_slice(some.get(..length).unwrap_or(some));
        stdout.consume(length);
        if line.len() > MAX_LINE {
            return Err("a line of the peer has more than 16 MiB".to_owned());
        }
        if end.is_some() {
            let text = String::from_utf8(line).map_err(|_| "a line of the peer is not UTF-8".to_owned())?;
            return Ok(Some(text.trim_end().to_owned()));
        }
    }
}

/// Takes answers until the program ends or prints what is none.
async fn read(mut stdout: BufReader<tokio::process::ChildStdout>, waiting: Arc<Mutex<Waiting>>) {
    let why = loop {
        let line = match read_line(&mut stdout).await {
            Ok(Some(line)) if line.is_empty() => continue,
            Ok(Some(line)) => line,
            Ok(None) => break "the peer ended".to_owned(),
            Err(why) => break why,
        };
        match serde_json::from_str::<Line>(&line) {
            Ok(Line { id, ok, error, text }) => {
                let sender = lock(&waiting).answers.remove(&id);
                let answer = error.map_or(Ok(ok), |kind| Err(Refusal { kind, text }));
                // Nobody may wait for it any more.
                let _ = sender.map(|sender| sender.send(answer));
            }
            Err(error) => break format!("the peer printed what is no answer: {error}: {}", clipped(&line)),
        }
    };
    let mut waiting = lock(&waiting);
    waiting.answers.clear();
    waiting.ended = Some(why);
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        // A program that has ended is noticed where its answers are read.
        if stdin.write_all(format!("{line}\n").as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}
