//! The scenarios: who receives what, and how often something goes wrong.

use super::walk::Random;
use super::{CLIENTS, QUEUES, Queues, SHARDS};

/// A receive: its queues, whether it waits, and the shards that it may ask, one bit for each.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    pub queues: Queues,
    pub waits: bool,
    pub shards: u8,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    /// What each client receives, in this order. A client that receives nothing is not there.
    pub receives: [Vec<Receive>; CLIENTS],
    /// How many receives a client has under way at once.
    pub most_open: usize,
    pub budget: Budget,
    /// A connection may break without its server noticing.
    pub breaks_unnoticed: bool,
    /// Replies may lie between the socket and the task.
    pub has_slot: bool,
    /// No client is connected at first.
    pub down_first: bool,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// For each shard and queue.
    pub pushes: [[u8; QUEUES]; SHARDS],
    pub drops: u8,
    pub breaks: u8,
    pub lease_ends: u8,
    /// Losses of data.
    pub losses: u8,
    pub expiries: u8,
    pub pushes_lost: u8,
    pub beats: u8,
    pub closes: u8,
    pub kills: u8,
    /// Greetings that a sender wants.
    pub wanted: u8,
    pub refusals: u8,
}

pub const NAMES: [&str; 21] = [
    "small",
    "drop",
    "three",
    "plain",
    "beat",
    "break",
    "breakdrop",
    "old",
    "old2",
    "two",
    "try",
    "trybreak",
    "order",
    "order3",
    "lease",
    "loss",
    "expire",
    "lost",
    "close",
    "closebreak",
    "kill",
];

/// Returns the scenario of this name. With `has_slot`, replies may lie between the socket and the task.
pub fn named(name: &str, has_slot: bool) -> Option<Scenario> {
    let normal = Receive { queues: 1, waits: true, shards: 3 };
    let tries = Receive { waits: false, ..normal };
    let both = Receive { queues: 3, ..normal };
    let ordered = Receive { queues: 2, ..normal };
    // One push to the normal channel on each shard, two on the second one, and two to the `?` channel.
    let one = Budget { pushes: [[1, 0], [1, 0]], ..Budget::default() };
    let two = Budget { pushes: [[1, 0], [2, 0]], ..one };
    let second = Budget { pushes: [[0, 0], [1, 0]], ..one };
    let order = Budget { pushes: [[1, 0], [0, 2]], ..one };
    let alone = |receives: &[Receive]| [receives.to_vec(), vec![]];
    let base = Scenario {
        receives: alone(&[normal, normal]),
        most_open: 3,
        budget: one,
        breaks_unnoticed: false,
        has_slot,
        down_first: false,
    };
    Some(match name {
        // One client, no fault: two receives, one push a shard; then with a drop, a third receive or push, beats.
        "small" => base,
        "drop" => Scenario { budget: Budget { drops: 1, ..one }, ..base },
        "three" => Scenario { receives: alone(&[normal; 3]), ..base },
        "plain" => Scenario { receives: alone(&[normal; 3]), budget: Budget { drops: 1, ..two }, ..base },
        "beat" => Scenario { budget: Budget { beats: 1, ..one }, ..base },
        // A connection breaks at any point. In those named `old`, what was written may be executed later, or what was
        // pushed read later.
        "break" => Scenario { budget: Budget { breaks: 1, ..one }, ..base },
        "breakdrop" => {
            Scenario { budget: Budget { drops: 1, breaks: 1, ..second }, breaks_unnoticed: true, ..base }
        }
        "old" => Scenario { budget: Budget { breaks: 1, ..one }, breaks_unnoticed: true, ..base },
        "old2" => Scenario { budget: Budget { breaks: 2, ..one }, breaks_unnoticed: true, ..base },
        "two" => Scenario { receives: [vec![normal; 2], vec![normal]], ..base },
        "try" => Scenario { receives: alone(&[tries, normal]), ..base },
        "trybreak" => Scenario {
            receives: alone(&[tries, normal]),
            budget: Budget { breaks: 1, beats: 1, ..one },
            ..base
        },
        "order" => Scenario { receives: alone(&[both, both]), budget: Budget { drops: 1, ..order }, ..base },
        "order3" => Scenario { receives: alone(&[both, ordered, both]), budget: order, ..base },
        "lease" => Scenario { budget: Budget { lease_ends: 1, beats: 1, ..one }, ..base },
        "loss" => Scenario { budget: Budget { losses: 1, beats: 1, ..one }, ..base },
        "expire" => Scenario { budget: Budget { drops: 1, expiries: 1, beats: 1, ..one }, ..base },
        "lost" => Scenario { budget: Budget { pushes_lost: 1, beats: 1, ..one }, ..base },
        "close" => Scenario { budget: Budget { closes: 1, ..one }, ..base },
        "closebreak" => {
            Scenario { budget: Budget { closes: 1, breaks: 1, ..one }, breaks_unnoticed: true, ..base }
        }
        "kill" => {
            Scenario { receives: [vec![normal; 2], vec![normal]], budget: Budget { kills: 1, ..one }, ..base }
        }
        _ => return None,
    })
}

/// Returns a scenario by chance: client 0 may read the `?` channel, client 1 may be there.
pub fn random(seed: u64) -> Scenario {
    let mut chance = Random(seed ^ 0x5eed);
    let has_ordered = chance.one_in(2);
    let mut some_receives = |most: u64, ordered: bool| -> Vec<Receive> {
        (0..most)
            .map(|_| {
                let queues = if ordered { [1, 1, 3, 3, 2][chance.below(5) as usize] } else { 1 };
                let waits = chance.below(4) != 0;
                let asks_all = waits || chance.below(3) != 0;
                Receive { queues, waits, shards: if asks_all { 3 } else { 1 + chance.below(2) as u8 } }
            })
            .collect()
    };
    let (first, second) = (some_receives(8, has_ordered), some_receives(6, false));
    let mut chance = Random(seed ^ 0xfa17);
    let second = if chance.one_in(3) { vec![] } else { second };
    let mut some = |odds: u64, most: u64| match chance.below(odds) {
        0 => 1 + chance.below(most) as u8,
        _ => 0,
    };
    let budget = Budget {
        pushes: [[4, 0], [4, if has_ordered { 4 } else { 0 }]],
        drops: some(2, 4),
        breaks: some(2, 4),
        lease_ends: some(3, 2),
        losses: some(8, 1),
        expiries: some(4, 2),
        pushes_lost: some(6, 2),
        beats: some(1, 4),
        closes: some(4, 1),
        kills: some(8, 1),
        wanted: some(4, 2),
        refusals: some(8, 1),
    };
    Scenario {
        receives: [first, second],
        most_open: 2 + chance.below(3) as usize,
        budget,
        breaks_unnoticed: chance.below(2) == 0,
        has_slot: true,
        down_first: chance.one_in(4),
    }
}
