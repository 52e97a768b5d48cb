//! A configuration whose options were checked.

use std::time::Duration;

use super::capacity::Capacities;
use super::credentials::Source;
use super::host::Host;
use super::tls::Tls;
use crate::name::ChannelName;
use crate::seal::Sealing;

/// The options of a Redis layer, checked. [`ConfigBuilder::build`](crate::ConfigBuilder::build) makes it.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) hosts: Vec<Host>,
    pub(super) credentials: Option<Source>,
    pub(super) tls: Tls,
    pub(super) prefix: String,
    pub(super) expiry: Duration,
    pub(super) group_expiry: Duration,
    pub(super) capacities: Capacities,
    pub(super) inbox_bytes: usize,
    pub(super) sealing: Sealing,
    pub(super) max_message_size: usize,
    pub(super) lease: Duration,
    pub(super) membership_lease: Duration,
    pub(super) renew_memberships: bool,
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_channels_per_receive: usize,
    pub(super) max_sends_in_flight: usize,
}

impl Config {
    /// The servers, each of them once; empty if the one host is `memory://`.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Who is asked for users and passwords.
    pub(crate) fn credentials(&self) -> Option<&Source> {
        self.credentials.as_ref()
    }

    /// How servers with TLS are connected to.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The beginning of every key.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long a message waits.
    pub fn expiry(&self) -> Duration {
        self.expiry
    }

    /// How long a channel stays in a group after it was last added.
    pub fn group_expiry(&self) -> Duration {
        self.group_expiry
    }

    /// How many messages a channel holds; of a mailbox, how many unread ones its process holds for it.
    pub fn capacity_of(&self, channel: &ChannelName) -> usize {
        self.capacities.of(channel)
    }

    /// How many messages the queue holds in which those to a channel wait: the channel's own, or its inbox's, which all
    /// mailboxes of a process share.
    pub fn queue_capacity_of(&self, channel: &ChannelName) -> usize {
        self.capacities.of_queue(channel)
    }

    /// How many bytes an inbox of this process may have on its server before a message of over 4 KiB is refused.
    pub fn inbox_bytes(&self) -> usize {
        self.inbox_bytes
    }

    /// Whether messages are sealed.
    pub fn has_encryption_keys(&self) -> bool {
        self.sealing.keyring.is_some()
    }

    /// Whether the server does not see the names of channels and groups.
    pub fn hides_names(&self) -> bool {
        !self.sealing.names.are_plain()
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// The largest message, in bytes as sent.
    pub fn max_message_size(&self) -> usize {
        self.max_message_size
    }

    /// How long the waiting receives of a silent process keep their places in line.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long the memberships of a silent process count.
    pub fn membership_lease(&self) -> Duration {
        self.membership_lease
    }

    /// Whether the memberships of open mailboxes are renewed before they end.
    pub fn renew_memberships(&self) -> bool {
        self.renew_memberships
    }

    /// How long to wait for the answer of a server.
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// How long to wait for a connection.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// On how many channels one receive may wait.
    pub fn max_channels_per_receive(&self) -> usize {
        self.max_channels_per_receive
    }

    /// How many sends to one server may be under way at once.
    pub fn max_sends_in_flight(&self) -> usize {
        self.max_sends_in_flight
    }
}
