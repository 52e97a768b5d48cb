//! The descriptors of the connections of this process, for a program that forks.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

static OPEN: Mutex<Option<HashSet<RawFd>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<HashSet<RawFd>>> {
    // No code that holds the lock can panic halfway through a change.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptors of all connections of this process's layers, held still while it forks.
///
/// A child of a fork has copies of them, and none of the threads that serve them. While it has them, a server does not notice
/// that the parent died, and goes on handing it messages until its lease ends. So the parent holds them before it forks, and
/// in the child [`in_child`](Self::in_child) tells which to close.
///
/// The child must not use the layers, inboxes, mailboxes and futures that it inherited, nor drop them: a lock in them may be
/// held by a thread that the child does not have. It leaves them behind, by [`std::mem::forget`], with their runtime, and
/// connects layers of its own.
///
/// ```
/// use asgi_redis::HeldDescriptors;
///
/// let held = HeldDescriptors::hold();
/// // Here the process forks. In the parent:
/// drop(held);
/// ```
#[derive(Debug)]
pub struct HeldDescriptors(MutexGuard<'static, Option<HashSet<RawFd>>>);

impl HeldDescriptors {
    /// Holds them: until this is dropped, no connection is opened or closed. It waits for those that just do.
    pub fn hold() -> Self {
        Self(lock())
    }

    /// Returns the descriptors that the child of a fork inherited, each of which it is to close. They are those of no layer
    /// from then on.
    pub fn in_child(mut self) -> Vec<RawFd> {
        self.0.take().into_iter().flatten().collect()
    }
}

/// A stream whose descriptor is known while it is open.
#[derive(Debug)]
pub(super) struct Listed<S> {
    // Before the stream: a descriptor that was closed may be another's at once.
    _listing: Listing,
    stream: S,
}

#[derive(Debug)]
struct Listing(RawFd);

impl<S: AsRawFd> Listed<S> {
    pub(super) fn new(stream: S) -> Self {
        let descriptor = stream.as_raw_fd();
        lock().get_or_insert_default().insert(descriptor);
        Self { _listing: Listing(descriptor), stream }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        if let Some(open) = &mut *lock() {
            open.remove(&self.0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_stream_is_listed_while_it_is_open_and_unlisted_before_it_is_closed() {
        let (one, two) = UnixStream::pair().unwrap();
        let (one, two) = (Listed::new(one), Listed::new(two));
        let [first, second] = [one.stream().as_raw_fd(), two.stream().as_raw_fd()];
        let held = HeldDescriptors::hold();
        assert!([first, second].iter().all(|it| held.0.as_ref().unwrap().contains(it)));
        drop(held);
        drop(one);
        let held = HeldDescriptors::hold();
        assert!(!held.0.as_ref().unwrap().contains(&first));
        assert!(held.0.as_ref().unwrap().contains(&second));
        drop(held);
        drop(two);
    }

    #[test]
    fn while_they_are_held_no_stream_opens() {
        let held = HeldDescriptors::hold();
        let (one, _other) = UnixStream::pair().unwrap();
        let opening = std::thread::spawn(|| Listed::new(one).stream().as_raw_fd());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!opening.is_finished());
        drop(held);
        opening.join().unwrap();
    }
}
