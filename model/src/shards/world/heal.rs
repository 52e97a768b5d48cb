//! Healing: what must come right when nothing more goes wrong.

use super::log::say;
use super::{Event, Phase, Record, World};
use crate::shards::client::AnyTickets;
use crate::shards::scenario::{Budget, Scenario};
use crate::shards::{CLIENTS, EntryId, QUEUES, SHARDS, has};

/// More steps than any world needs to come to rest.
const STEPS: usize = 10_000;

impl<T: AnyTickets + Default> World<T> {
    /// Goes on without a fault, then drops all that is open, and notes what does not come right.
    pub fn heal(&mut self, scenario: &Scenario) {
        if self.bad.is_some() {
            return;
        }
        say(|| "-- nothing more goes wrong".to_owned());
        while !self.old.is_empty() {
            self.step(scenario, Event::OldGone(0));
        }
        self.budget = Budget { beats: 100, ..Budget::default() };
        let scenario = &Scenario { receives: Default::default(), ..scenario.clone() };
        self.settle(scenario);
        // A broken connection takes no beat. A lease that ended, lost data or a lost push do, because nobody has noticed.
        if self.needs_beat {
            self.beat_all(scenario);
            self.beat_all(scenario);
        }
        self.note((0..CLIENTS).find_map(|c| self.asleep(c)));
        if self.bad.is_some() {
            return;
        }
        say(|| "-- all that is still open is dropped".to_owned());
        for c in (0..CLIENTS).filter(|c| !self.processes[*c].dead).collect::<Vec<_>>() {
            for receiving in self.processes[c].tickets.view().receiving.clone() {
                self.budget.drops = 1;
                self.step(scenario, Event::Drop(c, receiving.ticket));
            }
        }
        self.settle(scenario);
        self.beat_all(scenario);
        self.beat_all(scenario);
        self.note((0..CLIENTS).find_map(|c| self.left(c)).or_else(|| self.lost()));
    }

    fn note(&mut self, what: Option<String>) {
        if let (None, Some(what)) = (&self.bad, what) {
            self.fail(what);
        }
    }

    /// Lets all happen that is under way, and delivers what arrived.
    fn settle(&mut self, scenario: &Scenario) {
        for _ in 0..STEPS {
            if self.bad.is_some() {
                return;
            }
            let mut events = self.events(scenario).into_iter();
            match events.find(|e| e.settles() || matches!(e, Event::Poll(..))) {
                Some(event) => self.step(scenario, event),
                None => return,
            }
        }
        self.fail("BUSY: it never comes to rest".to_owned());
    }

    fn beat_all(&mut self, scenario: &Scenario) {
        for c in 0..CLIENTS {
            for s in 0..SHARDS {
                if !self.processes[c].dead && self.processes[c].tasks[s].phase == Phase::Idle {
                    self.step(scenario, Event::Beat(c, s));
                }
            }
        }
        self.settle(scenario);
    }

    /// Returns a ticket of a client that waits beside an entry, or that does not wait and is not answered.
    fn asleep(&self, c: usize) -> Option<String> {
        let process = &self.processes[c];
        if process.dead || process.closed {
            return None;
        }
        for (ticket, open) in &process.tickets.view().open {
            if !open.waits {
                return Some(format!("ASLEEP: c{c} t{ticket} does not wait, and is not answered"));
            }
            for place in &open.places {
                let server = &self.servers[place.shard as usize];
                let wanted = (0..QUEUES).filter(|q| has(place.queues, *q));
                let mut entries = wanted.flat_map(|q| server.lists[q].iter().chain(&server.given_back[q]));
                if let Some(id) = entries.find(|id| !self.is_expired(**id)) {
                    return Some(format!(
                        "ASLEEP: entry {id} waits on shard {}, and so does c{c} t{ticket}",
                        place.shard
                    ));
                }
            }
        }
        None
    }

    /// Returns what is left of a client that has dropped all receives: here or on a server.
    fn left(&self, c: usize) -> Option<String> {
        let process = &self.processes[c];
        if process.dead {
            return None;
        }
        let tickets = process.tickets.view();
        let mut left = None;
        if !tickets.open.is_empty() || !tickets.given_on.is_empty() {
            left = Some(format!("LEFT: c{c} has {:?} {:?}", tickets.open, tickets.given_on));
        }
        for s in (0..SHARDS).filter(|s| !process.tasks[*s].failed) {
            let has_ended = process.tasks[s].phase == Phase::Ended;
            let finished = &tickets.shards[s].finished;
            if !has_ended && !finished.is_empty() {
                left = Some(format!("LEFT: c{c} still has to say {finished:?} to shard {s}"));
            }
            if process.closed && !has_ended {
                left = Some(format!("LEFT: c{c} is closed, its task of shard {s} is not"));
            }
            let records = &self.servers[s].clients[c].records;
            if !records.is_empty() {
                left = Some(format!("LEAK: shard {s} keeps {records:?} of c{c} for ever"));
            }
        }
        left
    }

    /// Returns an entry that was neither delivered, nor waits, nor died with a client.
    fn lost(&self) -> Option<String> {
        let gone = self.delivered | self.expired | self.excused;
        (0..self.next)
            .filter(|id| gone >> id & 1 == 0)
            .find(|id| !self.servers.iter().any(|s| s.waiting().any(|x| x == *id)) && !self.died(*id))
            .map(|id| format!("LOST: entry {id} was neither delivered, nor waits, nor died with a client"))
    }

    fn died(&self, id: EntryId) -> bool {
        (0..CLIENTS).any(|c| {
            (0..SHARDS).any(|s| {
                let is_of = |r: &Record| matches!(r, Record::Handed { id: x, .. } if *x == id);
                (self.processes[c].dead || self.processes[c].tasks[s].failed)
                    && self.servers[s].clients[c].records.iter().any(|r| is_of(&r.1))
            })
        })
    }
}
