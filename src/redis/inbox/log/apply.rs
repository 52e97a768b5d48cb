//! What changes do to the mirror.

use std::collections::HashSet;

use super::{Log, Time};
use crate::inbox::Mailboxes;
use crate::redis::calls::{Operation, What};
use crate::redis::changes::Sent;
use crate::redis::log_entry::Part;

/// A repair that set an end, as its entry tells it.
struct Repaired<'a> {
    group: &'a str,
    address: &'a str,
    end_ms: u64,
    label: Option<&'a str>,
}

impl Log {
    pub(super) fn apply_change(
        &mut self,
        own: Option<u64>,
        parts: &[Part],
        time: Time,
        mailboxes: &Mailboxes,
    ) {
        let asked = own.map(|call| self.take_unread(call, parts)).unwrap_or_default();
        let mut repairs = asked.iter().filter(|operation| operation.what.is_repair());
        // Members that a program changed in this entry.
        let mut changed: HashSet<(&str, &str)> = HashSet::new();
        for part in parts {
            match part {
                Part::Joined { group, address, end_ms, label } => {
                    self.put(group, address, *end_ms, label.clone(), time, mailboxes);
                    changed.insert((group, address));
                }
                Part::Left { group, address } => {
                    self.mirror.remove(group, address);
                    changed.insert((group, address));
                }
                Part::LeftAll { address } => {
                    for group in self.mirror.groups_of(address) {
                        self.mirror.remove(&group, address);
                    }
                }
                Part::Repaired { group, address, end_ms, label } => {
                    // Those that were refused stand in the call and not in the entry.
                    let what = repairs
                        .find(|it| it.group == *group && it.address == *address)
                        .map(|operation| operation.what);
                    if *end_ms == 0 {
                        let was_seen = self.mirror.get(group, address).map(|member| member.end_ms);
                        if what.is_some_and(
                            |what| matches!(what, What::LeaveIf { end_ms } if Some(end_ms) == was_seen),
                        ) {
                            self.mirror.remove(group, address);
                        }
                    } else {
                        let is_changed = changed.contains(&(&**group, &**address));
                        let repaired = Repaired { group, address, end_ms: *end_ms, label: label.as_deref() };
                        self.apply_repair(&repaired, what, is_changed, time);
                    }
                }
                Part::Begun => {}
            }
        }
    }

    /// Returns the operations of an own change that was read. If a repair was refused, a walk follows.
    fn take_unread(&mut self, call: u64, parts: &[Part]) -> Vec<Operation> {
        let asked: Vec<Operation> = self.line.with_unread(|unread| {
            let of_call = unread.iter().filter(|unread| unread.call == call);
            let asked = of_call
                .flat_map(|unread| match &unread.sent {
                    Sent::Operations(operations) => operations.to_vec(),
                    Sent::LeftAll(_) => Vec::new(),
                })
                .collect();
            unread.retain(|unread| unread.call != call);
            asked
        });
        let repairs = asked.iter().filter(|operation| operation.what.is_repair()).count();
        let repaired = parts.iter().filter(|part| matches!(part, Part::Repaired { .. })).count();
        if repairs > repaired {
            self.walks.walk_again();
        }
        asked
    }

    /// Takes a repair that set an end. The mirror stays if something was read of the member since it was decided; then the
    /// server is put right after it.
    fn apply_repair(&mut self, repaired: &Repaired<'_>, asked: Option<What>, is_changed: bool, time: Time) {
        let wanted = asked.and_then(|what| match what {
            What::JoinUnlessIn { end_ms, .. } | What::SetEnd { end_ms, .. } => Some(end_ms),
            _ => None,
        });
        let &Repaired { group, address, end_ms, label } = repaired;
        let ends = self.clock.lives_until(time.pushed_ms, end_ms, time.came);
        let (what, label) = match self.mirror.get_mut(group, address) {
            Some(member) => {
                let was_pending = std::mem::take(&mut member.is_pending);
                if was_pending && wanted == Some(end_ms) {
                    (member.end_ms, member.ends) = (end_ms, ends);
                    member.learn_label(label);
                    return;
                } else if member.end_ms == end_ms {
                    return member.learn_label(label);
                } else if was_pending {
                    return self.walks.walk_again();
                }
                (What::SetEnd { end_ms: member.end_ms, seen_ms: end_ms }, Some(member.said_label()))
            }
            None if !is_changed => (What::LeaveIf { end_ms }, None),
            None => return,
        };
        self.repair(vec![Operation { group: group.into(), address: address.into(), what, label }]);
    }
}
