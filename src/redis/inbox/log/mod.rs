//! The log of an inbox, as its owner reads it. The inbox is the log: each change of its memberships stands in it, the owner's
//! own changes too, in order with the messages, and the mirror is what they add up to.
//!
//! - [`chain`] follows the numbers and tags of the changes, and so finds that the server lost something or went back, or
//!   that entries are missing; then the owner begins to count anew and walks.
//! - [`walk`] compares what the server has with the mirror, page by page, and puts one of them right.
//! - [`apply`] does to the mirror what changes did.
//!
//! Nothing here waits; [`Log::due`] returns which call comes next, and the reader makes it.

mod apply;
mod chain;
#[cfg(test)]
mod tests;
mod walk;

use tokio::time::Instant;

pub(super) use self::chain::{Chain, Trust};
use self::walk::Walks;
use super::clock::Clock;
use super::mirror::{Member, Mirror};
use crate::inbox::Mailboxes;
use crate::redis::calls::{Operation, What};
use crate::redis::changes::OwnLine;
use crate::redis::log_entry::{LogEntry, Place};
use crate::seal::Names;

/// The log of one inbox.
pub(super) struct Log {
    line: OwnLine,
    names: Names,
    pub(super) clock: Clock,
    mirror: Mirror,
    chain: Chain,
    walks: Walks,
}

/// An entry's time: when it was pushed, by the server's clock, and when it came, by ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) pushed_ms: u64,
    pub(super) came: Instant,
}

/// The call that the owner makes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It begins to count changes anew.
    Begin,
    /// It gives a sign of life.
    Keep,
    /// It asks for a page.
    Page(Place),
}

impl Log {
    pub(super) fn new(line: OwnLine, names: Names, chain: Chain, clock: Clock) -> Self {
        Self { line, names, clock, mirror: Mirror::default(), chain, walks: Walks::default() }
    }

    pub(super) fn line(&self) -> &OwnLine {
        &self.line
    }

    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The last change that was read: its number and its tag.
    pub(super) fn last(&self) -> (u64, &str) {
        self.chain.last()
    }

    /// The next call, unless there is none before something was read.
    pub(super) fn due(&mut self) -> Option<Due> {
        if self.chain.is_to_begin() {
            return Some(Due::Begin);
        } else if self.walks.wants_keep {
            return Some(Due::Keep);
        } else if self.chain.is_in_doubt() {
            return None;
        }
        self.walks.next_page().map(Due::Page)
    }

    /// Reads an entry of the log.
    pub(super) fn read(&mut self, entry: LogEntry, time: Time, mailboxes: &Mailboxes) {
        match entry {
            LogEntry::Change { n, tag, parts } => self.read_change(n, tag, &parts, time, mailboxes),
            LogEntry::Kept { n, tag, call } => self.read_kept(n, &tag, call),
            LogEntry::Page(page) => self.read_page(&page, time, mailboxes),
            LogEntry::Quiet => self.conclude(Trust::Server),
            LogEntry::Flushed => {
                self.mirror.clear();
                // An own change from before it whose entry was not read is lost, and would have been removed by it.
                self.line.with_unread(|unread| {
                    unread
                        .retain(|unread| unread.told.is_none_or(|told| told.now_us / 1000 > time.pushed_ms));
                });
                self.conclude(Trust::Server);
            }
        }
    }

    /// The connection was lost and is there again: what was asked for may never come.
    pub(super) fn connected_anew(&mut self) {
        self.chain.begins = None;
        self.walks.lose_pages();
        if self.line.take_lost_repairs() {
            self.walks.walk_again();
        }
        self.line.leave_returned();
        self.walks.wants_keep = true;
    }

    /// The call that begins the chain anew was made.
    pub(super) fn has_begun(&mut self, call: u64) {
        self.chain.begins = Some(call);
    }

    /// The owner gives a sign of life soon.
    pub(super) fn wants_keep(&mut self) {
        self.walks.wants_keep = true;
    }

    /// The server answered a sign of life: its time, and in how many groups it has members of this inbox.
    pub(super) fn kept(&mut self, asked: Instant, now_us: u64, groups: usize) {
        self.walks.wants_keep = false;
        self.learn_time(asked, now_us);
        self.walks.has_groups = groups > 0 || self.mirror.len() > 0;
        if self.line.take_lost_repairs() {
            self.walks.walk_again();
        }
        if groups < self.mirror.len() && !self.chain.is_in_doubt() {
            self.walks.walk_unless_under_way();
        }
    }

    /// A beat: what is over is forgotten, and a page that did not come is asked for again.
    pub(super) fn beat(&mut self) {
        self.walks.grow_older();
        self.walks.forget_step_if(self.line.is_quiet());
        self.walks.wants_keep = true;
        self.walks.scrubs = true;
        self.line.leave_returned();
        self.forget_ended();
    }

    /// The server told its time.
    pub(super) fn learn_time(&mut self, asked: Instant, now_us: u64) {
        if self.clock.learn(asked, now_us) {
            tracing::debug!("the clock of a server was set");
            self.walks.clock_was_set();
        }
    }

    /// Takes a member into the mirror as the server has it. One whose mailbox is gone leaves.
    fn put(
        &mut self,
        group: &str,
        address: &str,
        end_ms: u64,
        label: Option<Box<str>>,
        time: Time,
        mailboxes: &Mailboxes,
    ) {
        let mailbox = self.names.reveal_address(address).map(|address| mailboxes.mailbox(&address));
        // Nobody here has the key of a name that is not revealed.
        let is_leaving = mailbox.as_ref().is_some_and(Option::is_none) && !mailboxes.is_read_whole();
        let ends = self.clock.lives_until(time.pushed_ms, end_ms, time.came);
        let mailbox = mailbox.flatten();
        let member = Member { end_ms, ends, mailbox, label, is_leaving, is_pending: false };
        self.mirror.put(group, address, member);
        if is_leaving {
            self.line.leave(&[leave(group, address)]);
        }
    }

    /// A mailbox is gone: it leaves its groups.
    pub(super) fn mailbox_is_gone(&mut self, address: &str) {
        let address = self.names.address(address);
        let mut gone = Vec::new();
        for group in self.mirror.groups_of(&address) {
            if let Some(member) = self.mirror.get_mut(&group, &address) {
                (member.mailbox, member.is_leaving) = (None, true);
            }
            gone.push(leave(&group, &address));
        }
        self.line.leave(&gone);
    }

    /// Renews the memberships of which half the time is over.
    pub(super) fn renew(&mut self, expiry_ms: u64) {
        if self.chain.is_in_doubt() {
            return;
        }
        let now_ms = self.clock.server_ms(Instant::now());
        let soon_ms = now_ms + expiry_ms / 2;
        let busy = self.line.busy();
        let due = self.mirror.iter().filter(|(group, address, member)| {
            let is_free = !member.is_leaving && !member.is_pending && !busy.has(group, address);
            is_free && (now_ms..soon_ms).contains(&member.end_ms)
        });
        let renewals: Vec<Operation> = due
            .map(|(group, address, member)| Operation {
                group: (&**group).into(),
                address: (&**address).into(),
                what: What::SetEnd { end_ms: now_ms + expiry_ms, seen_ms: member.end_ms },
                // Without one, it keeps what the server has.
                label: member.label.clone(),
            })
            .collect();
        self.repair(renewals);
    }

    /// Has the server put right, and notes about whom.
    fn repair(&mut self, repairs: Vec<Operation>) {
        for repair in &repairs {
            if !matches!(repair.what, What::LeaveIf { .. })
                && let Some(member) = self.mirror.get_mut(&repair.group, &repair.address)
            {
                member.is_pending = true;
            }
        }
        if !repairs.is_empty() {
            self.line.repair(repairs);
        }
    }

    /// Forgets who has ended for so long that no clock is in doubt about it.
    fn forget_ended(&mut self) {
        const SURELY: std::time::Duration = std::time::Duration::from_secs(10);
        let now = Instant::now();
        let ended = self.mirror.iter().filter(|(_, _, member)| member.ends + SURELY <= now);
        let ended: Vec<_> = ended.map(|(group, address, _)| (group.clone(), address.clone())).collect();
        for (group, address) in ended {
            self.mirror.remove(&group, &address);
        }
    }
}

/// The operation that takes a member out.
fn leave(group: &str, address: &str) -> Operation {
    Operation { group: group.into(), address: address.into(), what: What::Leave, label: None }
}
