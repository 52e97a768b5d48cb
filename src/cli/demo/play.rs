//! The producers and consumers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelKind, ChannelLayer, ChannelLayerExt, ChannelName, Error, ErrorKind};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::copies::Copies;
use super::ledger::Ledger;
use super::random::random;
use super::rooms::Rooms;
use super::stage::{BRIEF_EXPIRY, FULL_CAPACITY, Layer, Stage};
use super::tasks::outcome;
use crate::cli::outcome::{Failure, Status};

/// How long the producers go on.
const PRODUCTION: Duration = Duration::from_secs(3);
/// So long all consumers are blocked before the first message is sent.
const BLOCKED: Duration = Duration::from_millis(200);
/// How long a producer pauses when its channel is full.
const WHEN_FULL: Duration = Duration::from_millis(2);
/// How long no message may arrive before those that are missing are taken for lost.
const MISSING: Duration = Duration::from_secs(3);
/// The longest that an impatient consumer waits.
const IMPATIENCE_US: u64 = 5_000;

/// How many messages of one producer may be under way: without a limit all waits would be for full queues.
const UNDER_WAY: usize = 4;

const WORKERS: usize = 4;
const PRODUCERS: usize = 4;
const UNREAD: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    number: usize,
    text: String,
}

type Tasks = JoinSet<Result<(), Error>>;

/// Plays the whole demo. The ledger and the copies record what happened.
pub(super) async fn perform(stage: &Stage, ledger: &Ledger, copies: &Copies) -> Result<(), Failure> {
    let channels = &stage.channels;
    let mut consumers = Tasks::new();
    for (number, layer) in stage.consuming.iter().cycle().take(WORKERS).enumerate() {
        // The first two wait as long as it takes, the others drop their receives at random.
        consumers.spawn(consume(layer.clone(), channels.work.clone(), number >= 2, ledger.clone()));
    }
    for (number, (layer, reply)) in stage.consuming.iter().zip(&channels.replies).enumerate() {
        consumers.spawn(consume(layer.clone(), vec![reply.clone()], number == 1, ledger.clone()));
    }
    let rooms = Rooms::open(&stage.rooms, copies).await?;
    sleep(BLOCKED).await;

    let mut unread = Tasks::new();
    for _ in 0..UNREAD {
        unread.spawn(send_one(stage.brief.clone(), channels.unread.clone(), true, ledger.clone()));
    }
    all(&mut unread, &mut consumers).await?;
    let unread_sent = Instant::now();

    let mut filling = Tasks::new();
    for layer in stage.producing.iter().cycle().take(2 * FULL_CAPACITY) {
        filling.spawn(send_one(layer.clone(), channels.full.clone(), false, ledger.clone()));
    }
    all(&mut filling, &mut consumers).await?;
    let [reader, _] = &stage.consuming;
    consumers.spawn(consume(reader.clone(), vec![channels.full.clone()], false, ledger.clone()));

    let mut producers = Tasks::new();
    let end = Instant::now() + PRODUCTION;
    for (layer, channel) in stage.producing.iter().cycle().zip(channels.work.iter().cycle()).take(PRODUCERS) {
        producers.spawn(produce(layer.clone(), channel.clone(), end, ledger.clone()));
    }
    for (layer, channel) in stage.producing.iter().zip(&channels.replies) {
        producers.spawn(produce(layer.clone(), channel.clone(), end, ledger.clone()));
    }
    for play in rooms.plays(end) {
        producers.spawn(play);
    }
    all(&mut producers, &mut consumers).await?;
    unless_one_fails(&mut consumers, rooms.end()).await?;
    unless_one_fails(&mut consumers, all_received(ledger)).await?;
    sleep((BRIEF_EXPIRY + WHEN_FULL).saturating_sub(unread_sent.elapsed())).await;
    consumers.shutdown().await;
    sweep(stage, ledger).await
}

/// Waits until some tasks have ended.
async fn all(tasks: &mut Tasks, consumers: &mut Tasks) -> Result<(), Failure> {
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            outcome(ended)?;
        }
        Ok(())
    };
    unless_one_fails(consumers, ended).await
}

/// Waits for something, while all consumers must go on.
async fn unless_one_fails<T>(
    consumers: &mut Tasks,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        Some(ended) = consumers.join_next() => {
            outcome(ended)?;
            Err(Failure::new(Status::Failed, "a consumer ended by itself"))
        }
    }
}

async fn produce(layer: Layer, channel: ChannelName, end: Instant, ledger: Ledger) -> Result<(), Error> {
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    while Instant::now() < end {
        // Without a turn by then, messages are missing, which the sums show.
        let Ok(turn) = timeout_at(end, Arc::clone(&turns).acquire_owned()).await else { break };
        if !send(&layer, &channel, false, turn.ok(), &ledger).await? {
            sleep(WHEN_FULL).await;
        }
    }
    Ok(())
}

async fn send_one(layer: Layer, channel: ChannelName, unread: bool, ledger: Ledger) -> Result<(), Error> {
    send(&layer, &channel, unread, None, &ledger).await.map(drop)
}

/// Sends the next message. Returns whether the channel had room.
async fn send(
    layer: &Layer,
    channel: &ChannelName,
    unread: bool,
    turn: Option<OwnedSemaphorePermit>,
    ledger: &Ledger,
) -> Result<bool, Error> {
    let number = ledger.attempt(unread, turn);
    let message = Message { number, text: format!("message {number} of the demo, to {channel}") };
    match layer.send(channel.clone(), &message).await {
        Ok(()) => {
            ledger.accepted(number);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::ChannelFull => {
            ledger.refused(number);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Receives until it is aborted. It may be aborted at any point: a message that its receive was handed goes back.
async fn consume(
    layer: Layer,
    channels: Vec<ChannelName>,
    impatient: bool,
    ledger: Ledger,
) -> Result<(), Error> {
    let mut last = None;
    loop {
        let receive = layer.receive_packed(&channels);
        let (channel, packed) = if impatient {
            match timeout(impatience()?, receive).await {
                Ok(received) => received?,
                Err(_) => {
                    ledger.cancelled();
                    continue;
                }
            }
        } else {
            receive.await?
        };
        let message: Message = packed.unpack()?;
        ledger.arrived(message.number);
        if channel.kind() == ChannelKind::SingleReader
            && last.replace(message.number).is_some_and(|last| last >= message.number)
        {
            ledger.out_of_order();
        }
    }
}

fn impatience() -> Result<Duration, Error> {
    Ok(Duration::from_micros(random()? % IMPATIENCE_US))
}

/// Waits until every accepted message was received, or none came for long.
async fn all_received(ledger: &Ledger) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut before = ledger.outstanding();
    let mut since = Instant::now();
    while before > 0 && since.elapsed() < MISSING {
        sleep(PAUSE).await;
        let now = ledger.outstanding();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Receives what is left on any channel. Nothing should be, least of all expired messages.
async fn sweep(stage: &Stage, ledger: &Ledger) -> Result<(), Failure> {
    let channels = &stage.channels;
    let [first, second] = &stage.consuming;
    let [first_reply, second_reply] = &channels.replies;
    let shared = channels.work.iter().chain([&channels.full, &channels.unread, first_reply]).cloned();
    for (layer, channels) in [(first, shared.collect()), (second, vec![second_reply.clone()])] {
        while let Some((_, packed)) = layer.try_receive_packed(&channels).await? {
            ledger.arrived(packed.unpack::<Message>()?.number);
        }
    }
    Ok(())
}
