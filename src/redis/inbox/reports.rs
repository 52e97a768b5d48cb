//! Which mailboxes of an inbox count as full on the server, and which of them are to be reported.

use std::collections::HashMap;
use std::sync::Arc;

use crate::inbox::Slot;

/// How many addresses one call names: the server does nothing else meanwhile.
const MAX_ADDRESSES: usize = 800;

#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Mailboxes of which the server knows that they are full.
    marked: HashMap<Arc<str>, Arc<Slot>>,
    /// Mailboxes of which it may know otherwise than we.
    waiting: Vec<Arc<Slot>>,
    /// The server has other marks than it was told, and is to forget them.
    begins_anew: bool,
}

/// What one call reports.
#[derive(Debug, Default)]
pub(in crate::redis) struct Report {
    slots: Vec<Arc<Slot>>,
    full: Vec<Arc<Slot>>,
    with_room: Vec<Arc<Slot>>,
    /// Whether the server forgets all that it was told before.
    pub(in crate::redis) begins_anew: bool,
}

impl Report {
    /// The addresses of full mailboxes, and of those that have room again.
    pub(in crate::redis) fn addresses(&self) -> (Vec<&str>, Vec<&str>) {
        (
            self.full.iter().map(|slot| slot.address()).collect(),
            self.with_room.iter().map(|slot| slot.address()).collect(),
        )
    }
}

impl Reports {
    /// A mailbox became full, has room again, or was dropped. Of most the server has nothing to learn, and they are not
    /// kept, or they would pile up while it cannot be told.
    pub(super) fn note(&mut self, mailboxes: impl IntoIterator<Item = Arc<Slot>>) {
        let marked = &self.marked;
        let matters = |slot: &Arc<Slot>| slot.is_full() || marked.contains_key(slot.address());
        self.waiting.extend(mailboxes.into_iter().filter(matters));
    }

    /// The mailboxes of which the server knows that they are full.
    pub(super) fn marked(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.marked.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what the next call reports.
    pub(super) fn next(&mut self) -> Report {
        let few = self.waiting.len().saturating_sub(MAX_ADDRESSES);
        let slots = self.waiting.split_off(few);
        let (mut full, mut with_room) = (Vec::new(), Vec::new());
        for slot in &slots {
            match (slot.is_full(), self.marked.contains_key(slot.address())) {
                (true, _) => full.push(Arc::clone(slot)),
                (false, true) => with_room.push(Arc::clone(slot)),
                (false, false) => {}
            }
        }
        Report { slots, full, with_room, begins_anew: std::mem::take(&mut self.begins_anew) }
    }

    /// The server has learned it, and so many mailboxes count as full there. Returns whether these are other ones than it
    /// was told: then the next reports tell of all.
    pub(super) fn told(&mut self, report: Report, marks: usize) -> bool {
        for slot in &report.with_room {
            self.marked.remove(slot.address());
        }
        self.marked.extend(report.full.into_iter().map(|slot| (Arc::from(slot.address()), slot)));
        let differs = marks != self.marked.len();
        if differs {
            self.begins_anew = true;
            self.waiting.extend(self.marked.drain().map(|(_, slot)| slot));
        }
        differs
    }

    /// The server may not have learned it.
    pub(super) fn not_told(&mut self, report: Report) {
        self.waiting.extend(report.slots);
        self.begins_anew |= report.begins_anew;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::message::PackedMessage;

    fn mailbox(address: &str) -> Arc<Slot> {
        Arc::new(Slot::new(format!("a.b!{address}").parse().unwrap(), 1))
    }

    fn full(address: &str) -> Arc<Slot> {
        let slot = mailbox(address);
        slot.post(Instant::now() + Duration::from_secs(60), PackedMessage::pack(&1).unwrap());
        slot
    }

    #[test]
    fn only_mailboxes_of_which_there_is_something_to_tell_are_kept() {
        let mut reports = Reports::default();
        reports.note([full("full")]);
        for number in 0..1_000 {
            let dropped = mailbox(&number.to_string());
            dropped.close();
            reports.note([dropped]);
        }
        let report = reports.next();
        assert_eq!(report.addresses(), (vec!["full"], vec![]));
        assert!(!reports.told(report, 1) && reports.is_empty());
    }

    #[test]
    fn a_server_with_other_marks_forgets_them_and_is_told_of_all() {
        let mut reports = Reports::default();
        reports.note([full("full")]);
        let report = reports.next();
        reports.not_told(report);
        let report = reports.next();
        assert!(reports.told(report, 2), "an older state has one more");
        let report = reports.next();
        assert!(report.begins_anew);
        assert_eq!(report.addresses(), (vec!["full"], vec![]));
        assert!(!reports.told(report, 1) && !reports.next().begins_anew);
    }
}
