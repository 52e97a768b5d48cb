//! What the owner of an inbox knows of its members' groups. The inbox itself feeds it: who joins or leaves is told there
//! in order with the messages, so a message goes to those who were members when it was sent.
//!
//! Times are the server's. Every change has one, and the last change of a member counts, so that what is read anew and
//! what is told meanwhile may come in any order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::inbox::Slot;
use crate::name::GroupName;

/// The groups of one inbox.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    groups: HashMap<GroupName, Members>,
    /// The groups of each address.
    groups_of: HashMap<Arc<str>, HashSet<GroupName>>,
}

/// The members of a group in this inbox.
pub(super) type Members = HashMap<Arc<str>, Member>;

/// One member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// When the membership ends.
    pub(super) deadline_ms: u64,
    /// When this was so.
    pub(super) since_us: u64,
    /// Its mailbox; none if the inbox is read as a whole.
    pub(super) mailbox: Option<Arc<Slot>>,
}

impl Member {
    /// Whether it gets what was sent at this time.
    pub(super) fn gets(&self, sent_us: u64) -> bool {
        self.deadline_ms > sent_us / 1000
    }
}

impl Mirror {
    /// An address joined a group.
    pub(super) fn join(&mut self, group: GroupName, address: Arc<str>, member: Member) {
        let members = self.groups.entry(group.clone()).or_default();
        match members.get_mut(&address) {
            Some(known) if known.since_us > member.since_us => {}
            Some(known) => *known = member,
            None => {
                members.insert(Arc::clone(&address), member);
                self.groups_of.entry(address).or_default().insert(group);
            }
        }
    }

    /// A membership lasts longer; since when that is so, if it was begun anew.
    pub(super) fn prolong(
        &mut self,
        group: &GroupName,
        address: &str,
        deadline_ms: u64,
        since_us: Option<u64>,
    ) {
        if let Some(member) = self.groups.get_mut(group).and_then(|members| members.get_mut(address)) {
            member.deadline_ms = member.deadline_ms.max(deadline_ms);
            member.since_us = since_us.unwrap_or(member.since_us);
        }
    }

    /// Nobody of this inbox was in a group at this time: who is known from before has left without a word.
    pub(super) fn begin(&mut self, group: &GroupName, since_us: u64) {
        let Some(members) = self.groups.get(group) else { return };
        let gone = members.iter().filter(|(_, member)| member.since_us < since_us);
        let gone: Vec<Arc<str>> = gone.map(|(address, _)| Arc::clone(address)).collect();
        for address in gone {
            self.remove(group, &address);
        }
    }

    /// An address left a group.
    pub(super) fn leave(&mut self, group: &GroupName, address: &str, since_us: u64) {
        let known = self.groups.get(group).and_then(|members| members.get(address));
        if known.is_some_and(|member| member.since_us <= since_us) {
            self.remove(group, address);
        }
    }

    /// Forgets the memberships that had ended at a time.
    pub(super) fn prune(&mut self, now_us: u64) {
        let mut ended = Vec::new();
        for (group, members) in &self.groups {
            let gone = members.iter().filter(|(_, member)| !member.gets(now_us));
            ended.extend(gone.map(|(address, _)| (group.clone(), Arc::clone(address))));
        }
        for (group, address) in ended {
            self.remove(&group, &address);
        }
    }

    /// Forgets an address; returns in which groups it was.
    pub(super) fn forget(&mut self, address: &str) -> Vec<GroupName> {
        let groups: Vec<GroupName> = self.groups_of.get(address).into_iter().flatten().cloned().collect();
        for group in &groups {
            self.remove(group, address);
        }
        groups
    }

    /// The members of a group.
    pub(super) fn members(&self, group: &GroupName) -> Option<&Members> {
        self.groups.get(group)
    }

    /// All groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&GroupName, &Members)> {
        self.groups.iter()
    }

    fn remove(&mut self, group: &GroupName, address: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(address);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
        if let Some(groups) = self.groups_of.get_mut(address) {
            groups.remove(group);
            if groups.is_empty() {
                self.groups_of.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupName {
        GroupName::new("room").unwrap()
    }

    fn member(deadline_ms: u64, since_us: u64) -> Member {
        Member { deadline_ms, since_us, mailbox: None }
    }

    fn names(mirror: &Mirror) -> Vec<&str> {
        let mut names: Vec<&str> =
            mirror.members(&group()).into_iter().flatten().map(|(address, _)| &**address).collect();
        names.sort_unstable();
        names
    }

    /// Shows R23.
    #[test]
    fn the_last_change_of_a_member_counts() {
        let mut mirror = Mirror::default();
        mirror.join(group(), "a".into(), member(10, 5));
        mirror.leave(&group(), "a", 4);
        assert_eq!(names(&mirror), ["a"]);
        mirror.join(group(), "a".into(), member(3, 4));
        assert_eq!(mirror.members(&group()).unwrap()["a"].deadline_ms, 10);
        mirror.leave(&group(), "a", 5);
        assert!(names(&mirror).is_empty());
    }

    /// Shows R23.
    #[test]
    fn a_group_that_begins_anew_forgets_who_was_in_before() {
        let mut mirror = Mirror::default();
        mirror.join(group(), "old".into(), member(10, 5));
        mirror.join(group(), "new".into(), member(10, 9));
        mirror.begin(&group(), 9);
        assert_eq!(names(&mirror), ["new"]);
        mirror.begin(&GroupName::new("other").unwrap(), 9);
    }

    #[test]
    fn who_is_forgotten_leaves_nothing_behind() {
        let mut mirror = Mirror::default();
        mirror.join(group(), "a".into(), member(10, 5));
        mirror.join(GroupName::new("lobby").unwrap(), "a".into(), member(10, 5));
        let mut left = mirror.forget("a");
        left.sort_unstable();
        assert_eq!(left, [GroupName::new("lobby").unwrap(), group()]);
        assert!(mirror.groups.is_empty() && mirror.groups_of.is_empty());
        assert!(mirror.forget("a").is_empty());
    }

    #[test]
    fn memberships_that_have_ended_are_forgotten() {
        let mut mirror = Mirror::default();
        mirror.join(group(), "ended".into(), member(10, 5));
        mirror.join(group(), "lasts".into(), member(11, 5));
        mirror.prune(9_999);
        assert_eq!(names(&mirror), ["ended", "lasts"]);
        mirror.prune(10_000);
        assert_eq!(names(&mirror), ["lasts"]);
        mirror.prune(11_000);
        assert!(mirror.groups.is_empty() && mirror.groups_of.is_empty());
    }

    /// Shows R24.
    #[test]
    fn a_member_gets_what_was_sent_before_its_membership_ended() {
        assert!(member(10, 0).gets(9_999));
        assert!(!member(10, 0).gets(10_000));
    }
}
