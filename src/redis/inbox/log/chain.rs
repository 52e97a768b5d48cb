//! The chain of changes: each has the number after the last one's, and each call of a client a higher one than before. Where
//! that is not so, the owner decides whom to believe.

use std::collections::HashMap;

use super::{Log, Time};
use crate::events::Event;
use crate::inbox::Mailboxes;
use crate::redis::calls::What;
use crate::redis::changes::{Sent, Unread};
use crate::redis::log_entry::{Part, Tag};

/// How many clients are remembered by their last calls; the ones of whom nothing was read for longest are forgotten first.
const MAX_CLIENTS: usize = 4096;

/// Whom the owner believes when it and the server differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis::inbox) enum Trust {
    /// The server went back, or lost keys.
    Mirror,
    /// Entries were lost or left out.
    Server,
}

pub(in crate::redis::inbox) struct Chain {
    /// The client that the owner is.
    client: Box<str>,
    n: u64,
    tag: Tag,
    /// For each client, the highest of its calls that was read, and at which change.
    seen: HashMap<Box<str>, (u64, u64)>,
    verdict: Option<Trust>,
    /// The call that begins the chain anew, if it was made.
    pub(super) begins: Option<u64>,
    /// What was read of members since the verdict.
    since: Vec<Since>,
}

/// A change of a member that was read while own changes were lost.
struct Since {
    group: Box<str>,
    address: Box<str>,
    n: u64,
    /// The call, if it was the owner's.
    call: Option<u64>,
}

impl Chain {
    pub(in crate::redis::inbox) fn new(client: &str) -> Self {
        Self {
            client: client.into(),
            n: 0,
            tag: Tag::default(),
            seen: HashMap::new(),
            verdict: None,
            begins: None,
            since: Vec::new(),
        }
    }

    pub(in crate::redis::inbox) fn last(&self) -> (u64, &str) {
        (self.n, self.tag.as_str())
    }

    /// Whether it was found that the owner and the server differ, and the chain did not begin anew since.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.verdict.is_some()
    }

    pub(super) fn is_to_begin(&self) -> bool {
        self.verdict.is_some() && self.begins.is_none()
    }

    /// Whether a page or an answer stands at the change that was read last.
    pub(super) fn is_at(&self, n: u64, tag: &Tag) -> bool {
        n == self.n && *tag == self.tag
    }

    fn last_seen(&self, client: &str) -> u64 {
        self.seen.get(client).map_or(0, |(call, _)| *call)
    }

    fn note_seen(&mut self, client: &str, call: u64) {
        self.seen.insert(client.into(), (call, self.n));
        if self.seen.len() > MAX_CLIENTS {
            let mut read: Vec<u64> = self.seen.values().map(|(_, n)| *n).collect();
            read.sort_unstable();
            let half = read.get(read.len() / 2).copied().unwrap_or_default();
            let own = self.client.clone();
            self.seen.retain(|client, (_, n)| *n > half || *client == own);
        }
    }
}

impl Log {
    /// Decides whom to believe. That the mirror is right is not taken back before the chain begins anew.
    pub(super) fn conclude(&mut self, trust: Trust) {
        if self.chain.verdict.is_none() {
            self.line.hold();
        }
        if self.chain.verdict != Some(Trust::Mirror) {
            self.chain.verdict = Some(trust);
        }
    }

    /// Decides by a number that is not the owner's: the server went back, or entries are missing.
    pub(super) fn conclude_from(&mut self, n: u64) {
        self.conclude(if n <= self.chain.n { Trust::Mirror } else { Trust::Server });
    }

    /// Notes a call of the owner whose entry was read. Own changes before it are lost. Returns false for a repeat of an old
    /// state.
    pub(super) fn note_own_call(&mut self, call: u64, n: u64) -> bool {
        let own = self.chain.client.clone();
        if call <= self.chain.last_seen(&own) {
            self.conclude(Trust::Mirror);
            return false;
        }
        self.chain.note_seen(&own, call);
        if self.chain.begins.is_some_and(|begins| begins < call) {
            self.chain.begins = None;
        }
        let lost: Vec<u64> = self.line.with_unread(|unread| {
            let lost = unread.iter().filter(|unread| unread.call < call);
            let told = lost.filter_map(|unread| unread.told.map(|told| told.n)).collect();
            unread.retain(|unread| unread.call >= call || unread.told.is_some());
            told
        });
        for told in lost {
            self.conclude(if told > n { Trust::Mirror } else { Trust::Server });
        }
        true
    }

    /// The answer to a sign of life: the server's last change was another, or the owner was not sure.
    pub(super) fn read_kept(&mut self, n: u64, tag: &Tag, call: u64) {
        if self.note_own_call(call, n) && !self.chain.is_in_doubt() && !self.chain.is_at(n, tag) {
            self.conclude_from(n);
        }
    }

    pub(super) fn read_change(
        &mut self,
        n: u64,
        tag: Tag,
        parts: &[Part],
        time: Time,
        mailboxes: &Mailboxes,
    ) {
        let own = self.is_own(&tag);
        let is_fork = self.line.with_unread(|unread| {
            unread
                .iter()
                .any(|unread| unread.told.is_some_and(|told| told.n == n) && own != Some(unread.call))
        });
        if is_fork {
            self.conclude(Trust::Mirror);
        }
        match (own, tag.call()) {
            (Some(call), _) => {
                if !self.note_own_call(call, n) {
                    return;
                }
            }
            (None, Some(call)) => {
                if call <= self.chain.last_seen(tag.client()) {
                    return self.conclude(Trust::Mirror);
                }
                self.chain.note_seen(tag.client(), call);
            }
            // Who is no client has no calls to tell apart.
            (None, None) => {}
        }
        if parts.contains(&Part::Begun) {
            return self.begin_anew(n, tag, time, mailboxes);
        }
        if !self.chain.is_in_doubt() {
            if n == self.chain.n + 1 {
                (self.chain.n, self.chain.tag) = (n, tag);
            } else {
                self.conclude_from(n);
            }
        }
        if self.chain.is_in_doubt() {
            self.note_since(n, own, parts);
        }
        self.apply_change(own, parts, time, mailboxes);
    }

    /// The number of the call, if a tag is the owner's.
    fn is_own(&self, tag: &Tag) -> Option<u64> {
        if tag.client() == &*self.chain.client { tag.call() } else { None }
    }

    /// Notes of which members something was read, for own changes that are lost.
    fn note_since(&mut self, n: u64, call: Option<u64>, parts: &[Part]) {
        let mut note = |group: &str, address: &str| {
            self.chain.since.push(Since { group: group.into(), address: address.into(), n, call });
        };
        for part in parts {
            match part {
                Part::Joined { group, address, .. } | Part::Left { group, address } => note(group, address),
                Part::LeftAll { address } => {
                    for group in self.mirror.groups_of(address) {
                        note(&group, address);
                    }
                }
                Part::Repaired { .. } | Part::Begun => {}
            }
        }
    }

    /// Takes the number of a change as it is, and walks through all pages. If the mirror is right, own changes that were
    /// answered and lost come first.
    fn begin_anew(&mut self, n: u64, tag: Tag, time: Time, mailboxes: &Mailboxes) {
        let begins = tag.call().unwrap_or_default();
        self.chain.begins = None;
        (self.chain.n, self.chain.tag) = (n, tag);
        let lost: Vec<Unread> = self.line.with_unread(|unread| {
            let lost = unread.iter().filter(|unread| unread.call < begins).cloned().collect();
            unread.retain(|unread| unread.call > begins);
            lost
        });
        let Some(trust) = self.chain.verdict.take() else { return };
        let since = std::mem::take(&mut self.chain.since);
        if trust == Trust::Mirror {
            for unread in lost {
                self.apply_lost(&unread, &since, time, mailboxes);
            }
        }
        for member in self.mirror.iter_mut() {
            member.is_pending = false;
        }
        self.line.forget_repairs();
        tracing::warn!(
            inbox = %mailboxes.name(), groups = self.mirror.len(), believes = ?trust,
            "the server had lost an inbox or some of its memberships; they are compared and put right"
        );
        mailboxes.events().tell(|| Event::MembershipsLost { inbox: mailboxes.name().clone() });
        self.walks.walk_from_doubt(trust);
        self.line.go_on();
    }

    /// Applies a change that was answered and lost, unless a later one of the member was read.
    fn apply_lost(&mut self, unread: &Unread, since: &[Since], time: Time, mailboxes: &Mailboxes) {
        let Some(told) = unread.told else { return };
        let has_later = |group: &str, address: &str| {
            since.iter().any(|since| {
                let is_later = since.call.map_or(since.n >= told.n, |call| call > unread.call);
                is_later && *since.group == *group && *since.address == *address
            })
        };
        match &unread.sent {
            Sent::Operations(operations) => {
                for operation in operations.iter() {
                    let (group, address) = (&operation.group, &operation.address);
                    if has_later(group, address) {
                        continue;
                    }
                    match operation.what {
                        What::Join { left_ms } => {
                            let end_ms = told.now_us / 1000 + left_ms;
                            self.put(group, address, end_ms, operation.label.clone(), time, mailboxes);
                        }
                        What::Leave => {
                            self.mirror.remove(group, address);
                        }
                        _ => {}
                    }
                }
            }
            Sent::LeftAll(address) => {
                for group in self.mirror.groups_of(address) {
                    if !has_later(&group, address) {
                        self.mirror.remove(&group, address);
                    }
                }
            }
        }
    }
}
