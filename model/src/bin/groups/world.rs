//! The whole: server, owner, what is on its way between them, and what is true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::oracle::{Message, Truth, Unsettled};
use crate::owner::Owner;
use crate::random::Random;
use crate::rules::{Broken, Rules};
use crate::state::{Call, Entry, Key, Reply, Server, Tag};

pub struct World {
    pub random: Random,
    pub rules: Rules,
    /// Runs by the mechanism of schema 2.
    pub old: bool,
    /// The clock that only counts, and the server's clock less it, in ms.
    pub time: i64,
    pub offset: i64,
    pub server: Server,
    /// An old state that may come back, with the number of changes then.
    pub snapshot: Option<(Server, u64)>,
    pub calls: VecDeque<Call>,
    pub replies: VecDeque<Reply>,
    pub owner: Owner,
    /// The calls of the other clients.
    pub others: [u64; 3],
    pub entries: u64,
    pub us: i64,
    /// Changes so far. Each has its number here, whatever the server forgets.
    pub changes: u64,
    pub change_of: BTreeMap<Tag, u64>,
    pub truth: BTreeMap<Key, Truth>,
    /// For each member, the last change that the owner was answered, and the last that it read.
    pub answered: BTreeMap<Key, u64>,
    pub read: BTreeMap<Key, u64>,
    /// Members of whom nothing is known until the last fault is healed.
    pub limbo: BTreeSet<Key>,
    pub messages: Vec<Message>,
    pub unsettled: Option<Unsettled>,
    pub faults: u64,
    pub weak: bool,
    pub clock_was_set: bool,
    /// A flush is under way, which has removed the groups below this one.
    pub flushing: Option<u8>,
    /// The program is mostly quiet.
    pub light: bool,
    pub checked: u64,
    pub fired: u64,
    pub failure: Option<String>,
    /// What happened, if somebody wants it.
    pub trace: Option<Vec<String>>,
}

impl World {
    pub fn new(seed: u64, rules: Rules, traces: bool) -> Self {
        let old = rules.breaks(Broken::Old);
        Self {
            random: Random::new(seed),
            rules,
            old,
            time: 1_000_000_000,
            offset: 0,
            server: Server::default(),
            snapshot: None,
            calls: VecDeque::new(),
            replies: VecDeque::new(),
            owner: Owner { up: true, wants_keep: true, ..Owner::default() },
            others: [0; 3],
            entries: 0,
            us: 0,
            changes: 0,
            change_of: BTreeMap::new(),
            truth: BTreeMap::new(),
            answered: BTreeMap::new(),
            read: BTreeMap::new(),
            limbo: BTreeSet::new(),
            messages: vec![],
            unsettled: Some(Unsettled { fault: 0, rounds: 0, scrub: false }),
            faults: 0,
            weak: false,
            clock_was_set: false,
            flushing: None,
            light: false,
            checked: 0,
            fired: 0,
            failure: None,
            trace: traces.then(Vec::new),
        }
    }

    pub fn breaks(&self, rule: Broken) -> bool {
        self.rules.breaks(rule)
    }

    pub fn now(&self) -> i64 {
        self.time + self.offset
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.time, line()));
        }
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries += 1;
        self.server.queue.push_back((self.entries, entry));
    }
}
