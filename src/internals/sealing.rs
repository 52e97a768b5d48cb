//! The seal by itself, for the benchmark.

use crate::error::Result;
use crate::seal::{Keyring, Names, Secret, Target};

/// Keys that seal and open messages to one channel.
#[derive(Debug)]
pub struct Seal(Keyring);

impl Seal {
    /// Takes keys: the first one seals, all of them open.
    pub fn new(keys: &[&str]) -> Self {
        Self(Keyring::new(&keys.iter().map(|key| Secret::new(key.as_bytes())).collect::<Vec<_>>()))
    }

    /// Appends the sealed message to `onto`.
    ///
    /// # Errors
    ///
    /// [`Internal`](crate::ErrorKind::Internal) if the system gives no random numbers.
    #[inline]
    pub fn seal(&self, onto: &mut Vec<u8>, queue: &str, message: &[u8]) -> Result<()> {
        self.0.seal(onto, Target::Channel(queue, ""), 1, 60_000, message)
    }

    /// Opens a payload. Returns the number of bytes of the message, or why it does not open.
    #[inline]
    pub fn open(&self, payload: &[u8], queue: &str) -> std::result::Result<usize, String> {
        let opened = self.0.open(payload, Target::Channel(queue, ""), 1);
        opened.map(|opened| opened.message.len()).map_err(|refusal| refusal.to_string())
    }
}

/// A key that hides names.
#[derive(Debug)]
pub struct HiddenNames(Names);

impl HiddenNames {
    /// Takes the key.
    pub fn new(key: &str) -> Self {
        Self(Names::hidden(&Secret::new(key.as_bytes())))
    }

    /// Hides the name of a queue.
    #[inline]
    pub fn queue(&self, queue: &str) -> String {
        self.0.queue(queue).into_owned()
    }

    /// Reads the name of a queue back. Returns `None` if it was not hidden by this key.
    #[inline]
    pub fn reveal_queue(&self, written: &str) -> Option<String> {
        self.0.reveal_queue(written)
    }
}
