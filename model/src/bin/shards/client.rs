//! A client's tickets, after src/redis/receive.rs and src/redis/receive/left_over.rs: the same steps under the same names.
use super::cfg::*;

pub type T = u8;
pub type Id = u8;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fin {
    pub t: T,
    pub id: Option<Id>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ask {
    pub t: T,
    pub waits: bool,
    pub qs: u8,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Call {
    pub fin: Vec<Fin>,
    pub open: Vec<Ask>,
}
/// What a shard handed to a ticket: queue and entry.
pub type Handed = (u8, Id);
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arrival {
    Message(u8, Handed),
    Nothing,
    Failed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    pub s: u8,
    pub qs: u8,
    pub asked: bool,
    pub nothing: bool,
    pub unreachable: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Filled {
    pub s: u8,
    pub id: Id,
    pub to: T,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Open {
    pub waits: bool,
    pub places: Vec<Place>,
    pub filled: Option<Filled>,
    pub sender: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Agenda {
    pub ask: Vec<T>,
    pub finished: Vec<Fin>,
    pub urgent: bool,
    pub permit: bool,
}
/// The future of a ticket, and what came for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    pub t: T,
    pub arrival: Option<Arrival>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    pub next: T,
    pub open: Vec<(T, Open)>,
    pub given_on: Vec<(u8, T)>,
    pub shards: [Agenda; NS],
    pub closed: bool,
    pub handles: Vec<Handle>,
    /// Only for the variant that gives pushes on: what was said of (shard, ticket), ever.
    pub said: Vec<(u8, T)>,
}

/// What the world wants of a client; the real `Tickets` can stand behind it too.
pub trait Core {
    fn open(&mut self, places: &[(u8, u8)], waits: bool) -> Option<T>;
    fn next_call(&mut self, s: usize) -> Option<Call>;
    fn ask_again(&mut self, s: usize);
    fn answered(&mut self, s: usize, call: &Call, served: usize, given: &[(T, Handed)]);
    fn arrived(&mut self, s: usize, t: T, handed: Handed);
    fn failed(&mut self, s: usize, call: &Call);
    fn unreachable(&mut self, s: usize);
    fn close(&mut self);
    fn poll(&mut self, t: T) -> Option<Arrival>;
    fn drop_future(&mut self, t: T);
    fn take_permit(&mut self, s: usize) -> bool;
    fn owes(&self, s: usize) -> bool;
    fn newest(&self) -> T;
    /// The model's own state, to look at.
    fn view(&self) -> &Client;
    /// What differs between the model and what stands behind it.
    fn differs(&mut self) -> Option<String> {
        None
    }
}

impl Default for Client {
    fn default() -> Self {
        Client {
            next: 1,
            open: vec![],
            given_on: vec![],
            shards: Default::default(),
            closed: false,
            handles: vec![],
            said: vec![],
        }
    }
}

impl Open {
    fn place(&mut self, s: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|p| p.s as usize == s)
    }
    fn unfilled_on(&mut self, s: usize) -> Option<(bool, &mut Place)> {
        if self.filled.is_some() {
            return None;
        }
        let waits = self.waits;
        self.place(s).filter(|p| !p.nothing || broken(Broken::AskNothing)).map(|p| (waits, p))
    }
}

impl Agenda {
    fn finish(&mut self, f: Fin) {
        self.finished.push(f);
        if f.id.is_none() {
            self.urgent = true
        }
        if f.id.is_none() || self.finished.len() >= cfg().finished {
            self.permit = true
        }
    }
}

impl Client {
    fn get(&mut self, t: T) -> Option<&mut Open> {
        self.open.iter_mut().find(|o| o.0 == t).map(|o| &mut o.1)
    }
    pub fn look(&self, t: T) -> Option<&Open> {
        self.open.iter().find(|o| o.0 == t).map(|o| &o.1)
    }
    /// The oneshot: only the first arrival counts.
    fn tell(&mut self, t: T, a: Arrival) {
        let Some(o) = self.get(t) else { return };
        if std::mem::replace(&mut o.sender, false) {
            if let Some(h) = self.handles.iter_mut().find(|h| h.t == t) {
                h.arrival = Some(a)
            }
        }
    }
    fn end_if_nowhere(&mut self, t: T) {
        if self.look(t).is_some_and(|o| o.places.iter().all(|p| p.nothing || p.unreachable)) {
            self.tell(t, Arrival::Nothing)
        }
    }
    fn fill(&mut self, s: usize, t: T, h: Handed) -> Option<Handed> {
        if self.given_on.contains(&(s as u8, t)) && !broken(Broken::ForgetGivenOn) {
            return None;
        }
        match self.look(t).map(|o| o.filled) {
            Some(Some(f)) if f.s as usize == s && f.to == t => None,
            Some(None) => {
                self.fill_with(t, s, t, h);
                None
            }
            _ => Some(h),
        }
    }
    fn fill_with(&mut self, t: T, s: usize, to: T, h: Handed) {
        let Some(o) = self.get(t) else { return };
        o.filled = Some(Filled { s: s as u8, id: h.1, to });
        let wanted = o.places.iter().any(|p| p.s as usize == s && p.qs >> h.0 & 1 == 1);
        self.tell(t, if wanted { Arrival::Message(s as u8, h) } else { Arrival::Failed });
    }
    fn give_back(&mut self, s: usize, t: T) {
        self.shards[s].finish(Fin { t, id: None })
    }
    fn give_on(&mut self, s: usize, left: Vec<(T, Handed)>, push: bool) {
        let mut released: Vec<(T, bool)> = vec![];
        for f in &self.shards[s].finished {
            match released.iter_mut().find(|r| r.0 == f.t) {
                Some(r) => r.1 &= f.id.is_none(),
                None => released.push((f.t, f.id.is_none())),
            }
        }
        let mut unsaid = vec![];
        for (t, h) in left {
            let rel = released.iter().find(|r| r.0 == t).map(|r| r.1);
            let mut free = match self.look(t) {
                Some(_) => rel.is_none() || broken(Broken::OpenThoughReleased),
                None => rel == Some(true) || rel.is_some() && broken(Broken::GiveOnDelivered),
            };
            if push && !broken(Broken::GiveOnSent) {
                free &= !self.said.contains(&(s as u8, t))
            }
            if push && broken(Broken::GiveOnSent) {
                free = true
            }
            let next = if free { self.next_to_ask(s, h) } else { None };
            let Some(next) = next else {
                self.give_back(s, t);
                continue;
            };
            if !broken(Broken::StaysAsked) {
                if let Some(p) = self.get(t).and_then(|o| o.place(s)) {
                    p.asked = false
                }
            }
            unsaid.push(t);
            self.given_on.push((s as u8, t));
            self.fill_with(next, s, t, h);
        }
        if !broken(Broken::ReleaseStays) {
            self.shards[s].finished.retain(|f| !unsaid.contains(&f.t))
        }
    }
    fn next_to_ask(&self, s: usize, h: Handed) -> Option<T> {
        if h.0 != 0 && !broken(Broken::GiveOnOrdered) {
            return None;
        }
        let all: Vec<T> = if broken(Broken::ToAnyOpen) {
            self.open.iter().map(|o| o.0).collect()
        } else {
            self.shards[s].ask.iter().take(cfg().tickets).copied().collect()
        };
        all.into_iter().find(|t| {
            self.look(*t).is_some_and(|o| {
                (o.filled.is_none() || broken(Broken::ToFilled))
                    && o.places.iter().any(|p| p.s as usize == s && p.qs >> h.0 & 1 == 1)
            })
        })
    }
    fn nothing_there(&mut self, s: usize, t: T) {
        let Some(o) = self.get(t) else { return };
        if let Some((_, p)) = o.unfilled_on(s) {
            p.nothing = true;
            self.end_if_nowhere(t)
        }
    }
    fn skip(&mut self, s: usize, t: T) {
        let Some(o) = self.get(t) else { return };
        if let Some((_, p)) = o.unfilled_on(s) {
            p.unreachable = true
        }
        if o.places.iter().all(|p| p.unreachable) {
            self.fail(t)
        } else {
            self.end_if_nowhere(t)
        }
    }
    fn fail(&mut self, t: T) {
        let sender = self.get(t).is_some_and(|o| std::mem::replace(&mut o.sender, false));
        self.finish(t, false);
        if sender {
            if let Some(h) = self.handles.iter_mut().find(|h| h.t == t) {
                h.arrival = Some(Arrival::Failed)
            }
        }
    }
    fn finish(&mut self, t: T, delivered: bool) -> bool {
        let Some(i) = self.open.iter().position(|o| o.0 == t) else { return false };
        let open = self.open.remove(i).1;
        if let Some(f) = open.filled.filter(|f| f.to != t) {
            self.given_on.retain(|g| *g != (f.s, f.to));
            let to = if broken(Broken::AckOwnNumber) { t } else { f.to };
            if delivered || !broken(Broken::DropForgets) {
                self.shards[f.s as usize].finish(Fin { t: to, id: delivered.then_some(f.id) })
            }
        }
        for p in open.places.iter().filter(|p| p.asked) {
            let own = open.filled.filter(|f| f.s == p.s && f.to == t);
            let id = own.filter(|_| delivered).map(|f| f.id);
            if id.is_some() || !p.nothing {
                self.shards[p.s as usize].finish(Fin { t, id })
            }
        }
        true
    }
}

impl Core for Client {
    fn open(&mut self, places: &[(u8, u8)], waits: bool) -> Option<T> {
        if self.closed {
            return None;
        }
        // Queue 1 is the `?` channel: one open ticket at a time.
        if places.iter().any(|p| p.1 & 2 != 0)
            && self.open.iter().any(|o| o.1.places.iter().any(|p| p.qs & 2 != 0))
        {
            return None;
        }
        let t = self.next;
        self.next += 1;
        for p in places {
            let (n, open) = (self.open.len(), &self.open);
            let a = &mut self.shards[p.0 as usize];
            if a.ask.len() > 2 * n + cfg().tickets {
                a.ask.retain(|t| open.iter().any(|o| o.0 == *t))
            }
            a.ask.push(t);
            a.permit = true;
        }
        let places = places
            .iter()
            .map(|p| Place { s: p.0, qs: p.1, asked: false, nothing: false, unreachable: false })
            .collect();
        self.open.push((t, Open { waits, places, filled: None, sender: true }));
        self.handles.push(Handle { t, arrival: None });
        Some(t)
    }
    fn next_call(&mut self, s: usize) -> Option<Call> {
        let Client { open, shards, said, .. } = self;
        let a = &mut shards[s];
        let c = cfg();
        if a.ask.is_empty() && !a.urgent && a.finished.len() < c.finished {
            return None;
        }
        let mut call = Call { fin: a.finished.iter().take(c.finished).copied().collect(), open: vec![] };
        if c.pushes_too {
            for f in &call.fin {
                if !said.contains(&(s as u8, f.t)) {
                    said.push((s as u8, f.t))
                }
            }
        }
        if call.fin.len() < a.finished.len() && !broken(Broken::Overtake) {
            return Some(call);
        }
        a.urgent = false;
        let mut queues = 0;
        while let Some(&t) = a.ask.first() {
            let Some((waits, p)) = open.iter_mut().find(|o| o.0 == t).and_then(|o| o.1.unfilled_on(s)) else {
                a.ask.remove(0);
                continue;
            };
            queues += p.qs.count_ones() as usize;
            if call.open.len() == c.tickets || queues > c.queues && !call.open.is_empty() {
                break;
            }
            p.asked = true;
            call.open.push(Ask { t, waits, qs: p.qs });
            a.ask.remove(0);
        }
        (!call.fin.is_empty() || !call.open.is_empty()).then_some(call)
    }
    fn ask_again(&mut self, s: usize) {
        self.shards[s].ask = self.open.iter_mut().filter_map(|(t, o)| o.unfilled_on(s).map(|_| *t)).collect();
        let a = &mut self.shards[s];
        a.urgent |= !a.finished.is_empty();
    }
    fn answered(&mut self, s: usize, call: &Call, served: usize, given: &[(T, Handed)]) {
        let a = &mut self.shards[s];
        let n =
            if broken(Broken::DrainAll) { a.finished.len() } else { call.fin.len().min(a.finished.len()) };
        a.finished.drain(..n);
        if !broken(Broken::UnservedForgotten) {
            for u in call.open.iter().skip(served).rev() {
                a.ask.insert(0, u.t)
            }
        }
        let mut left = vec![];
        for &(t, h) in given {
            left.extend(self.fill(s, t, h).map(|h| (t, h)))
        }
        if !left.is_empty() {
            self.give_on(s, left, false)
        }
        for o in call.open.iter().take(served).filter(|o| !o.waits) {
            self.nothing_there(s, o.t)
        }
    }
    fn arrived(&mut self, s: usize, t: T, handed: Handed) {
        if let Some(h) = self.fill(s, t, handed) {
            if cfg().pushes_too || broken(Broken::GiveOnSent) {
                self.give_on(s, vec![(t, h)], true)
            } else {
                self.give_back(s, t)
            }
        }
    }
    fn failed(&mut self, _: usize, call: &Call) {
        for o in &call.open {
            if self.look(o.t).is_some_and(|o| o.filled.is_none()) {
                self.fail(o.t)
            }
        }
    }
    fn unreachable(&mut self, s: usize) {
        let l: Vec<T> = self
            .open
            .iter_mut()
            .filter_map(|(t, o)| (!o.waits && o.unfilled_on(s).is_some()).then_some(*t))
            .collect();
        for t in l {
            self.skip(s, t)
        }
    }
    fn close(&mut self) {
        self.closed = true;
        for t in self.open.iter().map(|o| o.0).collect::<Vec<_>>() {
            self.fail(t)
        }
        for a in &mut self.shards {
            a.urgent = true
        }
    }
    fn poll(&mut self, t: T) -> Option<Arrival> {
        let i = self.handles.iter().position(|h| h.t == t)?;
        let a = self.handles[i].arrival?;
        self.handles.remove(i);
        Some(match a {
            Arrival::Message(..) => {
                if self.finish(t, true) {
                    a
                } else {
                    Arrival::Failed
                }
            }
            // The future is dropped after it, and that releases the ticket.
            _ => {
                self.finish(t, false);
                a
            }
        })
    }
    fn drop_future(&mut self, t: T) {
        self.handles.retain(|h| h.t != t);
        self.finish(t, false);
    }
    fn take_permit(&mut self, s: usize) -> bool {
        std::mem::replace(&mut self.shards[s].permit, false)
    }
    fn owes(&self, s: usize) -> bool {
        !self.shards[s].finished.is_empty()
    }
    fn newest(&self) -> T {
        self.next - 1
    }
    fn view(&self) -> &Client {
        self
    }
}
