//! Steps of several processes at once: there must be one order of them that explains what each receiver got.
//!
//! A witness is in every group from the beginning, so the order in which it gets messages is the order in which they were
//! sent. A receiver that joins meanwhile gets the last of them in this order, one that leaves the first.

use std::collections::{BTreeMap, BTreeSet};

use asgi_redis::{ChannelLayerExt, RedisChannelLayer};
use futures::future::join_all;

use super::{GROUPS, Receiver, group, receivers, run_all};
use crate::support::Servers;

const PHASES: usize = 12;

/// A receiver and a group, by their numbers.
type Membership = (usize, usize);

#[derive(Clone, Copy)]
enum Step {
    Join(Membership),
    Leave(Membership),
    /// A number to a group.
    Send(usize, u64),
    /// A number to a receiver.
    SendTo(usize, u64),
}

/// Steps that ran at once, and who was a member when they began.
struct Phase {
    members: BTreeSet<Membership>,
    steps: Vec<Step>,
}

async fn program(seed: u64, layers: &[RedisChannelLayer]) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (_inboxes, mut receivers) = receivers(layers, seed, true).await;
    let names: Vec<String> = receivers.iter().map(Receiver::name).collect();
    let mut members = BTreeSet::new();
    for room in 0..GROUPS {
        layers[0].group_add(group(seed, room), names[0].as_str()).await.unwrap();
        members.insert((0, room));
    }
    let mut phases = Vec::new();
    for phase in 0..PHASES {
        let mut steps = Vec::new();
        let mut changing = BTreeSet::new();
        for step in 0..random.usize(3..8) {
            let number = (phase * 10 + step) as u64;
            let membership = (random.usize(1..names.len()), random.usize(0..GROUPS));
            steps.push(match random.u32(0..100) {
                0..60 if changing.insert(membership) => {
                    if members.contains(&membership) {
                        Step::Leave(membership)
                    } else {
                        Step::Join(membership)
                    }
                }
                0..90 => Step::Send(membership.1, number),
                _ => Step::SendTo(membership.0, number),
            });
        }
        join_all(steps.iter().enumerate().map(async |(turn, step)| {
            let layer = &layers[(turn + phase) % layers.len()];
            match *step {
                Step::Join((who, room)) => {
                    layer.group_add(group(seed, room), names[who].as_str()).await.unwrap();
                }
                Step::Leave((who, room)) => {
                    layer.group_discard(group(seed, room), names[who].as_str()).await.unwrap();
                }
                Step::Send(room, number) => {
                    let _ = layer.group_send(group(seed, room), &number).await.unwrap();
                }
                Step::SendTo(who, number) => layer.send(names[who].as_str(), &number).await.unwrap(),
            }
        }))
        .await;
        phases.push(Phase { members: members.clone(), steps });
        for step in &phases[phase].steps {
            match step {
                Step::Join(membership) => assert!(members.insert(*membership)),
                Step::Leave(membership) => assert!(members.remove(membership)),
                Step::Send(..) | Step::SendTo(..) => {}
            }
        }
    }
    let mut got = Vec::new();
    for receiver in &mut receivers {
        got.push(receiver.rest(&layers[0]).await);
    }
    check(&phases, &got);
}

/// Fails unless one order of the steps explains what each receiver got.
fn check(phases: &[Phase], got: &[Vec<u64>]) {
    let order: BTreeMap<u64, usize> =
        got[0].iter().enumerate().map(|(place, number)| (*number, place)).collect();
    assert_eq!(order.len(), got[0].len(), "the witness got something twice: {:?}", got[0]);
    for (who, got) in got.iter().enumerate() {
        let places: Vec<usize> = got.iter().filter_map(|number| order.get(number).copied()).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "receiver {who} got {got:?}, out of order or twice");
        let mut possible = 0;
        for Phase { members, steps } in phases {
            for room in 0..GROUPS {
                let mut sent: Vec<u64> = steps
                    .iter()
                    .filter_map(|step| match step {
                        Step::Send(to, number) if *to == room => Some(*number),
                        _ => None,
                    })
                    .collect();
                sent.sort_by_key(|number| order.get(number).expect("the witness is in every group"));
                let mine: Vec<u64> = sent.iter().copied().filter(|number| got.contains(number)).collect();
                let changes =
                    |step: &Step| matches!(step, Step::Join(of) | Step::Leave(of) if *of == (who, room));
                let was_in = members.contains(&(who, room));
                let is_right = match (was_in, steps.iter().any(changes)) {
                    (true, false) => mine == sent,
                    (false, false) => mine.is_empty(),
                    (false, true) => sent.ends_with(&mine),
                    (true, true) => sent.starts_with(&mine),
                };
                assert!(is_right, "receiver {who}, in group {room}: {was_in}, got {mine:?} of {sent:?}");
                possible += mine.len();
            }
            for step in steps {
                if let Step::SendTo(to, number) = step {
                    assert_eq!(got.iter().filter(|got| *got == number).count(), usize::from(*to == who));
                    possible += usize::from(*to == who);
                }
            }
        }
        assert_eq!(got.len(), possible, "receiver {who} got something that nobody sent, or twice: {got:?}");
    }
}

/// Shows R36.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_overlap_are_seen_in_one_order_by_all() {
    // Each server has an order of its own.
    run_all(&Servers::one(), "overlapping", program).await;
}
