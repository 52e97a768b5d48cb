//! The options of every command, and the layer that they and a configuration file describe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{
    Backend, ChannelLayer, ChannelLayers, ConfigBuilder, ConfiguredLayer, RedisChannelLayer, Value,
};
use clap::Args;
use zeroize::Zeroizing;

use super::outcome::Failure;

const VARIABLE: &str = "ASGI_REDIS_URL";

/// The options that name servers.
const SERVERS: [&str; 4] = ["hosts", "host", "port", "db"];

#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct LayerOptions {
    /// A server, such as redis://:password@host:6379/0 or unix:///path. Repeat the option for several servers. `demo` also
    /// takes memory://, which is no server. Defaults to ASGI_REDIS_URL, then to the servers of --config, then to
    /// redis://localhost:6379/0.
    #[arg(long, global = true, value_name = "URL")]
    redis: Vec<String>,

    /// A JSON file with a CHANNEL_LAYERS document or the CONFIG of one layer. Other options override it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The layer's alias in --config [default: default]
    #[arg(long, global = true, value_name = "ALIAS")]
    layer: Option<String>,

    /// What every key begins with [default: asgi:]
    #[arg(long, global = true)]
    prefix: Option<String>,

    /// How long a message waits to be received [default: 60]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    expiry: Option<Duration>,

    /// How many messages a channel holds; capacities by pattern in --config stay [default: 100]
    #[arg(long, global = true, value_name = "N")]
    capacity: Option<usize>,

    /// A file with encryption keys, one on each line: the first seals, all of them open. Overrides those of --config.
    #[arg(long, global = true, value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Print JSON instead of text.
    #[arg(long, global = true)]
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

    /// Connects to the servers of the layer; of a local and remote one to those that all machines share.
    pub(crate) async fn connect_servers(&self) -> Result<RedisChannelLayer, Failure> {
        let layer = self.settings(|_| true)?;
        refuse_memory(layer.backend())?;
        Ok(layer.config().connect().await?)
    }

    /// Connects a layer with the same settings to another server.
    pub(crate) async fn connect_to(&self, url: &str) -> Result<RedisChannelLayer, Failure> {
        let layer = self.settings(|option| !SERVERS.contains(&option))?;
        Ok(layer.into_config().hosts([url]).connect().await?)
    }

    /// Returns a layer of the servers that were named, without the other options; `None` if none were named.
    pub(crate) fn servers(&self) -> Result<Option<ConfiguredLayer>, Failure> {
        const REACHING: [&str; 2] = ["connect_timeout", "response_timeout"];
        if self.config.is_none() && self.urls()?.is_empty() {
            return Ok(None);
        }
        let reaching = |option: &str| SERVERS.contains(&option) || REACHING.contains(&option);
        self.settings(reaching).map(Some)
    }

    /// Returns the first given option that is about how messages are kept.
    pub(crate) fn keeping(&self) -> Option<&'static str> {
        let given = [
            ("--prefix", self.prefix.is_some()),
            ("--expiry", self.expiry.is_some()),
            ("--capacity", self.capacity.is_some()),
            ("--keys", self.keys.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Returns the layer: the wanted options of the file, overridden by those of the command line.
    fn settings(&self, wanted: impl Fn(&str) -> bool) -> Result<ConfiguredLayer, Failure> {
        let urls = self.urls()?;
        let layer = match &self.config {
            Some(file) => {
                self.read(file, |option| wanted(option) && (urls.is_empty() || !SERVERS.contains(&option)))?
            }
            None if self.layer.is_some() => {
                return Err(Failure::wrong_use(
                    "--layer names a layer of a file; give the file with --config",
                ));
            }
            None => ConfiguredLayer::new(ConfigBuilder::new()),
        };
        let keys = self.keys.as_deref().map(read_keys).transpose()?;
        Ok(layer.map_config(|mut settings| {
            if !urls.is_empty() {
                settings = settings.hosts(urls);
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
            if let Some(keys) = keys {
                settings = settings.symmetric_encryption_keys(keys.iter().map(|key| key.as_bytes()));
            }
            settings
        }))
    }

    fn urls(&self) -> Result<Vec<String>, Failure> {
        if !self.redis.is_empty() {
            return Ok(self.redis.clone());
        }
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(vec![url]),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::wrong_use(format!("{VARIABLE} is not UTF-8")))
            }
        }
    }

    fn read(&self, file: &Path, wanted: impl Fn(&str) -> bool) -> Result<ConfiguredLayer, Failure> {
        let refused = |why: &dyn std::fmt::Display| Failure::wrong_use(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| refused(&error))?;
        let document: Value = serde_json::from_str(&text).map_err(|error| refused(&error))?;
        // The whole document first, because an option that is not wanted may still be wrong.
        ChannelLayers::try_from(document.clone()).map_err(|error| refused(&error))?;
        let mut layers = ChannelLayers::try_from(only(document, &wanted)).map_err(|error| refused(&error))?;
        layers.take(self.layer.as_deref().unwrap_or("default")).map_err(|error| refused(&error))
    }
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

/// A number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "not a number of seconds".to_owned())
}
