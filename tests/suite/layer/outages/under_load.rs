//! Servers that die or freeze in the middle of traffic, and come back: a ledger of every message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayerExt, RedisChannelLayer};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{TIMEOUT, Trio, spread_again, until_up};
use crate::layer::{MOMENT, layers, soon};
use crate::support::{Ledger, Sent};

const PAUSE: Duration = Duration::from_millis(1);
/// Far more than a send takes that waits for no silent server, and far less than the time that one waits for it.
const PROMPT: Duration = Duration::from_millis(1_400);

/// One send that has ended.
struct Ended {
    begun: Instant,
    took: Duration,
    outcome: Sent,
}

/// Sends to two normal channels, a new one each millisecond whatever became of the others, and their receivers.
struct Load {
    ledger: Arc<Ledger>,
    stop_sending: Arc<AtomicBool>,
    stop_receiving: watch::Sender<bool>,
    sending: JoinHandle<Vec<Ended>>,
    receivers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(name: &str, sender: &RedisChannelLayer, receiver: &RedisChannelLayer) -> Self {
        let channels = [format!("{name}.a"), format!("{name}.b")];
        let ledger = Arc::new(Ledger::default());
        let stop_sending = Arc::new(AtomicBool::new(false));
        let (stop_receiving, _) = watch::channel(false);
        let receivers = (0..4).map(|_| {
            let (layer, ledger) = (receiver.clone(), Arc::clone(&ledger));
            let mut stopped = stop_receiving.subscribe();
            let channels = channels.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        received = layer.receive::<u64>(&channels) => ledger.received(received.unwrap().1),
                        _ = stopped.wait_for(|stopped| *stopped) => return,
                    }
                }
            })
        });
        let receivers = receivers.collect();
        let sending =
            tokio::spawn(send_all(sender.clone(), channels, Arc::clone(&ledger), Arc::clone(&stop_sending)));
        Self { ledger, stop_sending, stop_receiving, sending, receivers }
    }

    /// Ends the sends; all that was accepted arrives, once.
    async fn finish(self) -> Vec<Ended> {
        self.stop_sending.store(true, Ordering::Relaxed);
        let ended = soon("the sends", self.sending).await.unwrap();
        self.ledger.wait_for_balance().await;
        tokio::time::sleep(MOMENT).await;
        self.stop_receiving.send_replace(true);
        for receiver in self.receivers {
            soon("a receiver", receiver).await.unwrap();
        }
        self.ledger.balance();
        ended
    }
}

async fn send_all(
    layer: RedisChannelLayer,
    channels: [String; 2],
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
) -> Vec<Ended> {
    let mut sends = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        let (layer, ledger) = (layer.clone(), Arc::clone(&ledger));
        let number = ledger.number();
        let channel = channels[usize::from(number.is_multiple_of(3))].clone();
        sends.spawn(async move {
            let begun = Instant::now();
            let outcome = match layer.send(channel, &number).await {
                Ok(()) => Sent::Accepted,
                Err(error) if error.perhaps_sent() => {
                    assert!(error.kind().is_outage(), "{error}");
                    Sent::Perhaps
                }
                Err(error) => panic!("two live servers have room: {error}"),
            };
            ledger.sent(number, outcome);
            Ended { begun, took: begun.elapsed(), outcome }
        });
        tokio::time::sleep(PAUSE).await;
    }
    sends.join_all().await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Killed,
    Frozen,
}

/// Three servers in trouble, one after another in an order of the seed, under a load that never stops.
async fn troubles(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let trio = Trio::start_lasting();
    let [receiver, sender, other] = layers(&trio.options()).await;
    let load = Load::start("under-load", &sender, &receiver);
    let mut troubled: Vec<(Trouble, Instant, Instant)> = Vec::new();
    let mut order = [(0, Trouble::Frozen), (1, Trouble::Killed), (2, Trouble::Frozen)];
    random.shuffle(&mut order);
    for (event, (server, trouble)) in order.into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(random.u64(100..400))).await;
        let begun = Instant::now();
        match trouble {
            Trouble::Killed => trio.servers[server].stop(),
            Trouble::Frozen => trio.servers[server].pause(),
        }
        // Long enough for what was written to it to end.
        until_up(&sender, server, false).await;
        tokio::time::sleep(Duration::from_millis(random.u64(100..900))).await;
        match trouble {
            Trouble::Killed => trio.servers[server].start(),
            Trouble::Frozen => trio.servers[server].unpause(),
        }
        troubled.push((trouble, begun, Instant::now()));
        spread_again(&sender, &format!("spread.{event}")).await;
        // A layer that was asked nothing meanwhile finds it too.
        until_up(&other, server, true).await;
    }
    let ended = load.finish().await;
    check(seed, &ended, &troubled);
}

/// Those that were written to a frozen server end when its answer is overdue; no other send waits for it.
fn check(seed: u64, ended: &[Ended], troubled: &[(Trouble, Instant, Instant)]) {
    for (trouble, begun, over) in troubled {
        let meanwhile = || ended.iter().filter(|send| send.begun >= *begun && send.begun < *over);
        let accepted = meanwhile().filter(|send| send.outcome == Sent::Accepted).count();
        assert!(accepted > 50, "seed {seed}, {trouble:?}: only {accepted} went to the others");
        let slow = meanwhile().filter(|send| send.outcome == Sent::Accepted && send.took > PROMPT);
        let slow: Vec<_> = slow.map(|send| (send.begun - *begun, send.took)).collect();
        assert!(
            slow.is_empty(),
            "seed {seed}, {trouble:?}: {} sends waited for it, as {:?}",
            slow.len(),
            slow[0]
        );
        let perhaps: Vec<_> = meanwhile().filter(|send| send.outcome == Sent::Perhaps).collect();
        if *trouble == Trouble::Frozen {
            assert!(!perhaps.is_empty(), "seed {seed}: nothing was written to it");
        }
        for send in perhaps {
            let late = send.begun - *begun;
            assert!(late < PROMPT, "seed {seed}, {trouble:?}: something was written to it after {late:?}");
            assert!(send.took < TIMEOUT + PROMPT, "seed {seed}, {trouble:?}: took {:?}", send.took);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_killed_frozen_and_brought_back_lose_and_repeat_nothing_and_hold_up_nobody() {
    for seed in 0..2 {
        troubles(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_that_forgets_costs_nothing_that_the_others_accepted() {
    let trio = Trio::start();
    let [receiver, sender] = layers(&trio.options()).await;
    let before = Load::start("before", &sender, &receiver);
    trio.servers[0].stop();
    // What it had accepted and not handed over is gone with it; from here on it accepts nothing.
    until_up(&sender, 0, false).await;
    until_up(&receiver, 0, false).await;
    let meanwhile = Load::start("meanwhile", &sender, &receiver);
    tokio::time::sleep(4 * MOMENT).await;
    let ended = meanwhile.finish().await;
    assert!(ended.len() > 100, "only {} went to the others", ended.len());
    trio.servers[0].start();
    spread_again(&sender, "spread").await;
    drop(before);
}
