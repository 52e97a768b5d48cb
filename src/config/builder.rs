//! The options as they are written in code.

use std::path::PathBuf;
use std::time::Duration;

use super::capacity::Pattern;
use super::checks::{SingleHost, names_memory};
use super::credentials::{Credentials, Source};
use super::host::{Host, HostSpec};
use super::host_specs::HostSpecs;
use super::tls::{self, Pem};
use crate::error::Result;
use crate::seal::Secret;

/// The options of a Redis layer, as they are written. An option that is not written keeps its default.
///
/// A document in any serde format deserialises into it. There a time is a number of seconds, a host is a URL or a list of
/// host name and port, and `channel_capacity` is a map, whose order counts, or a list of pairs.
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
    pub(super) hosts: Option<Vec<HostSpec>>,
    pub(super) single: SingleHost,
    pub(super) credentials: Option<Source>,
    pub(super) login_file: Option<PathBuf>,
    pub(super) tls: tls::Written,
    pub(super) prefix: Option<String>,
    pub(super) expiry: Option<Duration>,
    pub(super) group_expiry: Option<Duration>,
    pub(super) capacity: Option<usize>,
    pub(super) inbox_capacity: Option<usize>,
    pub(super) inbox_bytes: Option<usize>,
    pub(super) channel_capacity: Vec<(Pattern, usize)>,
    pub(super) encryption_keys: Option<Vec<Secret>>,
    pub(super) name_key: Option<Secret>,
    pub(super) max_message_size: Option<usize>,
    pub(super) lease: Option<Duration>,
    pub(super) membership_lease: Option<Duration>,
    pub(super) renew_memberships: Option<bool>,
    pub(super) response_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) max_channels_per_receive: Option<usize>,
    pub(super) max_sends_in_flight: Option<usize>,
}

impl ConfigBuilder {
    /// Returns a builder with all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The servers to connect to, each as a URL or a pair of host name and port; see [`HostSpec`]. Defaults to
    /// localhost, port 6379. At most 1,024 servers share the load; the programs of a layer have the same list in
    /// the same order, and changing it moves names from one server to another.
    #[must_use]
    pub fn hosts(mut self, hosts: impl HostSpecs) -> Self {
        self.hosts = Some(hosts.into_specs());
        self
    }

    /// The name of the one server. Defaults to `localhost`. Not together with `hosts`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.single.host = Some(host.into());
        self
    }

    /// The port of the one server. Defaults to 6379. Not together with `hosts`.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.single.port = Some(port);
        self
    }

    /// The database of the one server. Defaults to 0. Not together with `hosts`.
    #[must_use]
    pub fn db(mut self, db: u32) -> Self {
        self.single.db = Some(db);
        self
    }

    /// Whom to ask for user and password, at each connection that is made: for credentials that change. The server is given,
    /// so that each may have its own. Without it, they are those of the URL. An error counts as an outage of the server, and
    /// so does an answer that takes longer than `connect_timeout`: the layer asks again when it tries the server again. Once
    /// credentials have changed, connections that are open stay open as long as the server leaves them. Not together with
    /// `password_file`, or with a password in a URL.
    ///
    /// ```no_run
    /// use asgi_redis::{Credentials, Error, ErrorKind, RedisChannelLayer};
    ///
    /// # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn example() -> asgi_redis::Result<()> {
    /// let layer = RedisChannelLayer::builder()
    ///     .hosts("rediss://cache.example:6379")
    ///     .credentials(|_host| async {
    ///         let token = token().await.map_err(|error| Error::new(ErrorKind::Credentials, error.to_string()))?;
    ///         Ok(Credentials::new("worker", token))
    ///     })
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials<F, R>(mut self, ask: F) -> Self
    where
        F: Fn(Host) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials>> + Send + 'static,
    {
        self.credentials = Some(Source::callback(ask));
        self
    }

    /// A file that holds the password and nothing else, and is read again at each connection that is made. The user is that
    /// of the URL. Not together with `credentials`, or with a password in a URL.
    #[must_use]
    pub fn password_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.login_file = Some(file.into());
        self
    }

    /// Whose certificates are trusted, of servers with TLS: those of a CA, or a server's own certificate if it is self-signed.
    /// As PEM, or as the file that holds it and is read again at each connection. Defaults to what the system trusts.
    ///
    /// A server that shows one of these certificates itself is trusted too, as those are that `openssl req -x509` makes: it is
    /// checked for its time, and for its name if it has names.
    ///
    /// ```no_run
    /// use asgi_redis::ConfigBuilder;
    ///
    /// let config = ConfigBuilder::new()
    ///     .hosts("rediss://redis.internal:6379")
    ///     .tls_ca("/etc/redis/ca.pem")
    ///     .tls_certificate("/etc/redis/client.pem", "/etc/redis/client.key")
    ///     .build()?;
    /// # Ok::<(), asgi_redis::Error>(())
    /// ```
    #[must_use]
    pub fn tls_ca(mut self, certificates: impl Into<Pem>) -> Self {
        self.tls.ca = Some(certificates.into());
        self
    }

    /// The certificate that this program shows to servers with TLS, and its private key, as in
    /// [`tls_ca`](Self::tls_ca). In a document these are two options, `tls_certificate` and `tls_key`. Defaults to none.
    #[must_use]
    pub fn tls_certificate(self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.certificate_alone(certificate.into()).tls_key(key)
    }

    /// The private key of [`tls_certificate`](Self::tls_certificate), in place of the one given there.
    #[must_use]
    pub fn tls_key(mut self, key: impl Into<Pem>) -> Self {
        self.tls.key = Some(key.into());
        self
    }

    pub(super) fn certificate_alone(mut self, certificate: Pem) -> Self {
        self.tls.certificate = Some(certificate);
        self
    }

    /// The name that the certificates of servers with TLS must have. Defaults to the host name of each.
    #[must_use]
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    /// The beginning of every key. Defaults to `asgi:`. Layers that share a server and are to be separate need
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
    ///
    /// Of a mailbox it is how many unread messages its process holds for it; what its inbox holds on the server is
    /// [`inbox_capacity`](Self::inbox_capacity).
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// How many messages an inbox holds on its server before it refuses more, at least one. Defaults to 10,000. All mailboxes
    /// of a process share them, for what the process has not read yet: a message to a group of which it has many members is one.
    /// A pattern of [`channel_capacity`](Self::channel_capacity) that matches the inbox's mailboxes comes before it.
    ///
    /// The specification of channel layers has one capacity for both; set this to [`capacity`](Self::capacity) for that.
    #[must_use]
    pub fn inbox_capacity(mut self, inbox_capacity: usize) -> Self {
        self.inbox_capacity = Some(inbox_capacity);
        self
    }

    /// How many bytes an inbox may have on its server, 1 MiB to 2 GiB: a message of over 4 KiB is refused if others wait and
    /// it would have more with it. Smaller ones are bounded by [`inbox_capacity`](Self::inbox_capacity) alone. Defaults to
    /// 64 MiB. The process whose inbox it is decides.
    #[must_use]
    pub fn inbox_bytes(mut self, inbox_bytes: usize) -> Self {
        self.inbox_bytes = Some(inbox_bytes);
        self
    }

    /// Other capacities, at least one each, for channels whose names match a pattern; the first match wins. Adds to the
    /// patterns that were given before.
    ///
    /// A pattern is tried on the full name and, for a name with a `!`, also on the name without its process part,
    /// the last part before the `!`: `websocket.send.client7!ab12` is tried as `websocket.send!ab12` too. One
    /// that matches a mailbox of any name, as `websocket.send!*` does, is the capacity of the inbox too.
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

    /// Keys that seal messages, so that neither the server nor the network can read them: the first key seals, all of
    /// them open. A key is any text; its SHA-256 is the key of the cipher, XSalsa20-Poly1305. A key of fewer than 32 bytes
    /// may be guessed, and a warning is logged. Without keys, messages are sent in clear text.
    ///
    /// A layer in memory ignores the keys: its messages do not leave the process.
    ///
    /// A sealed message opens only on the channel, or for the group, to which it was sent, and not after its expiry. A
    /// message that does not open, or is in clear text, is dropped and counted; see
    /// [`seal_statistics`](crate::RedisChannelLayer::seal_statistics).
    ///
    /// To change the key while programs run, first give all of them `["old", "new"]`, so that each can open messages sealed
    /// by the new key. Then give all of them `["new", "old"]`. When the last message of the old key has expired, give them
    /// `["new"]`.
    ///
    /// The layer's own copies of keys are zeroed when they are dropped, and are never shown.
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

    /// A key that hides the names of channels, groups and inboxes from the server and the network. It needs
    /// `symmetric_encryption_keys`, and must not be one of them. All programs of a layer have the same key. It does not
    /// change when those change, because under another key every name is another one. Without it, the server sees names
    /// as they are.
    ///
    /// The server can still see how many names there are, which messages have the same name, which names are inboxes or
    /// single-reader channels, the lengths of names in steps of 16 bytes, sizes, times, counts, and the prefix.
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

    /// How long the waiting receives of a silent process keep their places in line, 1 s to 1 h. Defaults to 60 s. A shorter
    /// lease finds dead processes sooner, and costs more commands while idle.
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
    /// end this long after the mailbox was last added, as the specification demands.
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

    /// On how many channels one receive may wait, from 1 to 1,000, which is the default.
    #[must_use]
    pub fn max_channels_per_receive(mut self, channels: usize) -> Self {
        self.max_channels_per_receive = Some(channels);
        self
    }

    /// How many sends to one server may be under way at once, and besides how many changes of memberships, from 1 to
    /// 1,000,000; more wait their turn. Defaults to 4,096.
    #[must_use]
    pub fn max_sends_in_flight(mut self, sends: usize) -> Self {
        self.max_sends_in_flight = Some(sends);
        self
    }

    /// Reports whether the one host is `memory://`.
    pub(crate) fn names_memory(&self) -> bool {
        self.hosts.as_deref().is_some_and(names_memory)
    }

    /// Returns the same options without hosts, and without how these are logged in to.
    pub(crate) fn without_hosts(&self) -> Self {
        Self {
            hosts: None,
            single: SingleHost::default(),
            credentials: None,
            login_file: None,
            tls: tls::Written::default(),
            ..self.clone()
        }
    }
}
