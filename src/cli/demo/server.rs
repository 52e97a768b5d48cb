//! A private server: a process of our own on a unix socket in a private directory, and gone afterwards.

use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cli::outcome::{Failure, Status};

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A running server. Dropping it ends the process and removes the directory.
#[derive(Debug)]
pub(super) struct PrivateServer {
    process: Child,
    program: Program,
    directory: TempDir,
}

/// A server program on `PATH`.
#[derive(Debug)]
struct Program {
    name: &'static str,
    version: String,
}

impl PrivateServer {
    /// Starts one, if its program is here.
    pub(super) async fn start() -> Result<Option<Self>, Failure> {
        let Some(program) = Program::find() else { return Ok(None) };
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(
                Status::NoServer,
                format!("cannot start {}: {why}; or give --redis URL", program.name),
            )
        };
        let directory = tempfile::Builder::new()
            .prefix("asgi-redis-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| failed(&error))?;
        let log = File::create(directory.path().join("log")).map_err(|error| failed(&error))?;
        let errors = log.try_clone().map_err(|error| failed(&error))?;
        let process = Command::new(program.name)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(socket(directory.path()))
            .current_dir(directory.path())
            // Ctrl-C is for us alone: the layers still need the server to clean up.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut server = Self { process, program, directory };
        server.ready().await?;
        Ok(Some(server))
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        while UnixStream::connect(socket(self.directory.path())).is_err() {
            let ended = !matches!(self.process.try_wait(), Ok(None));
            if ended || started.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                let last =
                    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
                return Err(Failure::new(
                    Status::NoServer,
                    format!("{} did not start: {last}; or give --redis URL", self.program.name),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    pub(super) fn url(&self) -> String {
        let encoded = |byte: &u8| match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => char::from(*byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let path = socket(self.directory.path());
        format!("unix://{}", path.as_os_str().as_bytes().iter().map(encoded).collect::<String>())
    }

    /// What it is, for people.
    pub(super) fn description(&self) -> String {
        let Program { name, version } = &self.program;
        format!("a private {name} {version} at {}", socket(self.directory.path()).display())
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // It keeps nothing, so there is nothing to end gently. Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("socket")
}

impl Program {
    /// Finds one that is new enough.
    fn find() -> Option<Self> {
        ["redis-server", "valkey-server"].into_iter().find_map(|name| {
            let said = Command::new(name).arg("--version").stdin(Stdio::null()).output().ok()?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let version = said.split_once("v=")?.1.split_whitespace().next()?.to_owned();
            let major: u32 = version.split('.').next()?.parse().ok()?;
            (major >= 7).then_some(Self { name, version })
        })
    }
}
