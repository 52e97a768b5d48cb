//! The server program: the one that is installed on this machine, or one in a file.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};

/// The oldest version on which the layer runs.
const OLDEST_MAJOR: u32 = 7;

/// A server program that is new enough.
#[derive(Clone, Debug)]
pub struct ServerProgram {
    pub(super) name: String,
    version: String,
}

impl ServerProgram {
    /// Finds `redis-server` or `valkey-server`, version 7 or newer, on `PATH`.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if there is none. The text names what to install.
    pub fn find() -> Result<Self> {
        let mut too_old = String::new();
        for name in ["redis-server", "valkey-server"] {
            match Version::of(name) {
                Version::Enough(version) => return Ok(Self { name: name.to_owned(), version }),
                Version::TooOld(text) => too_old = format!("; the {name} there is too old: {text}"),
                Version::None => {}
            }
        }
        Err(Error::new(
            ErrorKind::Connection,
            format!(
                "no server is on PATH: install redis-server ({OLDEST_MAJOR}.0 or newer) or valkey-server, for example with \
                 `apt-get install redis-server` or `brew install redis`{too_old}"
            ),
        ))
    }

    /// Takes the program in a file, or the one of that name on `PATH`: a `redis-server` or `valkey-server`, version 7 or newer.
    ///
    /// # Errors
    ///
    /// [`Connection`](ErrorKind::Connection) if the file is no such program, naming it.
    pub fn at(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let why = match Version::of(&name) {
            Version::Enough(version) => return Ok(Self { name, version }),
            Version::TooOld(text) => format!("is older than {OLDEST_MAJOR}.0: {text}"),
            Version::None => "is no redis-server or valkey-server that runs here".to_owned(),
        };
        Err(Error::new(ErrorKind::Connection, format!("{name} {why}")))
    }

    /// The name of the program: `redis-server`, `valkey-server`, or the path by which it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, such as `7.0.15`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// What a program answers to the question for its version.
enum Version {
    Enough(String),
    TooOld(String),
    None,
}

impl Version {
    fn of(name: &str) -> Self {
        let Ok(output) = Command::new(name).arg("--version").stdin(Stdio::null()).output() else {
            return Self::None;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_once("v=").and_then(|(_, rest)| rest.split_whitespace().next());
        match version.map(|version| (version, version.split('.').next().and_then(|major| major.parse().ok())))
        {
            Some((version, Some(OLDEST_MAJOR..))) => Self::Enough(version.to_owned()),
            Some(_) => Self::TooOld(text.trim().to_owned()),
            None => Self::None,
        }
    }
}
