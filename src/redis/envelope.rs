//! What stands between a message and the body of its entry: the seal, if there are keys, and the names as the server
//! sees them.
//!
//! A message is sealed when its call is made, for the server that the call goes to, and opened when it has come, by the
//! clock of the server from which it came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::clock::ShardClock;
use super::entry::{self, Entry, Said};
use super::milliseconds::milliseconds;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::message::PackedMessage;
use crate::name::{ChannelName, GroupName};
use crate::seal::{
    ALLOWANCE_MS, Keyring, Opened, Refusal, Refusals, SealStatistics, Sealing, Target, is_sealed,
};

/// What all shards of a layer share.
#[derive(Debug)]
pub(super) struct Envelopes {
    sealing: Sealing,
    /// How long messages wait that have no expiry of their own.
    expiry: Duration,
    /// A sealed message is good for its expiry, and the time that its call may take.
    call_takes: Duration,
    refusals: Refusals,
}

/// The envelopes of one shard.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    shared: Arc<Envelopes>,
    clock: Arc<ShardClock>,
}

impl Envelopes {
    pub(super) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            sealing: config.sealing().clone(),
            expiry: config.expiry(),
            call_takes: config.response_timeout(),
            refusals: Refusals::default(),
        })
    }

    /// Those of a shard.
    pub(super) fn of_shard(self: &Arc<Self>) -> Envelope {
        let clock = Arc::new(ShardClock::new(self.sealing.keyring.is_some()));
        Envelope { shared: Arc::clone(self), clock }
    }

    pub(super) fn statistics(&self) -> SealStatistics {
        self.refusals.statistics()
    }
}

impl Envelope {
    /// The clock of the shard.
    pub(super) fn clock(&self) -> &Arc<ShardClock> {
        &self.clock
    }

    /// The body of the entry of a message that waits for so long.
    pub(super) fn message_body(
        &self,
        channel: &ChannelName,
        message: &PackedMessage,
        expiry: Duration,
    ) -> Result<Bytes> {
        let address = channel.local().unwrap_or_default();
        let head = self.shared.sealing.names.address(address);
        let body = entry::message_head(&head, message.len());
        self.close(
            body,
            Target::Channel(channel.queue(), address),
            self.good_for_ms(expiry),
            message.as_bytes(),
        )
    }

    /// The body of the entries of a group's message, which all queues share.
    pub(super) fn group_body(&self, group: &GroupName, message: &PackedMessage) -> Result<Bytes> {
        let head = self.shared.sealing.names.group(group.as_str());
        let body = entry::group_head(&head, message.len());
        let good_for_ms = self.good_for_ms(self.shared.expiry);
        self.close(body, Target::Group(group.as_str()), good_for_ms, message.as_bytes())
    }

    fn good_for_ms(&self, expiry: Duration) -> u64 {
        milliseconds(expiry.saturating_add(self.shared.call_takes))
    }

    /// Appends the payload.
    fn close(
        &self,
        mut body: Vec<u8>,
        target: Target<'_>,
        good_for_ms: u64,
        message: &[u8],
    ) -> Result<Bytes> {
        match &self.shared.sealing.keyring {
            None => body.extend_from_slice(message),
            Some(keyring) => {
                let now_ms = self.clock.at(Instant::now()).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Connection,
                        "the server was never reached, so its time is not known",
                    )
                })?;
                keyring.seal(&mut body, target, now_ms, good_for_ms, message)?;
            }
        }
        Ok(body.into())
    }

    /// What an entry of an inbox tells, with the names as they are; nothing of what other keys have hidden, or of what is
    /// no entry although there are keys, which is counted.
    pub(super) fn read_said(&self, entry: Entry, inbox: &str) -> Result<Option<Said>> {
        let Some(said) = self.go_past(entry.into_said(inbox), inbox)? else { return Ok(None) };
        let names = &self.shared.sealing.names;
        if names.are_plain() {
            return Ok(Some(said));
        }
        let revealed = said.revealed(names);
        if revealed.is_none() {
            self.shared.refusals.note(Refusal::NoKey, inbox);
        }
        Ok(revealed)
    }

    /// Opens what an entry of a queue, that is no inbox, brought at some time; nothing if it does not open. Why is to be
    /// counted by [`note`](Self::note).
    pub(super) fn open_entry(
        &self,
        queue: &str,
        entry: Entry,
        at: Instant,
    ) -> Result<Result<PackedMessage, Refusal>> {
        let read = match entry.into_message(queue) {
            Err(_) if self.shared.sealing.keyring.is_some() => return Ok(Err(Refusal::Malformed)),
            read => read?,
        };
        let keyring = self.keyring_at(at)?;
        let opened = match read {
            (None, payload) => try_open(keyring, Target::Channel(queue, ""), payload),
            (Some(group), payload) => {
                let group = String::from_utf8_lossy(&group);
                match self.shared.sealing.names.reveal_group(&group) {
                    Some(group) => try_open(keyring, Target::Group(&group), payload),
                    None => Err(Refusal::NoKey),
                }
            }
        };
        Ok(opened.map(|opened| PackedMessage::from_bytes(opened.message)))
    }

    /// Counts a message that was dropped because it did not open.
    pub(super) fn note(&self, refusal: Refusal, queue: &str) {
        self.shared.refusals.note(refusal, queue);
    }

    /// What was read of an entry. With keys, what is no entry is one more thing that does not open, and counted.
    fn go_past<T>(&self, read: Result<T>, queue: &str) -> Result<Option<T>> {
        match read {
            Err(_) if self.shared.sealing.keyring.is_some() => {
                self.shared.refusals.note(Refusal::Malformed, queue);
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Opens a payload that came to a target, by way of a queue; nothing if it does not open, which is counted.
    pub(super) fn open(
        &self,
        queue: &str,
        target: Target<'_>,
        payload: Bytes,
        at: Instant,
    ) -> Result<Option<Opened>> {
        let opened = try_open(self.keyring_at(at)?, target, payload);
        Ok(opened.map_err(|refusal| self.shared.refusals.note(refusal, queue)).ok())
    }

    /// The keyring, if there are keys, and the server's time at one of ours, by which it opens what came from there.
    fn keyring_at(&self, at: Instant) -> Result<Option<(&Keyring, u64)>> {
        let Some(keyring) = &self.shared.sealing.keyring else { return Ok(None) };
        // A connection is used only after its greeting, which tells the time.
        let now_ms =
            self.clock.at(at).ok_or_else(|| Error::bug("a message came from a server of unknown time"))?;
        Ok(Some((keyring, now_ms)))
    }

    /// An entry of a queue on this server, sealed again for another one, whose clock may be another; nothing if there are
    /// no keys, and it moves as it is. Who cannot open it may still move it as it is, for its receiver to count.
    pub(super) fn for_another(
        &self,
        other: &Self,
        channel: &ChannelName,
        entry: &[u8],
    ) -> Result<Result<Option<Vec<u8>>, Refusal>> {
        let queue = channel.queue();
        let keyring = self.keyring_at(Instant::now())?;
        let read = Entry::new(Bytes::copy_from_slice(entry)).into_message(queue).ok();
        let Some((header, (group, payload))) = Entry::header(entry).zip(read) else {
            return Ok(if keyring.is_some() { Err(Refusal::Malformed) } else { Ok(None) });
        };
        let group = group.map(|group| String::from_utf8_lossy(&group).into_owned());
        let group = match &group {
            Some(group) => match self.shared.sealing.names.reveal_group(group) {
                Some(group) => Some(group),
                None => return Ok(Err(Refusal::NoKey)),
            },
            None => None,
        };
        let target = match &group {
            Some(group) => Target::Group(group),
            None => Target::Channel(queue, ""),
        };
        let opened = match try_open(keyring, target, payload) {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some((_, now_ms)) = keyring.filter(|_| other.shared.sealing.keyring.is_some()) else {
            return Ok(Ok(None));
        };
        let good_for_ms = opened.until_ms.saturating_sub(ALLOWANCE_MS).saturating_sub(now_ms);
        let names = &other.shared.sealing.names;
        let body = match &group {
            Some(group) => entry::group_head(&names.group(group), opened.message.len()),
            None => entry::message_head("", opened.message.len()),
        };
        let body = other.close(body, target, good_for_ms, &opened.message)?;
        Ok(Ok(Some([header, &body].concat())))
    }
}

fn try_open(keyring: Option<(&Keyring, u64)>, target: Target<'_>, payload: Bytes) -> Result<Opened, Refusal> {
    match keyring {
        Some((keyring, now_ms)) => keyring.open(&payload, target, now_ms),
        None if is_sealed(&payload) => Err(Refusal::Sealed),
        None => Ok(Opened { message: payload, until_ms: u64::MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;

    const HOUR: u64 = 3_600_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn config() -> ConfigBuilder {
        ConfigBuilder::new().symmetric_encryption_keys(["key"])
    }

    /// A shard of a layer whose server's clock shows this time.
    fn shard(config: &ConfigBuilder, server_ms: u64) -> Envelope {
        let envelope = Envelopes::new(&config.build().unwrap()).of_shard();
        assert!(envelope.clock().learn(Instant::now(), server_ms));
        envelope
    }

    fn entry(body: &[u8]) -> Entry {
        Entry::new([&[0; 18], body].concat().into())
    }

    fn receive(shard: &Envelope, entry: Entry) -> Option<PackedMessage> {
        shard.open_entry("jobs", entry, Instant::now()).unwrap().ok()
    }

    #[test]
    fn what_is_drained_to_a_server_with_another_clock_is_sealed_for_it_and_for_no_longer_than_before() {
        let (jobs, message) = (ChannelName::new("jobs").unwrap(), PackedMessage::from_bytes(&b"\x07"[..]));
        for config in [config(), config().hide_names("names")] {
            for (from_ms, to_ms) in [(HOUR, 3 * HOUR), (3 * HOUR, HOUR)] {
                let (from, to) = (shard(&config, from_ms), shard(&config, to_ms));
                let group = GroupName::new("room").unwrap();
                for body in [
                    from.message_body(&jobs, &message, MINUTE).unwrap(),
                    from.group_body(&group, &message).unwrap(),
                ] {
                    let drained = [&[0; 18], &body[..]].concat();
                    // Half a minute passes on the old server.
                    assert!(from.clock().learn(Instant::now(), from_ms + 30_000));
                    let moved = from.for_another(&to, &jobs, &drained).unwrap().unwrap().unwrap();
                    let again = Entry::new(moved.into());
                    assert_eq!(receive(&to, again.clone()).as_ref(), Some(&message));
                    let left_ms = 65_000 - 30_000 + ALLOWANCE_MS;
                    assert!(to.clock().learn(Instant::now(), to_ms + left_ms - 1_000));
                    assert_eq!(receive(&to, again.clone()).as_ref(), Some(&message));
                    assert!(to.clock().learn(Instant::now(), to_ms + left_ms + 1_000));
                    assert_eq!(receive(&to, again), None);
                    assert!(to.clock().learn(Instant::now(), to_ms));
                    if to_ms > from_ms {
                        assert_eq!(receive(&to, entry(&body)), None, "as it was it is too old there");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_drained_and_cannot_be_opened_is_told_from_what_need_not_be() {
        let (jobs, message) = (ChannelName::new("jobs").unwrap(), PackedMessage::from_bytes(&b"\x07"[..]));
        let (ours, clear) = (shard(&config(), HOUR), shard(&ConfigBuilder::new(), HOUR));
        let others = shard(&ConfigBuilder::new().symmetric_encryption_keys(["other"]), HOUR);
        let (late, early) = (shard(&config(), 3 * HOUR), shard(&config(), 0));
        let entry =
            |shard: &Envelope| [&[0; 18], &shard.message_body(&jobs, &message, MINUTE).unwrap()[..]].concat();
        for (from, to, entry, due) in [
            (&ours, &ours, entry(&others), Err(Refusal::NoKey)),
            (&ours, &ours, entry(&clear), Err(Refusal::ClearText)),
            (&ours, &ours, b"no entry".to_vec(), Err(Refusal::Malformed)),
            (&ours, &ours, Vec::new(), Err(Refusal::Malformed)),
            (&late, &early, entry(&ours), Err(Refusal::TooOld)),
            (&clear, &clear, entry(&ours), Err(Refusal::Sealed)),
            (&clear, &clear, entry(&clear), Ok(None)),
            (&clear, &clear, b"no entry".to_vec(), Ok(None)),
            // Nothing that was sealed is written in clear text.
            (&ours, &clear, entry(&ours), Ok(None)),
            (&clear, &ours, entry(&clear), Ok(None)),
        ] {
            assert_eq!(from.for_another(to, &jobs, &entry).unwrap(), due);
        }
    }

    #[test]
    fn nothing_is_sealed_before_the_server_was_reached() {
        let never = Envelopes::new(&config().build().unwrap()).of_shard();
        let message = PackedMessage::from_bytes(&b"\x07"[..]);
        let error = never.message_body(&ChannelName::new("jobs").unwrap(), &message, MINUTE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
    }

    #[test]
    fn a_message_of_a_server_whose_time_is_not_known_is_a_bug_and_not_too_old() {
        let never = Envelopes::new(&config().build().unwrap()).of_shard();
        let (jobs, message) = (ChannelName::new("jobs").unwrap(), PackedMessage::from_bytes(&b"\x07"[..]));
        let sealed = entry(&shard(&config(), HOUR).message_body(&jobs, &message, MINUTE).unwrap());
        let error = never.open_entry("jobs", sealed, Instant::now()).unwrap_err();
        assert_eq!((error.kind(), never.shared.statistics().total()), (ErrorKind::Internal, 0));
    }
}
