//! How late timers fire. What a busy machine held up is no fault of the layer, so each process measures it, and one more on each
//! processor, which the host may stop alone; the bounds of the ledger are that much wider there.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A timer is set so often.
const TICK: Duration = Duration::from_millis(20);
/// Less than this is what a timer is late by on any machine.
const NOTABLE: Duration = Duration::from_millis(20);
/// After so many timers one says that it is there, and ends if nobody listens any more.
const SIGN_OF_LIFE: u32 = 50;

/// Tells `late` how late each timer fired, if it was.
pub(crate) async fn watch(late: impl Fn(Duration)) {
    loop {
        let due = Instant::now() + TICK;
        sleep(TICK).await;
        let by = due.elapsed();
        if by > NOTABLE {
            late(by);
        }
    }
}

/// Starts this program once for each processor, to run [`main`] there.
pub(crate) fn watch_processors() -> Vec<Child> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let program = std::env::current_exe().expect("this program");
    let start = |processor: usize| {
        Command::new("taskset")
            .arg("-c")
            .arg(processor.to_string())
            .arg(&program)
            .arg("watch")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    };
    // Without the program `taskset` the processes measure for themselves alone.
    (0..count).filter_map(|processor| start(processor).ok()).collect()
}

/// Writes `late MS` for each timer that is late, until nobody reads it.
pub(crate) fn main() {
    loop {
        for _ in 0..SIGN_OF_LIFE {
            let due = Instant::now() + TICK;
            std::thread::sleep(TICK);
            let by = due.elapsed();
            if by > NOTABLE && writeln!(std::io::stdout(), "late {}", by.as_millis()).is_err() {
                return;
            }
        }
        if writeln!(std::io::stdout(), "late 0").is_err() {
            return;
        }
    }
}

/// The times in which something was held up: from when, and until when.
#[derive(Default)]
pub(crate) struct Lateness(Vec<(Instant, Instant)>);

impl Lateness {
    /// A timer fired just now, so much too late.
    pub(crate) fn note(&mut self, at: Instant, by: Duration) {
        self.0.push((at.checked_sub(by).unwrap_or(at), at));
    }

    /// The latest time that leaves so much until then in which nothing was held up.
    pub(crate) fn before(&self, until: Instant, wanted: Duration) -> Instant {
        let mut from = until - wanted;
        loop {
            let earlier = until - wanted - self.between(from, until);
            if earlier >= from {
                return from;
            }
            from = earlier;
        }
    }

    /// For how long of that time something was held up.
    pub(crate) fn between(&self, from: Instant, until: Instant) -> Duration {
        let within = |(begun, ended): &(Instant, Instant)| ((*begun).max(from), (*ended).min(until));
        let mut spans: Vec<_> = self.0.iter().map(within).filter(|(begun, ended)| begun < ended).collect();
        spans.sort_unstable();
        let (mut sum, mut covered) = (Duration::ZERO, from);
        for (begun, ended) in spans {
            sum += ended.saturating_duration_since(begun.max(covered));
            covered = covered.max(ended);
        }
        sum
    }
}
