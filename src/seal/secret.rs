//! A key as it was written: never shown, and zeroed when it is dropped.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A key with fewer bytes may be guessed.
pub(crate) const ENOUGH_BYTES: usize = 32;

/// A key as it was written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(Zeroizing::new(text.to_vec()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is so short that it may be guessed.
    pub(crate) fn is_short(&self) -> bool {
        self.0.len() < ENOUGH_BYTES
    }

    /// The key of a cipher.
    pub(super) fn hash(&self) -> Zeroizing<[u8; 32]> {
        let mut hash = Zeroizing::new([0; 32]);
        let mut digest = Sha256::digest(&*self.0);
        hash.copy_from_slice(&digest);
        zeroize::Zeroize::zeroize(digest.as_mut_slice());
        hash
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
