//! A private Redis or Valkey server for tests: a real `redis-server` or `valkey-server` from `PATH`, as a child process that
//! keeps nothing on disk and ends with its owner. Unix only. Feature `test-server`.
//!
//! ```no_run
//! use asgi_redis::test_server::TestServer;
//! use asgi_redis::{ChannelLayerExt, RedisChannelLayer};
//!
//! # async fn example() -> asgi_redis::Result<()> {
//! let server = TestServer::start()?;
//! let layer = RedisChannelLayer::builder().hosts([server.url()]).connect().await?;
//! layer.send("greetings", "hello").await?;
//! let (_, greeting): (_, String) = layer.receive(["greetings"]).await?;
//! assert_eq!(greeting, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! A [`TestServer`] is killed and its directory removed when it is dropped. If the owning process is killed, a small shell
//! process notices and does the same.

// `program` finds the server program, `process` is a server's process and its guard, `port` finds a free port.
mod port;
mod process;
mod program;

pub use self::port::free_port;
pub use self::program::ServerProgram;

use std::fs::{File, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::process::Running;
use crate::error::{Error, ErrorKind, Result};

/// How often a server is started on another port, when its port was taken in the meantime.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(5);
const LOG: &str = "log";
const SOCKET: &str = "socket";

/// A running server of one's own. Dropping it kills the server and removes its directory.
///
/// Methods block the calling thread until they are done, for some milliseconds. They may be called from async tests.
#[derive(Debug)]
pub struct TestServer {
    program: ServerProgram,
    launcher: Vec<String>,
    arguments: Vec<String>,
    port: Option<u16>,
    patience: Duration,
    // Above the directory, so that the server ends before its directory is removed.
    running: Mutex<Option<Running>>,
    directory: TempDir,
}

/// The options of a [`TestServer`].
#[derive(Clone, Debug)]
pub struct TestServerBuilder {
    program: Option<ServerProgram>,
    launcher: Vec<String>,
    arguments: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    has_port: bool,
    patience: Duration,
}

impl TestServerBuilder {
    /// Adds arguments to the command line of the server, such as `["--maxmemory", "20mb"]`. In them `{dir}` stands for the
    /// directory of the server and `{port}` for its port.
    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a file to the directory of the server, such as a certificate.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Has the server listen on its unix socket only. Without this call it listens on a free port of the loopback interface
    /// too, and keeps the port when it is started again.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        self.has_port = false;
        self
    }

    /// Runs this program. Without this call it is the one that [`ServerProgram::find`] finds.
    #[must_use]
    pub fn program(mut self, program: ServerProgram) -> Self {
        self.program = Some(program);
        self
    }

    /// Starts the server by another program, such as `["taskset", "-c", "0"]`, which must become the server by `exec`.
    #[must_use]
    pub fn launcher<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.launcher = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long to wait until the server answers. Defaults to 30 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the server, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if there is no server program on `PATH`, or if it does not start. The text then
    /// holds the last line of its log.
    pub fn start(self) -> Result<TestServer> {
        let program = self.program.map_or_else(ServerProgram::find, Ok)?;
        let failed = |error: io::Error| cannot_start(&program, &error);
        let directory = tempfile::Builder::new()
            .prefix("asgi-redis-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(failed)?;
        for (name, content) in &self.files {
            std::fs::write(directory.path().join(name), content).map_err(failed)?;
        }
        let mut server = TestServer {
            program,
            launcher: self.launcher,
            arguments: Vec::new(),
            port: None,
            patience: self.patience,
            running: Mutex::new(None),
            directory,
        };
        for _ in 1..ATTEMPTS {
            server.choose(&self.arguments, self.has_port)?;
            match server.launch() {
                Err(_) if self.has_port && server.log().contains("Address already in use") => {}
                launched => return launched.map(|()| server),
            }
        }
        server.choose(&self.arguments, self.has_port)?;
        server.launch().map(|()| server)
    }
}

impl TestServer {
    /// Starts a server with the default options.
    ///
    /// # Errors
    ///
    /// As [`TestServerBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder with the default options.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder {
            program: None,
            launcher: Vec::new(),
            arguments: Vec::new(),
            files: Vec::new(),
            has_port: true,
            patience: Duration::from_secs(30),
        }
    }

    /// The URL of the server, on its port or, without one, on its unix socket.
    pub fn url(&self) -> String {
        match self.port {
            Some(port) => format!("redis://{}:{port}", Ipv4Addr::LOCALHOST),
            None => self.unix_url(),
        }
    }

    /// The URL of the server on its unix socket.
    pub fn unix_url(&self) -> String {
        let encoded = |byte: &u8| match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => char::from(*byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let path = self.socket();
        format!("unix://{}", path.as_os_str().as_bytes().iter().map(encoded).collect::<String>())
    }

    /// The port of the loopback interface, 127.0.0.1, on which the server listens; `None` if it has no port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path of its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    /// The program that runs.
    pub fn program(&self) -> &ServerProgram {
        &self.program
    }

    /// Kills the server at once, if it runs.
    pub fn kill(&self) {
        self.running().take();
    }

    /// Asks the server to end, and waits for that.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if the server does not run.
    pub fn terminate(&self) -> Result<()> {
        self.signal("TERM")?;
        if let Some(mut running) = self.running().take() {
            running.server.wait().map_err(|error| cannot("wait for", &self.program, &error))?;
        }
        Ok(())
    }

    /// Starts the server again after it was killed or has ended, at its address and without its data. Does nothing if it
    /// runs.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if it does not start.
    pub fn start_again(&self) -> Result<()> {
        let runs =
            self.running().as_mut().is_some_and(|running| matches!(running.server.try_wait(), Ok(None)));
        if runs {
            return Ok(());
        }
        self.kill();
        self.launch()
    }

    /// Freezes the server: its connections stay open, and it answers nothing.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if the server does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets a frozen server continue.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if the server does not run.
    pub fn unpause(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Chooses a port, and with it the command line.
    fn choose(&mut self, further: &[String], has_port: bool) -> Result<()> {
        self.port = if has_port { Some(free_port()?) } else { None };
        let port = self.port.unwrap_or(0).to_string();
        let directory = self.directory.path().to_string_lossy();
        let host = Ipv4Addr::LOCALHOST.to_string();
        let all = ["--bind", &host, "--protected-mode", "no", "--port", &port, "--unixsocket", SOCKET];
        let kept_nowhere = ["--save", "", "--appendonly", "no", "--daemonize", "no"];
        self.arguments = all
            .into_iter()
            .chain(kept_nowhere)
            .chain(further.iter().map(String::as_str))
            .map(|argument| argument.replace("{dir}", &directory).replace("{port}", &port))
            .collect();
        Ok(())
    }

    /// Starts the program, and returns when it answers.
    fn launch(&self) -> Result<()> {
        let failed = |error: io::Error| cannot_start(&self.program, &error);
        let mut running = self.spawn().map_err(failed)?;
        let started = Instant::now();
        // Only this server listens in this directory.
        while UnixStream::connect(self.socket()).is_err() {
            if running.server.try_wait().map_err(failed)?.is_some() || started.elapsed() > self.patience {
                let log = self.log();
                let last =
                    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its log is empty");
                return Err(Error::new(
                    ErrorKind::Connection,
                    format!("{} did not start: {last}", self.program.name),
                ));
            }
            std::thread::sleep(PAUSE);
        }
        *self.running() = Some(running);
        Ok(())
    }

    fn spawn(&self) -> io::Result<Running> {
        let mut words = self.launcher.iter().map(String::as_str).chain([self.program.name()]);
        let first = words.next().unwrap_or(self.program.name());
        let log = File::create(self.directory.path().join(LOG))?;
        let server = Command::new(first)
            .args(words)
            .args(&self.arguments)
            .current_dir(self.directory.path())
            // Ctrl-C is for the owner alone, which may still need the server while it ends.
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()?;
        Running::guarded(server, self.directory.path())
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.directory.path().join(LOG));
        log.map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let running = self.running();
        let Some(running) = running.as_ref() else {
            return Err(Error::new(
                ErrorKind::Connection,
                format!("cannot send {name} to {}: it does not run", self.program.name),
            ));
        };
        // Without unsafe code a signal is sent by the shell, whose `kill` is built in.
        let pid = running.server.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &pid]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(cannot("signal", &self.program, &status)),
            Err(error) => Err(cannot("signal", &self.program, &error)),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_start(program: &ServerProgram, error: &io::Error) -> Error {
    cannot("start", program, error)
}

fn cannot(what: &str, program: &ServerProgram, why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Connection, format!("cannot {what} {}: {why}", program.name))
}
