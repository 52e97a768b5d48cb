//! What blocked receives cost while nothing arrives: the commands of a process with 1 and with 10,000 of them.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelName};
use tokio::task::JoinSet;

use crate::Result;
use crate::bench::{Bench, DEFAULT_LEASE};
use crate::report::{Goal, Line};

/// The shortest: commands per lease are the same for every lease, so they are counted over a few short ones.
const SHORT_LEASE: Duration = Duration::from_secs(1);
const SHORT_LEASES: u32 = 3;
/// In which all begin to wait.
const SETTLING: Duration = Duration::from_millis(500);
/// How long a count over leases of the default length takes.
const FULL_COUNT: Duration = Duration::from_secs(21);
const TEN_SECONDS: f64 = 10.0;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if !bench.is_first {
        return Ok(lines);
    }
    for (receives, goal) in [(1, 1.0), (10_000, 1000.0)] {
        let counted = if bench.full_idle { "counted 21 s" } else { "extrapolated" };
        let line = bench.line(&format!("{receives} idle: commands in 10 s"), counted);
        lines.push(line.ours(commands_in_ten_seconds(bench, receives).await?).goal(Some(Goal::AtMost(goal))));
    }
    Ok(lines)
}

async fn commands_in_ten_seconds(bench: &mut Bench, receives: usize) -> Result<f64> {
    let (lease, time) = match (bench.full_idle, bench.quick) {
        (true, _) => (DEFAULT_LEASE, FULL_COUNT),
        (false, false) => (SHORT_LEASE, SHORT_LEASE * SHORT_LEASES),
        (false, true) => (SHORT_LEASE, SHORT_LEASE),
    };
    let layer = bench.layer_with_lease(lease).await?;
    let mut waiting = JoinSet::new();
    for number in 0..receives {
        let channels: [ChannelName; 1] = [format!("bench.idle.{number}").parse()?];
        let layer = layer.clone();
        waiting.spawn(async move { layer.receive_packed(&channels).await.map(drop) });
    }
    tokio::time::sleep(SETTLING).await;
    let idle = async {
        tokio::time::sleep(time).await;
        Ok(Vec::new())
    };
    let slice = bench.meter.slice(receives, idle).await?;
    let leases = slice.elapsed().as_secs_f64() / lease.as_secs_f64();
    waiting.abort_all();
    layer.close().await?;
    Ok(slice.commands() / leases * TEN_SECONDS / DEFAULT_LEASE.as_secs_f64())
}
