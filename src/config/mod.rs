//! Every setting of the Redis layer, its default and its check.
//!
//! A [`ConfigBuilder`] holds what was written, in code or (see `options.rs`) in a document; [`ConfigBuilder::build`]
//! checks all of it at once, and whoever holds a [`Config`] need not check again.

pub(crate) mod capacity;
pub(crate) mod channel_layers;
pub(crate) mod host;
pub(crate) mod options;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::config::capacity::{Capacities, Pattern};
use crate::config::host::{HOW_TO_WRITE, Host, HostSpec};
use crate::error::{Error, Result};
use crate::name::ChannelName;
use crate::seal::{Keyring, Names, Sealing, Secret};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// The scripts forget a client an hour after its lease, and a waiting line an hour after the last who came.
const HOUR: Duration = Duration::from_secs(3600);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// More messages than any server holds.
const MAX_CAPACITY: usize = 1_000_000_000;

/// A server cuts a subscribed connection on which more than 32 MB wait to be read, and again after each reconnection.
const MAX_MESSAGE_SIZE: usize = 16 << 20;

/// A megabyte of JSON (2^20 bytes) has at most this size, whatever it is made of: a float takes 9 bytes and in JSON, with
/// its comma, as little as 4. The specification asks that all such messages be carried.
const DEFAULT_MAX_MESSAGE_SIZE: usize = 9 << 18;

/// Lua's stack, through which the keys of a call go, has room for fewer than 8,000 values.
const MAX_CHANNELS_PER_RECEIVE: usize = 5_000;

/// Each server has a part of the 4096 points to which names are spread.
const MAX_HOSTS: usize = 1024;

const MAX_SENDS_IN_FLIGHT: usize = 1_000_000;

const MAX_PREFIX: usize = 100;

/// The settings of a Redis layer, as they are written. Those that are not written keep their defaults.
///
/// Documents in any serde format deserialise into it; there a time is a number of seconds, a host a URL or a list of
/// host name and port, and `channel_capacity` a map, in its order, or a list of pairs.
///
/// ```
/// use std::time::Duration;
/// use asgi_redis::{ConfigBuilder, glob, regex};
///
/// let config = ConfigBuilder::new()
///     .hosts(["redis://:password@127.0.0.1:6379/0"])
///     .expiry(Duration::from_secs(30))
///     .channel_capacity([(glob("http.response!*"), 10), (regex(r"^websocket.send\!.+"), 20)])
///     .build()?;
///
/// let written: ConfigBuilder = serde_json::from_str(
///     r#"{
///         "hosts": ["redis://:password@127.0.0.1:6379/0"],
///         "expiry": 30,
///         "channel_capacity": {"http.response!*": 10, "re:^websocket.send\\!.+": 20}
///     }"#,
/// )?;
/// assert_eq!(written.build()?.expiry(), config.expiry());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConfigBuilder {
    hosts: Option<Vec<HostSpec>>,
    host: Option<String>,
    port: Option<u16>,
    db: Option<u32>,
    prefix: Option<String>,
    expiry: Option<Duration>,
    group_expiry: Option<Duration>,
    capacity: Option<usize>,
    channel_capacity: Vec<(Pattern, usize)>,
    encryption_keys: Option<Vec<Secret>>,
    name_key: Option<Secret>,
    max_message_size: Option<usize>,
    lease: Option<Duration>,
    membership_lease: Option<Duration>,
    renew_memberships: Option<bool>,
    response_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    max_channels_per_receive: Option<usize>,
    max_sends_in_flight: Option<usize>,
}

impl ConfigBuilder {
    /// Nothing written yet: all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The servers to connect to, each as a URL or a pair of host name and port; see [`HostSpec`]. Defaults to
    /// localhost, port 6379. At most 1,024 servers share the load; the programs of a layer have the same list in
    /// the same order, and changing it moves names from one server to another.
    #[must_use]
    pub fn hosts<H: Into<HostSpec>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// The name of the one server. Defaults to `localhost`. Not together with `hosts`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The port of the one server. Defaults to 6379. Not together with `hosts`.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The database of the one server. Defaults to 0. Not together with `hosts`.
    #[must_use]
    pub fn db(mut self, db: u32) -> Self {
        self.db = Some(db);
        self
    }

    /// What every key begins with. Defaults to `asgi:`. Layers that share a server and are to be separate need
    /// different prefixes; the programs of one layer need the same. At most 100 printable ASCII characters, without
    /// spaces and braces.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// How long a message waits to be received before it is dropped, in whole milliseconds, at least one. Defaults
    /// to 60 s.
    #[must_use]
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// How long a channel stays in a group after it was last added, in whole milliseconds, at least one. Defaults to
    /// 86,400 s.
    #[must_use]
    pub fn group_expiry(mut self, group_expiry: Duration) -> Self {
        self.group_expiry = Some(group_expiry);
        self
    }

    /// How many messages a channel holds before it refuses more, at least one. Defaults to 100.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Other capacities, at least one each, for channels whose names match a pattern; the first match wins. Adds to
    /// what was given before.
    ///
    /// A pattern is tried on the full name and, for a name with a `!`, also on the name without its process part,
    /// the last part before the `!`: `websocket.send.client7!ab12` is tried as `websocket.send!ab12` too. All
    /// channels of one inbox share its queue, and so one capacity.
    ///
    /// ```
    /// use asgi_redis::ConfigBuilder;
    ///
    /// let config = ConfigBuilder::new()
    ///     .channel_capacity([("http.request", 200), ("http.response!*", 10), (r"re:^websocket.send\!.+", 20)])
    ///     .build()?;
    /// assert_eq!(config.capacity_of(&"websocket.send.client7!ab12".parse()?), 20);
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    #[must_use]
    pub fn channel_capacity<P: Into<Pattern>>(
        mut self,
        patterns: impl IntoIterator<Item = (P, usize)>,
    ) -> Self {
        self.channel_capacity
            .extend(patterns.into_iter().map(|(pattern, capacity)| (pattern.into(), capacity)));
        self
    }

    /// Keys that seal messages, so that neither the server nor the network learns what is in them: the first one
    /// seals, all of them open. A key is any text; its SHA-256 is the key of the cipher, XSalsa20-Poly1305. One of
    /// fewer than 32 bytes may be guessed, and is warned of. Not set: messages are sent in clear text.
    ///
    /// A layer in memory has no use for them: its messages do not leave the process.
    ///
    /// What is sealed opens only on the channel, or for the group, that it was sent to, and not after its expiry. What
    /// does not open is dropped and counted, see
    /// [`seal_statistics`](crate::RedisChannelLayer::seal_statistics); so is clear text.
    ///
    /// To change the key while programs run, give them `["old", "new"]` first, so that all can open what the new one
    /// seals; when all have that, `["new", "old"]`; and when the last message of the old one has expired, `["new"]`.
    ///
    /// The layer's own copies of keys are zeroed when they are dropped, and never shown.
    ///
    /// ```
    /// use asgi_redis::ConfigBuilder;
    ///
    /// # let (new, old) = ("n".repeat(32), "o".repeat(32));
    /// let config = ConfigBuilder::new().symmetric_encryption_keys([new, old]).build()?;
    /// assert!(config.has_encryption_keys());
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    #[must_use]
    pub fn symmetric_encryption_keys<K: AsRef<[u8]>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.encryption_keys = Some(keys.into_iter().map(|key| Secret::new(key.as_ref())).collect());
        self
    }

    /// A key that hides the names of channels, groups and inboxes from the server and the network. Needs
    /// `symmetric_encryption_keys`, and is none of them. It is one for all programs of the layer and does not change with those, for under
    /// another one all names are others. Not set: the server sees names as they are.
    ///
    /// What can still be seen: how many names there are, which messages have the same one, which are inboxes or
    /// single-reader channels, their lengths in steps of 16 bytes, sizes, times, counts, and the prefix.
    #[must_use]
    pub fn hide_names(mut self, key: impl AsRef<[u8]>) -> Self {
        self.name_key = Some(Secret::new(key.as_ref()));
        self
    }

    /// The largest message, in bytes as sent, from 1 byte to 16 MiB. Defaults to 2.25 MiB, to which a megabyte of JSON
    /// can grow.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// How long a process that says nothing keeps its place among those who wait for messages, 1 s to 1 h.
    /// Defaults to 60 s. Shorter finds the dead sooner and costs more commands while idle.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long the memberships of an inbox's mailboxes count without a sign of life of their process, 1 s to 1 h.
    /// Defaults to 60 s. A process that dies is out of its groups after that; a shorter disconnection ends nothing.
    #[must_use]
    pub fn membership_lease(mut self, lease: Duration) -> Self {
        self.membership_lease = Some(lease);
        self
    }

    /// Whether the memberships of an open mailbox are renewed before `group_expiry` ends them. Defaults to false: they
    /// end so long after the last time the mailbox was added, as the specification says.
    #[must_use]
    pub fn renew_memberships(mut self, renew: bool) -> Self {
        self.renew_memberships = Some(renew);
        self
    }

    /// How long to wait for a server's answer, at least 1 ms. Defaults to 5 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = Some(timeout);
        self
    }

    /// How long to wait for a connection, at least 1 ms. Defaults to 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// On how many channels one receive may wait, from 1 to 5,000. Defaults to 1,000.
    #[must_use]
    pub fn max_channels_per_receive(mut self, channels: usize) -> Self {
        self.max_channels_per_receive = Some(channels);
        self
    }

    /// How many sends to one server may be under way at once, from 1 to 1,000,000; more wait their turn. Defaults to
    /// 4,096.
    #[must_use]
    pub fn max_sends_in_flight(mut self, sends: usize) -> Self {
        self.max_sends_in_flight = Some(sends);
        self
    }

    /// Whether the one host is `memory://`.
    pub(crate) fn names_memory(&self) -> bool {
        matches!(self.hosts.as_deref(), Some([host]) if host.is_memory())
    }

    /// The same options without hosts.
    pub(crate) fn without_hosts(&self) -> Self {
        Self { hosts: None, host: None, port: None, db: None, ..self.clone() }
    }

    /// Checks everything that was written. Nothing is connected.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config), naming the option, its value and what is allowed. Passwords are masked.
    ///
    /// ```
    /// use asgi_redis::ConfigBuilder;
    ///
    /// let error = ConfigBuilder::new().capacity(0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "option `capacity`: 0 is not allowed, only 1 to 1000000000");
    /// ```
    pub fn build(&self) -> Result<Config> {
        let capacity = count("capacity", self.capacity, 100, 1..=MAX_CAPACITY)?;
        for (pattern, capacity) in &self.channel_capacity {
            if !(1..=MAX_CAPACITY).contains(capacity) {
                return Err(Error::config(format!(
                    "option `channel_capacity`: {capacity} for {:?} is not allowed, only 1 to {MAX_CAPACITY}",
                    pattern.to_string()
                )));
            }
        }
        let seconds = Duration::from_secs;
        Ok(Config {
            hosts: self.checked_hosts()?,
            prefix: self.checked_prefix()?,
            expiry: time("expiry", self.expiry, seconds(60), MILLISECOND..=TEN_YEARS)?,
            group_expiry: time("group_expiry", self.group_expiry, seconds(86_400), MILLISECOND..=TEN_YEARS)?,
            capacities: Capacities::new(&self.channel_capacity, capacity)?,
            sealing: self.checked_sealing()?,
            max_message_size: count(
                "max_message_size",
                self.max_message_size,
                DEFAULT_MAX_MESSAGE_SIZE,
                1..=MAX_MESSAGE_SIZE,
            )?,
            lease: time("lease", self.lease, seconds(60), SECOND..=HOUR)?,
            membership_lease: time("membership_lease", self.membership_lease, seconds(60), SECOND..=HOUR)?,
            renew_memberships: self.renew_memberships.unwrap_or(false),
            response_timeout: time(
                "response_timeout",
                self.response_timeout,
                seconds(5),
                MILLISECOND..=TEN_YEARS,
            )?,
            connect_timeout: time(
                "connect_timeout",
                self.connect_timeout,
                seconds(5),
                MILLISECOND..=TEN_YEARS,
            )?,
            max_channels_per_receive: count(
                "max_channels_per_receive",
                self.max_channels_per_receive,
                1_000,
                1..=MAX_CHANNELS_PER_RECEIVE,
            )?,
            max_sends_in_flight: count(
                "max_sends_in_flight",
                self.max_sends_in_flight,
                4_096,
                1..=MAX_SENDS_IN_FLIGHT,
            )?,
        })
    }

    fn checked_hosts(&self) -> Result<Vec<Host>> {
        let Some(specs) = &self.hosts else {
            return Ok(vec![Host::from_parts(self.host.as_deref(), self.port, self.db)?]);
        };
        let single =
            [("host", self.host.is_some()), ("port", self.port.is_some()), ("db", self.db.is_some())];
        if let Some((option, _)) = single.into_iter().find(|(_, is_given)| *is_given) {
            return Err(Error::config(format!(
                "options `hosts` and `{option}` are both given; `{option}` is for one server, without `hosts`, whose \
                 URLs say it themselves"
            )));
        }
        if self.names_memory() {
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

    /// Says how many bytes a key is to have if one is shorter; never the key.
    fn checked_sealing(&self) -> Result<Sealing> {
        const KEYS: &str = "symmetric_encryption_keys";
        let refused = |option: &str, why: &str| Err(Error::config(format!("option `{option}`: {why}")));
        let Some(keys) = &self.encryption_keys else {
            return match self.name_key {
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
        if self.name_key.as_ref().is_some_and(Secret::is_empty) {
            return refused("hide_names", "the key is empty");
        }
        if self.name_key.as_ref().is_some_and(|name_key| keys.contains(name_key)) {
            return refused(
                "hide_names",
                "the key is also one of `symmetric_encryption_keys`; names need a key of their own",
            );
        }
        let short = keys.iter().chain(&self.name_key).filter(|key| key.is_short()).count();
        if short > 0 {
            tracing::warn!(
                short,
                "options `symmetric_encryption_keys` and `hide_names`: keys of fewer than 32 bytes may be guessed"
            );
        }
        Ok(Sealing {
            keyring: Some(Arc::new(Keyring::new(keys))),
            names: self.name_key.as_ref().map_or(Names::Plain, Names::hidden),
        })
    }

    fn checked_prefix(&self) -> Result<String> {
        let prefix = self.prefix.as_deref().unwrap_or("asgi:");
        let refused =
            |why: &str| Err(Error::config(format!("option `prefix`: {prefix:?} is not allowed: {why}")));
        if prefix.is_empty() {
            refused("it is empty; the keys of other programs on the server would not be told apart")
        } else if prefix.len() > MAX_PREFIX {
            refused(&format!("it has {} bytes, at most {MAX_PREFIX} are", prefix.len()))
        } else if prefix.contains(['{', '}']) {
            refused(
                "braces say on which node of a Redis Cluster a key lives, which is not the prefix's to say",
            )
        } else if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            refused("only printable ASCII characters without spaces are")
        } else {
            Ok(prefix.to_owned())
        }
    }
}

/// The settings of a Redis layer, checked. [`ConfigBuilder::build`] makes it.
#[derive(Clone, Debug)]
pub struct Config {
    hosts: Vec<Host>,
    prefix: String,
    expiry: Duration,
    group_expiry: Duration,
    capacities: Capacities,
    sealing: Sealing,
    max_message_size: usize,
    lease: Duration,
    membership_lease: Duration,
    renew_memberships: bool,
    response_timeout: Duration,
    connect_timeout: Duration,
    max_channels_per_receive: usize,
    max_sends_in_flight: usize,
}

impl Config {
    /// The servers, each another; none if the one host is `memory://`.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What every key begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long a message waits.
    pub fn expiry(&self) -> Duration {
        self.expiry
    }

    /// How long a channel stays in a group after it was last added.
    pub fn group_expiry(&self) -> Duration {
        self.group_expiry
    }

    /// How many messages a channel holds. All channels of one inbox share its queue.
    pub fn capacity_of(&self, channel: &ChannelName) -> usize {
        self.capacities.of(channel)
    }

    /// Whether messages are sealed.
    pub fn has_encryption_keys(&self) -> bool {
        self.sealing.keyring.is_some()
    }

    /// Whether the server does not see the names of channels and groups.
    pub fn hides_names(&self) -> bool {
        !self.sealing.names.are_plain()
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// The largest message, in bytes as sent.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// How long a silent process keeps its place among those who wait.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long the memberships of a silent process count.
    pub fn membership_lease(&self) -> Duration {
        self.membership_lease
    }

    /// Whether the memberships of open mailboxes are renewed before they end.
    pub fn renew_memberships(&self) -> bool {
        self.renew_memberships
    }

    /// How long to wait for a server's answer.
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// How long to wait for a connection.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// On how many channels one receive may wait.
    pub fn max_channels_per_receive(&self) -> usize {
        self.max_channels_per_receive
    }

    /// How many sends to one server may be under way at once.
    pub fn max_sends_in_flight(&self) -> usize {
        self.max_sends_in_flight
    }
}

fn count(
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

/// Times are whole milliseconds to the scripts, which write them with the precision of Lua's numbers.
fn time(
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
    Err(Error::config(format!(
        "option `{option}`: {value:?} is not allowed, only {least:?} to {most:?}{in_words}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(builder: &ConfigBuilder) -> String {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn nothing_written_gives_the_defaults() {
        let config = ConfigBuilder::new().build().unwrap();
        assert_eq!(config.hosts()[0].to_string(), "redis://localhost:6379/0");
        assert_eq!(config.hosts().len(), 1);
        assert_eq!(config.prefix(), "asgi:");
        assert_eq!(config.expiry(), Duration::from_secs(60));
        assert_eq!(config.group_expiry(), Duration::from_secs(86_400));
        assert_eq!(config.capacity_of(&ChannelName::new("http.request").unwrap()), 100);
        assert_eq!(config.max_message_size(), 2_359_296);
        assert_eq!(config.lease(), Duration::from_secs(60));
        assert_eq!(config.response_timeout(), Duration::from_secs(5));
        assert_eq!(config.connect_timeout(), Duration::from_secs(5));
        assert_eq!(config.max_channels_per_receive(), 1_000);
        assert_eq!(config.max_sends_in_flight(), 4_096);
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_option_and_the_range() {
        let new = ConfigBuilder::new;
        for (builder, said) in [
            (new().capacity(0), "option `capacity`: 0 is not allowed, only 1 to 1000000000"),
            (
                new().expiry(Duration::ZERO),
                "option `expiry`: 0ns is not allowed, only 1ms to 315360000s (ten years)",
            ),
            (
                new().group_expiry(Duration::MAX),
                "option `group_expiry`: 18446744073709551615.999999999s is not",
            ),
            (new().lease(Duration::from_millis(999)), "option `lease`: 999ms is not allowed, only 1s to"),
            (new().response_timeout(Duration::ZERO), "option `response_timeout`: 0ns is not allowed"),
            (new().connect_timeout(Duration::ZERO), "option `connect_timeout`: 0ns is not allowed"),
            (new().max_message_size(0), "option `max_message_size`: 0 is not allowed, only 1 to 16777216"),
            (new().max_channels_per_receive(5_001), "option `max_channels_per_receive`: 5001 is not allowed"),
            (new().max_sends_in_flight(0), "option `max_sends_in_flight`: 0 is not allowed"),
            (
                new().channel_capacity([("a*", 1), ("b*", 0)]),
                "option `channel_capacity`: 0 for \"b*\" is not allowed, only 1 to 1000000000",
            ),
        ] {
            let refusal = refusal(&builder);
            assert!(refusal.starts_with(said), "{refusal}");
        }
    }

    #[test]
    fn a_prefix_is_short_printable_and_leaves_braces_to_the_cluster() {
        let refusal = |prefix: &str| refusal(&ConfigBuilder::new().prefix(prefix));
        assert!(refusal("").starts_with("option `prefix`: \"\" is not allowed: it is empty"));
        assert!(refusal("a b").ends_with("only printable ASCII characters without spaces are"));
        assert!(refusal("\u{e9}:").ends_with("only printable ASCII characters without spaces are"));
        assert!(refusal("{a}:").contains("on which node of a Redis Cluster a key lives"));
        assert!(refusal(&"a".repeat(101)).ends_with("it has 101 bytes, at most 100 are"));
        assert!(ConfigBuilder::new().prefix("a".repeat(100)).build().is_ok());
    }

    #[test]
    fn servers_are_given_in_one_way_and_once_each() {
        let urls = ConfigBuilder::new().hosts(["redis://a", "redis://b"]);
        assert_eq!(urls.build().unwrap().hosts().len(), 2);
        assert!(refusal(&urls.clone().host("c")).starts_with("options `hosts` and `host` are both given"));
        assert!(refusal(&urls.clone().port(1)).starts_with("options `hosts` and `port` are both given"));
        assert!(refusal(&urls.clone().db(1)).starts_with("options `hosts` and `db` are both given"));
        assert_eq!(
            refusal(&urls.hosts(["redis://:secret@a", "redis://A:6379/0"])),
            "option `hosts`: redis://A:6379/0 is listed twice; each server and database is one shard"
        );
        let none = ConfigBuilder::new().hosts(<[&str; 0]>::default());
        assert!(refusal(&none).starts_with("option `hosts`: the list [] is empty; write a URL"));
        let single = ConfigBuilder::new().host("redis1").port(7000).db(3).build().unwrap();
        assert_eq!(single.hosts()[0].to_string(), "redis://redis1:7000/3");
        assert!(
            refusal(&ConfigBuilder::new().host("redis://x")).starts_with("option `host`: redis://x:6379")
        );
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let new = || ConfigBuilder::new().symmetric_encryption_keys(["secret", "secret too"]);
        let sealed = new().hide_names("secret of names");
        let config = sealed.build().unwrap();
        assert!(config.has_encryption_keys() && config.hides_names());
        let shown = format!("{sealed:?} {config:?}");
        assert!(!shown.contains("secret") && !shown.contains("115, 101, 99"), "{shown}");
        let clear = ConfigBuilder::new().build().unwrap();
        assert!(!clear.has_encryption_keys() && !clear.hides_names());

        for (builder, said) in [
            (
                new().symmetric_encryption_keys([""; 0]),
                "option `symmetric_encryption_keys`: the list is empty",
            ),
            (
                new().symmetric_encryption_keys(["secret", ""]),
                "option `symmetric_encryption_keys`: key 2 of 2 is empty",
            ),
            (new().hide_names(""), "option `hide_names`: the key is empty"),
            (new().hide_names("secret too"), "option `hide_names`: the key is also one of"),
            (ConfigBuilder::new().hide_names("secret"), "option `hide_names`: names are hidden only where"),
        ] {
            let refusal = refusal(&builder);
            assert!(refusal.starts_with(said) && !refusal.contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn debug_output_shows_no_password() {
        let builder = ConfigBuilder::new().hosts(["redis://:secret@a"]);
        let shown = format!("{builder:?} {:?}", builder.build().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
