//! The model of several servers: what the binary `shards` searches, and what the lockstep runs beside the crate.
//!
//! Two shards and two clients. A normal channel is on both shards, a `?` channel on one. Calls carry few tickets and
//! replies one entry, so that agendas overflow as they seldom do in real life.
//!
//! Indices have the same letter everywhere: `c` a client, `s` a shard, `q` a queue.
//!
//! - `client/`: the tickets of a client, step by step as `src/redis/receive/` has them.
//! - `world/`: servers, connections with all that is in flight, the task of each shard, and what is to hold.
//! - `rules.rs`: limits, and the rules that can be broken. `scenario.rs`: who does what, and what goes wrong.
//! - `walk.rs`: random walks, and the shrinking of one that failed.

pub mod client;
pub mod rules;
pub mod scenario;
pub mod walk;
pub mod world;

pub const SHARDS: usize = 2;
pub const CLIENTS: usize = 2;
/// Queue 0 is a normal channel, on both shards.
pub const QUEUES: usize = 2;
/// Queue 1 is a `?` channel, on shard 1.
pub const ORDERED: usize = 1;

pub type Ticket = u8;
pub type EntryId = u8;
pub type Generation = u8;
/// A set of queues, one bit for each.
pub type Queues = u8;

#[inline]
pub fn has(queues: Queues, q: usize) -> bool {
    queues >> q & 1 == 1
}
