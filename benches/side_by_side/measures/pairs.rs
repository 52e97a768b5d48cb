//! Layers that differ in one thing, measured by turns: each is a sender and a receiver, as two programs would have them.

use asgi_redis::{ChannelLayer, ChannelName, RedisChannelLayer};

use super::blocked_receive::{FEW_MESSAGES, MESSAGES, Receiver, Source};
use super::throughput::Load;
use crate::Result;
use crate::bench::{Bench, message};
use crate::meter::Slice;

/// One of those that are measured beside each other.
pub(super) struct Pair {
    pub(super) sender: RedisChannelLayer,
    pub(super) receiver: RedisChannelLayer,
}

/// From a send to its arrival at a receive that waits, without the first round, which warms up.
pub(super) async fn blocked<const N: usize>(bench: &mut Bench, pairs: &[Pair; N]) -> Result<[Vec<Slice>; N]> {
    let message = message();
    let each = if bench.quick { FEW_MESSAGES } else { MESSAGES };
    let mut receivers = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let channel: ChannelName = format!("bench.pairs.{number}").parse()?;
        let source = Source::Layer(pair.receiver.clone(), vec![channel.clone()]);
        receivers.push((channel, Receiver::start(source)));
    }
    let mut slices = [const { Vec::new() }; N];
    for round in bench.rounds(12, 2) {
        for ((pair, (channel, receiver)), slices) in pairs.iter().zip(&mut receivers).zip(&mut slices) {
            let send = receiver
                .latencies(each, async || Ok(pair.sender.send_packed(channel, message.clone()).await?));
            let slice = bench.meter.slice(each, send).await?;
            if round > 0 {
                slices.push(slice);
            }
        }
    }
    Ok(slices)
}

/// One sender and one receiver, and many.
pub(super) fn loads(bench: &Bench) -> [Load; 2] {
    let each = if bench.quick { 200 } else { 1000 };
    [Load { senders: 1, receivers: 1, each }, Load { senders: 64, receivers: 8, each: 64 }]
}

/// As fast as it goes, without the first round, which warms up.
pub(super) async fn throughput<const N: usize>(
    bench: &mut Bench,
    pairs: &[Pair; N],
    load: &Load,
) -> Result<[Vec<Slice>; N]> {
    let channel: ChannelName = "bench.pairs".parse()?;
    let mut slices = [const { Vec::new() }; N];
    for round in bench.rounds(10, 2) {
        for (Pair { sender, receiver }, slices) in pairs.iter().zip(&mut slices) {
            let slice = bench.meter.slice(load.messages(), load.through(sender, receiver, &channel)).await?;
            if round > 0 {
                slices.push(slice);
            }
        }
    }
    Ok(slices)
}

pub(super) async fn close<const N: usize>(pairs: [Pair; N]) -> Result<()> {
    for Pair { sender, receiver } in pairs {
        sender.close().await?;
        receiver.close().await?;
    }
    Ok(())
}
