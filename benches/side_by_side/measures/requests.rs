//! A request and its reply, beside the same by hand: a send, and a receive on a new `?` channel of the caller's. And how requests under
//! way at once share calls.

use std::time::{Duration, Instant};

use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ChannelName, PackedMessage, RedisChannelLayer, Request, Value,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::all_of;
use crate::Result;
use crate::bench::Bench;
use crate::meter::Slice;
use crate::report::{Goal, Line};

const ONE_BY_ONE: usize = 200;
const AT_ONCE: usize = 256;
const EACH: usize = 8;
const WORKERS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);
const TEXT_BYTES: usize = 200;

/// A figure of a slice.
type Figure = fn(&Slice) -> f64;

#[derive(Serialize, Deserialize)]
struct ByHand {
    message: String,
    reply_channel: ChannelName,
}

/// What a caller is given.
#[derive(Clone, Copy)]
enum Way {
    Request,
    ByHand,
}

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let (caller, worker) = (bench.layer().await?, bench.layer().await?);
    let mut working = JoinSet::new();
    for _ in 0..WORKERS {
        working.spawn(answer(worker.clone()));
    }
    let (mut one_by_one, mut at_once) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in bench.rounds(20, 2) {
        for (way, (one_by_one, at_once)) in
            [Way::Request, Way::ByHand].into_iter().zip(one_by_one.iter_mut().zip(&mut at_once))
        {
            let asking = async {
                let mut latencies = Vec::with_capacity(ONE_BY_ONE);
                for _ in 0..ONE_BY_ONE {
                    let started = Instant::now();
                    ask(&caller, way).await?;
                    latencies.push(started.elapsed());
                }
                Ok(latencies)
            };
            one_by_one.push(bench.meter.slice(ONE_BY_ONE, asking).await?);
            let asking = (0..AT_ONCE).map(|_| {
                let caller = caller.clone();
                async move {
                    for _ in 0..EACH {
                        ask(&caller, way).await?;
                    }
                    Ok(())
                }
            });
            let asking = async { all_of(asking).await.map(|()| Vec::new()) };
            at_once.push(bench.meter.slice(AT_ONCE * EACH, asking).await?);
        }
    }
    working.shutdown().await;
    caller.close().await?;
    worker.close().await?;

    let mut lines = Vec::new();
    for (what, [ours, by_hand]) in [("1 request at a time", one_by_one), ("256 requests at once", at_once)] {
        // The first round warms up.
        let [ours, by_hand] = [ours, by_hand].map(|slices| slices.into_iter().skip(1).collect::<Vec<_>>());
        let line = |figure: &str| bench.line(&format!("{what}: {figure}"), "send, receive on a ?");
        let figures: [(&str, Figure); 4] = [
            ("commands", Slice::commands_per_message),
            ("script µs", Slice::script_us_per_message),
            ("server µs", Slice::server_us_per_message),
            ("client µs", Slice::client_us_per_message),
        ];
        for (name, figure) in figures {
            let goal = (name == "commands").then_some(Goal::AtMost(1.05));
            lines.push(line(name).compare(&ours, &by_hand, figure).goal(goal));
        }
        if what.starts_with('1') {
            lines.push(line("p50 µs").compare(&ours, &by_hand, |slice| slice.percentile_us(0.5)));
        } else {
            lines.push(line("per s").compare(&ours, &by_hand, Slice::per_second));
        }
    }
    Ok(lines)
}

async fn ask(caller: &RedisChannelLayer, way: Way) -> Result<()> {
    let message = "x".repeat(TEXT_BYTES);
    match way {
        Way::Request => {
            let _: Value = caller.request("bench.requests", message, TIMEOUT).await?;
        }
        Way::ByHand => {
            let reply_channel = caller.new_channel("bench.requests?")?;
            caller.send("bench.requests", ByHand { message, reply_channel: reply_channel.clone() }).await?;
            let reply = caller.receive_timeout::<Value>(reply_channel, TIMEOUT).await?;
            reply.ok_or("a reply is missing")?;
        }
    }
    Ok(())
}

/// A worker, which is the same for both: it sends to whichever channel it is told.
async fn answer(worker: RedisChannelLayer) -> asgi_redis::Result<()> {
    loop {
        let request: Request<String> = worker.receive_request("bench.requests").await?;
        let reply = PackedMessage::pack(&request.message)?;
        worker.send_packed(request.reply_channel(), reply).await?;
    }
}
