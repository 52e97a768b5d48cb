//! Inboxes: the channels of one process, and the mailboxes in them.
//!
//! [`Inbox`] and [`Mailbox`] are what a program holds; [`mailboxes`] is what they share with the task that reads the
//! inbox, [`slot`] what waits in one mailbox, and [`fan_out`] gives a group's message to all its members here.
//! [`shared_mailbox`] is a mailbox for several readers. A layer makes an inbox by [`Inbox::new`] and posts to its mailboxes.

mod fan_out;
mod mailboxes;
pub(crate) mod shared_mailbox;
mod slot;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::de::DeserializeOwned;

pub(crate) use self::fan_out::{Recipient, fan_out, fan_out_at_once};
pub use self::mailboxes::InboxStatistics;
pub(crate) use self::mailboxes::{Changes, Mailboxes, closed};
pub(crate) use self::slot::Slot;
use self::slot::Waiting;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::message::delivery::Delivery;
use crate::message::request::Request;
use crate::name::{ChannelName, random_text};

/// The random letters that make an inbox's name its own, and those of an address in it.
const INBOX_LETTERS: usize = 16;
const ADDRESS_LETTERS: usize = 12;

/// A new name for an inbox: the given one, a dot, random letters, and `!`.
pub(crate) fn new_inbox_name(name: &str) -> Result<ChannelName> {
    let refused =
        |why: &str| Err(Error::new(ErrorKind::InvalidName, format!("invalid inbox name {name:?}: {why}")));
    if name.contains(['?', '!']) {
        return refused(
            "it has a mark; give the name without one, the layer adds the process's part and the `!`",
        );
    }
    const LONGEST: usize = 100 - 1 - INBOX_LETTERS - 1 - ADDRESS_LETTERS;
    if name.len() > LONGEST {
        return refused(&format!(
            "it has {} bytes, at most {LONGEST} are allowed, so that the names in it have no more than 100",
            name.len()
        ));
    }
    // The name alone is checked first, for an error that names what the caller wrote.
    ChannelName::new(name)?;
    ChannelName::new(&format!("{name}.{}!", random_text(INBOX_LETTERS)?))
}

/// A process's own prefix of channels, ending in `!`. [`ChannelLayer::open_inbox`](crate::ChannelLayer::open_inbox) opens one.
///
/// One task reads it, in batches, and gives each message to the [`Mailbox`] it is for. Other processes send to a
/// mailbox by its name, and add it to groups.
///
/// Nothing is read before a mailbox was opened or [`next`](Self::next) was called; what comes meanwhile waits. From then
/// on messages for addresses without a mailbox are dropped and counted, or, once `next` was called, kept for it.
///
/// Clones share one inbox. When all of them and all mailboxes are dropped, the inbox ends: its mailboxes leave their
/// groups, in the background. The inbox keeps the layer's connection open until then.
///
/// # Cost
///
/// Reading is one command for each batch, up to 200 messages, and it acknowledges the batch before; while nothing comes,
/// it is one command in a third of the lease and one in a third of `membership_lease`. A mailbox costs the server nothing.
#[derive(Clone)]
pub struct Inbox {
    handle: Arc<Handle>,
}

/// What the handles of an inbox share; the inbox ends when it is dropped.
struct Handle {
    mailboxes: Arc<Mailboxes>,
    config: Config,
    /// Keeps the layer's connections.
    _layer: Arc<dyn Any + Send + Sync>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailboxes.close();
    }
}

impl Inbox {
    pub(crate) fn new(mailboxes: Arc<Mailboxes>, config: Config, layer: Arc<dyn Any + Send + Sync>) -> Self {
        Self { handle: Arc::new(Handle { mailboxes, config, _layer: layer }) }
    }

    /// Its name, which ends in `!`.
    pub fn name(&self) -> &ChannelName {
        self.handle.mailboxes.name()
    }

    pub(crate) fn mailboxes(&self) -> &Arc<Mailboxes> {
        &self.handle.mailboxes
    }

    /// Whether it was closed, or the runtime that reads it has shut down.
    pub(crate) fn has_ended(&self) -> bool {
        self.handle.mailboxes.has_ended()
    }

    /// Opens a mailbox under a new name, which nobody guesses. Costs nothing.
    ///
    /// In an inbox that was closed it has ended already.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) when the system gives no random numbers.
    ///
    /// ```no_run
    /// use asgi_redis::prelude::*;
    ///
    /// # async fn example(layer: RedisChannelLayer) -> asgi_redis::Result<()> {
    /// let inbox = layer.open_inbox("websocket.send").await?;
    /// let mut mailbox = inbox.open_mailbox()?;
    /// // Any process may do this:
    /// layer.send(mailbox.name(), &Value::map([("text", "hi")])).await?;
    /// let message: Value = mailbox.receive().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_mailbox(&self) -> Result<Mailbox> {
        let name = ChannelName::new(&format!("{}{}", self.name(), random_text(ADDRESS_LETTERS)?))?;
        let capacity = self.handle.config.capacity_of(&name);
        let slot = self.handle.mailboxes.open(name, capacity);
        Ok(Mailbox { slot, handle: Arc::clone(&self.handle) })
    }

    /// Waits for the next message for an address that no open mailbox has, and unpacks it. The addresses are the
    /// program's own choice ("Channels" of the specification: the reader of a prefix owns what follows the `!`).
    ///
    /// Once this was called, such messages are kept, and no more is read from the inbox while as many wait as its
    /// capacity; then the mailboxes of the same inbox wait too.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for what is no message, or one of another type: it is taken, and the next call goes
    /// on. [`Closed`](ErrorKind::Closed) when the inbox or the layer was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message is taken in the same poll in which it is returned.
    pub async fn next<T: DeserializeOwned>(&self) -> Result<(ChannelName, T)> {
        let (channel, message) = self.next_packed().await?;
        let message = message.unpack_owned().map_err(|error| error.on_channel(channel.as_str()))?;
        Ok((channel, message))
    }

    /// As [`next`](Self::next), without unpacking.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`next`](Self::next).
    pub async fn next_packed(&self) -> Result<(ChannelName, PackedMessage)> {
        Ok(self.handle.mailboxes.next().await?.into_parts())
    }

    /// Returns the messages that [`next`](Self::next) would return, as a stream. It ends when the inbox or the layer is
    /// closed. Dropping it, or a poll of it, loses nothing.
    pub fn messages<T: DeserializeOwned + 'static>(
        &self,
    ) -> impl Stream<Item = Result<(ChannelName, T)>> + Send + '_ {
        futures_util::stream::unfold(self, |inbox| async move {
            match inbox.next().await {
                Err(error) if error.kind() == ErrorKind::Closed => None,
                received => Some((received, inbox)),
            }
        })
    }

    /// What happened to messages that the program did not get. Walks the open mailboxes.
    pub fn statistics(&self) -> InboxStatistics {
        self.handle.mailboxes.statistics()
    }

    /// Ends the inbox: its mailboxes leave their groups, give what they have, and end. Waits until the server was told,
    /// or cannot be; then the memberships end with their lease.
    ///
    /// # Cancel safety
    ///
    /// Once called, closing goes on in the background even if the future is dropped.
    pub fn close(&self) -> impl Future<Output = ()> + Send + use<> {
        self.handle.mailboxes.close();
        let mailboxes = Arc::clone(&self.handle.mailboxes);
        async move { mailboxes.gone().await }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("name", self.name()).finish_non_exhaustive()
    }
}

/// One channel inside an [`Inbox`], for example one websocket: a stream of messages.
///
/// A direct message that was accepted for it is kept until it is taken or expires. When as many wait as its capacity, the
/// mailbox is reported full: senders get [`ChannelFull`](ErrorKind::ChannelFull), and messages of groups are dropped for
/// it and counted, see [`missed`](Self::missed), until it is half empty. At most its capacity and one inbox's wait in
/// memory. Its neighbours do not wait for it.
///
/// When it is dropped, it leaves its groups, in the background, and what waited in it is gone.
///
/// The stream ends when the inbox or the layer is closed. Polling it is cancel-safe.
pub struct Mailbox {
    slot: Arc<Slot>,
    handle: Arc<Handle>,
}

impl Mailbox {
    /// Its full name: what others send to and add to groups.
    pub fn name(&self) -> &ChannelName {
        self.slot.name()
    }

    /// Waits for the next message and unpacks it.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for a message of another type, which [`Error::undecoded`] then holds: it is taken,
    /// and the next call goes on. [`Closed`](ErrorKind::Closed) when the inbox or the layer was closed and nothing is
    /// left.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a message is taken in the same poll in which it is returned.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T> {
        let message = self.receive_packed().await?;
        message.unpack_owned().map_err(|error| error.on_channel(self.name().as_str()))
    }

    /// Returns the messages that [`receive`](Self::receive) would return, as a stream. It ends when the inbox or the
    /// layer is closed and nothing is left. Dropping it, or a poll of it, loses nothing.
    ///
    /// ```
    /// use asgi_redis::prelude::*;
    /// use futures::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// let inbox = layer.open_inbox("websocket.send").await?;
    /// let mut mailbox = inbox.open_mailbox()?;
    /// layer.send(mailbox.name(), "hi").await?;
    /// let mut messages = std::pin::pin!(mailbox.messages::<String>());
    /// assert_eq!(messages.next().await.transpose()?, Some("hi".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn messages<T: DeserializeOwned + 'static>(&mut self) -> impl Stream<Item = Result<T>> + Send + '_ {
        futures_util::stream::unfold(self, |mailbox| async move {
            match mailbox.receive().await {
                Err(error) if error.kind() == ErrorKind::Closed => None,
                received => Some((received, mailbox)),
            }
        })
    }

    /// Waits for the next message and unpacks it, unless another mailbox of this inbox has: what a group's message was unpacked to is
    /// shared by all its copies in this process, so 10,000 mailboxes unpack it once. Threads that meet may each do it; all get
    /// the same value. Up to four types are kept for one message.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use asgi_redis::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> asgi_redis::Result<()> {
    /// let layer = MemoryLayer::builder().in_memory()?;
    /// let inbox = layer.open_inbox("websocket.send").await?;
    /// let [mut one, mut other] = [inbox.open_mailbox()?, inbox.open_mailbox()?];
    /// layer.group_add_many(["room"], [one.name(), other.name()]).await?;
    /// layer.group_send("room", "hi").await?.reached_all()?;
    /// let (one, other) = (one.receive_shared::<String>().await?, other.receive_shared::<String>().await?);
    /// assert!(Arc::ptr_eq(&one, &other) && *one == "hi");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive`](Self::receive).
    pub async fn receive_shared<T>(&mut self) -> Result<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let Waiting { message, decoded, .. } = self.take().await?;
        let unpack = || message.unpack_owned();
        let unpacked = match decoded {
            Some(decoded) => decoded.get(unpack),
            None => unpack().map(Arc::new),
        };
        unpacked.map_err(|error| error.on_channel(self.name().as_str()))
    }

    /// As [`receive`](Self::receive), without unpacking.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when the inbox or the layer was closed and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive`](Self::receive).
    pub async fn receive_packed(&mut self) -> Result<PackedMessage> {
        Ok(self.take().await?.message)
    }

    /// As [`receive_packed`](Self::receive_packed), with the time that the message has left.
    ///
    /// # Errors
    ///
    /// As [`receive_packed`](Self::receive_packed).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive`](Self::receive).
    pub async fn receive_delivery(&mut self) -> Result<Delivery> {
        let Waiting { deadline, message, .. } = self.take().await?;
        Ok(Delivery::expiring(self.name().clone(), message, Some(deadline)))
    }

    /// Waits for the next request that is sent to this mailbox.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive); also [`Decode`](ErrorKind::Decode) for a message that is no request.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, as [`receive`](Self::receive).
    pub async fn receive_request<T: DeserializeOwned>(&mut self) -> Result<Request<T>> {
        self.receive_delivery().await?.try_into()
    }

    async fn take(&mut self) -> Result<Waiting> {
        let next = std::future::poll_fn(|context| self.poll_waiting(context)).await;
        next.ok_or_else(|| closed(self.handle.mailboxes.name()))
    }

    /// How many messages of groups were dropped because the mailbox was full.
    pub fn missed(&self) -> u64 {
        self.slot.missed()
    }

    fn poll_take(&self, context: &Context<'_>) -> Poll<Option<PackedMessage>> {
        self.poll_waiting(context).map(|taken| taken.map(|waiting| waiting.message))
    }

    fn poll_waiting(&self, context: &Context<'_>) -> Poll<Option<Waiting>> {
        let (taken, has_room_again) = self.slot.poll_take(context);
        if has_room_again {
            self.handle.mailboxes.has_room(&self.slot);
        }
        taken
    }
}

impl Stream for Mailbox {
    type Item = PackedMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PackedMessage>> {
        self.poll_take(context)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.handle.mailboxes.drop_mailbox(&self.slot);
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("name", self.name()).finish_non_exhaustive()
    }
}
