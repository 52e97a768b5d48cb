//! The options of every command, and the layer that they and a configuration file describe.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{
    Backend, ChannelKind, ChannelLayer, ChannelLayers, ChannelName, ConfigBuilder, ConfiguredLayer, Error,
    HostSpecs, RedisChannelLayer, ShardHealth, ShardSurvey, Value,
};
use clap::Args;
use zeroize::Zeroizing;

use super::outcome::Failure;

const VARIABLE: &str = "ASGI_REDIS_URL";

/// The options that name servers.
const SERVERS: [&str; 4] = ["hosts", "host", "port", "db"];

/// How URLs of servers with TLS begin.
const HAVE_TLS: [&str; 2] = ["rediss://", "valkeys://"];

#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct LayerOptions {
    /// A server, such as redis://:password@host:6379/0, host:6379 or unix:///path.
    ///
    /// Repeat the option for several servers, or separate them by commas. `demo` also takes memory://, which is no server.
    /// Defaults to the servers of --config, then to ASGI_REDIS_URL, then to redis://localhost:6379/0.
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    redis: Vec<String>,

    /// A file that holds the password and nothing else; the user is that of the URL.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// A PEM file with the certificates that rediss:// servers are trusted by: of a CA, or their own if self-signed.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// A PEM file with the certificate to show to rediss:// servers.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of --tls-cert.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The name that the certificates of rediss:// servers have [default: their host names]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    tls_server_name: Option<String>,

    /// A JSON file with a CHANNEL_LAYERS document or the CONFIG of one layer. Other options override it.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The layer's alias in --config [default: default]
    #[arg(long, global = true, hide_short_help = true, value_name = "ALIAS")]
    layer: Option<String>,

    /// What every key begins with [default: asgi:]
    #[arg(long, global = true, hide_short_help = true)]
    prefix: Option<String>,

    /// How long a message waits to be received [default: 60]
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    expiry: Option<Duration>,

    /// How many messages a channel holds; capacities by pattern in --config stay [default: 100]
    #[arg(long, global = true, hide_short_help = true, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    capacity: Option<usize>,

    /// How many messages the inbox of a process holds, for all its mailboxes [default: 10000]
    #[arg(long, global = true, hide_short_help = true, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    inbox_capacity: Option<usize>,

    /// A file with encryption keys, one on each line: the first seals, all of them open. Overrides those of --config.
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Print JSON instead of text.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) json: bool,
}

impl LayerOptions {
    /// Runs something on a connected layer, and closes it.
    pub(crate) async fn with_layer<T>(
        &self,
        work: impl AsyncFnOnce(&dyn ChannelLayer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let layer = self.connect().await?;
        let done = work(&layer).await;
        // The work is done or has failed already; nothing is in flight that closing could lose.
        let _ = layer.close().await;
        done
    }

    /// As `with_layer`, for what concerns the servers themselves.
    pub(crate) async fn with_servers<T>(
        &self,
        work: impl AsyncFnOnce(&RedisChannelLayer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let layer = self.connect_servers().await?;
        let done = work(&layer).await;
        let _ = layer.close().await;
        done
    }

    /// Connects the layer.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn ChannelLayer>, Failure> {
        let layer = self.settings(|_| true)?;
        refuse_memory(layer.backend())?;
        Ok(layer.connect().await?)
    }

    /// Refuses channels that live in the memory of this program alone.
    pub(crate) fn refuse_in_memory<'a>(
        &self,
        channels: impl IntoIterator<Item = &'a ChannelName>,
    ) -> Result<(), Failure> {
        let half = self.settings(|_| true)?.local_half();
        if half.is_none_or(|half| half.backend() != Backend::Memory) {
            return Ok(());
        }
        match channels.into_iter().find(|channel| channel.kind() == ChannelKind::Normal) {
            Some(channel) => Err(Failure::wrong_use(format!(
                "channel {:?} is in the memory of this program alone, where nobody else sends or receives: its local and \
                 remote layer has no server for normal channels, which the option `local` names",
                channel.as_str()
            ))),
            None => Ok(()),
        }
    }

    /// Looks at all servers that have something of the layer; of a local and remote one at those of both halves.
    pub(crate) async fn look_at_servers(
        &self,
    ) -> Result<Vec<(ShardHealth, Result<ShardSurvey, Error>)>, Failure> {
        let mut layers = vec![self.connect_servers().await?];
        if let Some(half) = self.settings(|_| true)?.local_half()
            && half.backend() != Backend::Memory
        {
            layers.push(half.config().connect().await?);
        }
        let mut found = Vec::new();
        for layer in layers {
            found.extend(layer.health().await.into_iter().zip(layer.survey().await));
            let _ = layer.close().await;
        }
        Ok(found)
    }

    /// Connects to the servers of the layer; of a local and remote one to those that all machines share.
    pub(crate) async fn connect_servers(&self) -> Result<RedisChannelLayer, Failure> {
        let layer = self.settings(|_| true)?;
        refuse_memory(layer.backend())?;
        Ok(layer.config().connect().await?)
    }

    /// As `connect_servers`, of servers that take over from one. If that one alone has TLS, the options about TLS are its own.
    pub(crate) async fn connect_servers_after(&self, from: &str) -> Result<RedisChannelLayer, Failure> {
        let urls = self.urls()?;
        let with_tls = !has_tls(from) || urls.is_empty() || urls.iter().any(|url| has_tls(url));
        let layer = self.settings_with(with_tls, |_| true)?;
        refuse_memory(layer.backend())?;
        Ok(layer.into_config().connect().await?)
    }

    /// Returns the prefix of the layer.
    pub(crate) fn prefix(&self) -> Result<String, Failure> {
        Ok(self.settings(|_| true)?.config().build()?.prefix().to_owned())
    }

    /// Connects a layer with the same settings to another server.
    pub(crate) async fn connect_to(&self, url: &str) -> Result<RedisChannelLayer, Failure> {
        // A server without TLS may be drained into others that have it.
        let with_tls = has_tls(url);
        let wanted = |option: &str| !SERVERS.contains(&option) && (with_tls || !is_about_tls(option));
        let settings = self.layer(wanted)?.map_config(|settings| self.apply(settings));
        let settings =
            settings.map_config(|settings| if with_tls { self.apply_tls(settings) } else { settings });
        Ok(self.with_keys(settings)?.into_config().hosts([url]).connect().await?)
    }

    /// Returns a layer of the servers that were named, without the other options; `None` if none were named.
    pub(crate) fn servers(&self) -> Result<Option<ConfiguredLayer>, Failure> {
        const REACHING: [&str; 3] = ["connect_timeout", "response_timeout", "password_file"];
        if self.config.is_none() && self.urls()?.is_empty() {
            return Ok(None);
        }
        let reaching =
            |option: &str| SERVERS.contains(&option) || REACHING.contains(&option) || is_about_tls(option);
        self.settings(reaching).map(Some)
    }

    /// Returns the first given option that is about how messages are kept.
    pub(crate) fn keeping(&self) -> Option<&'static str> {
        let given = [
            ("--prefix", self.prefix.is_some()),
            ("--expiry", self.expiry.is_some()),
            ("--capacity", self.capacity.is_some()),
            ("--inbox-capacity", self.inbox_capacity.is_some()),
            ("--keys", self.keys.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Returns the layer: the wanted options of the file, overridden by those of the command line.
    fn settings(&self, wanted: impl Fn(&str) -> bool) -> Result<ConfiguredLayer, Failure> {
        self.settings_with(true, wanted)
    }

    /// As `settings`, with what is said about TLS or without it.
    fn settings_with(
        &self,
        with_tls: bool,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<ConfiguredLayer, Failure> {
        let urls = self.urls()?;
        let layer = self.layer(|option| {
            wanted(option)
                && (with_tls || !is_about_tls(option))
                && (urls.is_empty() || !SERVERS.contains(&option))
        })?;
        let layer = layer.map_config(|settings| {
            let settings = self.apply(settings);
            let settings = if with_tls { self.apply_tls(settings) } else { settings };
            if urls.is_empty() {
                return settings;
            }
            settings.hosts(urls.iter().flat_map(HostSpecs::into_specs).collect::<Vec<_>>())
        });
        self.with_keys(layer)
    }

    /// Returns the layer of the file, with its wanted options only; without a file one with no options.
    fn layer(&self, wanted: impl Fn(&str) -> bool) -> Result<ConfiguredLayer, Failure> {
        match &self.config {
            Some(file) => self.read(file, wanted),
            None if self.layer.is_some() => {
                Err(Failure::wrong_use("--layer names a layer of a file; give the file with --config"))
            }
            None => Ok(ConfiguredLayer::new(ConfigBuilder::new())),
        }
    }

    /// Adds the options of the command line, but for servers, TLS and keys.
    fn apply(&self, mut settings: ConfigBuilder) -> ConfigBuilder {
        if let Some(file) = &self.password_file {
            settings = settings.password_file(file);
        }
        if let Some(prefix) = &self.prefix {
            settings = settings.prefix(prefix);
        }
        if let Some(expiry) = self.expiry {
            settings = settings.expiry(expiry);
        }
        if let Some(capacity) = self.capacity {
            settings = settings.capacity(capacity);
        }
        if let Some(capacity) = self.inbox_capacity {
            settings = settings.inbox_capacity(capacity);
        }
        settings
    }

    fn apply_tls(&self, mut settings: ConfigBuilder) -> ConfigBuilder {
        if let Some(ca) = &self.tls_ca {
            settings = settings.tls_ca(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            settings = settings.tls_certificate(certificate.clone(), key.clone());
        }
        if let Some(name) = &self.tls_server_name {
            settings = settings.tls_server_name(name);
        }
        settings
    }

    fn with_keys(&self, layer: ConfiguredLayer) -> Result<ConfiguredLayer, Failure> {
        let Some(file) = &self.keys else { return Ok(layer) };
        let keys = read_keys(file)?;
        Ok(layer
            .map_config(|settings| settings.symmetric_encryption_keys(keys.iter().map(|key| key.as_bytes()))))
    }

    /// The servers that the command line names, or else the environment, unless the file names some.
    fn urls(&self) -> Result<Vec<String>, Failure> {
        if !self.redis.is_empty() {
            return Ok(self.redis.clone());
        }
        // What was written on the command line, as this file was, counts more than what happens to be in the environment.
        if self.config.as_deref().map(|file| self.names_servers(file)).transpose()?.unwrap_or(false) {
            return Ok(Vec::new());
        }
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(vec![url]),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::wrong_use(format!("{VARIABLE} is not UTF-8")))
            }
        }
    }

    /// Whether the layer in a file says where its servers are.
    fn names_servers(&self, file: &Path) -> Result<bool, Failure> {
        let document = parse(file)?;
        let alias = self.layer.as_deref().unwrap_or("default");
        let config = document.get(alias).and_then(|layer| layer.get("CONFIG")).unwrap_or(&document);
        Ok(SERVERS.iter().any(|option| config.get(option).is_some()))
    }

    fn read(&self, file: &Path, wanted: impl Fn(&str) -> bool) -> Result<ConfiguredLayer, Failure> {
        let refused = |why: &dyn std::fmt::Display| Failure::wrong_use(format!("{}: {why}", file.display()));
        let document = parse(file)?;
        // The whole document first, because an option that is not wanted may still be wrong.
        ChannelLayers::try_from(document.clone()).map_err(|error| refused(&error))?;
        let mut layers = ChannelLayers::try_from(only(document, &wanted)).map_err(|error| refused(&error))?;
        layers.take(self.layer.as_deref().unwrap_or("default")).map_err(|error| refused(&error))
    }
}

fn parse(file: &Path) -> Result<Value, Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::wrong_use(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| refused(&error))?;
    serde_json::from_str(&text).map_err(|error| refused(&error))
}

/// The lines of a file of keys, without the empty ones.
fn read_keys(file: &Path) -> Result<Vec<Zeroizing<String>>, Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::wrong_use(format!("{}: {why}", file.display()));
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| refused(&error))?);
    let lines = text.lines().filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(|line| Zeroizing::new(line.to_owned())).collect();
    if keys.is_empty() {
        return Err(refused(&"it has no key; write one on each line"));
    }
    Ok(keys)
}

/// The memory of this program ends with it, so that nothing but the demo has a use for it.
fn refuse_memory(backend: Backend) -> Result<(), Failure> {
    if backend == Backend::Memory {
        return Err(Failure::wrong_use(
            "memory:// is the memory of this program alone, where nobody else sends or receives; only `demo` runs on it",
        ));
    }
    Ok(())
}

/// The document with only the wanted options: of a bare CONFIG its own, else those in the CONFIG of each layer.
fn only(document: Value, wanted: &impl Fn(&str) -> bool) -> Value {
    let keep = |entries: Vec<(Value, Value)>| {
        entries.into_iter().filter(|(option, _)| option.as_str().is_some_and(wanted)).collect()
    };
    let is_layer = |value: &Value| value.get("BACKEND").is_some();
    match document {
        Value::Map(layers) if layers.iter().any(|(_, layer)| is_layer(layer)) => Value::Map(
            layers.into_iter().map(|(alias, layer)| (alias, only_in_config(layer, keep))).collect(),
        ),
        Value::Map(options) => Value::Map(keep(options)),
        other => other,
    }
}

fn only_in_config(layer: Value, keep: impl Fn(Vec<(Value, Value)>) -> Vec<(Value, Value)>) -> Value {
    let Value::Map(entries) = layer else { return layer };
    let entries = entries.into_iter().map(|(key, value)| match value {
        Value::Map(options) if key.as_str() == Some("CONFIG") => (key, Value::Map(keep(options))),
        other => (key, other),
    });
    Value::Map(entries.collect())
}

/// A whole number.
pub(crate) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "not a whole number, such as 0 or 100".to_owned())
}

/// Whether an option of a document is about TLS.
fn is_about_tls(option: &str) -> bool {
    option.starts_with("tls_") || option.starts_with("ssl_")
}

/// Whether a URL names a server with TLS.
fn has_tls(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    HAVE_TLS.iter().any(|scheme| url.starts_with(scheme))
}

/// A number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "not a number of seconds, such as 0.5 or 60".to_owned())
}
