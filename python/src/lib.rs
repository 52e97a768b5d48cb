//! The channel layers of asgi-redis for Python's event loops.
//!
//! - [`home`] is the runtime of this process, and what a fork leaves behind.
//! - [`port`] wakes an event loop: one for each loop.
//! - [`call`] is an awaitable that polls a future of Rust in the step of the task that awaits it.
//! - [`convert`] is Python's values as MessagePack, and back.
//! - [`core`] is a layer: its options, its connection, its inboxes and mailboxes.
//! - [`fault`] is an error on its way to a Python exception.
//!
//! A thread of the runtime never takes the GIL, and a lock of this crate that such a thread may hold is never held while one
//! calls Python. The other locks are taken by those who hold the GIL, so a fork finds them free.

mod call;
mod convert;
mod core;
mod fault;
mod home;
mod port;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::call::Call;
    #[pymodule_export]
    use super::core::{Layer, MailboxOwner, Receipt};
    #[pymodule_export]
    use super::home::{after_fork_in_child, after_fork_in_parent, before_fork, close_all};
    #[pymodule_export]
    use super::port::Port;
}
