//! Members whom the owner of an inbox leaves alone, because a change of the program concerns them.

use std::collections::{HashMap, HashSet};

use crate::redis::calls::Operation;

/// Members, and addresses, of whom a change of the program waits, is under way, or is unread.
#[derive(Debug, Default)]
pub(in crate::redis) struct Busy {
    /// The addresses, by their group.
    members: HashMap<Box<str>, HashSet<Box<str>>>,
    addresses: HashSet<Box<str>>,
}

impl Busy {
    pub(in crate::redis) fn has(&self, group: &str, address: &str) -> bool {
        self.addresses.contains(address)
            || self.members.get(group).is_some_and(|members| members.contains(address))
    }

    /// The member that an operation changes.
    pub(super) fn add(&mut self, operation: &Operation) {
        self.members.entry(operation.group.clone()).or_default().insert(operation.address.clone());
    }

    /// An address that leaves all its groups.
    pub(super) fn add_address(&mut self, address: Box<str>) {
        self.addresses.insert(address);
    }
}
