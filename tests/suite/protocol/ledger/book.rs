//! The ledger: what became of each message, and what happened before it went wrong.

use std::collections::{HashMap, VecDeque};
use std::fmt::Arguments;

use super::ORDERED;
use crate::support::Entry;

/// How many of the last events are told with a failure.
const TOLD: usize = 60;

pub(super) struct Book {
    seed: u64,
    messages: HashMap<String, Message>,
    /// The number of the ordered queue's message that was delivered last.
    last_in_order: Option<usize>,
    wakes: usize,
    events: VecDeque<String>,
}

struct Message {
    number: usize,
    expires: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sent,
    Refused,
    Accepted,
    Delivered,
}

impl Book {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, messages: HashMap::new(), last_in_order: None, wakes: 0, events: VecDeque::new() }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Notes what happened, for the case that it goes wrong.
    pub(super) fn note(&mut self, event: Arguments<'_>) {
        if self.events.len() == TOLD {
            self.events.pop_front();
        }
        self.events.push_back(event.to_string());
    }

    /// Where a failure was met.
    pub(super) fn said(&self) -> String {
        let events: Vec<&str> = self.events.iter().map(String::as_str).collect();
        format!("seed {}, after\n{}\n", self.seed, events.join("\n"))
    }

    pub(super) fn new_message(&mut self, queue: &str, expires: bool) -> String {
        let number = self.messages.len();
        let body = format!("{queue} {number}");
        self.messages.insert(body.clone(), Message { number, expires, state: State::Sent });
        body
    }

    pub(super) fn accepted(&mut self, body: &str) {
        self.note(format_args!("accepted {body}"));
        self.change(body, State::Sent, State::Accepted);
    }

    pub(super) fn full(&mut self, body: &str, live: u64, capacity: usize) {
        assert!(live >= capacity as u64, "{} refused {body} with {live} waiting", self.said());
        self.change(body, State::Sent, State::Refused);
    }

    pub(super) fn refused_all(&mut self, bodies: &[String]) {
        for body in bodies {
            self.change(body, State::Sent, State::Refused);
        }
    }

    pub(super) fn woken(&mut self, who: usize, ticket: u64, entry: &Entry) {
        self.note(format_args!("{who} is woken for {ticket} by {}", entry.text()));
        self.wakes += 1;
    }

    pub(super) fn delivered(&mut self, entry: &Entry, queue: &str, who: &str) {
        let body = entry.text();
        self.note(format_args!("{who} delivers {body}"));
        self.change(&body, State::Accepted, State::Delivered);
        let number = self.messages[&body].number;
        assert!(body.starts_with(queue), "{}{body} came from {queue}", self.said());
        if queue == ORDERED {
            assert!(self.last_in_order < Some(number), "{}{body} is late", self.said());
            self.last_in_order = Some(number);
        }
    }

    /// Whatever was accepted must have come, or expired.
    pub(super) fn close(&self) {
        let missing = |(body, message): (&String, &Message)| {
            (message.state == State::Accepted && !message.expires).then(|| body.clone())
        };
        let missing: Vec<String> = self.messages.iter().filter_map(missing).collect();
        assert!(missing.is_empty(), "seed {}: lost {missing:?}", self.seed);
        let count = |state| self.messages.values().filter(|message| message.state == state).count();
        assert_eq!(count(State::Sent), 0);
        assert!(count(State::Delivered) > 200, "seed {} shows little", self.seed);
        assert!(self.wakes > 40, "seed {}: few were woken", self.seed);
        assert!(count(State::Accepted) > 0, "seed {}: none expired", self.seed);
        assert!(count(State::Refused) > 0, "seed {}: none was refused", self.seed);
    }

    fn change(&mut self, body: &str, from: State, to: State) {
        let said = self.said();
        let message = self.messages.get_mut(body).unwrap_or_else(|| panic!("{said}nobody sent {body}"));
        assert_eq!(message.state, from, "{said}{body} becomes {to:?}");
        message.state = to;
    }
}
