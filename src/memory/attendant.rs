//! A small task for each inbox, which follows what the inbox's program does with its mailboxes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::store::{State, Store};
use crate::inbox::Mailboxes;
use crate::name::ChannelName;

/// How often the task looks for room in an inbox where messages wait and the program takes none.
const LOOKS_FOR_ROOM: Duration = Duration::from_millis(500);

/// Runs the task of an inbox: takes dropped mailboxes out of their groups, and gives the mailboxes messages as they make
/// room. Ends with the inbox, and ends the inbox when its program has closed or dropped it.
pub(super) async fn attend(store: Weak<Store>, mailboxes: Arc<Mailboxes>) {
    let ending = Ending { store, mailboxes };
    let mut waits_for_room = false;
    while !ending.mailboxes.is_closing() {
        let changed = ending.mailboxes.changed();
        if waits_for_room {
            // Looks again without a change too: messages that take the room may have expired.
            let _ = tokio::time::timeout(LOOKS_FOR_ROOM, changed).await;
        } else {
            changed.await;
        }
        let Some(store) = ending.store.upgrade() else { return };
        waits_for_room = store.with(|state| state.settle_and_pump(ending.mailboxes.name()));
    }
}

/// Ends the inbox when the task ends, also if the runtime drops the task.
struct Ending {
    store: Weak<Store>,
    mailboxes: Arc<Mailboxes>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        match self.store.upgrade() {
            Some(store) => store.with(|state| state.end_inbox(self.mailboxes.name())),
            None => self.mailboxes.end(),
        }
    }
}

impl State {
    /// Takes dropped mailboxes out of their groups, and gives the others what they have room for. Reports whether the program
    /// reads the inbox and messages still wait.
    fn settle_and_pump(&mut self, inbox: &ChannelName) -> bool {
        self.settle(inbox.as_str());
        let Some(inbox) = self.inboxes.get_mut(inbox.as_str()) else { return false };
        inbox.pump();
        let is_read = inbox.owner().is_some_and(|owner| owner.mailboxes.is_read());
        is_read && inbox.waiting().next().is_some()
    }
}
