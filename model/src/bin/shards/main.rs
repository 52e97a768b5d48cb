//! Receives over several shards whose surplus entries are given on. shards SCENARIO [RULE] [MAX_STATES], see the README.
// Dense search code, to run and to switch rules in.
#![allow(warnings, clippy::all)]
mod cfg;
mod client;
mod walk;
mod world;
use cfg::*;
use client::Client;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use world::*;

/// Two sums in one pass; a state is told from others by 128 bits.
struct Two(u64, u64);
impl Hasher for Two {
    fn write(&mut self, b: &[u8]) {
        for c in b.chunks(8) {
            let mut x = [0; 8];
            x[..c.len()].copy_from_slice(c);
            self.write_u64(u64::from_le_bytes(x))
        }
    }
    fn write_u8(&mut self, x: u8) {
        self.write_u64(x as u64)
    }
    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64)
    }
    fn write_isize(&mut self, x: isize) {
        self.write_u64(x as u64)
    }
    fn write_u32(&mut self, x: u32) {
        self.write_u64(x as u64)
    }
    fn write_u64(&mut self, x: u64) {
        self.0 = (self.0.rotate_left(5) ^ x).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.1 = (self.1 ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.1 ^= self.1 >> 29
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
fn hash(w: &World<Client>) -> u128 {
    let mut h = Two(0, 1);
    w.hash(&mut h);
    let mix = |x: u64| {
        let x = (x ^ x >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ x >> 30
    };
    (mix(h.0) as u128) << 64 | mix(h.1) as u128
}

fn scenario(name: &str) -> Option<Scenario> {
    const N: Kind = (1, true, 3);
    const TRY: Kind = (1, false, 3);
    const NO: Kind = (3, true, 3);
    const O: Kind = (2, true, 3);
    let z = Bud::default();
    let one = [[1, 0], [1, 0]];
    let two = [[1, 0], [2, 0]];
    let base = Scenario {
        kinds: [vec![N, N], vec![]],
        open: 3,
        bud: Bud { push: one, ..z },
        olds: false,
        slot: std::env::var("SLOT").is_ok(),
        down_first: false,
    };
    Some(match name {
        // One client, no fault: two receives, one push a shard; then with a drop, a third receive or push, beats.
        "small" => Scenario { ..base },
        "drop" => Scenario { bud: Bud { push: one, drops: 1, ..z }, ..base },
        "three" => Scenario { kinds: [vec![N, N, N], vec![]], ..base },
        "plain" => Scenario { kinds: [vec![N, N, N], vec![]], bud: Bud { push: two, drops: 1, ..z }, ..base },
        "beat" => Scenario { bud: Bud { push: one, beats: 1, ..z }, ..base },
        // A connection breaks at any point; with `old` what was written may be executed, or what was pushed read, later.
        "break" => Scenario { bud: Bud { push: one, breaks: 1, ..z }, ..base },
        "breakdrop" => {
            Scenario { bud: Bud { push: [[0, 0], [1, 0]], drops: 1, breaks: 1, ..z }, olds: true, ..base }
        }
        "old" => Scenario { bud: Bud { push: one, breaks: 1, ..z }, olds: true, ..base },
        "old2" => Scenario { bud: Bud { push: one, breaks: 2, ..z }, olds: true, ..base },
        "two" => Scenario { kinds: [vec![N, N], vec![N]], ..base },
        "try" => Scenario { kinds: [vec![TRY, N], vec![]], ..base },
        "trybreak" => Scenario {
            kinds: [vec![TRY, N], vec![]],
            bud: Bud { push: one, breaks: 1, beats: 1, ..z },
            ..base
        },
        "order" => Scenario {
            kinds: [vec![NO, NO], vec![]],
            bud: Bud { push: [[1, 0], [0, 2]], drops: 1, ..z },
            ..base
        },
        "order3" => {
            Scenario { kinds: [vec![NO, O, NO], vec![]], bud: Bud { push: [[1, 0], [0, 2]], ..z }, ..base }
        }
        "lease" => Scenario { bud: Bud { push: one, lease: 1, beats: 1, ..z }, ..base },
        "loss" => Scenario { bud: Bud { push: one, loss: 1, beats: 1, ..z }, ..base },
        "expire" => Scenario { bud: Bud { push: one, drops: 1, expire: 1, beats: 1, ..z }, ..base },
        "lost" => Scenario { bud: Bud { push: one, lost: 1, beats: 1, ..z }, ..base },
        "close" => Scenario { bud: Bud { push: one, close: 1, ..z }, ..base },
        "closebreak" => {
            Scenario { bud: Bud { push: [[1, 0], [1, 0]], close: 1, breaks: 1, ..z }, olds: true, ..base }
        }
        "kill" => Scenario { kinds: [vec![N, N], vec![N]], bud: Bud { push: one, kill: 1, ..z }, ..base },
        _ => return None,
    })
}

/// All states, breadth first.
fn search(name: &str, sc: &Scenario, max: usize, seconds: u64, every: u64) -> Option<Vec<Ev>> {
    let t0 = std::time::Instant::now();
    let init = World::<Client>::new(sc);
    let mut seen = HashSet::from([hash(&init)]);
    let mut parents: Vec<(u32, Ev)> = vec![(0, Ev::OldGone(0))];
    let mut frontier = vec![(0u32, init)];
    let (mut depth, mut bad, mut given, mut healed, mut cut) = (0, None, 0u64, 0u64, false);
    'all: while !frontier.is_empty() {
        let mut next = vec![];
        for (parent, w) in frontier {
            for ev in w.events(sc) {
                let mut n = w.clone();
                n.step(sc, ev);
                let h = hash(&n);
                if n.bad.is_none() && !seen.insert(h) {
                    continue;
                }
                parents.push((parent, ev));
                let i = parents.len() as u32 - 1;
                if n.cl.iter().any(|p| !p.core.given_on.is_empty()) {
                    given += 1
                }
                if n.bad.is_none() && (h as u64 % every == 0 || n.events(sc).is_empty()) {
                    healed += 1;
                    let mut h = n.clone();
                    h.heal(sc);
                    n.bad = h.bad
                }
                if n.bad.is_some() {
                    bad = n.bad.map(|x| (i, x));
                    break 'all;
                }
                next.push((i, n));
                if seen.len() >= max || seen.len() % 1024 == 0 && t0.elapsed().as_secs() >= seconds {
                    cut = true;
                    break 'all;
                }
            }
        }
        depth += 1;
        frontier = next;
    }
    println!("{name} {:?}: {} states ({given} with something given on; {healed} healed), depth {depth}, {}, {:.1} s", cfg().broken, seen.len(),
        match &bad { Some((_, x)) => format!("FAIL {x}"), None if !cut => "PASS, complete".into(), None => "PASS as far as it went".into() }, t0.elapsed().as_secs_f32());
    bad.map(|(mut i, _)| {
        let mut tr = vec![];
        while i != 0 {
            tr.push(parents[i as usize].1);
            i = parents[i as usize].0
        }
        tr.reverse();
        tr
    })
}

fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let env = |n: &str, d: u64| std::env::var(n).ok().map_or(d, |x| x.parse().unwrap());
    let mut c = PLAIN;
    for f in a.get(1).map_or("", |x| x).split('+').filter(|f| !f.is_empty() && *f != "rules") {
        match f {
            "pushes-too" => c.pushes_too = true,
            "apart" => c.apart = true,
            "wide" => {
                c.tickets = 500;
                c.finished = 500;
                c.queues = 2000;
                c.served = 500
            }
            _ => {
                c.broken = BROKEN
                    .iter()
                    .find(|b| b.0 == f)
                    .unwrap_or_else(|| panic!("no rule {f}: {:?}", BROKEN.map(|b| b.0)))
                    .1
            }
        }
    }
    set_cfg(c);
    if a[0] == "walk" {
        if let Some(f) =
            walk::walks::<Client>(env("SEED", 1), env("WALKS", u64::MAX), env("SECONDS", 30), |s| {
                a.get(2).map_or_else(|| walk::random(s), |n| scenario(n).expect("a scenario"))
            })
        {
            walk::print::<Client>(&f.0, &f.1);
            std::process::exit(1)
        }
        return;
    }
    let sc = scenario(&a[0]).expect("a scenario");
    if let Some(tr) = search(
        &a[0],
        &sc,
        a.get(2).map_or(5_000_000, |x| x.parse().unwrap()),
        env("SECONDS", 60),
        env("EVERY", 16),
    ) {
        walk::print::<Client>(&sc, &tr);
        std::process::exit(1)
    }
}
