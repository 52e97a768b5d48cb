//! Whoever holds a layer, owned or shared, has a layer: so `Arc<dyn ChannelLayer>` is one wherever a type is asked for.

use std::sync::Arc;

use super::{BoxFuture, ChannelLayer};
use crate::error::Result;
use crate::inbox::Inbox;
use crate::layer::receipt::GroupReceipt;
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};

macro_rules! forward {
    ($holder:ty) => {
        impl<L: ChannelLayer + ?Sized> ChannelLayer for $holder {
            fn send_packed<'a>(
                &'a self,
                channel: &'a ChannelName,
                message: PackedMessage,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).send_packed(channel, message)
            }
            fn receive_packed<'a>(
                &'a self,
                channels: &'a [ChannelName],
            ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>> {
                (**self).receive_packed(channels)
            }
            fn try_receive_packed<'a>(
                &'a self,
                channels: &'a [ChannelName],
            ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>> {
                (**self).try_receive_packed(channels)
            }
            fn new_channel(&self, pattern: &str) -> Result<ChannelName> {
                (**self).new_channel(pattern)
            }
            fn inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
                (**self).inbox(name)
            }
            fn add_to_group<'a>(
                &'a self,
                group: &'a GroupName,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).add_to_group(group, channel)
            }
            fn discard_from_group<'a>(
                &'a self,
                group: &'a GroupName,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).discard_from_group(group, channel)
            }
            fn leave_all_groups<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
                (**self).leave_all_groups(channel)
            }
            fn send_to_group_packed<'a>(
                &'a self,
                group: &'a GroupName,
                message: PackedMessage,
                name_full: bool,
            ) -> BoxFuture<'a, Result<GroupReceipt>> {
                (**self).send_to_group_packed(group, message, name_full)
            }
            fn channels_of_group<'a>(
                &'a self,
                group: &'a GroupName,
            ) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
                (**self).channels_of_group(group)
            }
            fn count_group<'a>(
                &'a self,
                group: &'a GroupName,
                enough: usize,
            ) -> BoxFuture<'a, Result<usize>> {
                (**self).count_group(group, enough)
            }
            fn groups_of_channel<'a>(
                &'a self,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<Vec<GroupName>>> {
                (**self).groups_of_channel(channel)
            }
            fn flush(&self) -> BoxFuture<'_, Result<()>> {
                (**self).flush()
            }
            fn close(&self) -> BoxFuture<'_, Result<()>> {
                (**self).close()
            }
        }
    };
}

forward!(Arc<L>);
forward!(Box<L>);
forward!(&L);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelLayerExt, MemoryLayer};

    async fn send_and_receive(layer: impl ChannelLayer) -> u64 {
        layer.send("numbers", &7).await.unwrap();
        layer.receive(["numbers"]).await.unwrap().1
    }

    #[tokio::test]
    async fn a_layer_is_a_type_parameter_and_a_shared_object() {
        let layer = MemoryLayer::builder().in_memory().unwrap();
        assert_eq!(send_and_receive(&layer).await, 7);
        assert_eq!(send_and_receive(Box::new(layer.clone())).await, 7);
        let shared: Arc<dyn ChannelLayer> = Arc::new(layer);
        assert_eq!(send_and_receive(Arc::clone(&shared)).await, 7);
        let both = crate::LocalAndRemote::new(Arc::clone(&shared), shared);
        assert_eq!(send_and_receive(both).await, 7);
    }
}
