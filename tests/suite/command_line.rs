//! The command line as people and scripts use it: the real program against a real server.

mod configuration;
mod conformance;
mod demo;
mod examples;
mod groups;
mod messages;
mod outages;
mod refusals;
mod requests;
mod restarts;
mod scripts;
mod sealing;
mod servers;
mod signals;
mod terminal;
mod tls;
mod wrong_clock;

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// The program, without what the environment of the suite may say.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_asgi-redis"));
    command.env_remove("ASGI_REDIS_URL").stdin(Stdio::null());
    command
}

/// The program on a server, under a prefix.
fn program_on(server: &Server, prefix: &str) -> Command {
    let mut command = program();
    command.args(["--redis", &server.url(), "--prefix", prefix]);
    command
}

/// What a program said, and its exit status.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    /// It did its work and complained of nothing.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    /// It failed with this status and one line that begins with this text.
    #[track_caller]
    fn failed(&self, status: i32, said: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with(&format!("asgi-redis: {said}")), "{self:?}");
    }

    /// What it printed, each line read as JSON.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[track_caller]
fn run(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

#[track_caller]
fn run_with_input(command: &mut Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Starts a program, whose output can be read while it runs.
fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let status =
        Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of a program that is to end by itself.
#[track_caller]
fn end(mut child: Child) -> Ended {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the program did not end: {:?}", Ended::from(child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}
