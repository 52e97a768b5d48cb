//! A layer over several servers beside one over a single one: what a normal channel costs when it lives on all of them.
//!
//! The servers share the core of the one: what more of them could do at once is not seen here, what they cost is.

use asgi_redis::{ChannelLayer, ChannelName, RedisChannelLayer};

use super::blocked_receive::{FEW_MESSAGES, MESSAGES, Receiver, Source};
use super::throughput::Load;
use crate::Result;
use crate::bench::{Bench, message};
use crate::compare::Compared;
use crate::meter::Slice;
use crate::report::{Goal, Line};

const CHANNEL: &str = "bench.hosts";

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let [one, two, eight] = blocked(bench).await?;
    for (hosts, slices) in [(2, &two), (8, &eight)] {
        for (figure, share, goal) in [("p50", 0.5, None), ("p99", 0.99, Some(Goal::AtMost(1.5)))] {
            let name = format!("blocked receive, {hosts} hosts: {figure} µs");
            let compared = Compared::new(slices, &one, |slice| slice.percentile_us(share));
            lines.push(line(bench, &name, &compared).goal(goal));
        }
    }
    for load in [Load { senders: 1, receivers: 1, each: 1000 }, Load { senders: 64, receivers: 8, each: 64 }]
    {
        let name = format!("send to receive, 2 hosts, {} x {}: per s", load.senders, load.receivers);
        let [one, two] = throughput(bench, &load).await?;
        lines.push(line(bench, &name, &Compared::new(&two, &one, Slice::per_second)));
    }
    Ok(lines)
}

/// Without what it costs, which is counted on one server only.
fn line(bench: &Bench, name: &str, compared: &Compared) -> Line {
    bench.line(name, "1 host").ours(compared.ours).floor(compared.floor).ratio(compared.ratio)
}

/// From a send to its arrival at a receive that waits, over 1, 2 and 8 servers by turns.
async fn blocked(bench: &mut Bench) -> Result<[Vec<Slice>; 3]> {
    let message = message();
    let each = if bench.quick { FEW_MESSAGES } else { MESSAGES };
    let mut sides = Vec::new();
    let mut receivers = Vec::new();
    for hosts in [1, 2, 8] {
        let (sender, receiver) = (bench.layer_over(hosts).await?, bench.layer_over(hosts).await?);
        let channel: ChannelName = format!("{CHANNEL}.{hosts}").parse()?;
        receivers.push((channel.clone(), Receiver::start(Source::Layer(receiver.clone(), vec![channel]))));
        sides.push((sender, receiver));
    }
    let mut slices = [Vec::new(), Vec::new(), Vec::new()];
    for round in bench.rounds(12, 2) {
        for (((sender, _), (channel, receiver)), slices) in sides.iter().zip(&mut receivers).zip(&mut slices)
        {
            let send =
                receiver.latencies(each, async || Ok(sender.send_packed(channel, message.clone()).await?));
            let slice = bench.meter.slice(each, send).await?;
            // The first round warms up.
            if round > 0 {
                slices.push(slice);
            }
        }
    }
    drop(receivers);
    close(sides).await?;
    Ok(slices)
}

/// As fast as it goes, over 1 and 2 servers by turns.
async fn throughput(bench: &mut Bench, load: &Load) -> Result<[Vec<Slice>; 2]> {
    let channel: ChannelName = CHANNEL.parse()?;
    let mut sides = Vec::new();
    for hosts in [1, 2] {
        sides.push((bench.layer_over(hosts).await?, bench.layer_over(hosts).await?));
    }
    let mut slices = [Vec::new(), Vec::new()];
    for round in bench.rounds(10, 2) {
        for ((sender, receiver), slices) in sides.iter().zip(&mut slices) {
            let slice = bench.meter.slice(load.messages(), load.through(sender, receiver, &channel)).await?;
            if round > 0 {
                slices.push(slice);
            }
        }
    }
    close(sides).await?;
    Ok(slices)
}

async fn close(sides: Vec<(RedisChannelLayer, RedisChannelLayer)>) -> Result<()> {
    for (sender, receiver) in sides {
        sender.close().await?;
        receiver.close().await?;
    }
    Ok(())
}
