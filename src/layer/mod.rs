//! What every channel layer promises, whatever carries its messages.
//!
//! [`ChannelLayer`] is the contract, in terms of packed messages, and can be used as a shared object
//! (`Arc<dyn ChannelLayer>`). [`ChannelLayerExt`] adds the same operations for any serde type to every layer, and
//! [`shared`] makes layers of shared ones.

mod channel_names;
mod ext;
pub(crate) mod own_inboxes;
pub(crate) mod receipt;
mod received;
pub(crate) mod refusals;
pub(crate) mod replies;
pub(crate) mod request;
mod shared;
pub(crate) mod sources;
mod typed;
mod until_accepted;

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;

pub use self::channel_names::ChannelNames;
pub use self::ext::ChannelLayerExt;
use crate::error::Result;
use crate::events::Events;
use crate::inbox::{Inbox, Mailbox};
use crate::layer::receipt::GroupReceipt;
use crate::layer::replies::REPLY_INBOX;
use crate::layer::request::RequestStatistics;
use crate::member::{GroupMember, Label};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::name::{ChannelName, GroupName};

/// A boxed future, as the methods of [`ChannelLayer`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A channel layer: messages are sent to names and received by names.
///
/// The rules are those of the channel layer specification ("ASGI", version 1.0, and today's Django Channels):
///
/// - A message is delivered at most once, to one receiver ("Messages").
/// - A channel holds at most its capacity of live messages; more are refused ("Capacity").
/// - A message that nobody took in time expires; it is never delivered afterwards ("Messages").
/// - Messages of one sender, that awaits each send, to a `?` or `!` channel arrive in order ("Ordering").
/// - Dropping a receive that has not returned loses, repeats and reorders nothing. The specification does not ask for it;
///   this crate promises it.
/// - A message to a group reaches each channel that is in it at that moment once, if it has room; it never fails for one
///   that is full ("Groups").
///
/// Every method may be called any number of times at once. Most programs call the methods of [`ChannelLayerExt`],
/// which take and give any serde type.
pub trait ChannelLayer: Send + Sync {
    /// Sends a message; it waits in the channel's queue until it is received or expires ("Messages"). It never waits for
    /// room: a full channel refuses it at once ("Capacity").
    ///
    /// # Errors
    ///
    /// - [`ChannelFull`](crate::ErrorKind::ChannelFull): as many live messages wait as the channel's capacity.
    /// - [`MessageTooLarge`](crate::ErrorKind::MessageTooLarge): it is larger than the layer carries.
    /// - [`InvalidName`](crate::ErrorKind::InvalidName): the name is an inbox's; send to an address in it.
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): ask
    ///   [`Error::perhaps_sent`](crate::Error::perhaps_sent) whether the message may have arrived.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped send has either sent the message or not; it never sends it twice.
    fn send_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
    ) -> BoxFuture<'a, Result<()>>;

    /// Sends a message that expires after a time of its own, in place of the layer's `expiry`: 1 ms to ten years. The default of a
    /// layer of one's own is [`send_packed`](Self::send_packed), which does not know it.
    ///
    /// # Errors
    ///
    /// As [`send_packed`](Self::send_packed); also [`Config`](crate::ErrorKind::Config) for another time.
    ///
    /// # Cancel safety
    ///
    /// As [`send_packed`](Self::send_packed).
    fn send_with_expiry_packed<'a>(
        &'a self,
        channel: &'a ChannelName,
        message: PackedMessage,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        let _ = expiry;
        self.send_packed(channel, message)
    }

    /// Sends some messages, each as [`send_packed`](Self::send_packed) sends one, and returns what became of each, in their order. One
    /// that is refused keeps no other from being sent. Those for one server share calls, up to 128 messages or 1 MiB each, and
    /// keep their order within a call. The default sends all at once.
    ///
    /// # Errors
    ///
    /// Each is as of [`send_packed`](Self::send_packed).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has sent some, all or none; it sends none of them twice.
    fn send_many_packed(
        &self,
        messages: Vec<(ChannelName, PackedMessage)>,
    ) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move {
            let sends = messages.iter().map(|(channel, message)| self.send_packed(channel, message.clone()));
            join_all(sends).await
        })
    }

    /// Waits for the next message on any of some channels, which are looked at in turn so that a busy one does not
    /// starve the others ("Messages", on fairness).
    ///
    /// It waits through outages, for as long as it takes; see
    /// [`receive_timeout`](ChannelLayerExt::receive_timeout).
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](crate::ErrorKind::InvalidName): no channel is named, more than the layer's limit, an address
    ///   inside an inbox, or an inbox that this process did not open. An inbox that it did open gives the messages for
    ///   which it has no mailbox, under their full names; see [`Inbox::next`].
    /// - [`AlreadyReceiving`](crate::ErrorKind::AlreadyReceiving): another receive of this process waits on the same `?`
    ///   channel; such a channel has a single reader.
    /// - [`Decode`](crate::ErrorKind::Decode): what waited was no message. It is taken, and the next receive goes on.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message that the dropped future had been given, but had not returned, goes to the next receiver
    /// or back to its place in the queue.
    fn receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<(ChannelName, PackedMessage)>>;

    /// Takes a message that waits on any of some channels, without waiting for one (`receive` with `block` false, in
    /// version 1.0).
    ///
    /// # Errors
    ///
    /// As [`receive_packed`](Self::receive_packed), and [`Connection`](crate::ErrorKind::Connection) while no server can be
    /// asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive_packed`](Self::receive_packed).
    fn try_receive_packed<'a>(
        &'a self,
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<Option<(ChannelName, PackedMessage)>>>;

    /// As [`receive_packed`](Self::receive_packed), with the time that the message has left. The first such call costs one round
    /// trip to each server, and from then on one in a third of `lease`, for its time. The default, of a layer of one's
    /// own, does not know that time.
    ///
    /// # Errors
    ///
    /// As [`receive_packed`](Self::receive_packed).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive_packed`](Self::receive_packed).
    fn receive_delivery<'a>(&'a self, channels: &'a [ChannelName]) -> BoxFuture<'a, Result<Delivery>> {
        Box::pin(async move {
            let (channel, message) = self.receive_packed(channels).await?;
            Ok(Delivery::new(channel, message))
        })
    }

    /// Opens a mailbox for the reply to one [`request`](ChannelLayerExt::request). The layers of this crate keep one inbox for
    /// all of them, which the first call opens; the default, of a layer of one's own, opens one each time.
    ///
    /// # Errors
    ///
    /// As [`open_inbox`](Self::open_inbox).
    ///
    /// # Cancel safety
    ///
    /// As [`open_inbox`](Self::open_inbox).
    fn open_reply_mailbox(&self) -> BoxFuture<'_, Result<Mailbox>> {
        Box::pin(async move { self.open_inbox(REPLY_INBOX).await?.open_mailbox() })
    }

    /// Returns what happens to this layer from now on: servers that are lost and come back, data that are lost, mailboxes that are
    /// full. The stream ends when the layer is closed, keeps the last 256 events for a listener that is slow, and counts what it
    /// dropped. It costs the server nothing. The default, of a layer of one's own, has no events.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    /// use asgi_redis::Event;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().capacity(1).in_memory()?;
    /// let mut events = layer.events();
    /// let inbox = layer.open_inbox("chat").await?;
    /// let slow = inbox.open_mailbox()?;
    /// layer.send(slow.name(), 1).await?;
    /// let Some(Event::MailboxFull { mailbox, .. }) = events.next().await else { panic!("it is full") };
    /// assert_eq!(&mailbox, slow.name());
    /// # Ok(())
    /// # }
    /// ```
    fn events(&self) -> Events {
        Events::none()
    }

    /// Counts the requests of this layer, and replies that came too late. The default, of a layer of one's own, has nothing to
    /// count.
    fn request_statistics(&self) -> RequestStatistics {
        RequestStatistics::default()
    }

    /// Makes a new single-reader channel: the pattern, which ends in `?`, and 128 random bits, so that no other has the
    /// name ("new_channel"). Costs nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName): the pattern does not end in `?`, or is too long. One that ends in `!`
    /// names an inbox, which is opened and not named.
    fn new_channel(&self, pattern: &str) -> Result<ChannelName> {
        ChannelName::random(pattern)
    }

    /// Opens an inbox: a prefix of channels that only this process reads. Its name is the given one, a dot, random letters
    /// and `!`, checked to be nobody else's ("Channels", on process-specific channels).
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](crate::ErrorKind::InvalidName): the name has a mark, or more than 70 bytes.
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): it may be called again.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves at most a name on the server, for as long as `membership_lease` and an hour.
    fn open_inbox<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Inbox>>;

    /// Adds a channel to a group, or renews its membership, which ends `group_expiry` after the last time it was added
    /// ("Groups"). The channel may be of any kind, and any process may add it. When this returns, it gets what is sent
    /// to the group from now on.
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](crate::ErrorKind::InvalidName): the name is an inbox's; add an address in it.
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): it may be called again.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has added the channel or not; adding it again does no harm.
    fn group_add_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>>;

    /// Adds a channel to a group with a label, such as the id of a user, which
    /// [`group_members_packed`](Self::group_members_packed) lists: a promise of this crate alone. Otherwise as
    /// [`group_add_packed`](Self::group_add_packed).
    ///
    /// The last call counts, for the time and for the label: to add a member again with another label changes it, and without one
    /// takes it away.
    ///
    /// # Errors
    ///
    /// As [`group_add_packed`](Self::group_add_packed).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has added the channel with its label or not; adding it again does no harm.
    fn group_add_labelled_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
        label: &'a Label,
    ) -> BoxFuture<'a, Result<()>>;

    /// Adds each of some channels to each of some groups, in order, as [`group_add_packed`](Self::group_add_packed) adds
    /// one. What belongs to one inbox shares calls, some 128 memberships each, which come one after another.
    ///
    /// # Errors
    ///
    /// As [`group_add_packed`](Self::group_add_packed): the first error. Others may have been added; calling it again does no
    /// harm.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has added some, all or none; adding them again does no harm.
    fn group_add_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for group in groups {
                for channel in channels {
                    self.group_add_packed(group, channel).await?;
                }
            }
            Ok(())
        })
    }

    /// Takes a channel out of a group; one that is not in it is no error ("Groups").
    ///
    /// # Errors
    ///
    /// As [`group_add_packed`](Self::group_add_packed).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has taken it out or not; doing it again does no harm.
    fn group_discard_packed<'a>(
        &'a self,
        group: &'a GroupName,
        channel: &'a ChannelName,
    ) -> BoxFuture<'a, Result<()>>;

    /// Takes each of some channels out of each of some groups, as [`group_discard_packed`](Self::group_discard_packed) takes
    /// out one. Calls are shared as in [`group_add_many_packed`](Self::group_add_many_packed).
    ///
    /// # Errors
    ///
    /// As [`group_add_many_packed`](Self::group_add_many_packed).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has taken out some, all or none; doing it again does no harm.
    fn group_discard_many_packed<'a>(
        &'a self,
        groups: &'a [GroupName],
        channels: &'a [ChannelName],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for group in groups {
                for channel in channels {
                    self.group_discard_packed(group, channel).await?;
                }
            }
            Ok(())
        })
    }

    /// Takes a channel out of all its groups, as a closed socket leaves them ("Groups", on what may be dropped). One round
    /// trip for each 200 groups of its inbox.
    ///
    /// # Errors
    ///
    /// As [`group_add_packed`](Self::group_add_packed).
    ///
    /// # Cancel safety
    ///
    /// A dropped call has taken it out of a part of them; doing it again does no harm.
    fn leave_groups_packed<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, Result<()>>;

    /// Sends a message to all channels that are in a group at that moment ("Groups"). A full channel does not get it,
    /// which the receipt tells, with the names of the full ones if `name_full`.
    ///
    /// # Errors
    ///
    /// Never [`ChannelFull`](crate::ErrorKind::ChannelFull).
    ///
    /// - [`MessageTooLarge`](crate::ErrorKind::MessageTooLarge): it is larger than the layer carries.
    /// - [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): ask
    ///   [`Error::perhaps_sent`](crate::Error::perhaps_sent) whether some may have got it.
    /// - [`Closed`](crate::ErrorKind::Closed): the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped send has reached all, some or none; it never reaches anyone twice.
    fn group_send_packed<'a>(
        &'a self,
        group: &'a GroupName,
        message: PackedMessage,
        name_full: bool,
    ) -> BoxFuture<'a, Result<GroupReceipt>>;

    /// Lists the channels in a group, each once, in no order ("group_channels" of version 1.0). One round trip for each 1,000; who joins or leaves meanwhile
    /// may be listed or not.
    ///
    /// # Errors
    ///
    /// [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout), [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    fn group_channels_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<ChannelName>>>;

    /// Lists the channels in a group with their labels, each once, in no order: a promise of this crate alone. One round trip for
    /// each 1,000; who joins or leaves meanwhile may be listed or not.
    ///
    /// # Errors
    ///
    /// As [`group_channels_packed`](Self::group_channels_packed).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    fn group_members_packed<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Vec<GroupMember>>>;

    /// Counts the channels in a group, but not beyond `enough`: a promise of this crate alone. Its cost grows with the processes in the group, not with
    /// the channels: one round trip for each 1,000 queues.
    ///
    /// # Errors
    ///
    /// As [`group_channels_packed`](Self::group_channels_packed).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    fn group_len_packed<'a>(&'a self, group: &'a GroupName, enough: usize) -> BoxFuture<'a, Result<usize>>;

    /// Lists the groups that a channel is in: a promise of this crate alone. One round trip for each 1,000 groups of its inbox.
    ///
    /// # Errors
    ///
    /// As [`group_add_packed`](Self::group_add_packed).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing, so dropping it does not either.
    fn channel_groups_packed<'a>(&'a self, channel: &'a ChannelName)
    -> BoxFuture<'a, Result<Vec<GroupName>>>;

    /// Removes all messages and groups, in bounded steps. Receives that wait go on waiting and get what is sent
    /// afterwards ("flush" extension).
    ///
    /// # Errors
    ///
    /// [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): some may be left; call it again.
    ///
    /// # Cancel safety
    ///
    /// A dropped flush has removed a part; calling it again removes the rest.
    fn flush(&self) -> BoxFuture<'_, Result<()>>;

    /// Ends the layer, which is a promise of this crate alone: what was taken and not returned to a caller goes back, waiting receives end with
    /// [`Closed`](crate::ErrorKind::Closed), and so does every later call. Closing again does nothing.
    ///
    /// # Errors
    ///
    /// [`Connection`](crate::ErrorKind::Connection), [`Timeout`](crate::ErrorKind::Timeout): a server could not be told, so what
    /// it had given to this process stays there until it expires.
    ///
    /// # Cancel safety
    ///
    /// Once called, closing goes on in the background even if the future is dropped.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}
