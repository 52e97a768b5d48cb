//! A model: the rules that are kept, in a scenario.

use crate::rules::Rules;
use crate::scenario::Scenario;
use crate::state::{CLIENTS, Connection, Known, RECEIVERS, State};

pub struct Model {
    pub rules: Rules,
    pub scenario: Scenario,
}

impl Model {
    /// Returns the clients that take part: receivers, then senders.
    pub fn clients(&self) -> impl Iterator<Item = usize> + use<> {
        let (receivers, senders) = (self.scenario.receivers, self.scenario.senders);
        (0..CLIENTS).filter(move |c| if *c < RECEIVERS { *c < receivers } else { *c - RECEIVERS < senders })
    }

    /// Returns the state in which all clients are connected, and nothing was sent or received.
    pub fn first(&self) -> State {
        let mut state = State { budget: self.scenario.budget, ..State::default() };
        for c in self.clients() {
            state.clients[c].generation = 1;
            for s in 0..self.scenario.servers {
                state.clients[c].connections[s] =
                    Connection { up: true, subscribed: true, generation: 1, ..Connection::default() };
                let leased = Some(if self.rules.generations { 1 } else { 0 });
                state.servers[s].clients[c] = Known { leased, highest: 1 };
            }
        }
        state
    }
}
