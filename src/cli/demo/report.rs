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
    attempts: u64,
    receives_dropped: u64,
    out_of_order: u64,
    group: CopySums,
    messages_per_s: u64,
    p50_us: u128,
    p99_us: u128,
    verdict: String,
}

impl Report {
    pub(super) fn new(
        layer: &'static str,
        server: String,
        sums: &Sums,
        group: CopySums,
        verdict: String,
    ) -> Self {
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
            attempts: sums.attempts,
            receives_dropped: sums.cancelled,
            out_of_order: sums.out_of_order,
            group,
            messages_per_s: sums.received.saturating_mul(1000) / ms,
            p50_us: sums.p50.as_micros(),
            p99_us: sums.p99.as_micros(),
            verdict,
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
            ("copies due", due.to_string(), "to the mailboxes in the rooms".to_owned()),
            ("  received", received.to_string(), String::new()),
            ("  missed", missed.to_string(), "by a full mailbox".to_owned()),
            ("  lost", lost.to_string(), String::new()),
            ("  duplicated", duplicated.to_string(), String::new()),
            ("  strayed", not_members.to_string(), "to mailboxes outside of the room".to_owned()),
            ("messages/s", self.messages_per_s.to_string(), String::new()),
            ("p50", format!("{} µs", self.p50_us), "from send to arrival".to_owned()),
            ("p99", format!("{} µs", self.p99_us), String::new()),
        ];
        let row = |(name, value, note): &(&str, String, String)| {
            let line = format!("{name:<14}{value:<12}{note}");
            format!("{}\n", line.trim_end())
        };
        let rows: String = rows.iter().map(row).collect();
        format!("{rows}{}\n", self.verdict)
    }
}

/// Shows on standard error how far it is, for as long as it is polled.
pub(super) async fn show_progress(ledger: &Ledger, copies: &Copies) -> Infallible {
    let is_dumb = variable("TERM") == "dumb";
    let replaces = stderr().is_terminal() && !is_dumb;
    let clear = if variable("NO_COLOR").is_empty() { CLEAR } else { CLEAR_PLAINLY };
    // Made only then: when it is dropped, it writes.
    let _last = if replaces { Some(ClearedLine(clear)) } else { None };
    loop {
        sleep(if replaces { ON_A_TERMINAL } else { ELSEWHERE }).await;
        let Progress { sent, received, refused, cancelled } = ledger.progress();
        let copies = copies.received();
        let line = format!(
            "sent {sent}, received {received}, refused {refused}, cancelled {cancelled}, copies {copies}"
        );
        // Nobody may be there to see it.
        let _ = if replaces {
            let line: String = line.chars().take(COLUMNS).collect();
            write!(stderr(), "{clear}{line}")
        } else {
            writeln!(stderr(), "asgi-redis: {line}")
        };
    }
}

fn variable(name: &str) -> String {
    std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned()
}

/// How wide a line may be that is replaced: one less than a usual terminal, so that it never wraps.
const COLUMNS: usize = 79;
/// Clears a line: by the terminal, and by spaces where no sequences are wanted.
const CLEAR: &str = "\r\x1b[K";
const CLEAR_PLAINLY: &str =
    "\r                                                                               \r";

/// What is written afterwards begins on an empty line.
struct ClearedLine(&'static str);

impl Drop for ClearedLine {
    fn drop(&mut self) {
        let _ = write!(stderr(), "{}", self.0);
    }
}
