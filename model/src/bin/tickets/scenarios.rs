//! The scenarios by name. The search goes through all states of a small one.

use crate::scenario::{Budget, Scenario};

/// Returns the scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().find(|s| s.0 == name).map(|s| s.1)
}

/// Returns all scenarios with their names.
pub fn all() -> impl Iterator<Item = (&'static str, Scenario)> {
    small().into_iter().chain(crate::large::large())
}

fn small() -> [(&'static str, Scenario); 30] {
    let (base, none) = (Scenario::BASE, Budget::NONE);
    [
        // One receiver, one receive at a time, two messages, a cut and a beat.
        (
            "seq",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [3, 0], drops: 1, cuts: 1, beats: 1, ..none },
                receives: [&[1, 1, 1], &[]],
                calls_remain: true,
                half_open: true,
                ..base
            },
        ),
        // The same with two cuts and no beat.
        (
            "seq2",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, cuts: 2, ..none },
                receives: [&[1, 1], &[]],
                calls_remain: true,
                half_open: true,
                ..base
            },
        ),
        // A sender whose connection breaks twice.
        (
            "writer",
            Scenario {
                budget: Budget { sends: [3, 0], receives: [1, 0], cuts: 2, ..none },
                receives: [&[1], &[]],
                sends_to: [&[0, 0, 0], &[]],
                calls_remain: true,
                cuts_senders: true,
                ..base
            },
        ),
        // Leases that end.
        (
            "lease",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, lease_ends: 2, beats: 1, ..none },
                ..base
            },
        ),
        // A lease that ends, and two cuts after which calls remain.
        (
            "leasez",
            Scenario {
                budget: Budget { sends: [1, 0], receives: [1, 0], cuts: 2, lease_ends: 1, drops: 1, ..none },
                sends_to: [&[0], &[]],
                receives: [&[1], &[]],
                calls_remain: true,
                ..base
            },
        ),
        // A lease that ends, and a cut.
        (
            "leasecut",
            Scenario {
                budget: Budget {
                    sends: [2, 0],
                    receives: [2, 0],
                    cuts: 1,
                    lease_ends: 1,
                    drops: 1,
                    beats: 1,
                    ..none
                },
                calls_remain: true,
                half_open: true,
                ..base
            },
        ),
        // Two receivers of one queue, of which one is killed or frozen.
        (
            "two",
            Scenario {
                receivers: 2,
                budget: Budget { sends: [2, 0], receives: [2, 1], drops: 1, kills: 1, lease_ends: 1, ..none },
                receives: [&[1, 1], &[1]],
                ordered: false,
                ..base
            },
        ),
        // Two receivers and a cut.
        (
            "twocut",
            Scenario {
                receivers: 2,
                budget: Budget { sends: [2, 0], receives: [1, 1], drops: 1, cuts: 1, lease_ends: 1, ..none },
                receives: [&[1], &[1]],
                ordered: false,
                half_open: true,
                calls_remain: true,
                ..base
            },
        ),
        // Two receives of one client at once, and a cut.
        (
            "fut2",
            Scenario {
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [3, 0], drops: 2, cuts: 1, ..none },
                receives: [&[1, 1, 1], &[]],
                ordered: false,
                calls_remain: true,
                ..base
            },
        ),
        // The same with a clean cut only, and no drop.
        (
            "fut2nc",
            Scenario {
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [2, 0], cuts: 1, ..none },
                receives: [&[1, 1], &[]],
                ordered: false,
                ..base
            },
        ),
        // Two receives of one client, both dropped: what is received after that is in order.
        (
            "fut2cc",
            Scenario {
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [3, 0], drops: 2, ..none },
                receives: [&[1, 1, 1], &[]],
                ..base
            },
        ),
        // Two receives of one client for an ordered queue, against R14: the order breaks.
        (
            "fut2order",
            Scenario {
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, ..none },
                receives: [&[1, 1], &[]],
                always_ordered: true,
                ..base
            },
        ),
        // Receives for two queues of one server, and two senders.
        (
            "multiq",
            Scenario {
                queues: 2,
                budget: Budget { sends: [1, 1], receives: [2, 0], drops: 1, cuts: 1, ..none },
                senders: 2,
                receives: [&[3, 3], &[]],
                sends_to: [&[0], &[1]],
                calls_remain: true,
                ..base
            },
        ),
        // Receives for two queues on two servers.
        (
            "shards",
            Scenario {
                queues: 2,
                servers: 2,
                server_of: [0, 1, 0],
                budget: Budget { sends: [3, 0], receives: [2, 0], drops: 1, ..none },
                receives: [&[3, 3], &[]],
                sends_to: [&[0, 1, 0], &[]],
                ..base
            },
        ),
        // The same with a cut.
        (
            "shardscut",
            Scenario {
                queues: 2,
                servers: 2,
                server_of: [0, 1, 0],
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, cuts: 1, ..none },
                receives: [&[3, 3], &[]],
                sends_to: [&[0, 1], &[]],
                calls_remain: true,
                half_open: true,
                ..base
            },
        ),
        // Two receivers of queues on two servers, of which one is killed.
        (
            "shards2r",
            Scenario {
                queues: 2,
                servers: 2,
                receivers: 2,
                server_of: [0, 1, 0],
                budget: Budget { sends: [2, 0], receives: [1, 1], drops: 1, kills: 1, ..none },
                receives: [&[3], &[3]],
                sends_to: [&[0, 1], &[]],
                ordered: false,
                ..base
            },
        ),
        // A server that restarts without its data.
        (
            "loss",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, restarts: 1, beats: 1, ..none },
                ..base
            },
        ),
        // A server that loses its data, while its connections last.
        (
            "flush",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, flushes: 1, beats: 1, ..none },
                ..base
            },
        ),
        // A server that crashes, and comes back with an older state.
        (
            "oldstate",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, saves: 1, restores: 1, ..none },
                ordered: false,
                ..base
            },
        ),
        // The same, while the client has two receives.
        (
            "oldstate2",
            Scenario {
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [3, 0], drops: 1, saves: 1, restores: 1, ..none },
                receives: [&[1, 1, 1], &[]],
                ordered: false,
                ..base
            },
        ),
        // The same with three messages and one receive.
        (
            "flush3",
            Scenario {
                budget: Budget { sends: [3, 0], receives: [1, 0], flushes: 1, beats: 1, ..none },
                sends_to: [&[0, 0, 0], &[]],
                receives: [&[1], &[]],
                ..base
            },
        ),
        // A message that expires, and a cut.
        (
            "expire",
            Scenario {
                budget: Budget {
                    sends: [2, 0],
                    receives: [2, 0],
                    drops: 1,
                    expiries: 1,
                    beats: 1,
                    cuts: 1,
                    ..none
                },
                ..base
            },
        ),
        // Three messages of which two expire, and nothing else that would have a client ask again.
        (
            "expire2",
            Scenario {
                budget: Budget { sends: [3, 0], receives: [2, 0], drops: 1, expiries: 2, ..none },
                sends_to: [&[0, 0, 0], &[]],
                ..base
            },
        ),
        // A call that is refused with `NOSCRIPT`.
        (
            "noscript",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [3, 0], drops: 1, refusals: 1, ..none },
                receives: [&[1, 1, 1], &[]],
                ..base
            },
        ),
        // A published message or a reply that is lost within a living client.
        (
            "plost",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [2, 0], drops: 1, losses: 1, beats: 1, ..none },
                ..base
            },
        ),
        // Three messages, and drops.
        (
            "nofault",
            Scenario {
                budget: Budget { sends: [3, 0], receives: [3, 0], drops: 2, ..none },
                receives: [&[1, 1, 1], &[]],
                sends_to: [&[0, 0, 0], &[]],
                ..base
            },
        ),
        // A queue of capacity 1.
        (
            "cap",
            Scenario {
                most_open: [2, 1],
                capacity: 1,
                budget: Budget { sends: [4, 0], receives: [2, 0], drops: 2, ..none },
                sends_to: [&[0, 0, 0, 0], &[]],
                receives: [&[1, 1], &[]],
                ordered: false,
                ..base
            },
        ),
        // A client with two tickets is killed, its lease ends, or its connection breaks, while another client waits.
        (
            "dlim",
            Scenario {
                receivers: 2,
                most_open: [2, 1],
                budget: Budget { sends: [2, 0], receives: [2, 1], kills: 1, cuts: 1, lease_ends: 1, ..none },
                receives: [&[1, 1], &[1]],
                ordered: false,
                ..base
            },
        ),
        // A receiver that is killed.
        (
            "kill1",
            Scenario {
                budget: Budget { sends: [2, 0], receives: [1, 0], kills: 1, ..none },
                receives: [&[1], &[]],
                ..base
            },
        ),
        // A client is killed while two of its tickets stand in line before that of another client.
        (
            "killed2",
            Scenario {
                receivers: 2,
                most_open: [2, 1],
                receives: [&[1, 1], &[1]],
                sends_to: [&[0], &[]],
                budget: Budget { sends: [1, 0], receives: [2, 1], kills: 1, ..none },
                ordered: false,
                ..base
            },
        ),
    ]
}
