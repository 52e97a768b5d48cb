//! Receives, one after another, as a stream.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::time::sleep;

use super::{BoxFuture, ChannelLayer};
use crate::error::{Error, ErrorKind, Result};
use crate::name::ChannelName;

/// The pause after an error that the next receive may well meet again.
const PAUSE: Duration = Duration::from_millis(500);

enum Next {
    Receive,
    ReceiveAfterPause,
    End,
}

/// Makes a stream of what `receive` returns on some channels. Dropping it drops a receive under way.
pub(super) fn received<'a, L, T>(
    layer: &'a L,
    channels: Result<Vec<ChannelName>>,
    receive: impl for<'b> Fn(&'b L, &'b [ChannelName]) -> BoxFuture<'b, Result<T>> + Send + Sync + 'a,
) -> Pin<Box<dyn Stream<Item = Result<T>> + Send + 'a>>
where
    L: ChannelLayer + ?Sized,
    T: Send + 'a,
{
    let channels = match channels {
        Ok(channels) => channels,
        Err(error) => return Box::pin(futures_util::stream::iter([Err(error)])),
    };
    let begin = (channels, receive, Next::Receive);
    Box::pin(unfold(begin, move |(channels, receive, next)| async move {
        match next {
            Next::End => return None,
            Next::ReceiveAfterPause => sleep(PAUSE).await,
            Next::Receive => {}
        }
        let received = receive(layer, &channels).await;
        let next = match &received {
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => after(error),
            Ok(_) => Next::Receive,
        };
        Some((received, (channels, receive, next)))
    }))
}

fn after(error: &Error) -> Next {
    match error.kind() {
        // Of this message alone.
        ErrorKind::Decode => Next::Receive,
        // The same would be refused again.
        ErrorKind::InvalidName | ErrorKind::NoRuntime | ErrorKind::Internal => Next::End,
        _ => Next::ReceiveAfterPause,
    }
}
