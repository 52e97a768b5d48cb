//! Reads the text of a server: the forms that redis-py, kombu, ioredis and the redis crate know. A form with another meaning
//! here is refused with the one that works. No text made here shows a password.

use redis::{ConnectionAddr, RedisConnectionInfo};

/// The remedy in errors about a server that is not understood.
pub(crate) const HOW_TO_WRITE: &str =
    "write a URL such as \"redis://localhost:6379/0\" or a pair of host and port";

pub(super) const DEFAULT_PORT: u16 = 6379;

const SCHEMES: &str =
    "redis://, rediss:// (TLS), valkey://, valkeys:// (TLS), unix://, redis+unix:// and valkey+unix://";

const SEPARATORS: [char; 4] = [',', ';', ' ', '\n'];

/// Where a server is, and how to log in.
pub(super) type Place = (ConnectionAddr, RedisConnectionInfo);

/// Splits a text with several servers, separated by commas, semicolons or spaces.
///
/// Beside URLs a separator counts only before the next `scheme://`, because a password may have one in it.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    let has_urls = text.contains("://");
    for piece in text.split_inclusive(SEPARATORS) {
        match servers.last_mut() {
            Some(last) if has_urls && !begins_url(piece) => last.push_str(piece),
            _ => servers.push(piece.to_owned()),
        }
    }
    let is_separator = |c: char| SEPARATORS.contains(&c) || c.is_whitespace();
    let trimmed = servers.iter().map(|server| server.trim_matches(is_separator));
    let servers: Vec<String> = trimmed.filter(|server| !server.is_empty()).map(str::to_owned).collect();
    if servers.is_empty() { vec![text.trim().to_owned()] } else { servers }
}

fn begins_url(piece: &str) -> bool {
    let scheme = piece.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(is_of_scheme))
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Reads one server.
pub(super) fn read(text: &str) -> Result<Place, String> {
    let text = text.trim();
    if text.starts_with(['"', '\'']) {
        return Err("remove the quotes around it".into());
    }
    if split(text).len() > 1 {
        return Err("this is a list; give each server as a text of its own".into());
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return read_unix(text);
    }
    let Some((scheme, rest)) = text.split_once("://") else { return read_bare(text) };
    match scheme.to_ascii_lowercase().as_str() {
        "redis" | "rediss" | "valkey" | "valkeys" => read_tcp(text),
        "unix" | "redis+unix" | "valkey+unix" | "redis+socket" => read_unix(rest),
        "memory" => {
            Err("the memory of this process is memory://, with nothing after it and without other hosts"
                .into())
        }
        "tcp" => Err("write redis:// in place of tcp://".into()),
        "socket" | "redis-socket" => Err("a unix socket is written unix:///absolute/path".into()),
        "tls" | "ssl" | "redis+ssl" | "redis+tls" => Err("TLS is written rediss://host:port/db".into()),
        other if other.contains("sentinel") => {
            Err("Sentinel is not supported; name the primary itself: redis://host:6379/0".into())
        }
        other if other.contains("cluster") => {
            Err("Redis Cluster is not supported; name servers that are no part of one: redis://host:6379/0"
                .into())
        }
        _ => Err(format!("known schemes are {SCHEMES}")),
    }
}

/// Reads a server without a scheme: `host`, `host:port` or `host:port/db`.
fn read_bare(text: &str) -> Result<Place, String> {
    if text.contains(['@', '=', '?']) {
        return Err("write a user or password as in redis://user:password@host:6379/0".into());
    }
    if is_number(text) {
        return Err(format!("this is a number; write localhost:{text} for a port"));
    }
    let (place, database) = text.split_once('/').unwrap_or((text, "0"));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') => (host, port),
        _ => (place, "0"),
    };
    let is_v6 = host.strip_prefix('[').is_some_and(|host| host.ends_with(']'));
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if host.is_empty() || !(is_v6 || is_name) || !is_number(port) || !is_number(database) {
        return Err(HOW_TO_WRITE.into());
    }
    read_tcp(&format!("redis://{text}"))
}

fn read_tcp(text: &str) -> Result<Place, String> {
    let url = redis::parse_redis_url(text).ok_or_else(|| why_no_url(text))?;
    check_fragment(url.fragment())?;
    let mut written = Written::from_query(url.query_pairs())?;
    written.user(url.username())?;
    written.password(url.password().unwrap_or_default())?;
    written.database(url.path().trim_matches('/'))?;
    let address = tcp_address(url.host_str().unwrap_or_default(), url.port().unwrap_or(DEFAULT_PORT))?;
    let address = match (url.scheme(), address) {
        ("rediss" | "valkeys", ConnectionAddr::Tcp(host, port)) => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        (_, address) => address,
    };
    Ok((address, written.settings()))
}

/// Reads what stands after the scheme: `[[user]:password@]/path[?...]`.
fn read_unix(rest: &str) -> Result<Place, String> {
    let absolute = || "a unix socket is written unix:///absolute/path".to_owned();
    let (login, path) = rest.split_at(rest.find('/').ok_or_else(absolute)?);
    let login = match login.strip_suffix('@') {
        Some(login) => login,
        None if login.is_empty() => "",
        None => return Err(absolute()),
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let url = redis::parse_redis_url(&format!("unix://{path}")).ok_or_else(absolute)?;
    check_fragment(url.fragment())?;
    let mut written = Written::from_query(url.query_pairs())?;
    written.user(user)?;
    written.password(password)?;
    let path = url.to_file_path().map_err(|()| absolute())?;
    Ok((ConnectionAddr::Unix(path), written.settings()))
}

fn check_fragment(fragment: Option<&str>) -> Result<(), String> {
    match fragment {
        None => Ok(()),
        Some("insecure") => Err("TLS certificates are always checked; remove `#insecure`".into()),
        Some(_) => Err("a `#` in a password is written %23".into()),
    }
}

/// What a URL says besides the address, in its parts and as parameters.
#[derive(Default)]
struct Written {
    user: Option<String>,
    password: Option<String>,
    database: Option<u32>,
}

impl Written {
    fn from_query<'a>(
        pairs: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
    ) -> Result<Self, String> {
        let mut written = Self::default();
        for (key, value) in pairs {
            match &*key {
                // kombu writes virtual_host.
                "db" | "virtual_host" => written.database(value.trim_start_matches('/'))?,
                "user" | "username" => set(&mut written.user, value.into_owned(), "user")?,
                "pass" | "password" => set(&mut written.password, value.into_owned(), "password")?,
                "protocol" if value == "3" || value == "resp3" => {}
                "protocol" => return Err("this layer speaks RESP3 only; remove `protocol`".into()),
                // A user in the URL always counts here.
                "allowUsernameInURI" => {}
                "socket_timeout" | "commandTimeout" => {
                    return Err(format!(
                        "write the option `response_timeout` in place of the parameter `{key}`"
                    ));
                }
                "socket_connect_timeout" | "connectTimeout" => {
                    return Err(format!(
                        "write the option `connect_timeout` in place of the parameter `{key}`"
                    ));
                }
                "ssl_cert_reqs" if value == "required" => {}
                "ssl_check_hostname" if value.eq_ignore_ascii_case("true") => {}
                "ssl_cert_reqs" => {
                    return Err("TLS certificates are always checked; remove `ssl_cert_reqs`, and name what is trusted in the option `tls_ca`".into());
                }
                "ssl_check_hostname" => {
                    return Err("the name in a certificate is always checked; write the option `tls_server_name` in place of `ssl_check_hostname`".into());
                }
                "ssl_ca_certs" | "ssl_ca_data" => {
                    return Err(format!("write the option `tls_ca` in place of the parameter `{key}`"));
                }
                "ssl_certfile" | "ssl_keyfile" => {
                    return Err(format!(
                        "write the options `tls_certificate` and `tls_key` in place of the parameter `{key}`"
                    ));
                }
                "ssl" | "tls" => return Err(format!("TLS is written rediss://host:port/db; remove `{key}`")),
                "decode_responses"
                | "encoding"
                | "encoding_errors"
                | "max_connections"
                | "retry_on_timeout"
                | "health_check_interval"
                | "socket_keepalive"
                | "client_name"
                | "family" => {
                    return Err(format!("the parameter `{key}` has no meaning here; remove it"));
                }
                _ => return Err(format!("the parameter `{key}` is unknown")),
            }
        }
        Ok(written)
    }

    fn user(&mut self, encoded: &str) -> Result<(), String> {
        if encoded.is_empty() { Ok(()) } else { set(&mut self.user, decoded(encoded)?, "user") }
    }

    fn password(&mut self, encoded: &str) -> Result<(), String> {
        if encoded.is_empty() { Ok(()) } else { set(&mut self.password, decoded(encoded)?, "password") }
    }

    fn database(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let database: u32 = text.parse().map_err(|_| "its database is not a number")?;
        match self.database.replace(database) {
            Some(other) if other != database => {
                Err(format!("it names two databases, {other} and {database}; leave one"))
            }
            _ => Ok(()),
        }
    }

    fn settings(self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.database.unwrap_or_default().into());
        if let Some(user) = self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = self.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

fn set(place: &mut Option<String>, value: String, what: &str) -> Result<(), String> {
    match place.replace(value) {
        Some(_) => Err(format!("its {what} is given twice; leave one")),
        None => Ok(()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why a text is no URL, as far as that can be seen.
fn why_no_url(text: &str) -> String {
    let place = text.split_once("://").map_or(text, |(_, rest)| rest);
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    let port = place.rsplit_once(':').map_or("", |(_, port)| port);
    if place.contains([',', ';']) {
        "it is a list whose further servers have no scheme; write redis:// before each".to_owned()
    } else if is_number(port) && port.parse::<u16>().is_err() {
        format!("port {port} is none; ports are 1 to 65535")
    } else {
        "it is not a URL; characters such as `@`, `/` and `#` in a password are percent-encoded".to_owned()
    }
}

/// Percent-decodes a user name or password.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let ahead =
            rest.clone().take(2).map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>();
        match ahead.as_deref() {
            Some(&[high, low]) if byte == b'%' => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| "its user or password is not UTF-8".into())
}

pub(super) fn tcp_address(host: &str, port: u16) -> Result<ConnectionAddr, String> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err("the host name is empty".into());
    }
    if host.contains(|c: char| c == '/' || c == '@' || c.is_whitespace() || c.is_control()) {
        return Err("this is no host name; URLs go into `hosts`".into());
    }
    if host.contains([',', ';']) {
        return Err("this is a list; write each server as a URL".into());
    }
    if let Some((name, port)) = host.split_once(':')
        && is_number(port)
        && !name.contains(':')
    {
        return Err(format!(
            "a host name has no port in it; write {name} as the host and {port} as the port"
        ));
    }
    if host == "0.0.0.0" || host == "::" {
        return Err("a server listens there, but no client can connect to it; write its address".into());
    }
    if port == 0 {
        return Err("port 0 is no port".into());
    }
    Ok(ConnectionAddr::Tcp(host.to_owned(), port))
}
