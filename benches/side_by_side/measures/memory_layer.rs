//! The memory layer beside a bare bounded queue of Tokio's, which has no names, expiry, groups or several channels to a
//! receive. Both are in the one thread that measures; the server has no part in it.

use asgi_redis::{ChannelLayer, ChannelName, GroupName, Inbox, Mailbox, MemoryLayer, PackedMessage};
use tokio::sync::mpsc;

use crate::Result;
use crate::bench::{Bench, CAPACITY, EXPIRY, message};
use crate::compare::Compared;
use crate::meter::Slice;
use crate::report::Line;

const MESSAGES: usize = 400_000;
const FEW_MESSAGES: usize = 20_000;
const BATCH: usize = 1000;
const MAILBOXES: usize = 1000;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    // There is no server to be placed.
    if !bench.is_first {
        return Ok(Vec::new());
    }
    let layer = MemoryLayer::builder().capacity(CAPACITY).expiry(EXPIRY).in_memory()?;
    let messages = if bench.quick { FEW_MESSAGES } else { MESSAGES };
    let mut lines = Vec::new();
    for (name, batch) in [("send, receive", 1), ("1,000 sends, receives", BATCH)] {
        let [mut ours, mut floor] = [const { Vec::new() }; 2];
        for round in bench.rounds(12, 2) {
            let of_layer = bench.meter.slice(messages, batches(&layer, messages, batch)).await?;
            let of_queue = bench.meter.slice(messages, queued_batches(messages, batch)).await?;
            // The first round warms up.
            if round > 0 {
                ours.push(of_layer);
                floor.push(of_queue);
            }
        }
        lines.extend(both(bench, name, &ours, &floor));
    }

    let [mut ours, mut floor] = [const { Vec::new() }; 2];
    for round in bench.rounds(12, 2) {
        let of_layer = bench.meter.slice(messages, ping_pong(&layer, messages)).await?;
        let of_queue = bench.meter.slice(messages, queued_ping_pong(messages)).await?;
        if round > 0 {
            ours.push(of_layer);
            floor.push(of_queue);
        }
    }
    lines.extend(both(bench, "a receive that waits", &ours, &floor));

    let mut room = Room::open(&layer).await?;
    let mut queues: Vec<_> = (0..MAILBOXES).map(|_| mpsc::channel(CAPACITY)).collect();
    let [mut ours, mut floor] = [const { Vec::new() }; 2];
    for round in bench.rounds(12, 2) {
        let of_layer = bench.meter.slice(messages, room.sends(&layer, messages)).await?;
        let of_queues = bench.meter.slice(messages, queued_copies(&mut queues, messages)).await?;
        if round > 0 {
            ours.push(of_layer);
            floor.push(of_queues);
        }
    }
    lines.extend(both(bench, "1,000 mailboxes", &ours, &floor));
    room.inbox.close().await;
    layer.close().await?;
    Ok(lines)
}

/// How many, and what each costs; that of the server says nothing.
fn both(bench: &Bench, name: &str, ours: &[Slice], floor: &[Slice]) -> [Line; 2] {
    [("per s", Slice::per_second as fn(&Slice) -> f64), ("client µs", Slice::client_us_per_message)].map(
        |(figure, of_slice)| {
            let compared = Compared::new(ours, floor, of_slice);
            let line = bench.line(&format!("memory, {name}: {figure}"), "tokio mpsc");
            line.ours(compared.ours).floor(compared.floor).ratio(compared.ratio)
        },
    )
}

type Nothing = Vec<std::time::Duration>;

/// So many sends, then as many receives, until all messages went through.
async fn batches(layer: &MemoryLayer, messages: usize, batch: usize) -> Result<Nothing> {
    let channels: [ChannelName; 1] = ["bench.memory".parse()?];
    let [channel] = &channels;
    let message = message();
    for _ in 0..messages / batch {
        for _ in 0..batch {
            layer.send_packed(channel, message.clone()).await?;
        }
        for _ in 0..batch {
            layer.receive_packed(&channels).await?;
        }
    }
    Ok(Nothing::new())
}

async fn queued_batches(messages: usize, batch: usize) -> Result<Nothing> {
    let (sender, mut receiver) = mpsc::channel(CAPACITY);
    let message = message();
    for _ in 0..messages / batch {
        for _ in 0..batch {
            sender.send(message.clone()).await?;
        }
        for _ in 0..batch {
            receiver.recv().await.ok_or("the queue ended")?;
        }
    }
    Ok(Nothing::new())
}

/// Two tasks, each of which waits for what the other sends: every message wakes a receive that waits.
async fn ping_pong(layer: &MemoryLayer, messages: usize) -> Result<Nothing> {
    let [ping, pong]: [ChannelName; 2] = ["bench.memory.ping".parse()?, "bench.memory.pong".parse()?];
    let echo = tokio::spawn({
        let (layer, from, to) = (layer.clone(), [ping.clone()], pong.clone());
        async move {
            for _ in 0..messages / 2 {
                let (_, message) = layer.receive_packed(&from).await?;
                layer.send_packed(&to, message).await?;
            }
            Ok::<(), asgi_redis::Error>(())
        }
    });
    let (message, from) = (message(), [pong]);
    for _ in 0..messages / 2 {
        layer.send_packed(&ping, message.clone()).await?;
        layer.receive_packed(&from).await?;
    }
    echo.await??;
    Ok(Nothing::new())
}

async fn queued_ping_pong(messages: usize) -> Result<Nothing> {
    let (ping, mut pinged) = mpsc::channel(CAPACITY);
    let (pong, mut ponged) = mpsc::channel(CAPACITY);
    let echo = tokio::spawn(async move {
        for _ in 0..messages / 2 {
            let Some(message) = pinged.recv().await else { return };
            let _ = pong.send(message).await;
        }
    });
    let message = message();
    for _ in 0..messages / 2 {
        ping.send(message.clone()).await?;
        ponged.recv().await.ok_or("the queue ended")?;
    }
    echo.await?;
    Ok(Nothing::new())
}

/// A group, and the mailboxes that are in it.
struct Room {
    group: GroupName,
    inbox: Inbox,
    mailboxes: Vec<Mailbox>,
}

impl Room {
    async fn open(layer: &MemoryLayer) -> Result<Self> {
        let (group, inbox) = ("bench.memory".parse()?, layer.open_inbox("bench.memory").await?);
        let mailboxes =
            (0..MAILBOXES).map(|_| inbox.open_mailbox()).collect::<asgi_redis::Result<Vec<_>>>()?;
        for mailbox in &mailboxes {
            layer.group_add_packed(&group, mailbox.name()).await?;
        }
        Ok(Self { group, inbox, mailboxes })
    }

    /// Sends to the group until there were so many copies, and takes each.
    async fn sends(&mut self, layer: &MemoryLayer, copies: usize) -> Result<Nothing> {
        let message = message();
        for _ in 0..copies / MAILBOXES {
            let _ = layer.group_send_packed(&self.group, message.clone(), false).await?;
            for mailbox in &mut self.mailboxes {
                mailbox.receive_packed().await?;
            }
        }
        Ok(Nothing::new())
    }
}

type Queue = (mpsc::Sender<PackedMessage>, mpsc::Receiver<PackedMessage>);

async fn queued_copies(queues: &mut [Queue], copies: usize) -> Result<Nothing> {
    let message = message();
    for _ in 0..copies / MAILBOXES {
        for (sender, _) in queues.iter() {
            sender.send(message.clone()).await?;
        }
        for (_, receiver) in queues.iter_mut() {
            receiver.recv().await.ok_or("the queue ended")?;
        }
    }
    Ok(Nothing::new())
}
