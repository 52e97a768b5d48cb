//! A `CHANNEL_LAYERS` document, as Django projects have one: aliases, and for each the layer and its settings. A document
//! or a URL becomes the layer that it names.

use serde::{Deserialize, Deserializer};

use super::builder::ConfigBuilder;
use super::host::{HostSpec, MEMORY};
use super::options::{OPTIONS, entries, host};
use crate::error::{Error, ErrorKind, Result};
use crate::message::value::Value;

const DEFAULT_ALIAS: &str = "default";

/// What a layer has in a document.
const LAYER_KEYS: [&str; 3] = ["BACKEND", "ROUTING", "CONFIG"];

/// The layers that a `CHANNEL_LAYERS` document names, by their aliases.
///
/// The document maps each alias to `BACKEND`, the layer's class in Python, see [`Backend`]; `CONFIG`, its settings, see
/// [`ConfigBuilder`]; and `ROUTING`, which names the consumers of a Django project and is ignored here.
/// It deserialises from any serde format. A bare `CONFIG` is taken as that of the alias `default`.
///
/// Deserialise from text: formats' own in-memory types may forget the order of `channel_capacity`.
///
/// ```
/// use asgi_redis::ChannelLayers;
///
/// let mut layers: ChannelLayers = serde_json::from_str(
///     r#"{
///         "default": {
///             "BACKEND": "asgi_redis.RedisChannelLayer",
///             "ROUTING": "my_project.routing.channel_routing",
///             "CONFIG": {"hosts": ["redis://:password@127.0.0.1:6379/0"]}
///         }
///     }"#,
/// )?;
/// let config = layers.take("default")?.into_config().build()?;
/// assert_eq!(config.hosts()[0].to_string(), "redis://***@127.0.0.1:6379/0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChannelLayers(Vec<(String, ConfiguredLayer)>);

/// One layer: which it is, and its settings, as a document or a URL has them.
///
/// ```
/// use asgi_redis::ConfiguredLayer;
/// use asgi_redis::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> asgi_redis::Result<()> {
/// let url = "memory://"; // or redis://..., from the environment for example
/// let layer = ConfiguredLayer::from_url(url).connect().await?;
/// layer.send("greetings", &Value::map([("text", "hi")])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConfiguredLayer {
    backend: Backend,
    config: ConfigBuilder,
    /// The server on which a local and remote layer keeps its normal channels.
    local: Option<HostSpec>,
}

/// The layers that a document can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// `asgi_redis.RedisChannelLayer`: all messages go through Redis.
    Redis,
    /// `asgi_redis.RedisLocalChannelLayer`: normal channels stay on this machine, see [`LocalAndRemote`](crate::LocalAndRemote). Its `CONFIG` may
    /// have one option more, `local`: the URL of a server of this machine that keeps them, best
    /// `unix:///path`, or `memory://`, this process alone, which is the default.
    RedisLocal,
    /// `asgiref.inmemory.ChannelLayer`, `channels.layers.InMemoryChannelLayer`, or any document whose one host is
    /// `memory://`: a [`MemoryLayer`](crate::MemoryLayer).
    Memory,
}

impl Backend {
    const KNOWN: [(&str, Self); 4] = [
        ("asgi_redis.RedisChannelLayer", Self::Redis),
        ("asgi_redis.RedisLocalChannelLayer", Self::RedisLocal),
        ("asgiref.inmemory.ChannelLayer", Self::Memory),
        ("channels.layers.InMemoryChannelLayer", Self::Memory),
    ];
}

impl ChannelLayers {
    /// The aliases, in the order of the document.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(alias, _)| alias.as_str())
    }

    /// The layer of an alias.
    pub fn get(&self, alias: &str) -> Option<&ConfiguredLayer> {
        self.0.iter().find(|(known, _)| known == alias).map(|(_, layer)| layer)
    }

    /// Removes the layer of an alias, and returns it.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) for an alias that is not there, naming those that are.
    pub fn take(&mut self, alias: &str) -> Result<ConfiguredLayer> {
        match self.0.iter().position(|(known, _)| known == alias) {
            Some(index) => Ok(self.0.remove(index).1),
            None => {
                let known = self.aliases().collect::<Vec<_>>().join("`, `");
                Err(Error::config(format!("CHANNEL_LAYERS has no layer {alias:?}; it has `{known}`")))
            }
        }
    }
}

impl ConfiguredLayer {
    /// A layer with these settings: in memory if its one host is `memory://`, else on Redis.
    pub fn new(config: ConfigBuilder) -> Self {
        Self { backend: Backend::Redis, config, local: None }
    }

    /// A layer with the default options on one server, on several, separated by commas, or in memory: `memory://`.
    pub fn from_url(url: &str) -> Self {
        Self::new(ConfigBuilder::new().hosts(url))
    }

    /// Which layer it is.
    pub fn backend(&self) -> Backend {
        match self.backend {
            Backend::Redis if self.config.names_memory() => Backend::Memory,
            backend => backend,
        }
    }

    /// Its settings, not yet checked. Those of a local and remote layer are the settings of both halves, and the hosts
    /// are those of the remote one.
    pub fn config(&self) -> &ConfigBuilder {
        &self.config
    }

    /// Its settings, not yet checked, as [`config`](Self::config).
    pub fn into_config(self) -> ConfigBuilder {
        self.config
    }

    /// The same layer with other settings.
    #[must_use]
    pub fn map_config(self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self { config: change(self.config), ..self }
    }

    /// The local half of a local and remote layer, which keeps the normal channels; `None` of any other layer.
    pub fn local_half(&self) -> Option<Self> {
        self.local_config().map(Self::new)
    }

    /// The settings of the local half; `None` unless this is a local and remote layer.
    pub(crate) fn local_config(&self) -> Option<ConfigBuilder> {
        let local = || self.local.clone().unwrap_or_else(|| MEMORY.into());
        (self.backend == Backend::RedisLocal).then(|| self.config.without_hosts().hosts([local()]))
    }
}

impl<'de> Deserialize<'de> for ChannelLayers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Reads the layers from a parsed document.
impl TryFrom<Value> for ChannelLayers {
    type Error = Error;

    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) for an unknown key or option, and for a value of another type;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a backend that this crate does not have.
    fn try_from(document: Value) -> Result<Self> {
        let aliases = entries(&document, "CHANNEL_LAYERS")?;
        let is_layer = |(key, value): &(&str, &Value)| {
            *key == DEFAULT_ALIAS || LAYER_KEYS.iter().any(|key| value.get(key).is_some())
        };
        // Without any layer it is a bare CONFIG, whose options may be misspelt.
        if let [("CHANNEL_LAYERS", inner)] = aliases[..] {
            return inner.clone().try_into();
        }
        if aliases.iter().any(is_layer)
            && let Some((key, _)) =
                aliases.iter().find(|(key, value)| *key != DEFAULT_ALIAS && value.as_map().is_none())
        {
            return Err(Error::config(format!(
                "CHANNEL_LAYERS[{key:?}] is no layer; an option belongs into the CONFIG of a layer, as in \
                 {{\"default\": {{\"BACKEND\": ..., \"CONFIG\": {{{key:?}: ...}}}}}}"
            )));
        }
        if aliases.iter().any(|(key, _)| OPTIONS.contains(key)) || !aliases.iter().any(is_layer) {
            let layer = ConfiguredLayer::new(document.try_into()?);
            return Ok(Self(vec![(DEFAULT_ALIAS.to_owned(), layer)]));
        }
        let layers = aliases.into_iter().map(|(alias, layer)| {
            let what = format!("CHANNEL_LAYERS[{alias:?}]");
            Ok((alias.to_owned(), read_layer(&what, layer)?))
        });
        Ok(Self(layers.collect::<Result<_>>()?))
    }
}

fn read_layer(what: &str, layer: &Value) -> Result<ConfiguredLayer> {
    let (mut backend, mut config) = (None, Value::Map(Vec::new()));
    for (key, value) in entries(layer, what)? {
        match key {
            "BACKEND" => backend = Some(read_backend(what, value)?),
            "ROUTING" => {}
            "CONFIG" => config = value.clone(),
            unknown => {
                return Err(Error::config(format!(
                    "{what}: unknown key {unknown:?}; the keys are `BACKEND`, `ROUTING` and `CONFIG`"
                )));
            }
        }
    }
    let backend = backend.ok_or_else(|| {
        Error::config(format!("{what}: BACKEND is missing; write \"asgi_redis.RedisChannelLayer\""))
    })?;
    let in_this = |error: Error| Error::config(format!("{what}: {error}"));
    let local = if backend == Backend::RedisLocal { take_local(&mut config).map_err(in_this)? } else { None };
    Ok(ConfiguredLayer { backend, config: config.try_into().map_err(in_this)?, local })
}

/// Removes the option that only a local and remote layer has, and returns it.
fn take_local(config: &mut Value) -> Result<Option<HostSpec>> {
    let Value::Map(options) = config else { return Ok(None) };
    match options.iter().position(|(option, _)| option.as_str() == Some("local")) {
        Some(place) => host("local", &options.remove(place).1).map(Some),
        None => Ok(None),
    }
}

fn read_backend(what: &str, value: &Value) -> Result<Backend> {
    if let Some((_, backend)) = Backend::KNOWN.iter().find(|(name, _)| value.as_str() == Some(name)) {
        return Ok(*backend);
    }
    let unsupported = |text: String| Error::new(ErrorKind::Unsupported, text);
    let known = Backend::KNOWN.map(|(name, _)| name).join("\", \"");
    Err(match value.as_str() {
        None => Error::config(format!("{what}: BACKEND {value} is no text; known are \"{known}\"")),
        Some("asgi_redis.RedisSentinelChannelLayer") => {
            unsupported(format!("{what}: BACKEND {value} is not supported yet; known are \"{known}\""))
        }
        Some(_) => unsupported(format!("{what}: BACKEND {value} is unknown; known are \"{known}\"")),
    })
}
