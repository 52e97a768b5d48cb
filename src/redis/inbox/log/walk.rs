//! Walks through all pages of the memberships, each compared at the point of the log at which it stands.

use std::collections::{HashMap, HashSet};

use super::{Log, Time, Trust};
use crate::events::Event;
use crate::inbox::Mailboxes;
use crate::redis::calls::{Operation, What};
use crate::redis::inbox::mirror::Member;
use crate::redis::log_entry::{ListedMember, Page, Place};

/// After so many beats a page is asked for again.
const PATIENCE: u32 = 2;
/// Ends that differ by less, in ms, are the same where the clock was set.
const SAME_MS: u64 = 1_000;

/// What is to be compared.
#[derive(Debug, Default)]
pub(super) struct Walks {
    walk: Option<Walk>,
    /// A walk that settles a doubt, and has not ended.
    settles: bool,
    /// A walk is to come.
    comes: bool,
    /// The page that was asked for and has not come, and how many beats ago.
    asked: Option<(u64, u32)>,
    /// The server's clock was set, and the ends of memberships are put right by ours.
    fixes_clock: bool,
    /// The next page of the endless walk.
    scrub: Place,
    /// It is to be asked for.
    pub(super) scrubs: bool,
    /// There is something to compare.
    pub(super) has_groups: bool,
    /// The owner is to give a sign of life.
    pub(super) wants_keep: bool,
}

/// A walk through all pages.
#[derive(Clone, Debug)]
struct Walk {
    trust: Trust,
    next: Place,
}

impl Walks {
    /// The page to be asked for now, if any.
    pub(super) fn next_page(&mut self) -> Option<Place> {
        if self.asked.is_some() {
            return None;
        }
        if self.walk.is_none() && std::mem::take(&mut self.comes) {
            self.walk = Some(Walk { trust: Trust::Mirror, next: Place::default() });
        }
        if let Some(walk) = &self.walk {
            return Some(walk.next.clone());
        }
        let scrubs = std::mem::take(&mut self.scrubs) && self.has_groups;
        scrubs.then(|| self.scrub.clone())
    }

    pub(super) fn asked(&mut self, call: u64) {
        self.asked = Some((call, 0));
    }

    /// No page that was asked for comes any more.
    pub(super) fn lose_pages(&mut self) {
        self.asked = None;
    }

    pub(super) fn walk_again(&mut self) {
        self.comes = true;
    }

    pub(super) fn walk_unless_under_way(&mut self) {
        self.comes |= self.walk.is_none();
    }

    pub(super) fn clock_was_set(&mut self) {
        self.fixes_clock = true;
        self.comes = true;
        self.wants_keep = true;
    }

    /// The walk that settles a doubt.
    pub(super) fn walk_from_doubt(&mut self, trust: Trust) {
        self.walk = Some(Walk { trust, next: Place::default() });
        self.settles = true;
        self.asked = None;
        // A walk after the mirror may have been under way because of it.
        self.comes |= self.fixes_clock;
    }

    /// A beat has passed.
    pub(super) fn grow_older(&mut self) {
        self.asked = self.asked.and_then(|(call, age)| (age < PATIENCE).then_some((call, age + 1)));
    }

    /// Nothing of a walk is under way any more, so what the step of the clock changed is put right.
    pub(super) fn forget_step_if(&mut self, is_quiet: bool) {
        if is_quiet && self.walk.is_none() && !self.comes {
            self.fixes_clock = false;
        }
    }

    /// Whether the walk that settles a doubt has ended since this was asked last.
    fn has_settled(&mut self) -> bool {
        self.walk.is_none() && std::mem::take(&mut self.settles)
    }

    /// A page came, and the next one is due.
    fn go_on_behind(&mut self, to: Option<&Place>) {
        match (&mut self.walk, to) {
            (Some(walk), Some(to)) => walk.next = to.clone(),
            (Some(_), None) => self.walk = None,
            (None, to) => self.scrub = to.cloned().unwrap_or_default(),
        }
    }
}

impl Log {
    /// A page was asked for.
    pub(in crate::redis::inbox) fn asked_for_page(&mut self, call: u64) {
        self.walks.asked(call);
    }

    /// Takes a page over, or has the server put right after the mirror. It counts only if it was asked for last, and at the
    /// change that was read last.
    pub(super) fn read_page(&mut self, page: &Page, time: Time, mailboxes: &Mailboxes) {
        if !self.note_own_call(page.call, page.n) {
            return;
        }
        if self.walks.asked.is_none_or(|(call, _)| call != page.call) {
            return;
        }
        if self.chain.is_in_doubt() {
            return;
        }
        self.walks.asked = None;
        if !self.chain.is_at(page.n, &page.tag) {
            return self.conclude_from(page.n);
        }
        let trust = self.walks.walk.as_ref().map_or(Trust::Mirror, |walk| walk.trust);
        if trust == Trust::Server {
            self.take_over(page, time, mailboxes);
        } else {
            self.learn_labels(page);
            let repairs = self.repairs(page, time);
            self.repair(repairs);
        }
        self.walks.go_on_behind(page.to.as_ref());
        if self.walks.has_settled() {
            mailboxes.events().tell(|| Event::MembershipsHealed { inbox: mailboxes.name().clone() });
        }
    }

    /// The page replaces its range of the mirror.
    fn take_over(&mut self, page: &Page, time: Time, mailboxes: &Mailboxes) {
        let known = self.mirror.between(&page.from, page.to.as_ref());
        let known: Vec<_> = known.map(|(group, address, _)| (group.clone(), address.clone())).collect();
        for (group, address) in known {
            self.mirror.remove(&group, &address);
        }
        for listed in &page.groups {
            for ListedMember { address, end_ms, label } in &listed.members {
                self.put(&listed.group, address, *end_ms, label.clone(), time, mailboxes);
            }
        }
    }

    /// Takes over labels that the mirror does not know. A label counts for one end of a membership, so it is not out of date
    /// where the ends are the same: whoever gave it did so where the owner was not told.
    fn learn_labels(&mut self, page: &Page) {
        for listed in &page.groups {
            for ListedMember { address, end_ms, label } in &listed.members {
                if let (Some(label), Some(member)) = (label, self.mirror.get_mut(&listed.group, address))
                    && member.label.is_none()
                    && member.end_ms == *end_ms
                {
                    member.label = Some(label.clone());
                }
            }
        }
    }

    /// What puts the server right: who is too much, who is missing, and whose end differs. Nothing about members of whom a
    /// change of the program is under way.
    fn repairs(&self, page: &Page, time: Time) -> Vec<Operation> {
        let busy = self.line.busy();
        let mut repairs = Vec::new();
        let mut repair = |group: &str, address: &str, what: Option<What>| {
            if let Some(what) = what
                && !busy.has(group, address)
            {
                let label = self.mirror.get(group, address).map(Member::said_label);
                repairs.push(Operation { group: group.into(), address: address.into(), what, label });
            }
        };
        let mut listed: HashMap<&str, HashSet<&str>> = HashMap::new();
        for group in &page.groups {
            let of_group = listed.entry(&group.group).or_default();
            for member in &group.members {
                of_group.insert(&member.address);
                let what =
                    self.repair_of(&group.group, &member.address, Some((member, group.is_whole)), time);
                repair(&group.group, &member.address, what);
            }
        }
        for (group, address, _) in self.mirror.between(&page.from, page.to.as_ref()) {
            if !listed.get(&**group).is_some_and(|of_group| of_group.contains(&**address)) {
                repair(group, address, self.repair_of(group, address, None, time));
            }
        }
        repairs
    }

    /// The repair of a member, by what the server has of it, if it is there, and whether its group has all its keys.
    fn repair_of(
        &self,
        group: &str,
        address: &str,
        on_server: Option<(&ListedMember, bool)>,
        time: Time,
    ) -> Option<What> {
        let now_ms = time.pushed_ms;
        let listed = on_server;
        let on_server = listed.map(|(member, is_whole)| (member.end_ms, is_whole));
        let Some(member) = self.mirror.get(group, address) else {
            return on_server.filter(|(end, _)| *end > now_ms).map(|(end_ms, _)| What::LeaveIf { end_ms });
        };
        if member.is_leaving {
            return on_server.map(|_| What::Leave);
        }
        let fixes_clock = self.walks.fixes_clock;
        let end_ms = if fixes_clock { self.clock.server_ms(member.ends) } else { member.end_ms };
        if end_ms <= now_ms {
            let outlives = on_server.filter(|(end, _)| fixes_clock && *end > now_ms);
            return outlives.map(|(end_ms, _)| What::LeaveIf { end_ms });
        }
        match on_server {
            Some((seen_ms, true)) => {
                let is_same =
                    if fixes_clock { seen_ms.abs_diff(end_ms) < SAME_MS } else { seen_ms == member.end_ms };
                let has_label =
                    member.label.is_none() || listed.is_some_and(|(listed, _)| listed.label == member.label);
                (seen_ms <= now_ms || !is_same || !has_label).then_some(What::SetEnd { end_ms, seen_ms })
            }
            _ => Some(What::JoinUnlessIn { end_ms, read: self.chain.last().0 }),
        }
    }
}
