//! What the copies of one message share besides their bytes: what it was decoded to, so that 10,000 mailboxes of a process decode it
//! once.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;

use crate::error::Result;

/// So many types are kept for one message; a further one is decoded by each who wants it.
const MAX_TYPES: usize = 4;

/// A decoded form and its type.
type Form = (TypeId, Arc<dyn Any + Send + Sync>);

/// The decoded forms of one message.
#[derive(Clone, Default)]
pub(crate) struct Decoded(Arc<Mutex<Vec<Form>>>);

impl Decoded {
    /// Returns what was decoded to this type, or decodes it. Threads that meet may each decode it; all get the same value.
    pub(crate) fn get<T>(&self, decode: impl FnOnce() -> Result<T>) -> Result<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(decoded) = self.find() {
            return Ok(decoded);
        }
        // Not under the lock: it is code of the program.
        let new = Arc::new(decode()?);
        if let Some(decoded) = self.find() {
            return Ok(decoded);
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_TYPES {
            kept.push((TypeId::of::<T>(), Arc::<T>::clone(&new)));
        }
        Ok(new)
    }

    fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, decoded) = kept.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        Arc::clone(decoded).downcast().ok()
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoded")
    }
}
