//! The one way by which tests reach real servers: a throw-away Redis or Valkey, a faulty network in front of it, and
//! what the server counted.

mod child;
mod clock;
mod container;
mod fake_server;
mod faults;
mod observe;
mod process;
mod product;
mod proxy;
mod replication;
mod runtime;
pub(crate) mod scripts;
mod server;
mod temporary;
mod warnings;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use asgi_redis::internals::{Ledger, Sent};
pub(crate) use child::{end_with_the_suite, start_child};
pub(crate) use clock::Clock;
pub(crate) use fake_server::{FakeServer, array};
pub(crate) use observe::{Monitor, calls, connect, patient};
pub(crate) use product::Product;
pub(crate) use proxy::{Direction, Proxy};
pub(crate) use scripts::{
    Add, Change, Discard, Entry, Fenced, Given, GroupSend, HelloReply, InboxKeep, Keep, Page, Part, Place,
    Pop, PopReply, Push, PushReply, Receipt, Refusal, Scripts, Stale, Taken, Told, texts,
};
pub(crate) use server::{Kind, Server, Servers};
pub(crate) use warnings::{Text, Warnings};

/// A prefix of keys that no other test of this run has, so that tests can share a server.
pub(crate) fn unique_prefix(test_name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{test_name}-{}:", NEXT.fetch_add(1, Ordering::Relaxed))
}
