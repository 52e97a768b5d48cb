//! The servers of a layer, as they are written and as they are checked. No text made here shows a password.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use super::url::{self, DEFAULT_PORT, tcp_address};
use crate::error::{Error, Result};

/// The URL of the memory of the process, which is no server.
pub(crate) const MEMORY: &str = "memory://";

const DEFAULT_HOST: &str = "localhost";
/// One server as it is written: a URL, or a pair of host name and port.
///
/// | URL | |
/// |---|---|
/// | `redis://[[user]:password@]host[:port][/db]` | TCP; `valkey://` is the same, and so is `host[:port][/db]` alone |
/// | `rediss://...` | TCP with TLS; `valkeys://` is the same |
/// | `unix://[[user]:password@]/path[?db=0]` | a unix socket; `redis+unix://`, `valkey+unix://` and `redis+socket://` are the same, and so is `/path` alone |
///
/// The parameters `?db=`, `&user=` or `&username=`, and `&pass=` or `&password=` may stand in any of them.
///
/// In user and password, characters with a meaning in URLs are percent-encoded: `@` is `%40`, `#` is `%23`. A user without a
/// password logs in with an empty one, and a password without a user is that of the user `default`.
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
            Written::Url(url) => url::read(url).and_then(|(address, settings)| Self::at(address, settings)),
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

    /// Whether the server was written with a password.
    pub(crate) fn has_password(&self) -> bool {
        self.0.redis_settings().password().is_some_and(|password| !password.is_empty())
    }

    /// Whether it is connected to with TLS.
    pub(crate) fn has_tls(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Returns an identity: two hosts with the same one are the same keyspace.
    pub(crate) fn identity(&self) -> (String, i64) {
        (self.0.addr().to_string().to_ascii_lowercase(), self.0.redis_settings().db())
    }

    fn at(address: ConnectionAddr, settings: RedisConnectionInfo) -> Result<Self, String> {
        let info = address.into_connection_info().map_err(|error| error.to_string())?;
        // Without a password the client would not name the user, and would be `default`.
        let has_user_alone = settings.username().is_some() && settings.password().is_none();
        let settings = if has_user_alone { settings.set_password("") } else { settings };
        // Wake-ups are pushes, which RESP2 has not.
        Ok(Self(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3))))
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

/// Whether a part of a list is a port, or a further host.
fn is_port_or_host(part: &str) -> bool {
    part.split(':')
        .next_back()
        .is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || part.contains('=')
}

/// Returns a URL without user, password and parameters, however broken it is.
pub(crate) fn masked(url: &str) -> String {
    if !url.contains("://") && url.contains('=') {
        // As `host,password=...` of other clients.
        return "***".to_owned();
    }
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
    // Without an `@` a password may stand where a port should be; behind a `#` or a space anything may.
    let place = match place.find(['#', ' ', '\t']) {
        Some(end) => &place[..end],
        None => place,
    };
    let (authority, path) = place.find('/').map_or((place, ""), |slash| place.split_at(slash));
    let is_secret = |port: &str| !port.is_empty() && !port.split(['?', ',', ';']).all(is_port_or_host);
    let place = match authority.split_once(':') {
        Some((host, port)) if secret.is_none() && !authority.starts_with('[') && is_secret(port) => {
            format!("{host}:***{path}")
        }
        _ => place.to_owned(),
    };
    let place = place.as_str();
    let place = match place.split_once('?') {
        Some((place, _)) => format!("{place}?***"),
        None => place.to_owned(),
    };
    format!("{scheme}{credentials}{place}").escape_debug().to_string()
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
            ("unix://:pw@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
            ("unix://me:pw@/run/redis.sock", "unix://***@/run/redis.sock?db=0"),
            ("unix://me@/run/redis.sock", "unix://***@/run/redis.sock?db=0"),
            ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
            ("/run/redis.sock", "unix:///run/redis.sock?db=0"),
            ("redis://localhost?db=3", "redis://localhost:6379/3"),
            ("redis://localhost/3?db=3", "redis://localhost:6379/3"),
            ("redis://localhost?username=me&password=pw", "redis://***@localhost:6379/0"),
            ("redis://me:pw@h:6380/4?allowUsernameInURI=true", "redis://***@h:6380/4"),
            ("localhost", "redis://localhost:6379/0"),
            ("localhost:6380", "redis://localhost:6380/0"),
            ("redis_1.internal:6380/2", "redis://redis_1.internal:6380/2"),
            ("[::1]:7000", "redis://[::1]:7000/0"),
            (" redis://localhost\n", "redis://localhost:6379/0"),
            ("valkey+unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ] {
            assert_eq!(host(url).to_string(), shown, "{url}");
            assert_eq!(host(url).connection_info().redis_settings().protocol(), ProtocolVersion::RESP3);
        }
    }

    #[test]
    fn user_and_password_reach_the_client_decoded() {
        for (url, user, password) in [
            ("redis://me:p%40ss@redis1", Some("me"), "p@ss"),
            ("unix://me:p%40ss@/sock", Some("me"), "p@ss"),
            ("unix:///sock?username=me&password=p%40ss", Some("me"), "p@ss"),
            ("redis://redis1?user=me&pass=p%40ss", Some("me"), "p@ss"),
            ("redis://:100%25%@redis1", None, "100%%"),
            ("redis://m%C3%A9@redis1", Some("m\u{e9}"), ""),
        ] {
            let host = host(url);
            let settings = host.connection_info().redis_settings();
            assert_eq!((settings.username(), settings.password()), (user, Some(password)), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_server_is_said_with_the_remedy() {
        for (url, said) in [
            (
                "memory://",
                "the memory of this process is memory://, with nothing after it and without other hosts",
            ),
            ("redis-sentinel://a", "Sentinel is not supported; name the primary itself: redis://host:6379/0"),
            ("sentinel://a", "Sentinel is not supported"),
            ("redis+cluster://a", "Redis Cluster is not supported; name servers that are no part of one"),
            ("http://a", "known schemes are redis://"),
            ("tcp://a:6379", "write redis:// in place of tcp://"),
            ("redis-socket:///a", "a unix socket is written unix:///absolute/path"),
            ("tls://a", "TLS is written rediss://host:port/db"),
            (
                "localhost:6379:0",
                r#"write a URL such as "redis://localhost:6379/0" or a pair of host and port"#,
            ),
            ("", "write a URL such as"),
            ("redis:/localhost", "write a URL such as"),
            ("6379", "this is a number; write localhost:6379 for a port"),
            (":pw@localhost:6379", "write a user or password as in redis://user:password@host:6379/0"),
            ("localhost:6380,password=x,ssl=True", "this is a list"),
            ("redis://a,localhost:6379", "this is a list; write each server as a URL"),
            ("redis://a,redis://b", "this is a list; give each server as a text of its own"),
            ("\"redis://a\"", "remove the quotes around it"),
            ("redis://localhost/2?db=3", "it names two databases, 3 and 2; leave one"),
            ("redis://localhost?db=1&db=2", "it names two databases, 1 and 2; leave one"),
            ("redis://:a@localhost?password=b", "its password is given twice; leave one"),
            ("redis://localhost?ssl=true", "TLS is written rediss://host:port/db; remove `ssl`"),
            ("redis://localhost?socket_timeout=2", "write the option `response_timeout`"),
            ("redis://localhost?socket_connect_timeout=2", "write the option `connect_timeout`"),
            ("redis://localhost?max_connections=2", "`max_connections` has no meaning here; remove it"),
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
            ("redis://localhost:99999", "port 99999 is none; ports are 1 to 65535"),
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
            "unix://:sec/secret@/sock",
            "unix://me:secret@/sock?db=x",
            "redis://host?password=secret&x=1",
            "host:6380,password=secret,ssl=True",
            "host:6380 password=secret",
            "redis://a?db=1,redis://:secret@b",
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
