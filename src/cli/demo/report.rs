//! Progress while the demo runs, and the table at its end.

use std::convert::Infallible;
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::copies::{Copies, CopySums};
use super::ledger::{Ledger, Progress, Sums};

/// Between two lines of progress: on a terminal, where they replace one another, and elsewhere.
const ON_A_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(1);

/// The result, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    layer: &'static str,
    server: String,
    sent: u64,
    received: u64,
    refused: u64,
    expired: u64,
    lost: u64,
    duplicated: u64,
    group: CopySums,
    messages_per_s: u64,
    p50_us: u128,
    p99_us: u128,
}

impl Report {
    pub(super) fn new(layer: &'static str, server: String, sums: &Sums, group: CopySums) -> Self {
        let ms = u64::try_from(sums.time.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            layer,
            server,
            sent: sums.sent,
            received: sums.received,
            refused: sums.refused,
            expired: sums.expired,
            lost: sums.lost,
            duplicated: sums.duplicated,
            group,
            messages_per_s: sums.received.saturating_mul(1000) / ms,
            p50_us: sums.p50.as_micros(),
            p99_us: sums.p99.as_micros(),
        }
    }

    /// The result for people, with what explains it.
    pub(super) fn table(&self, sums: &Sums) -> String {
        let CopySums { sends, joins, leaves, due, received, missed, lost, duplicated, not_members, .. } =
            self.group;
        let rows = [
            ("layer", self.layer.to_owned(), String::new()),
            ("server", self.server.clone(), String::new()),
            ("sent", self.sent.to_string(), format!("of {} attempts", sums.attempts)),
            (
                "received",
                self.received.to_string(),
                format!("while {} receives were dropped at random", sums.cancelled),
            ),
            ("refused", self.refused.to_string(), "a channel was at its capacity".to_owned()),
            ("expired", self.expired.to_string(), "nobody read them in time".to_owned()),
            ("lost", self.lost.to_string(), String::new()),
            ("duplicated", self.duplicated.to_string(), String::new()),
            ("out of order", sums.out_of_order.to_string(), "on single-reader channels".to_owned()),
            (
                "to rooms",
                sends.to_string(),
                format!("while mailboxes joined {joins} and left {leaves} times"),
            ),
            (
                "copies due",
                due.to_string(),
                format!(
                    "{received} received, {missed} missed by a full mailbox, {lost} lost, {duplicated} twice, \
                     {not_members} to others"
                ),
            ),
            ("messages/s", self.messages_per_s.to_string(), String::new()),
            ("p50", format!("{} µs", self.p50_us), "from send to arrival".to_owned()),
            ("p99", format!("{} µs", self.p99_us), String::new()),
        ];
        let row = |(name, value, note): &(&str, String, String)| {
            let line = format!("{name:<14}{value:<12}{note}");
            format!("{}\n", line.trim_end())
        };
        rows.iter().map(row).collect()
    }
}

/// Shows on standard error how far it is, for as long as it is polled.
pub(super) async fn show_progress(ledger: &Ledger, copies: &Copies) -> Infallible {
    let replaces = stderr().is_terminal();
    let _last = replaces.then(|| ClearedLine);
    loop {
        sleep(if replaces { ON_A_TERMINAL } else { ELSEWHERE }).await;
        let Progress { sent, received, refused, cancelled } = ledger.progress();
        let copies = copies.received();
        let line = format!(
            "sent {sent}, received {received}, refused {refused}, receives dropped {cancelled}, copies received {copies}"
        );
        // Nobody may be there to see it.
        let _ = if replaces {
            write!(stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(stderr(), "asgi-redis: {line}")
        };
    }
}

/// What is written afterwards begins on an empty line.
struct ClearedLine;

impl Drop for ClearedLine {
    fn drop(&mut self) {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}
