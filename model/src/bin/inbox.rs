//! Inbox reader / numbered stream model. inbox <variant>
// Dense search code, to run and to switch rules in.
#![allow(warnings, clippy::all)]
use std::collections::HashSet;
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Cmd {
    Hello(u8),
    Read { gen: u8, call: u8, ack: u8, n: u8 },
}
// ack: count (variant count) | absolute seq (abs) | ticket done (ticket: ack = finished ticket no, call = ticket no)
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Rep {
    Nil,
    Read { call: u8, es: Vec<(u8, u8, u8)> },
    Stale(u8),
}
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct St {
    q: Vec<(u8, u8, u8)>, // (seq, prev, id)
    ctr: u8,
    clk: u8,
    wait: Option<u8>,
    rec: Option<(u8, Vec<(u8, u8, u8)>)>,
    gen: Option<u8>,
    mg: u8,
    up: bool,
    sub: bool,
    cmds: Vec<Cmd>,
    reps: Vec<Rep>,
    pushes: Vec<(u8, (u8, u8, u8))>,
    z: Vec<Cmd>,
    half: bool,
    // client
    g: u8,
    last: u8,
    call: u8,
    out: bool, /*a read is outstanding*/
    unacked: u8,
    dl: Vec<u8>,
    lost_ok: u16,
    nid: u8,
    sends: u8,
    cuts: u8,
    loss: u8,
    beats: u8,
    exp: u8,
    lease: u8,
}
#[derive(Clone, Copy, PartialEq)]
enum K {
    Count,
    CountAssume,
    Abs,
    Ticket,
    TList,
}
#[derive(Clone, Copy)]
struct V {
    k: K,
    gen: bool,
    gapcheck: u8, /*0 none,1 contiguous prev link,2 ignore while reading*/
    timeseq: bool,
    batch: u8,
    fifo: bool,
    relast: bool,
    forget: bool,
    poll: bool,
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ev {
    Send,
    Exec,
    Reply,
    Push,
    Cut(u8),
    Reconn,
    Read,
    ZExec,
    ZDrop,
    Loss,
    Exp,
    Beat,
    LeaseEnd,
}
fn exec(v: &V, st: &mut St, c: Cmd, zomb: bool) -> Rep {
    match c {
        Cmd::Hello(g) => {
            let m0 = if v.forget { st.gen.unwrap_or(0) } else { st.mg };
            if v.gen && m0 >= g {
                return Rep::Stale(g);
            }
            st.mg = g;
            st.gen = Some(g);
            if !zomb {
                st.sub = true
            }
            Rep::Nil
        }
        Cmd::Read { gen, call, ack, n } => {
            if v.gen && st.gen != Some(gen) {
                return Rep::Stale(gen);
            }
            let es;
            match v.k {
                K::Count | K::CountAssume => {
                    let a = (ack as usize).min(st.q.len());
                    st.q.drain(..a);
                    es = st.q.iter().take(n as usize).cloned().collect::<Vec<_>>();
                    st.wait = if es.is_empty() { Some(0) } else { None }
                }
                K::Abs => {
                    while st.q.first().map_or(false, |e| e.0 <= ack) {
                        st.q.remove(0);
                    }
                    es = st.q.iter().take(n as usize).cloned().collect::<Vec<_>>();
                    st.wait = if es.is_empty() { Some(0) } else { None }
                }
                K::TList => {
                    if let Some((t, r)) = &st.rec {
                        if *t <= ack {
                            let k = r.len();
                            st.q.drain(..k);
                            st.rec = None
                        }
                    }
                    if st.wait.map_or(false, |t| t <= ack) {
                        st.wait = None
                    }
                    if let Some((t, r)) = &st.rec {
                        if *t == call {
                            es = st.q[..r.len()].to_vec()
                        } else {
                            es = vec![]
                        }
                    } else {
                        let k = (n as usize).min(st.q.len());
                        es = st.q[..k].to_vec();
                        if es.is_empty() {
                            st.wait = Some(call)
                        } else {
                            st.wait = None;
                            st.rec = Some((call, es.clone()))
                        }
                    }
                }
                K::Ticket => {
                    if let Some((t, _)) = &st.rec {
                        if *t <= ack {
                            st.rec = None
                        }
                    }
                    if st.wait.map_or(false, |t| t <= ack) {
                        st.wait = None
                    }
                    if let Some((t, r)) = &st.rec {
                        if *t == call {
                            es = r.clone()
                        } else {
                            es = vec![] /* cannot happen with one ticket */
                        }
                    } else {
                        let k = (n as usize).min(st.q.len());
                        es = st.q.drain(..k).collect::<Vec<_>>();
                        if es.is_empty() {
                            st.wait = Some(call)
                        } else {
                            st.wait = None;
                            st.rec = Some((call, es.clone()))
                        }
                    }
                }
            }
            if v.poll {
                st.wait = None
            }
            Rep::Read { call, es }
        }
    }
}
fn push(v: &V, st: &mut St) {
    let id = st.nid;
    st.nid += 1;
    st.clk += 1;
    let prev = st.ctr;
    st.ctr = if v.timeseq { (st.ctr + 1).max(st.clk) } else { st.ctr + 1 };
    let e = (st.ctr, prev, id);
    if let (Some(t), true) = (st.wait, v.gen == false || st.gen.is_some()) {
        let n = st.sub as u8 + st.half as u8;
        if (v.k == K::Ticket || v.k == K::TList) {
            if st.q.is_empty() && n > 0 {
                if v.k == K::TList {
                    st.q.push(e)
                }
                st.wait = None;
                st.rec = Some((t, vec![e]));
                if st.sub {
                    st.pushes.push((t, e))
                }
                return;
            }
            if n == 0 {
                st.wait = None;
                if v.gen {
                    st.gen = None
                }
            }
        } else {
            st.q.push(e);
            if n > 0 {
                if st.sub {
                    st.pushes.push((t, e))
                }
            } else {
                st.wait = None
            }
            return;
        }
    }
    st.q.push(e)
}
fn read(v: &V, st: &mut St) {
    if !st.up {
        return;
    }
    let ack = match v.k {
        K::Count | K::CountAssume => st.unacked,
        K::Abs => st.last,
        K::Ticket | K::TList => st.call - 1,
    };
    if v.k == K::CountAssume {
        st.unacked = 0
    }
    st.cmds.push(Cmd::Read { gen: st.g, call: st.call, ack, n: v.batch });
    st.out = true
}
fn take(st: &mut St, e: (u8, u8, u8)) {
    st.dl.push(e.2);
    st.last = e.0;
    st.unacked += 1
}
fn step(v: &V, s: &St, e: Ev) -> St {
    let mut st = s.clone();
    match e {
        Ev::Send => {
            st.sends -= 1;
            push(v, &mut st)
        }
        Ev::Exec => {
            let c = st.cmds.remove(0);
            let r = exec(v, &mut st, c, false);
            st.reps.push(r)
        }
        Ev::ZExec => {
            let c = st.z.remove(0);
            exec(v, &mut st, c, true);
        }
        Ev::ZDrop => {
            st.z.clear();
            st.half = false
        }
        Ev::Reply => match st.reps.remove(0) {
            Rep::Nil => {}
            Rep::Stale(g) => {
                if g == st.g {
                    st.g += 1;
                    let g = st.g;
                    st.cmds.push(Cmd::Hello(g));
                    read(v, &mut st)
                }
            }
            Rep::Read { call, es } => {
                if (v.k == K::Ticket || v.k == K::TList) {
                    if call == st.call && !es.is_empty() {
                        for e in es {
                            take(&mut st, e)
                        }
                        st.call += 1;
                        st.out = false
                    }
                } else {
                    st.out = false;
                    if v.k == K::Count && !es.is_empty() {
                        st.unacked = 0
                    }
                    if v.k == K::Count && es.is_empty() {
                        st.unacked = 0
                    }
                    for e in es {
                        if v.k != K::Abs || e.0 > st.last {
                            take(&mut st, e)
                        }
                    }
                }
            }
        },
        Ev::Push => {
            let (t, e) = st.pushes.remove(0);
            if (v.k == K::Ticket || v.k == K::TList) {
                if t == st.call {
                    take(&mut st, e);
                    st.call += 1;
                    st.out = false
                }
            } else if v.gapcheck == 2 && st.out {
            } else if v.gapcheck == 1 && v.k == K::Abs {
                if e.0 > st.last {
                    if e.1 <= st.last {
                        take(&mut st, e)
                    } else if !st.out {
                        read(v, &mut st)
                    }
                }
            } else if v.k != K::Abs || e.0 > st.last {
                take(&mut st, e)
            }
        }
        Ev::Cut(m) => {
            st.cuts -= 1;
            if m == 1 {
                st.z = std::mem::take(&mut st.cmds)
            }
            if m == 2 {
                st.half = true
            }
            st.cmds.clear();
            st.reps.clear();
            st.pushes.clear();
            st.up = false;
            st.sub = false;
            st.out = false
        }
        Ev::Reconn => {
            st.up = true;
            st.g += 1;
            let g = st.g;
            st.cmds.push(Cmd::Hello(g));
            read(v, &mut st)
        }
        Ev::Read => read(v, &mut st),
        Ev::Beat => {
            st.beats -= 1;
            read(v, &mut st)
        }
        Ev::LeaseEnd => {
            st.lease -= 1;
            st.gen = None
        }
        Ev::Loss => {
            st.loss -= 1;
            for e in &st.q {
                st.lost_ok |= 1 << e.2
            }
            if let Some((_, r)) = &st.rec {
                for e in r {
                    st.lost_ok |= 1 << e.2
                }
            }
            st.q.clear();
            st.rec = None;
            st.wait = None;
            st.ctr = 0;
            st.gen = None;
            st.mg = 0;
            st.cmds.clear();
            st.reps.clear();
            st.pushes.clear();
            st.z.clear();
            st.half = false;
            st.up = false;
            st.sub = false;
            st.out = false
        }
        Ev::Exp => {
            st.exp -= 1;
            let i = if v.k == K::TList { st.rec.as_ref().map_or(0, |r| r.1.len()) } else { 0 };
            let e = st.q.remove(i);
            st.lost_ok |= 1 << e.2
        }
    }
    st
}
fn evs(v: &V, st: &St) -> Vec<Ev> {
    let mut r = vec![];
    if st.sends > 0 {
        r.push(Ev::Send)
    }
    if st.up {
        if !st.cmds.is_empty() {
            r.push(Ev::Exec)
        }
        if !st.reps.is_empty() {
            r.push(Ev::Reply)
        }
        if !st.pushes.is_empty() {
            r.push(Ev::Push)
        }
        if !st.out
            && ((v.k == K::Ticket || v.k == K::TList) || st.unacked > 0 || st.last > 0)
            && !(v.k == K::Abs && st.q.is_empty() && st.wait.is_some() && st.pushes.is_empty())
        {
            r.push(Ev::Read)
        }
        if st.beats > 0 && st.out && (v.k == K::Ticket || v.k == K::TList) {
            r.push(Ev::Beat)
        }
        if st.cuts > 0 {
            r.push(Ev::Cut(0));
            if !st.cmds.is_empty() {
                r.push(Ev::Cut(1))
            }
            r.push(Ev::Cut(2))
        }
    } else {
        r.push(Ev::Reconn)
    }
    if !st.z.is_empty() {
        r.push(Ev::ZExec);
        r.push(Ev::ZDrop)
    } else if st.half {
        r.push(Ev::ZDrop)
    }
    if st.loss > 0 {
        r.push(Ev::Loss)
    }
    if st.exp > 0 && st.q.len() > (if v.k == K::TList { st.rec.as_ref().map_or(0, |r| r.1.len()) } else { 0 })
    {
        r.push(Ev::Exp)
    }
    if st.lease > 0 && st.gen.is_some() {
        r.push(Ev::LeaseEnd)
    }
    r
}
fn safe(st: &St) -> Option<String> {
    for i in 0..st.dl.len() {
        for j in 0..i {
            if st.dl[i] == st.dl[j] {
                return Some(format!("I1 id {} twice", st.dl[i]));
            }
            if st.dl[i] < st.dl[j] {
                return Some(format!("I7 {} after {}", st.dl[i], st.dl[j]));
            }
        }
    }
    None
}
fn heal(v: &V, s: &St) -> Option<String> {
    let mut st = s.clone();
    st.z.clear();
    st.half = false;
    if !st.up {
        st = step(v, &st, Ev::Reconn)
    }
    for i in 0..12 {
        loop {
            if !st.cmds.is_empty() {
                st = step(v, &st, Ev::Exec)
            } else if !st.reps.is_empty() {
                st = step(v, &st, Ev::Reply)
            } else if !st.pushes.is_empty() {
                st = step(v, &st, Ev::Push)
            } else {
                break;
            }
            if let Some(x) = safe(&st) {
                return Some(x);
            }
        }
        if i < 9 {
            if (v.k == K::Ticket || v.k == K::TList) || !st.out {
                read(v, &mut st)
            }
        }
    }
    // two new messages must come through as well
    for _ in 0..2 {
        st.sends = 1;
        st = step(v, &st, Ev::Send);
        for _ in 0..3 {
            loop {
                if !st.cmds.is_empty() {
                    st = step(v, &st, Ev::Exec)
                } else if !st.reps.is_empty() {
                    st = step(v, &st, Ev::Reply)
                } else if !st.pushes.is_empty() {
                    st = step(v, &st, Ev::Push)
                } else {
                    break;
                }
                if let Some(x) = safe(&st) {
                    return Some(x);
                }
            }
            read(v, &mut st)
        }
    }
    for id in 0..st.nid {
        if st.lost_ok >> id & 1 == 0 && !st.dl.contains(&id) {
            return Some(format!(
                "LOST/HANG id {} dl {:?} q {:?} rec {:?} last {}",
                id, st.dl, st.q, st.rec, st.last
            ));
        }
    }
    None
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let max = 1_500_000;
    let mut v = V {
        k: K::Ticket,
        gen: true,
        gapcheck: 0,
        timeseq: false,
        batch: 2,
        fifo: true,
        relast: false,
        forget: false,
        poll: false,
    };
    let mut st = St {
        up: true,
        sub: true,
        g: 1,
        gen: Some(1),
        mg: 1,
        call: 1,
        sends: 4,
        cuts: 2,
        beats: 1,
        lease: 1,
        ..Default::default()
    };
    for f in a[1].split('+') {
        match f {
            "count" => v.k = K::Count,
            "countassume" => v.k = K::CountAssume,
            "abs" => v.k = K::Abs,
            "tlist" => v.k = K::TList,
            "ticket" => v.k = K::Ticket,
            "forgetgen" => v.forget = true,
            "poll" => v.poll = true,
            "nogen" => v.gen = false,
            "gap" => v.gapcheck = 1,
            "ignore" => v.gapcheck = 2,
            "timeseq" => v.timeseq = true,
            "loss" => {
                st.loss = 1;
                st.cuts = 1
            }
            "exp" => {
                st.exp = 1;
                st.cuts = 1
            }
            "nolease" => st.lease = 0,
            x => panic!("{x}"),
        }
    }
    if !(v.k == K::Ticket || v.k == K::TList) {
        st.beats = 0
    }
    read(&v, &mut st);
    let mut seen = HashSet::new();
    let mut par = vec![(0u32, Ev::Read)];
    seen.insert(st.clone());
    let mut fr = vec![(0u32, st)];
    let mut d = 0;
    let mut bad = None;
    'o: while !fr.is_empty() {
        let mut nx = vec![];
        for (p, s) in fr.drain(..) {
            for e in evs(&v, &s) {
                let n = step(&v, &s, e);
                if seen.contains(&n) {
                    continue;
                }
                seen.insert(n.clone());
                par.push((p, e));
                let i = par.len() as u32 - 1;
                if let Some(x) = safe(&n).or_else(|| heal(&v, &n)) {
                    bad = Some((i, x));
                    break 'o;
                }
                nx.push((i, n));
                if seen.len() > max {
                    break 'o;
                }
            }
        }
        d += 1;
        fr = nx
    }
    println!(
        "inbox {}: {} states depth {} {}",
        a[1],
        seen.len(),
        d,
        match &bad {
            Some(b) => format!("FAIL {}", b.1),
            None =>
                if seen.len() > max {
                    "PASS (truncated)".into()
                } else {
                    "PASS (complete)".into()
                },
        }
    );
    if let Some((mut i, _)) = bad {
        let mut t = vec![];
        while i != 0 {
            t.push(par[i as usize].1);
            i = par[i as usize].0
        }
        t.reverse();
        println!("   {:?}", t)
    }
}
