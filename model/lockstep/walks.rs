//! The model's random walks with the real `Tickets` in lockstep.
#![allow(warnings)]
#[path = "MODEL/src/bin/shards/cfg.rs"]
mod cfg;
#[path = "MODEL/src/bin/shards/client.rs"]
mod client;
#[path = "MODEL/src/bin/shards/world.rs"]
mod world;
#[path = "MODEL/src/bin/shards/walk.rs"]
mod walk;

use std::collections::HashMap;
use std::pin::Pin;

use bytes::Bytes;
trait Now: Future + Sized { fn now_or_never(self) -> Option<Self::Output> { let mut f = std::pin::pin!(self); match f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) { std::task::Poll::Ready(x) => Some(x), _ => None } } }
impl<F: Future> Now for F {}

use super::*;
use client::{Arrival as Seen, Ask, Call, Client, Core, Fin, Handed as ModelHanded};

type Fut = Pin<Box<dyn Future<Output = Result<Option<Received>>>>>;

struct Both {
    model: Client,
    real: Arc<Tickets>,
    futures: HashMap<u8, Fut>,
    calls: [NextCall; 2],
    diff: Option<String>,
    rounds: u64,
}

impl Default for Both {
    fn default() -> Self {
        Self { model: Client::default(), real: Arc::new(Tickets::new(2)), futures: HashMap::new(), calls: Default::default(), diff: None, rounds: 0 }
    }
}

fn names(qs: u8) -> Arc<[ChannelName]> {
    ["n", "q?1"].iter().enumerate().filter(|(i, _)| qs >> i & 1 == 1).map(|(_, n)| ChannelName::new(*n).unwrap()).collect()
}
fn handed((q, id): ModelHanded) -> Handed {
    let bytes = [&[id; 18][..], b"m x"].concat();
    Handed { queue: ["n", "q?1"][q as usize].to_owned(), first: Entry::new(Bytes::from(bytes)), more: Vec::new() }
}
fn mask(channels: &[ChannelName]) -> u8 { channels.iter().map(|c| if c.queue() == "n" { 1 } else { 2 }).sum() }
fn id(id: &EntryId) -> u8 { (0..=255).find(|n| handed((0, *n)).last_id() == *id).unwrap() }
fn fin(f: &Finished) -> Fin { Fin { t: f.ticket as u8, id: f.delivered.as_ref().map(id) } }
fn outage() -> Error { Error::new(ErrorKind::Connection, "down") }

impl Both {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, model: T, real: T) {
        if model != real && self.diff.is_none() { self.diff = Some(format!("{what}: model {model:?}, real {real:?}")) }
    }
}

impl Core for Both {
    fn open(&mut self, places: &[(u8, u8)], waits: bool) -> Option<u8> {
        let m = self.model.open(places, waits);
        let r = self.real.open(places.iter().map(|p| (p.0 as usize, names(p.1))), waits).ok();
        self.same("open", m, r.as_ref().map(|r| r.ticket as u8));
        if let Some(r) = r { self.futures.insert(r.ticket as u8, Box::pin(r.message())); }
        m
    }
    fn next_call(&mut self, s: usize) -> Option<Call> {
        let m = self.model.next_call(s);
        let r = self.real.next_call(s);
        let seen = r.as_ref().map(|c| Call { fin: c.finished.iter().map(fin).collect(), open: c.open.iter().map(|o| Ask { t: o.ticket as u8, waits: o.waits, qs: mask(&o.channels) }).collect() });
        self.same("next_call", m.clone(), seen);
        self.calls[s] = r.unwrap_or_default();
        m
    }
    fn ask_again(&mut self, s: usize) { self.model.ask_again(s); self.real.ask_again(s) }
    fn answered(&mut self, s: usize, call: &Call, served: usize, given: &[(u8, ModelHanded)]) {
        self.model.answered(s, call, served, given);
        let real = std::mem::take(&mut self.calls[s]);
        self.same("answered", (call.fin.len(), call.open.len()), (real.finished.len(), real.open.len()));
        let given = given.iter().map(|(t, h)| Given { ticket: *t as u64, outcome: Ok(handed(*h)) }).collect();
        self.real.answered(s, &real, served, given, |_| outage());
    }
    fn arrived(&mut self, s: usize, t: u8, h: ModelHanded) { self.model.arrived(s, t, h); self.real.arrived(s, t as u64, handed(h)) }
    fn failed(&mut self, s: usize, call: &Call) { self.model.failed(s, call); let real = std::mem::take(&mut self.calls[s]); self.real.failed(&real, outage) }
    fn unreachable(&mut self, s: usize) { self.model.unreachable(s); self.real.unreachable(s, outage) }
    fn close(&mut self) { self.model.close(); self.real.close() }
    fn poll(&mut self, t: u8) -> Option<Seen> {
        let m = self.model.poll(t);
        let mut future = self.futures.remove(&t).unwrap();
        let r = match future.as_mut().now_or_never() {
            None => { self.futures.insert(t, future); None }
            Some(Ok(Some(r))) => Some(Seen::Message(r.shard as u8, (if r.channel.queue() == "n" { 0 } else { 1 }, *r.entry.id().first().unwrap()))),
            Some(Ok(None)) => Some(Seen::Nothing),
            Some(Err(_)) => Some(Seen::Failed),
        };
        self.same("poll", m, r);
        // What the real one says counts.
        r
    }
    fn drop_future(&mut self, t: u8) { self.model.drop_future(t); self.futures.remove(&t); }
    fn take_permit(&mut self, s: usize) -> bool {
        let m = self.model.take_permit(s);
        let r = self.real.something_to_say(s).notified().now_or_never().is_some();
        self.same("permit", m, r);
        r
    }
    fn owes(&self, s: usize) -> bool { assert_eq!(self.model.owes(s), self.real.owes(s)); self.model.owes(s) }
    fn newest(&self) -> u8 { assert_eq!(self.model.newest() as u64, self.real.newest()); self.model.newest() }
    fn view(&self) -> &Client { &self.model }
    fn differs(&mut self) -> Option<String> {
        let real = Arc::clone(&self.real);
        let state = real.lock();
        let open: Vec<_> = state.open.iter().map(|(t, o)| (*t as u8, o.waits, o.places.iter().map(|p| (p.shard as u8, p.asked, p.nothing, p.unreachable)).collect::<Vec<_>>(), o.filled.as_ref().map(|f| (f.shard as u8, id(&f.id), f.handed_to as u8)), o.future.is_some())).collect();
        let model: Vec<_> = self.model.open.iter().map(|(t, o)| (*t, o.waits, o.places.iter().map(|p| (p.s, p.asked, p.nothing, p.unreachable)).collect::<Vec<_>>(), o.filled.map(|f| (f.s, f.id, f.to)), o.sender)).collect();
        self.same("open", model, open);
        let mut given: Vec<_> = state.given_on.iter().map(|g| (g.0 as u8, g.1 as u8)).collect();
        let mut model = self.model.given_on.clone();
        given.sort(); model.sort();
        self.same("given_on", model, given);
        for s in 0..2 {
            let (a, m) = (&state.shards[s], self.model.shards[s].clone());
            let real = (a.ask.iter().map(|t| *t as u8).collect::<Vec<_>>(), a.finished.iter().map(fin).collect::<Vec<_>>(), a.urgent);
            self.same("agenda", (m.ask, m.finished, m.urgent), real);
        }
        self.diff.clone()
    }
}

fn var(name: &str, default: u64) -> u64 { std::env::var(name).ok().map_or(default, |x| x.parse().unwrap()) }

#[test]
fn walks_with_the_real_tickets() {
    if std::env::var("WIDE").is_ok() { cfg::set_cfg(cfg::Cfg { tickets: 500, finished: 500, queues: 2000, served: 500, ..cfg::PLAIN }) }
    if let Some((sc, tr)) = walk::walks::<Both>(var("SEED", 1), u64::MAX, var("FOR", 20), walk::random) {
        walk::print::<Both>(&sc, &tr);
        panic!("see above");
    }
}
