//! Random walks over the rules of ../../../groups.md: one inbox with its owner (client 0), two other processes that add, discard and
//! send, breaks with lost replies, an old state that comes back, keys that vanish, a clock that is set. A dense one-off tool.
//!   groups walk RULE[+RULE] FAULTS     SEED=1 WALKS=2000 STEPS=3500; TRACE=1 LINES=60 prints the first failure; COMPOUND=1 faults before the last one is healed
//! RULE: none; old (today's, in short); or one broken: nochain nofilter ownreply nounseen absentquiet noscrub noclock trustserver nofork unknownquiet fixleft resurrect
//!   (caught); ghostalways fixover adopt noends ntag noera (not caught). FAULTS, letters after an x: b breaks, k beats' replies lost, r old state (one in seven empty), l empty
//!   state, e keys lost, q list lost, c clock, d clock by -60 s, s slow owner (with r entries), f flush. Example: groups walk none xbkrecfq
// Dense search code, to run and to switch rules in.
#![allow(warnings, clippy::all)]
#![allow(warnings)]
use std::collections::{BTreeMap, BTreeSet, VecDeque};
const NG: u8 = 4;
const NA: u8 = 5;
const LIMIT: u32 = 8;
const PAGE: usize = 2;
const LONG: i64 = 1_000_000_000;
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545F4914F6CDD1D) >> 11
    }
    fn n(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn p(&mut self, percent: u64) -> bool {
        self.n(1000) < percent * 10
    }
}
type Tag = (u8, u64);
type Key = (u8, u8);
#[derive(Clone, Copy, Debug, PartialEq)]
enum K {
    Add(i64),
    Del,
    Absent(i64),
    DelIf(i64),
    SetIf(i64, i64),
    Era(u64),
}
#[derive(Clone, Copy, Debug)]
struct Op {
    k: K,
    key: Key,
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    Plus,
    Minus,
    Fixed,
    Era,
}
#[derive(Clone, Debug)]
enum E {
    C { n: u64, by: Tag, now: i64, ops: Vec<(Done, Key, i64)> },
    W { n: u64, by: Tag, bytag: Tag, lo: u8, hi: u8, now: i64, list: Vec<(u8, bool, Vec<(u8, i64)>)> },
    K { n: u64, by: Tag, bytag: Tag },
    R,
    F,
    G { msg: usize, g: u8, now: i64 },
    P { key: Key, d: i64, us: i64, first: bool },
    M { key: Key, us: i64 },
}
#[derive(Clone, Debug)]
struct Ih {
    n: u64,
    by: Tag,
    told: bool,
    lease: i64,
}
#[derive(Clone, Debug, Default)]
struct Grp {
    idx: bool,
    row: Option<(i64, u64)>,
    m: BTreeMap<u8, i64>,
    s: bool,
}
#[derive(Clone, Default)]
struct Srv {
    ih: Option<Ih>,
    q: VecDeque<(u64, E)>,
    g: BTreeMap<u8, Grp>,
}
#[derive(Clone, Debug)]
enum Call {
    Change { call: u64, ops: Vec<Op> },
    Keep { call: u64, n: u64, by: Tag, after: u64 },
    Walk { call: u64, lo: u8 },
    Pop { ack: u64 },
    ReadAll,
}
#[derive(Clone, Debug)]
enum Rep {
    Changed { call: u64, now: i64, n: u64 },
    Kept { new: bool, now: i64, after: u64, k: bool, groups: usize },
    Walked { next: u8 },
    Popped(Vec<(u64, E)>),
    All { now: i64, list: Vec<(Key, i64)> },
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trust {
    Mirror,
    Server,
}
#[derive(Clone, Copy, Debug)]
struct Mem {
    d: i64,
    mono: i64,
    us: i64,
}
#[derive(Default)]
struct Own {
    mirror: BTreeMap<Key, Mem>,
    n: u64,
    by: Tag,
    seen: BTreeMap<u8, u64>,
    todo: VecDeque<(Op, bool)>,
    inflight: Option<u64>,
    unseen: Vec<(u64, Vec<(Op, bool)>, Option<u64>)>,
    pending: BTreeSet<Key>,
    mismatch: Option<Trust>,
    era: Option<u64>,
    walk: Option<(Trust, u8, bool)>,
    walking: bool,
    scrub: u8,
    rounds: u64,
    scrubbing: bool,
    buf: VecDeque<(u64, E)>,
    ack: u64,
    popping: bool,
    off: Option<i64>,
    keeping: bool,
    want_keep: bool,
    call: u64,
    up: bool,
    k_after: Option<u64>,
    kept_after: u64,
    rewalk: Option<bool>,
    lost_since: bool,
    reading: bool,
    listed: usize,
    clockfix: bool,
    empty_at: i64,
    page_age: u32,
    page_call: u64,
    clockneed: bool,
    told_now: BTreeMap<u64, i64>,
    since: Vec<(Key, u64, u64)>,
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum T {
    In(i64),
    Out,
    Any,
}
struct Msg {
    g: u8,
    expect: Vec<(u8, T)>,
    settled: bool,
    weak: bool,
    done: bool,
    t: i64,
    stepped: bool,
}
struct World {
    rng: Rng,
    t: i64,
    off: i64,
    srv: Srv,
    snap: Option<(Srv, u64)>,
    upq: VecDeque<Call>,
    down: VecDeque<Rep>,
    own: Own,
    calls: [u64; 3],
    uid: u64,
    truth: BTreeMap<Key, (T, bool, u64)>,
    log: u64,
    msgs: Vec<Msg>,
    rules: BTreeSet<String>,
    faults: String,
    unsettled: Option<(u64, u64, bool)>,
    faultno: u64,
    weak: bool,
    trace: Vec<String>,
    tr: bool,
    acked: BTreeMap<Key, u64>,
    stepped: bool,
    old: bool,
    usn: i64,
    light: bool,
    taglog: BTreeMap<Tag, u64>,
    readlog: BTreeMap<Key, u64>,
    limbo: BTreeSet<Key>,
    checked: u64,
    fired: u64,
}
impl World {
    fn has(&self, r: &str) -> bool {
        self.rules.contains(r)
    }
    fn now(&self) -> i64 {
        self.t + self.off
    }
    fn say(&mut self, s: impl FnOnce() -> String) {
        if self.tr {
            let t = self.t;
            let s = s();
            self.trace.push(format!("{t:>7} {s}"))
        }
    }
    fn push(&mut self, e: E) {
        self.uid += 1;
        self.srv.q.push_back((self.uid, e));
    }
    fn controls(&self) -> u32 {
        self.srv.q.iter().filter(|(_, e)| !matches!(e, E::G { .. })).count() as u32
    }
    // --- server
    fn change(&mut self, by: Tag, ops: &[Op]) {
        let now = self.now();
        self.log += 1;
        let log = self.log;
        self.taglog.insert(by, log);
        if !self.old && !self.has("unknownquiet") && self.srv.ih.is_none() {
            self.srv.ih = Some(Ih { n: 0, by: (0, 0), told: true, lease: 0 })
        }
        if let (Some(ih), false) = (&mut self.srv.ih, self.old) {
            for op in ops {
                if let K::Era(n) = op.k {
                    ih.n = ih.n.max(n);
                    ih.told = true
                }
            }
            ih.n += 1;
            ih.by = by;
        }
        let limbo: Vec<Key> = ops
            .iter()
            .map(|o| o.key)
            .filter(|k| by.0 != 0 && self.unsettled.is_some() && self.limbo.contains(k))
            .collect();
        let n = self.srv.ih.as_ref().map_or(0, |i| i.n);
        let mut out = vec![];
        let mut olds = vec![];
        for op in ops {
            let (g, a) = op.key;
            let absentquiet = self.has("absentquiet");
            let ghostalways = self.has("ghostalways");
            let dead = |d: i64| d <= now;
            match op.k {
                K::Era(_) => {
                    out.push((Done::Era, op.key, 0));
                    continue;
                }
                K::Add(left) | K::Absent(left) | K::SetIf(left, _) => {
                    if let K::SetIf(_, dw) = op.k {
                        if self.srv.g.get(&g).and_then(|x| x.m.get(&a)) != Some(&dw) {
                            continue;
                        }
                    }
                    let d = if matches!(op.k, K::Add(_)) || self.old || self.has("fixleft") {
                        now + left
                    } else {
                        left
                    };
                    if d <= now {
                        continue;
                    }
                    let x = self.srv.g.entry(g).or_default();
                    let first = x.m.is_empty();
                    let absent = !x.m.get(&a).is_some_and(|d| !dead(*d));
                    if !matches!(op.k, K::Absent(_)) || absent {
                        x.m.insert(a, d);
                    }
                    let d = x.m[&a];
                    let top = x.row.map_or(0, |r| r.0).max(d);
                    let rn = x.row.map_or(0, |r| r.1);
                    x.row = Some((top, if matches!(op.k, K::Add(_)) { n } else { rn }));
                    x.idx = true;
                    x.s = true;
                    if matches!(op.k, K::Add(_)) {
                        self.truth.insert(op.key, (T::In(self.t + left), by.0 == 0, log));
                        out.push((Done::Plus, op.key, d));
                        olds.push((op.key, d, Some(first)));
                    } else {
                        out.push((Done::Fixed, op.key, d));
                        if self.old && by.0 == 0 {}
                    }
                }
                K::Del | K::DelIf(_) => {
                    if let K::DelIf(dw) = op.k {
                        if !ghostalways && self.srv.g.get(&g).and_then(|x| x.m.get(&a)) != Some(&dw) {
                            continue;
                        }
                    }
                    let was = self.srv.g.get_mut(&g).and_then(|x| x.m.remove(&a));
                    if self.srv.g.get(&g).is_some_and(|x| x.m.is_empty()) {
                        self.srv.g.remove(&g);
                    }
                    if op.k == K::Del {
                        self.truth.insert(op.key, (T::Out, by.0 == 0, log));
                    }
                    if was.is_some() {
                        olds.push((op.key, 0, None))
                    }
                    if was.is_some() || !absentquiet {
                        out.push((if op.k == K::Del { Done::Minus } else { Done::Fixed }, op.key, -1));
                    }
                }
            }
        }
        for k in limbo {
            self.truth.insert(k, (T::Any, false, log));
        }
        if self.srv.ih.is_none() {
            return;
        }
        if self.old {
            for (key, d, first) in olds {
                if ops.iter().any(|o| matches!(o.k, K::Absent(_))) {
                    continue;
                }
                let c = self.controls();
                if !self.srv.ih.as_ref().unwrap().told {
                    continue;
                }
                self.usn = (self.usn + 1) % 900;
                let us = now * 1000 + self.usn;
                if self.faults.contains('s') && c >= LIMIT {
                    self.srv.ih.as_mut().unwrap().told = false;
                    self.push(E::R);
                    continue;
                }
                match first {
                    Some(f) => self.push(E::P { key, d, us, first: f }),
                    None => self.push(E::M { key, us }),
                }
            }
            return;
        }
        let full = self.faults.contains('s') && self.controls() >= LIMIT && by.0 != 0;
        let ih = self.srv.ih.as_mut().unwrap();
        if by.0 != 0 && !ih.told {
            return;
        }
        if full {
            ih.told = false;
            self.push(E::R);
            if self.unsettled.is_none() {
                self.fault(false, false)
            }
            return;
        }
        self.say(|| format!("srv C n={n} by={by:?} {out:?}"));
        self.push(E::C { n, by, now, ops: out });
    }
    fn send(&mut self, g: u8) {
        let now = self.now();
        let msg = self.msgs.len();
        let told = self.srv.ih.as_ref().is_some_and(|i| i.told);
        let expect: Vec<(u8, T)> =
            (0..NA).map(|a| (a, self.truth.get(&(g, a)).map_or(T::Out, |t| t.0))).collect();
        let expect: Vec<(u8, T)> = expect
            .into_iter()
            .map(|(a, t)| {
                (a, if self.unsettled.is_some() && self.limbo.contains(&(g, a)) { T::Any } else { t })
            })
            .collect();
        let settled = self.unsettled.is_none() && told;
        let weak = self.weak && told;
        self.msgs.push(Msg { g, expect, settled, weak, done: false, t: self.t, stepped: self.stepped });
        let alive = self.srv.ih.as_ref().is_some_and(|i| i.lease > now);
        let mut put = false;
        if self.srv.g.get(&g).is_some_and(|x| x.idx) {
            match self.srv.g[&g].row {
                Some((d, _)) if d > now => put = alive,
                _ => {
                    self.srv.g.remove(&g);
                }
            }
        }
        self.say(|| format!("send msg {msg} to {g} put={put} settled={settled}"));
        if put {
            self.push(E::G { msg, g, now })
        } else {
            self.check(msg, &[])
        }
    }
    fn check(&mut self, msg: usize, got: &[u8]) {
        let m = &mut self.msgs[msg];
        if m.done {
            return;
        }
        m.done = true;
        let mut bad = None;
        for (a, t) in &m.expect {
            let is = got.contains(a);
            let want = match t {
                T::In(end) if m.stepped && (end - m.t).abs() < 6000 => None,
                T::In(end) => Some(*end > m.t),
                T::Out => Some(false),
                T::Any => None,
            };
            if let Some(w) = want {
                if m.settled && is != w {
                    bad = Some((*a, w))
                }
                if !m.settled && m.weak && !w && is && *t == T::Out {
                    bad = Some((*a, w))
                }
            }
        }
        if m.settled {
            self.checked += 1
        }
        if let Some((a, w)) = bad {
            let s = format!(
                "msg {msg} to {} (settled={}): {a} {}",
                m.g,
                m.settled,
                if w { "missed it" } else { "got it, but is no member" }
            );
            self.say(|| format!("VIOLATION {s}"));
            std::panic::panic_any(s)
        }
    }
    fn exec(&mut self, c: Call) -> Rep {
        let now = self.now();
        match c {
            Call::Change { call, ops } => {
                self.change((0, call), &ops);
                Rep::Changed { call, now, n: self.srv.ih.as_ref().map_or(0, |i| i.n) }
            }
            Call::Keep { call, n, by, after } => {
                let new = self.srv.ih.is_none();
                let lease = now + 60_000;
                let ih = self.srv.ih.get_or_insert(Ih { n: 0, by: (0, 0), told: true, lease });
                ih.lease = lease;
                let (sn, sby) = (ih.n, ih.by);
                let k = !self.old && !(sn == n && (sby == by || self.has("ntag")));
                if k {
                    self.push(E::K { n: sn, by: sby, bytag: (0, call) })
                }
                let groups = self.srv.g.values().filter(|x| x.s).count();
                self.say(|| format!("srv keep n={n} by={by:?} server {sn} {sby:?} k={k}"));
                Rep::Kept { new, now, after, k, groups }
            }
            Call::Walk { call, lo } => {
                let gs: Vec<u8> =
                    self.srv.g.iter().filter(|(g, x)| **g >= lo && x.s).map(|(g, _)| *g).take(PAGE).collect();
                let hi = if gs.len() < PAGE { NG } else { *gs.last().unwrap() };
                let list = gs
                    .iter()
                    .map(|g| {
                        let x = &self.srv.g[g];
                        (*g, x.idx && x.row.is_some(), x.m.iter().map(|(a, d)| (*a, *d)).collect())
                    })
                    .collect();
                if let Some(ih) = &self.srv.ih {
                    let (n, by) = (ih.n, ih.by);
                    self.say(|| format!("srv W {lo}..{hi} {list:?}"));
                    self.push(E::W { n, by, bytag: (0, call), lo, hi, now, list })
                }
                Rep::Walked { next: hi }
            }
            Call::Pop { ack } => {
                if let Some(p) = self.srv.q.iter().position(|(u, _)| *u == ack) {
                    self.srv.q.drain(..=p);
                }
                Rep::Popped(self.srv.q.iter().take(3).cloned().collect())
            }
            Call::ReadAll => {
                if let Some(ih) = &mut self.srv.ih {
                    ih.told = true
                }
                let mut l = vec![];
                for (g, x) in &self.srv.g {
                    if x.s {
                        for (a, d) in &x.m {
                            l.push(((*g, *a), *d))
                        }
                    }
                }
                Rep::All { now, list: l }
            }
        }
    }
    // --- owner
    fn age(&self, now: i64) -> i64 {
        self.own.off.map_or(0, |o| self.t + o - now).clamp(0, self.t - self.own.empty_at)
    }
    fn mem(&self, d: i64, now: i64) -> Mem {
        Mem { d, mono: self.t - self.age(now) + (d - now), us: 0 }
    }
    fn verdict(&mut self, t: Trust) {
        if self.has("nochain") {
            return;
        }
        let t = if self.has("trustserver") { Trust::Server } else { t };
        self.fired += 1;
        self.say(|| format!("owner verdict {t:?}"));
        let m = &mut self.own.mismatch;
        if *m != Some(Trust::Mirror) {
            *m = Some(t)
        }
    }
    fn own_seen(&mut self, call: u64, n: u64) -> bool {
        // false: a replay
        if self.has("nofilter") {
            return true;
        }
        if call <= *self.own.seen.get(&0).unwrap_or(&0) {
            self.verdict(Trust::Mirror);
            return false;
        }
        self.own.seen.insert(0, call);
        if self.own.era.is_some_and(|e| e < call) {
            self.own.era = None
        } // its entry is lost: again
        let lost: Vec<u64> = self.own.unseen.iter().filter(|u| u.0 < call).filter_map(|u| u.2).collect();
        for told in lost {
            self.verdict(if told > n || told == 0 { Trust::Mirror } else { Trust::Server })
        }
        self.own.unseen.retain(|u| u.0 >= call || u.2.is_some());
        true
    }
    fn read(&mut self, e: E) {
        self.say(|| format!("owner reads {e:?}"));
        match e {
            E::G { msg, g, now } => {
                let got: Vec<u8> =
                    self.own.mirror.iter().filter(|(k, m)| k.0 == g && m.d > now).map(|(k, _)| k.1).collect();
                self.check(msg, &got)
            }
            E::R => {
                if self.old {
                    self.own.reading = true
                } else {
                    self.verdict(Trust::Server)
                }
            }
            E::F => {
                self.own.mirror.clear();
                self.own.pending.clear();
                self.verdict(Trust::Server)
            }
            E::C { n, by, now, ops } => {
                let replay = by.1 <= *self.own.seen.get(&by.0).unwrap_or(&0);
                let expected = self.own.n + 1;
                if !self.has("nofork") && self.own.unseen.iter().any(|u| u.2 == Some(n) && by != (0, u.0)) {
                    self.verdict(Trust::Mirror)
                }
                let era = ops.iter().any(|o| o.0 == Done::Era);
                if !self.has("nofilter") && replay {
                    self.verdict(Trust::Mirror);
                    return;
                }
                if by.0 == 0 {
                    if !self.own_seen(by.1, n) {
                        return;
                    }
                } else {
                    self.own.seen.insert(by.0, by.1);
                }
                if era {
                    self.own.era = None;
                    self.own.n = n;
                    self.own.by = by;
                    let lost: Vec<_> = self.own.unseen.iter().filter(|u| u.0 < by.1).cloned().collect();
                    self.own.unseen.retain(|u| u.0 > by.1);
                    if let Some(trust) = self.own.mismatch.take() {
                        if trust == Trust::Mirror && !self.has("nounseen") {
                            for (lc, ops, told) in lost {
                                for (op, _) in ops {
                                    if told.is_none()
                                        || self.own.since.iter().any(|s| {
                                            s.0 == op.key
                                                && if s.2 > 0 { s.2 > lc } else { s.1 >= told.unwrap() }
                                        })
                                    {
                                        continue;
                                    }
                                    match op.k {
                                        K::Add(left) => {
                                            let d = self.own.told_now[&lc] + left;
                                            let m = Mem { d, mono: self.t + d - now, us: 0 };
                                            self.own.mirror.insert(op.key, m);
                                        }
                                        K::Del => {
                                            self.own.mirror.remove(&op.key);
                                        }
                                        _ => {}
                                    }
                                }
                            }
                        }
                        self.own.since.clear();
                        self.own.pending.clear();
                        self.own.todo.retain(|o| o.1);
                        self.own.walk = Some((trust, 0, false));
                        self.own.walking = false;
                    }
                    return;
                }
                if self.own.mismatch.is_none() {
                    if n == expected {
                        self.own.n = n;
                        self.own.by = by
                    } else {
                        self.verdict(if n < expected { Trust::Mirror } else { Trust::Server })
                    }
                }
                let mut program: BTreeSet<Key> = BTreeSet::new();
                for (done, key, _) in &ops {
                    if matches!(done, Done::Plus | Done::Minus) {
                        if !self.own.unseen.is_empty() {
                            self.own.since.push((*key, n, if by.0 == 0 { by.1 } else { 0 }))
                        }
                        let l = self.taglog[&by];
                        self.readlog.insert(*key, l);
                    }
                }
                let asked: Vec<Op> = self
                    .own
                    .unseen
                    .iter()
                    .filter(|u| (0, u.0) == by)
                    .flat_map(|u| u.1.iter().map(|o| o.0))
                    .collect();
                if by.0 == 0 {
                    if let Some(u) = self.own.unseen.iter().find(|u| u.0 == by.1) {
                        let asked = |f: fn(&K) -> bool| u.1.iter().filter(|o| f(&o.0.k)).count();
                        let fixes = asked(|k| matches!(k, K::SetIf(..) | K::DelIf(_) | K::Absent(_)));
                        let set = asked(|k| matches!(k, K::SetIf(..))) > 0;
                        if fixes > ops.iter().filter(|o| o.0 == Done::Fixed).count() {
                            let _ = set;
                            self.own.rewalk = Some(self.own.clockneed || self.own.rewalk == Some(true))
                        }
                    }
                    self.own.unseen.retain(|u| u.0 != by.1);
                }
                for (done, key, d) in ops {
                    match done {
                        Done::Plus if by.0 == 0 && self.has("ownreply") => {}
                        Done::Minus if by.0 == 0 && self.has("ownreply") => {}
                        Done::Plus => {
                            let m = self.mem(d, now);
                            self.own.mirror.insert(key, m);
                            self.own.pending.remove(&key);
                            program.insert(key);
                        }
                        Done::Minus => {
                            self.own.mirror.remove(&key);
                            self.own.pending.remove(&key);
                            program.insert(key);
                        }
                        Done::Fixed if d >= 0 => {
                            let known = self.own.pending.remove(&key);
                            let wanted = asked.iter().find(|o| o.key == key).map(|o| match o.k {
                                K::Absent(e) | K::SetIf(e, _) => e,
                                _ => -1,
                            });
                            match self.own.mirror.get(&key).copied() {
                                Some(m) if known && !self.has("adopt") => {
                                    if wanted == Some(d) {
                                        self.own.mirror.get_mut(&key).unwrap().d = d
                                    } else if m.d != d {
                                        self.own.rewalk =
                                            Some(self.own.clockneed || self.own.rewalk == Some(true))
                                    }
                                }
                                Some(m) if !self.has("adopt") => {
                                    if m.d != d {
                                        self.own.todo.push_back((Op { k: K::SetIf(m.d, d), key }, false));
                                        self.own.pending.insert(key);
                                    }
                                }
                                Some(_) => self.own.mirror.get_mut(&key).unwrap().d = d,
                                None => {
                                    if !program.contains(&key) && !self.has("resurrect") {
                                        self.own.todo.push_back((Op { k: K::DelIf(d), key }, false))
                                    } else if self.has("resurrect") {
                                        let m = self.mem(d, now);
                                        self.own.mirror.insert(key, m);
                                    }
                                }
                            }
                        }
                        Done::Fixed => {
                            let guard = asked.iter().find(|o| o.key == key).map(|o| {
                                if let K::DelIf(g) = o.k {
                                    g
                                } else {
                                    -1
                                }
                            });
                            if self.own.mirror.get(&key).map(|m| m.d) == guard {
                                self.own.mirror.remove(&key);
                            }
                        }
                        _ => {}
                    }
                }
            }
            E::K { n, by, bytag } => {
                if !self.own_seen(bytag.1, n) {
                    return;
                }
                if self.own.mismatch.is_none()
                    && !(n == self.own.n && (by == self.own.by || self.has("ntag")))
                {
                    self.verdict(if n <= self.own.n { Trust::Mirror } else { Trust::Server })
                }
            }
            E::W { n, by, bytag, lo, hi, now, list } => {
                if !self.own_seen(bytag.1, n) {
                    return;
                }
                let (trust, scrub) = match self.own.walk {
                    Some((t, c, _)) if c == lo && bytag.1 >= self.own.page_call => (t, false),
                    None if lo == self.own.scrub => (Trust::Mirror, true),
                    _ => return,
                };
                if self.own.mismatch.is_some() {
                    return;
                }
                if !(n == self.own.n && by == self.own.by) {
                    self.verdict(if n <= self.own.n { Trust::Mirror } else { Trust::Server });
                    if self.own.mismatch.is_some() {
                        return;
                    }
                }
                let content: BTreeMap<Key, (i64, bool)> = list
                    .iter()
                    .flat_map(|(g, ok, l)| l.iter().map(move |(a, d)| ((*g, *a), (*d, *ok))))
                    .collect();
                if trust == Trust::Server {
                    self.own.mirror.retain(|k, _| k.0 < lo || k.0 > hi);
                    for (k, (d, _)) in content {
                        let m = self.mem(d, now);
                        self.own.mirror.insert(k, m);
                    }
                } else {
                    let (t, fixover) = (self.t, self.has("fixover"));
                    let busy: BTreeSet<Key> = self
                        .own
                        .todo
                        .iter()
                        .filter(|o| o.1)
                        .map(|o| o.0.key)
                        .chain(
                            self.own.unseen.iter().flat_map(|u| u.1.iter().filter(|o| o.1).map(|o| o.0.key)),
                        )
                        .collect();
                    let off = self.own.off.unwrap_or(0);
                    let mut fixes = vec![];
                    for (k, (d, _)) in &content {
                        if *d > now && !self.own.mirror.contains_key(k) && (fixover || !busy.contains(k)) {
                            fixes.push(Op { k: K::DelIf(*d), key: *k })
                        }
                    }
                    let mine: Vec<(Key, Mem)> =
                        self.own.mirror.range((lo, 0)..=(hi, 255)).map(|(k, m)| (*k, *m)).collect();
                    for (k, m) in mine {
                        let left = if self.own.clockfix { m.mono - t } else { m.d - now };
                        let end = if self.own.clockfix { m.mono + off } else { m.d };
                        let fixleft = self.has("fixleft");
                        if left <= 0 {
                            if let (true, Some((d, _))) = (self.own.clockfix, content.get(&k)) {
                                if *d > now {
                                    fixes.push(Op { k: K::DelIf(*d), key: k });
                                }
                            }
                            continue;
                        }
                        if busy.contains(&k) && !fixover {
                            continue;
                        }
                        match content.get(&k) {
                            Some((d, true))
                                if *d > now
                                    && if self.own.clockfix {
                                        (*d - (m.mono + off)).abs() < 1000
                                    } else {
                                        *d == m.d || self.has("noends")
                                    } => {}
                            Some((d, true)) => {
                                fixes.push(Op { k: K::SetIf(if fixleft { left } else { end }, *d), key: k })
                            }
                            _ => fixes.push(Op { k: K::Absent(if fixleft { left } else { end }), key: k }),
                        }
                    }
                    for f in fixes {
                        if !matches!(f.k, K::DelIf(_)) {
                            self.own.pending.insert(f.key);
                        }
                        self.fired += 1;
                        self.say(|| format!("owner fixes {f:?}"));
                        self.own.todo.push_back((f, false))
                    }
                }
                let next = if hi >= NG { 0 } else { hi + 1 };
                if scrub {
                    self.own.scrub = next;
                    if next == 0 {
                        self.own.rounds += 1
                    }
                } else {
                    self.own.walking = false;
                    let c = self.own.walk.unwrap();
                    self.own.walk = if next == 0 {
                        if c.2 {
                            self.own.clockfix = false
                        }
                        None
                    } else {
                        Some((c.0, next, c.2))
                    }
                }
            }
            E::P { key, d, us, first } => {
                if first && !self.own.lost_since {
                    let g = key.0;
                    self.own.mirror.retain(|k, m| k.0 != g || m.us >= us)
                }
                let m = Mem { d, mono: 0, us };
                let e = self.own.mirror.entry(key).or_insert(m);
                if e.us <= us {
                    *e = m
                }
            }
            E::M { key, us } => {
                if self.own.mirror.get(&key).is_some_and(|m| m.us <= us) {
                    self.own.mirror.remove(&key);
                }
            }
        }
    }
    fn reply(&mut self, r: Rep) {
        match r {
            Rep::Changed { call, now, n } => {
                if self.own.inflight == Some(call) {
                    self.own.inflight = None
                }
                let ops =
                    self.own.unseen.iter().find(|u| u.0 == call).map(|u| u.1.clone()).unwrap_or_default();
                if let Some(u) = self.own.unseen.iter_mut().find(|u| u.0 == call) {
                    u.2 = Some(n);
                    self.own.told_now.insert(call, now);
                }
                for (o, _) in &ops {
                    if matches!(o.k, K::Add(_) | K::Del) {
                        let l = self.truth.get(&o.key).map_or(0, |x| x.2);
                        self.acked.insert(o.key, l);
                    }
                }
                if self.has("ownreply") {
                    for (o, _) in ops {
                        match o.k {
                            K::Add(left) => {
                                let m = self.mem(now + left, now);
                                self.own.mirror.insert(o.key, m);
                            }
                            K::Del => {
                                self.own.mirror.remove(&o.key);
                            }
                            _ => {}
                        }
                    }
                }
                if self.old {
                    for (o, _) in self.own.unseen.drain(..).flat_map(|u| u.1) {
                        if let K::Absent(left) = o.k {
                            if let Some(m) = self.own.mirror.get_mut(&o.key) {
                                m.d = m.d.max(now + left);
                                m.us = now * 1000 + 950
                            }
                        }
                    }
                }
            }
            Rep::Kept { new, now, after, k, groups } => {
                self.own.page_age += 1;
                if self.own.walking && self.own.page_age > 2 && !self.old {
                    self.own.walking = false
                }
                self.own.keeping = false;
                let off = now - self.t;
                if let Some(o) = self.own.off {
                    if (off - o).abs() > 5000 && !self.has("noclock") && !self.old {
                        self.own.rewalk = Some(true);
                        self.own.clockneed = true;
                        self.say(|| "owner sees a step of the clock".into())
                    }
                }
                self.own.off = Some(off);
                self.own.kept_after = after;
                if k {
                    self.own.k_after = Some(after)
                }
                let mine: BTreeSet<u8> =
                    self.own.mirror.iter().filter(|(_, m)| m.mono > self.t).map(|(k, _)| k.0).collect();
                if !self.old
                    && groups < mine.len()
                    && self.own.mismatch.is_none()
                    && self.own.walk.is_none()
                    && self.own.rewalk.is_none()
                    && !self.has("noscrub")
                {
                    self.own.rewalk = Some(false)
                }
                if self.old && new && after > 0 {
                    self.own.lost_since = true;
                    self.own.reading = true;
                    let mm: Vec<_> = self.own.mirror.iter().map(|(k, m)| (*k, m.d)).collect();
                    for (k, d) in mm {
                        self.own.todo.push_back((Op { k: K::Absent((d - now).max(1)), key: k }, false))
                    }
                }
            }
            Rep::Walked { .. } => self.own.scrubbing = false,
            Rep::Popped(l) => {
                self.own.popping = false;
                if l.iter().all(|x| x.0 <= self.own.ack) {
                    self.own.empty_at = self.t
                }
                self.own.buf.extend(l)
            }
            Rep::All { now, list } => {
                self.own.reading = false;
                self.own.lost_since = false;
                self.own.walking = false;
                let first = now * 1000;
                self.own.listed += list.len();
                let have: BTreeSet<Key> = list.iter().map(|x| x.0).collect();
                self.own.mirror.retain(|k, m| have.contains(k) || m.us >= first);
                for (k, d) in list {
                    let m = Mem { d, mono: 0, us: first };
                    let e = self.own.mirror.entry(k).or_insert(m);
                    if e.us <= first {
                        *e = m
                    }
                }
            }
        }
    }
    fn owner(&mut self) {
        if !self.own.up {
            return;
        }
        if let Some((_, _)) = self.own.buf.front() {
            if self.own.reading && self.old {
                if !self.own.walking && self.own.todo.is_empty() && self.own.inflight.is_none() {
                    self.own.walking = true;
                    self.upq.push_back(Call::ReadAll)
                }
            } else if self.rng.p(70) {
                let (u, e) = self.own.buf.pop_front().unwrap();
                self.read(e);
                self.own.ack = u;
                return;
            }
        } else if !self.own.popping {
            self.own.popping = true;
            let ack = self.own.ack;
            self.upq.push_back(Call::Pop { ack })
        }
        if self.old
            && self.own.reading
            && !self.own.walking
            && self.own.todo.is_empty()
            && self.own.inflight.is_none()
        {
            self.own.walking = true;
            self.upq.push_back(Call::ReadAll)
        }
        if self.own.mismatch.is_some() && self.own.era.is_none() && self.own.inflight.is_none() {
            self.own.call += 1;
            let call = self.own.call;
            self.own.era = Some(call);
            self.own.inflight = Some(call);
            let n = if self.has("noera") { 0 } else { self.own.n };
            self.upq.push_back(Call::Change { call, ops: vec![Op { k: K::Era(n), key: (0, 0) }] });
            return;
        }
        if self.own.inflight.is_none() && !self.own.todo.is_empty() && self.own.mismatch.is_none() {
            self.own.call += 1;
            let call = self.own.call;
            let n = self.own.todo.len().min(4);
            let ops: Vec<_> = self.own.todo.drain(..n).collect();
            self.own.inflight = Some(call);
            self.upq.push_back(Call::Change { call, ops: ops.iter().map(|o| o.0).collect() });
            self.own.unseen.push((call, ops, None));
            return;
        }
        if self.own.want_keep && !self.own.keeping {
            self.own.want_keep = false;
            self.own.keeping = true;
            self.own.call += 1;
            let call = self.own.call;
            let (n, by) = if self.own.unseen.iter().any(|u| u.2.is_some()) {
                (u64::MAX, (0, 0))
            } else {
                (self.own.n, self.own.by)
            };
            let after = self.faultno;
            self.upq.push_back(Call::Keep { call, n, by, after });
            if self.old {
                return;
            }
            if self.own.walk.is_none()
                && self.own.rewalk.is_none()
                && !self.own.scrubbing
                && !self.has("noscrub")
            {
                self.own.scrubbing = true;
                self.own.call += 1;
                let (call, lo) = (self.own.call, self.own.scrub);
                self.upq.push_back(Call::Walk { call, lo })
            }
            return;
        }
        if self.own.walk.is_none()
            && self.own.mismatch.is_none()
            && self.own.todo.is_empty()
            && self.own.inflight.is_none()
        {
            if let Some(c) = self.own.rewalk.take() {
                self.own.clockfix = c;
                self.own.walk = Some((Trust::Mirror, 0, c));
                self.own.walking = false
            }
        }
        if let (Some((_, lo, _)), false, true) =
            (self.own.walk, self.own.walking, self.own.mismatch.is_none())
        {
            self.own.walking = true;
            self.own.page_age = 0;
            self.own.call += 1;
            let call = self.own.call;
            self.own.page_call = call;
            self.upq.push_back(Call::Walk { call, lo })
        }
    }
    fn quiet(&self) -> bool {
        let o = &self.own;
        o.up && o.todo.is_empty()
            && o.inflight.is_none()
            && o.mismatch.is_none()
            && o.walk.is_none()
            && o.rewalk.is_none()
            && o.unseen.is_empty()
            && o.buf.is_empty()
            && !o.reading
            && self.srv.q.iter().all(|(u, _)| *u <= o.ack)
            && self.upq.iter().all(|c| matches!(c, Call::Pop { .. }))
            && self.down.iter().all(|r| matches!(r, Rep::Popped(l) if l.is_empty()))
    }
    fn fault(&mut self, weak: bool, scrub: bool) {
        self.faultno += 1;
        let s = scrub || self.unsettled.is_some_and(|u| u.2);
        self.unsettled = Some((self.faultno, self.own.rounds, s));
        self.weak = weak && (self.weak || self.unsettled.is_none());
        if weak {
            self.weak = true
        }
    }
    fn cut(&mut self, n: usize) {
        self.say(|| "connection breaks".into());
        for _ in 0..n {
            if let Some(c) = self.upq.pop_front() {
                self.exec(c);
            }
        }
        self.upq.clear();
        self.down.clear();
        let o = &mut self.own;
        o.up = false;
        o.popping = false;
        o.keeping = false;
        o.walking = false;
        o.scrubbing = false;
        o.era = None;
        if let Some(c) = o.inflight.take() {
            if let Some(u) = o.unseen.iter().find(|u| u.0 == c) {
                if u.1.iter().any(|x| !x.1) {
                    o.rewalk = Some(o.clockneed)
                }
            }
        }
        if self.old {
            let fix: Vec<_> = o.unseen.drain(..).flat_map(|u| u.1).filter(|u| !u.1).collect();
            for f in fix {
                o.todo.push_back(f)
            }
        }
    }
    fn step(&mut self, calm: bool) {
        self.t += self.rng.n(12) as i64;
        let compound = s_env();
        let has = |s: &World, c: char| {
            s.faults.contains(c)
                && !calm
                && (c == 's' || !s.light && ("bk".contains(c) || compound || s.unsettled.is_none()))
        };
        if has(self, 'b') && self.own.up && self.rng.n(150) == 0 {
            let n = self.rng.n(self.upq.len() as u64 + 1) as usize;
            self.cut(n)
        }
        if !self.own.up && self.rng.p(20) {
            self.own.up = true;
            self.own.want_keep = true;
            self.say(|| "connected".into())
        }
        if self.rng.n(60) == 0 {
            self.own.want_keep = true
        }
        if has(self, 'k') && self.rng.n(40) == 0 {
            if let Some(Rep::Kept { .. }) = self.down.front() {
                self.cut(0)
            }
        }
        if (self.faults.contains('r') || self.faults.contains('l')) && !calm {
            if self.rng.n(80) == 0 {
                self.snap = Some((self.srv.clone(), self.log))
            }
            let l = self.faults.contains('l');
            if (has(self, 'r') || has(self, 'l')) && self.rng.n(250) == 0 {
                if self.own.up {
                    let n = self.rng.n(self.upq.len() as u64 + 1) as usize;
                    self.cut(n)
                }
                self.fault(true, false);
                let (s, log) = if l || self.rng.p(15) {
                    (Srv::default(), 0)
                } else {
                    self.snap.clone().unwrap_or_default()
                };
                self.srv = s.clone();
                self.snap = Some((s, log));
                let seen = |s: &World, k: &Key, l: u64| s.acked.get(k).is_some_and(|x| *x >= l);
                let keys: Vec<_> =
                    self.truth.iter().filter(|(_, v)| v.2 > log).map(|(k, v)| (*k, *v)).collect();
                for (k, v) in keys {
                    let applied = self.log_applied(&k, v.2);
                    if !applied {
                        self.limbo.insert(k);
                    }
                    if !(applied || (v.1 && seen(self, &k, v.2))) {
                        self.truth.get_mut(&k).unwrap().0 = T::Any
                    }
                }
                self.say(|| "OLD STATE comes back".into());
            }
        }
        if has(self, 'q') && self.rng.n(300) == 0 {
            self.fault(false, false);
            self.srv.q.clear();
            self.say(|| "queue lost".into())
        }
        if has(self, 'e') && self.rng.n(200) == 0 {
            self.fault(false, true);
            let g = self.rng.n(NG as u64) as u8;
            let w = self.rng.n(4);
            self.say(|| format!("evict {w} of {g}"));
            match w {
                0 => {
                    if let Some(x) = self.srv.g.get_mut(&g) {
                        x.m.clear()
                    }
                }
                1 => {
                    if let Some(x) = self.srv.g.get_mut(&g) {
                        x.row = None
                    }
                }
                2 => {
                    if let Some(x) = self.srv.g.get_mut(&g) {
                        x.idx = false
                    }
                }
                _ => {
                    for x in self.srv.g.values_mut() {
                        x.s = false
                    }
                }
            }
        }
        if (has(self, 'c') || has(self, 'd')) && self.rng.n(300) == 0 {
            let d = if self.faults.contains('d') {
                -60_000
            } else {
                [-60_000, -6_000, 61_000, 10_000_000, 2_000_000_000, -10_000_000][self.rng.n(6) as usize]
            };
            let soft = d < 0 && d > -100_000;
            self.off += d;
            self.stepped = true;
            self.fault(true, false);
            if self.old && soft {
                self.unsettled = None
            }
            self.say(|| format!("clock set by {d}"))
        }
        if has(self, 'f') && self.rng.n(300) == 0 {
            self.fault(true, false);
            self.srv.g.clear();
            for (_, v) in self.truth.iter_mut() {
                v.0 = T::Out
            }
            if self.srv.ih.is_some() {
                self.push(E::F)
            }
            self.say(|| "flush".into())
        }
        let slow = has(self, 's');
        for _ in 0..2 {
            match self.rng.n(if slow { 14 } else { 10 }) {
                0 | 1 => {
                    if let Some(c) = self.upq.pop_front() {
                        let r = self.exec(c);
                        self.down.push_back(r)
                    }
                }
                2 | 3 => {
                    if let Some(r) = self.down.pop_front() {
                        self.reply(r)
                    }
                }
                4 | 5 | 6 => self.owner(),
                _ if calm || self.light && !self.rng.p(light()) => {}
                7 => {
                    let key = (self.rng.n(NG as u64) as u8, self.rng.n(NA as u64) as u8);
                    let left = if self.rng.p(15) { 2000 + self.rng.n(3000) as i64 } else { LONG };
                    if self.own.todo.len() < 6 && self.rng.p(40) {
                        let k = if self.rng.p(60) { K::Add(left) } else { K::Del };
                        self.own.todo.push_back((Op { k, key }, true))
                    }
                }
                8 | 10 | 11 => {
                    if self.rng.p(40) {
                        let c = 1 + self.rng.n(2) as u8;
                        self.calls[c as usize] += 1;
                        let ops: Vec<Op> = (0..1 + self.rng.n(3))
                            .map(|_| {
                                let key = (self.rng.n(NG as u64) as u8, self.rng.n(NA as u64) as u8);
                                Op { k: if self.rng.p(50) { K::Add(LONG) } else { K::Del }, key }
                            })
                            .collect();
                        let call = self.calls[c as usize];
                        self.change((c, call), &ops)
                    }
                }
                _ => {
                    let g = self.rng.n(NG as u64) as u8;
                    self.send(g)
                }
            }
        }
        if self.own.clockneed && self.quiet() {
            self.own.clockneed = false
        }
        if let Some((f, rounds, scrub)) = self.unsettled {
            if self.quiet()
                && self.own.kept_after >= f
                && self.srv.ih.as_ref().is_some_and(|i| i.told)
                && (!scrub || self.own.rounds >= rounds + 2 || self.old || self.has("noscrub"))
            {
                self.say(|| "settled".into());
                self.unsettled = None;
                self.weak = false;
                self.limbo.clear()
            }
        }
    }
    fn log_applied(&self, k: &Key, l: u64) -> bool {
        // the owner has read the entry of the last change of this member: none for it is unread in the list it had
        self.readlog.get(k).is_some_and(|x| *x >= l)
    }
}
fn light() -> u64 {
    static C: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *C.get_or_init(|| std::env::var("LIGHT").ok().and_then(|v| v.parse().ok()).unwrap_or(12))
}
fn s_env() -> bool {
    static C: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *C.get_or_init(|| std::env::var("COMPOUND").is_ok())
}
fn walk(
    seed: u64,
    steps: u64,
    rules: &BTreeSet<String>,
    faults: &str,
    tr: bool,
) -> (Result<(u64, u64, usize), String>, Vec<String>) {
    let old = rules.contains("old");
    let mut w = World {
        rng: Rng(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1),
        t: 1_000_000_000_000,
        off: 0,
        srv: Srv::default(),
        snap: None,
        upq: Default::default(),
        down: Default::default(),
        own: Own { up: true, want_keep: true, ..Default::default() },
        calls: [0; 3],
        uid: 0,
        truth: Default::default(),
        log: 0,
        msgs: vec![],
        rules: rules.clone(),
        faults: faults.into(),
        unsettled: Some((0, 0, false)),
        faultno: 0,
        weak: false,
        trace: vec![],
        tr,
        acked: Default::default(),
        stepped: false,
        old,
        usn: 0,
        light: false,
        taglog: Default::default(),
        readlog: Default::default(),
        limbo: Default::default(),
        checked: 0,
        fired: 0,
    };
    for _ in 0..5 {
        w.rng.next();
    }
    w.t = 1_000_000_000;
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..200 {
            w.step(true)
        }
        for i in 0..steps {
            w.light = i % 700 >= 250;
            w.step(false)
        }
        w.light = false;
        let mut i = 0;
        while w.unsettled.is_some() || !w.quiet() {
            w.step(true);
            i += 1;
            if i > 20_000 {
                std::panic::panic_any(format!(
                    "does not settle: unsettled {:?} todo {:?} walk {:?} mismatch {:?}",
                    w.unsettled,
                    w.own.todo.len(),
                    w.own.walk,
                    w.own.mismatch
                ))
            }
        }
        for g in 0..NG {
            w.send(g)
        }
        for _ in 0..2000 {
            w.step(true)
        }
        let _ = w.own.listed;
    }));
    let out = match r {
        Ok(()) => Ok((w.checked, w.fired, w.own.listed)),
        Err(e) => Err(e
            .downcast_ref::<String>()
            .cloned()
            .or(e.downcast_ref::<&str>().map(|s| s.to_string()))
            .unwrap_or("panic".into())),
    };
    (out, w.trace)
}
fn main() {
    std::panic::set_hook(Box::new(|i| {
        if i.payload().downcast_ref::<String>().is_none() {
            eprintln!("{i}")
        }
    }));
    let a: Vec<String> = std::env::args().collect();
    let env = |k: &str, d: u64| std::env::var(k).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let rules: BTreeSet<String> = a.get(2).map_or("none", |s| s).split('+').map(String::from).collect();
    let faults = a.get(3).cloned().unwrap_or("breqcsfk".into());
    let (seed, walks, steps) = (env("SEED", 1), env("WALKS", 2000), env("STEPS", 800));
    let (mut bad, mut checked, mut fired, mut first) = (0, 0, 0, None);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for s in seed..seed + walks {
        match walk(s, steps, &rules, &faults, false).0 {
            Ok((c, f, _)) => {
                checked += c;
                fired += f
            }
            Err(e) => {
                bad += 1;
                let kind = if e.contains("missed") {
                    "a member missed it"
                } else if e.contains("got it") {
                    "a non-member got it"
                } else {
                    "does not settle"
                };
                *kinds.entry(kind.into()).or_default() += 1;
                first.get_or_insert((s, e));
                if env("ALL", 0) == 0 && env("STOP", 0) == 1 {
                    break;
                }
            }
        }
    }
    println!("rules {rules:?} faults {faults}: {walks} walks, {bad} failed {kinds:?}; checked messages {checked}, verdicts and fixes {fired}; first {first:?}");
    if let (Some((s, _)), 1) = (&first, env("TRACE", 0)) {
        for l in walk(*s, steps, &rules, &faults, true)
            .1
            .iter()
            .rev()
            .take(env("LINES", 60) as usize)
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            println!("{l}")
        }
    }
}
