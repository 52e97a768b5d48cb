//! How an event changes the state.

use crate::event::{Cut, Event};
use crate::model::Model;
use crate::rules::{Acknowledgement, Beat, LeaseEnd};
use crate::state::{
    Ask, Call, Client, Connection, Delivery, End, Entry, OldConnection, Queues, RECEIVERS, Receive, Record,
    Reply, State, Ticket,
};

impl Model {
    /// Returns the state after an event, which `events` gave for this one.
    pub fn step(&self, before: &State, event: Event) -> State {
        let mut state = before.clone();
        let n = &mut state;
        match event {
            Event::Send(c, queue) => {
                let connection = &mut n.clients[c].connections[self.scenario.server_of[queue]];
                let generation = connection.generation;
                connection.calls.push(Call::Push { generation, queue: queue as u8, id: n.next_id });
                n.next_id += 1;
                n.budget.sends[c - RECEIVERS] -= 1;
            }
            Event::Receive(c, queues) => {
                n.budget.receives[c] = n.budget.receives[c].saturating_sub(1);
                self.open(&mut n.clients[c], queues);
            }
            Event::Deliver(c, ticket) => self.deliver(n, c, ticket),
            Event::Drop(c, ticket) => {
                n.budget.drops -= 1;
                self.drop_receive(n, c, ticket);
            }
            Event::Execute(c, s) => {
                let call = n.clients[c].connections[s].calls.remove(0);
                let reply = self.execute(n, c, s, call, false);
                n.clients[c].connections[s].replies.extend(reply);
            }
            Event::ReadReply(c, s) => self.read_reply(n, c, s),
            Event::ReadPublished(c, s) => {
                let (ticket, entry) = n.clients[c].connections[s].published.remove(0);
                self.fill(n, c, s, ticket, entry);
            }
            Event::Settle(c, s) => self.say(&mut n.clients[c], s, None),
            Event::Beat(c, s) => {
                n.budget.beats = n.budget.beats.saturating_sub(1);
                if self.rules.beat == Beat::AsksAgain {
                    self.ask_again(&mut n.clients[c], s);
                } else {
                    self.say(&mut n.clients[c], s, None);
                }
            }
            Event::Reconnect(c, s) => {
                n.clients[c].connections[s].up = true;
                self.greet(&mut n.clients[c], s);
            }
            Event::Cut(c, s, cut) => {
                n.budget.cuts -= 1;
                leave(n, c, s, cut);
            }
            Event::ExecuteOld(i) => {
                let old = &mut n.old[i];
                let call = old.calls.remove(0);
                let (client, server) = (old.client as usize, old.server as usize);
                if old.calls.is_empty() && !old.subscribed {
                    n.old.remove(i);
                }
                self.execute(n, client, server, call, true);
            }
            Event::OldGone(i) => {
                n.old.remove(i);
            }
            Event::LeaseEnds(c, s) => {
                n.budget.lease_ends -= 1;
                self.end_lease(n, c, s);
            }
            Event::Kill(c) => {
                n.budget.kills -= 1;
                n.clients[c] = Client { dead: true, ..Client::default() };
            }
            Event::Restart(s) => {
                n.budget.restarts -= 1;
                lose_data(n, s);
                lose_connections(n, s);
            }
            Event::Save(s) => {
                n.budget.saves -= 1;
                n.saved[s] = Some(n.servers[s].clone());
            }
            Event::Restore(s) => {
                n.budget.restores -= 1;
                go_back(n, s);
                lose_connections(n, s);
            }
            Event::Flush(s) => {
                n.budget.flushes -= 1;
                lose_data(n, s);
            }
            Event::Expire(id) => {
                n.budget.expiries -= 1;
                n.expired |= 1 << id;
            }
            Event::RecordExpires(s, c, ticket) => {
                n.servers[s].records.retain(|r| !(r.client as usize == c && r.ticket == ticket));
            }
            Event::Refuse(c, s) => {
                n.budget.refusals -= 1;
                self.refuse(&mut n.clients[c].connections[s]);
            }
            Event::LosePublished(c, s) => {
                n.budget.losses -= 1;
                n.clients[c].connections[s].published.remove(0);
            }
            Event::LoseReply(c, s) => {
                n.budget.losses -= 1;
                n.clients[c].connections[s].replies.remove(0);
            }
        }
        state
    }

    fn open(&self, client: &mut Client, queues: Queues) {
        let ticket = client.next_ticket;
        client.next_ticket += 1;
        let alone = client.receives.is_empty();
        for other in &mut client.receives {
            other.alone = false;
        }
        client.receives.push(Receive { ticket, queues, alone, filled: None });
        for s in 0..self.scenario.servers {
            let queues = self.queues_on(queues, s);
            if queues != 0 {
                self.say(client, s, Some(Ask { ticket, queues }));
            }
        }
    }

    /// Acknowledges on the server that the message came from, and releases on the others (R10).
    fn deliver(&self, state: &mut State, client: usize, ticket: Ticket) {
        let own = &mut state.clients[client];
        let Some(receive) = take_receive(own, ticket) else { return };
        let Some((from, entry)) = receive.filled else { return };
        let ordered = receive.alone || self.scenario.always_ordered;
        for s in (0..self.scenario.servers).filter(|s| self.queues_on(receive.queues, *s) != 0) {
            if s != from as usize {
                own.finish(s, ticket, End::Released);
            } else if self.rules.acknowledgement != Acknowledgement::NextCall {
                own.finish(s, ticket, End::Acknowledged(self.named_by(entry)));
            }
        }
        state.deliveries.push(Delivery { client: client as u8, queue: entry.queue, id: entry.id, ordered });
    }

    /// Releases the ticket on every server that may know it (R10).
    fn drop_receive(&self, state: &mut State, client: usize, ticket: Ticket) {
        let own = &mut state.clients[client];
        let Some(receive) = take_receive(own, ticket) else { return };
        for s in (0..self.scenario.servers).filter(|s| self.queues_on(receive.queues, *s) != 0) {
            own.finish(s, ticket, End::Released);
        }
        if let (Some((s, entry)), false) = (receive.filled, self.rules.server_gives_back) {
            self.fill(state, client, s as usize, ticket, entry);
        }
    }

    fn read_reply(&self, state: &mut State, client: usize, server: usize) {
        let own = &mut state.clients[client];
        match own.connections[server].replies.remove(0) {
            Reply::Stale(generation) => {
                if own.connections[server].generation == generation {
                    self.greet(own, server);
                }
            }
            Reply::Popped { finished, served, given, unserved } => {
                own.finished[server].retain(|f| !finished.contains(f));
                // R18: what was not looked at is asked for again.
                let is_open =
                    |ask: &Ask| own.receives.iter().any(|r| r.ticket == ask.ticket && r.filled.is_none());
                if let Some(ask) = unserved.filter(is_open) {
                    self.say(own, server, Some(ask));
                }
                if let (Some(ticket), Some(entry)) = (served, given) {
                    self.fill(state, client, server, ticket, entry);
                }
            }
            Reply::Listed(tickets) => {
                let is_known = |ticket: &Ticket| {
                    own.receives.iter().any(|r| r.ticket == *ticket)
                        || own.finished[server].iter().any(|f| f.ticket == *ticket)
                };
                let unknown: Vec<Ticket> = tickets.into_iter().filter(|ticket| !is_known(ticket)).collect();
                for ticket in &unknown {
                    own.finish(server, *ticket, End::Released);
                }
                if !unknown.is_empty() {
                    self.ask_again(own, server);
                }
            }
            Reply::GivenBack(ticket) => own.to_give_back[server].retain(|g| g.0 != ticket),
        }
    }

    /// Refuses the next call with `NOSCRIPT`, which the client takes like `stale` (R11). Against R11, it sends the call
    /// again, behind the others.
    fn refuse(&self, connection: &mut Connection) {
        let call = connection.calls.remove(0);
        match call {
            call if !self.rules.begins_anew => connection.calls.push(call),
            Call::Pop { generation, .. }
            | Call::List(generation)
            | Call::Push { generation, .. }
            | Call::GiveBack { generation, .. } => connection.replies.push(Reply::Stale(generation)),
            Call::Subscribe | Call::Hello(_) => connection.calls.insert(0, call),
        }
    }

    /// Ends a lease. What the client was handed stays its own (R4).
    pub fn end_lease(&self, state: &mut State, client: usize, server: usize) {
        let known = &mut state.servers[server];
        known.clients[client].leased = None;
        if self.rules.lease_end == LeaseEnd::Keeps {
            return;
        }
        let (own, others): (Vec<Record>, Vec<Record>) =
            known.records.iter().partition(|r| r.client as usize == client);
        known.records = others;
        for record in own {
            if self.rules.lease_end == LeaseEnd::GivesAway {
                self.give_back(state, server, record.entry);
            } else if state.clients[client].dead {
                state.excused |= 1 << record.entry.id;
            }
        }
    }
}

fn take_receive(client: &mut Client, ticket: Ticket) -> Option<Receive> {
    let at = client.receives.iter().position(|r| r.ticket == ticket)?;
    Some(client.receives.remove(at))
}

/// Breaks a connection for its client.
fn leave(state: &mut State, client: usize, server: usize, cut: Cut) {
    let connection = std::mem::take(&mut state.clients[client].connections[server]);
    let subscribed = cut == Cut::HalfOpen;
    if subscribed || cut == Cut::CallsRemain && !connection.calls.is_empty() {
        let (client, server) = (client as u8, server as u8);
        state.old.push(OldConnection { client, server, subscribed, calls: connection.calls });
    }
}

/// Brings back what a server saved. What it held beyond that may be missing from now on, and what it had saved come again.
fn go_back(state: &mut State, server: usize) {
    let Some(saved) = state.saved[server].take() else { return };
    let ids = |ids, entry: &Entry| ids | 1 << entry.id;
    let had = saved.entries().fold(0, ids);
    state.again |= had;
    state.excused |= state.servers[server].entries().fold(0, ids) & !had;
    state.servers[server] = saved;
}

fn lose_connections(state: &mut State, server: usize) {
    for client in &mut state.clients {
        client.connections[server] = Connection::default();
    }
    state.old.retain(|old| old.server as usize != server);
}

/// Empties a server. What it held may be missing from now on.
fn lose_data(state: &mut State, server: usize) {
    let lost = std::mem::take(&mut state.servers[server]);
    state.excused = lost.entries().fold(state.excused, |ids, e| ids | 1 << e.id);
}
