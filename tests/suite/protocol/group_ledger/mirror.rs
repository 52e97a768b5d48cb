//! What the owner of an inbox knows of its groups, fed by the entries of the inbox alone.

use std::collections::BTreeMap;

use crate::support::Entry;

pub(super) struct Mirror {
    inbox: &'static str,
    /// By group and address: when the membership ends, in milliseconds, and since when it is known, in microseconds.
    members: BTreeMap<String, BTreeMap<String, (u64, u64)>>,
    delivered: BTreeMap<String, Vec<String>>,
}

impl Mirror {
    pub(super) fn new(inbox: &'static str) -> Self {
        Self { inbox, members: BTreeMap::new(), delivered: BTreeMap::new() }
    }

    pub(super) fn apply(&mut self, batch: &[Entry]) {
        for entry in batch {
            let (since, text) = (entry.microseconds(), entry.text());
            let (kind, rest) = text.split_at(1);
            let (group, rest) = rest.split_once(' ').unwrap();
            let members = self.members.entry(group.to_owned()).or_default();
            match kind {
                "g" => {
                    for (address, _) in members.iter().filter(|(_, (end, _))| *end > since / 1000) {
                        let channel = format!("{}{address}", self.inbox);
                        self.delivered.entry(channel).or_default().push(rest.to_owned());
                    }
                }
                "+" | "=" => {
                    if kind == "=" {
                        members.retain(|_, (_, known)| *known >= since);
                    }
                    members.insert(rest.to_owned(), (entry.deadline(), since));
                }
                "-" => members.retain(|address, (_, known)| address != rest || *known > since),
                other => panic!("{other} is no kind that is sent here"),
            }
        }
    }

    /// What each channel got, in order.
    pub(super) fn into_delivered(self) -> BTreeMap<String, Vec<String>> {
        self.delivered
    }
}
