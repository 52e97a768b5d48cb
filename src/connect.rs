//! A configured layer becomes a layer: the one place that knows every kind of them.

use std::sync::Arc;

use crate::config::ConfigBuilder;
use crate::config::channel_layers::{Backend, ConfiguredLayer};
use crate::error::Result;
use crate::layer::ChannelLayer;
use crate::local_and_remote::LocalAndRemote;

impl ConfiguredLayer {
    /// Checks the settings, and connects or makes the layer.
    ///
    /// # Errors
    ///
    /// As [`ConfigBuilder::build`] and [`RedisChannelLayer::connect`](crate::RedisChannelLayer::connect).
    ///
    /// # Cancel safety
    ///
    /// A dropped connect leaves nothing behind.
    pub async fn connect(&self) -> Result<Arc<dyn ChannelLayer>> {
        match self.local_config() {
            None if self.backend() == Backend::Memory => Ok(Arc::new(self.config().in_memory()?)),
            None => connect(self.config()).await,
            Some(local) => {
                let local = connect(&local).await?;
                let remote = connect(self.config()).await?;
                Ok(Arc::new(LocalAndRemote::new(local, remote)))
            }
        }
    }
}

async fn connect(config: &ConfigBuilder) -> Result<Arc<dyn ChannelLayer>> {
    if config.names_memory() {
        return Ok(Arc::new(config.in_memory()?));
    }
    Ok(Arc::new(config.connect().await?))
}
