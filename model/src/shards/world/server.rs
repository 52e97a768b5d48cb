//! The scripts: lua/hello.lua, push.lua, pop.lua and what they include, each as one step.

use super::log::say;
use super::{Command, Known, Message, Record, Reply, World};
use crate::shards::client::{AnyTickets, Finished, Handed, NextCall, OpenTicket};
use crate::shards::rules::{Broken, breaks, rules};
use crate::shards::{Generation, QUEUES, Queues, Ticket, has};

impl<T: AnyTickets + Default> World<T> {
    pub(super) fn execute(&mut self, c: usize, s: usize, command: Command) -> Reply {
        say(|| format!("        shard {s} executes c{c} {command:?}"));
        match command {
            Command::Hello(generation) => {
                let known = &mut self.servers[s].clients[c];
                if known.generation >= generation {
                    return Reply::Stale(known.generation);
                }
                known.generation = generation;
                known.leased = true;
                Reply::Hello
            }
            Command::Pop { generation, ends, call } => self.pop(c, s, generation, ends, &call),
        }
    }

    /// lua/push.lua (R2).
    pub(super) fn push(&mut self, s: usize, q: usize) {
        let id = self.next;
        self.next += 1;
        self.accepted |= 1 << id;
        say(|| format!("        entry {id}"));
        let is_empty = self.servers[s].lists[q].is_empty();
        if !is_empty || !self.hand_over(s, Handed { queue: q as u8, id }) {
            self.servers[s].lists[q].push(id);
        }
    }

    /// lua/pop.lua (R3).
    fn pop(&mut self, c: usize, s: usize, generation: Generation, ends: bool, call: &NextCall) -> Reply {
        let known = &mut self.servers[s].clients[c];
        let is_late = known.generation != generation && !breaks(Broken::NoGeneration);
        if is_late || known.generation == 0 || !known.leased {
            say(|| "        stale".to_owned());
            return Reply::Stale(known.generation);
        }
        known.leased = !ends;
        for handed in self.finish(c, s, &call.finished) {
            self.give_back(s, handed);
        }
        let (mut served, mut given) = (0, vec![]);
        for open in &call.open {
            if given.len() >= rules().most_served {
                break;
            }
            served += 1;
            given.extend(self.serve(c, s, open).map(|handed| (open.ticket, handed)));
        }
        say(|| format!("        served {served}, given {given:?}"));
        Reply::Pop { served, given }
    }

    /// Deletes the records of finished tickets. Returns the entries that are to go back.
    fn finish(&mut self, c: usize, s: usize, finished: &[Finished]) -> Vec<Handed> {
        let before = self.servers[s].clients[c].records.clone();
        let (mut seen, mut back) = (vec![], vec![]);
        for f in finished {
            let record = before.iter().find(|r| r.0 == f.ticket);
            let Some((ticket, record)) = record.filter(|r| !seen.contains(&r.0)) else { continue };
            seen.push(*ticket);
            let lines = match *record {
                Record::Waits(lines) => lines,
                Record::Handed { lines, queue, id } => {
                    let is_acknowledged =
                        f.delivered == Some(id) || f.delivered.is_some() && breaks(Broken::AckByTicket);
                    if !is_acknowledged {
                        back.push(Handed { queue, id });
                    }
                    lines
                }
            };
            let server = &mut self.servers[s];
            for q in (0..QUEUES).filter(|q| has(lines, *q)) {
                server.lines[q].retain(|x| *x != (c as u8, *ticket));
            }
            server.clients[c].records.retain(|r| r.0 != *ticket);
        }
        back
    }

    /// Returns the entry of an open ticket: that of its record, else one of its queues. Else the ticket waits, unless it is
    /// a `try` ticket.
    fn serve(&mut self, c: usize, s: usize, open: &OpenTicket) -> Option<Handed> {
        let records = &self.servers[s].clients[c].records;
        let record = records.iter().find(|r| r.0 == open.ticket).map(|r| r.1.clone());
        let lines = match record {
            Some(Record::Handed { queue, id, .. }) if !self.is_expired(id) => {
                return Some(Handed { queue, id });
            }
            Some(Record::Handed { lines, .. } | Record::Waits(lines)) => lines,
            None => 0,
        };
        if let Some(handed) = self.take(s, open.queues) {
            let record = Record::Handed { lines, queue: handed.queue, id: handed.id };
            self.servers[s].clients[c].set(open.ticket, record);
            return Some(handed);
        }
        let server = &mut self.servers[s];
        if open.waits {
            for (q, line) in server.lines.iter_mut().enumerate() {
                if has(open.queues, q) && !line.contains(&(c as u8, open.ticket)) {
                    line.push((c as u8, open.ticket));
                }
            }
            server.clients[c].set(open.ticket, Record::Waits(open.queues));
        } else if record.is_some() {
            server.clients[c].records.retain(|r| r.0 != open.ticket);
        }
        None
    }

    /// lua/lib/take.lua: the first live entry, of those that came back before those of the lists.
    fn take(&mut self, s: usize, queues: Queues) -> Option<Handed> {
        loop {
            let server = &mut self.servers[s];
            let mut places =
                server.given_back.iter_mut().enumerate().chain(server.lists.iter_mut().enumerate());
            let (q, place) = places.find(|(q, place)| has(queues, *q) && !place.is_empty())?;
            let handed = Handed { queue: q as u8, id: place.remove(0) };
            if !self.is_expired(handed.id) {
                return Some(handed);
            }
        }
    }

    /// lua/lib/hand_over.lua: records the entry for the ticket that has waited longest. Returns whether one waited.
    fn hand_over(&mut self, s: usize, handed: Handed) -> bool {
        let q = handed.queue as usize;
        while !self.servers[s].lines[q].is_empty() {
            let (client, ticket) = self.servers[s].lines[q].remove(0);
            let c = client as usize;
            let known = &self.servers[s].clients[c];
            let record = known.records.iter().find(|r| r.0 == ticket);
            let Some((_, Record::Waits(queues))) = record.filter(|_| known.leased) else { continue };
            let lines = if *queues == 1 << q { 0 } else { *queues };
            if self.publish(s, c, ticket, handed) > 0 {
                let record = Record::Handed { lines, queue: handed.queue, id: handed.id };
                self.servers[s].clients[c].set(ticket, record);
                say(|| format!("        shard {s} hands entry {} to c{c} t{ticket}", handed.id));
                return true;
            }
            self.servers[s].clients[c].leased = false;
            say(|| format!("        shard {s}: nobody listens for c{c}, its lease ends"));
        }
        false
    }

    /// Publishes to a client's wake channel and returns how many listen.
    fn publish(&mut self, s: usize, c: usize, ticket: Ticket, handed: Handed) -> usize {
        let mut listeners = 0;
        let connection = &mut self.processes[c].connections[s];
        if connection.live && connection.subscribed {
            listeners += 1;
            connection.incoming.push(Message::Push(ticket, handed));
        }
        let is_of =
            |o: &super::OldConnection| (o.client as usize, o.shard as usize) == (c, s) && o.subscribed;
        for old in self.old.iter_mut().filter(|o| is_of(o)) {
            listeners += 1;
            if old.is_read {
                old.incoming.push(Message::Push(ticket, handed));
            }
        }
        listeners
    }

    /// lua/lib/give_back.lua: the next ticket that waits gets the entry, else it returns to its place.
    fn give_back(&mut self, s: usize, handed: Handed) {
        if self.is_expired(handed.id) || self.hand_over(s, handed) {
            return;
        }
        let given_back = &mut self.servers[s].given_back[handed.queue as usize];
        given_back.push(handed.id);
        given_back.sort_unstable();
        say(|| format!("        shard {s}: entry {} is back in its queue", handed.id));
    }
}

impl Known {
    fn set(&mut self, ticket: Ticket, record: Record) {
        self.records.retain(|r| r.0 != ticket);
        let at = self.records.iter().position(|r| r.0 > ticket).unwrap_or(self.records.len());
        self.records.insert(at, (ticket, record));
    }
}
