//! The layer that an example runs on: that of the URL in `ASGI_REDIS_URL`, which may be `memory://`; else the Redis at
//! `redis://127.0.0.1:6379/0`, if one answers; else the memory of this process, which it then says.

use std::sync::Arc;

use asgi_redis::{ChannelLayer, ConfigBuilder, ConfiguredLayer, ErrorKind, Result};

const VARIABLE: &str = "ASGI_REDIS_URL";
const USUAL: &str = "redis://127.0.0.1:6379/0";

/// Connects, with options of the example's own.
pub(crate) async fn connect(
    options: impl Fn(ConfigBuilder) -> ConfigBuilder,
) -> Result<Arc<dyn ChannelLayer>> {
    let layer = |url: &str| ConfiguredLayer::from_url(url).map_config(&options);
    if let Ok(url) = std::env::var(VARIABLE) {
        return layer(&url).connect().await;
    }
    match layer(USUAL).connect().await {
        Err(error) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) => {
            eprintln!(
                "no Redis at {USUAL}, and {VARIABLE} is not set: this runs in the memory of this process alone"
            );
            layer("memory://").connect().await
        }
        connected => connected,
    }
}
