//! The channel layers of asgi-redis for Python's event loops.
//!
//! - [`home`] is the runtime of this process, and what a fork leaves behind.
//! - [`port`] wakes an event loop: one for each loop.
//! - [`call`] is an awaitable that polls a future of Rust in the step of the task that awaits it.
//! - [`convert`] is Python's values as MessagePack, and back.
//! - [`core`] is a layer: its options, its connection, its inboxes and mailboxes.
//! - [`fault`] is an error on its way to a Python exception.
//!
//! To wake a loop, a thread of the runtime takes no GIL. It takes it only to ask a pattern of capacities that is a function of
//! Python, when an inbox is opened, and holds no lock then. The locks of this crate are taken by those who hold the GIL, so a
//! fork finds them free; those of the port's list and of mailboxes, which threads of the runtime take too, are left behind with
//! the runtime.
//!
//! What calls of several loops wait for is driven by the runtime, never by one of the loops: that may stand still.

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
