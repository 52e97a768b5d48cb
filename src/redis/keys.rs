//! Every key of a shard, and its wake channel. The shapes are published in `lua/README.md`.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::name::GroupName;
use crate::seal::Names;

/// The prefix under which all keys of a shard stand.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Arc<str>,
    names: Names,
}

impl Keys {
    pub(super) fn new(prefix: &str, names: Names) -> Self {
        Self { prefix: prefix.into(), names }
    }

    /// How the server sees names.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn schema(&self) -> String {
        format!("{}schema", self.prefix)
    }

    pub(super) fn queue(&self, queue: &str) -> String {
        [&self.prefix, "q:", &self.names.queue(queue)].concat()
    }

    /// The queues in which a group has members.
    pub(super) fn group(&self, group: &GroupName) -> String {
        [&self.prefix, "g:", &self.names.group(group.as_str())].concat()
    }

    /// The groups that have members in a queue.
    pub(super) fn groups_of(&self, queue: &str) -> String {
        [&self.prefix, "s:", &self.names.queue(queue)].concat()
    }

    /// What a drain has taken out of a queue and another server may not have yet.
    pub(super) fn aside(&self, queue: &str) -> String {
        [&self.prefix, "o:", &self.names.queue(queue)].concat()
    }

    /// The sign that a batch of a drain was put here.
    pub(super) fn batch(&self, batch: &str) -> String {
        [&self.prefix, "p:", batch].concat()
    }

    pub(super) fn inbox(&self, inbox: &str) -> String {
        [&self.prefix, "i:", &self.names.queue(inbox)].concat()
    }

    /// The mailboxes of an inbox that take no more messages.
    pub(super) fn full_mailboxes(&self, inbox: &str) -> String {
        [&self.prefix, "f:", &self.names.queue(inbox)].concat()
    }

    pub(super) fn client(&self, client: &ClientId) -> String {
        format!("{}c:{client}", self.prefix)
    }

    /// A key that is there for some seconds, by which two servers are told apart from one.
    pub(super) fn token(&self, random: &ClientId) -> String {
        format!("{}x:{random}", self.prefix)
    }

    /// The pub/sub channel on which a client is told of its messages. It knows no databases, but the client's id is
    /// drawn anew for each shard, so it carries the database and the shard.
    pub(super) fn wake(&self, client: &ClientId) -> String {
        format!("{}wake:{client}", self.prefix)
    }
}

/// What one process calls itself on one shard: 128 random bits.
#[derive(Clone, Debug)]
pub(super) struct ClientId(Arc<str>);

impl ClientId {
    pub(super) fn random() -> Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| {
            Error::new(ErrorKind::Internal, "the system gives no random numbers, which client ids need")
                .with_source(error)
        })?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bits)).into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
