//! Servers (lua/hello.lua, push.lua, pop.lua and what they include), connections with all that is in flight, the task of each
//! shard (src/redis/link.rs), and what is to hold.
use super::cfg::*;
use super::client::*;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Rec {
    W(u8),
    H { lines: u8, q: u8, id: Id },
}
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Known {
    g: u8,
    lease: bool,
    rec: Vec<(T, Rec)>,
}
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    list: [Vec<Id>; NQ],
    back: [Vec<Id>; NQ],
    line: [Vec<(u8, T)>; NQ],
    cl: [Known; NC],
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Cmd {
    Hello(u8),
    Pop { g: u8, ends: bool, call: Call },
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    Stale(u8),
    Hello,
    Pop { served: usize, given: Vec<(T, Handed)> },
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Msg {
    Push(T, Handed),
    Reply(Reply),
}
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Conn {
    live: bool,
    sub: bool,
    cmd: Option<Cmd>,
    down: Vec<Msg>,
    slot: Option<Reply>,
}
/// A connection that its client has given up. `driver`: something still reads it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Old {
    c: u8,
    s: u8,
    sub: bool,
    driver: bool,
    cmd: Option<Cmd>,
    down: Vec<Msg>,
}
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
enum Phase {
    #[default]
    Down,
    Sub,
    Hello,
    Idle,
    Say,
    Ended,
}
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Task {
    phase: Phase,
    g: u8,
    newest: T,
    beat: bool,
    greet: bool,
    connecting: bool,
    last: bool,
    closing: bool,
    bye: u8,
    up: bool,
    failed: bool,
    call: Option<Call>,
}
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Proc<C> {
    pub core: C,
    dead: bool,
    closed: bool,
    task: [Task; NS],
    conn: [Conn; NS],
}

/// A receive: its queues, whether it waits, the shards that it may ask.
pub type Kind = (u8, bool, u8);
#[derive(Clone, Debug)]
pub struct Scenario {
    pub kinds: [Vec<Kind>; NC],
    pub open: usize,
    pub bud: Bud,
    pub olds: bool,
    pub slot: bool,
    pub down_first: bool,
}
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Bud {
    pub push: [[u8; NQ]; NS],
    pub drops: u8,
    pub breaks: u8,
    pub lease: u8,
    pub loss: u8,
    pub expire: u8,
    pub lost: u8,
    pub beats: u8,
    pub close: u8,
    pub kill: u8,
    pub wanted: u8,
    pub refused: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World<C> {
    sv: [Server; NS],
    pub cl: [Proc<C>; NC],
    old: Vec<Old>,
    next: Id,
    accepted: u32,
    pub delivered: u32,
    expired: u32,
    excused: u32,
    last: u8,
    recv: [u8; NC],
    bud: Bud,
    needs_beat: bool,
    pub took: (u8, u8),
    pub bad: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ev {
    Push(u8, u8),
    Recv(u8),
    Poll(u8, T),
    Drop(u8, T),
    Close(u8),
    Kill(u8),
    /// Of a client and a shard: the server executes; the client reads a push or reply; the task goes on with a reply, wakes, beats, says farewell, connects.
    Exec(u8, u8),
    Read(u8, u8),
    Take(u8, u8),
    Wake(u8, u8),
    Beat(u8, u8),
    Bye(u8, u8),
    Connect(u8, u8),
    /// 0: the server sees it too; 1: it does not; 2: nor does who reads the old socket. PushLost: within a living client.
    Break(u8, u8, u8),
    PushLost(u8, u8),
    OldExec(u8),
    OldRead(u8),
    OldGone(u8),
    LeaseEnd(u8, u8),
    Loss(u8),
    Expire(Id),
    /// A reply comes before the pushes that were published earlier: only with two connections.
    Ahead(u8, u8),
    /// A sender found that the server had forgotten the client or the scripts; the server refuses a call, and the task connects anew.
    Wanted(u8, u8),
    Refused(u8, u8),
}
impl Ev {
    /// The kind, and for what a task does the shard too: one may be slower than the other.
    pub fn kind(&self) -> usize {
        match self {
            Ev::Push(s, _) => *s as usize,
            Ev::Recv(_) => 2,
            Ev::Poll(..) => 3,
            Ev::Drop(..) => 4,
            Ev::Close(_) => 5,
            Ev::Kill(_) => 6,
            Ev::Exec(_, s) => 7 + *s as usize,
            Ev::Read(_, s) => 9 + *s as usize,
            Ev::Take(_, s) => 11 + *s as usize,
            Ev::Wake(_, s) => 13 + *s as usize,
            Ev::Beat(_, s) => 15 + *s as usize,
            Ev::Bye(..) => 17,
            Ev::Connect(_, s) => 18 + *s as usize,
            Ev::Break(_, s, _) => 20 + *s as usize,
            Ev::PushLost(..) => 22,
            Ev::OldExec(_) => 23,
            Ev::OldRead(_) => 24,
            Ev::OldGone(_) => 25,
            Ev::LeaseEnd(..) => 26,
            Ev::Loss(_) => 27,
            Ev::Expire(_) => 28,
            Ev::Ahead(..) => 29,
            Ev::Wanted(..) => 30,
            Ev::Refused(..) => 31,
        }
    }
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Ev::Break(..)
                | Ev::Kill(_)
                | Ev::Loss(_)
                | Ev::LeaseEnd(..)
                | Ev::OldGone(_)
                | Ev::Expire(_)
                | Ev::PushLost(..)
                | Ev::Close(_)
                | Ev::Refused(..)
        )
    }
}

thread_local! { pub static LOG: std::cell::RefCell<Option<Vec<String>>> = const { std::cell::RefCell::new(None) } }
macro_rules! say { ($($a:tt)*) => { LOG.with_borrow_mut(|l| if let Some(l) = l { l.push(format!($($a)*)) }) } }

fn has(mask: u8, q: usize) -> bool {
    mask >> q & 1 == 1
}

impl<C: Core + Default> World<C> {
    pub fn new(sc: &Scenario) -> Self {
        let mut w = World {
            sv: Default::default(),
            cl: Default::default(),
            old: vec![],
            next: 0,
            accepted: 0,
            delivered: 0,
            expired: 0,
            excused: 0,
            last: 0,
            recv: [0; NC],
            bud: sc.bud,
            needs_beat: false,
            took: (0, 0),
            bad: None,
        };
        for c in 0..NC {
            if sc.kinds[c].is_empty() {
                w.cl[c].dead = true;
                continue;
            }
            if sc.down_first {
                continue;
            }
            for s in 0..NS {
                w.sv[s].cl[c] = Known { g: 1, lease: true, rec: vec![] };
                w.cl[c].conn[s] = Conn { live: true, sub: true, ..Default::default() };
                w.cl[c].task[s] = Task { phase: Phase::Idle, g: 1, up: true, ..Default::default() }
            }
        }
        w
    }
    fn fail(&mut self, x: String) {
        say!("!! {x}");
        if self.bad.is_none() {
            self.bad = Some(x)
        }
    }
    fn is_expired(&self, id: Id) -> bool {
        self.expired >> id & 1 == 1
    }

    // The scripts.
    fn publish(&mut self, s: usize, c: usize, t: T, h: Handed) -> usize {
        let mut n = 0;
        let k = &mut self.cl[c].conn[s];
        if k.live && k.sub {
            n += 1;
            k.down.push(Msg::Push(t, h))
        }
        for o in self.old.iter_mut().filter(|o| o.c as usize == c && o.s as usize == s && o.sub) {
            n += 1;
            if o.driver {
                o.down.push(Msg::Push(t, h))
            }
        }
        n
    }
    fn hand_over(&mut self, s: usize, h: Handed) -> bool {
        let q = h.0 as usize;
        while !self.sv[s].line[q].is_empty() {
            let (c, t) = self.sv[s].line[q].remove(0);
            let k = &self.sv[s].cl[c as usize];
            let waits =
                k.rec
                    .iter()
                    .find(|r| r.0 == t)
                    .and_then(|r| if let Rec::W(m) = r.1 { Some(m) } else { None });
            let Some(m) = waits.filter(|_| k.lease) else { continue };
            if self.publish(s, c as usize, t, h) > 0 {
                let lines = if m == 1 << q { 0 } else { m };
                Self::set(&mut self.sv[s].cl[c as usize], t, Rec::H { lines, q: h.0, id: h.1 });
                say!("        shard {s} hands entry {} to c{c} t{t}", h.1);
                return true;
            }
            self.sv[s].cl[c as usize].lease = false;
            say!("        shard {s}: nobody listens for c{c}, its lease ends");
        }
        false
    }
    fn set(k: &mut Known, t: T, r: Rec) {
        k.rec.retain(|x| x.0 != t);
        let i = k.rec.iter().position(|x| x.0 > t).unwrap_or(k.rec.len());
        k.rec.insert(i, (t, r))
    }
    fn give_back(&mut self, s: usize, h: Handed) {
        if self.is_expired(h.1) || self.hand_over(s, h) {
            return;
        }
        let b = &mut self.sv[s].back[h.0 as usize];
        b.push(h.1);
        b.sort();
        say!("        shard {s}: entry {} is back in its queue", h.1);
    }
    fn take(&mut self, s: usize, qs: u8) -> Option<Handed> {
        loop {
            let sv = &mut self.sv[s];
            let mut found = None;
            for q in 0..NQ {
                if found.is_none() && has(qs, q) && !sv.back[q].is_empty() {
                    found = Some((q as u8, sv.back[q].remove(0)))
                }
            }
            for q in 0..NQ {
                if found.is_none() && has(qs, q) && !sv.list[q].is_empty() {
                    found = Some((q as u8, sv.list[q].remove(0)))
                }
            }
            let h = found?;
            if !self.is_expired(h.1) {
                return Some(h);
            }
        }
    }
    fn pop(&mut self, c: usize, s: usize, g: u8, ends: bool, call: &Call) -> Reply {
        let k = &mut self.sv[s].cl[c];
        if (k.g != g && !broken(Broken::NoGeneration)) || k.g == 0 || !k.lease {
            say!("        stale");
            return Reply::Stale(k.g);
        }
        k.lease = !ends;
        let before = k.rec.clone();
        let (mut seen, mut back) = (vec![], vec![]);
        for f in &call.fin {
            if seen.contains(&f.t) {
                continue;
            }
            let Some((_, r)) = before.iter().find(|r| r.0 == f.t) else { continue };
            seen.push(f.t);
            let sv = &mut self.sv[s];
            let lines = match r {
                Rec::W(m) => *m,
                Rec::H { lines, q, id } => {
                    if f.id != Some(*id) && !(f.id.is_some() && broken(Broken::AckByTicket)) {
                        back.push((*q, *id))
                    }
                    *lines
                }
            };
            for q in 0..NQ {
                if has(lines, q) {
                    sv.line[q].retain(|x| *x != (c as u8, f.t))
                }
            }
            sv.cl[c].rec.retain(|x| x.0 != f.t);
        }
        for h in back {
            self.give_back(s, h)
        }
        let (mut served, mut given) = (0, vec![]);
        for a in &call.open {
            if given.len() >= cfg().served {
                break;
            }
            served += 1;
            let r = self.sv[s].cl[c].rec.iter().find(|r| r.0 == a.t).map(|r| r.1.clone());
            let mut lines = 0;
            match &r {
                Some(Rec::H { q, id, .. }) if !self.is_expired(*id) => {
                    given.push((a.t, (*q, *id)));
                    continue;
                }
                Some(Rec::H { lines: l, .. }) => lines = *l,
                Some(Rec::W(m)) => lines = *m,
                None => {}
            }
            if let Some(h) = self.take(s, a.qs) {
                Self::set(&mut self.sv[s].cl[c], a.t, Rec::H { lines, q: h.0, id: h.1 });
                given.push((a.t, h));
            } else if a.waits {
                for q in 0..NQ {
                    let l = &mut self.sv[s].line[q];
                    if has(a.qs, q) && !l.contains(&(c as u8, a.t)) {
                        l.push((c as u8, a.t))
                    }
                }
                Self::set(&mut self.sv[s].cl[c], a.t, Rec::W(a.qs));
            } else if r.is_some() {
                self.sv[s].cl[c].rec.retain(|x| x.0 != a.t)
            }
        }
        say!("        served {served}, given {given:?}");
        Reply::Pop { served, given }
    }
    fn exec(&mut self, c: usize, s: usize, cmd: Cmd) -> Reply {
        say!("        shard {s} executes c{c} {cmd:?}");
        match cmd {
            Cmd::Hello(g) => {
                let k = &mut self.sv[s].cl[c];
                if k.g >= g {
                    return Reply::Stale(k.g);
                }
                k.g = g;
                k.lease = true;
                Reply::Hello
            }
            Cmd::Pop { g, ends, call } => self.pop(c, s, g, ends, &call),
        }
    }
    fn push(&mut self, s: usize, q: usize) {
        let id = self.next;
        self.next += 1;
        self.accepted |= 1 << id;
        say!("        entry {id}");
        if !self.sv[s].list[q].is_empty() || !self.hand_over(s, (q as u8, id)) {
            self.sv[s].list[q].push(id)
        }
    }

    // The task.
    fn start_say(&mut self, c: usize, s: usize) {
        let p = &mut self.cl[c];
        p.task[s].newest = p.core.newest();
        self.next_say(c, s)
    }
    fn next_say(&mut self, c: usize, s: usize) {
        match self.cl[c].core.next_call(s) {
            Some(call) => self.say(c, s, call, false),
            None => self.said(c, s),
        }
    }
    fn say(&mut self, c: usize, s: usize, call: Call, ends: bool) {
        let p = &mut self.cl[c];
        let t = &mut p.task[s];
        p.conn[s].cmd = Some(Cmd::Pop { g: t.g, ends, call: call.clone() });
        t.call = Some(call);
        t.phase = Phase::Say;
    }
    fn said(&mut self, c: usize, s: usize) {
        let t = &mut self.cl[c].task[s];
        t.call = None;
        t.phase = Phase::Idle;
        if std::mem::take(&mut t.greet) {
            t.up = true;
            t.connecting = false;
            if t.bye > 0 {
                t.bye = 1;
                return self.start_say(c, s);
            }
            return;
        }
        if t.bye == 1 {
            t.bye = 2;
            self.say(c, s, Call::default(), true)
        }
    }
    fn greet(&mut self, c: usize, s: usize) {
        let p = &mut self.cl[c];
        let t = &mut p.task[s];
        t.g += 1;
        t.greet = true;
        t.beat = false;
        t.call = None;
        t.phase = Phase::Hello;
        p.conn[s].cmd = Some(Cmd::Hello(t.g))
    }
    fn took(&mut self, c: usize, s: usize, r: Reply) {
        let p = &mut self.cl[c];
        let t = &mut p.task[s];
        match (t.phase, r) {
            (Phase::Hello, Reply::Hello) => {
                p.core.ask_again(s);
                self.start_say(c, s)
            }
            (Phase::Hello, Reply::Stale(g)) => {
                t.g = t.g.max(g);
                self.greet(c, s)
            }
            (Phase::Say, Reply::Stale(_)) => self.greet(c, s),
            (Phase::Say, Reply::Pop { served, given }) => {
                let call = t.call.take().unwrap();
                p.core.answered(s, &call, served, &given);
                let t = &mut p.task[s];
                if t.bye == 2 {
                    return self.end(c, s, false);
                }
                if std::mem::take(&mut t.beat) {
                    return self.start_say(c, s);
                }
                if call.open.last().is_some_and(|o| o.t > t.newest) {
                    self.said(c, s)
                } else {
                    self.next_say(c, s)
                }
            }
            (ph, r) => self.fail(format!("MODEL: reply {r:?} in {ph:?}")),
        }
    }
    fn end(&mut self, c: usize, s: usize, failed: bool) {
        let p = &mut self.cl[c];
        p.core.close();
        p.task[s] = Task { phase: Phase::Ended, g: p.task[s].g, failed, closing: true, ..Default::default() };
        p.conn[s] = Conn::default();
    }
    fn end_unconnected(&mut self, c: usize, s: usize) {
        self.cl[c].core.close();
        if !self.cl[c].core.owes(s) {
            return self.end(c, s, false);
        }
        let t = &mut self.cl[c].task[s];
        t.last = true;
        t.bye = 1;
    }
    /// The connection is no more, for the client; what it had written may still be executed.
    fn leave(&mut self, c: usize, s: usize, kind: u8) {
        let k = std::mem::take(&mut self.cl[c].conn[s]);
        if kind > 0 && (k.sub || k.cmd.is_some()) {
            let down = if kind == 2 {
                k.down.into_iter().filter(|m| matches!(m, Msg::Push(..))).collect()
            } else {
                vec![]
            };
            self.old.push(Old { c: c as u8, s: s as u8, sub: k.sub, driver: kind == 2, cmd: k.cmd, down });
        }
        let t = &mut self.cl[c].task[s];
        *t = Task {
            phase: Phase::Down,
            g: t.g,
            closing: t.closing,
            last: t.last,
            bye: t.bye,
            ..Default::default()
        };
    }
    fn broke(&mut self, c: usize, s: usize, kind: u8) {
        self.leave(c, s, kind);
        let t = &self.cl[c].task[s];
        if !t.closing {
            self.cl[c].core.unreachable(s)
        } else if t.last {
            self.end(c, s, true)
        } else {
            self.end_unconnected(c, s)
        }
    }

    pub fn events(&self, sc: &Scenario) -> Vec<Ev> {
        let mut r = vec![];
        for s in 0..NS {
            for q in 0..NQ {
                if self.bud.push[s][q] > 0 {
                    r.push(Ev::Push(s as u8, q as u8))
                }
            }
            if self.bud.loss > 0 {
                r.push(Ev::Loss(s as u8))
            }
        }
        for c in 0..NC {
            let p = &self.cl[c];
            if p.dead {
                continue;
            }
            let cc = c as u8;
            let v = p.core.view();
            if (self.recv[c] as usize) < sc.kinds[c].len() && v.handles.len() < sc.open && !p.closed {
                r.push(Ev::Recv(cc))
            }
            for h in &v.handles {
                if h.arrival.is_some() {
                    r.push(Ev::Poll(cc, h.t))
                }
                if self.bud.drops > 0 {
                    r.push(Ev::Drop(cc, h.t))
                }
            }
            if self.bud.close > 0 && !p.closed {
                r.push(Ev::Close(cc))
            }
            if self.bud.kill > 0 {
                r.push(Ev::Kill(cc))
            }
            for s in 0..NS {
                let (t, k, ss) = (&p.task[s], &p.conn[s], s as u8);
                if t.phase == Phase::Ended {
                    continue;
                }
                if t.phase == Phase::Sub || k.cmd.is_some() {
                    r.push(Ev::Exec(cc, ss))
                }
                if cfg().apart
                    && k.down.len() > 1
                    && matches!(k.down[0], Msg::Push(..))
                    && k.down.iter().any(|m| matches!(m, Msg::Reply(_)))
                {
                    r.push(Ev::Ahead(cc, ss))
                }
                if let Some(m) = k.down.first() {
                    if matches!(m, Msg::Push(..)) {
                        r.push(Ev::Read(cc, ss));
                        if self.bud.lost > 0 {
                            r.push(Ev::PushLost(cc, ss))
                        }
                    } else if k.slot.is_none() {
                        r.push(if sc.slot { Ev::Read(cc, ss) } else { Ev::Take(cc, ss) })
                    }
                }
                if k.slot.is_some() {
                    r.push(Ev::Take(cc, ss))
                }
                if t.phase == Phase::Idle && v.shards[s].permit {
                    r.push(Ev::Wake(cc, ss))
                }
                if t.phase == Phase::Idle && self.bud.beats > 0 {
                    r.push(Ev::Beat(cc, ss))
                }
                if t.phase == Phase::Idle && self.bud.wanted > 0 {
                    r.push(Ev::Wanted(cc, ss))
                }
                if t.phase == Phase::Say && k.cmd.is_some() && self.bud.refused > 0 {
                    r.push(Ev::Refused(cc, ss))
                }
                if t.closing
                    && t.bye == 0
                    && (matches!(t.phase, Phase::Idle | Phase::Down) || t.connecting && k.slot.is_none())
                {
                    r.push(Ev::Bye(cc, ss))
                }
                if t.phase == Phase::Down && (!t.closing || t.last) {
                    r.push(Ev::Connect(cc, ss))
                }
                if self.bud.breaks > 0 && k.live && k.slot.is_none() {
                    r.push(Ev::Break(cc, ss, 0));
                    if sc.olds && (k.sub || k.cmd.is_some()) {
                        r.push(Ev::Break(cc, ss, 1));
                        r.push(Ev::Break(cc, ss, 2))
                    }
                }
                if self.bud.lease > 0 && self.sv[s].cl[c].lease {
                    r.push(Ev::LeaseEnd(cc, ss))
                }
            }
        }
        for (i, o) in self.old.iter().enumerate() {
            let i = i as u8;
            if o.cmd.is_some() {
                r.push(Ev::OldExec(i))
            }
            if !o.down.is_empty() {
                r.push(Ev::OldRead(i))
            }
            r.push(Ev::OldGone(i))
        }
        if self.bud.expire > 0 {
            for id in 0..self.next {
                if !self.is_expired(id) && self.delivered >> id & 1 == 0 {
                    r.push(Ev::Expire(id))
                }
            }
        }
        r
    }

    pub fn step(&mut self, sc: &Scenario, ev: Ev) {
        say!("{ev:?}");
        match ev {
            Ev::Push(s, q) => {
                self.bud.push[s as usize][q as usize] -= 1;
                self.push(s as usize, q as usize)
            }
            Ev::Recv(c) => {
                let c = c as usize;
                let (qs, waits, shards) = sc.kinds[c][self.recv[c] as usize];
                self.recv[c] += 1;
                // A ticket that does not wait asks those that it can reach.
                let places: Vec<(u8, u8)> = (0..NS)
                    .filter(|s| has(shards, *s) && (waits || self.cl[c].task[*s].up))
                    .map(|s| (s as u8, if s == 1 { qs } else { qs & 1 }))
                    .filter(|p| p.1 != 0)
                    .collect();
                if !places.is_empty() {
                    let t = self.cl[c].core.open(&places, waits);
                    say!("        ticket {t:?} {places:?} waits {waits}")
                }
            }
            Ev::Poll(c, t) => {
                let a = self.cl[c as usize].core.poll(t);
                say!("        {a:?}");
                if let Some(Arrival::Message(_, (q, id))) = a {
                    if self.delivered >> id & 1 == 1 {
                        self.fail(format!("TWICE: entry {id}"))
                    }
                    self.delivered |= 1 << id;
                    if q == 1 {
                        if self.last > id + 1 {
                            self.fail(format!("ORDER: entry {id} of the ? channel after {}", self.last - 1))
                        }
                        self.last = id + 1
                    }
                }
            }
            Ev::Drop(c, t) => {
                self.bud.drops -= 1;
                self.cl[c as usize].core.drop_future(t)
            }
            Ev::Close(c) => {
                self.bud.close -= 1;
                let p = &mut self.cl[c as usize];
                p.closed = true;
                p.core.close();
                for t in &mut p.task {
                    t.closing = true
                }
            }
            Ev::Kill(c) => {
                self.bud.kill -= 1;
                self.took = self.taken(c as usize);
                for s in 0..NS {
                    if self.cl[c as usize].conn[s].live {
                        self.leave(c as usize, s, 1)
                    }
                }
                let p = &mut self.cl[c as usize];
                p.dead = true;
                for t in &mut p.task {
                    t.phase = Phase::Ended
                }
            }
            Ev::Exec(c, s) => {
                let (c, s) = (c as usize, s as usize);
                if self.cl[c].task[s].phase == Phase::Sub {
                    self.cl[c].conn[s].sub = true;
                    self.greet(c, s)
                } else {
                    let cmd = self.cl[c].conn[s].cmd.take().unwrap();
                    let r = self.exec(c, s, cmd);
                    self.cl[c].conn[s].down.push(Msg::Reply(r))
                }
            }
            Ev::Read(c, s) => {
                let p = &mut self.cl[c as usize];
                match p.conn[s as usize].down.remove(0) {
                    Msg::Push(t, h) => p.core.arrived(s as usize, t, h),
                    Msg::Reply(r) => p.conn[s as usize].slot = Some(r),
                }
            }
            Ev::Take(c, s) => {
                let k = &mut self.cl[c as usize].conn[s as usize];
                let r = k.slot.take().unwrap_or_else(|| {
                    if let Msg::Reply(r) = k.down.remove(0) {
                        r
                    } else {
                        unreachable!()
                    }
                });
                self.took(c as usize, s as usize, r)
            }
            Ev::Wake(c, s) => {
                self.cl[c as usize].core.take_permit(s as usize);
                self.start_say(c as usize, s as usize)
            }
            Ev::Beat(c, s) => {
                self.bud.beats = self.bud.beats.saturating_sub(1);
                let (c, s) = (c as usize, s as usize);
                let p = &mut self.cl[c];
                let call = if broken(Broken::BeatOnlyRenews) {
                    None
                } else {
                    p.core.ask_again(s);
                    p.core.next_call(s)
                };
                p.task[s].beat = true;
                self.say(c, s, call.unwrap_or_default(), false)
            }
            Ev::Bye(c, s) => {
                let (c, s) = (c as usize, s as usize);
                let t = &mut self.cl[c].task[s];
                if t.phase == Phase::Idle {
                    t.bye = 1;
                    self.cl[c].core.close();
                    self.start_say(c, s)
                } else {
                    if t.phase != Phase::Down {
                        self.leave(c, s, 1)
                    }
                    self.end_unconnected(c, s)
                }
            }
            Ev::Connect(c, s) => {
                let p = &mut self.cl[c as usize];
                p.conn[s as usize] = Conn { live: true, ..Default::default() };
                let t = &mut p.task[s as usize];
                t.phase = Phase::Sub;
                t.connecting = true
            }
            Ev::Break(c, s, kind) => {
                self.bud.breaks -= 1;
                self.broke(c as usize, s as usize, kind)
            }
            Ev::PushLost(c, s) => {
                self.bud.lost -= 1;
                self.needs_beat = true;
                self.cl[c as usize].conn[s as usize].down.remove(0);
            }
            Ev::OldExec(i) => {
                let o = &mut self.old[i as usize];
                let (c, s, cmd) = (o.c as usize, o.s as usize, o.cmd.take().unwrap());
                self.exec(c, s, cmd);
            }
            Ev::OldRead(i) => {
                let o = &mut self.old[i as usize];
                let (c, s) = (o.c as usize, o.s as usize);
                if let Msg::Push(t, h) = o.down.remove(0) {
                    if !self.cl[c].dead {
                        self.cl[c].core.arrived(s, t, h)
                    }
                }
            }
            Ev::OldGone(i) => {
                self.old.remove(i as usize);
            }
            Ev::LeaseEnd(c, s) => {
                self.bud.lease -= 1;
                self.needs_beat = true;
                self.sv[s as usize].cl[c as usize].lease = false
            }
            Ev::Loss(s) => {
                self.bud.loss -= 1;
                self.needs_beat = true;
                for id in self.on(s as usize) {
                    self.excused |= 1 << id
                }
                self.sv[s as usize] = Server::default()
            }
            Ev::Wanted(c, s) => {
                self.bud.wanted -= 1;
                self.greet(c as usize, s as usize)
            }
            Ev::Refused(c, s) => {
                self.bud.refused -= 1;
                let p = &mut self.cl[c as usize];
                let call = p.task[s as usize].call.clone().unwrap();
                p.core.failed(s as usize, &call);
                self.broke(c as usize, s as usize, 0)
            }
            Ev::Ahead(c, s) => {
                let d = &mut self.cl[c as usize].conn[s as usize].down;
                let i = d.iter().position(|m| matches!(m, Msg::Reply(_))).unwrap();
                let m = d.remove(i);
                d.insert(0, m)
            }
            Ev::Expire(id) => {
                self.bud.expire -= 1;
                self.expired |= 1 << id
            }
        }
        self.check();
    }
    /// The entries on a shard, with where they are.
    fn on(&self, s: usize) -> Vec<Id> {
        let sv = &self.sv[s];
        let mut r: Vec<Id> = sv.list.iter().chain(&sv.back).flatten().copied().collect();
        r.extend(sv.cl.iter().flat_map(|k| &k.rec).filter_map(|r| {
            if let Rec::H { id, .. } = r.1 {
                Some(id)
            } else {
                None
            }
        }));
        r
    }
    /// How many undelivered entries a process has been handed, and how many of its receives are under way.
    fn taken(&self, c: usize) -> (u8, u8) {
        let n = (0..NS)
            .flat_map(|s| &self.sv[s].cl[c].rec)
            .filter(|r| matches!(r.1, Rec::H { id, .. } if self.delivered >> id & 1 == 0))
            .count();
        (n as u8, self.cl[c].core.view().handles.len() as u8)
    }
    /// What holds at every moment.
    fn check(&mut self) {
        for c in 0..NC {
            if let Some(x) = self.cl[c].core.differs() {
                self.fail(format!("DIFFERS: client {c}: {x}"));
                return;
            }
        }
        let mut places = [0u8; 32];
        for s in 0..NS {
            for id in self.on(s) {
                places[id as usize] += 1
            }
        }
        for id in 0..self.next {
            let n = places[id as usize];
            let (d, gone) = (self.delivered >> id & 1 == 1, (self.expired | self.excused) >> id & 1 == 1);
            if n > 1 {
                self.fail(format!("SPLIT: entry {id} is in {n} places of the servers"));
                return;
            }
            if n == 0 && !d && !gone {
                self.fail(format!("LOST: entry {id} is nowhere on the servers, and was not delivered"));
                return;
            }
            if d && n == 1
                && !gone
                && (0..NS).any(|s| self.sv[s].list.iter().chain(&self.sv[s].back).flatten().any(|x| *x == id))
            {
                self.fail(format!("AGAIN: entry {id} was delivered, and waits in a queue again"));
                return;
            }
        }
        for c in 0..NC {
            let p = &self.cl[c];
            if p.dead {
                continue;
            }
            let v = p.core.view();
            for (s, t) in &v.given_on {
                if !v.open.iter().any(|o| o.1.filled.is_some_and(|f| f.s == *s && f.to == *t)) {
                    self.fail(format!("GIVEN ON: client {c} remembers ({s}, {t}) for nobody"));
                    return;
                }
            }
            for s in 0..NS {
                if p.task[s].failed {
                    continue;
                }
                for (t, r) in &self.sv[s].cl[c].rec {
                    let said = v.shards[s].finished.iter().any(|f| f.t == *t)
                        || v.given_on.contains(&(s as u8, *t))
                        || v.look(*t).is_some_and(|o| {
                            o.places.iter().any(|p| p.s as usize == s && p.asked && !p.nothing)
                        });
                    if !said
                        && !(p.task[s].phase == Phase::Ended
                            && self.old.iter().any(|o| o.c as usize == c && o.s as usize == s))
                    {
                        self.fail(format!("LEAK: shard {s} has {r:?} of c{c} t{t}, of which the client will never say anything"));
                        return;
                    }
                }
            }
        }
    }

    // Healing: what must come right when nothing more goes wrong.
    fn settle(&mut self, sc: &Scenario, polls: bool) {
        for _ in 0..10_000 {
            if self.bad.is_some() {
                return;
            }
            let ev = self.events(sc).into_iter().find(|e| {
                matches!(
                    e,
                    Ev::Exec(..) | Ev::Read(..) | Ev::Take(..) | Ev::Wake(..) | Ev::Bye(..) | Ev::Connect(..)
                ) || polls && matches!(e, Ev::Poll(..))
            });
            match ev {
                Some(e) => self.step(sc, e),
                None => return,
            }
        }
        self.fail("BUSY: it never comes to rest".into());
    }
    fn beat_all(&mut self, sc: &Scenario, polls: bool) {
        for c in 0..NC {
            for s in 0..NS {
                if !self.cl[c].dead && self.cl[c].task[s].phase == Phase::Idle {
                    self.step(sc, Ev::Beat(c as u8, s as u8))
                }
            }
        }
        self.settle(sc, polls);
    }
    pub fn heal(&mut self, sc: &Scenario) {
        if self.bad.is_some() {
            return;
        }
        say!("-- nothing more goes wrong");
        while !self.old.is_empty() {
            self.step(sc, Ev::OldGone(0))
        }
        self.bud = Bud { beats: 100, ..Default::default() };
        let mut sc = sc.clone();
        sc.kinds = Default::default();
        let sc = &sc;
        self.settle(sc, true);
        // A lease that ended, or a loss of data, that nobody has noticed takes a beat; a broken connection does not.
        if self.needs_beat {
            self.beat_all(sc, true);
            self.beat_all(sc, true)
        }
        if self.bad.is_some() {
            return;
        }
        for c in 0..NC {
            let p = &self.cl[c];
            if p.dead || p.closed {
                continue;
            }
            for (t, o) in &p.core.view().open {
                if !o.waits {
                    let x = format!("ASLEEP: c{c} t{t} does not wait, and is not answered");
                    self.fail(x);
                    return;
                }
                for pl in &o.places {
                    for q in 0..NQ {
                        if !has(pl.qs, q) {
                            continue;
                        }
                        let sv = &self.sv[pl.s as usize];
                        if let Some(id) =
                            sv.list[q].iter().chain(&sv.back[q]).find(|id| !self.is_expired(**id))
                        {
                            let x =
                                format!("ASLEEP: entry {id} waits on shard {}, and so does c{c} t{t}", pl.s);
                            self.fail(x);
                            return;
                        }
                    }
                }
            }
        }
        say!("-- all that is still open is dropped");
        for c in 0..NC {
            if self.cl[c].dead {
                continue;
            }
            for h in self.cl[c].core.view().handles.clone() {
                self.bud.drops = 1;
                self.step(sc, Ev::Drop(c as u8, h.t))
            }
        }
        self.settle(sc, true);
        self.beat_all(sc, true);
        self.beat_all(sc, true);
        if self.bad.is_some() {
            return;
        }
        for c in 0..NC {
            let p = &self.cl[c];
            if p.dead {
                continue;
            }
            let v = p.core.view();
            let mut x = None;
            if !v.open.is_empty() || !v.given_on.is_empty() {
                x = Some(format!("LEFT: c{c} has {:?} {:?}", v.open, v.given_on))
            }
            for s in 0..NS {
                if p.task[s].failed {
                    continue;
                }
                if p.task[s].phase != Phase::Ended && !v.shards[s].finished.is_empty() {
                    x = Some(format!("LEFT: c{c} still has to say {:?} to shard {s}", v.shards[s].finished))
                }
                if p.closed && p.task[s].phase != Phase::Ended {
                    x = Some(format!("LEFT: c{c} is closed, its task of shard {s} is not"))
                }
                if !self.sv[s].cl[c].rec.is_empty() {
                    x = Some(format!("LEAK: shard {s} keeps {:?} of c{c} for ever", self.sv[s].cl[c].rec))
                }
            }
            if let Some(x) = x {
                self.fail(x);
                return;
            }
        }
        for id in 0..self.next {
            if (self.delivered | self.expired | self.excused) >> id & 1 == 1 {
                continue;
            }
            let waits = self.sv.iter().any(|sv| sv.list.iter().chain(&sv.back).flatten().any(|x| *x == id));
            let died = (0..NC).any(|c| {
                (0..NS).any(|s| {
                    (self.cl[c].dead || self.cl[c].task[s].failed)
                        && self.sv[s].cl[c].rec.iter().any(|r| matches!(r.1, Rec::H { id: x, .. } if x == id))
                })
            });
            if !waits && !died {
                self.fail(format!(
                    "LOST: entry {id} was neither delivered, nor waits, nor died with a client"
                ));
                return;
            }
        }
    }
}
