//! What the owner of an inbox knows of its groups, fed by the entries of the inbox alone.

use std::collections::BTreeMap;

use crate::support::{Entry, Told};

pub(super) struct Mirror {
    inbox: &'static str,
    /// By group and address: when the membership ends, in milliseconds.
    members: BTreeMap<String, BTreeMap<String, u64>>,
    /// The number of the last change.
    n: u64,
    delivered: BTreeMap<String, Vec<String>>,
}

impl Mirror {
    pub(super) fn new(inbox: &'static str) -> Self {
        Self { inbox, members: BTreeMap::new(), n: 0, delivered: BTreeMap::new() }
    }

    pub(super) fn apply(&mut self, batch: &[Entry]) {
        for entry in batch {
            match Told::read(&entry.text()) {
                Some(told) => self.change(told),
                None => self.deliver(entry),
            }
        }
    }

    fn change(&mut self, told: Told) {
        let Told::Change { n, parts, .. } = told else { panic!("{told:?} is not told here") };
        assert_eq!(n, self.n + 1, "{}", self.inbox);
        self.n = n;
        for part in parts {
            match part.kind {
                '+' => {
                    let members = self.members.entry(part.group).or_default();
                    members.insert(part.address, part.end.unwrap());
                }
                '-' => {
                    self.members.get_mut(&part.group).and_then(|members| members.remove(&part.address));
                }
                '*' => {
                    for members in self.members.values_mut() {
                        members.remove(&part.address);
                    }
                }
                other => panic!("{other} is no part of what is done here"),
            }
        }
    }

    fn deliver(&mut self, entry: &Entry) {
        let text = entry.text();
        let (group, message) = text.strip_prefix('g').and_then(|rest| rest.split_once(' ')).unwrap();
        let members = self.members.get(group).into_iter().flatten();
        for (address, _) in members.filter(|(_, end)| **end > entry.microseconds() / 1000) {
            let channel = format!("{}{address}", self.inbox);
            self.delivered.entry(channel).or_default().push(message.to_owned());
        }
    }

    /// What each channel got, in order.
    pub(super) fn into_delivered(self) -> BTreeMap<String, Vec<String>> {
        self.delivered
    }
}
