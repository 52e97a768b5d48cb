//! A `CHANNEL_LAYERS` document, as Django projects have one: aliases, and for each the layer and its settings.

use serde::{Deserialize, Deserializer};

use crate::config::ConfigBuilder;
use crate::error::{Error, Result};
use crate::options::{OPTIONS, entries};
use crate::value::Value;

const DEFAULT_ALIAS: &str = "default";

/// The layers that a `CHANNEL_LAYERS` document names, by their aliases.
///
/// The document maps each alias to `BACKEND`, the layer's class in asgi_redis; `CONFIG`, its settings, see
/// [`ConfigBuilder`]; and `ROUTING`, which says what consumes the messages of a Django project and is ignored here.
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

/// One layer of a `CHANNEL_LAYERS` document.
#[derive(Clone, Debug)]
pub struct ConfiguredLayer {
    backend: Backend,
    config: ConfigBuilder,
}

/// The layers that a document can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// `asgi_redis.RedisChannelLayer`: all messages go through Redis.
    Redis,
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

    /// Takes the layer of an alias out.
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
    /// Which layer it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Its settings, not yet checked.
    pub fn config(&self) -> &ConfigBuilder {
        &self.config
    }

    /// Its settings, not yet checked.
    pub fn into_config(self) -> ConfigBuilder {
        self.config
    }
}

impl<'de> Deserialize<'de> for ChannelLayers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Reads the layers from a document that was read already.
impl TryFrom<Value> for ChannelLayers {
    type Error = Error;

    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) for an unknown backend, key or option, and for a value of another type.
    fn try_from(document: Value) -> Result<Self> {
        let aliases = entries(&document, "CHANNEL_LAYERS")?;
        if aliases.is_empty() || aliases.iter().any(|(key, _)| OPTIONS.contains(key)) {
            let layer = ConfiguredLayer { backend: Backend::Redis, config: document.try_into()? };
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
    let (mut backend, mut config) = (None, ConfigBuilder::new());
    for (key, value) in entries(layer, what)? {
        match key {
            "BACKEND" => backend = Some(read_backend(what, value)?),
            "ROUTING" => {}
            "CONFIG" => {
                config =
                    value.clone().try_into().map_err(|error| Error::config(format!("{what}: {error}")))?;
            }
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
    Ok(ConfiguredLayer { backend, config })
}

fn read_backend(what: &str, value: &Value) -> Result<Backend> {
    match value.as_str() {
        Some("asgi_redis.RedisChannelLayer") => Ok(Backend::Redis),
        Some(known @ ("asgi_redis.RedisLocalChannelLayer" | "asgi_redis.RedisSentinelChannelLayer")) => {
            Err(Error::config(format!(
                "{what}: BACKEND \"{known}\" is not supported yet, only \"asgi_redis.RedisChannelLayer\""
            )))
        }
        _ => Err(Error::config(format!(
            "{what}: BACKEND {value} is unknown; known is \"asgi_redis.RedisChannelLayer\""
        ))),
    }
}
