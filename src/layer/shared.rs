//! Whoever holds a layer, owned or shared, has a layer: so `Arc<dyn ChannelLayer>` is one wherever a type is asked for.

use std::sync::Arc;
use std::time::Duration;

use super::{BoxFuture, ChannelLayer};
use crate::error::Result;
use crate::events::Events;
use crate::inbox::{Inbox, Mailbox};
use crate::layer::receipt::GroupReceipt;
use crate::layer::request::RequestStatistics;
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
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
            fn send_many_packed(
                &self,
                messages: Vec<(ChannelName, PackedMessage)>,
            ) -> BoxFuture<'_, Vec<Result<()>>> {
                (**self).send_many_packed(messages)
            }
            fn send_with_expiry_packed<'a>(
                &'a self,
                channel: &'a ChannelName,
                message: PackedMessage,
                expiry: Duration,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).send_with_expiry_packed(channel, message, expiry)
            }
            fn receive_delivery<'a>(
                &'a self,
                channels: &'a [ChannelName],
            ) -> BoxFuture<'a, Result<Delivery>> {
                (**self).receive_delivery(channels)
            }
            fn open_reply_mailbox(&self) -> BoxFuture<'_, Result<Mailbox>> {
                (**self).open_reply_mailbox()
            }
            fn events(&self) -> Events {
                (**self).events()
            }
            fn request_statistics(&self) -> RequestStatistics {
                (**self).request_statistics()
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
            fn open_inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>> {
                (**self).open_inbox(name)
            }
            fn group_add_packed<'a>(
                &'a self,
                group: &'a GroupName,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).group_add_packed(group, channel)
            }
            fn group_add_labelled_packed<'a>(
                &'a self,
                group: &'a GroupName,
                channel: &'a ChannelName,
                label: &'a Label,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).group_add_labelled_packed(group, channel, label)
            }
            fn group_add_many_packed<'a>(
                &'a self,
                groups: &'a [GroupName],
                channels: &'a [ChannelName],
            ) -> BoxFuture<'a, Result<()>> {
                (**self).group_add_many_packed(groups, channels)
            }
            fn group_discard_many_packed<'a>(
                &'a self,
                groups: &'a [GroupName],
                channels: &'a [ChannelName],
            ) -> BoxFuture<'a, Result<()>> {
                (**self).group_discard_many_packed(groups, channels)
            }
            fn group_discard_packed<'a>(
                &'a self,
                group: &'a GroupName,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<()>> {
                (**self).group_discard_packed(group, channel)
            }
            fn leave_groups_packed<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>> {
                (**self).leave_groups_packed(channel)
            }
            fn group_send_packed<'a>(
                &'a self,
                group: &'a GroupName,
                message: PackedMessage,
                name_full: bool,
            ) -> BoxFuture<'a, Result<GroupReceipt>> {
                (**self).group_send_packed(group, message, name_full)
            }
            fn group_channels_packed<'a>(
                &'a self,
                group: &'a GroupName,
            ) -> BoxFuture<'a, Result<Vec<ChannelName>>> {
                (**self).group_channels_packed(group)
            }
            fn group_members_packed<'a>(
                &'a self,
                group: &'a GroupName,
            ) -> BoxFuture<'a, Result<Vec<GroupMember>>> {
                (**self).group_members_packed(group)
            }
            fn group_len_packed<'a>(
                &'a self,
                group: &'a GroupName,
                enough: usize,
            ) -> BoxFuture<'a, Result<usize>> {
                (**self).group_len_packed(group, enough)
            }
            fn channel_groups_packed<'a>(
                &'a self,
                channel: &'a ChannelName,
            ) -> BoxFuture<'a, Result<Vec<GroupName>>> {
                (**self).channel_groups_packed(channel)
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
