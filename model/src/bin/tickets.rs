//! Explicit-state model of the ticket protocol (variants A and C). Usage: proto <scenario> <variant> [max_states]
// Dense search code, to run and to switch rules in.
#![allow(warnings, clippy::all)]
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
const NQ: usize = 3; // queues
const NC: usize = 4; // clients: 0,1 receivers; 2,3 senders
const NS: usize = 2; // shards
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct E {
    q: u8,
    seq: u8,
    id: u8,
    n: u8,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Out {
    Ack(u8),
    Rel,
    Rel2,
}
type Done = Vec<(u8, Out)>;
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Cmd {
    Hello(u8),
    Sub,
    Pop { gen: u8, done: Done, t: Option<(u8, u8)>, ack: u8 },
    Read { gen: u8, after: u8 },
    Gb { gen: u8, t: u8, e: E },
    Push { gen: u8, q: u8, id: u8 },
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Rep {
    Nil,
    Hello(u8),
    Read(Vec<(u8, E)>, u8),
    Pop { done: Done, t: Option<u8>, e: Option<E> },
    Gb(u8),
    Stale(u8),
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Shard {
    seq: [u8; NQ],
    q: [Vec<E>; NQ],
    w: [Vec<(u8, u8)>; NQ],
    rec: Vec<(u8, u8, E)>,
    cl: [Option<u8>; NC],
    mg: [u8; NC],
    nctr: [u8; NC],
    ep: u8,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Conn {
    up: bool,
    sub: bool,
    gen: u8,
    cmds: Vec<Cmd>,
    reps: Vec<Rep>,
    pushes: Vec<(u8, E)>,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Zombie {
    c: u8,
    s: u8,
    sub: bool,
    cmds: Vec<Cmd>,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Fut {
    t: u8,
    mask: u8,
    solo: bool,
    got: Option<(u8, E)>,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Client {
    dead: bool,
    conn: [Conn; NS],
    futs: Vec<Fut>,
    done: [Done; NS],
    gb: [Vec<(u8, E)>; NS],
    nt: u8,
    maxgen: u8,
    r: [u8; NS],
    ep: [u8; NS],
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Bud {
    sends: [u8; 2],
    recvs: [u8; 2],
    cancels: u8,
    cuts: u8,
    kills: u8,
    lease: u8,
    loss: u8,
    flush: u8,
    hb: u8,
    exp: u8,
    reord: u8,
    drop: u8,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct St {
    sh: [Shard; NS],
    cl: [Client; NC],
    z: Vec<Zombie>,
    dl: Vec<(u8, u8, u8, bool)>,
    acc: u16,
    exp: u16,
    lost_ok: u16,
    nid: u8,
    b: Bud,
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum AckMode {
    NextCall,
    Ticket,
    TicketId,
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum LeaseEnd {
    Drop,
    Requeue,
    Keep,
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum Hb {
    No,
    LeaseOnly,
    Repop,
}
#[derive(Clone, Copy, Debug)]
struct V {
    gen: bool,
    push_fence: bool,
    ack: AckMode,
    lease: LeaseEnd,
    recreate: bool,
    sub_first: bool,
    srv_release: bool,
    gb_retry: bool,
    lpush: bool,
    piggy: bool,
    hb: Hb,
    discard_skip: bool,
    epoch_ids: bool,
    no_repop_on_resync: bool,
    rel_wait: bool,
    anyrec: bool,
    forget: bool,
    oracle: bool,
    num: bool,
    hole: bool,
    epoch: bool,
    late: bool,
    nsstale: bool,
    dlimit: bool,
    ackseq: bool,
}
#[derive(Clone, Copy)]
struct Sc {
    nq: usize,
    ns: usize,
    shard_of: [u8; NQ],
    readers: u8,
    senders: u8,
    maxfut: [u8; 2],
    masks: [&'static [u8]; 2],
    sendq: [&'static [u8]; 2],
    b: Bud,
    zombies: bool,
    halfopen: bool,
    order: bool,
    cap: usize,
    strict: bool,
    sendcut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ev {
    Send(u8, u8),
    Recv(u8, u8),
    Exec(u8, u8),
    Reply(u8, u8),
    PushArr(u8, u8),
    User(u8, u8),
    Cancel(u8, u8),
    Settle(u8, u8),
    Beat(u8, u8),
    Cut(u8, u8, u8),
    Reconn(u8, u8),
    ZExec(u8),
    ZDrop(u8),
    LeaseEnd(u8, u8),
    Kill(u8),
    Loss(u8),
    Flush(u8),
    MsgExp(u8),
    RecExp(u8, u8, u8),
    Reorder(u8, u8),
    PLost(u8, u8),
    RLost(u8, u8),
}

fn v_forget(m: &M) -> bool {
    m.v.forget
}
struct M {
    v: V,
    sc: Sc,
}
impl M {
    fn qs(&self, mask: u8, s: usize) -> u8 {
        let mut r = 0;
        for q in 0..self.sc.nq {
            if mask >> q & 1 == 1 && self.sc.shard_of[q] as usize == s {
                r |= 1 << q
            }
        }
        r
    }
    fn untick(sh: &mut Shard, c: u8, t: u8) {
        for w in sh.w.iter_mut() {
            w.retain(|x| *x != (c, t))
        }
    }
    /// hand e to oldest live waiter; true if handed over
    fn hand(&self, st: &mut St, s: usize, e: E) -> bool {
        let mut i = 0;
        let mut disc = 0;
        while i < st.sh[s].w[e.q as usize].len() {
            let (c, t) = st.sh[s].w[e.q as usize][i];
            let ci = c as usize;
            if self.v.dlimit && disc >= 1 {
                return false;
            }
            disc += 1;
            if st.sh[s].cl[ci].is_none() {
                if self.v.discard_skip {
                    i += 1;
                    continue;
                }
                Self::untick(&mut st.sh[s], c, t);
                continue;
            }
            let mut n = 0;
            if st.cl[ci].conn[s].sub {
                n += 1
            }
            for z in &st.z {
                if z.c == c && z.s as usize == s && z.sub {
                    n += 1
                }
            }
            if n == 0 {
                Self::untick(&mut st.sh[s], c, t);
                if self.v.gen {
                    st.sh[s].cl[ci] = None
                }
                continue;
            }
            Self::untick(&mut st.sh[s], c, t);
            st.sh[s].rec.retain(|r| !(r.0 == c && r.1 == t));
            let mut e = e;
            if self.v.num {
                st.sh[s].nctr[ci] += 1;
                e.n = st.sh[s].nctr[ci]
            }
            st.sh[s].rec.push((c, t, e));
            st.sh[s].rec.sort();
            if st.cl[ci].conn[s].sub && !st.cl[ci].dead {
                st.cl[ci].conn[s].pushes.push((t, e))
            }
            return true;
        }
        false
    }
    fn requeue(&self, st: &mut St, s: usize, mut e: E) {
        e.n = 0;
        if st.exp >> e.id & 1 == 1 {
            return;
        }
        if st.sh[s].q[e.q as usize].is_empty() && self.hand(st, s, e) {
            return;
        }
        let q = &mut st.sh[s].q[e.q as usize];
        if self.v.lpush {
            q.insert(0, e)
        } else {
            let p = q.iter().position(|x| x.seq > e.seq).unwrap_or(q.len());
            q.insert(p, e)
        }
    }
    fn exec(&self, st: &mut St, c: u8, s: usize, cmd: Cmd, zombie: bool) -> Rep {
        let ci = c as usize;
        match cmd {
            Cmd::Sub => {
                if !zombie {
                    st.cl[ci].conn[s].sub = true
                }
                Rep::Nil
            }
            Cmd::Hello(g) => {
                if self.v.gen {
                    let m0 = if v_forget(self) { st.sh[s].cl[ci].unwrap_or(0) } else { st.sh[s].mg[ci] };
                    if m0 >= g {
                        return Rep::Stale(g);
                    }
                    st.sh[s].mg[ci] = g
                }
                st.sh[s].cl[ci] = Some(if self.v.gen { g } else { 0 });
                if !zombie && self.v.sub_first {
                    st.cl[ci].conn[s].sub = true
                }
                Rep::Hello(st.sh[s].ep)
            }
            Cmd::Push { gen, q, id } => {
                if self.v.push_fence && st.sh[s].cl[ci] != Some(gen) {
                    return Rep::Stale(gen);
                }
                let qi = q as usize;
                while let Some(h) = st.sh[s].q[qi].first() {
                    if st.exp >> h.id & 1 == 1 {
                        st.sh[s].q[qi].remove(0);
                    } else {
                        break;
                    }
                }
                let live = st.sh[s].q[qi].iter().filter(|e| st.exp >> e.id & 1 == 0).count();
                st.sh[s].seq[qi] += 1;
                let e = E { q, seq: st.sh[s].seq[qi], id, n: 0 };
                if live == 0 && self.hand(st, s, e) {
                    st.acc |= 1 << id;
                    return Rep::Nil;
                }
                if live >= self.sc.cap {
                    return Rep::Nil;
                }
                st.acc |= 1 << id;
                st.sh[s].q[qi].push(e);
                Rep::Nil
            }
            Cmd::Gb { gen, t, e } => {
                if self.v.gen && st.sh[s].cl[ci] != Some(gen) {
                    return Rep::Stale(gen);
                }
                st.sh[s].rec.retain(|r| !(r.0 == c && r.2 == e));
                self.requeue(st, s, e);
                Rep::Gb(t)
            }
            Cmd::Read { gen, after } => {
                if st.sh[s].cl[ci] != Some(gen) {
                    return Rep::Stale(gen);
                }
                let mut l: Vec<(u8, E)> =
                    st.sh[s].rec.iter().filter(|r| r.0 == c && r.2.n > after).map(|r| (r.1, r.2)).collect();
                l.sort_by_key(|x| x.1.n);
                Rep::Read(l, st.sh[s].nctr[ci])
            }
            Cmd::Pop { gen, done, t, ack } => {
                if self.v.gen {
                    if st.sh[s].cl[ci].is_none() && self.v.recreate {
                        st.sh[s].cl[ci] = Some(gen)
                    }
                    if st.sh[s].cl[ci] != Some(gen) {
                        return Rep::Stale(gen);
                    }
                } else if st.sh[s].cl[ci].is_none() {
                    if self.v.recreate {
                        st.sh[s].cl[ci] = Some(0)
                    } else {
                        return Rep::Stale(gen);
                    }
                }
                if self.v.ack == AckMode::NextCall {
                    st.sh[s].rec.retain(|r| r.0 != c || t.map_or(false, |x| x.0 == r.1))
                }
                for &(dt, o) in &done {
                    Self::untick(&mut st.sh[s], c, dt);
                    if let Some(i) = st.sh[s].rec.iter().position(|r| r.0 == c && r.1 == dt) {
                        let e = st.sh[s].rec[i].2;
                        match o {
                            Out::Ack(id) => {
                                if self.v.ack != AckMode::TicketId
                                    || (if self.v.ackseq { e.seq == id } else { e.id == id })
                                {
                                    st.sh[s].rec.remove(i);
                                } else {
                                    st.sh[s].rec.remove(i);
                                    self.requeue(st, s, e)
                                }
                            }
                            Out::Rel | Out::Rel2 => {
                                if self.v.srv_release {
                                    st.sh[s].rec.remove(i);
                                    self.requeue(st, s, e)
                                }
                            }
                        }
                    }
                }
                if self.v.num {
                    st.sh[s].rec.retain(|r| r.0 != c || r.2.n > ack)
                }
                let mut got = None;
                if let Some((tt, mask)) = t {
                    if let Some(r) = st.sh[s].rec.iter().find(|r| r.0 == c && r.1 == tt) {
                        got = Some(r.2)
                    } else {
                        let qs: Vec<usize> =
                            if tt % 2 == 0 { (0..NQ).collect() } else { (0..NQ).rev().collect() };
                        for q in qs {
                            if mask >> q & 1 == 0 || got.is_some() {
                                continue;
                            }
                            while let Some(&h) = st.sh[s].q[q].first() {
                                st.sh[s].q[q].remove(0);
                                if st.exp >> h.id & 1 == 0 {
                                    got = Some(h);
                                    break;
                                }
                            }
                        }
                        if let Some(mut e) = got {
                            if self.v.num {
                                st.sh[s].nctr[ci] += 1;
                                e.n = st.sh[s].nctr[ci];
                                got = Some(e)
                            }
                            Self::untick(&mut st.sh[s], c, tt);
                            st.sh[s].rec.push((c, tt, e));
                            st.sh[s].rec.sort()
                        } else {
                            for q in 0..NQ {
                                if mask >> q & 1 == 1 && !st.sh[s].w[q].contains(&(c, tt)) {
                                    st.sh[s].w[q].push((c, tt))
                                }
                            }
                        }
                    }
                }
                Rep::Pop { done, t: t.map(|x| x.0), e: got }
            }
        }
    }
    fn add_done(cl: &mut Client, s: usize, t: u8, o: Out) {
        if !cl.done[s].iter().any(|d| d.0 == t) {
            cl.done[s].push((t, o))
        }
    }
    fn send_pop(&self, cl: &mut Client, s: usize, t: Option<(u8, u8)>) {
        if !cl.conn[s].up {
            return;
        }
        let gen = cl.conn[s].gen;
        let done = cl.done[s].clone();
        let ack = cl
            .futs
            .iter()
            .filter_map(|f| f.got)
            .filter(|g| g.0 as usize == s)
            .map(|g| g.1.n.saturating_sub(1))
            .min()
            .unwrap_or(cl.r[s])
            .min(cl.r[s]);
        if !self.v.piggy && t.is_some() && !done.is_empty() {
            cl.conn[s].cmds.push(Cmd::Pop { gen, done, t: None, ack });
            cl.conn[s].cmds.push(Cmd::Pop { gen, done: vec![], t, ack });
            return;
        }
        cl.conn[s].cmds.push(Cmd::Pop { gen, done, t, ack });
    }
    fn repop(&self, cl: &mut Client, s: usize) {
        let f: Vec<(u8, u8)> = cl
            .futs
            .iter()
            .filter(|f| f.got.is_none())
            .map(|f| (f.t, self.qs(f.mask, s)))
            .filter(|x| x.1 != 0)
            .collect();
        if f.is_empty() {
            self.send_pop(cl, s, None)
        } else {
            for x in f {
                self.send_pop(cl, s, Some(x))
            }
        }
    }
    fn resync(&self, cl: &mut Client, s: usize) {
        cl.maxgen += 1;
        let g = cl.maxgen;
        cl.conn[s].gen = g;
        cl.conn[s].cmds.push(Cmd::Hello(g));
        if self.v.num {
            let after = cl.r[s];
            cl.conn[s].cmds.push(Cmd::Read { gen: g, after })
        }
        for (t, e) in cl.gb[s].clone() {
            cl.conn[s].cmds.push(Cmd::Gb { gen: g, t, e })
        }
        if !self.v.no_repop_on_resync {
            let has = cl.futs.iter().any(|f| f.got.is_none() && self.qs(f.mask, s) != 0);
            if has || !cl.done[s].is_empty() {
                self.repop(cl, s)
            }
        }
        if !self.v.sub_first {
            cl.conn[s].cmds.push(Cmd::Sub)
        }
    }
    fn arrive(&self, st: &mut St, ci: usize, s: usize, t: u8, e: E) {
        if self.v.num {
            let cl = &mut st.cl[ci];
            if e.n <= cl.r[s] {
                return;
            }
            if e.n > cl.r[s] + 1 {
                let k = &mut cl.conn[s];
                if !k.cmds.iter().any(|c| matches!(c, Cmd::Read { .. })) {
                    let (gen, after) = (k.gen, cl.r[s]);
                    k.cmds.push(Cmd::Read { gen, after })
                }
                return;
            }
            cl.r[s] = e.n
        }
        self.route(st, ci, s, t, e)
    }
    fn route(&self, st: &mut St, ci: usize, s: usize, t: u8, e: E) {
        let v = self.v;
        let cl = &mut st.cl[ci];
        if let Some(f) = cl.futs.iter_mut().find(|f| f.t == t) {
            match f.got {
                None => {
                    f.got = Some((s as u8, e));
                    return;
                }
                Some((s2, e2)) => {
                    if s2 as usize == s && e2 == e {
                        return;
                    }
                }
            }
            if cl.futs.iter().find(|f| f.t == t).unwrap().got.unwrap().0 as usize == s {
                return;
            } // other entry, same shard: decided at User/Cancel (ack carries id)
        }
        if v.srv_release {
            if v.late {
                if let Some(d) = cl.done[s].iter_mut().find(|d| d.0 == t && d.1 == Out::Rel) {
                    d.1 = Out::Rel2;
                    return;
                }
            }
            Self::add_done(cl, s, t, Out::Rel)
        } else if !cl.gb[s].iter().any(|g| g.1 == e)
            && !cl.done[s].iter().any(|d| matches!(d.1, Out::Ack(i) if i == e.id))
            && !st.dl.iter().any(|d| d.2 == e.id && d.0 as usize == ci)
        {
            let cl = &mut st.cl[ci];
            if cl.conn[s].up {
                let g = cl.conn[s].gen;
                cl.conn[s].cmds.push(Cmd::Gb { gen: g, t, e })
            }
            if v.gb_retry {
                cl.gb[s].push((t, e))
            }
        }
    }
    fn events(&self, st: &St) -> Vec<Ev> {
        let mut r = vec![];
        let b = &st.b;
        let sc = &self.sc;
        for c in 0..NC {
            let cl = &st.cl[c];
            if c < 2 && c >= sc.readers as usize {
                continue;
            }
            if c >= 2 && c - 2 >= sc.senders as usize {
                continue;
            }
            let used: Vec<usize> = (0..sc.ns).collect();
            if cl.dead {
                continue;
            }
            if c >= 2 && b.sends[c - 2] > 0 {
                let q = sc.sendq[c - 2][sc.sendq[c - 2].len() - b.sends[c - 2] as usize];
                let s = sc.shard_of[q as usize] as usize;
                if cl.conn[s].up {
                    r.push(Ev::Send(c as u8, q))
                }
            }
            if c < 2 {
                if b.recvs[c] > 0 && (cl.futs.len() as u8) < sc.maxfut[c] {
                    let m = sc.masks[c][sc.masks[c].len() - b.recvs[c] as usize];
                    r.push(Ev::Recv(c as u8, m))
                }
                for f in &cl.futs {
                    if f.got.is_some() && (!self.v.oracle || st.sh[f.got.unwrap().0 as usize].cl[c].is_some())
                    {
                        r.push(Ev::User(c as u8, f.t))
                    }
                    if b.cancels > 0 {
                        r.push(Ev::Cancel(c as u8, f.t))
                    }
                }
            }
            for &s in &used {
                let k = &cl.conn[s];
                if k.up {
                    if !k.cmds.is_empty() {
                        r.push(Ev::Exec(c as u8, s as u8))
                    }
                    if !k.reps.is_empty() {
                        r.push(Ev::Reply(c as u8, s as u8))
                    }
                    if !k.pushes.is_empty() {
                        r.push(Ev::PushArr(c as u8, s as u8))
                    }
                    if b.drop > 0 && c < 2 {
                        if !k.pushes.is_empty() {
                            r.push(Ev::PLost(c as u8, s as u8))
                        }
                        if !k.reps.is_empty() {
                            r.push(Ev::RLost(c as u8, s as u8))
                        }
                    }
                    if b.reord > 0 && c < 2 && k.cmds.len() > if self.v.nsstale { 0 } else { 1 } {
                        r.push(Ev::Reorder(c as u8, s as u8))
                    }
                    if !cl.done[s].is_empty() && !Self::carried(k, &cl.done[s]) {
                        r.push(Ev::Settle(c as u8, s as u8))
                    }
                    if b.hb > 0 && c < 2 && self.v.hb != Hb::No {
                        r.push(Ev::Beat(c as u8, s as u8))
                    }
                    if b.cuts > 0 && (c < 2 || self.sc.sendcut) {
                        r.push(Ev::Cut(c as u8, s as u8, 0));
                        if sc.zombies && !k.cmds.is_empty() {
                            r.push(Ev::Cut(c as u8, s as u8, 1))
                        }
                        if sc.halfopen && k.sub && c < 2 {
                            r.push(Ev::Cut(c as u8, s as u8, 2))
                        }
                    }
                } else {
                    r.push(Ev::Reconn(c as u8, s as u8))
                }
                if b.lease > 0 && c < 2 && st.sh[s].cl[c].is_some() {
                    r.push(Ev::LeaseEnd(c as u8, s as u8))
                }
            }
            if b.kills > 0 && c < 2 {
                r.push(Ev::Kill(c as u8))
            }
        }
        for (i, z) in st.z.iter().enumerate() {
            if !z.cmds.is_empty() {
                r.push(Ev::ZExec(i as u8))
            }
            r.push(Ev::ZDrop(i as u8))
        }
        for s in 0..sc.ns {
            if b.loss > 0 {
                r.push(Ev::Loss(s as u8))
            }
            if b.flush > 0 {
                r.push(Ev::Flush(s as u8))
            }
            if b.lease > 0 {
                for c in 0..2 {
                    if st.cl[c].dead && st.sh[s].cl[c].is_some() {
                        r.push(Ev::LeaseEnd(c as u8, s as u8))
                    }
                }
            }
            for x in &st.sh[s].rec {
                if st.exp >> x.2.id & 1 == 1 {
                    r.push(Ev::RecExp(s as u8, x.0, x.1))
                }
            }
        }
        if b.exp > 0 {
            for i in 0..st.nid {
                if st.acc >> i & 1 == 1 && st.exp >> i & 1 == 0 {
                    r.push(Ev::MsgExp(i))
                }
            }
        }
        r
    }
    fn carried(k: &Conn, d: &Done) -> bool {
        k.cmds.iter().any(|c| matches!(c, Cmd::Pop { done, .. } if d.iter().all(|x| done.contains(x))))
            || k.reps.iter().any(|c| matches!(c, Rep::Stale(_)))
            || k.reps.iter().any(|c| matches!(c, Rep::Pop { done, .. } if d.iter().all(|x| done.contains(x))))
    }
    fn drop_conn(&self, st: &mut St, c: usize, s: usize, mode: u8) {
        let k = std::mem::take(&mut st.cl[c].conn[s]);
        if mode == 1 && !k.cmds.is_empty() {
            st.z.push(Zombie { c: c as u8, s: s as u8, sub: false, cmds: k.cmds })
        } else if mode == 2 {
            st.z.push(Zombie { c: c as u8, s: s as u8, sub: true, cmds: k.cmds })
        }
    }
    fn lease_end(&self, st: &mut St, c: usize, s: usize) {
        st.sh[s].cl[c] = None;
        match self.v.lease {
            LeaseEnd::Keep => {}
            LeaseEnd::Drop => {
                let recs: Vec<_> = st.sh[s].rec.iter().filter(|r| r.0 as usize == c).cloned().collect();
                st.sh[s].rec.retain(|r| r.0 as usize != c);
                if st.cl[c].dead {
                    for r in recs {
                        st.lost_ok |= 1 << r.2.id
                    }
                }
            }
            LeaseEnd::Requeue => {
                let recs: Vec<_> = st.sh[s].rec.iter().filter(|r| r.0 as usize == c).cloned().collect();
                st.sh[s].rec.retain(|r| r.0 as usize != c);
                for r in recs {
                    self.requeue(st, s, r.2)
                }
            }
        }
    }
    fn step(&self, st: &St, ev: Ev) -> St {
        let mut n = st.clone();
        let v = &self.v;
        match ev {
            Ev::Send(c, q) => {
                let s = self.sc.shard_of[q as usize] as usize;
                let id = n.nid;
                n.nid += 1;
                n.b.sends[c as usize - 2] -= 1;
                let g = n.cl[c as usize].conn[s].gen;
                n.cl[c as usize].conn[s].cmds.push(Cmd::Push { gen: g, q, id })
            }
            Ev::Recv(c, m) => {
                let ci = c as usize;
                if n.b.recvs[ci] > 0 {
                    n.b.recvs[ci] -= 1
                }
                let t = n.cl[ci].nt;
                n.cl[ci].nt += 1;
                let solo = n.cl[ci].futs.is_empty();
                for f in n.cl[ci].futs.iter_mut() {
                    f.solo = false
                }
                n.cl[ci].futs.push(Fut { t, mask: m, solo, got: None });
                for s in 0..self.sc.ns {
                    let x = self.qs(m, s);
                    if x != 0 {
                        self.send_pop(&mut n.cl[ci], s, Some((t, x)))
                    }
                }
            }
            Ev::Exec(c, s) => {
                let cmd = n.cl[c as usize].conn[s as usize].cmds.remove(0);
                let r = self.exec(&mut n, c, s as usize, cmd, false);
                if r == Rep::Nil || (!self.v.num && matches!(r, Rep::Hello(_))) {
                    return n;
                }
                n.cl[c as usize].conn[s as usize].reps.push(r)
            }
            Ev::PLost(c, s) => {
                n.b.drop -= 1;
                n.cl[c as usize].conn[s as usize].pushes.remove(0);
            }
            Ev::RLost(c, s) => {
                n.b.drop -= 1;
                n.cl[c as usize].conn[s as usize].reps.remove(0);
            }
            Ev::Reorder(c, s) => {
                n.b.reord -= 1;
                let k = &mut n.cl[c as usize].conn[s as usize];
                let x = k.cmds.remove(0);
                if self.v.nsstale {
                    match x {
                        Cmd::Pop { gen, .. }
                        | Cmd::Read { gen, .. }
                        | Cmd::Push { gen, .. }
                        | Cmd::Gb { gen, .. } => k.reps.push(Rep::Stale(gen)),
                        x => k.cmds.insert(0, x),
                    }
                } else {
                    k.cmds.push(x)
                }
            }
            Ev::ZExec(i) => {
                let z = &mut n.z[i as usize];
                let cmd = z.cmds.remove(0);
                let (c, s) = (z.c, z.s);
                if z.cmds.is_empty() && !z.sub {
                    n.z.remove(i as usize);
                }
                self.exec(&mut n, c, s as usize, cmd, true);
            }
            Ev::ZDrop(i) => {
                n.z.remove(i as usize);
            }
            Ev::Reply(c, s) => {
                let (ci, si) = (c as usize, s as usize);
                let r = n.cl[ci].conn[si].reps.remove(0);
                match r {
                    Rep::Nil => {}
                    Rep::Hello(ep) => {
                        if v.num && v.epoch && ep != n.cl[ci].ep[si] {
                            n.cl[ci].ep[si] = ep;
                            n.cl[ci].r[si] = 0;
                            let g = n.cl[ci].conn[si].gen;
                            n.cl[ci].conn[si].cmds.push(Cmd::Read { gen: g, after: 0 })
                        }
                    }
                    Rep::Read(l, upto) => {
                        for (t, e) in l {
                            if e.n > n.cl[ci].r[si] {
                                n.cl[ci].r[si] = e.n;
                                self.route(&mut n, ci, si, t, e)
                            }
                        }
                        if v.hole && upto > n.cl[ci].r[si] {
                            n.cl[ci].r[si] = upto
                        }
                    }
                    Rep::Gb(t) => n.cl[ci].gb[si].retain(|g| g.0 != t),
                    Rep::Stale(g) => {
                        if n.cl[ci].conn[si].gen == g {
                            self.resync(&mut n.cl[ci], si)
                        }
                    }
                    Rep::Pop { done, t, e } => {
                        n.cl[ci].done[si].retain(|d| !done.contains(d));
                        if let (Some(t), Some(e)) = (t, e) {
                            self.arrive(&mut n, ci, si, t, e)
                        }
                    }
                }
            }
            Ev::PushArr(c, s) => {
                let (t, e) = n.cl[c as usize].conn[s as usize].pushes.remove(0);
                self.arrive(&mut n, c as usize, s as usize, t, e)
            }
            Ev::User(c, t) => {
                let ci = c as usize;
                let i = n.cl[ci].futs.iter().position(|f| f.t == t).unwrap();
                let f = n.cl[ci].futs.remove(i);
                let (s, e) = f.got.unwrap();
                n.dl.push((c, e.q, e.id, f.solo || self.sc.strict));
                for s2 in 0..self.sc.ns {
                    if self.qs(f.mask, s2) != 0 {
                        if s2 == s as usize {
                            if v.ack != AckMode::NextCall {
                                Self::add_done(
                                    &mut n.cl[ci],
                                    s2,
                                    t,
                                    Out::Ack(if v.ackseq { e.seq } else { e.id }),
                                )
                            }
                        } else {
                            Self::add_done(&mut n.cl[ci], s2, t, Out::Rel)
                        }
                    }
                }
            }
            Ev::Cancel(c, t) => {
                let ci = c as usize;
                if n.b.cancels > 0 {
                    n.b.cancels -= 1
                }
                let i = n.cl[ci].futs.iter().position(|f| f.t == t).unwrap();
                let f = n.cl[ci].futs.remove(i);
                for s2 in 0..self.sc.ns {
                    if self.qs(f.mask, s2) != 0 {
                        Self::add_done(&mut n.cl[ci], s2, t, Out::Rel)
                    }
                }
                if let (Some((s, e)), false) = (f.got, v.srv_release) {
                    self.arrive(&mut n, ci, s as usize, t, e)
                }
            }
            Ev::Settle(c, s) => self.send_pop(&mut n.cl[c as usize], s as usize, None),
            Ev::Beat(c, s) => {
                n.b.hb = n.b.hb.saturating_sub(1);
                if v.hb == Hb::Repop {
                    self.repop(&mut n.cl[c as usize], s as usize)
                } else {
                    self.send_pop(&mut n.cl[c as usize], s as usize, None)
                }
            }
            Ev::Cut(c, s, m) => {
                n.b.cuts -= 1;
                self.drop_conn(&mut n, c as usize, s as usize, m)
            }
            Ev::Reconn(c, s) => {
                let cl = &mut n.cl[c as usize];
                cl.conn[s as usize].up = true;
                self.resync(cl, s as usize)
            }
            Ev::LeaseEnd(c, s) => {
                n.b.lease -= 1;
                self.lease_end(&mut n, c as usize, s as usize)
            }
            Ev::Kill(c) => {
                n.b.kills -= 1;
                let ci = c as usize;
                for s in 0..NS {
                    self.drop_conn(&mut n, ci, s, 0)
                }
                n.cl[ci] = Client { dead: true, ..Default::default() }
            }
            Ev::Loss(s) | Ev::Flush(s) => {
                let si = s as usize;
                for q in 0..NQ {
                    for e in &n.sh[si].q[q] {
                        n.lost_ok |= 1 << e.id
                    }
                }
                for r in &n.sh[si].rec {
                    n.lost_ok |= 1 << r.2.id
                }
                if matches!(ev, Ev::Loss(_)) {
                    n.b.loss -= 1;
                    for c in 0..NC {
                        n.cl[c].conn[si] = Conn::default()
                    }
                    n.z.retain(|z| z.s != s)
                } else {
                    n.b.flush -= 1
                }
                let ep = n.sh[si].ep;
                n.sh[si] = Shard::default();
                n.sh[si].ep = ep + 1
            }
            Ev::MsgExp(i) => {
                n.b.exp -= 1;
                n.exp |= 1 << i
            }
            Ev::RecExp(s, c, t) => n.sh[s as usize].rec.retain(|r| !(r.0 == c && r.1 == t)),
        }
        n
    }
    fn safe(&self, st: &St) -> Option<String> {
        for i in 0..st.dl.len() {
            for j in 0..i {
                if st.dl[i].2 == st.dl[j].2 {
                    return Some(format!("I1 id {} delivered twice", st.dl[i].2));
                }
                if self.sc.order && st.dl[j].3 && st.dl[i].1 == st.dl[j].1 && st.dl[i].2 < st.dl[j].2 {
                    return Some(format!("I7 order on q{}: {} after {}", st.dl[i].1, st.dl[i].2, st.dl[j].2));
                }
            }
        }
        for s in 0..self.sc.ns {
            for q in 0..self.sc.nq {
                for (i, e) in st.sh[s].q[q].iter().enumerate() {
                    if st.sh[s].q[q][..i].iter().any(|x| x.id == e.id) {
                        return Some(format!("id {} twice in queue", e.id));
                    }
                }
            }
        }
        None
    }
    /// fair, fault-free completion; frozen = client that never moves again
    fn heal(&self, st: &St, frozen: Option<usize>) -> Option<String> {
        let mut n = st.clone();
        n.z.clear();
        if let Some(f) = frozen {
            for s in 0..self.sc.ns {
                n.sh[s].cl[f].is_some().then(|| self.lease_end(&mut n, f, s));
            }
        }
        for round in 0..14 {
            for c in 0..NC {
                if c < 2 && c >= self.sc.readers as usize || c >= 2 && c - 2 >= self.sc.senders as usize {
                    continue;
                }
                if n.cl[c].dead || frozen == Some(c) {
                    continue;
                }
                for s in 0..self.sc.ns {
                    if !n.cl[c].conn[s].up {
                        n = self.step(&n, Ev::Reconn(c as u8, s as u8))
                    }
                    if round % 3 == 2 && c < 2 && self.v.hb != Hb::No {
                        n = self.step(&n, Ev::Beat(c as u8, s as u8))
                    }
                    loop {
                        let k = &n.cl[c].conn[s];
                        let e = if !k.cmds.is_empty() {
                            Ev::Exec(c as u8, s as u8)
                        } else if !k.pushes.is_empty() {
                            Ev::PushArr(c as u8, s as u8)
                        } else if !k.reps.is_empty() {
                            Ev::Reply(c as u8, s as u8)
                        } else if !n.cl[c].done[s].is_empty() {
                            Ev::Settle(c as u8, s as u8)
                        } else {
                            break;
                        };
                        n = self.step(&n, e);
                    }
                }
                if let Some(f) = n.cl[c].futs.iter().find(|f| f.got.is_some()) {
                    let t = f.t;
                    n = self.step(&n, Ev::User(c as u8, t));
                }
            }
            if let Some(x) = self.safe(&n) {
                return Some(format!("{} [on healing, frozen {:?}]", x, frozen));
            }
            // one fresh receive per queue when no live open future covers it
            if round >= 3 {
                for q in 0..self.sc.nq {
                    let cov = (0..2).any(|c| {
                        !n.cl[c].dead
                            && frozen != Some(c)
                            && n.cl[c].futs.iter().any(|f| f.mask >> q & 1 == 1)
                    });
                    let order_busy = false;
                    if !cov && !order_busy {
                        if let Some(c) = (0..self.sc.readers as usize).find(|&c| {
                            !n.cl[c].dead
                                && frozen != Some(c)
                                && self.sc.masks[c].iter().any(|m| m >> q & 1 == 1)
                        }) {
                            n = self.step(&n, Ev::Recv(c as u8, 1 << q))
                        }
                    }
                }
            }
        }
        let anylive = |q: usize| {
            (0..self.sc.readers as usize).any(|c| {
                !n.cl[c].dead && frozen != Some(c) && self.sc.masks[c].iter().any(|m| m >> q & 1 == 1)
            })
        };
        for s in 0..self.sc.ns {
            for q in 0..self.sc.nq {
                if self.sc.shard_of[q] as usize == s
                    && anylive(q)
                    && n.sh[s].q[q].iter().any(|e| n.exp >> e.id & 1 == 0)
                {
                    return Some(format!(
                        "HANG: q{} not empty though a live receive waits (frozen {:?})",
                        q, frozen
                    ));
                }
            }
            for r in &n.sh[s].rec {
                let c = r.0 as usize;
                if !n.cl[c].dead && frozen != Some(c) && n.exp >> r.2.id & 1 == 0 {
                    return Some(format!(
                        "STUCK record c{} t{} id {} (delivered: {})",
                        r.0,
                        r.1,
                        r.2.id,
                        n.dl.iter().any(|d| d.2 == r.2.id)
                    ));
                }
            }
        }
        for id in 0..n.nid {
            if n.acc >> id & 1 == 1
                && n.exp >> id & 1 == 0
                && n.lost_ok >> id & 1 == 0
                && !n.dl.iter().any(|d| d.2 == id)
            {
                let held = n.sh.iter().any(|s| {
                    s.rec
                        .iter()
                        .any(|r| r.2.id == id && (n.cl[r.0 as usize].dead || frozen == Some(r.0 as usize)))
                }) || n.sh.iter().any(|s| s.q.iter().any(|q| q.iter().any(|e| e.id == id)));
                let mem = frozen.map_or(false, |f| {
                    n.cl[f].futs.iter().any(|x| x.got.map_or(false, |g| g.1.id == id))
                        || n.cl[f].conn.iter().any(|k| {
                            k.pushes.iter().any(|p| p.1.id == id)
                                || k.reps.iter().any(|p| matches!(p, Rep::Pop{e:Some(e),..} if e.id==id))
                        })
                });
                if !held && !mem {
                    return Some(format!("LOST id {} (frozen {:?})", id, frozen));
                }
            }
        }
        None
    }
}
fn h128(s: &St) -> u128 {
    let mut a = std::collections::hash_map::DefaultHasher::new();
    s.hash(&mut a);
    let x = a.finish();
    let mut b = std::collections::hash_map::DefaultHasher::new();
    0x9e3779b9u64.hash(&mut b);
    s.hash(&mut b);
    ((x as u128) << 64) | b.finish() as u128
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let max: usize = a.get(3).map_or(3_000_000, |x| x.parse().unwrap());
    let z = Bud::default();
    let base = Sc {
        nq: 1,
        ns: 1,
        shard_of: [0, 0, 0],
        readers: 1,
        senders: 1,
        maxfut: [1, 1],
        masks: [&[1, 1], &[1, 1]],
        sendq: [&[0, 0], &[0, 0]],
        b: z,
        zombies: false,
        halfopen: false,
        order: true,
        cap: 4,
        strict: false,
        sendcut: false,
    };
    let sc = match a[1].as_str() {
        // one reader, sequential receives, 2 messages
        "seq" => Sc {
            b: Bud { sends: [2, 0], recvs: [3, 0], cancels: 1, cuts: 1, hb: 1, ..z },
            masks: [&[1, 1, 1], &[]],
            zombies: true,
            halfopen: true,
            ..base
        },
        "seq2" => Sc {
            b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, cuts: 2, hb: 0, ..z },
            masks: [&[1, 1], &[]],
            zombies: true,
            halfopen: true,
            ..base
        },
        // writer order with reconnects
        "writer" => Sc {
            b: Bud { sends: [3, 0], recvs: [1, 0], cuts: 2, ..z },
            masks: [&[1], &[]],
            sendq: [&[0, 0, 0], &[]],
            zombies: true,
            sendcut: true,
            ..base
        },
        "lease" => Sc { b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, lease: 2, hb: 1, ..z }, ..base },
        "leasecut" => Sc {
            b: Bud { sends: [2, 0], recvs: [2, 0], cuts: 1, lease: 1, cancels: 1, hb: 1, ..z },
            zombies: true,
            halfopen: true,
            ..base
        },
        // two readers, one message queue; kill / frozen
        "two" => Sc {
            readers: 2,
            b: Bud { sends: [2, 0], recvs: [2, 1], cancels: 1, kills: 1, lease: 1, ..z },
            masks: [&[1, 1], &[1]],
            order: false,
            ..base
        },
        "twocut" => Sc {
            readers: 2,
            b: Bud { sends: [2, 0], recvs: [1, 1], cancels: 1, cuts: 1, lease: 1, ..z },
            masks: [&[1], &[1]],
            order: false,
            halfopen: true,
            zombies: true,
            ..base
        },
        // one reader with two concurrent futures; order only claimed for later sequential receives => order off
        "fut2" => Sc {
            maxfut: [2, 1],
            b: Bud { sends: [2, 0], recvs: [3, 0], cancels: 2, cuts: 1, ..z },
            masks: [&[1, 1, 1], &[]],
            order: false,
            zombies: true,
            ..base
        },
        "fut2order" => Sc {
            maxfut: [2, 1],
            b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, ..z },
            masks: [&[1, 1], &[]],
            order: true,
            strict: true,
            ..base
        },
        // both futures cancelled, then sequential receive (heal): order must hold
        "fut2cc" => Sc {
            maxfut: [2, 1],
            b: Bud { sends: [2, 0], recvs: [3, 0], cancels: 2, ..z },
            masks: [&[1, 1, 1], &[]],
            order: true,
            ..base
        },
        // one future over 2 queues on 1 shard
        "multiq" => Sc {
            nq: 2,
            b: Bud { sends: [1, 1], recvs: [2, 0], cancels: 1, cuts: 1, ..z },
            senders: 2,
            masks: [&[3, 3], &[]],
            sendq: [&[0], &[1]],
            zombies: true,
            ..base
        },
        // one future over 2 queues on 2 shards (q0 is '?', q1 normal)
        "shards" => Sc {
            nq: 2,
            ns: 2,
            shard_of: [0, 1, 0],
            senders: 1,
            b: Bud { sends: [3, 0], recvs: [2, 0], cancels: 1, cuts: 0, ..z },
            masks: [&[3, 3], &[]],
            sendq: [&[0, 1, 0], &[]],
            ..base
        },
        "shardscut" => Sc {
            nq: 2,
            ns: 2,
            shard_of: [0, 1, 0],
            senders: 1,
            b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, cuts: 1, ..z },
            masks: [&[3, 3], &[]],
            sendq: [&[0, 1], &[]],
            zombies: true,
            halfopen: true,
            ..base
        },
        "shards2r" => Sc {
            nq: 2,
            ns: 2,
            readers: 2,
            shard_of: [0, 1, 0],
            senders: 1,
            b: Bud { sends: [2, 0], recvs: [1, 1], cancels: 1, kills: 1, ..z },
            masks: [&[3], &[3]],
            sendq: [&[0, 1], &[]],
            order: false,
            ..base
        },
        "loss" => Sc { b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, loss: 1, hb: 1, ..z }, ..base },
        "flush" => Sc { b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, flush: 1, hb: 1, ..z }, ..base },
        "expire" => {
            Sc { b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, exp: 1, hb: 1, cuts: 1, ..z }, ..base }
        }
        "noscript" => Sc {
            b: Bud { sends: [2, 0], recvs: [3, 0], cancels: 1, reord: 1, ..z },
            masks: [&[1, 1, 1], &[]],
            ..base
        },
        "fut2nc" => Sc {
            maxfut: [2, 1],
            b: Bud { sends: [2, 0], recvs: [2, 0], cuts: 1, ..z },
            masks: [&[1, 1], &[]],
            order: false,
            ..base
        },
        "dlim" => Sc {
            readers: 2,
            maxfut: [2, 1],
            b: Bud { sends: [2, 0], recvs: [2, 1], kills: 1, cuts: 1, lease: 1, ..z },
            masks: [&[1, 1], &[1]],
            order: false,
            ..base
        },
        // random-walk scenarios (RANDOM=walks)
        "rone" => Sc {
            nq: 3,
            ns: 2,
            shard_of: [0, 1, 0],
            senders: 2,
            b: Bud {
                sends: [5, 4],
                recvs: [8, 0],
                cancels: 4,
                cuts: 4,
                lease: 3,
                loss: 1,
                flush: 1,
                hb: 4,
                exp: 2,
                reord: 2,
                drop: 2,
                ..z
            },
            masks: [&[7, 1, 3, 5, 7, 2, 1, 7], &[]],
            sendq: [&[0, 0, 0, 0, 0], &[1, 2, 1, 2]],
            zombies: true,
            halfopen: true,
            sendcut: true,
            ..base
        },
        "rone0" => Sc {
            nq: 3,
            ns: 2,
            shard_of: [0, 1, 0],
            senders: 2,
            b: Bud {
                sends: [5, 4],
                recvs: [8, 0],
                cancels: 4,
                cuts: 4,
                lease: 3,
                hb: 4,
                exp: 1,
                reord: 2,
                drop: 2,
                ..z
            },
            masks: [&[7, 1, 3, 5, 7, 2, 1, 7], &[]],
            sendq: [&[0, 0, 0, 0, 0], &[1, 2, 1, 2]],
            zombies: true,
            halfopen: true,
            sendcut: true,
            ..base
        },
        "rtwo" => Sc {
            nq: 3,
            ns: 2,
            readers: 2,
            maxfut: [2, 2],
            shard_of: [0, 1, 0],
            senders: 2,
            b: Bud {
                sends: [4, 4],
                recvs: [5, 5],
                cancels: 5,
                cuts: 4,
                kills: 1,
                lease: 3,
                hb: 3,
                exp: 1,
                reord: 2,
                drop: 2,
                ..z
            },
            masks: [&[7, 1, 3, 5, 7], &[7, 2, 6, 1, 7]],
            sendq: [&[0, 1, 0, 2], &[1, 2, 1, 0]],
            zombies: true,
            halfopen: true,
            sendcut: true,
            order: false,
            ..base
        },
        "plost" => Sc { b: Bud { sends: [2, 0], recvs: [2, 0], cancels: 1, drop: 1, hb: 1, ..z }, ..base },
        "flush3" => Sc {
            b: Bud { sends: [3, 0], recvs: [1, 0], flush: 1, hb: 1, ..z },
            sendq: [&[0, 0, 0], &[]],
            masks: [&[1], &[]],
            ..base
        },
        "nofault" => Sc {
            b: Bud { sends: [3, 0], recvs: [3, 0], cancels: 2, ..z },
            masks: [&[1, 1, 1], &[]],
            sendq: [&[0, 0, 0], &[]],
            ..base
        },
        "kill1" => Sc { b: Bud { sends: [2, 0], recvs: [1, 0], kills: 1, ..z }, masks: [&[1], &[]], ..base },
        "cap" => Sc {
            maxfut: [2, 1],
            cap: 1,
            b: Bud { sends: [4, 0], recvs: [2, 0], cancels: 2, ..z },
            sendq: [&[0, 0, 0, 0], &[]],
            masks: [&[1, 1], &[]],
            order: false,
            ..base
        },
        "leasez" => Sc {
            b: Bud { sends: [1, 0], recvs: [1, 0], cuts: 2, lease: 1, cancels: 1, ..z },
            sendq: [&[0], &[]],
            masks: [&[1], &[]],
            zombies: true,
            ..base
        },
        x => panic!("{x}"),
    };
    let good = V {
        gen: true,
        push_fence: true,
        ack: AckMode::TicketId,
        lease: LeaseEnd::Keep,
        recreate: false,
        sub_first: true,
        srv_release: true,
        gb_retry: true,
        lpush: false,
        piggy: true,
        hb: Hb::Repop,
        discard_skip: false,
        epoch_ids: true,
        no_repop_on_resync: false,
        rel_wait: false,
        anyrec: false,
        forget: false,
        oracle: false,
        num: false,
        hole: false,
        epoch: false,
        late: false,
        nsstale: false,
        dlimit: false,
        ackseq: false,
    };
    let mut v = good;
    for f in a[2].split('+') {
        match f {
            "C" => {}
            "A" => {
                v.gen = false;
                v.push_fence = false;
                v.ack = AckMode::NextCall;
                v.recreate = true;
                v.srv_release = false;
                v.lpush = true;
                v.piggy = false
            }
            "nogen" => {
                v.gen = false;
                v.push_fence = false;
                v.recreate = true
            }
            "nogen_norecreate" => {
                v.gen = false;
                v.push_fence = false
            }
            "nopushfence" => v.push_fence = false,
            "ackT" => v.ack = AckMode::Ticket,
            "acknext" => v.ack = AckMode::NextCall,
            "drop" => v.lease = LeaseEnd::Drop,
            "requeue" => v.lease = LeaseEnd::Requeue,
            "recreate" => v.recreate = true,
            "sublast" => v.sub_first = false,
            "clientgb" => v.srv_release = false,
            "gbnoretry" => v.gb_retry = false,
            "lpush" => v.lpush = true,
            "nopiggy" => v.piggy = false,
            "hbno" => v.hb = Hb::No,
            "hblease" => v.hb = Hb::LeaseOnly,
            "skip" => v.discard_skip = true,
            "dlimit" => v.dlimit = true,
            "ackseq" => v.ackseq = true,
            "late" => v.late = true,
            "nsstale" => v.nsstale = true,
            "forgetgen" => v.forget = true,
            "oracle" => v.oracle = true,
            "B" => v.num = true,
            "hole" => v.hole = true,
            "epoch" => v.epoch = true,
            "norepop" => v.no_repop_on_resync = true,
            x => panic!("{x}"),
        }
    }
    let m = M { v, sc };
    let mut init = St { b: sc.b, ..Default::default() };
    // start connected, hello done
    for c in 0..NC {
        if c < 2 && c >= sc.readers as usize || c >= 2 && c - 2 >= sc.senders as usize {
            continue;
        }
        for s in 0..sc.ns {
            init.cl[c].maxgen = 1;
            init.cl[c].conn[s] = Conn { up: true, sub: true, gen: 1, ..Default::default() };
            init.sh[s].mg[c] = 1;
            init.sh[s].cl[c] = Some(if v.gen { 1 } else { 0 })
        }
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let hm: u64 = std::env::var("HM").ok().map_or(1, |x| x.parse().unwrap());
    let maxs: u64 = std::env::var("MAXS").ok().map_or(100, |x| x.parse().unwrap());
    let t0 = std::time::Instant::now();
    if let Ok(w) = std::env::var("WALKS") {
        let w: u64 = w.parse().unwrap();
        let mut x: u64 = std::env::var("SEED")
            .ok()
            .map_or(88172645463325252, |s| s.parse::<u64>().unwrap() * 2654435761 + 1);
        let mut steps = 0u64;
        let mut maxd = 0;
        for i in 0..w {
            let mut st = init.clone();
            let mut tr = vec![];
            loop {
                let ev = m.events(&st);
                if ev.is_empty() || tr.len() > 250 {
                    break;
                }
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                let ev2: Vec<Ev> = if (x >> 40) % 8 != 0 {
                    ev.iter()
                        .cloned()
                        .filter(|e| {
                            !matches!(
                                e,
                                Ev::Cut(..)
                                    | Ev::Kill(_)
                                    | Ev::Loss(_)
                                    | Ev::Flush(_)
                                    | Ev::LeaseEnd(..)
                                    | Ev::ZDrop(_)
                                    | Ev::MsgExp(_)
                                    | Ev::PLost(..)
                                    | Ev::RLost(..)
                                    | Ev::RecExp(..)
                                    | Ev::Reorder(..)
                                    | Ev::Beat(..)
                            )
                        })
                        .collect()
                } else {
                    ev.clone()
                };
                let ev = if ev2.is_empty() { ev } else { ev2 };
                let e = ev[((x >> 8) % ev.len() as u64) as usize];
                st = m.step(&st, e);
                tr.push(e);
                steps += 1;
                let mut b = m.safe(&st);
                if b.is_none() && (x >> 50) % 6 == 0 {
                    b = m.heal(&st, None);
                    if sc.readers == 2 && b.is_none() {
                        for f in 0..2 {
                            if !st.cl[0].dead && !st.cl[1].dead && b.is_none() {
                                b = m.heal(&st, Some(f))
                            }
                        }
                    }
                }
                if let Some(bx) = b {
                    println!("{} {} RANDOM walk {} FAIL {}\n   {:?}", a[1], a[2], i, bx, tr);
                    return;
                }
            }
            maxd = maxd.max(tr.len());
            if t0.elapsed().as_secs() > maxs {
                println!("{} {} RANDOM stopped at walk {}", a[1], a[2], i);
                break;
            }
        }
        println!(
            "{} {} RANDOM {} walks {} steps, longest {}, no failure, {:.0}s",
            a[1],
            a[2],
            w,
            steps,
            maxd,
            t0.elapsed().as_secs_f32()
        );
        return;
    }
    let mut seen: HashSet<u128> = HashSet::new();
    let mut par: Vec<(u32, Ev)> = vec![(0, Ev::Kill(99))];
    let mut frontier: Vec<(u32, St)> = vec![(0, init.clone())];
    seen.insert(h128(&init));
    let mut depth = 0;
    let mut capmax = 0usize;
    let mut bad: Option<(u32, String)> = None;
    'o: while !frontier.is_empty() {
        let mut next = vec![];
        for (pi, st) in frontier.drain(..) {
            for ev in m.events(&st) {
                let n = m.step(&st, ev);
                let h = h128(&n);
                if !seen.insert(h) {
                    continue;
                }
                par.push((pi, ev));
                let i = par.len() as u32 - 1;
                for s in 0..sc.ns {
                    for q in 0..sc.nq {
                        capmax = capmax.max(n.sh[s].q[q].len())
                    }
                }
                let hz = h as u64 % hm == 0;
                let mut e = m.safe(&n);
                if e.is_none() && hz {
                    e = m.heal(&n, None)
                }
                if e.is_none() && hz && sc.readers == 2 {
                    for f in 0..2 {
                        if !n.cl[1 - f].dead && !n.cl[f].dead && e.is_none() {
                            e = m.heal(&n, Some(f))
                        }
                    }
                }
                let only = &only;
                if let Some(x) = e.filter(|x| x.contains(only.as_str())) {
                    bad = Some((i, x));
                    break 'o;
                }
                next.push((i, n));
                if seen.len() >= max {
                    break 'o;
                }
            }
        }
        depth += 1;
        frontier = next;
    }
    println!(
        "{} {}: {} states, depth {}, {}, {:.1}s, maxlen {}",
        a[1],
        a[2],
        seen.len(),
        depth,
        match &bad {
            Some((_, x)) => format!("FAIL {}", x),
            None =>
                if seen.len() < max {
                    "PASS (complete)".into()
                } else {
                    "PASS (truncated)".to_string()
                },
        },
        t0.elapsed().as_secs_f32(),
        capmax
    );
    if let Some((mut i, _)) = bad {
        let mut tr = vec![];
        while i != 0 {
            tr.push(par[i as usize].1);
            i = par[i as usize].0
        }
        tr.reverse();
        println!("   {:?}", tr)
    }
    if std::env::var("TAIL").is_ok() {
        let mut i = par.len() as u32 - 1;
        let mut tr = vec![];
        while i != 0 {
            tr.push(par[i as usize].1);
            i = par[i as usize].0
        }
        tr.reverse();
        println!("tail {:?}", tr);
        println!("{:?}", frontier.last());
    }
    let _ = HashMap::<u8, u8>::new();
}
