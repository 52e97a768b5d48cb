//! An inbox with a mailbox that is never read, beside one without: whether its neighbours wait for it.

use std::sync::Arc;

use asgi_redis::{ChannelLayer, ChannelName, ErrorKind, GroupName, Inbox, Mailbox, RedisChannelLayer};

use super::all_of;
use super::inbox::{Arrivals, read};
use crate::Result;
use crate::bench::{Bench, EXPIRY, message};
use crate::meter::Slice;
use crate::report::{Goal, Line};

const NEIGHBOURS: usize = 999;
const SENDERS: usize = 64;
/// Of each round, to each mailbox.
const DIRECT: usize = 4;
const FROM_GROUP: usize = 4;
/// Holds a round, so that only the mailbox that is not read is ever full.
const CAPACITY: usize = 5000;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let layer = RedisChannelLayer::builder().hosts([bench.url.as_str()]).capacity(CAPACITY).expiry(EXPIRY);
    let (sender, receiver) = (layer.connect().await?, layer.connect().await?);
    let without = Setting::new(&receiver, "bench.slow.without", false).await?;
    let with = Setting::new(&receiver, "bench.slow.with", true).await?;
    with.fill(&sender, bench).await?;

    let delivered = NEIGHBOURS * (DIRECT + FROM_GROUP);
    let (mut slices_with, mut slices_without) = (Vec::new(), Vec::new());
    for _ in bench.rounds(40, 2) {
        for (setting, slices) in [(&with, &mut slices_with), (&without, &mut slices_without)] {
            slices.push(bench.meter.slice(delivered, setting.round(&sender)).await?);
        }
    }
    for setting in [&with, &without] {
        setting.check(slices_with.len())?;
    }
    receiver.close().await?;
    sender.close().await?;
    // The first round warms up.
    slices_with.remove(0);
    slices_without.remove(0);
    let line = |figure: &str| bench.line(&format!("999 beside an unread mailbox: {figure}"), "999 alone");
    let share = slices_with.len() * delivered;
    Ok(vec![
        line("per s")
            .compare(&slices_with, &slices_without, Slice::per_second)
            .goal(Some(Goal::AtLeast(0.9))),
        line("server µs")
            .compare(&slices_with, &slices_without, Slice::server_us_per_message)
            .goal(Some(Goal::AtMost(1.15))),
        // That all arrived, and nothing twice, was checked above.
        line("delivered").ours(crate::meter::count(share)).floor(crate::meter::count(share)),
    ])
}

/// An inbox with its mailboxes, all in one group.
struct Setting {
    inbox: Inbox,
    group: GroupName,
    channels: Arc<[ChannelName]>,
    arrivals: Arc<Arrivals>,
    /// Kept, and never read.
    unread: Option<Mailbox>,
}

impl Setting {
    async fn new(receiver: &RedisChannelLayer, name: &str, has_unread: bool) -> Result<Self> {
        let inbox = receiver.open_inbox(name).await?;
        let group: GroupName = name.parse()?;
        let arrivals = Arc::new(Arrivals::default());
        let unread = has_unread.then(|| inbox.open_mailbox()).transpose()?;
        let mut channels: Vec<ChannelName> = unread.iter().map(|mailbox| mailbox.name().clone()).collect();
        for _ in 0..NEIGHBOURS {
            let mailbox = inbox.open_mailbox()?;
            channels.push(mailbox.name().clone());
            tokio::spawn(read(mailbox, Arc::clone(&arrivals)));
        }
        for channel in &channels {
            receiver.group_add_packed(&group, channel).await?;
        }
        Ok(Self { inbox, group, channels: channels.into(), arrivals, unread })
    }

    /// Sends to the unread mailbox until it is full.
    async fn fill(&self, sender: &RedisChannelLayer, bench: &Bench) -> Result<()> {
        let Some(unread) = &self.unread else { return Ok(()) };
        loop {
            let senders = (0..SENDERS).map(|_| {
                let (sender, channel) = (sender.clone(), unread.name().clone());
                async move {
                    while send(&sender, &channel).await? {}
                    Ok(())
                }
            });
            all_of(senders).await?;
            // Perhaps the inbox was full, and not the mailbox.
            bench.raw.until_reader_waits(self.inbox.name().as_str()).await?;
            if !send(sender, unread.name()).await? {
                return Ok(());
            }
        }
    }

    /// Direct messages to all mailboxes and messages to their group, until all that are read have theirs.
    async fn round(&self, sender: &RedisChannelLayer) -> Result<Vec<std::time::Duration>> {
        let senders = (0..SENDERS).map(|number| {
            let (sender, channels) = (sender.clone(), Arc::clone(&self.channels));
            let unread = self.unread.as_ref().map(|mailbox| mailbox.name().clone());
            let mine = (number..channels.len() * DIRECT).step_by(SENDERS);
            async move {
                for channel in mine.filter_map(|place| channels.get(place % channels.len())) {
                    if send(&sender, channel).await? == (Some(channel) == unread.as_ref()) {
                        return Err(format!("channel {channel} should have been full, or not").into());
                    }
                }
                Ok(())
            }
        });
        let group_sender = async {
            for _ in 0..FROM_GROUP {
                let _ = sender.group_send_packed(&self.group, message(), false).await?;
            }
            Ok(())
        };
        let arrivals = self.arrivals.wait_for(NEIGHBOURS * (DIRECT + FROM_GROUP));
        tokio::try_join!(all_of(senders), group_sender, arrivals).map(|_| Vec::new())
    }

    /// Asserts that nothing more came than was sent, and that only the unread mailbox missed something.
    fn check(&self, rounds: usize) -> Result<()> {
        let missed = if self.unread.is_some() { u64::try_from(rounds * FROM_GROUP)? } else { 0 };
        let statistics = self.inbox.statistics();
        let kept = self.unread.as_ref().map_or(0..1, |_| CAPACITY..2 * CAPACITY + 1);
        let lost = statistics.unknown + statistics.expired + statistics.unread + statistics.undecodable;
        if statistics.missed != missed
            || !kept.contains(&statistics.waiting)
            || lost > 0
            || !self.arrivals.none_more()
        {
            return Err(format!("beside an unread mailbox: {statistics:?}").into());
        }
        Ok(())
    }
}

/// Sends a message; false if the channel is full.
async fn send(sender: &RedisChannelLayer, channel: &ChannelName) -> Result<bool> {
    match sender.send_packed(channel, message()).await {
        Err(error) if error.kind() == ErrorKind::ChannelFull => Ok(false),
        sent => Ok(sent.map(|()| true)?),
    }
}
