//! Users and passwords that change while a program runs: who is asked for them at each connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::host::Host;
use crate::error::{Error, ErrorKind, Result};

/// A user name and a password, or a password alone, as a server wants them. Neither is shown in its debug output.
///
/// ```
/// use asgi_redis::Credentials;
///
/// let credentials = Credentials::new("worker", "secret");
/// assert_eq!(format!("{credentials:?}"), "Credentials(***)");
/// ```
#[derive(Clone)]
pub struct Credentials {
    user: Option<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// A user with its password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..Self::password(password) }
    }

    /// A password alone: that of the user whom the server's URL names, or of the user `default`.
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: Zeroizing::new(password.into()) }
    }

    pub(crate) fn parts(&self) -> (Option<&str>, &str) {
        (self.user.as_deref(), &self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Credentials>> + Send>>;

/// Who is asked for the credentials of a server.
#[derive(Clone)]
pub(crate) enum Source {
    Callback(Arc<dyn Fn(Host) -> Asking + Send + Sync>),
    /// A file with the password.
    File(PathBuf),
}

impl Source {
    pub(super) fn callback<F, R>(ask: F) -> Self
    where
        F: Fn(Host) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self::Callback(Arc::new(move |host| Box::pin(ask(host))))
    }

    /// Asks for the credentials of one connection.
    pub(crate) async fn ask(&self, host: &Host) -> Result<Credentials> {
        match self {
            Self::Callback(ask) => ask(host.clone()).await,
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                read.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the Tokio runtime has shut down")))
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callback(_) => f.write_str("a callback"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads the password in a file, without the end of its line.
fn read(path: &Path) -> Result<Credentials> {
    let refused = |why: &dyn fmt::Display| {
        Error::new(ErrorKind::Credentials, format!("option `password_file`: {}: {why}", path.display()))
    };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| refused(&error))?);
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(refused(&"it is empty; write the password into it")),
        several if several.contains('\n') => {
            Err(refused(&"it has several lines; write the password into it and nothing else"))
        }
        password => Ok(Credentials::password(password)),
    }
}
