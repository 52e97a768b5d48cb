//! How an event changes the world.

use super::log::say;
use super::{Break, Connection, Event, Farewell, Message, Phase, Record, Server, World};
use crate::shards::client::{AnyTickets, Arrival, Handed};
use crate::shards::rules::{Broken, breaks};
use crate::shards::scenario::{Receive, Scenario};
use crate::shards::{EntryId, ORDERED, Queues, SHARDS, Ticket, has};

impl<T: AnyTickets + Default> World<T> {
    /// Lets an event happen, which `events` gave for this world, and checks what must always hold.
    pub fn step(&mut self, scenario: &Scenario, event: Event) {
        say(|| format!("{event:?}"));
        match event {
            Event::Push(s, q) => {
                self.budget.pushes[s][q] -= 1;
                self.push(s, q);
            }
            Event::Receive(c) => {
                let receive = scenario.receives[c][self.received[c] as usize];
                self.received[c] += 1;
                self.open(c, receive);
            }
            Event::Poll(c, ticket) => self.poll(c, ticket),
            Event::Drop(c, ticket) => {
                self.budget.drops -= 1;
                self.processes[c].tickets.drop_future(ticket);
            }
            Event::Close(c) => {
                self.budget.closes -= 1;
                let process = &mut self.processes[c];
                process.closed = true;
                process.tickets.close();
                for task in &mut process.tasks {
                    task.closing = true;
                }
            }
            Event::Kill(c) => self.kill(c),
            Event::Wake(c, s) => {
                self.processes[c].tickets.take_permit(s);
                self.say_all(c, s);
            }
            Event::Beat(c, s) => self.beat(c, s),
            Event::Farewell(c, s) => self.say_farewell(c, s),
            Event::Connect(c, s) => {
                let process = &mut self.processes[c];
                process.connections[s] = Connection { live: true, ..Connection::default() };
                process.tasks[s].phase = Phase::Subscribe;
                process.tasks[s].connecting = true;
            }
            Event::Wanted(c, s) => {
                self.budget.wanted -= 1;
                self.greet(c, s);
            }
            Event::Refused(c, s) => {
                self.budget.refusals -= 1;
                let process = &mut self.processes[c];
                let call = process.tasks[s].call.clone().unwrap_or_default();
                process.tickets.failed(s, &call);
                self.leave(c, s, true, false);
                self.broke(c, s);
            }
            Event::Break(c, s, kind) => {
                self.budget.breaks -= 1;
                self.leave(c, s, kind == Break::Noticed, kind == Break::StillRead);
                self.broke(c, s);
            }
            Event::LeaseEnd(c, s) => {
                self.budget.lease_ends -= 1;
                self.needs_beat = true;
                self.servers[s].clients[c].leased = false;
            }
            Event::Loss(s) => {
                self.budget.losses -= 1;
                self.needs_beat = true;
                self.excused = self.entries_on(s).iter().fold(self.excused, |ids, id| ids | 1 << id);
                self.servers[s] = Server::default();
            }
            Event::Expire(id) => {
                self.budget.expiries -= 1;
                self.expired |= 1 << id;
            }
            _ => self.step_of_connection(event),
        }
        self.check();
    }

    /// The events of connections, old and new.
    fn step_of_connection(&mut self, event: Event) {
        match event {
            Event::Execute(c, s) => {
                if self.processes[c].tasks[s].phase == Phase::Subscribe {
                    self.processes[c].connections[s].subscribed = true;
                    self.greet(c, s);
                } else if let Some(command) = self.processes[c].connections[s].command.take() {
                    let reply = self.execute(c, s, command);
                    self.processes[c].connections[s].incoming.push(Message::Reply(reply));
                }
            }
            Event::Read(c, s) => {
                let process = &mut self.processes[c];
                match process.connections[s].incoming.remove(0) {
                    Message::Push(ticket, handed) => process.tickets.arrived(s, ticket, handed),
                    Message::Reply(reply) => process.connections[s].slot = Some(reply),
                }
            }
            Event::Take(c, s) => {
                let connection = &mut self.processes[c].connections[s];
                let next = connection.slot.take().map(Message::Reply);
                match next.unwrap_or_else(|| connection.incoming.remove(0)) {
                    Message::Reply(reply) => self.take_reply(c, s, reply),
                    push @ Message::Push(..) => self.fail(format!("MODEL: {push:?} is taken for a reply")),
                }
            }
            Event::Ahead(c, s) => {
                let incoming = &mut self.processes[c].connections[s].incoming;
                if let Some(at) = incoming.iter().position(|m| matches!(m, Message::Reply(_))) {
                    let reply = incoming.remove(at);
                    incoming.insert(0, reply);
                }
            }
            Event::PushLost(c, s) => {
                self.budget.pushes_lost -= 1;
                self.needs_beat = true;
                self.processes[c].connections[s].incoming.remove(0);
            }
            Event::OldExecute(i) => {
                let old = &mut self.old[i];
                let (c, s) = (old.client as usize, old.shard as usize);
                if let Some(command) = old.command.take() {
                    self.execute(c, s, command);
                }
            }
            Event::OldRead(i) => {
                let old = &mut self.old[i];
                let (c, s) = (old.client as usize, old.shard as usize);
                if let Message::Push(ticket, handed) = old.incoming.remove(0)
                    && !self.processes[c].dead
                {
                    self.processes[c].tickets.arrived(s, ticket, handed);
                }
            }
            Event::OldGone(i) => {
                self.old.remove(i);
            }
            other => self.fail(format!("MODEL: no step for {other:?}")),
        }
    }

    /// Opens a receive. A ticket that does not wait asks the shards that it can reach.
    fn open(&mut self, c: usize, receive: Receive) {
        let Receive { queues, waits, shards } = receive;
        let process = &mut self.processes[c];
        let places: Vec<(u8, Queues)> = (0..SHARDS)
            .filter(|s| has(shards, *s) && (waits || process.tasks[*s].up))
            .map(|s| (s as u8, if s == 1 { queues } else { queues & 1 }))
            .filter(|place| place.1 != 0)
            .collect();
        if !places.is_empty() {
            let ticket = process.tickets.open(&places, waits);
            say(|| format!("        ticket {ticket:?} {places:?} waits {waits}"));
        }
    }

    fn poll(&mut self, c: usize, ticket: Ticket) {
        let arrival = self.processes[c].tickets.poll(ticket);
        say(|| format!("        {arrival:?}"));
        let Some(Arrival::Message(_, Handed { queue, id })) = arrival else { return };
        if self.is_delivered(id) {
            self.fail(format!("TWICE: entry {id}"));
        }
        self.delivered |= 1 << id;
        if queue as usize == ORDERED {
            if self.last > id + 1 {
                self.fail(format!("ORDER: entry {id} of the ? channel after {}", self.last - 1));
            }
            self.last = id + 1;
        }
    }

    fn kill(&mut self, c: usize) {
        self.budget.kills -= 1;
        self.took = self.taken(c);
        for s in 0..SHARDS {
            if self.processes[c].connections[s].live {
                self.leave(c, s, false, false);
            }
        }
        let process = &mut self.processes[c];
        process.dead = true;
        for task in &mut process.tasks {
            task.phase = Phase::Ended;
        }
    }

    /// Asks again for all that is open (R7).
    fn beat(&mut self, c: usize, s: usize) {
        self.budget.beats = self.budget.beats.saturating_sub(1);
        let process = &mut self.processes[c];
        let mut call = None;
        if !breaks(Broken::BeatOnlyRenews) {
            process.tickets.ask_again(s);
            call = process.tickets.next_call(s);
        }
        process.tasks[s].beats = true;
        self.say(c, s, call.unwrap_or_default(), false);
    }

    fn say_farewell(&mut self, c: usize, s: usize) {
        let process = &mut self.processes[c];
        let task = &mut process.tasks[s];
        if task.phase == Phase::Idle {
            task.farewell = Farewell::SaysFinished;
            process.tickets.close();
            self.say_all(c, s);
            return;
        }
        if task.phase != Phase::Down {
            self.leave(c, s, false, false);
        }
        self.end_unconnected(c, s);
    }

    /// Returns the entries that are anywhere on a shard.
    pub(super) fn entries_on(&self, s: usize) -> Vec<EntryId> {
        let server = &self.servers[s];
        let records = server.clients.iter().flat_map(|known| &known.records);
        let handed = records.filter_map(|(_, record)| match record {
            Record::Handed { id, .. } => Some(*id),
            Record::Waits(_) => None,
        });
        server.waiting().chain(handed).collect()
    }

    /// Returns how many undelivered entries a process has been handed, and how many of its receives are under way.
    fn taken(&self, c: usize) -> (u8, u8) {
        let records = self.servers.iter().flat_map(|server| &server.clients[c].records);
        let undelivered =
            records.filter(|r| matches!(r.1, Record::Handed { id, .. } if !self.is_delivered(id)));
        (undelivered.count() as u8, self.processes[c].tickets.view().receiving.len() as u8)
    }
}
