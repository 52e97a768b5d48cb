//! The servers of a layer, as they are written and as they are checked. No text made here shows a password.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::error::{Error, Result};

/// The URL of the memory of the process, which is no server.
pub(crate) const MEMORY: &str = "memory://";

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: u16 = 6379;

/// The remedy in errors about a server that is not understood.
pub(crate) const HOW_TO_WRITE: &str =
    "write a URL such as \"redis://localhost:6379/0\" or a pair of host and port";

const SCHEMES: &str =
    "redis://, rediss:// (TLS), valkey://, valkeys:// (TLS), unix://, redis+unix:// and valkey+unix://";

/// One server as it is written: a URL, or a pair of host name and port.
///
/// | URL | |
/// |---|---|
/// | `redis://[[user]:password@]host[:port][/db]` | TCP; `valkey://` is the same |
/// | `rediss://...` | TCP with TLS; `valkeys://` is the same |
/// | `unix:///path[?db=0&user=...&pass=...]` | a unix socket; `redis+unix://` and `valkey+unix://` are the same |
///
/// In user and password, characters with a meaning in URLs are percent-encoded: `@` is `%40`, `#` is `%23`.
/// [`ConfigBuilder::build`](crate::ConfigBuilder::build) checks that it is well-formed. Neither its text nor its debug output
/// shows a password.
///
/// ```
/// use asgi_redis::HostSpec;
///
/// assert_eq!(HostSpec::from("redis://:secret@redis1/3").to_string(), "redis://***@redis1/3");
/// assert_eq!(HostSpec::from(("redis1", 6379)).to_string(), "redis1:6379");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HostSpec(Written);

#[derive(Clone, PartialEq, Eq)]
enum Written {
    Url(String),
    Pair(String, u16),
}

impl From<&str> for HostSpec {
    fn from(url: &str) -> Self {
        Self(Written::Url(url.to_owned()))
    }
}

impl From<String> for HostSpec {
    fn from(url: String) -> Self {
        Self(Written::Url(url))
    }
}

impl From<(&str, u16)> for HostSpec {
    fn from((host, port): (&str, u16)) -> Self {
        Self(Written::Pair(host.to_owned(), port))
    }
}

impl From<(String, u16)> for HostSpec {
    fn from((host, port): (String, u16)) -> Self {
        Self(Written::Pair(host, port))
    }
}

impl HostSpec {
    /// Reports whether it names the memory of the process.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(&self.0, Written::Url(url) if url == MEMORY)
    }
}

impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Written::Url(url) => f.write_str(&masked(url)),
            Written::Pair(host, port) => write!(f, "{}:{port}", masked(host)),
        }
    }
}

impl fmt::Debug for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostSpec({self})")
    }
}

/// One server, checked. Its text shows where it is and hides user and password.
///
/// ```
/// use asgi_redis::ConfigBuilder;
///
/// let config = ConfigBuilder::new().hosts(["redis://user:secret@redis1"]).build()?;
/// assert_eq!(config.hosts()[0].to_string(), "redis://***@redis1:6379/0");
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone)]
pub struct Host(ConnectionInfo);

impl Host {
    pub(crate) fn new(spec: &HostSpec) -> Result<Self> {
        match &spec.0 {
            Written::Url(url) => Self::from_url(url),
            Written::Pair(host, port) => {
                tcp_address(host, *port).and_then(|it| Self::at(it, RedisConnectionInfo::default()))
            }
        }
        .map_err(|why| Error::config(format!("option `hosts`: {spec} is refused: {why}")))
    }

    /// Makes the server that the options `host`, `port` and `db` name.
    pub(crate) fn from_parts(host: Option<&str>, port: Option<u16>, db: Option<u32>) -> Result<Self> {
        let (host, port) = (host.unwrap_or(DEFAULT_HOST), port.unwrap_or(DEFAULT_PORT));
        let settings = RedisConnectionInfo::default().set_db(db.unwrap_or_default().into());
        tcp_address(host, port)
            .and_then(|address| Self::at(address, settings))
            .map_err(|why| Error::config(format!("option `host`: {}:{port} is refused: {why}", masked(host))))
    }

    /// Returns what the client of the server needs to connect.
    pub(crate) fn connection_info(&self) -> &ConnectionInfo {
        &self.0
    }

    /// Returns an identity: two hosts with the same one are the same keyspace.
    pub(crate) fn identity(&self) -> (String, i64) {
        (self.0.addr().to_string().to_ascii_lowercase(), self.0.redis_settings().db())
    }

    fn at(address: ConnectionAddr, settings: RedisConnectionInfo) -> Result<Self, String> {
        let info = address.into_connection_info().map_err(|error| error.to_string())?;
        // Wake-ups are pushes, which RESP2 has not.
        Ok(Self(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3))))
    }

    fn from_url(text: &str) -> Result<Self, String> {
        let Some(url) = redis::parse_redis_url(text) else {
            return Err(match text.split_once("://") {
                Some((scheme, _)) if is_known(scheme) => {
                    "it is not a URL; characters such as `@`, `/` and `#` in a password are percent-encoded"
                        .into()
                }
                Some(("memory", _)) => format!(
                    "the memory of this process is {MEMORY}, with nothing after it and without other hosts"
                ),
                Some(_) => format!("known schemes are {SCHEMES}"),
                None => HOW_TO_WRITE.into(),
            });
        };
        if url.fragment() == Some("insecure") {
            return Err("TLS certificates are always checked; remove `#insecure`".into());
        }
        if url.fragment().is_some() {
            return Err("a `#` in a password is written %23".into());
        }
        let is_unix = url.scheme().ends_with("unix");
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "db" if !is_unix => {
                    return Err("`?db=` has no effect here; write the database as the path: /3".into());
                }
                "db" | "user" | "pass" if is_unix => {}
                "protocol" if value == "3" || value == "resp3" => {}
                "protocol" => return Err("this layer speaks RESP3 only; remove `protocol`".into()),
                _ => return Err(format!("the parameter `{key}` is unknown")),
            }
        }
        let database = match url.query_pairs().find(|(key, _)| key == "db") {
            Some((_, database)) => database.into_owned(),
            None if is_unix => String::new(),
            None => url.path().trim_matches('/').to_owned(),
        };
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err("its database is not a number".into());
        }
        if is_unix && url.to_file_path().is_err() {
            return Err("a unix socket is written unix:///absolute/path".into());
        }
        if !is_unix {
            tcp_address(url.host_str().unwrap_or_default(), url.port().unwrap_or(DEFAULT_PORT))?;
        }
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        Self::at(info.addr().clone(), info.redis_settings().clone())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.0.redis_settings();
        let has_credentials = settings.username().is_some() || settings.password().is_some();
        let credentials = if has_credentials { "***@" } else { "" };
        let tcp = |f: &mut fmt::Formatter<'_>, scheme, host: &str, port| {
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{scheme}://{credentials}{open}{host}{close}:{port}/{}", settings.db())
        };
        match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => tcp(f, "redis", host, port),
            ConnectionAddr::TcpTls { host, port, .. } => tcp(f, "rediss", host, port),
            other => write!(f, "unix://{credentials}{other}?db={}", settings.db()),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({self})")
    }
}

fn is_known(scheme: &str) -> bool {
    SCHEMES
        .split(", ")
        .flat_map(|part| part.split(" "))
        .any(|known| known.strip_suffix("://") == Some(scheme))
}

fn tcp_address(host: &str, port: u16) -> Result<ConnectionAddr, String> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err("the host name is empty".into());
    }
    if host.contains(|c: char| c == '/' || c == '@' || c.is_whitespace() || c.is_control()) {
        return Err("this is no host name; URLs go into `hosts`".into());
    }
    if host == "0.0.0.0" || host == "::" {
        return Err("a server listens there, but no client can connect to it; write its address".into());
    }
    if port == 0 {
        return Err("port 0 is no port".into());
    }
    Ok(ConnectionAddr::Tcp(host.to_owned(), port))
}

/// Returns a URL without user, password and parameters, however broken it is.
pub(crate) fn masked(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (secret, place) = rest.rsplit_once('@').map_or((None, rest), |(secret, place)| (Some(secret), place));
    if secret.is_some_and(|secret| secret.contains('?')) {
        // The `@` may stand in a password among the parameters.
        return format!("{scheme}***");
    }
    let credentials = if secret.is_some() { "***@" } else { "" };
    let place = match place.split_once('?') {
        Some((place, _)) => format!("{place}?***"),
        None => place.to_owned(),
    };
    format!("{scheme}{credentials}{place}").escape_debug().to_string()
}

/// The servers of a layer: one, or several in an array, a slice or a `Vec`. A server is a URL, a pair of host name and
/// port, or a [`HostSpec`].
///
/// ```
/// use asgi_redis::ConfigBuilder;
///
/// let one = ConfigBuilder::new().hosts("redis://127.0.0.1:6379/0").build()?;
/// let pair = ConfigBuilder::new().hosts(("127.0.0.1", 6379)).build()?;
/// let three = ConfigBuilder::new().hosts(["redis://a", "redis://b", "redis://c"]).build()?;
/// assert_eq!((one.hosts().len(), pair.hosts().len(), three.hosts().len()), (1, 1, 3));
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no servers",
    label = "neither a server nor some servers",
    note = "write one URL, `\"redis://localhost:6379/0\"`, or several, `[\"redis://a\", \"redis://b\"]`; collect an iterator into a `Vec` first"
)]
pub trait HostSpecs {
    /// Returns the servers in their order.
    fn into_specs(self) -> Vec<HostSpec>;
}

macro_rules! one_host {
    ($($host:ty),+) => {
        $(impl HostSpecs for $host {
            fn into_specs(self) -> Vec<HostSpec> {
                vec![self.into()]
            }
        })+
    };
}

one_host!(&str, String, (&str, u16), (String, u16), HostSpec);

impl HostSpecs for &String {
    fn into_specs(self) -> Vec<HostSpec> {
        vec![self.as_str().into()]
    }
}

impl<H: Into<HostSpec>, const COUNT: usize> HostSpecs for [H; COUNT] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<H: Into<HostSpec>> HostSpecs for Vec<H> {
    fn into_specs(self) -> Vec<HostSpec> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<H: Clone + Into<HostSpec>> HostSpecs for &[H] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.iter().cloned().map(Into::into).collect()
    }
}

impl<H: Clone + Into<HostSpec>, const COUNT: usize> HostSpecs for &[H; COUNT] {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_slice().into_specs()
    }
}

impl<H: Clone + Into<HostSpec>> HostSpecs for &Vec<H> {
    fn into_specs(self) -> Vec<HostSpec> {
        self.as_slice().into_specs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn host(url: &str) -> Host {
        Host::new(&url.into()).unwrap()
    }

    #[track_caller]
    fn refusal(spec: impl Into<HostSpec>) -> String {
        let error = Host::new(&spec.into()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn every_known_form_of_url_is_read_and_shown_without_its_secrets() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:password@127.0.0.1:6379/0", "redis://***@127.0.0.1:6379/0"),
            ("redis://user:p%40ss@redis1:7000/4", "redis://***@redis1:7000/4"),
            ("redis://redis1/?protocol=resp3", "redis://redis1:6379/0"),
            ("valkey://redis1/1", "redis://redis1:6379/1"),
            ("rediss://redis1", "rediss://redis1:6379/0"),
            ("valkeys://redis1", "rediss://redis1:6379/0"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
            ("redis+unix:///run/redis.sock?db=2&pass=x@y", "unix://***@/run/redis.sock?db=2"),
            ("valkey+unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ] {
            assert_eq!(host(url).to_string(), shown, "{url}");
            assert_eq!(host(url).connection_info().redis_settings().protocol(), ProtocolVersion::RESP3);
        }
    }

    #[test]
    fn user_and_password_reach_the_client_decoded() {
        let host = host("redis://me:p%40ss@redis1");
        let settings = host.connection_info().redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("me"), Some("p@ss")));
    }

    #[test]
    fn what_is_wrong_with_a_server_is_said_with_the_remedy() {
        for (url, said) in [
            (
                "memory://",
                "the memory of this process is memory://, with nothing after it and without other hosts",
            ),
            ("redis-sentinel://a", "known schemes are redis://"),
            (
                "localhost:6379",
                r#"write a URL such as "redis://localhost:6379/0" or a pair of host and port"#,
            ),
            ("", "write a URL such as"),
            ("redis://localhost?db=3", "`?db=` has no effect here; write the database as the path: /3"),
            ("redis://localhost/three", "its database is not a number"),
            ("redis://localhost/-1", "its database is not a number"),
            ("redis://localhost/0/1", "its database is not a number"),
            ("unix:///run/r.sock?db=x", "its database is not a number"),
            ("unix://run/r.sock", "a unix socket is written unix:///absolute/path"),
            ("rediss://localhost#insecure", "TLS certificates are always checked"),
            ("redis://localhost#x", "a `#` in a password is written %23"),
            ("redis://localhost?protocol=2", "this layer speaks RESP3 only"),
            ("redis://localhost?timeout=2", "the parameter `timeout` is unknown"),
            ("redis://0.0.0.0", "no client can connect to it"),
            ("redis://localhost:0", "port 0 is no port"),
            ("redis://localhost:99999", "it is not a URL"),
            ("redis://", "is refused"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.starts_with("option `hosts`: ") && refusal.contains(said), "{url}: {refusal}");
        }
        assert!(refusal(("redis://redis1", 6379)).contains("URLs go into `hosts`"));
        assert!(refusal(("", 6379)).contains("the host name is empty"));
    }

    #[test]
    fn no_error_shows_a_password_however_broken_the_url_is() {
        for url in [
            "redis://:secret@localhost/x",
            "redis://:secret@@localhost#x",
            "redis://:sec/secret@localhost",
            "redis://user:12/secret@localhost",
            "redis://:sec?secret@localhost",
            "redis://:sec#secret@localhost",
            "redis:/:secret@localhost",
            "http://:secret@localhost",
            "unix:///run/r.sock?db=x&pass=secret",
            "unix:///run/r.sock?db=x&pass=secret@secret",
            ":secret@localhost:6379",
            "redis://:se\u{0}secret@local host",
        ] {
            let (refusal, debug) = (refusal(url), format!("{:?}", HostSpec::from(url)));
            assert!(!refusal.contains("sec") && !debug.contains("sec"), "{refusal} {debug}");
        }
        assert!(!refusal((":secret@localhost", 6379)).contains("secret"));
        assert!(!format!("{:?}", host("redis://:secret@localhost")).contains("secret"));
    }

    #[test]
    fn the_same_server_and_database_is_known_in_another_writing() {
        let identity = |url| host(url).identity();
        assert_eq!(identity("redis://REDIS1:6379"), identity("valkey://:x@redis1/0"));
        assert_ne!(identity("redis://redis1/0"), identity("redis://redis1/1"));
    }
}
