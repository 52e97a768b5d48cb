//! As fast as it goes from senders to receivers, beside `RPUSH` and `BLPOP`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelName, RedisChannelLayer};

use super::all_of;
use crate::Result;
use crate::bench::{Bench, message};
use crate::meter::Slice;
use crate::report::Line;

/// How many messages a round has for each sender.
pub(super) struct Load {
    pub(super) senders: usize,
    pub(super) receivers: usize,
    pub(super) each: usize,
}

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for load in [Load { senders: 1, receivers: 1, each: 1000 }, Load { senders: 64, receivers: 8, each: 64 }]
    {
        let name = format!("send to receive, {} x {}", load.senders, load.receivers);
        let (ours, floor) = rounds(bench, &load).await?;
        let line = |figure: &str| bench.line(&format!("{name}: {figure}"), "RPUSH > BLPOP");
        lines.push(line("per s").compare(&ours, &floor, Slice::per_second));
        lines.push(line("server µs").compare(&ours, &floor, Slice::server_us_per_message));
    }
    Ok(lines)
}

async fn rounds(bench: &mut Bench, load: &Load) -> Result<(Vec<Slice>, Vec<Slice>)> {
    const KEY: &str = "bench.throughput.raw";
    let (sender, receiver) = (bench.layer().await?, bench.layer().await?);
    let channel: ChannelName = "bench.throughput".parse()?;
    let message = message();
    let raw = bench.raw.clone();
    let mut blocking = Vec::new();
    for _ in 0..load.receivers {
        blocking.push(bench.raw_connection().await?);
    }
    let total = load.messages();

    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in bench.rounds(10, 2) {
        ours.push(bench.meter.slice(total, load.through(&sender, &receiver, &channel)).await?);

        let left = Arc::new(AtomicUsize::new(total));
        let receivers = blocking.iter().map(|connection| {
            let (connection, left) = (connection.clone(), Arc::clone(&left));
            async move {
                while take_one(&left) {
                    connection.blocking_pop(KEY).await?;
                }
                Ok(())
            }
        });
        let senders = (0..load.senders).map(|_| {
            let (raw, message, each) = (raw.clone(), message.clone(), load.each);
            async move {
                for _ in 0..each {
                    raw.push(KEY, message.as_bytes()).await?;
                }
                Ok(())
            }
        });
        let work = async { tokio::try_join!(all_of(receivers), all_of(senders)).map(|_| Vec::new()) };
        floor.push(bench.meter.slice(total, work).await?);
    }
    receiver.close().await?;
    sender.close().await?;
    // The first round warms up.
    ours.remove(0);
    floor.remove(0);
    Ok((ours, floor))
}

impl Load {
    pub(super) fn messages(&self) -> usize {
        self.senders * self.each
    }

    /// From the senders of one layer to the receivers of another.
    pub(super) async fn through(
        &self,
        sender: &RedisChannelLayer,
        receiver: &RedisChannelLayer,
        channel: &ChannelName,
    ) -> Result<Vec<Duration>> {
        let left = Arc::new(AtomicUsize::new(self.messages()));
        let receivers = (0..self.receivers).map(|_| {
            let (layer, channels, left) = (receiver.clone(), [channel.clone()], Arc::clone(&left));
            async move {
                while take_one(&left) {
                    layer.receive_packed(&channels).await?;
                }
                Ok(())
            }
        });
        let message = message();
        let senders = (0..self.senders).map(|_| {
            let (layer, channel, message, each) =
                (sender.clone(), channel.clone(), message.clone(), self.each);
            async move {
                for _ in 0..each {
                    layer.send_packed(&channel, message.clone()).await?;
                }
                Ok(())
            }
        });
        tokio::try_join!(all_of(receivers), all_of(senders)).map(|_| Vec::new())
    }
}

/// Whether there is one more to receive.
fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
