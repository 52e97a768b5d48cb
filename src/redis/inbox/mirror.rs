//! The groups of an inbox, as its owner knows them: what the changes add up to that it has read in the inbox, in order with
//! the messages. So a message goes to those who were members when it was sent.
//!
//! Names are as the server sees them, and so is their order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::inbox::Slot;
use crate::redis::log_entry::Place;

/// The groups of one inbox.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    groups: BTreeMap<Arc<str>, Members>,
    /// The groups of each address.
    groups_of: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

/// The members of a group in this inbox.
pub(super) type Members = HashMap<Arc<str>, Member>;

/// One member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// When the membership ends, by the server's clock.
    pub(super) end_ms: u64,
    /// The same by our clock, which nobody sets.
    pub(super) ends: Instant,
    /// Its mailbox; none if the inbox is read as a whole, or if it is gone.
    pub(super) mailbox: Option<Arc<Slot>>,
    /// Its label, as the server sees it.
    pub(super) label: Option<Box<str>>,
    /// Its mailbox is gone: it gets nothing more, and leaves.
    pub(super) is_leaving: bool,
    /// The server is being put right about it, and nothing was read of it since that was decided.
    pub(super) is_pending: bool,
}

impl Member {
    /// Whether it gets what was sent at this time of the server.
    pub(super) fn gets(&self, sent_ms: u64) -> bool {
        self.end_ms > sent_ms && !self.is_leaving
    }

    /// Its label as a repair says it, which is empty if it has none.
    pub(super) fn said_label(&self) -> Box<str> {
        self.label.clone().unwrap_or_default()
    }

    /// The server has this label for the membership with this end. It has been given none if the owner was not told.
    pub(super) fn learn_label(&mut self, label: Option<&str>) {
        if let Some(label) = label {
            self.label = Some(label.into());
        }
    }
}

impl Mirror {
    /// An address is in a group.
    pub(super) fn put(&mut self, group: &str, address: &str, member: Member) {
        let group = match self.groups.get_key_value(group) {
            Some((group, _)) => Arc::clone(group),
            None => Arc::from(group),
        };
        let members = self.groups.entry(Arc::clone(&group)).or_default();
        if let Some(known) = members.get_mut(address) {
            *known = member;
            return;
        }
        let address: Arc<str> = match self.groups_of.get_key_value(address) {
            Some((address, _)) => Arc::clone(address),
            None => Arc::from(address),
        };
        members.insert(Arc::clone(&address), member);
        self.groups_of.entry(address).or_default().insert(group);
    }

    /// An address is not in a group; whether it was.
    pub(super) fn remove(&mut self, group: &str, address: &str) -> bool {
        let Some(members) = self.groups.get_mut(group) else { return false };
        let was_in = members.remove(address).is_some();
        if members.is_empty() {
            self.groups.remove(group);
        }
        if let Some(groups) = self.groups_of.get_mut(address) {
            groups.remove(group);
            if groups.is_empty() {
                self.groups_of.remove(address);
            }
        }
        was_in
    }

    /// The groups of an address.
    pub(super) fn groups_of(&self, address: &str) -> Vec<Arc<str>> {
        self.groups_of.get(address).into_iter().flatten().map(Arc::clone).collect()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn get(&self, group: &str, address: &str) -> Option<&Member> {
        self.groups.get(group)?.get(address)
    }

    pub(super) fn get_mut(&mut self, group: &str, address: &str) -> Option<&mut Member> {
        self.groups.get_mut(group)?.get_mut(address)
    }

    /// The members of a group.
    pub(super) fn members(&self, group: &str) -> Option<&Members> {
        self.groups.get(group)
    }

    /// In how many groups there are members.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// All members, each with its group and its address.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Member)> {
        self.groups.iter().flat_map(|(group, members)| {
            members.iter().map(move |(address, member)| (group, address, member))
        })
    }

    /// All members.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.groups.values_mut().flat_map(HashMap::values_mut)
    }

    /// The members behind one place and not behind another, each with its group and its address.
    pub(super) fn between(
        &self,
        from: &Place,
        to: Option<&Place>,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Member)> {
        let last = to.map_or(Bound::Unbounded, |to| Bound::Included(&*to.group));
        let groups = self.groups.range::<str, _>((Bound::Included(&*from.group), last));
        let members = groups.flat_map(|(group, members)| {
            members.iter().map(move |(address, member)| (group, address, member))
        });
        members.filter(move |(group, address, member)| {
            from.is_before(group, member.end_ms, address)
                && !to.is_some_and(|to| to.is_before(group, member.end_ms, address))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(end_ms: u64) -> Member {
        Member {
            end_ms,
            ends: Instant::now(),
            mailbox: None,
            label: None,
            is_leaving: false,
            is_pending: false,
        }
    }

    fn mirror(members: &[(&str, &str, u64)]) -> Mirror {
        let mut mirror = Mirror::default();
        for (group, address, end_ms) in members {
            mirror.put(group, address, member(*end_ms));
        }
        mirror
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let mut mirror = mirror(&[("room", "a", 10), ("lobby", "a", 10)]);
        let mut groups = mirror.groups_of("a");
        groups.sort_unstable();
        assert_eq!(groups.concat(), "lobbyroom");
        assert!(mirror.remove("room", "a") && mirror.remove("lobby", "a"));
        assert!(!mirror.remove("room", "a"));
        assert!(mirror.groups.is_empty() && mirror.groups_of.is_empty());
    }

    /// Shows R38.
    #[test]
    fn a_range_has_whole_groups_and_parts_of_the_first_and_the_last() {
        let mirror = mirror(&[
            ("a", "x", 5),
            ("b", "x", 5),
            ("b", "y", 6),
            ("c", "x", 5),
            ("c", "y", 6),
            ("d", "x", 5),
        ]);
        let place = |group: &str, end_ms, address: &str| Place {
            group: group.into(),
            end_ms,
            address: address.into(),
        };
        let between = |from: Place, to: Option<Place>| {
            let mut found: Vec<String> = mirror
                .between(&from, to.as_ref())
                .map(|(group, address, _)| format!("{group}{address}"))
                .collect();
            found.sort_unstable();
            found
        };
        assert_eq!(between(Place::default(), None), ["ax", "bx", "by", "cx", "cy", "dx"]);
        assert_eq!(between(place("b", Some(5), "x"), Some(place("c", Some(5), "x"))), ["by", "cx"]);
        assert_eq!(between(place("b", None, ""), Some(place("c", None, ""))), ["cx", "cy"]);
        assert!(between(place("d", None, ""), None).is_empty());
    }

    /// Shows R24.
    #[test]
    fn a_member_gets_what_was_sent_before_its_membership_ended() {
        assert!(member(10).gets(9));
        assert!(!member(10).gets(10));
        assert!(!Member { is_leaving: true, ..member(10) }.gets(9));
    }
}
