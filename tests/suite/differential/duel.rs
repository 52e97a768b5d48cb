//! One program on both layers, step by step: whatever the contract fixes is equal.

use std::time::Duration;

use asgi_redis::{ConfigBuilder, ErrorKind, MemoryLayer};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::program::{CHANNELS, Named, Step, Target};
use super::world::{InMemory, OnRedis, PATIENCE, World};

/// What is brief has ended after this.
const BRIEF: Duration = Duration::from_millis(1);
const AFTER_BRIEF: Duration = Duration::from_millis(4);
/// How many messages a channel holds, or a mailbox.
const CAPACITY: usize = 3;
const MOST_MAILBOXES: usize = 8;
const MOST_RECEIVES: usize = 8;

pub(super) struct Duel {
    memory: World<InMemory>,
    redis: World<OnRedis>,
    /// For what the contract leaves open, to be asked beforehand.
    oracle: MemoryLayer,
    sent: u64,
    /// The one receive that waits on the inbox that is read as a whole, and whether it waits on channels too. Of several it
    /// is not said which is first, nor what one gets that waits on two members of a group of which one is in an inbox.
    on_whole: Option<(usize, bool)>,
}

impl Duel {
    pub(super) async fn new(url: &str, prefix: String) -> Self {
        let lasting = ConfigBuilder::new()
            .hosts([url])
            .prefix(prefix)
            .capacity(CAPACITY)
            .inbox_capacity(CAPACITY)
            // What is read at once cannot be filled exactly.
            .channel_capacity([("whole*", 10_000)]);
        let brief = lasting.clone().expiry(BRIEF).group_expiry(BRIEF);
        let oracle = lasting.in_memory().unwrap();
        let in_memory = InMemory { lasting: oracle.clone(), brief: brief.build().unwrap() };
        let memory = World::new(in_memory).await;
        let redis = World::new(OnRedis { lasting, brief }).await;
        Self { memory, redis, oracle, sent: 0, on_whole: None }
    }

    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Send { client, to } => self.send(client, to).await,
            Step::SendBriefly { channel } => self.send_briefly(channel).await,
            Step::Receive { client, named } => self.receive(client, named).await,
            Step::DropReceive { which } => {
                let waiting = self.memory.waiting();
                let Some(which) = pick(&waiting, which) else { return };
                self.memory.drop_receive(which).await;
                self.redis.drop_receive(which).await;
                self.on_whole.take_if(|on_whole| on_whole.0 == which);
            }
            Step::TryReceive { client, named } => {
                let taken = self.redis.try_receive(client, named).await;
                let named = match &taken {
                    Ok(Some((channel, _))) => only(channel),
                    _ => named,
                };
                assert_eq!(self.memory.try_receive(client, named).await, taken);
            }
            Step::OpenMailbox { client } => {
                if self.memory.mailboxes() < MOST_MAILBOXES {
                    self.memory.open_mailbox(client);
                    self.redis.open_mailbox(client);
                }
            }
            Step::ReadMailbox { which } => {
                let Some(which) = self.open_mailbox(which) else { return };
                assert_eq!(self.memory.read_mailbox(which), self.redis.read_mailbox(which));
                assert_eq!(self.memory.missed(which), self.redis.missed(which));
            }
            Step::DropMailbox { which } => {
                let Some(which) = self.open_mailbox(which) else { return };
                self.memory.drop_mailbox(which).await;
                self.redis.drop_mailbox(which).await;
            }
            Step::Next => match self.memory.next() {
                Some(next) => assert_eq!(self.redis.awaited_next().await, next),
                None => assert_eq!(self.redis.next(), None),
            },
            Step::GroupAdd { client, group, member } => {
                let Some(member) = self.member(member) else { return };
                let added = self.memory.group_add(client, group, member).await;
                assert_eq!(self.redis.group_add(client, group, member).await, added);
            }
            Step::GroupAddBriefly { group, channel } => {
                self.memory.group_add_briefly(group, channel).await;
                self.redis.group_add_briefly(group, channel).await;
                sleep(AFTER_BRIEF).await;
            }
            Step::GroupDiscard { client, group, member } => {
                let Some(member) = self.member(member) else { return };
                let discarded = self.memory.group_discard(client, group, member).await;
                assert_eq!(self.redis.group_discard(client, group, member).await, discarded);
            }
            Step::LeaveGroups { client, member } => {
                let Some(member) = self.member(member) else { return };
                let left = self.memory.leave_groups(client, member).await;
                assert_eq!(self.redis.leave_groups(client, member).await, left);
            }
            Step::GroupSend { client, group } => {
                if self.on_whole.is_some_and(|(_, on_channels_too)| on_channels_too) {
                    return;
                }
                self.sent += 1;
                let receipt = self.memory.group_send(client, group, self.sent).await;
                assert_eq!(self.redis.group_send(client, group, self.sent).await, receipt);
                self.after_sending(true).await;
            }
            Step::GroupMembers { client, group } => {
                let members = self.memory.group_members(client, group).await;
                assert_eq!(self.redis.group_members(client, group).await, members);
            }
            Step::GroupsOf { client, member } => {
                let Some(member) = self.member(member) else { return };
                let groups = self.memory.groups_of(client, member).await;
                assert_eq!(self.redis.groups_of(client, member).await, groups);
            }
            Step::Flush { client } => {
                self.memory.flush(client).await;
                self.redis.flush(client).await;
            }
            Step::Restart { client } => {
                let ended = self.memory.restart(client).await;
                assert_eq!(self.redis.restart(client).await, ended);
            }
        }
    }

    async fn send(&mut self, client: usize, to: Target) {
        // To one that is gone too.
        let Some(to) = self.target(to) else { return };
        self.sent += 1;
        let sent = self.memory.send(client, to, self.sent).await;
        let mut on_redis = self.redis.send(client, to, self.sent).await;
        // That a mailbox has room again is told to its senders a little later.
        let begun = Instant::now();
        while matches!(to, Target::Mailbox(_))
            && sent.is_ok()
            && on_redis == Err(ErrorKind::ChannelFull)
            && begun.elapsed() < PATIENCE
        {
            yield_now().await;
            on_redis = self.redis.send(client, to, self.sent).await;
        }
        assert_eq!(on_redis, sent);
        self.after_sending(matches!(to, Target::Mailbox(_))).await;
    }

    async fn send_briefly(&mut self, channel: usize) {
        // An expired message behind a live one is noticed within a second, not at once.
        if self.oracle.channel_statistics(CHANNELS[channel]).unwrap().messages_pending > 0 {
            return;
        }
        self.sent += 1;
        let sent = self.memory.send_briefly(channel, self.sent).await;
        assert_eq!(self.redis.send_briefly(channel, self.sent).await, sent);
        self.after_sending(false).await;
        sleep(AFTER_BRIEF).await;
    }

    async fn receive(&mut self, client: usize, named: Named) {
        let named = Named { whole: named.whole && self.on_whole.is_none(), ..named };
        if self.memory.waiting().len() >= MOST_RECEIVES || (named.channels == 0 && !named.whole) {
            return;
        }
        let which = self.redis.receive(client, named).await;
        let Some(arrived) = self.redis.arrived(which).await else {
            assert_eq!(self.memory.receive(client, named).await, which);
            assert_eq!(self.memory.arrived(which).await, None, "a receive found what is not on Redis");
            if named.whole {
                self.on_whole = Some((which, named.channels != 0));
            }
            return;
        };
        // Of several channels that hold something, any may be first.
        let named = match &arrived {
            Ok((channel, _)) => only(channel),
            Err(_) => named,
        };
        assert_eq!(self.memory.receive(client, named).await, which);
        assert_eq!(
            self.memory.arrived(which).await,
            Some(arrived),
            "a receive on Redis found what is not in memory"
        );
    }

    /// Waits until what was sent has arrived where it should, and sees that it has nowhere else.
    async fn after_sending(&mut self, to_mailboxes: bool) {
        if to_mailboxes {
            self.redis.settle_mailboxes().await;
        }
        self.memory.settle().await;
        self.redis.settle().await;
        for which in self.memory.waiting() {
            match self.memory.arrived(which).await {
                Some(arrived) => {
                    assert_eq!(self.redis.awaited(which).await, arrived);
                    self.on_whole.take_if(|on_whole| on_whole.0 == which);
                }
                None => assert_eq!(self.redis.arrived(which).await, None),
            }
        }
        let begun = Instant::now();
        while self.redis.whole_waiting() != self.memory.whole_waiting() && begun.elapsed() < PATIENCE {
            yield_now().await;
        }
        assert_eq!(self.redis.whole_waiting(), self.memory.whole_waiting());
    }

    /// The one that is meant by a number, of the mailboxes that are open.
    fn open_mailbox(&self, which: usize) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.memory.mailboxes()).filter(|which| self.memory.is_open(*which)).collect();
        pick(&open, which)
    }

    fn target(&self, target: Target) -> Option<Target> {
        match target {
            Target::Mailbox(_) if self.memory.mailboxes() == 0 => None,
            Target::Mailbox(which) => Some(Target::Mailbox(which % self.memory.mailboxes())),
            other => Some(other),
        }
    }

    /// As `target`, but no mailbox that is gone: one that is added leaves by itself, a little later. And only one address
    /// in the inbox that is read as a whole: of several it is not said which gets a group's message first.
    fn member(&self, target: Target) -> Option<Target> {
        match self.target(target)? {
            Target::Mailbox(which) if !self.memory.is_open(which) => None,
            Target::Whole(_) => Some(Target::Whole(0)),
            other => Some(other),
        }
    }
}

fn pick(from: &[usize], which: usize) -> Option<usize> {
    from.get(which % from.len().max(1)).copied()
}

/// The receive of one channel by its common name.
fn only(channel: &str) -> Named {
    match CHANNELS.iter().position(|known| *known == channel) {
        Some(which) => Named { channels: 1 << which, whole: false },
        None => Named { channels: 0, whole: true },
    }
}
