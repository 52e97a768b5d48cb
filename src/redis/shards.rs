//! All shards of a layer: where a name lives, and what concerns several servers at once.
//!
//! A `?` channel, an inbox and a member of a group live on the shard that the ring gives. A normal channel lives on all of
//! them, each with a share of its capacity. A shard that is down fails what must go to it, and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::envelope::Envelopes;
use super::receive::Tickets;
use super::refusal::names_right;
use super::ring::Ring;
use super::send::Outgoing;
use super::shard::Shard;
use super::twins::Twins;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::events::EventSource;
use crate::layer::receipt::{GroupReceipt, UnreachedShard};
use crate::layer::sources::{Turns, turn};
use crate::member::GroupMember;
use crate::message::PackedMessage;
use crate::name::{ChannelKind, ChannelName, GroupName};
use crate::redis::health::ShardHealth;

/// The channels of a receive on one shard.
pub(super) type Place = (usize, Arc<[ChannelName]>);

#[derive(Debug)]
pub(super) struct Shards {
    all: Vec<Arc<Shard>>,
    ring: Ring,
    envelopes: Arc<Envelopes>,
    /// Each send to a normal channel begins with the shard whose turn it is.
    turns: Turns,
}

impl Shards {
    /// Connects to all servers. One that is down is tried again in the background, unless all are.
    pub(super) async fn connect(
        config: &Config,
        tickets: &Arc<Tickets>,
        events: &EventSource,
    ) -> Result<Self> {
        let envelopes = Envelopes::new(config);
        let twins = Arc::new(Twins::default());
        let hosts = config.hosts().iter().enumerate();
        let all: Vec<Arc<Shard>> = hosts
            .map(|(number, host)| {
                Shard::start(number, host, config, tickets, &envelopes, &twins, events).map(Arc::new)
            })
            .collect::<Result<_>>()?;
        let mut down = Vec::new();
        for shard in &all {
            match shard.connected().await {
                Ok(()) => {}
                Err(error) if is_outage(&error) || error.kind() == ErrorKind::Rights => down.push(error),
                Err(error) => return Err(error),
            }
        }
        if down.len() == all.len() {
            return Err(down.into_iter().next().unwrap_or_else(|| Error::bug("a layer without servers")));
        }
        let ring = Ring::new(all.len(), config.sealing().names.clone());
        Ok(Self { ring, all, envelopes, turns: Turns::default() })
    }

    /// How messages are sealed and opened.
    pub(super) fn envelopes(&self) -> &Envelopes {
        &self.envelopes
    }

    /// The shard on which a channel's queue lives; of a normal channel the first one.
    pub(super) fn of(&self, channel: &ChannelName) -> Result<&Arc<Shard>> {
        let number = self.ring.shard_of(channel.queue());
        self.all
            .get(number)
            .ok_or_else(|| Error::bug(format_args!("the ring names shard {number}, which is none")))
    }

    pub(super) fn all(&self) -> &[Arc<Shard>] {
        &self.all
    }

    /// The shard of a channel's next messages: its own, or of a normal channel each in turn that can be reached.
    pub(super) fn next_for(&self, channel: &ChannelName) -> Result<&Arc<Shard>> {
        if channel.kind() != ChannelKind::Normal {
            return self.of(channel);
        }
        let turns = self.turns().filter_map(|number| self.all.get(number));
        let mut reachable = turns.filter(|shard| shard.check_reachable().is_ok());
        reachable.next().map_or_else(|| self.of(channel), Ok)
    }

    /// The numbers of all shards, beginning with another one each time.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let shards = self.all.len();
        let first = turn(self.turns.next(), shards);
        (first..shards).chain(0..first)
    }

    /// How many messages a channel's queue may hold on its shard.
    pub(super) fn capacity_on_own_shard(&self, channel: &ChannelName, config: &Config) -> usize {
        let capacity = config.queue_capacity_of(channel);
        match channel.kind() {
            ChannelKind::Normal => {
                self.ring.share(channel.queue(), self.ring.shard_of(channel.queue()), capacity)
            }
            _ => capacity,
        }
    }

    pub(super) async fn send(
        &self,
        channel: &ChannelName,
        capacity: usize,
        message: PackedMessage,
        expiry: Duration,
        gathers: bool,
    ) -> Result<()> {
        let outgoing = Outgoing {
            channel: channel.clone(),
            capacity,
            message,
            expiry,
            gathers,
            ordered: channel.kind() != ChannelKind::Normal,
            movable: false,
        };
        if outgoing.ordered || self.all.len() == 1 {
            return self.of(channel)?.send(outgoing).await;
        }
        self.send_to_any(channel, outgoing).await
    }

    /// Sends to the shards in turn until one takes it; to those that are silent last.
    async fn send_to_any(&self, channel: &ChannelName, message: Outgoing) -> Result<()> {
        let (mut full, mut no_memory, mut down) = (false, None, None);
        let mut silent: VecDeque<usize> = VecDeque::new();
        let mut turns = self.turns();
        loop {
            let (number, movable) = match turns.next() {
                Some(number) => (number, true),
                None => match silent.pop_front() {
                    Some(number) => (number, false),
                    None => break,
                },
            };
            let capacity = self.ring.share(message.channel.queue(), number, message.capacity);
            let Some(shard) = self.all.get(number).filter(|_| capacity > 0) else { continue };
            if movable && shard.is_silent() {
                silent.push_back(number);
                continue;
            }
            let Err(error) = shard.send(Outgoing { capacity, movable, ..message.clone() }).await else {
                return Ok(());
            };
            match error.kind() {
                ErrorKind::ChannelFull => full = true,
                ErrorKind::ServerFull => no_memory = Some(error),
                ErrorKind::Rights if !error.perhaps_sent() => down = Some(error),
                _ if !is_outage(&error) || error.perhaps_sent() => return Err(error),
                // It was taken back before it was written.
                _ if movable && shard.check_reachable().is_ok() => silent.push_back(number),
                _ => down = Some(error),
            }
        }
        match (full, no_memory, down) {
            (true, _, _) | (_, None, None) => Err(Error::new(
                ErrorKind::ChannelFull,
                format!(
                    "channel {:?} is full on all servers that can be reached, its capacity is {}; receive some, or send again later",
                    channel.as_str(),
                    message.capacity
                ),
            )),
            (_, Some(error), _) | (_, _, Some(error)) => Err(error.on_channel(channel.as_str())),
        }
    }

    /// Adds to an error about a right which right is missing, where the server did not say so. Asks servers only then.
    ///
    /// Callers box it, because what is rare must not make each of their futures larger.
    pub(super) async fn name_right(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Rights || names_right(&error) {
            return error;
        }
        for shard in &self.all {
            if let Some(command) = shard.denied_command().await {
                return error.with_remedy(&format!("grant +{command}"));
            }
        }
        error
    }

    /// Where a receive looks for messages of its channels.
    pub(super) fn places(&self, channels: &[ChannelName]) -> Vec<Place> {
        let (normal, own): (Vec<_>, Vec<_>) =
            channels.iter().cloned().partition(|channel| channel.kind() == ChannelKind::Normal);
        if own.is_empty() {
            let normal: Arc<[ChannelName]> = normal.into();
            return (0..self.all.len()).map(|number| (number, Arc::clone(&normal))).collect();
        }
        let on = |number| {
            let own = own.iter().filter(move |channel| self.ring.shard_of(channel.queue()) == number);
            let channels: Arc<[ChannelName]> = normal.iter().chain(own).cloned().collect();
            (number, channels)
        };
        (0..self.all.len()).map(on).filter(|(_, channels)| !channels.is_empty()).collect()
    }

    /// Those of the places that can be asked now, and answer, if any does.
    pub(super) fn reachable(&self, places: Vec<Place>) -> Result<Vec<Place>> {
        let mut down = None;
        let mut reachable = Vec::with_capacity(places.len());
        let mut silent = Vec::new();
        for place in places {
            let Some(shard) = self.all.get(place.0) else { continue };
            match shard.check_reachable() {
                Ok(()) if shard.is_silent() => silent.push(place),
                Ok(()) => reachable.push(place),
                Err(error) => down = Some(error),
            }
        }
        if reachable.is_empty() {
            reachable = silent;
        }
        match down {
            Some(error) if reachable.is_empty() => Err(error),
            _ => Ok(reachable),
        }
    }

    /// Sends a message to a group, on all shards at once.
    pub(super) async fn group_send(
        &self,
        group: &GroupName,
        message: &PackedMessage,
        name_full: bool,
        config: &Config,
    ) -> Result<GroupReceipt> {
        let sent = self.all.iter().map(|shard| shard.group_send(group, message, name_full, config));
        let mut receipt = GroupReceipt::default();
        let mut reached = 0;
        let mut failure: Option<Error> = None;
        for (shard, outcome) in self.all.iter().zip(join_all(sent).await) {
            match outcome {
                Ok(part) => {
                    reached += 1;
                    receipt = receipt.and(part);
                }
                Err(error) => {
                    receipt.note_unreached(UnreachedShard::new(shard.host(), &error));
                    let perhaps_sent =
                        failure.as_ref().is_some_and(Error::perhaps_sent) || error.perhaps_sent();
                    failure = Some(failure.unwrap_or(error).with_perhaps_sent(perhaps_sent));
                }
            }
        }
        match failure {
            Some(error) if reached == 0 => Err(error),
            _ => Ok(receipt),
        }
    }

    /// Lists the channels in a group.
    pub(super) async fn group_channels(&self, group: &GroupName) -> Result<Vec<ChannelName>> {
        let listed = join_all(self.all.iter().map(|shard| shard.group_channels(group))).await;
        Ok(listed.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Lists the members of a group.
    pub(super) async fn group_members(&self, group: &GroupName) -> Result<Vec<GroupMember>> {
        let listed = join_all(self.all.iter().map(|shard| shard.group_members(group))).await;
        Ok(listed.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Counts the channels in a group, but not beyond `enough`.
    pub(super) async fn group_len(&self, group: &GroupName, enough: usize) -> Result<usize> {
        let counted = join_all(self.all.iter().map(|shard| shard.group_len(group, enough))).await;
        let counted: Vec<usize> = counted.into_iter().collect::<Result<_>>()?;
        Ok(counted.into_iter().sum::<usize>().min(enough))
    }

    /// Removes all messages and groups. A server that fails keeps no other from it.
    pub(super) async fn flush(&self) -> Result<()> {
        join_all(self.all.iter().map(|shard| shard.flush())).await.into_iter().collect()
    }

    /// Has the time of each server be known from now on. One round trip to each the first time, at the same time.
    pub(super) async fn need_clocks(&self) {
        join_all(self.all.iter().map(|shard| shard.need_clock())).await;
    }

    /// Asks all servers how they are.
    pub(super) async fn health(&self) -> Vec<ShardHealth> {
        join_all(self.all.iter().map(|shard| shard.health())).await
    }

    /// Gives back what is in flight and ends the leases, on all shards at once.
    ///
    /// That goes on even if the future is dropped.
    pub(super) fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let closing: Vec<_> = self.all.iter().map(|shard| shard.close()).collect();
        async move { join_all(closing).await.into_iter().collect() }
    }
}

fn is_outage(error: &Error) -> bool {
    error.kind().is_outage()
}
