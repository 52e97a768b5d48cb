//! What can happen next: each event is one atomic step of somebody.

use super::{Farewell, Message, Phase, World};
use crate::shards::client::AnyTickets;
use crate::shards::rules::rules;
use crate::shards::scenario::Scenario;
use crate::shards::{CLIENTS, EntryId, QUEUES, SHARDS, Ticket};

/// An event. Those with two numbers and no other word name a client and a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An entry is pushed: shard, queue.
    Push(usize, usize),
    Receive(usize),
    Poll(usize, Ticket),
    Drop(usize, Ticket),
    Close(usize),
    Kill(usize),
    /// The server executes what was written.
    Execute(usize, usize),
    /// The client reads what was pushed or replied.
    Read(usize, usize),
    /// The task goes on with a reply.
    Take(usize, usize),
    Wake(usize, usize),
    Beat(usize, usize),
    Farewell(usize, usize),
    Connect(usize, usize),
    Break(usize, usize, Break),
    /// What was pushed is lost within a living client.
    PushLost(usize, usize),
    OldExecute(usize),
    OldRead(usize),
    OldGone(usize),
    LeaseEnd(usize, usize),
    /// A shard loses its data.
    Loss(usize),
    Expire(EntryId),
    /// A reply comes before what was published earlier: only with two connections.
    Ahead(usize, usize),
    /// A sender found that the server had forgotten the client or the scripts.
    Wanted(usize, usize),
    /// The server refuses a call, and the task connects anew.
    Refused(usize, usize),
}

/// What is left of a connection that breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The server notices too.
    Noticed,
    /// The server does not notice.
    Unnoticed,
    /// Nor does who reads the old socket.
    StillRead,
}

impl Event {
    /// Returns the kind, and for what a task does the shard too: one may be slower than the other.
    pub fn kind(self) -> usize {
        match self {
            Self::Push(s, _) => s,
            Self::Receive(_) => 2,
            Self::Poll(..) => 3,
            Self::Drop(..) => 4,
            Self::Close(_) => 5,
            Self::Kill(_) => 6,
            Self::Execute(_, s) => 7 + s,
            Self::Read(_, s) => 9 + s,
            Self::Take(_, s) => 11 + s,
            Self::Wake(_, s) => 13 + s,
            Self::Beat(_, s) => 15 + s,
            Self::Farewell(..) => 17,
            Self::Connect(_, s) => 18 + s,
            Self::Break(_, s, _) => 20 + s,
            Self::PushLost(..) => 22,
            Self::OldExecute(_) => 23,
            Self::OldRead(_) => 24,
            Self::OldGone(_) => 25,
            Self::LeaseEnd(..) => 26,
            Self::Loss(_) => 27,
            Self::Expire(_) => 28,
            Self::Ahead(..) => 29,
            Self::Wanted(..) => 30,
            Self::Refused(..) => 31,
        }
    }

    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Break(..)
                | Self::Kill(_)
                | Self::Loss(_)
                | Self::LeaseEnd(..)
                | Self::OldGone(_)
                | Self::Expire(_)
                | Self::PushLost(..)
                | Self::Close(_)
                | Self::Refused(..)
        )
    }

    /// Reports whether the event brings what is under way to its end.
    pub fn settles(self) -> bool {
        matches!(
            self,
            Self::Execute(..)
                | Self::Read(..)
                | Self::Take(..)
                | Self::Wake(..)
                | Self::Farewell(..)
                | Self::Connect(..)
        )
    }
}

impl<T: AnyTickets + Default> World<T> {
    /// Returns all that can happen.
    pub fn events(&self, scenario: &Scenario) -> Vec<Event> {
        let mut events = vec![];
        for s in 0..SHARDS {
            let pushes = (0..QUEUES).filter(|q| self.budget.pushes[s][*q] > 0);
            events.extend(pushes.map(|q| Event::Push(s, q)));
            if self.budget.losses > 0 {
                events.push(Event::Loss(s));
            }
        }
        for c in (0..CLIENTS).filter(|c| !self.processes[*c].dead) {
            self.events_of_program(scenario, c, &mut events);
            for s in (0..SHARDS).filter(|s| self.processes[c].tasks[*s].phase != Phase::Ended) {
                self.events_of_reading(scenario, c, s, &mut events);
                self.events_of_task(c, s, &mut events);
                self.events_of_connection(scenario, c, s, &mut events);
            }
        }
        for (i, old) in self.old.iter().enumerate() {
            if old.command.is_some() {
                events.push(Event::OldExecute(i));
            }
            if !old.incoming.is_empty() {
                events.push(Event::OldRead(i));
            }
            events.push(Event::OldGone(i));
        }
        if self.budget.expiries > 0 {
            let lives = |id: &EntryId| !self.is_expired(*id) && !self.is_delivered(*id);
            events.extend((0..self.next).filter(lives).map(Event::Expire));
        }
        events
    }

    fn events_of_program(&self, scenario: &Scenario, c: usize, events: &mut Vec<Event>) {
        let process = &self.processes[c];
        let receiving = &process.tickets.view().receiving;
        let is_left = (self.received[c] as usize) < scenario.receives[c].len();
        if is_left && receiving.len() < scenario.most_open && !process.closed {
            events.push(Event::Receive(c));
        }
        for r in receiving {
            if r.arrival.is_some() {
                events.push(Event::Poll(c, r.ticket));
            }
            if self.budget.drops > 0 {
                events.push(Event::Drop(c, r.ticket));
            }
        }
        if self.budget.closes > 0 && !process.closed {
            events.push(Event::Close(c));
        }
        if self.budget.kills > 0 {
            events.push(Event::Kill(c));
        }
    }

    fn events_of_reading(&self, scenario: &Scenario, c: usize, s: usize, events: &mut Vec<Event>) {
        let (task, connection) = (&self.processes[c].tasks[s], &self.processes[c].connections[s]);
        let is_push = |m: &Message| matches!(m, Message::Push(..));
        if task.phase == Phase::Subscribe || connection.command.is_some() {
            events.push(Event::Execute(c, s));
        }
        let incoming = &connection.incoming;
        if rules().apart && incoming.first().is_some_and(is_push) && !incoming.iter().all(is_push) {
            events.push(Event::Ahead(c, s));
        }
        match incoming.first() {
            Some(Message::Push(..)) => {
                events.push(Event::Read(c, s));
                if self.budget.pushes_lost > 0 {
                    events.push(Event::PushLost(c, s));
                }
            }
            Some(Message::Reply(_)) if connection.slot.is_none() => {
                events.push(if scenario.has_slot { Event::Read(c, s) } else { Event::Take(c, s) });
            }
            _ => {}
        }
        if connection.slot.is_some() {
            events.push(Event::Take(c, s));
        }
    }

    fn events_of_task(&self, c: usize, s: usize, events: &mut Vec<Event>) {
        let (task, connection) = (&self.processes[c].tasks[s], &self.processes[c].connections[s]);
        let mut happens = |when: bool, event: fn(usize, usize) -> Event| {
            if when {
                events.push(event(c, s));
            }
        };
        let is_idle = task.phase == Phase::Idle;
        happens(is_idle && self.processes[c].tickets.view().shards[s].permit, Event::Wake);
        happens(is_idle && self.budget.beats > 0, Event::Beat);
        happens(is_idle && self.budget.wanted > 0, Event::Wanted);
        let is_written = task.phase == Phase::Say && connection.command.is_some();
        happens(is_written && self.budget.refusals > 0, Event::Refused);
        let is_free =
            matches!(task.phase, Phase::Idle | Phase::Down) || task.connecting && connection.slot.is_none();
        happens(task.closing && task.farewell == Farewell::None && is_free, Event::Farewell);
        happens(task.phase == Phase::Down && (!task.closing || task.last), Event::Connect);
    }

    fn events_of_connection(&self, scenario: &Scenario, c: usize, s: usize, events: &mut Vec<Event>) {
        let connection = &self.processes[c].connections[s];
        if self.budget.breaks > 0 && connection.live && connection.slot.is_none() {
            events.push(Event::Break(c, s, Break::Noticed));
            if scenario.breaks_unnoticed && (connection.subscribed || connection.command.is_some()) {
                events.push(Event::Break(c, s, Break::Unnoticed));
                events.push(Event::Break(c, s, Break::StillRead));
            }
        }
        if self.budget.lease_ends > 0 && self.servers[s].clients[c].leased {
            events.push(Event::LeaseEnd(c, s));
        }
    }
}
