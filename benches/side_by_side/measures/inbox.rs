//! As fast as it goes to the mailboxes of one inbox, beside `RPUSH` and `BLMPOP` of up to 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use asgi_redis::{ChannelLayer, ChannelName, Mailbox};
use tokio::sync::Notify;

use super::all_of;
use crate::Result;
use crate::bench::{Bench, message};
use crate::compare::median;
use crate::meter::Slice;
use crate::report::{Goal, Line};

const SENDERS: usize = 256;
const MESSAGES_EACH: usize = 40;
const MESSAGES: usize = SENDERS * MESSAGES_EACH;
const MAILBOXES: usize = 64;
const BATCH: usize = 200;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let (ours, floor) = rounds(bench).await?;
    let name = format!("{SENDERS} in flight to an inbox");
    let line = |figure: &str, beside: &str| bench.line(&format!("{name}: {figure}"), beside);
    let beside = format!("RPUSH > BLMPOP {BATCH}");
    Ok(vec![
        line("server µs", &beside)
            .compare(&ours, &floor, Slice::server_us_per_message)
            .goal(Some(Goal::AtMost(1.25))),
        line("per s", &beside).compare(&ours, &floor, Slice::per_second),
        line("commands", "-").ours(median(&ours, Slice::commands_per_message)).goal(Some(Goal::AtMost(0.02))),
    ])
}

async fn rounds(bench: &mut Bench) -> Result<(Vec<Slice>, Vec<Slice>)> {
    const KEY: &str = "bench.inbox.raw";
    let (sender, receiver) = (bench.layer().await?, bench.layer().await?);
    let inbox = receiver.open_inbox("bench.inbox").await?;
    let mailboxes = (0..MAILBOXES).map(|_| inbox.open_mailbox()).collect::<asgi_redis::Result<Vec<_>>>()?;
    let channels: Arc<[ChannelName]> = mailboxes.iter().map(|mailbox| mailbox.name().clone()).collect();
    let arrivals = Arc::new(Arrivals::default());
    for mailbox in mailboxes {
        tokio::spawn(read(mailbox, Arc::clone(&arrivals)));
    }
    let message = message();
    let (raw, blocking) = (bench.raw.clone(), bench.raw_connection().await?);

    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in bench.rounds(15, 2) {
        let senders = (0..SENDERS).map(|number| {
            let (layer, channels, message) = (sender.clone(), Arc::clone(&channels), message.clone());
            async move {
                for channel in channels.iter().cycle().skip(number % MAILBOXES).take(MESSAGES_EACH) {
                    layer.send_packed(channel, message.clone()).await?;
                }
                Ok(())
            }
        });
        let work =
            async { tokio::try_join!(all_of(senders), arrivals.wait_for(MESSAGES)).map(|_| Vec::new()) };
        ours.push(bench.meter.slice(MESSAGES, work).await?);

        let senders = (0..SENDERS).map(|_| {
            let (raw, message) = (raw.clone(), message.clone());
            async move {
                for _ in 0..MESSAGES_EACH {
                    raw.push(KEY, message.as_bytes()).await?;
                }
                Ok(())
            }
        });
        let receiver = async {
            let mut received = 0;
            while received < MESSAGES {
                received += blocking.blocking_pop_many(KEY, BATCH).await?;
            }
            Ok(())
        };
        let work = async { tokio::try_join!(all_of(senders), receiver).map(|_| Vec::new()) };
        floor.push(bench.meter.slice(MESSAGES, work).await?);
    }
    let statistics = inbox.statistics();
    if statistics.waiting + usize::try_from(statistics.unknown + statistics.missed)? > 0 {
        return Err(format!("messages to an inbox were not received: {statistics:?}").into());
    }
    receiver.close().await?;
    sender.close().await?;
    // The first round warms up.
    ours.remove(0);
    floor.remove(0);
    Ok((ours, floor))
}

/// Counts the messages that came to mailboxes.
#[derive(Default)]
pub(super) struct Arrivals {
    came: AtomicUsize,
    more: Notify,
}

impl Arrivals {
    /// Waits until so many more came than were waited for before.
    pub(super) async fn wait_for(&self, messages: usize) -> Result<()> {
        while self.came.load(Ordering::Relaxed) < messages {
            self.more.notified().await;
        }
        self.came.fetch_sub(messages, Ordering::Relaxed);
        Ok(())
    }

    /// Whether no more came than were waited for.
    pub(super) fn none_more(&self) -> bool {
        self.came.load(Ordering::Relaxed) == 0
    }

    fn count(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
    }
}

/// Reads a mailbox until its inbox ends.
pub(super) async fn read(mut mailbox: Mailbox, arrivals: Arc<Arrivals>) {
    while mailbox.receive_packed().await.is_ok() {
        arrivals.count();
    }
}
