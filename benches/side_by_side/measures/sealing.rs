//! What encryption costs: sealing and opening by themselves, and the layer with keys beside itself without, from senders
//! to receivers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use asgi_redis::internals::{HiddenNames, Seal};
use asgi_redis::{ChannelLayer, ChannelName, ConfigBuilder, PackedMessage, RedisChannelLayer};

use super::all_of;
use crate::Result;
use crate::bench::{Bench, CAPACITY, EXPIRY};
use crate::compare::Ratio;
use crate::meter::{Slice, count, microseconds};
use crate::report::Line;

const KEY: &str = "a key of thirty-two bytes or more";
const OLD_KEY: &str = "an old key of thirty-two bytes or more";
const NAME_KEY: &str = "a key of names, thirty-two bytes or more";
const SIZES: [(&str, usize); 3] = [("200 bytes", 200), ("10 KB", 10_000), ("1 MB", 1_000_000)];

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    // The processor alone, wherever the server runs.
    if bench.is_first {
        for (name, bytes) in SIZES {
            lines.extend(alone(bench, name, bytes)?);
        }
        lines.extend(names(bench));
    }
    for (name, bytes) in SIZES {
        let messages = (4_000_000 / (bytes + 6_000)).max(8);
        let load = Load { bytes, senders: 8, receivers: 8, each: messages.div_ceil(8) };
        lines.extend(layers(bench, name, "keys", &load, |options| options).await?);
        if bytes == 200 {
            let hide = |options: ConfigBuilder| options.hide_names(NAME_KEY);
            lines.extend(layers(bench, name, "hidden names", &load, hide).await?);
        }
    }
    Ok(lines)
}

/// Sealing, and opening by the first of two keys and by the second.
fn alone(bench: &Bench, name: &str, bytes: usize) -> Result<Vec<Line>> {
    let (ours, old) = (Seal::new(&[KEY, OLD_KEY]), Seal::new(&[OLD_KEY]));
    let (queue, message) = ("http.request", vec![b'x'; bytes]);
    let seal = |keys: &Seal| -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        keys.seal(&mut payload, queue, &message)?;
        Ok(payload)
    };
    let (by_first, by_second) = (seal(&ours)?, seal(&old)?);
    let opened = ours.open(&by_second, queue);
    if opened != Ok(bytes) {
        return Err(format!("what was sealed does not open: {opened:?}").into());
    }
    let rounds: Vec<[f64; 4]> = bench
        .rounds(30, 3)
        .map(|_| {
            [
                each_us(bytes, || black_box(black_box(&message).clone()).len()),
                each_us(bytes, || black_box(seal(&ours)).map_or(0, |payload| payload.len())),
                each_us(bytes, || black_box(ours.open(&by_first, queue)).map_or(0, |length| length)),
                each_us(bytes, || black_box(ours.open(&by_second, queue)).map_or(0, |length| length)),
            ]
        })
        .skip(1)
        .collect();
    let column =
        |what: usize| rounds.iter().filter_map(|round| round.get(what).copied()).collect::<Vec<f64>>();
    let floor = column(0);
    let lines = ["seal", "open", "open by the second key"].into_iter().zip(1..);
    Ok(lines
        .map(|(what, place)| {
            let ours = column(place);
            let ratio = Ratio::new(ours.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect());
            let line = bench.line(&format!("{what}, {name}: µs"), "a copy of the bytes");
            line.ours(Ratio::new(ours).median).floor(Ratio::new(floor.clone()).median).ratio(ratio)
        })
        .collect())
}

fn names(bench: &Bench) -> Vec<Line> {
    let names = HiddenNames::new(NAME_KEY);
    let hidden = names.queue("http.request.body?Xy12");
    let times = |work: &dyn Fn() -> usize| {
        let times = bench.rounds(30, 3).map(|_| each_us(200, work)).skip(1).collect();
        Ratio::new(times).median
    };
    let hide = times(&|| black_box(names.queue(black_box("http.request.body?Xy12"))).len());
    let reveal = times(&|| black_box(names.reveal_queue(black_box(&hidden))).map_or(0, |name| name.len()));
    [("hide a name: µs", hide), ("read a hidden name: µs", reveal)]
        .map(|(what, us)| bench.line(what, "-").ours(us))
        .into()
}

/// How long a piece of work on so many bytes takes: the shortest of some slices, for nothing but others prolongs it.
fn each_us(bytes: usize, work: impl Fn() -> usize) -> f64 {
    let times = (200_000 / (bytes + 400)).max(1);
    let slice = || {
        let started = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        started.elapsed()
    };
    let shortest = (0..5).map(|_| slice()).min().unwrap_or(Duration::ZERO);
    microseconds(shortest) / count(times)
}

/// What a round sends and receives.
struct Load {
    bytes: usize,
    senders: usize,
    receivers: usize,
    each: usize,
}

async fn layers(
    bench: &mut Bench,
    name: &str,
    with: &str,
    load: &Load,
    hidden: impl Fn(ConfigBuilder) -> ConfigBuilder,
) -> Result<Vec<Line>> {
    let options = ConfigBuilder::new().hosts([bench.url.as_str()]).capacity(CAPACITY).expiry(EXPIRY);
    let sealed = hidden(options.clone().prefix("bench.sealed:").symmetric_encryption_keys([KEY]));
    let ours = [sealed.connect().await?, sealed.connect().await?];
    let floor = [options.connect().await?, options.connect().await?];
    let (mut our_slices, mut floor_slices) = (Vec::new(), Vec::new());
    for _ in bench.rounds(12, 2) {
        our_slices.push(round(bench, &ours, load).await?);
        floor_slices.push(round(bench, &floor, load).await?);
    }
    for layer in ours.iter().chain(&floor) {
        if layer.seal_statistics().total() > 0 {
            return Err(format!("messages were dropped: {:?}", layer.seal_statistics()).into());
        }
        layer.close().await?;
    }
    // The first round warms up.
    our_slices.remove(0);
    floor_slices.remove(0);
    let line = |figure: &str| bench.line(&format!("{with}, {name}, 8 x 8: {figure}"), "without keys");
    Ok(vec![
        line("per s").compare(&our_slices, &floor_slices, Slice::per_second),
        line("client µs").compare(&our_slices, &floor_slices, Slice::client_us_per_message),
    ])
}

async fn round(bench: &mut Bench, layers: &[RedisChannelLayer; 2], load: &Load) -> Result<Slice> {
    let [sender, receiver] = layers;
    let channel: ChannelName = "bench.sealing".parse()?;
    let message = PackedMessage::from_bytes(vec![b'x'; load.bytes]);
    let senders = (0..load.senders).map(|_| {
        let (layer, channel, message, each) = (sender.clone(), channel.clone(), message.clone(), load.each);
        async move {
            for _ in 0..each {
                layer.send_packed(&channel, message.clone()).await?;
            }
            Ok(())
        }
    });
    let each = load.senders * load.each / load.receivers;
    let receivers = (0..load.receivers).map(|_| {
        let (layer, channels) = (receiver.clone(), [channel.clone()]);
        async move {
            for _ in 0..each {
                layer.receive_packed(&channels).await?;
            }
            Ok(())
        }
    });
    let work = async { tokio::try_join!(all_of(receivers), all_of(senders)).map(|_| Vec::new()) };
    bench.meter.slice(load.senders * load.each, work).await
}
