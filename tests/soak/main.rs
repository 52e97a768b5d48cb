//! A soak test: several processes exchange messages over one or three servers while faults of every kind befall these, by
//! seed, and a ledger holds every message. `scripts/soak` runs it.
//!
//! The parent starts the servers (each behind a proxy, each with a replica), the workers, and the faults. A worker is this
//! program again; it writes what it does to its standard output, a line an event. The parent alone judges.
//!
//! What a server holds when a fault takes it away is read from it before, and what a restored server brings back is read
//! before any client reaches it. So the ledger knows by its id each message that may be missing or may come again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // As in the suite.

mod books;
#[path = "../suite/support/clock.rs"]
#[allow(dead_code)] // The suite uses more of it.
mod clock;
mod crew;
mod fault;
mod lateness;
mod network;
#[path = "../suite/support/product.rs"]
#[allow(dead_code)] // The suite asks it more.
mod product;
#[path = "../suite/support/proxy.rs"]
#[allow(dead_code)] // The same.
mod proxy;
#[path = "../suite/support/runtime.rs"]
mod runtime;
mod server;
#[path = "../suite/support/temporary.rs"]
mod temporary;
mod worker;

use std::time::{Duration, Instant};

use self::books::Books;
use self::crew::Crew;
use self::fault::Fault;
use self::server::Site;

/// How long a quiet time between two faults lasts: long enough for all to be right again, which is 2 s, and to see it.
const QUIET: Duration = Duration::from_secs(4);

/// What came late after a fault that excuses inboxes has come after this: a third of a lease, and a little.
const BEAT: Duration = Duration::from_secs(22);

struct Options {
    seconds: u64,
    seed: u64,
    servers: usize,
    workers: usize,
    /// Only faults of this name, if any.
    only: Option<String>,
    /// A file for all that the workers say.
    trace: Option<String>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("worker") => return worker::main(words),
        Some("watch") => return lateness::main(),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let is_well = runtime.block_on(soak(&Options::from_environment()));
    // Not by return: what waits for the ends of workers must not hold up the verdict.
    std::process::exit(if is_well { 0 } else { 1 });
}

impl Options {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
            Err(_) => default,
        };
        Self {
            seconds: number("SECONDS", 120),
            seed: number("SEED", u64::from(std::process::id())),
            servers: usize::try_from(number("SERVERS", 3)).expect("a small number"),
            workers: usize::try_from(number("WORKERS", 3)).expect("a small number"),
            only: std::env::var("ONLY").ok(),
            trace: std::env::var("TRACE").ok(),
        }
    }
}

async fn soak(options: &Options) -> bool {
    println!("soak: SEED={} SERVERS={} SECONDS={}", options.seed, options.servers, options.seconds);
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut sites = Vec::new();
    for place in 0..options.servers {
        sites.push(Site::start(place, options.seed).await);
    }
    let hosts: Vec<String> = sites.iter().map(|site| site.url().to_owned()).collect();
    let mut books = Books::default();
    if let Some(path) = &options.trace {
        books.trace_into(path);
    }
    let mut crew = Crew::start(options.workers, &hosts, options.seed);
    crew.introduce(&mut books).await;
    crew.listen(&mut books, QUIET).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(options.seconds);
    let mut memory = vec![used(&sites).await];
    let mut deck: Vec<Fault> = Vec::new();
    let mut is_late = false;
    while tokio::time::Instant::now() < end {
        if deck.is_empty() {
            deck = fault::all(options.only.as_deref());
            random.shuffle(&mut deck);
            memory.push(used(&sites).await);
        }
        let Some(fault) = deck.pop() else { break };
        let place = random.usize(0..sites.len());
        let lasts = Duration::from_millis(random.u64(300..2_500));
        let begun = Instant::now();
        books.trace(begun, &format!("{} for {lasts:?} at {place}", fault.name()));
        fault.befall(&mut sites, place, lasts, &mut crew, &mut books, &mut random).await;
        let delays_from = if fault.delays_timers() { Instant::now() } else { begun };
        books.fault_ended(fault.name(), fault.excuses_inboxes(), delays_from);
        crew.listen(&mut books, QUIET).await;
        books.quiet_ended();
        is_late = fault.excuses_inboxes();
    }
    if is_late {
        crew.listen(&mut books, BEAT).await;
    }
    crew.finish(&mut books).await;
    for site in &sites {
        books.left_over(site.ids_held().await);
    }
    memory.push(used(&sites).await);
    crew.close(&mut books).await;
    let mut keys = Vec::new();
    for site in &sites {
        keys.push(site.keys_that_stay().await);
    }
    let verdict = books.report(&memory, &keys);
    for site in sites {
        site.end().await;
    }
    verdict
}

/// Keys, and bytes of memory, of all servers.
async fn used(sites: &[Site]) -> (u64, u64) {
    let mut sum = (0, 0);
    for site in sites {
        let (keys, bytes) = site.used().await;
        sum = (sum.0 + keys, sum.1 + bytes);
    }
    sum
}
