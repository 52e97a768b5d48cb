//! What a server pushes on a connection: the entries that it hands to tickets, and words about the connection itself.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::calls::{self, Wake};
use super::keys::Keys;
use super::receive::Tickets;

/// Entries go to their tickets right here, in the task that reads the socket: no further wake-up on their way.
pub(super) fn receive_pushes(
    shard: usize,
    keys: Keys,
    tickets: Arc<Tickets>,
    broken: Arc<Notify>,
    outlived: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> + Send + Sync {
    move |push| {
        match push.kind {
            PushKind::Message => {
                let message = push.data.into_iter().nth(1);
                let wake = match message {
                    Some(Value::BulkString(message)) => calls::decode_wake(message),
                    _ => None,
                };
                match wake {
                    Some(Wake::Handed(ticket, mut handed)) => {
                        handed.reveal(keys.names());
                        tickets.arrived(shard, ticket, handed);
                    }
                    Some(Wake::Announced(ticket)) => tickets.announced(shard, ticket),
                    // The server that we are connected to follows another one now.
                    Some(Wake::Moved) => broken.notify_one(),
                    Some(Wake::Again) => outlived.notify_one(),
                    None => tracing::warn!("ignored a wake-up that is none"),
                }
            }
            PushKind::Disconnection => broken.notify_one(),
            _ => {}
        }
        Ok(())
    }
}
