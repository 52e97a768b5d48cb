//! From a send to its arrival at a receive that has been waiting for it, on 1 and on 30 channels, beside `BLPOP`.

use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelName, RedisChannelLayer};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::Result;
use crate::bench::{Bench, message};
use crate::floor::Raw;
use crate::meter::Slice;
use crate::report::{Goal, Line};

/// Time for the receiver to wait again, at about 500 messages a second.
const PAUSE: Duration = Duration::from_millis(1);
pub(super) const MESSAGES: usize = 100;
pub(super) const FEW_MESSAGES: usize = 40;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let Rounds { ours, push, script } = rounds(bench).await?;
    let mut lines = Vec::new();
    for (channels, ours) in &ours {
        for (figure, share, goal) in [("p50", 0.5, 1.2), ("p99", 0.99, 1.5)] {
            for (beside, floor, goal) in
                [("RPUSH > BLPOP", &push, None), ("EVALSHA > BLPOP", &script, Some(Goal::AtMost(goal)))]
            {
                let plural = if *channels == 1 { "" } else { "s" };
                let name = format!("blocked receive, {channels} channel{plural}: {figure} µs");
                let line = bench.line(&name, beside);
                lines.push(line.compare(ours, floor, |slice| slice.percentile_us(share)).goal(goal));
            }
        }
    }
    Ok(lines)
}

struct Rounds {
    /// For each number of channels.
    ours: [(usize, Vec<Slice>); 2],
    push: Vec<Slice>,
    script: Vec<Slice>,
}

async fn rounds(bench: &mut Bench) -> Result<Rounds> {
    const PUSHED: &str = "bench.blocked.push";
    const SCRIPTED: &str = "bench.blocked.script";
    // Sender and receiver are programs of their own as a rule: each has its connection.
    let (sender, receiver) = (bench.layer().await?, bench.layer().await?);
    let message = message();
    let raw = bench.raw.clone();
    let each = if bench.quick { FEW_MESSAGES } else { MESSAGES };

    let mut ours = [(1, Vec::new()), (30, Vec::new())];
    let mut receivers = Vec::new();
    for (count, _) in &ours {
        let channels = (0..*count).map(|number| format!("bench.blocked.{count}.{number}").parse());
        let channels: Vec<ChannelName> = channels.collect::<asgi_redis::Result<_>>()?;
        let from = Source::Layer(receiver.clone(), channels.clone());
        receivers.push((channels, Receiver::start(from)));
    }
    let mut pushed = Receiver::start(Source::Raw(bench.raw_connection().await?, PUSHED));
    let mut scripted = Receiver::start(Source::Raw(bench.raw_connection().await?, SCRIPTED));

    let (mut push, mut script) = (Vec::new(), Vec::new());
    for _ in bench.rounds(12, 2) {
        for ((_, slices), (channels, receiver)) in ours.iter_mut().zip(&mut receivers) {
            let mut channels = channels.iter().cycle();
            let send = receiver.latencies(each, async || match channels.next() {
                Some(channel) => Ok(sender.send_packed(channel, message.clone()).await?),
                None => Ok(()),
            });
            slices.push(bench.meter.slice(each, send).await?);
        }
        let send = pushed.latencies(each, async || raw.push(PUSHED, message.as_bytes()).await);
        push.push(bench.meter.slice(each, send).await?);
        let send = scripted.latencies(each, async || raw.push_by_script(SCRIPTED, message.as_bytes()).await);
        script.push(bench.meter.slice(each, send).await?);
    }
    drop(receivers);
    receiver.close().await?;
    sender.close().await?;
    // The first round warms up.
    for slices in ours.iter_mut().map(|(_, slices)| slices).chain([&mut push, &mut script]) {
        slices.remove(0);
    }
    Ok(Rounds { ours, push, script })
}

/// Where messages come from: channels of a layer, or a list by `BLPOP`.
pub(super) enum Source {
    Layer(RedisChannelLayer, Vec<ChannelName>),
    Raw(Raw, &'static str),
}

impl Source {
    async fn receive(&self) -> Result<()> {
        match self {
            Self::Layer(layer, channels) => layer.receive_packed(channels).await.map(drop)?,
            Self::Raw(connection, key) => connection.blocking_pop(key).await.map(drop)?,
        }
        Ok(())
    }
}

/// Receives again and again, and tells when something came. Dropping it ends that.
pub(super) struct Receiver {
    arrivals: mpsc::Receiver<Result<Instant>>,
    task: AbortHandle,
}

impl Receiver {
    pub(super) fn start(source: Source) -> Self {
        let (told, arrivals) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            loop {
                let received = source.receive().await;
                if told.send(received.map(|()| Instant::now())).await.is_err() {
                    return;
                }
            }
        });
        Self { arrivals, task: task.abort_handle() }
    }

    /// Sends one message after another, each when the receiver waits again; says how long each took to arrive.
    pub(super) async fn latencies(
        &mut self,
        messages: usize,
        mut send: impl AsyncFnMut() -> Result<()>,
    ) -> Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(messages);
        for _ in 0..messages {
            tokio::time::sleep(PAUSE).await;
            let sent = Instant::now();
            send().await?;
            let arrived = self.arrivals.recv().await.ok_or("the receiver ended")??;
            latencies.push(arrived.duration_since(sent));
        }
        Ok(latencies)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
