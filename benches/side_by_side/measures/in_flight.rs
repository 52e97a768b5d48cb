//! 256 senders at once, beside as many calls of the least script, and of one that bounds its queue and lets it expire as
//! one writes it without the layer; and beside `redis-benchmark` with both scripts.

use std::process::Command;
use std::sync::Arc;

use asgi_redis::{ChannelLayer, ChannelName};

use super::all_of;
use crate::Result;
use crate::bench::{Bench, message, queue_key};
use crate::compare::{Ratio, median};
use crate::meter::Slice;
use crate::report::{Goal, Line};

const SENDERS: usize = 256;
const MESSAGES_EACH: usize = 20;
const MESSAGES: usize = SENDERS * MESSAGES_EACH;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for queues in [1, 64] {
        let to = if queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") };
        let Rounds { ours, script, checked, benchmarks } = rounds(bench, queues).await?;
        let [server, rate] = ["server µs", "per s"].map(|figure| format!("256 in flight, {to}: {figure}"));
        for (beside, floor) in [("EVALSHA{RPUSH}", &script), ("EVALSHA{4 calls}", &checked)] {
            let line = bench.line(&server, beside);
            let line = line.compare(&ours, floor, Slice::server_us_per_message);
            lines.push(line.goal(Some(Goal::AtMost(0.3))));
            lines.push(bench.line(&rate, beside).compare(&ours, floor, Slice::per_second));
        }
        if queues > 1 {
            continue;
        }
        for (beside, rates) in
            [("redis-benchmark", &benchmarks.script), ("the same, 4 calls", &benchmarks.checked)]
        {
            let line = bench.line(&rate, beside);
            lines.push(if rates.is_empty() {
                bench.line(&rate, "no redis-benchmark")
            } else {
                let ratios = ours.iter().zip(rates).map(|(ours, rate)| ours.per_second() / rate).collect();
                line.ours(median(&ours, Slice::per_second))
                    .floor(Ratio::new(rates.clone()).median)
                    .ratio(Ratio::new(ratios))
                    .goal(Some(Goal::AtLeast(2.5)))
            });
        }
    }
    Ok(lines)
}

struct Rounds {
    ours: Vec<Slice>,
    script: Vec<Slice>,
    checked: Vec<Slice>,
    benchmarks: Rates,
}

/// Rates of `redis-benchmark` with both scripts; none if it is not there.
#[derive(Default)]
struct Rates {
    script: Vec<f64>,
    checked: Vec<f64>,
}

async fn rounds(bench: &mut Bench, queues: usize) -> Result<Rounds> {
    const KEY: &str = "bench.flight.benchmark";
    let layer = bench.layer().await?;
    let message = message();
    let name = |queue: usize| format!("bench.flight.{queue}");
    let channels: Arc<[ChannelName]> =
        (0..queues).map(|queue| name(queue).parse()).collect::<asgi_redis::Result<_>>()?;
    let keys: Arc<[String]> = (0..queues).map(name).collect();
    let our_keys: Vec<String> = keys.iter().map(|name| queue_key(name)).collect();
    let raw = bench.raw.clone();

    let [mut ours, mut script, mut checked] = [const { Vec::new() }; 3];
    let mut benchmarks = Rates::default();
    for round in bench.rounds(20, 3) {
        let senders = (0..SENDERS).map(|sender| {
            let (layer, channels, message) = (layer.clone(), Arc::clone(&channels), message.clone());
            async move {
                for channel in channels.iter().cycle().skip(sender % queues).take(MESSAGES_EACH) {
                    layer.send_packed(channel, message.clone()).await?;
                }
                Ok(())
            }
        });
        ours.push(bench.meter.slice(MESSAGES, async { all_of(senders).await.map(|()| Vec::new()) }).await?);
        for (slices, is_checked) in [(&mut script, false), (&mut checked, true)] {
            let senders = (0..SENDERS).map(|sender| {
                let (raw, keys, message) = (raw.clone(), Arc::clone(&keys), message.clone());
                async move {
                    for key in keys.iter().cycle().skip(sender % queues).take(MESSAGES_EACH) {
                        if is_checked {
                            raw.checked_push(key, message.as_bytes()).await?;
                        } else {
                            raw.push_by_script(key, message.as_bytes()).await?;
                        }
                    }
                    Ok(())
                }
            });
            slices.push(
                bench.meter.slice(MESSAGES, async { all_of(senders).await.map(|()| Vec::new()) }).await?,
            );
            for key in &*keys {
                raw.shorten(key).await?;
            }
        }
        if queues == 1 && round > 0 {
            let [push, checked_push] = raw.script_pushes(KEY, std::str::from_utf8(message.as_bytes())?);
            benchmarks.script.extend(redis_benchmark(bench, &push)?);
            benchmarks.checked.extend(redis_benchmark(bench, &checked_push)?);
            raw.remove(&[KEY.to_owned()]).await?;
        }
        for key in our_keys.iter().chain(&*keys) {
            raw.shorten(key).await?;
        }
    }
    layer.close().await?;
    raw.remove(&our_keys).await?;
    raw.remove(&keys).await?;
    // The first round warms up.
    for slices in [&mut ours, &mut script, &mut checked] {
        slices.remove(0);
    }
    Ok(Rounds { ours, script, checked, benchmarks })
}

/// The rate of `redis-benchmark` with a command, if that program is there.
fn redis_benchmark(bench: &Bench, arguments: &[String]) -> Result<Option<f64>> {
    const MESSAGES: &str = "20000";
    let mut command = Command::new("redis-benchmark");
    match bench.url.strip_prefix("redis+unix://").and_then(|rest| rest.split('?').next()) {
        Some(socket) => command.args(["-s", socket]),
        None => command.args(["-u", &bench.url]),
    };
    command.args(["-P", "64", "-c", "8", "-n", MESSAGES, "--csv"]).args(arguments);
    let Ok(output) = command.output() else { return Ok(None) };
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("\"EVALSHA")?.split_once("\",\"")?;
        rest.split('"').next()?.parse().ok()
    });
    rate.map(Some).ok_or_else(|| format!("cannot read what redis-benchmark wrote: {text}").into())
}
