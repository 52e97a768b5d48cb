//! A server as a child process on the loopback interface, with a private directory.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::server::{Instance, Setup};
use super::temporary::{Directory, free_port};

const HOST: &str = "127.0.0.1";
const READY: &str = "Ready to accept connections";
const PATIENCE: Duration = Duration::from_secs(30);

/// A server program found on `PATH`.
pub(super) struct Binary(&'static str);

impl Binary {
    /// Finds one that is new enough; the error says what to install.
    pub(super) fn find() -> Result<Self, String> {
        for name in ["redis-server", "valkey-server"] {
            let Ok(output) = Command::new(name).arg("--version").output() else { continue };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let major =
                text.split_once("v=").and_then(|(_, rest)| rest.split('.').next()?.parse::<u32>().ok());
            return match major {
                Some(7..) => Ok(Self(name)),
                _ => Err(format!("the {name} on PATH is older than 7.0: {}", text.trim())),
            };
        }
        Err("the tests need a server: start a Docker engine, or install redis-server (7.0 or newer) or \
             valkey-server, for example with `apt-get install redis-server` or `brew install redis`; \
             ./scripts/test does it where it may"
            .to_owned())
    }
}

pub(super) struct Process {
    binary: Binary,
    arguments: Vec<String>,
    port: u16,
    // Dropped before the directory in which it runs.
    running: Mutex<Option<Running>>,
    directory: Directory,
}

struct Running {
    server: Child,
    guard: Child,
}

impl Process {
    pub(super) fn start_new(setup: &Setup<'_>) -> Self {
        const ATTEMPTS: usize = 5;
        let directory = Directory::new();
        for (name, content) in setup.files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let path = directory.path().to_str().unwrap().to_owned();
        let mut process = Self {
            binary: Binary::find().unwrap_or_else(|why| panic!("{why}")),
            arguments: Vec::new(),
            port: 0,
            running: Mutex::new(None),
            directory,
        };
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            process.port = free_port();
            process.arguments = setup.arguments(HOST, process.port, &path);
            match process.launch() {
                Ok(()) => return process,
                Err(log) if log.contains("Address already in use") => failure = log,
                Err(log) => panic!("{} did not start:\n{log}", process.binary.0),
            }
        }
        panic!("{} found no free port:\n{failure}", process.binary.0)
    }

    /// Starts the program; returns when it is ready, or with its log.
    fn launch(&self) -> Result<(), String> {
        let log = self.directory.path().join("log");
        let mut running = Running::spawn(self.binary.0, &self.arguments, &self.directory, &log);
        let started = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
            let ended = running.server.try_wait().unwrap().is_some();
            if text.contains(READY) && !ended {
                *self.running() = Some(running);
                return Ok(());
            }
            if ended || started.elapsed() > PATIENCE {
                return Err(text);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, name: &str) {
        let running = self.running();
        let pid = running.as_ref().expect("the server is running").server.id();
        // Without unsafe code a signal is sent by the shell, whose `kill` is built in.
        let status = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &pid.to_string()]).status();
        assert!(status.unwrap().success(), "cannot send {name} to the server, process {pid}");
    }
}

impl Instance for Process {
    fn host(&self) -> &str {
        HOST
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn start(&self) {
        if let Some(running) = self.running().as_mut()
            && running.server.try_wait().unwrap().is_none()
        {
            return;
        }
        self.kill();
        self.launch().unwrap_or_else(|log| panic!("{} did not start again:\n{log}", self.binary.0));
    }

    fn kill(&self) {
        self.running().take();
    }

    fn terminate(&self) {
        self.signal("TERM");
        if let Some(mut running) = self.running().take() {
            running.server.wait().unwrap();
        }
    }

    fn pause(&self) {
        self.signal("STOP");
    }

    fn unpause(&self) {
        self.signal("CONT");
    }
}

impl Running {
    fn spawn(binary: &str, arguments: &[String], directory: &Directory, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        let server = Command::new(binary)
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        let guard = guard(&server, directory);
        Self { server, guard }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.server.kill();
        if let Some(mut stdin) = self.guard.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.guard.wait();
        // Last, because until then no other process is given the id that the guard would kill.
        let _ = self.server.wait();
    }
}

/// Starts a shell that kills the server and removes its directory if this process goes without having done so, as
/// when it is killed: then the shell's standard input ends without a line.
fn guard(server: &Child, directory: &Directory) -> Child {
    const SCRIPT: &str =
        "trap '' INT TERM HUP; read -r line || { kill -KILL \"$0\"; rm -rf \"$1\"; } 2>/dev/null";
    Command::new("sh")
        .args(["-c", SCRIPT, &server.id().to_string()])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
