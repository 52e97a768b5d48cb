//! Runs every test on the memory layer.

use std::sync::Arc;

use super::{Settings, Subject};
use crate::{BoxFuture, ChannelLayer, MemoryLayer, glob};

struct Memory;

impl Subject for Memory {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        let patterns = settings.channel_capacity.iter();
        let options = MemoryLayer::builder()
            .expiry(settings.expiry)
            .group_expiry(settings.group_expiry)
            .capacity(settings.capacity)
            .inbox_capacity(settings.capacity)
            .channel_capacity(patterns.map(|(pattern, capacity)| (glob(pattern), *capacity)))
            .max_message_size(settings.max_message_size);
        let layer = options.in_memory().unwrap();
        let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::with_capacity(clients);
        layers.resize_with(clients, || Arc::new(layer.another_client()));
        Box::pin(std::future::ready(layers))
    }
}

crate::conformance_tests!(Memory);
