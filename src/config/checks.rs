//! The checks of options: what each may be, and the error that names the option, its value and what is allowed.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::capacity::Pattern;
use super::credentials::Source;
use super::host::{Host, HostSpec};
use super::tls::{Tls, Written};
use super::url::HOW_TO_WRITE;
use crate::error::{Error, Result};
use crate::seal::{Keyring, Names, Sealing, Secret};

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The scripts forget a client an hour after its lease, and a queue's line of waiting tickets an hour after its last use.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// More messages than any server holds.
pub(super) const MAX_CAPACITY: usize = 1_000_000_000;
pub(super) const DEFAULT_INBOX_BYTES: usize = 64 * 1024 * 1024;
pub(super) const INBOX_BYTES: RangeInclusive<usize> = 1_048_576..=2_147_483_648;

/// A server closes a subscribed connection on which more than 32 MB wait to be read, and would close each further
/// connection of that client for the same reason.
pub(super) const MAX_MESSAGE_SIZE: usize = 16 << 20;

/// A megabyte of JSON (2^20 bytes) has at most this size as MessagePack, whatever it holds: a float takes 9 bytes, and in
/// JSON, with its comma, as few as 4. The specification asks that all such messages be carried.
pub(super) const DEFAULT_MAX_MESSAGE_SIZE: usize = 9 << 18;

/// Lua's stack, through which the keys of a call go, has room for fewer than 8,000 values.
pub(super) const MAX_CHANNELS_PER_RECEIVE: usize = 1_000;

/// Each server has a part of the 4096 points to which names are spread.
const MAX_HOSTS: usize = 1024;

pub(super) const MAX_SENDS_IN_FLIGHT: usize = 1_000_000;

const MAX_PREFIX: usize = 100;

/// The options of one server without `hosts`, as they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct SingleHost {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) db: Option<u32>,
}

/// Reports whether the one host is `memory://`.
pub(super) fn names_memory(hosts: &[HostSpec]) -> bool {
    matches!(hosts, [host] if host.is_memory())
}

/// Checks the servers: those of a list, or the one that `host`, `port` and `db` name. Returns an empty list for
/// `memory://`.
pub(super) fn hosts(list: Option<&[HostSpec]>, single: &SingleHost) -> Result<Vec<Host>> {
    let Some(specs) = list else {
        return Ok(vec![Host::from_parts(single.host.as_deref(), single.port, single.db)?]);
    };
    let single =
        [("host", single.host.is_some()), ("port", single.port.is_some()), ("db", single.db.is_some())];
    if let Some((option, _)) = single.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Error::config(format!(
            "options `hosts` and `{option}` are both given; leave out `{option}`, which is for one server without \
                 `hosts`: a URL in `hosts` holds it already"
        )));
    }
    if names_memory(specs) {
        return Ok(Vec::new());
    }
    if specs.is_empty() {
        return Err(Error::config(format!("option `hosts`: the list [] is empty; {HOW_TO_WRITE}")));
    }
    if specs.len() > MAX_HOSTS {
        return Err(Error::config(format!(
            "option `hosts`: the list has {} servers, at most {MAX_HOSTS} are allowed",
            specs.len()
        )));
    }
    let mut hosts: Vec<Host> = Vec::with_capacity(specs.len());
    for spec in specs {
        let host = Host::new(spec)?;
        if hosts.iter().any(|other| other.identity() == host.identity()) {
            return Err(Error::config(format!(
                "option `hosts`: {host} is listed twice; each server and database is one shard"
            )));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

/// Checks who is asked for users and passwords.
pub(super) fn credentials(
    callback: Option<&Source>,
    file: Option<&PathBuf>,
    hosts: &[Host],
) -> Result<Option<Source>> {
    let (option, source) = match (callback, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Error::config(
                "options `credentials` and `password_file` are both given; leave one out",
            ));
        }
        (Some(callback), None) => ("credentials", callback.clone()),
        (None, Some(file)) => ("password_file", Source::File(file.clone())),
    };
    match hosts.iter().find(|host| host.has_password()) {
        Some(host) => Err(Error::config(format!(
            "option `{option}`: {host} has a password of its own in `hosts`; leave one of them out"
        ))),
        None => Ok(Some(source)),
    }
}

/// Checks the options about TLS, and reads their files once.
pub(super) fn tls(written: &Written, hosts: &[Host]) -> Result<Tls> {
    match written.first() {
        Some(option) if !hosts.is_empty() && !hosts.iter().any(Host::has_tls) => Err(Error::config(format!(
            "option `{option}`: no server is connected to with TLS; write rediss:// in place of redis://"
        ))),
        _ => written.check(),
    }
}

/// Checks the keys. No error and no log line shows a key.
pub(super) fn sealing(keys: Option<&[Secret]>, name_key: Option<&Secret>) -> Result<Sealing> {
    const KEYS: &str = "symmetric_encryption_keys";
    let refused = |option: &str, why: &str| Err(Error::config(format!("option `{option}`: {why}")));
    let Some(keys) = keys else {
        return match name_key {
            Some(_) => refused(
                "hide_names",
                "names are hidden only where messages are sealed; give `symmetric_encryption_keys` too",
            ),
            None => Ok(Sealing::default()),
        };
    };
    if keys.is_empty() {
        return refused(
            KEYS,
            "the list is empty; give at least one key, or leave the option out to send clear text",
        );
    }
    if let Some(empty) = keys.iter().position(Secret::is_empty) {
        return refused(KEYS, &format!("key {} of {} is empty", empty + 1, keys.len()));
    }
    if name_key.is_some_and(Secret::is_empty) {
        return refused("hide_names", "the key is empty");
    }
    if name_key.is_some_and(|name_key| keys.contains(name_key)) {
        return refused(
            "hide_names",
            "the key is also one of `symmetric_encryption_keys`; names need a key of their own",
        );
    }
    let short = keys.iter().chain(name_key).filter(|key| key.is_short()).count();
    if short > 0 {
        tracing::warn!(
            short,
            "options `symmetric_encryption_keys` and `hide_names`: keys of fewer than 32 bytes may be guessed; use longer ones"
        );
    }
    Ok(Sealing {
        keyring: Some(Arc::new(Keyring::new(keys))),
        names: name_key.map_or(Names::Plain, Names::hidden),
    })
}

/// Checks the prefix of all keys.
pub(super) fn prefix(written: Option<&str>) -> Result<String> {
    let prefix = written.unwrap_or("asgi:");
    let refused =
        |why: &str| Err(Error::config(format!("option `prefix`: {prefix:?} is not allowed: {why}")));
    if prefix.is_empty() {
        refused("it is empty; the keys of other programs on the server would not be told apart")
    } else if prefix.len() > MAX_PREFIX {
        refused(&format!("it has {} bytes, at most {MAX_PREFIX} are", prefix.len()))
    } else if prefix.contains(['{', '}']) {
        refused("braces decide on which node of a Redis Cluster a key lives, and a prefix must not")
    } else if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        refused("only printable ASCII characters without spaces are")
    } else {
        Ok(prefix.to_owned())
    }
}

/// Checks each capacity of a pattern.
pub(super) fn channel_capacity(patterns: &[(Pattern, usize)]) -> Result<()> {
    for (pattern, capacity) in patterns {
        if !(1..=MAX_CAPACITY).contains(capacity) {
            return Err(Error::config(format!(
                "option `channel_capacity`: {capacity} for {:?} is not allowed, only 1 to {MAX_CAPACITY}",
                pattern.to_string()
            )));
        }
    }
    Ok(())
}

/// Checks a number against what is allowed.
pub(super) fn count(
    option: &str,
    written: Option<usize>,
    default: usize,
    allowed: RangeInclusive<usize>,
) -> Result<usize> {
    let value = written.unwrap_or(default);
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(Error::config(format!(
        "option `{option}`: {value} is not allowed, only {} to {}",
        allowed.start(),
        allowed.end()
    )))
}

/// Checks a time against what is allowed: the scripts take whole milliseconds, within the precision of Lua's numbers.
pub(super) fn time(
    option: &str,
    written: Option<Duration>,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration> {
    let value = written.unwrap_or(default);
    if allowed.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (allowed.start(), allowed.end());
    let in_words = if *most == TEN_YEARS { " (ten years)" } else { "" };
    let (value, least, most) = (shown(value), shown(*least), shown(*most));
    Err(Error::config(format!("option `{option}`: {value} is not allowed, only {least} to {most}{in_words}")))
}

/// A time in seconds, or in ms where it has whole ones.
fn shown(time: Duration) -> String {
    let ms = time.as_millis();
    if time.subsec_nanos() == 0 {
        format!("{} s", time.as_secs())
    } else if Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)) == time {
        format!("{ms} ms")
    } else {
        format!("{} s", time.as_secs_f64())
    }
}
