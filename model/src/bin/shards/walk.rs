//! Random walks with everything at once, and the shrinking of one that failed.
use super::cfg::*;
use super::client::*;
use super::world::*;

pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A scenario by chance: client 0 may read the `?` channel, client 1 may be there.
pub fn random(seed: u64) -> Scenario {
    let mut r = Rng(seed ^ 0x5eed);
    let ordered = r.one_in(2);
    let mut kinds = |n: u64, ordered: bool| -> Vec<Kind> {
        (0..n)
            .map(|_| {
                let qs = if ordered { [1, 1, 3, 3, 2][r.below(5) as usize] } else { 1 };
                let waits = r.below(4) != 0;
                (qs, waits, if waits || r.below(3) != 0 { 3 } else { 1 + r.below(2) as u8 })
            })
            .collect()
    };
    let kinds = [kinds(8, ordered), kinds(6, false)];
    let mut r = Rng(seed ^ 0xfa17);
    let kinds = if r.one_in(3) { [kinds[0].clone(), vec![]] } else { kinds };
    let mut some = |p: u64, n: u64| if r.below(p) == 0 { 1 + r.below(n) as u8 } else { 0 };
    let bud = Bud {
        push: [[4, 0], [4, if ordered { 4 } else { 0 }]],
        drops: some(2, 4),
        breaks: some(2, 4),
        lease: some(3, 2),
        loss: some(8, 1),
        expire: some(4, 2),
        lost: some(6, 2),
        beats: some(1, 4),
        close: some(4, 1),
        kill: some(8, 1),
        wanted: some(4, 2),
        refused: some(8, 1),
    };
    Scenario {
        kinds,
        open: 2 + r.below(3) as usize,
        bud,
        olds: r.below(2) == 0,
        slot: true,
        down_first: r.one_in(4),
    }
}

/// Replays what can happen of a trace; says the failure.
pub fn replay<C: Core + Default>(sc: &Scenario, tr: &[Ev]) -> (Option<String>, Vec<Ev>) {
    let mut w = World::<C>::new(sc);
    let mut done = vec![];
    for ev in tr {
        if w.bad.is_some() {
            break;
        }
        if w.events(sc).contains(ev) {
            w.step(sc, *ev);
            done.push(*ev)
        }
    }
    w.heal(sc);
    (w.bad, done)
}
fn kind(x: &str) -> &str {
    x.split(':').next().unwrap_or(x)
}

pub fn shrink<C: Core + Default>(sc: &Scenario, tr: Vec<Ev>, why: &str) -> Vec<Ev> {
    let mut tr = tr;
    let mut size = tr.len() / 2;
    loop {
        let mut i = 0;
        let before = tr.len();
        while i < tr.len() {
            let shorter: Vec<Ev> =
                tr[..i].iter().chain(&tr[(i + size.max(1)).min(tr.len())..]).copied().collect();
            let (bad, done) = replay::<C>(sc, &shorter);
            if bad.is_some_and(|b| kind(&b) == kind(why)) {
                tr = done
            } else {
                i += size.max(1)
            }
        }
        if size <= 1 && tr.len() == before {
            return tr;
        }
        size /= 2;
    }
}

/// Walks until one fails, or the time is over.
pub fn walks<C: Core + Default>(
    seed: u64,
    most: u64,
    seconds: u64,
    make: impl Fn(u64) -> Scenario,
) -> Option<(Scenario, Vec<Ev>)> {
    let t0 = std::time::Instant::now();
    let (mut steps, mut given, mut walks, mut worst) = (0u64, 0u64, 0u64, (0, 0));
    for i in 0..most {
        if t0.elapsed().as_secs() >= seconds {
            break;
        }
        walks += 1;
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(i);
        let sc = make(seed);
        let mut r = Rng(seed);
        let (len, faults) = (20 + r.below(180), 4 + r.below(40));
        let likes: Vec<u64> = (0..32).map(|_| [1, 1, 4, 16, 64][r.below(5) as usize]).collect();
        let mut w = World::<C>::new(&sc);
        let mut tr = vec![];
        let mut had = 0;
        while (tr.len() as u64) < len && w.bad.is_none() {
            let mut ev = w.events(&sc);
            if ev.is_empty() {
                break;
            }
            if seed % 3 != 0 {
                // Each walk has its own liking for each kind of event: what is rare in one is usual in another.
                let all: u64 = ev.iter().map(|e| likes[e.kind()]).sum();
                let mut at = r.below(all);
                let e = ev
                    .iter()
                    .copied()
                    .find(|e| {
                        let l = likes[e.kind()];
                        if at < l {
                            return true;
                        }
                        at -= l;
                        false
                    })
                    .unwrap();
                ev = vec![e];
            } else if r.below(faults) != 0 {
                let calm: Vec<Ev> = ev.iter().copied().filter(|e| !e.is_fault()).collect();
                if !calm.is_empty() {
                    ev = calm
                }
            }
            let e = ev[r.below(ev.len() as u64) as usize];
            w.step(&sc, e);
            tr.push(e);
            let now: usize = w.cl.iter().map(|p| p.core.view().given_on.len()).sum();
            if now > had {
                given += 1
            }
            had = now;
        }
        steps += tr.len() as u64;
        if w.took.0 as i8 - w.took.1 as i8 > worst.0 as i8 - worst.1 as i8 {
            worst = w.took
        }
        w.heal(&sc);
        if let Some(x) = w.bad {
            let short = shrink::<C>(&sc, tr.clone(), &x);
            println!(
                "walk {:?}: walk {i} ({} steps, {} when shrunk) FAIL {x}, {:.1} s",
                cfg().broken,
                tr.len(),
                short.len(),
                t0.elapsed().as_secs_f32()
            );
            return Some((sc, short));
        }
    }
    println!("walk {:?}: {walks} walks, {steps} steps, {given} entries given on, no failure, {:.1} s; a killed process took {} entries with {} receives under way", cfg().broken, t0.elapsed().as_secs_f32(), worst.0, worst.1);
    None
}

pub fn print<C: Core + Default>(sc: &Scenario, tr: &[Ev]) {
    println!("   {:?} {:?}", sc.kinds, cfg());
    LOG.set(Some(vec![]));
    let (bad, _) = replay::<C>(sc, tr);
    for l in LOG.take().unwrap_or_default() {
        println!("   {l}")
    }
    println!("   {bad:?}");
}
