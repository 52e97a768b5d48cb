//! What a server does with a call: the scripts of lua/, each as one step.

use crate::model::Model;
use crate::rules::Acknowledgement;
use crate::state::{Ask, Call, End, Entry, Finished, Generation, QUEUES, Reply, State, Ticket, has_queue};

/// How many expired entries one call drops (R18): the scripts' number is larger, and one shows the same.
const MOST_EXPIRED: u8 = 1;

/// What a ticket got.
enum Served {
    Given(Entry),
    /// Nothing is there, so it waits.
    Nothing,
    /// The call has dropped as many expired entries as it may, and others may stand there.
    Stopped,
}

impl Model {
    /// Executes a call and returns its reply, or `None` where the client awaits none. A call on an old connection
    /// subscribes nobody.
    pub fn execute(
        &self,
        state: &mut State,
        client: usize,
        server: usize,
        call: Call,
        old: bool,
    ) -> Option<Reply> {
        match call {
            Call::Subscribe => {
                if !old {
                    state.clients[client].connections[server].subscribed = true;
                }
                None
            }
            Call::Hello(generation) => self.hello(state, client, server, generation, old),
            Call::List(generation) => {
                let known = &state.servers[server];
                if known.clients[client].highest != generation {
                    return Some(Reply::Stale(generation));
                }
                Some(Reply::Listed(known.tickets_of(client as u8)))
            }
            Call::Push { generation, queue, id } => self.push(state, client, server, generation, queue, id),
            Call::Pop { generation, finished, open } => {
                Some(self.pop(state, client, server, generation, finished, open))
            }
            Call::GiveBack { generation, ticket, entry } => {
                let known = &mut state.servers[server];
                if self.rules.generations && known.clients[client].leased != Some(generation) {
                    return Some(Reply::Stale(generation));
                }
                known.records.retain(|r| !(r.client as usize == client && r.entry == entry));
                self.give_back(state, server, entry);
                Some(Reply::GivenBack(ticket))
            }
        }
    }

    /// lua/hello.lua (R1).
    fn hello(
        &self,
        state: &mut State,
        client: usize,
        server: usize,
        generation: Generation,
        old: bool,
    ) -> Option<Reply> {
        let known = &mut state.servers[server].clients[client];
        if self.rules.generations {
            let highest =
                if self.rules.forgets_generation { known.leased.unwrap_or(0) } else { known.highest };
            if highest >= generation {
                return Some(Reply::Stale(generation));
            }
            known.highest = generation;
        }
        known.leased = Some(if self.rules.generations { generation } else { 0 });
        if !old && self.rules.subscribes_first {
            state.clients[client].connections[server].subscribed = true;
        }
        None
    }

    /// lua/push.lua (R2, R15): hands the entry to a ticket that waits, else appends it if there is room.
    fn push(
        &self,
        state: &mut State,
        client: usize,
        server: usize,
        generation: Generation,
        queue: u8,
        id: u8,
    ) -> Option<Reply> {
        if self.rules.fenced_push && state.servers[server].clients[client].leased != Some(generation) {
            return Some(Reply::Stale(generation));
        }
        let expired = state.expired;
        let known = &mut state.servers[server];
        let entries = &mut known.queues[queue as usize];
        let is_live = |e: &Entry| expired >> e.id & 1 == 0;
        let dead = entries.iter().position(is_live).unwrap_or(entries.len());
        entries.drain(..dead);
        let live = entries.iter().filter(|e| is_live(e)).count();
        known.pushes[queue as usize] += 1;
        let entry = Entry { queue, sequence: known.pushes[queue as usize], id };
        if live == 0 && self.hand_over(state, server, entry) {
            state.accepted |= 1 << id;
        } else if live < self.scenario.capacity {
            state.accepted |= 1 << id;
            state.servers[server].queues[queue as usize].push(entry);
        }
        None
    }

    /// lua/pop.lua (R3): looks at the finished tickets, then at the open one.
    fn pop(
        &self,
        state: &mut State,
        client: usize,
        server: usize,
        generation: Generation,
        finished: Vec<Finished>,
        open: Option<Ask>,
    ) -> Reply {
        let own = if self.rules.generations { generation } else { 0 };
        let leased = &mut state.servers[server].clients[client].leased;
        if leased.is_none() && self.rules.revives_lease {
            *leased = Some(own);
        }
        if *leased != Some(own) {
            return Reply::Stale(generation);
        }
        if self.rules.acknowledgement == Acknowledgement::NextCall {
            let asked = open.map(|ask| ask.ticket);
            state.servers[server].records.retain(|r| r.client as usize != client || asked == Some(r.ticket));
        }
        for f in &finished {
            self.finish(state, client as u8, server, *f);
        }
        let (mut served, mut given, mut unserved) = (None, None, None);
        if let Some(ask) = open {
            match self.serve(state, client as u8, server, ask) {
                Served::Given(entry) => (served, given) = (Some(ask.ticket), Some(entry)),
                Served::Nothing => served = Some(ask.ticket),
                Served::Stopped => unserved = Some(ask),
            }
        }
        Reply::Popped { finished, served, given, unserved }
    }

    /// Deletes the record of a finished ticket. Unless its entry is acknowledged, it goes back.
    fn finish(&self, state: &mut State, client: u8, server: usize, finished: Finished) {
        let known = &mut state.servers[server];
        known.leave_lines(client, finished.ticket);
        let Some(at) = known.record(client, finished.ticket) else { return };
        let entry = known.records[at].entry;
        match finished.end {
            End::Released if !self.rules.server_gives_back => {}
            End::Acknowledged(id) if self.is_acknowledged(entry, id) => {
                known.records.remove(at);
            }
            _ => {
                known.records.remove(at);
                self.give_back(state, server, entry);
            }
        }
    }

    fn is_acknowledged(&self, entry: Entry, id: u8) -> bool {
        self.rules.acknowledgement != Acknowledgement::TicketAndId || id == self.named_by(entry)
    }

    /// Returns the id by which an acknowledgement names an entry.
    pub fn named_by(&self, entry: Entry) -> u8 {
        if self.rules.counted_ids { entry.sequence } else { entry.id }
    }

    /// Returns the entry of the ticket's record, else one of its queues, else lets the ticket wait. Tickets look at their
    /// queues in one direction or the other. Stops when it has dropped as many expired entries as one call may (R18).
    fn serve(&self, state: &mut State, client: u8, server: usize, ask: Ask) -> Served {
        let expired = state.expired;
        let known = &mut state.servers[server];
        if let Some(at) = known.record(client, ask.ticket) {
            return Served::Given(known.records[at].entry);
        }
        let (mut found, mut dropped) = (None, 0);
        for i in 0..QUEUES {
            let queue = if ask.ticket.is_multiple_of(2) { i } else { QUEUES - 1 - i };
            while found.is_none()
                && dropped < MOST_EXPIRED
                && has_queue(ask.queues, queue)
                && !known.queues[queue].is_empty()
            {
                let head = known.queues[queue].remove(0);
                found = (expired >> head.id & 1 == 0).then_some(head);
                dropped += u8::from(found.is_none());
            }
        }
        if let Some(entry) = found {
            known.leave_lines(client, ask.ticket);
            known.keep_record(client, ask.ticket, entry);
            return Served::Given(entry);
        }
        if dropped == MOST_EXPIRED && self.rules.stops_whole {
            return Served::Stopped;
        }
        for (queue, line) in known.lines.iter_mut().enumerate() {
            if has_queue(ask.queues, queue) && !line.contains(&(client, ask.ticket)) {
                line.push((client, ask.ticket));
            }
        }
        Served::Nothing
    }

    /// lua/lib/hand_over.lua (R2): records the entry under the ticket that has waited longest and publishes it. Returns
    /// whether one waited.
    fn hand_over(&self, state: &mut State, server: usize, entry: Entry) -> bool {
        let mut discarded = 0;
        while let Some(&(client, ticket)) = state.servers[server].lines[entry.queue as usize].first() {
            if self.rules.discards_one && discarded >= 1 {
                return false;
            }
            discarded += 1;
            state.servers[server].leave_lines(client, ticket);
            if state.servers[server].clients[client as usize].leased.is_none() {
                continue;
            }
            if !self.publish(state, client, server, ticket, entry) {
                if self.rules.generations {
                    state.servers[server].clients[client as usize].leased = None;
                }
                continue;
            }
            let known = &mut state.servers[server];
            known.records.retain(|r| !(r.client == client && r.ticket == ticket));
            known.keep_record(client, ticket, entry);
            return true;
        }
        false
    }

    /// Publishes to a client's wake channel. Returns whether anybody listens, which an old connection does too.
    fn publish(&self, state: &mut State, client: u8, server: usize, ticket: Ticket, entry: Entry) -> bool {
        let connection = &mut state.clients[client as usize].connections[server];
        if connection.subscribed {
            connection.published.push((ticket, entry));
            return true;
        }
        state.old.iter().any(|o| o.client == client && o.server as usize == server && o.subscribed)
    }

    /// lua/lib/give_back.lua: the next ticket that waits gets the entry, else it returns to its place in the queue.
    pub fn give_back(&self, state: &mut State, server: usize, entry: Entry) {
        if state.is_expired(entry.id) {
            return;
        }
        let queue = entry.queue as usize;
        if state.servers[server].queues[queue].is_empty() && self.hand_over(state, server, entry) {
            return;
        }
        let entries = &mut state.servers[server].queues[queue];
        let place = if self.rules.returns_to_head {
            0
        } else {
            entries.iter().position(|e| e.sequence > entry.sequence).unwrap_or(entries.len())
        };
        entries.insert(place, entry);
    }
}
