//! One send at a time, beside `RPUSH` and beside the least script that does it.

use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelName};

use crate::Result;
use crate::bench::{Bench, message, queue_key};
use crate::meter::Slice;
use crate::placement::Placement;
use crate::report::{Goal, Line};

const MESSAGES: usize = 250;

/// What the sends find: to an empty queue the layer looks for waiting receivers, and the server makes a list.
#[derive(Clone, Copy, PartialEq)]
enum Queue {
    HasMessages,
    IsEmpty,
}

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for queue in [Queue::HasMessages, Queue::IsEmpty] {
        let [ours, push, script] = rounds(bench, queue).await?;
        let to = match queue {
            Queue::HasMessages => "lone send",
            Queue::IsEmpty => "lone send to an empty queue",
        };
        // What a script costs beside RPUSH is not ours to change, and weighs more where no wake-up hides it.
        let beside_push = (bench.placement != Placement::One).then_some(Goal::AtMost(1.2));
        let beside_script = Some(Goal::AtMost(1.1));
        for (beside, floor, goal) in
            [("RPUSH", &push, beside_push), ("EVALSHA{RPUSH}", &script, beside_script)]
        {
            let p50 = |slice: &Slice| slice.percentile_us(0.5);
            lines.push(bench.line(&format!("{to}: p50 µs"), beside).compare(&ours, floor, p50).goal(goal));
            lines.push(bench.line(&format!("{to}: mean µs"), beside).compare(&ours, floor, Slice::mean_us));
        }
    }
    Ok(lines)
}

async fn rounds(bench: &mut Bench, queue: Queue) -> Result<[Vec<Slice>; 3]> {
    let layer = bench.layer().await?;
    let message = message();
    let distinct = match queue {
        Queue::HasMessages => 1,
        Queue::IsEmpty => MESSAGES,
    };
    let names = |kind: &str| (0..distinct).map(|number| format!("bench.lone.{kind}{number}")).collect();
    let (names, push_keys, script_keys): (Vec<String>, Vec<String>, Vec<String>) =
        (names("ours"), names("push"), names("script"));
    let channels = names.iter().map(|name| name.parse()).collect::<asgi_redis::Result<Vec<ChannelName>>>()?;
    let our_keys: Vec<String> = names.iter().map(|name| queue_key(name)).collect();
    let raw = bench.raw.clone();

    let [mut ours, mut push, mut script] = [const { Vec::new() }; 3];
    for _ in bench.rounds(30, 3) {
        let send =
            one_by_one(&channels, async |channel| Ok(layer.send_packed(channel, message.clone()).await?));
        ours.push(bench.meter.slice(MESSAGES, send).await?);
        let send = one_by_one(&push_keys, async |key| raw.push(key, message.as_bytes()).await);
        push.push(bench.meter.slice(MESSAGES, send).await?);
        let send = one_by_one(&script_keys, async |key| raw.push_by_script(key, message.as_bytes()).await);
        script.push(bench.meter.slice(MESSAGES, send).await?);
        for keys in [&our_keys, &push_keys, &script_keys] {
            match (queue, keys.first()) {
                (Queue::HasMessages, Some(key)) => raw.shorten(key).await?,
                _ => raw.remove(keys).await?,
            }
        }
    }
    layer.close().await?;
    for keys in [our_keys, push_keys, script_keys] {
        raw.remove(&keys).await?;
    }
    // The first round warms up, and fills what shall have messages.
    Ok([ours, push, script].map(|slices| slices.into_iter().skip(1).collect()))
}

/// Sends to each target in turn; says how long each took.
async fn one_by_one<T>(targets: &[T], mut send: impl AsyncFnMut(&T) -> Result<()>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(MESSAGES);
    for target in targets.iter().cycle().take(MESSAGES) {
        let started = Instant::now();
        send(target).await?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}
