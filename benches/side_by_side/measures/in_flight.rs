//! 256 senders at once, beside as many calls of the least script and of one with the layer's checks, and beside
//! `redis-benchmark`.

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
        let Rounds { ours, script, checked, benchmark } = rounds(bench, queues).await?;
        let [server, rate] = ["server µs", "per s"].map(|figure| format!("256 in flight, {to}: {figure}"));
        let goal = Some(Goal::AtMost(0.3));
        for (beside, floor, goal) in [("EVALSHA{RPUSH}", &script, goal), ("EVALSHA{4 calls}", &checked, None)]
        {
            let line = bench.line(&server, beside);
            lines.push(line.compare(&ours, floor, Slice::server_us_per_message).goal(goal));
            lines.push(bench.line(&rate, beside).compare(&ours, floor, Slice::per_second));
        }
        if queues > 1 {
            continue;
        }
        lines.push(match benchmark {
            Some(rates) => {
                let ratios = ours.iter().zip(&rates).map(|(ours, rate)| ours.per_second() / rate).collect();
                let line = bench.line(&rate, "redis-benchmark");
                line.ours(median(&ours, Slice::per_second))
                    .floor(Ratio::new(rates).median)
                    .ratio(Ratio::new(ratios))
                    .goal(Some(Goal::AtLeast(2.5)))
            }
            None => bench.line(&rate, "no redis-benchmark"),
        });
    }
    Ok(lines)
}

struct Rounds {
    ours: Vec<Slice>,
    script: Vec<Slice>,
    checked: Vec<Slice>,
    /// Rates of `redis-benchmark`, if it is there.
    benchmark: Option<Vec<f64>>,
}

async fn rounds(bench: &mut Bench, queues: usize) -> Result<Rounds> {
    let layer = bench.layer().await?;
    let message = message();
    let name = |queue: usize| format!("bench.flight.{queue}");
    let channels: Arc<[ChannelName]> =
        (0..queues).map(|queue| name(queue).parse()).collect::<asgi_redis::Result<_>>()?;
    let keys: Arc<[String]> = (0..queues).map(name).collect();
    let our_keys: Vec<String> = keys.iter().map(|name| queue_key(name)).collect();
    let raw = bench.raw.clone();

    let [mut ours, mut script, mut checked] = [const { Vec::new() }; 3];
    let mut benchmark = Some(Vec::new());
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
            benchmark = match (benchmark, redis_benchmark(bench, &keys, message.as_bytes())?) {
                (Some(mut rates), Some(rate)) => {
                    rates.push(rate);
                    Some(rates)
                }
                _ => None,
            };
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
    Ok(Rounds { ours, script, checked, benchmark })
}

/// The rate of `redis-benchmark` with the least script, if that program is there.
fn redis_benchmark(bench: &Bench, keys: &[String], message: &[u8]) -> Result<Option<f64>> {
    const MESSAGES: &str = "20000";
    let Some(key) = keys.first() else { return Ok(None) };
    let mut command = Command::new("redis-benchmark");
    match bench.url.strip_prefix("redis+unix://").and_then(|rest| rest.split('?').next()) {
        Some(socket) => command.args(["-s", socket]),
        None => command.args(["-u", &bench.url]),
    };
    command.args(["-P", "64", "-c", "8", "-n", MESSAGES, "--csv", "EVALSHA", bench.raw.push_sha(), "1", key]);
    let Ok(output) = command.arg(std::str::from_utf8(message)?).output() else { return Ok(None) };
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("\"EVALSHA")?.split_once("\",\"")?;
        rest.split('"').next()?.parse().ok()
    });
    rate.map(Some).ok_or_else(|| format!("cannot read what redis-benchmark wrote: {text}").into())
}
