//! What a scenario says: who takes part, what they do, and how often something goes wrong.

use crate::state::{QUEUES, Queues, RECEIVERS};

#[derive(Clone, Copy)]
pub struct Scenario {
    pub queues: usize,
    pub servers: usize,
    pub server_of: [usize; QUEUES],
    pub receivers: usize,
    pub senders: usize,
    /// For each receiver, how many receives it has under way at once.
    pub most_open: [usize; RECEIVERS],
    /// For each receiver, the queues of each of its receives.
    pub receives: [&'static [Queues]; RECEIVERS],
    /// For each sender, the queue of each of its messages.
    pub sends_to: [&'static [usize]; 2],
    pub budget: Budget,
    /// Calls that were written before a cut may be executed after it.
    pub calls_remain: bool,
    /// A connection that was cut may count as a listener.
    pub half_open: bool,
    /// Queues keep the order of their sender, for receives that had none beside them.
    pub ordered: bool,
    /// They keep it for all receives, which R14 alone makes true.
    pub always_ordered: bool,
    pub capacity: usize,
    pub cuts_senders: bool,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    pub sends: [u8; 2],
    pub receives: [u8; RECEIVERS],
    pub drops: u8,
    pub cuts: u8,
    pub kills: u8,
    pub lease_ends: u8,
    /// Losses of data with all connections.
    pub restarts: u8,
    /// Losses of data alone.
    pub flushes: u8,
    /// States that a server saves.
    pub saves: u8,
    /// Crashes after which a server comes back with the state that it saved.
    pub restores: u8,
    pub beats: u8,
    pub expiries: u8,
    /// Calls that are refused with `NOSCRIPT`.
    pub refusals: u8,
    /// Published messages and replies that are lost within a living client.
    pub losses: u8,
}

impl Scenario {
    /// One queue on one server, one receiver, one sender, and nothing that happens.
    pub const BASE: Self = Self {
        queues: 1,
        servers: 1,
        server_of: [0, 0, 0],
        receivers: 1,
        senders: 1,
        most_open: [1, 1],
        receives: [&[1, 1], &[1, 1]],
        sends_to: [&[0, 0], &[0, 0]],
        budget: Budget::NONE,
        calls_remain: false,
        half_open: false,
        ordered: true,
        always_ordered: false,
        capacity: 4,
        cuts_senders: false,
    };
}

impl Budget {
    pub const NONE: Self = Self {
        sends: [0; 2],
        receives: [0; RECEIVERS],
        drops: 0,
        cuts: 0,
        kills: 0,
        lease_ends: 0,
        restarts: 0,
        flushes: 0,
        saves: 0,
        restores: 0,
        beats: 0,
        expiries: 0,
        refusals: 0,
        losses: 0,
    };
}
