//! What a client does: the rules R6 to R11, as src/redis/receive/ and src/redis/link.rs keep them.

use crate::model::Model;
use crate::state::{
    Ask, Call, Client, Connection, End, Entry, Finished, Queues, Reply, State, Ticket, has_queue,
};

impl Model {
    /// Returns those of the queues that are on the server.
    pub fn queues_on(&self, queues: Queues, server: usize) -> Queues {
        (0..self.scenario.queues)
            .filter(|q| has_queue(queues, *q) && self.scenario.server_of[*q] == server)
            .fold(0, |on, q| on | 1 << q)
    }

    /// Writes a `pop` with all finished tickets and at most one open one (R8).
    pub fn say(&self, client: &mut Client, server: usize, open: Option<Ask>) {
        let finished = client.finished[server].clone();
        let connection = &mut client.connections[server];
        if !connection.up {
            return;
        }
        let generation = connection.generation;
        if !self.rules.finished_inside && open.is_some() && !finished.is_empty() {
            connection.calls.push(Call::Pop { generation, finished, open: None });
            connection.calls.push(Call::Pop { generation, finished: vec![], open });
        } else {
            connection.calls.push(Call::Pop { generation, finished, open });
        }
    }

    /// Asks for all open tickets that have no entry, or at least says what is finished (R6, R7).
    pub fn ask_again(&self, client: &mut Client, server: usize) {
        let open: Vec<Ask> = client
            .receives
            .iter()
            .filter(|r| r.filled.is_none())
            .map(|r| Ask { ticket: r.ticket, queues: self.queues_on(r.queues, server) })
            .filter(|ask| ask.queues != 0)
            .collect();
        if open.is_empty() {
            self.say(client, server, None);
        }
        for ask in open {
            self.say(client, server, Some(ask));
        }
    }

    /// Begins anew on a connection: subscribes, says hello with the next generation, and asks (R6, R11).
    pub fn greet(&self, client: &mut Client, server: usize) {
        client.generation += 1;
        let generation = client.generation;
        let connection = &mut client.connections[server];
        connection.generation = generation;
        connection.calls.push(Call::Hello(generation));
        for &(ticket, entry) in &client.to_give_back[server] {
            connection.calls.push(Call::GiveBack { generation, ticket, entry });
        }
        let has_open =
            client.receives.iter().any(|r| r.filled.is_none() && self.queues_on(r.queues, server) != 0);
        if self.rules.asks_after_hello && (has_open || !client.finished[server].is_empty()) {
            self.ask_again(client, server);
        }
        if self.rules.finishes_unknown && self.scenario.budget.restores > 0 {
            client.connections[server].calls.push(Call::List(generation));
        }
        if !self.rules.subscribes_first {
            client.connections[server].calls.push(Call::Subscribe);
        }
    }

    /// Takes an entry that came for a ticket (R9): fills the ticket, ignores what is there already, or releases.
    pub fn fill(&self, state: &mut State, client: usize, server: usize, ticket: Ticket, entry: Entry) {
        let own = &mut state.clients[client];
        if let Some(receive) = own.receives.iter_mut().find(|r| r.ticket == ticket) {
            match receive.filled {
                None => {
                    receive.filled = Some((server as u8, entry));
                    return;
                }
                // Another entry of the same server is given back by the server, because the acknowledgement names the id.
                Some((first, _)) if first as usize == server => return,
                Some(_) => {}
            }
        }
        if self.rules.server_gives_back {
            own.finish(server, ticket, End::Released);
        } else {
            self.give_back_unasked(state, client, server, ticket, entry);
        }
    }

    /// Against R10: the client itself sends back an entry that nobody waits for, and again after each hello until the
    /// reply is there.
    fn give_back_unasked(
        &self,
        state: &mut State,
        client: usize,
        server: usize,
        ticket: Ticket,
        entry: Entry,
    ) {
        let delivered = state.deliveries.iter().any(|d| d.id == entry.id && d.client as usize == client);
        let own = &mut state.clients[client];
        let acknowledged = |f: &Finished| matches!(f.end, End::Acknowledged(id) if id == entry.id);
        if delivered
            || own.to_give_back[server].iter().any(|g| g.1 == entry)
            || own.finished[server].iter().any(acknowledged)
        {
            return;
        }
        let connection = &mut own.connections[server];
        if connection.up {
            let generation = connection.generation;
            connection.calls.push(Call::GiveBack { generation, ticket, entry });
        }
        own.to_give_back[server].push((ticket, entry));
    }
}

impl Connection {
    /// Reports whether a call or reply under way carries all of `finished`, or will make the client say it anew.
    pub fn carries(&self, finished: &[Finished]) -> bool {
        let all_in = |carried: &Vec<Finished>| finished.iter().all(|f| carried.contains(f));
        self.calls.iter().any(|c| matches!(c, Call::Pop { finished, .. } if all_in(finished)))
            || self.replies.iter().any(|r| match r {
                Reply::Stale(_) => true,
                Reply::Popped { finished, .. } => all_in(finished),
                Reply::Listed(_) | Reply::GivenBack(_) => false,
            })
    }
}
