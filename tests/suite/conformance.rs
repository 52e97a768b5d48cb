//! Every requirement of a channel layer, on each of the layers.

use std::sync::Arc;

use asgi_redis::conformance::{Settings, Subject};
use asgi_redis::{BoxFuture, ChannelLayer, ConfigBuilder, glob};

use crate::support::{Server, unique_prefix};

/// The Redis layer on some servers, which the test holds.
struct OnRedis(Vec<Arc<Server>>);

impl Subject for OnRedis {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        Box::pin(async move {
            let patterns = settings.channel_capacity.iter();
            let options = ConfigBuilder::new()
                .hosts(self.0.iter().map(|server| server.url()))
                .prefix(unique_prefix("conformance"))
                .expiry(settings.expiry)
                .group_expiry(settings.group_expiry)
                .capacity(settings.capacity)
                .channel_capacity(patterns.map(|(pattern, capacity)| (glob(pattern), *capacity)))
                .max_message_size(settings.max_message_size);
            let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::new();
            for _ in 0..clients {
                layers.push(Arc::new(options.connect().await.unwrap()));
            }
            layers
        })
    }

    fn may_exceed_capacity_while_receiving(&self) -> bool {
        self.0.len() > 1
    }
}

mod one_redis {
    use super::{OnRedis, Server};

    asgi_redis::conformance_tests!(OnRedis(vec![Server::shared()]));
}

mod three_redis {
    use super::{OnRedis, Server};

    asgi_redis::conformance_tests!(OnRedis(Server::shared_three().to_vec()));
}
