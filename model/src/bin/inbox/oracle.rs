//! What is to hold: at each moment, and after healing, when nothing more goes wrong.

use crate::event::Event;
use crate::rules::Rules;
use crate::state::{OldConnection, State};

impl State {
    /// Returns what is wrong, by itself or after healing.
    pub fn failure(&self, rules: &Rules) -> Option<String> {
        self.broken().or_else(|| self.heal(rules))
    }

    /// Returns which entry was delivered twice (I1) or in the wrong order (I7).
    fn broken(&self) -> Option<String> {
        let delivered = &self.reader.delivered;
        for (i, later) in delivered.iter().enumerate() {
            for earlier in &delivered[..i] {
                if later == earlier {
                    return Some(format!("TWICE: entry {later} was delivered twice (I1)"));
                }
                if later < earlier {
                    return Some(format!("ORDER: entry {later} was delivered after {earlier} (I7)"));
                }
            }
        }
        None
    }

    /// Goes on without a fault, pushes two more entries, and returns an entry that does not come.
    fn heal(&self, rules: &Rules) -> Option<String> {
        let mut state = self.clone();
        state.old = OldConnection::default();
        if !state.connection.up {
            state.step(rules, Event::Reconnect);
        }
        for round in 0..12 {
            if let Some(what) = state.settle(rules) {
                return Some(what);
            }
            if round < 9 && (rules.by_ticket() || !state.reader.asked) {
                state.ask(rules);
            }
        }
        for _ in 0..2 {
            state.push(rules);
            for _ in 0..3 {
                if let Some(what) = state.settle(rules) {
                    return Some(what);
                }
                state.ask(rules);
            }
        }
        let delivered = &state.reader.delivered;
        (0..state.next_id)
            .find(|id| state.excused >> id & 1 == 0 && !delivered.contains(id))
            .map(|id| format!("LOST: entry {id}; delivered {delivered:?}, server {:?}", state.server))
    }

    /// Executes and reads all that is under way. Returns what is wrong then.
    fn settle(&mut self, rules: &Rules) -> Option<String> {
        loop {
            let event = if !self.connection.calls.is_empty() {
                Event::Execute
            } else if !self.connection.replies.is_empty() {
                Event::ReadReply
            } else if !self.connection.published.is_empty() {
                Event::ReadPublished
            } else {
                return None;
            };
            self.step(rules, event);
            if let Some(what) = self.broken() {
                return Some(what);
            }
        }
    }
}
