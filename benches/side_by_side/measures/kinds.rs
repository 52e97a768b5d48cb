//! One send at a time to the channels whose order counts, `?` and `!`, beside one to a normal channel.

use std::time::Instant;

use asgi_redis::{ChannelLayer, ChannelName};

use crate::Result;
use crate::bench::{Bench, message, queue_key};
use crate::meter::Slice;
use crate::report::Line;

const MESSAGES: usize = 250;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let (layer, owner) = (bench.layer().await?, bench.layer().await?);
    // It has no mailbox, so nothing is read from it.
    let inbox = owner.open_inbox("bench.kinds").await?;
    let channels: [ChannelName; 3] = [
        "bench.kinds".parse()?,
        layer.new_channel("bench.kinds?")?,
        format!("{}address", inbox.name()).parse()?,
    ];
    let mut slices = [const { Vec::new() }; 3];
    for _ in bench.rounds(30, 3) {
        for (channel, slices) in channels.iter().zip(&mut slices) {
            let sends = async {
                let mut latencies = Vec::with_capacity(MESSAGES);
                for _ in 0..MESSAGES {
                    let started = Instant::now();
                    layer.send_packed(channel, message()).await?;
                    latencies.push(started.elapsed());
                }
                Ok(latencies)
            };
            slices.push(bench.meter.slice(MESSAGES, sends).await?);
            bench.raw.shorten(&queue_key(channel.queue())).await?;
        }
    }
    inbox.close().await;
    bench.raw.remove(&channels.map(|channel| queue_key(channel.queue()))).await?;
    layer.close().await?;
    owner.close().await?;

    // The first round warms up.
    let [normal, single_reader, mailbox] =
        slices.map(|slices| slices.into_iter().skip(1).collect::<Vec<_>>());
    let mut lines = Vec::new();
    for (kind, ours) in [("?", &single_reader), ("!", &mailbox)] {
        let line =
            |figure: &str| bench.line(&format!("lone send to a {kind} channel: {figure}"), "normal channel");
        lines.push(line("script µs").compare(ours, &normal, Slice::script_us_per_message));
        lines.push(line("p50 µs").compare(ours, &normal, |slice| slice.percentile_us(0.5)));
    }
    Ok(lines)
}
