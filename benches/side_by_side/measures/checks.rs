//! What the checks of keys and arguments cost push and pop: each script beside itself without them, in turns. Of the server's
//! CPU time of a call the least of all rounds counts, since what a machine does besides only adds to it.

use asgi_redis::scripts;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline};

use crate::Result;
use crate::bench::Bench;
use crate::meter::count;
use crate::report::{Goal, Line};

/// How the checks begin in the text of a script, and what stands below them.
const BEGIN: &str = "-- Checks";
const END: &str = "-- Checked";

const CALLS: usize = 400;
const CLIENT: &str = "0123456789abcdef0123456789abcdef";
const CLIENT_KEY: &str = "bench.checks:c:0123456789abcdef0123456789abcdef";
const PREFIX: &str = "bench.checks:";
const QUEUE: &str = "bench.checks:q:greetings";
const HOUR: usize = 3_600_000;

#[derive(Clone, Copy)]
enum Case {
    Push,
    FencedPush,
    AcknowledgeAndTake,
    AcknowledgeAndWait,
}

const CASES: [(&str, Case); 4] = [
    ("push of one", Case::Push),
    ("push of one, fenced", Case::FencedPush),
    ("pop: acknowledge one, take one", Case::AcknowledgeAndTake),
    ("pop: acknowledge one, wait", Case::AcknowledgeAndWait),
];

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    // The server's time does not depend on where the programs run.
    if !bench.is_first {
        return Ok(Vec::new());
    }
    let mut connection = redis::Client::open(&*bench.url)?.get_multiplexed_async_connection().await?;
    let mut lines = Vec::new();
    for (name, case) in CASES {
        let script = scripts::get(if name.starts_with("push") { "push" } else { "pop" })
            .ok_or("a script is missing")?;
        let whole = load(&mut connection, script.source()).await?;
        let bare = load(&mut connection, &without_checks(script.source())).await?;
        let [mut with, mut without] = [f64::INFINITY; 2];
        for round in bench.rounds(60, 5) {
            // Each is first in every other round.
            if round % 2 == 0 {
                with = with.min(took_us(&mut connection, case, &whole).await?);
                without = without.min(took_us(&mut connection, case, &bare).await?);
            } else {
                without = without.min(took_us(&mut connection, case, &bare).await?);
                with = with.min(took_us(&mut connection, case, &whole).await?);
            }
        }
        lines.push(bench.line(&format!("{name}: server µs"), "no checks").ours(with).floor(without));
        let own = bench.line(&format!("{name}: its checks, µs"), "-").ours(with - without);
        lines.push(own.goal(Some(Goal::AtMost(1.0))));
    }
    let () = redis::cmd("DEL").arg(QUEUE).arg(CLIENT_KEY).query_async(&mut connection).await?;
    Ok(lines)
}

/// The server's CPU time of a call.
async fn took_us(connection: &mut MultiplexedConnection, case: Case, sha: &str) -> Result<f64> {
    let calls = prepare(connection, case, sha).await?;
    let before = cpu_us(connection).await?;
    let _: Vec<redis::Value> = calls.query_async(connection).await?;
    Ok((cpu_us(connection).await? - before) / count(CALLS))
}

async fn load(connection: &mut MultiplexedConnection, source: &str) -> Result<String> {
    Ok(redis::cmd("SCRIPT").arg("LOAD").arg(source).query_async(connection).await?)
}

/// The text of a script without the lines that check.
fn without_checks(source: &str) -> String {
    let mut is_check = false;
    let mut kept = String::with_capacity(source.len());
    for line in source.lines() {
        is_check |= line.starts_with(BEGIN) && line != END;
        if !is_check {
            kept.push_str(line);
            kept.push('\n');
        }
        is_check &= line != END;
    }
    kept
}

/// The server's CPU time.
async fn cpu_us(connection: &mut MultiplexedConnection) -> Result<f64> {
    let text: String = redis::cmd("INFO").arg("cpu").query_async(connection).await?;
    let fields = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        matches!(name, "used_cpu_user" | "used_cpu_sys").then(|| value.trim().parse::<f64>().ok())?
    });
    Ok(1e6 * fields.sum::<f64>())
}

/// Makes everything as it is before the calls, which it returns.
async fn prepare(connection: &mut MultiplexedConnection, case: Case, sha: &str) -> Result<Pipeline> {
    let () = redis::cmd("DEL").arg(QUEUE).arg(CLIENT_KEY).query_async(connection).await?;
    let lease = 1_000 * HOUR * 1_000_000;
    let mut client = redis::cmd("HSET");
    let () = client.arg(CLIENT_KEY).arg("g").arg(1).arg("lease").arg(lease).query_async(connection).await?;
    let body = [b"m ".as_slice(), &[b'x'; 200]].concat();
    let entry =
        [[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 3, 0xbb, 0x2c, 0xc3, 0xd8, 0].as_slice(), &body].concat();
    let mut filled = redis::cmd("RPUSH");
    filled.arg(QUEUE);
    let entries = if matches!(case, Case::AcknowledgeAndWait) { 1 } else { CALLS + 1 };
    for _ in 0..entries {
        filled.arg(&entry);
    }
    let () = filled.query_async(connection).await?;
    let () = redis::cmd("PEXPIRE").arg(QUEUE).arg(HOUR).query_async(connection).await?;
    let mut calls = Pipeline::with_capacity(CALLS);
    match case {
        Case::Push | Case::FencedPush => {
            let fence = if matches!(case, Case::Push) { ["", ""] } else { [CLIENT, "1"] };
            for _ in 0..CALLS {
                let mut push = redis::cmd("EVALSHA");
                push.arg(sha)
                    .arg(1)
                    .arg(QUEUE)
                    .arg(PREFIX)
                    .arg(60_000)
                    .arg(&fence)
                    .arg(1_000_000)
                    .arg(1)
                    .arg(&body);
                calls.add_command(push);
            }
        }
        Case::AcknowledgeAndTake | Case::AcknowledgeAndWait => {
            let first = pop(sha, 1, None);
            let _: redis::Value = first.query_async(connection).await?;
            for ticket in 2..=CALLS + 1 {
                calls.add_command(pop(sha, ticket, entry.get(..10)));
            }
        }
    }
    Ok(calls)
}

/// A pop of one ticket, which acknowledges the one before it.
fn pop(sha: &str, ticket: usize, delivered: Option<&[u8]>) -> Cmd {
    let mut pop = redis::cmd("EVALSHA");
    pop.arg(sha).arg(2).arg(CLIENT_KEY).arg(QUEUE).arg(PREFIX).arg(CLIENT).arg(1).arg(HOUR);
    match delivered {
        Some(id) => pop.arg(1).arg(ticket - 1).arg(id),
        None => pop.arg(0),
    };
    pop.arg(ticket).arg("wait").arg(1);
    pop
}
