//! The process of a server, and the shell that ends it if its owner is killed.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The process of a server. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Child,
    guard: Option<Child>,
}

impl Running {
    /// Takes the process of a server whose directory this is, and starts its guard.
    pub(super) fn guarded(server: Child, directory: &Path) -> io::Result<Self> {
        let mut running = Self { server, guard: None };
        running.guard = Some(guard(&running.server, directory)?);
        Ok(running)
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
        // Last: until then no other process can get the id that the guard would kill.
        let _ = self.server.wait();
    }
}

/// Starts a shell that kills the server and removes its directory if this process is killed: then the shell's standard input
/// ends without a line.
fn guard(server: &Child, directory: &Path) -> io::Result<Child> {
    const SCRIPT: &str =
        "trap '' INT TERM HUP; read -r line || { kill -KILL \"$0\"; rm -rf \"$1\"; } 2>/dev/null";
    Command::new("sh")
        .args(["-c", SCRIPT, &server.id().to_string()])
        .arg::<&OsStr>(directory.as_ref())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
