//! Steps of several processes one after another: the model knows who is a member at each send.

use std::collections::{BTreeSet, HashSet, VecDeque};

use asgi_redis::{ChannelLayerExt, RedisChannelLayer};

use super::{GROUPS, Receiver, group, receivers, run_all};
use crate::layer::until;
use crate::support::Servers;

const STEPS: usize = 60;

/// A receiver, and what the model knows of it.
struct Member {
    receiver: Receiver,
    /// Its inbox, or a number of its own if it is none.
    queue: usize,
    groups: BTreeSet<usize>,
    expected: VecDeque<u64>,
    /// Nothing is taken from it before the end.
    is_left_alone: bool,
}

async fn program(seed: u64, layers: &[RedisChannelLayer], normal_in_order: bool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (inboxes, all) = receivers(layers, seed, normal_in_order).await;
    let mut members: Vec<Member> = all
        .into_iter()
        .enumerate()
        .map(|(number, receiver)| Member {
            queue: if matches!(receiver, Receiver::Mailbox(_)) { number % inboxes.len() } else { number },
            receiver,
            groups: BTreeSet::new(),
            expected: VecDeque::new(),
            is_left_alone: random.u32(0..4) == 0,
        })
        .collect();
    let mut dropped = false;
    for step in 0..STEPS {
        let layer = &layers[random.usize(0..layers.len())];
        let room = random.usize(0..GROUPS);
        let chosen = random.usize(0..members.len());
        let member = &mut members[chosen];
        let number = step as u64;
        match random.u32(0..100) {
            0..26 => {
                layer.group_add(group(seed, room), member.receiver.name().as_str()).await.unwrap();
                member.groups.insert(room);
            }
            26..40 => {
                layer.group_discard(group(seed, room), member.receiver.name().as_str()).await.unwrap();
                member.groups.remove(&room);
            }
            40..44 => {
                layer.leave_groups(member.receiver.name().as_str()).await.unwrap();
                member.groups.clear();
            }
            44..76 => {
                let receipt = layer.group_send(group(seed, room), &number).await.unwrap();
                let mut queues = HashSet::new();
                for member in members.iter_mut().filter(|member| member.groups.contains(&room)) {
                    member.expected.push_back(number);
                    queues.insert(member.queue);
                }
                // Who was dropped leaves in the background.
                let delivered = receipt.delivered();
                assert!(delivered == queues.len() || dropped && delivered > queues.len(), "{receipt:?}");
                assert_eq!((receipt.full(), receipt.failed()), (0, 0));
            }
            76..88 => {
                layer.send(member.receiver.name().as_str(), &number).await.unwrap();
                member.expected.push_back(number);
            }
            88..92 if matches!(member.receiver, Receiver::Mailbox(_)) => {
                member.receiver = Receiver::Mailbox(inboxes[member.queue].open_mailbox().unwrap());
                member.groups.clear();
                member.expected.clear();
                dropped = true;
            }
            _ if !member.is_left_alone => {
                if let Some(expected) = member.expected.pop_front() {
                    assert_eq!(member.receiver.next(layer).await, expected, "in step {step}");
                }
            }
            _ => {}
        }
    }
    for (number, member) in members.iter_mut().enumerate() {
        let rest = member.receiver.rest(&layers[number % layers.len()]).await;
        assert_eq!(member.expected, rest, "receiver {number}");
    }
    for room in 0..GROUPS {
        let names = members.iter().filter(|member| member.groups.contains(&room));
        let names: BTreeSet<String> = names.map(|member| member.receiver.name()).collect();
        until("the groups hold whom the model says", async || {
            let listed = layers[0].group_channels(group(seed, room)).await.unwrap();
            let counted = layers[1].group_len(group(seed, room)).await.unwrap();
            counted == names.len() && listed.iter().map(ToString::to_string).eq_set(&names)
        })
        .await;
    }
}

trait EqSet {
    /// Whether these are the names, each once, in any order.
    fn eq_set(self, names: &BTreeSet<String>) -> bool;
}

impl<I: Iterator<Item = String>> EqSet for I {
    fn eq_set(self, names: &BTreeSet<String>) -> bool {
        let listed: Vec<String> = self.collect();
        listed.len() == names.len() && listed.iter().all(|name| names.contains(name))
    }
}

on_one_and_three_servers!(each_receiver_gets_exactly_what_was_sent_while_it_was_a_member, threads);
/// Shows R24.
async fn each_receiver_gets_exactly_what_was_sent_while_it_was_a_member(servers: Servers) {
    // Over several servers what is sent to a normal channel itself and to its groups has no common order.
    let normal_in_order = servers.all().len() == 1;
    run_all(&servers, "sequential", async |seed, layers| program(seed, layers, normal_in_order).await).await;
}
