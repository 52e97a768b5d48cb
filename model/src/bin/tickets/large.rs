//! Scenarios with everything at once, for random walks.

use crate::scenario::{Budget, Scenario};

/// Returns the large scenarios with their names.
pub fn large() -> [(&'static str, Scenario); 3] {
    let (base, none) = (Scenario::BASE, Budget::NONE);
    let one_without_losses = Scenario {
        queues: 3,
        servers: 2,
        server_of: [0, 1, 0],
        senders: 2,
        budget: Budget {
            sends: [5, 4],
            receives: [8, 0],
            drops: 4,
            cuts: 4,
            lease_ends: 3,
            beats: 4,
            expiries: 1,
            refusals: 2,
            losses: 2,
            ..none
        },
        receives: [&[7, 1, 3, 5, 7, 2, 1, 7], &[]],
        sends_to: [&[0, 0, 0, 0, 0], &[1, 2, 1, 2]],
        calls_remain: true,
        half_open: true,
        cuts_senders: true,
        ..base
    };
    let budget = Budget { restarts: 1, flushes: 1, expiries: 2, ..one_without_losses.budget };
    let one = Scenario { budget, ..one_without_losses };
    [
        // For random walks: one receiver, all faults but losses of data.
        ("rone0", one_without_losses),
        // For random walks: one receiver, all faults.
        ("rone", one),
        // For random walks: two receivers, all faults but losses of data.
        (
            "rtwo",
            Scenario {
                queues: 3,
                servers: 2,
                receivers: 2,
                most_open: [2, 2],
                server_of: [0, 1, 0],
                senders: 2,
                budget: Budget {
                    sends: [4, 4],
                    receives: [5, 5],
                    drops: 5,
                    cuts: 4,
                    kills: 1,
                    lease_ends: 3,
                    beats: 3,
                    expiries: 1,
                    refusals: 2,
                    losses: 2,
                    ..none
                },
                receives: [&[7, 1, 3, 5, 7], &[7, 2, 6, 1, 7]],
                sends_to: [&[0, 1, 0, 2], &[1, 2, 1, 0]],
                calls_remain: true,
                half_open: true,
                cuts_senders: true,
                ordered: false,
                ..base
            },
        ),
    ]
}
