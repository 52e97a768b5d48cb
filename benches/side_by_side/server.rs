//! A server of our own: a process on the loopback interface and a unix socket, in a private directory. It goes with
//! this process, however that ends.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::placement::Cores;

const PATIENCE: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 5;
const NONE_FOUND: &str = "no server is on PATH: install redis-server (7.0 or newer) or valkey-server, for example \
                          with `apt-get install redis-server`";

pub(crate) struct Server {
    version: String,
    port: u16,
    unix: bool,
    running: Running,
}

/// Dropping it ends the server and removes its directory.
struct Running {
    server: Child,
    guard: Option<Child>,
    directory: PathBuf,
}

impl Server {
    /// Starts one, whose [`Self::url`] names the unix socket if `unix` is set.
    pub(crate) fn start(cores: &Cores, unix: bool) -> Result<Self> {
        let (program, version) = find()?;
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut running = Running::spawn(cores.server(program), port)?;
            match running.wait_until_ready()? {
                None => return Ok(Self { version, port, unix, running }),
                Some(log) => failure = log,
            }
        }
        Err(format!("{program} did not start:\n{failure}").into())
    }

    /// Such as `redis-server 7.0.15`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn url(&self) -> String {
        if self.unix {
            format!("redis+unix://{}?protocol=resp3", self.running.socket().display())
        } else {
            format!("redis://127.0.0.1:{}/0?protocol=resp3", self.port)
        }
    }
}

/// The server's program on `PATH`, and its name and version.
fn find() -> Result<(&'static str, String)> {
    for program in ["redis-server", "valkey-server"] {
        let Ok(output) = Command::new(program).arg("--version").output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_once("v=").and_then(|(_, rest)| rest.split_whitespace().next());
        let version = version.unwrap_or_default();
        return match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(7..) => Ok((program, format!("{program} {version}"))),
            _ => Err(format!("the {program} on PATH is older than 7.0: {}", text.trim()).into()),
        };
    }
    Err(NONE_FOUND.into())
}

impl Running {
    fn spawn(mut program: Command, port: u16) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, because the path of a unix socket has at most 107 bytes.
        let directory =
            std::env::temp_dir().join(format!("asgi-redis-bench-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let log = File::create(directory.join("log"))?;
        let server = program
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--unixsocket", "socket"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn();
        let server = server.inspect_err(|_| drop(std::fs::remove_dir_all(&directory)))?;
        let mut running = Self { server, guard: None, directory };
        running.guard = Some(guard(&running.server, &running.directory)?);
        Ok(running)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Waits until the server answers; gives its log if it ended instead, as when the port was taken meanwhile.
    fn wait_until_ready(&mut self) -> Result<Option<String>> {
        let started = Instant::now();
        // Only our server listens in our directory.
        while UnixStream::connect(self.socket()).is_err() {
            if self.server.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                return Ok(Some(
                    String::from_utf8_lossy(&std::fs::read(self.directory.join("log"))?).into_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.server.kill();
        if let Some(guard) = &mut self.guard {
            if let Some(mut stdin) = guard.stdin.take() {
                let _ = stdin.write_all(b"done\n");
            }
            let _ = guard.wait();
        }
        // Last, because until then no other process is given the id that the guard would kill.
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Starts a shell that kills the server and removes its directory if this process goes without having done so, as at
/// Ctrl-C: then the shell's standard input ends without a line.
fn guard(server: &Child, directory: &Path) -> Result<Child> {
    const SCRIPT: &str =
        "trap '' INT TERM HUP; read -r line || { kill -KILL \"$0\"; rm -rf \"$1\"; } 2>/dev/null";
    let guard = Command::new("sh")
        .args(["-c", SCRIPT, &server.id().to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(guard)
}
