//! The model's random walks, with the crate's own `Tickets` in lockstep: a part of the module `receive`.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asgi_redis_model::number;
use asgi_redis_model::shards::client::{
    AnyTickets, Arrival as Seen, Finished as ModelFinished, Handed as ModelHanded, ModelTickets,
    NextCall as ModelCall, OpenTicket as ModelOpen,
};
use asgi_redis_model::shards::rules::{Rules, set_rules};
use asgi_redis_model::shards::{EntryId as ModelId, Queues, Ticket, scenario, walk};
use bytes::Bytes;

use super::*;
use crate::error::ErrorKind;
use crate::redis::entry::EntryId;

/// The model's name for each queue is its place here.
const NAMES: [&str; 2] = ["n", "q?1"];

type Receives = Pin<Box<dyn Future<Output = Result<Option<Received>>>>>;

/// The tickets of a client twice. Each step is made by both, and what they answer is compared.
struct Both {
    model: ModelTickets,
    real: Arc<Tickets>,
    futures: HashMap<Ticket, Receives>,
    calls: [NextCall; 2],
    difference: Option<String>,
}

impl Default for Both {
    fn default() -> Self {
        Self {
            model: ModelTickets::default(),
            real: Arc::new(Tickets::new(2)),
            futures: HashMap::new(),
            calls: Default::default(),
            difference: None,
        }
    }
}

fn names(queues: Queues) -> Arc<[ChannelName]> {
    let wanted = NAMES.iter().enumerate().filter(|(q, _)| queues >> q & 1 == 1);
    wanted.map(|(_, name)| ChannelName::new(name).unwrap()).collect()
}

fn queue(name: &str) -> u8 {
    NAMES.iter().position(|n| *n == name).unwrap() as u8
}

fn queues(channels: &[ChannelName]) -> Queues {
    channels.iter().map(|c| 1 << queue(c.queue())).sum()
}

fn handed(handed: ModelHanded) -> Handed {
    let bytes = [&[handed.id; 18][..], b"m x"].concat();
    let queue = NAMES[handed.queue as usize].to_owned();
    Handed { queue, first: Entry::new(Bytes::from(bytes)), more: Vec::new() }
}

/// The model's id of an entry is each byte of the real one.
fn id(id: &EntryId) -> ModelId {
    *id.first().unwrap()
}

fn finished(finished: &Finished) -> ModelFinished {
    ModelFinished { ticket: finished.ticket as Ticket, delivered: finished.delivered.as_ref().map(id) }
}

fn open_ticket(open: &OpenTicket) -> ModelOpen {
    ModelOpen { ticket: open.ticket as Ticket, waits: open.waits, queues: queues(&open.channels) }
}

fn outage() -> Error {
    Error::new(ErrorKind::Connection, "down")
}

/// Polls a future once.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What a receive returns, which claims its message in the same poll.
async fn claimed(mut receiving: Receiving) -> Result<Option<Received>> {
    let received = receiving.message().await?;
    if received.is_some() {
        receiving.claim()?;
    }
    Ok(received)
}

impl Both {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, model: T, real: T) {
        if model != real && self.difference.is_none() {
            self.difference = Some(format!("{what}: model {model:?}, real {real:?}"));
        }
    }
}

impl AnyTickets for Both {
    fn open(&mut self, places: &[(u8, Queues)], waits: bool) -> Option<Ticket> {
        let model = self.model.open(places, waits);
        let real = self.real.open(places.iter().map(|p| (p.0 as usize, names(p.1))), waits).ok();
        self.compare("open", model, real.as_ref().map(|r| r.ticket as Ticket));
        if let Some(receiving) = real {
            self.futures.insert(receiving.ticket as Ticket, Box::pin(claimed(receiving)));
        }
        model
    }

    fn next_call(&mut self, s: usize) -> Option<ModelCall> {
        let model = self.model.next_call(s);
        let real = self.real.next_call(s);
        let seen = real.as_ref().map(|call| ModelCall {
            finished: call.finished.iter().map(finished).collect(),
            open: call.open.iter().map(open_ticket).collect(),
        });
        self.compare("next_call", model.clone(), seen);
        self.calls[s] = real.unwrap_or_default();
        model
    }

    fn ask_again(&mut self, s: usize) {
        self.model.ask_again(s);
        self.real.ask_again(s);
    }

    fn answered(&mut self, s: usize, call: &ModelCall, served: usize, given: &[(Ticket, ModelHanded)]) {
        self.model.answered(s, call, served, given);
        let real = std::mem::take(&mut self.calls[s]);
        let sizes = (real.finished.len(), real.open.len());
        self.compare("answered", (call.finished.len(), call.open.len()), sizes);
        let given = given.iter().map(|(t, h)| Given { ticket: u64::from(*t), outcome: Outcome::Handed(handed(*h)) });
        self.real.answered(s, &real, served, given.collect(), |_| outage());
    }

    fn arrived(&mut self, s: usize, ticket: Ticket, what: ModelHanded) {
        self.model.arrived(s, ticket, what);
        self.real.arrived(s, u64::from(ticket), handed(what));
    }

    fn failed(&mut self, s: usize, call: &ModelCall) {
        self.model.failed(s, call);
        let real = std::mem::take(&mut self.calls[s]);
        self.real.failed(real.open.iter().map(|open| open.ticket), outage);
    }

    fn unreachable(&mut self, s: usize) {
        self.model.unreachable(s);
        self.real.unreachable(s, outage);
    }

    fn close(&mut self) {
        self.model.close();
        self.real.close();
    }

    /// What the crate's future returns counts.
    fn poll(&mut self, ticket: Ticket) -> Option<Seen> {
        let model = self.model.poll(ticket);
        let mut future = self.futures.remove(&ticket).unwrap();
        let real = match poll_once(future.as_mut()) {
            None => {
                self.futures.insert(ticket, future);
                None
            }
            Some(Ok(Some(received))) => {
                let id = id(&received.entry.id());
                let handed = ModelHanded { queue: queue(received.channel.queue()), id };
                Some(Seen::Message(received.shard as u8, handed))
            }
            Some(Ok(None)) => Some(Seen::Nothing),
            Some(Err(_)) => Some(Seen::Failed),
        };
        self.compare("poll", model, real);
        real
    }

    fn drop_future(&mut self, ticket: Ticket) {
        self.model.drop_future(ticket);
        self.futures.remove(&ticket);
    }

    fn take_permit(&mut self, s: usize) -> bool {
        let model = self.model.take_permit(s);
        let real = poll_once(std::pin::pin!(self.real.something_to_say(s).unwrap().notified())).is_some();
        self.compare("permit", model, real);
        real
    }

    fn owes(&self, s: usize) -> bool {
        assert_eq!(self.model.owes(s), self.real.owes(s));
        self.model.owes(s)
    }

    fn newest(&self) -> Ticket {
        assert_eq!(u64::from(self.model.newest()), self.real.newest());
        self.model.newest()
    }

    fn view(&self) -> &ModelTickets {
        &self.model
    }

    fn differs(&mut self) -> Option<String> {
        let real = Arc::clone(&self.real);
        let state = real.lock();
        self.compare_open(&state);
        let mut given_on: Vec<_> = state.given_on.iter().map(|g| (g.0 as u8, g.1 as Ticket)).collect();
        let mut model = self.model.given_on.clone();
        given_on.sort_unstable();
        model.sort_unstable();
        self.compare("given_on", model, given_on);
        for (s, agenda) in state.shards.iter().enumerate() {
            let ask: Vec<_> = agenda.ask.iter().map(|t| *t as Ticket).collect();
            let real = (ask, agenda.finished.iter().map(finished).collect(), agenda.urgent);
            let model = self.model.shards[s].clone();
            self.compare("agenda", (model.ask, model.finished, model.urgent), real);
        }
        self.difference.clone()
    }
}

impl Both {
    fn compare_open(&mut self, state: &State) {
        let real: Vec<_> = state
            .open
            .iter()
            .map(|(ticket, open)| {
                let places = open.parts.iter().map(|p| (p.shard as u8, p.asked, p.nothing, p.unreachable));
                let filled = open.filled.as_ref().map(|f| (f.shard as u8, id(&f.id), f.handed_to as Ticket));
                (*ticket as Ticket, open.waits, places.collect::<Vec<_>>(), filled, open.future.is_some())
            })
            .collect();
        let model: Vec<_> = self
            .model
            .open
            .iter()
            .map(|(ticket, open)| {
                let places = open.places.iter().map(|p| (p.shard, p.asked, p.nothing, p.unreachable));
                let filled = open.filled.map(|f| (f.shard, f.id, f.handed_to));
                (*ticket, open.waits, places.collect::<Vec<_>>(), filled, open.future)
            })
            .collect();
        self.compare("open", model, real);
    }
}

/// Walks with these rules for a part of the time, and panics where the two differ or something is wrong.
fn walk_with(rules: Rules, part: u64) {
    set_rules(rules);
    let seconds = (number("FOR", 20) / part).max(1);
    if let Some(failure) = walk::walks::<Both>(number("SEED", 1), u64::MAX, seconds, scenario::random) {
        walk::print::<Both>(&failure);
        panic!("see above");
    }
}

/// One test, because the rules belong to a thread. `WIDE` takes the limits of the crate.
#[test]
fn walks_with_the_real_tickets() {
    let rules = if std::env::var("WIDE").is_ok() { Rules::WIDE } else { Rules::KEPT };
    walk_with(rules, 2);
    // Pushes and replies by two connections, in no order: a copy of what was given on comes later.
    walk_with(Rules { apart: true, ..rules }, 2);
}
