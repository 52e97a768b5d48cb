//! What is to hold: at each moment, and after healing, when nothing more goes wrong.

use crate::event::Event;
use crate::model::Model;
use crate::rules::Beat;
use crate::state::{RECEIVERS, Reply, State, has_queue, holds};

/// Rounds of healing. A beat comes in each third of them; three pass before new receives are opened.
const ROUNDS: usize = 14;

impl Model {
    /// Returns what is wrong in a state, by itself or after healing it. With two receivers, healing goes well also while
    /// either is frozen for ever.
    pub fn failure(&self, state: &State) -> Option<String> {
        self.broken(state).or_else(|| self.failure_after_healing(state))
    }

    pub fn failure_after_healing(&self, state: &State) -> Option<String> {
        if let Some(what) = self.heal(state, None) {
            return Some(what);
        }
        if self.scenario.receivers < RECEIVERS || state.clients[..RECEIVERS].iter().any(|c| c.dead) {
            return None;
        }
        (0..RECEIVERS).find_map(|frozen| self.heal(state, Some(frozen)))
    }

    /// Returns which invariant does not hold: I1, nothing twice, or I7, the order of each queue.
    pub fn broken(&self, state: &State) -> Option<String> {
        for (i, later) in state.deliveries.iter().enumerate() {
            for earlier in &state.deliveries[..i] {
                // An older state has both the message and its place.
                if holds(state.again, later.id) || holds(state.again, earlier.id) {
                    continue;
                }
                if later.id == earlier.id {
                    return Some(format!("TWICE: entry {} was delivered twice (I1)", later.id));
                }
                let ordered = self.scenario.ordered && earlier.ordered && earlier.queue == later.queue;
                if ordered && later.id < earlier.id {
                    return Some(format!(
                        "ORDER: on queue {}, entry {} was delivered after {} (I7)",
                        later.queue, later.id, earlier.id
                    ));
                }
            }
        }
        for entries in state.servers.iter().flat_map(|s| &s.queues) {
            for (i, entry) in entries.iter().enumerate() {
                if entries[..i].iter().any(|e| e.id == entry.id) {
                    return Some(format!("SPLIT: entry {} is twice in its queue", entry.id));
                }
            }
        }
        None
    }

    /// Goes on without a fault, with client `frozen` never moving again, and returns what does not come right.
    fn heal(&self, state: &State, frozen: Option<usize>) -> Option<String> {
        let mut state = state.clone();
        state.old.clear();
        if let Some(f) = frozen {
            for s in 0..self.scenario.servers {
                if state.servers[s].clients[f].leased.is_some() {
                    self.end_lease(&mut state, f, s);
                }
            }
        }
        for round in 0..ROUNDS {
            for c in self.clients() {
                if self.moves(&state, frozen, c) {
                    state = self.settle(state, c, round % 3 == 2);
                }
            }
            if let Some(what) = self.broken(&state) {
                return Some(format!("{what} [on healing, frozen {frozen:?}]"));
            }
            if round >= 3 {
                state = self.receive_where_nobody_does(state, frozen);
            }
        }
        self.asleep(&state, frozen).or_else(|| self.lost(&state, frozen))
    }

    fn moves(&self, state: &State, frozen: Option<usize>, client: usize) -> bool {
        !state.clients[client].dead && frozen != Some(client)
    }

    /// Lets a client connect, beat if its time has come, finish all that is under way, and deliver one message.
    fn settle(&self, mut state: State, client: usize, beats: bool) -> State {
        for s in 0..self.scenario.servers {
            if !state.clients[client].connections[s].up {
                state = self.step(&state, Event::Reconnect(client, s));
            }
            if beats && client < RECEIVERS && self.rules.beat != Beat::None {
                state = self.step(&state, Event::Beat(client, s));
            }
            loop {
                let connection = &state.clients[client].connections[s];
                let event = if !connection.calls.is_empty() {
                    Event::Execute(client, s)
                } else if !connection.published.is_empty() {
                    Event::ReadPublished(client, s)
                } else if !connection.replies.is_empty() {
                    Event::ReadReply(client, s)
                } else if !state.clients[client].finished[s].is_empty() {
                    Event::Settle(client, s)
                } else {
                    break;
                };
                state = self.step(&state, event);
            }
        }
        let filled = state.clients[client].receives.iter().find(|r| r.filled.is_some());
        match filled.map(|r| r.ticket) {
            Some(ticket) => self.step(&state, Event::Deliver(client, ticket)),
            None => state,
        }
    }

    /// Opens one receive for each queue that no receive of a client that moves waits for.
    fn receive_where_nobody_does(&self, mut state: State, frozen: Option<usize>) -> State {
        for q in 0..self.scenario.queues {
            let waits = (0..RECEIVERS).any(|c| {
                self.moves(&state, frozen, c)
                    && state.clients[c].receives.iter().any(|r| has_queue(r.queues, q))
            });
            if let (false, Some(reader)) = (waits, self.reader(&state, frozen, q)) {
                state = self.step(&state, Event::Receive(reader, 1 << q));
            }
        }
        state
    }

    /// Returns a client that moves and receives from the queue in this scenario.
    fn reader(&self, state: &State, frozen: Option<usize>, queue: usize) -> Option<usize> {
        (0..self.scenario.receivers).find(|c| {
            self.moves(state, frozen, *c) && self.scenario.receives[*c].iter().any(|r| has_queue(*r, queue))
        })
    }

    /// Returns a queue that is read and not empty, or a record of a client that moves.
    fn asleep(&self, state: &State, frozen: Option<usize>) -> Option<String> {
        for s in 0..self.scenario.servers {
            for q in (0..self.scenario.queues).filter(|q| self.scenario.server_of[*q] == s) {
                let has_live = state.servers[s].queues[q].iter().any(|e| !state.is_expired(e.id));
                if has_live && self.reader(state, frozen, q).is_some() {
                    return Some(format!(
                        "HANG: queue {q} is not empty, and a receive waits for it (frozen {frozen:?})"
                    ));
                }
            }
            for r in &state.servers[s].records {
                if self.moves(state, frozen, r.client as usize) && !state.is_expired(r.entry.id) {
                    return Some(format!(
                        "STUCK: entry {} in the record of client {} ticket {} (delivered: {})",
                        r.entry.id,
                        r.client,
                        r.ticket,
                        state.was_delivered(r.entry.id)
                    ));
                }
            }
        }
        None
    }

    /// Returns an entry that was accepted and is nowhere.
    fn lost(&self, state: &State, frozen: Option<usize>) -> Option<String> {
        let gone = state.expired | state.excused;
        let missing = |id: &u8| holds(state.accepted, *id) && !holds(gone, *id) && !state.was_delivered(*id);
        (0..state.next_id)
            .filter(missing)
            .find(|id| !self.is_on_a_server(state, frozen, *id) && !is_with_frozen(state, frozen, *id))
            .map(|id| format!("LOST: entry {id} (frozen {frozen:?})"))
    }

    /// Reports whether an entry is in a queue, or in the record of a client that does not move.
    fn is_on_a_server(&self, state: &State, frozen: Option<usize>, id: u8) -> bool {
        state.servers.iter().any(|s| {
            s.queues.iter().flatten().any(|e| e.id == id)
                || s.records.iter().any(|r| r.entry.id == id && !self.moves(state, frozen, r.client as usize))
        })
    }
}

/// Reports whether the frozen client has an entry, or would read it.
fn is_with_frozen(state: &State, frozen: Option<usize>, id: u8) -> bool {
    let Some(client) = frozen.map(|f| &state.clients[f]) else { return false };
    client.receives.iter().any(|r| r.filled.is_some_and(|(_, e)| e.id == id))
        || client.connections.iter().any(|c| {
            let carries = |r: &Reply| matches!(r, Reply::Popped { given: Some(e), .. } if e.id == id);
            c.published.iter().any(|(_, e)| e.id == id) || c.replies.iter().any(carries)
        })
}
