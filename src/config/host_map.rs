//! A server as a map, as channels_redis and redis-py have it: an address or a host and port, beside it user and password, and
//! what they say about TLS.

use std::fmt::Write;

use super::builder::ConfigBuilder;
use super::host::{HostSpec, masked};
use crate::error::{Error, Result};
use crate::message::value::Value;

/// Reads an option about TLS in the words of this crate or of redis-py; `None` if it is none.
pub(super) fn tls_option(
    builder: ConfigBuilder,
    option: &str,
    value: &Value,
) -> Option<Result<ConfigBuilder>> {
    let text = || {
        value.as_str().ok_or_else(|| {
            // A key may stand in the wrong place, so the value is not shown.
            let wanted = match option {
                "tls_server_name" => "a name or an address",
                _ => "PEM, or the path of a file",
            };
            Error::config(format!("option `{option}`: this is not a text: {wanted}"))
        })
    };
    let refused = |why: &str| Err(Error::config(format!("option `{option}`: {why}")));
    Some(match option {
        "tls_ca" | "ssl_ca_certs" | "ssl_ca_data" => text().map(|it| builder.tls_ca(it)),
        "tls_certificate" | "ssl_certfile" => text().map(|it| builder.certificate_alone(it.into())),
        "tls_key" | "ssl_keyfile" => text().map(|it| builder.tls_key(it)),
        "tls_server_name" => text().map(|it| builder.tls_server_name(it)),
        "ssl_cert_reqs" if value.as_str() == Some("required") => Ok(builder),
        "ssl_cert_reqs" => {
            refused("certificates are always checked; write \"required\", and what is trusted as `tls_ca`")
        }
        "ssl_check_hostname" if value.as_bool() == Some(true) => Ok(builder),
        "ssl_check_hostname" => refused(
            "the name in a certificate is always checked; write true, and another name as `tls_server_name`",
        ),
        _ => return None,
    })
}

/// Reads a list of servers of which some are maps. What a map says about TLS holds for the layer.
pub(super) fn hosts(
    mut builder: ConfigBuilder,
    list: &[Value],
    plain: impl Fn(&Value) -> Result<HostSpec>,
) -> Result<ConfigBuilder> {
    let mut specs = Vec::with_capacity(list.len());
    let mut given: Vec<(&str, &Value)> = Vec::new();
    for value in list {
        let Value::Map(_) = value else {
            specs.push(plain(value)?);
            continue;
        };
        let mut parts = Parts::default();
        for (key, value) in super::options::entries(value, "option `hosts`: a server")? {
            match tls_option(builder.clone(), key, value) {
                None => parts.read(key, value)?,
                Some(read) => {
                    builder = read?;
                    match given.iter().find(|(other, _)| *other == key) {
                        Some((_, other)) if *other != value => {
                            return Err(Error::config(format!(
                                "option `hosts`: servers have different `{key}`; a layer has one"
                            )));
                        }
                        _ => given.push((key, value)),
                    }
                }
            }
        }
        specs.push(parts.url()?.into());
    }
    Ok(builder.hosts(specs))
}

#[derive(Default)]
struct Parts {
    address: Option<String>,
    host: Option<String>,
    port: Option<u64>,
    database: Option<u64>,
    user: Option<String>,
    password: Option<String>,
    ssl: bool,
}

impl Parts {
    fn read(&mut self, key: &str, value: &Value) -> Result<()> {
        let refused =
            |what: &str| Error::config(format!("option `hosts`: `{key}` of a server is not {what}"));
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| refused("a text"));
        let number = || value.as_u64().ok_or_else(|| refused("a whole number"));
        match key {
            "address" | "url" | "unix_socket_path" | "path" if self.address.is_some() => {
                return Err(Error::config(format!(
                    "option `hosts`: a server has `{key}` beside another address; leave one out"
                )));
            }
            "host" if self.host.is_some() => {
                return Err(Error::config(
                    "option `hosts`: a server has `host` beside an `address` of host and port; leave one out",
                ));
            }
            "address" | "url" => match value.as_list() {
                Some([Value::Text(host), port]) => {
                    self.host = Some(host.clone());
                    self.port = Some(port.as_u64().ok_or_else(|| refused("a host and a port"))?);
                }
                _ => self.address = Some(text()?),
            },
            "unix_socket_path" | "path" => self.address = Some(format!("unix://{}", text()?)),
            "host" => self.host = Some(text()?),
            "port" => self.port = Some(number()?),
            "db" => self.database = Some(number()?),
            "username" | "user" if *value == Value::Nil => {}
            "password" if *value == Value::Nil => {}
            "username" | "user" => self.user = Some(text()?),
            "password" => self.password = Some(text()?),
            "ssl" => self.ssl = value.as_bool().ok_or_else(|| refused("true or false"))?,
            _ => {
                return Err(Error::config(format!(
                    "option `hosts`: {key:?} of a server is unknown; known are `address`, `host`, `port`, `db`, `username`, \
                     `password`, `ssl`, `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`"
                )));
            }
        }
        Ok(())
    }

    /// One text, whose parameters hold what is a secret. What a map says twice is refused: one of them would not count.
    fn url(self) -> Result<String> {
        let mut url = match (self.address, self.host) {
            (Some(_), Some(_)) => {
                return Err(Error::config(
                    "option `hosts`: a server has both `address` and `host`; leave one out",
                ));
            }
            (Some(address), None) if self.port.is_some() => {
                return Err(Error::config(format!(
                    "option `hosts`: a server has both `address` and `port`; write {}:{}, or `host` and `port`",
                    masked(&address),
                    self.port.unwrap_or_default()
                )));
            }
            (Some(address), None) if self.ssl => with_tls(&address)?,
            (Some(address), None) if !address.contains("://") && !address.starts_with('/') => {
                format!("redis://{address}")
            }
            (Some(address), None) => address,
            (None, host) => {
                let host = host.unwrap_or_else(|| "localhost".to_owned());
                // An address of IPv6 has several colons; one alone stands before a port.
                let is_v6 = host.matches(':').count() > 1 && !host.starts_with('[');
                if !is_v6 && !host.starts_with('[') && host.contains(':') {
                    return Err(Error::config(format!(
                        "option `hosts`: `host` {host:?} of a server has a port in it; write that as `port`"
                    )));
                }
                let host = if is_v6 { format!("[{host}]") } else { host };
                let scheme = if self.ssl { "rediss" } else { "redis" };
                format!("{scheme}://{host}:{}", self.port.unwrap_or(6379))
            }
        };
        let parameters = [
            ("db", self.database.map(|database| database.to_string())),
            ("user", self.user),
            ("pass", self.password),
        ];
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            for byte in value.bytes() {
                // Writing to a text does not fail.
                let _ = write!(url, "%{byte:02x}");
            }
        }
        Ok(url)
    }
}

/// An address with TLS, of one that may leave that open; a scheme that speaks without it is refused.
fn with_tls(address: &str) -> Result<String> {
    match address.split_once("://") {
        None => Ok(format!("rediss://{address}")),
        Some((scheme, _)) if ["rediss", "valkeys"].contains(&&*scheme.to_ascii_lowercase()) => {
            Ok(address.to_owned())
        }
        Some((scheme, _)) => Err(Error::config(format!(
            "option `hosts`: a server has `ssl` and an `address` with {scheme}://, which is without TLS; write rediss://"
        ))),
    }
}
