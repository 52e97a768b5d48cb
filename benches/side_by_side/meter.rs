//! What a slice of work took: its time, what the server counted meanwhile, and the CPU time of both sides.
//!
//! The server's are differences of `INFO` before and after: CPU time is `used_cpu_user + used_cpu_sys`, reads are
//! `total_reads_processed`, commands those of `commandstats` that clients send, which leaves out what scripts call.
//! Script time is what `commandstats` says of `evalsha`. The client's CPU time is that of the one thread on which the
//! measuring program runs, and of the main threads of the processes that it has started.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use asgi_redis::scripts;
use redis::aio::MultiplexedConnection;

use crate::Result;

/// Counts around slices of work.
pub(crate) struct Meter {
    connection: MultiplexedConnection,
    /// What does not count as a command that clients send.
    uncounted: HashSet<String>,
    /// Processes whose CPU time counts as the client's.
    processes: Vec<u32>,
}

/// Some messages, one after another or at once.
pub(crate) struct Slice {
    messages: f64,
    elapsed: Duration,
    /// Of each message that was timed by itself, in order of length.
    latencies: Vec<Duration>,
    commands: f64,
    reads: f64,
    server_us: f64,
    script_us: f64,
    client_us: Option<f64>,
}

#[derive(Clone, Copy)]
struct Counts {
    commands: f64,
    reads: f64,
    server_us: f64,
    script_us: f64,
    client_us: Option<f64>,
}

impl Meter {
    pub(crate) fn new(connection: MultiplexedConnection) -> Self {
        let mut uncounted: HashSet<String> =
            scripts::all().iter().flat_map(|script| called_by(script)).collect();
        // Ours, for counting.
        uncounted.insert("info".to_owned());
        Self { connection, uncounted, processes: Vec::new() }
    }

    /// Counts the CPU time of these processes too from now on.
    pub(crate) fn count_processes(&mut self, processes: Vec<u32>) {
        self.processes = processes;
    }

    /// Does some work, which gives the time of each message if it knows them.
    pub(crate) async fn slice(
        &mut self,
        messages: usize,
        work: impl Future<Output = Result<Vec<Duration>>>,
    ) -> Result<Slice> {
        let before = self.counts().await?;
        let started = Instant::now();
        let mut latencies = work.await?;
        let elapsed = started.elapsed();
        // Read first, because asking the server costs both sides.
        let client_us = self.client_us();
        let after = self.counts().await?;
        latencies.sort_unstable();
        Ok(Slice {
            messages: count(messages),
            elapsed,
            latencies,
            commands: after.commands - before.commands,
            // One of them asked for these counts.
            reads: after.reads - before.reads - 1.0,
            server_us: after.server_us - before.server_us,
            script_us: after.script_us - before.script_us,
            client_us: client_us.zip(before.client_us).map(|(after, before)| after - before),
        })
    }

    async fn counts(&mut self) -> Result<Counts> {
        let mut info = redis::cmd("INFO");
        info.arg("stats").arg("commandstats").arg("cpu");
        let text: String = info.query_async(&mut self.connection).await?;
        let field = |name: &str| -> Result<f64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(value.ok_or(format!("the server's INFO has no {name}"))?.trim().parse()?)
        };
        let commands = text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = rest.split(',').next()?.parse::<f64>().ok()?;
            (!self.uncounted.contains(name)).then_some(calls)
        });
        let script_us = text.lines().find_map(|line| {
            let (_, rest) = line.strip_prefix("cmdstat_evalsha:")?.split_once("usec=")?;
            rest.split(',').next()?.parse::<f64>().ok()
        });
        Ok(Counts {
            commands: commands.sum(),
            reads: field("total_reads_processed")?,
            server_us: 1e6 * (field("used_cpu_user")? + field("used_cpu_sys")?),
            script_us: script_us.unwrap_or_default(),
            client_us: self.client_us(),
        })
    }

    fn client_us(&self) -> Option<f64> {
        let processes = self.processes.iter().map(|process| cpu_us(&process.to_string()));
        std::iter::once(cpu_us("thread-self")).chain(processes).sum()
    }

    /// Does some work; says how long the server was in each call of a script meanwhile.
    pub(crate) async fn times_of_calls(
        &mut self,
        script: &str,
        work: impl Future<Output = Result<()>>,
    ) -> Result<Vec<Duration>> {
        const MAX_CALLS: usize = 10_000;
        let sha = scripts::get(script).ok_or("there is no such script")?.sha();
        self.configure("slowlog-max-len", &MAX_CALLS.to_string()).await?;
        self.configure("slowlog-log-slower-than", "0").await?;
        let () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut self.connection).await?;
        work.await?;
        let calls: Vec<Vec<redis::Value>> =
            redis::cmd("SLOWLOG").arg("GET").arg(MAX_CALLS).query_async(&mut self.connection).await?;
        self.configure("slowlog-log-slower-than", "-1").await?;
        // Number, time of day, duration, arguments, and who called.
        let times = calls.into_iter().filter_map(|call| match call.get(2..4)? {
            [redis::Value::Int(us), redis::Value::Array(arguments)] => {
                let is_ours =
                    matches!(arguments.get(1), Some(redis::Value::BulkString(arg)) if arg == sha.as_bytes());
                is_ours.then(|| Some(Duration::from_micros(u64::try_from(*us).ok()?)))?
            }
            _ => None,
        });
        Ok(times.collect())
    }

    async fn configure(&mut self, option: &str, value: &str) -> Result<()> {
        let mut config = redis::cmd("CONFIG");
        Ok(config.arg("SET").arg(option).arg(value).query_async(&mut self.connection).await?)
    }
}

impl Slice {
    pub(crate) fn per_second(&self) -> f64 {
        self.messages / self.elapsed.as_secs_f64()
    }

    /// The time under which this share of the messages stayed.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let place = (share * count(self.latencies.len())).ceil() as usize;
        self.latencies.get(place.saturating_sub(1)).map_or(f64::NAN, |latency| microseconds(*latency))
    }

    pub(crate) fn mean_us(&self) -> f64 {
        self.latencies.iter().copied().map(microseconds).sum::<f64>() / count(self.latencies.len())
    }

    pub(crate) fn commands(&self) -> f64 {
        self.commands
    }

    pub(crate) fn commands_per_message(&self) -> f64 {
        self.commands / self.messages
    }

    pub(crate) fn reads_per_message(&self) -> f64 {
        self.reads / self.messages
    }

    pub(crate) fn server_us_per_message(&self) -> f64 {
        self.server_us / self.messages
    }

    pub(crate) fn script_us_per_message(&self) -> f64 {
        self.script_us / self.messages
    }

    pub(crate) fn client_us_per_message(&self) -> f64 {
        self.client_us.map_or(f64::NAN, |us| us / self.messages)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

pub(crate) fn microseconds(duration: Duration) -> f64 {
    1e6 * duration.as_secs_f64()
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

/// The names of the commands that a script calls, in lower case.
fn called_by(script: &scripts::Script) -> impl Iterator<Item = String> {
    let calls = script.source().split("call('").skip(1);
    calls.filter_map(|rest| Some(rest.split_once('\'')?.0.to_lowercase()))
}

/// The CPU time of a thread, or of the main thread of a process, where Linux tells it.
fn cpu_us(thread: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e3)
}
