//! One queue: the messages that wait in it, and the receives that wait for one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use crate::message::PackedMessage;

/// An emptied queue keeps the memory for this many messages, and gives back what is above it.
const KEPT_ROOM: usize = 32;
/// This many bytes count for a sweep like one message more.
const BYTES_A_MESSAGE: usize = 4096;

/// A message that waits, or that was handed to a receive.
#[derive(Debug)]
pub(super) struct Entry {
    /// In the order of the sends.
    pub(super) number: u64,
    pub(super) sent: Instant,
    pub(super) deadline: Instant,
    pub(super) message: PackedMessage,
}

impl Entry {
    pub(super) fn is_live(&self, now: Instant) -> bool {
        now < self.deadline
    }

    /// Returns how much it counts for the next sweep.
    pub(super) fn weight(&self) -> usize {
        1 + self.message.len() / BYTES_A_MESSAGE
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Messages that were handed to a receive and came back. They are taken first, and do not count for the capacity.
    returned: BTreeMap<u64, Entry>,
    /// No entry of `entries` expires before this.
    earliest: Option<Instant>,
    /// The tickets of the receives that wait here, the oldest first.
    pub(super) line: BTreeSet<u64>,
}

impl Queue {
    /// Appends a message. Fails if as many live messages wait as the capacity allows, with their number.
    pub(super) fn push(&mut self, entry: Entry, capacity: usize, now: Instant) -> Result<(), usize> {
        if self.entries.len() >= capacity {
            self.drop_expired(now);
            if self.entries.len() >= capacity {
                return Err(self.entries.len());
            }
        }
        self.earliest = Some(self.earliest.map_or(entry.deadline, |earliest| earliest.min(entry.deadline)));
        self.entries.push_back(entry);
        Ok(())
    }

    /// Takes the next live message.
    pub(super) fn take(&mut self, now: Instant) -> Option<Entry> {
        while let Some((_, entry)) = self.returned.pop_first() {
            if entry.is_live(now) {
                return Some(entry);
            }
        }
        while let Some(entry) = self.entries.pop_front() {
            if self.entries.is_empty() {
                self.earliest = None;
                if self.entries.capacity() > KEPT_ROOM {
                    self.entries.shrink_to_fit();
                }
            }
            if entry.is_live(now) {
                return Some(entry);
            }
        }
        None
    }

    /// Puts a message back to its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.returned.insert(entry.number, entry);
    }

    /// Drops all messages. Receives that wait go on waiting.
    pub(super) fn clear(&mut self) {
        *self = Self { line: std::mem::take(&mut self.line), ..Self::default() };
    }

    /// Reports whether neither a message nor a receive waits here.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.returned.is_empty() && self.line.is_empty()
    }

    /// Returns the messages that wait and have not expired.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.returned.values().chain(&self.entries).filter(move |entry| entry.is_live(now))
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        if !self.returned.is_empty() {
            self.returned.retain(|_, entry| entry.is_live(now));
        }
        if self.earliest.is_some_and(|earliest| earliest <= now) {
            self.entries.retain(|entry| entry.is_live(now));
            self.earliest = self.entries.iter().map(|entry| entry.deadline).min();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(number: u64, now: Instant, seconds: u64) -> Entry {
        let message = PackedMessage::pack(&number).unwrap();
        Entry { number, sent: now, deadline: now + Duration::from_secs(seconds), message }
    }

    fn numbers(queue: &mut Queue, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| queue.take(now)).map(|entry| entry.number).collect()
    }

    #[test]
    fn what_came_back_is_first_in_its_order_and_does_not_count() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 1..=3 {
            queue.push(entry(number, now, 60), 3, now).unwrap();
        }
        let (one, two) = (queue.take(now).unwrap(), queue.take(now).unwrap());
        queue.put_back(two);
        queue.put_back(one);
        queue.push(entry(4, now, 60), 3, now).unwrap();
        queue.push(entry(5, now, 60), 3, now).unwrap();
        assert_eq!(queue.push(entry(6, now, 60), 3, now), Err(3));
        assert_eq!(numbers(&mut queue, now), [1, 2, 3, 4, 5]);
        assert!(queue.is_idle());
    }

    #[test]
    fn expired_ones_do_not_count_wherever_they_stand() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(entry(1, now, 60), 2, now).unwrap();
        queue.push(entry(2, now, 1), 2, now).unwrap();
        assert_eq!(queue.push(entry(3, now, 60), 2, now), Err(2));
        let later = now + Duration::from_secs(1);
        queue.push(entry(4, later, 60), 2, later).unwrap();
        assert_eq!(queue.push(entry(5, later, 60), 2, later), Err(2));
        assert_eq!(numbers(&mut queue, later), [1, 4]);
    }
}
