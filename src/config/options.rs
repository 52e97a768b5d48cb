//! The options in a document of any serde format: their names, and the form of their values.
//!
//! A document is read into a [`Value`] first. That keeps the order of patterns, and lets an error name the option
//! and the value, which a derived `Deserialize` does not.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::builder::ConfigBuilder;
use super::capacity::Pattern;
use super::host::{HostSpec, masked};
use super::host_map;
use super::url::HOW_TO_WRITE;
use crate::error::{Error, Result};
use crate::message::value::Value;

/// Every option, by the name that documents and asgi_redis use.
pub(crate) const OPTIONS: [&str; 26] = [
    "hosts",
    "host",
    "port",
    "db",
    "password_file",
    "tls_ca",
    "tls_certificate",
    "tls_key",
    "tls_server_name",
    "prefix",
    "expiry",
    "group_expiry",
    "capacity",
    "inbox_capacity",
    "inbox_bytes",
    "channel_capacity",
    "symmetric_encryption_keys",
    "hide_names",
    "max_message_size",
    "lease",
    "membership_lease",
    "renew_memberships",
    "response_timeout",
    "connect_timeout",
    "max_channels_per_receive",
    "max_sends_in_flight",
];

impl<'de> Deserialize<'de> for ConfigBuilder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Reads the options from a parsed document.
///
/// ```
/// use asgi_redis::{ConfigBuilder, Value};
///
/// let error = ConfigBuilder::try_from(Value::map([("capacity", "many")])).unwrap_err();
/// assert_eq!(error.to_string(), r#"option `capacity`: "many" is not a whole number"#);
/// ```
impl TryFrom<Value> for ConfigBuilder {
    type Error = Error;

    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) for an unknown option, one given twice, or a value of another type.
    fn try_from(document: Value) -> Result<Self> {
        let mut builder = Self::new();
        for (option, value) in entries(&document, "the configuration")? {
            builder = read(builder, option, value)?;
        }
        Ok(builder)
    }
}

/// Returns the keys and values of a map. Fails unless each key is a text and is there once.
pub(crate) fn entries<'a>(document: &'a Value, what: &str) -> Result<Vec<(&'a str, &'a Value)>> {
    let Some(map) = document.as_map() else {
        return Err(Error::config(format!("{what} must be a map, not {}", kind(document))));
    };
    let mut entries: Vec<(&str, &Value)> = Vec::with_capacity(map.len());
    for (key, value) in map {
        let Some(key) = key.as_str() else {
            return Err(Error::config(format!("{what} has {} for a key; keys are texts", kind(key))));
        };
        if entries.iter().any(|(other, _)| *other == key) {
            return Err(Error::config(format!("{what} has {key:?} twice")));
        }
        entries.push((key, value));
    }
    Ok(entries)
}

fn read(builder: ConfigBuilder, option: &str, value: &Value) -> Result<ConfigBuilder> {
    if let Some(read) = host_map::tls_option(builder.clone(), option, value) {
        return read;
    }
    Ok(match option {
        "hosts" => hosts(builder, value)?,
        "host" => builder.host(value.as_str().ok_or_else(|| wrong_place(option, value, "a host name"))?),
        "port" => builder.port(small(option, value, "the number of a port, 1 to 65535")?),
        "db" => builder.db(small(option, value, "the number of a database, 0 or more")?),
        "password_file" => builder
            .password_file(value.as_str().ok_or_else(|| wrong_place(option, value, "the path of a file"))?),
        "prefix" => builder.prefix(value.as_str().ok_or_else(|| wrong(option, value, "a text"))?),
        "expiry" => builder.expiry(seconds(option, value)?),
        "group_expiry" => builder.group_expiry(seconds(option, value)?),
        "capacity" => builder.capacity(count(option, value)?),
        "inbox_capacity" => builder.inbox_capacity(count(option, value)?),
        "inbox_bytes" => builder.inbox_bytes(count(option, value)?),
        "channel_capacity" => builder.channel_capacity(channel_capacity(value)?),
        "symmetric_encryption_keys" => builder.symmetric_encryption_keys(keys(option, value)?),
        "hide_names" => builder.hide_names(key(option, value)?),
        "max_message_size" => builder.max_message_size(count(option, value)?),
        "lease" => builder.lease(seconds(option, value)?),
        "membership_lease" => builder.membership_lease(seconds(option, value)?),
        "renew_memberships" => {
            builder.renew_memberships(value.as_bool().ok_or_else(|| wrong(option, value, "true or false"))?)
        }
        "response_timeout" => builder.response_timeout(seconds(option, value)?),
        "connect_timeout" => builder.connect_timeout(seconds(option, value)?),
        "max_channels_per_receive" => builder.max_channels_per_receive(count(option, value)?),
        "max_sends_in_flight" => builder.max_sends_in_flight(count(option, value)?),
        unknown => {
            let known = OPTIONS.join("`, `");
            return Err(Error::config(format!("unknown option {unknown:?}; the options are `{known}`")));
        }
    })
}

fn hosts(builder: ConfigBuilder, value: &Value) -> Result<ConfigBuilder> {
    match value {
        Value::Text(urls) => Ok(builder.hosts(urls)),
        Value::List(list) => host_map::hosts(builder, list, |value| host("hosts", value)),
        other => Err(wrong_place("hosts", other, "a list of servers")),
    }
}

/// One server, as the value of an option or in its list.
pub(crate) fn host(option: &str, value: &Value) -> Result<HostSpec> {
    match value {
        Value::Text(url) => Ok(url.as_str().into()),
        Value::List(pair) => match pair.as_slice() {
            [Value::Text(host), port] => {
                Ok((host.as_str(), small(option, port, "the number of a port, 1 to 65535")?).into())
            }
            _ => Err(wrong_place(option, value, &format!("a server; {HOW_TO_WRITE}"))),
        },
        other => Err(wrong_place(option, other, &format!("a server; {HOW_TO_WRITE}"))),
    }
}

fn channel_capacity(value: &Value) -> Result<Vec<(Pattern, usize)>> {
    const WANTED: &str = "a pattern with its capacity";
    let option = "channel_capacity";
    let pair = |pattern: &Value, capacity: &Value| {
        let text = pattern.as_str().ok_or_else(|| wrong(option, pattern, "a pattern"))?;
        let wanted = || format!("a whole number, as the capacity of {text:?} must be");
        let number = capacity.as_u64().and_then(|capacity| usize::try_from(capacity).ok());
        Ok((text.into(), number.ok_or_else(|| wrong(option, capacity, &wanted()))?))
    };
    match value {
        Value::Map(entries) => entries.iter().map(|(pattern, capacity)| pair(pattern, capacity)).collect(),
        Value::List(pairs) => pairs
            .iter()
            .map(|entry| match entry.as_list() {
                Some([pattern, capacity]) => pair(pattern, capacity),
                _ => Err(wrong(option, entry, WANTED)),
            })
            .collect(),
        other => Err(wrong(option, other, "a map or a list of patterns with their capacities")),
    }
}

/// Reads a list of keys, or one key without a list.
fn keys<'a>(option: &str, value: &'a Value) -> Result<Vec<&'a [u8]>> {
    match value {
        Value::List(keys) => keys.iter().map(|value| key(option, value)).collect(),
        value => Ok(vec![key(option, value)?]),
    }
}

fn key<'a>(option: &str, value: &'a Value) -> Result<&'a [u8]> {
    match value {
        Value::Text(key) => Ok(key.as_bytes()),
        Value::Bytes(key) => Ok(key),
        // The value is not shown: it may be a key in a wrong place.
        other => {
            Err(Error::config(format!("option `{option}`: {} is not a key, which is a text", kind(other))))
        }
    }
}

fn seconds(option: &str, value: &Value) -> Result<Duration> {
    let seconds = match *value {
        Value::Int(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        Value::UInt(seconds) => Some(Duration::from_secs(seconds)),
        Value::Float(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        _ => None,
    };
    seconds.ok_or_else(|| wrong(option, value, "a number of seconds"))
}

fn count(option: &str, value: &Value) -> Result<usize> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| wrong(option, value, "a whole number"))
}

fn small<N: TryFrom<u64>>(option: &str, value: &Value, wanted: &str) -> Result<N> {
    let number = value.as_u64().and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| wrong(option, value, wanted))
}

fn wrong(option: &str, value: &Value, wanted: &str) -> Error {
    const SHOWN: usize = 120;
    let text = value.to_string();
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    Error::config(format!("option `{option}`: {shown}{more} is not {wanted}"))
}

/// Makes an error as `wrong` does, and masks the password that the value may hold.
fn wrong_place(option: &str, value: &Value, wanted: &str) -> Error {
    let shown = match value {
        Value::Text(text) => masked(text),
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => value.to_string(),
        other => kind(other).to_owned(),
    };
    Error::config(format!("option `{option}`: {shown} is not {wanted}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Ext(..) => "an extension",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(text: &str) -> Result<ConfigBuilder, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[track_caller]
    fn refusal(text: &str) -> String {
        read_json(text).unwrap_err().to_string()
    }

    #[test]
    fn every_option_is_read_and_only_those() {
        for option in OPTIONS {
            let refusal = ConfigBuilder::try_from(Value::map([(option, Value::Nil)]));
            let refusal = refusal.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(!refusal.contains("unknown"), "{option}: {refusal}");
        }
        let refusal = refusal(r#"{"capactiy": 5}"#);
        assert!(
            refusal.starts_with("unknown option \"capactiy\"; the options are `hosts`, `host`,"),
            "{refusal}"
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_option_and_value() {
        for (document, said) in [
            (r#"{"capacity": "100"}"#, "option `capacity`: \"100\" is not a whole number"),
            (r#"{"capacity": 1.5}"#, "option `capacity`: 1.5 is not a whole number"),
            (r#"{"capacity": -1}"#, "option `capacity`: -1 is not a whole number"),
            (r#"{"expiry": "60"}"#, "option `expiry`: \"60\" is not a number of seconds"),
            (r#"{"expiry": -0.5}"#, "option `expiry`: -0.5 is not a number of seconds"),
            (r#"{"expiry": 1e300}"#, "option `expiry`: 1e300 is not a number of seconds"),
            (r#"{"prefix": 5}"#, "option `prefix`: 5 is not a text"),
            (r#"{"port": 70000}"#, "option `port`: 70000 is not the number of a port, 1 to 65535"),
            (r#"{"db": -1}"#, "option `db`: -1 is not the number of a database, 0 or more"),
            (r#"{"host": null}"#, "option `host`: null is not a host name"),
            (r#"{"hosts": {"a": 1}}"#, "option `hosts`: a map is not a list of servers"),
            (
                r#"{"hosts": ["redis://a", 6379]}"#,
                "option `hosts`: 6379 is not a server; write a URL such as",
            ),
            (r#"{"hosts": [["a", "6379"]]}"#, "option `hosts`: \"6379\" is not the number of a port"),
            (r#"{"hosts": [["a"]]}"#, "option `hosts`: a list is not a server; write a URL such as"),
            (r#"{"channel_capacity": 5}"#, "option `channel_capacity`: 5 is not a map or a list of patterns"),
            (
                r#"{"channel_capacity": {"a*": "5"}}"#,
                "option `channel_capacity`: \"5\" is not a whole number, as the capacity of \"a*\" must be",
            ),
            (
                r#"{"channel_capacity": [["a*"]]}"#,
                "option `channel_capacity`: [\"a*\"] is not a pattern with its capacity",
            ),
            (r#"{"capacity": 1, "capacity": 2}"#, "the configuration has \"capacity\" twice"),
            (r#"["redis://:secret@a"]"#, "the configuration must be a map, not a list"),
        ] {
            let refusal = refusal(document);
            assert!(refusal.starts_with(said), "{document}: {refusal}");
        }
    }

    #[test]
    fn no_error_about_a_document_shows_a_password_or_a_key() {
        for document in [
            r#""redis://:secret@a""#,
            r#"{"hosts": "redis://:secret@a/x"}"#,
            r#"{"hosts": {"url": "redis://:secret@a"}}"#,
            r#"{"hosts": [{"address": "redis://:secret@a/x"}]}"#,
            r#"{"hosts": [{"host": "a", "password": "secret", "db": -1}]}"#,
            r#"{"hosts": [{"host": "a b", "password": "secret"}]}"#,
            r#"{"hosts": ["rediss://a"], "tls_key": "-----BEGIN secret", "tls_certificate": "-----BEGIN secret"}"#,
            r#"{"tls_key": ["secret"]}"#,
            r#"{"hosts": [["redis://:secret@a", 1, 2]]}"#,
            r#"{"host": ["secret"]}"#,
            r#"{"password": "secret"}"#,
            r#"{"symmetric_encryption_keys": ["secret", ""]}"#,
            r#"{"symmetric_encryption_keys": {"key": "secret"}}"#,
            r#"{"symmetric_encryption_keys": [["secret"]]}"#,
            r#"{"symmetric_encryption_keys": 5314159, "prefix": "secret"}"#,
            r#"{"hide_names": "secret"}"#,
            r#"{"hide_names": ["secret"]}"#,
        ] {
            let said = match read_json(document) {
                Ok(builder) => builder.build().unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(!said.contains("secret"), "{document}: {said}");
        }
    }

    #[test]
    fn times_are_seconds_and_may_have_fractions() {
        let config = read_json(r#"{"expiry": 0.25, "group_expiry": 3}"#).unwrap().build().unwrap();
        assert_eq!(config.expiry(), Duration::from_millis(250));
        assert_eq!(config.group_expiry(), Duration::from_secs(3));
    }

    #[test]
    fn one_server_may_stand_alone_without_a_list() {
        let config = read_json(r#"{"hosts": "redis://redis1"}"#).unwrap().build().unwrap();
        assert_eq!(config.hosts()[0].to_string(), "redis://redis1:6379/0");
    }
}
