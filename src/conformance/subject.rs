//! The layer under test, and the settings that a test wants.

use std::sync::Arc;
use std::time::Duration;

use crate::{BoxFuture, ChannelLayer, ConfigBuilder};

/// What the layers of one test have in common.
///
/// A capacity is that of the first pattern that matches, else `capacity`. The patterns are globs, as
/// [`glob`](crate::glob) has them: each is tried on the full name, and for a `!` name also without the process part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a message waits before it is dropped.
    pub expiry: Duration,
    /// How long a channel stays in a group after it was last added.
    pub group_expiry: Duration,
    /// How many live messages a channel holds.
    pub capacity: usize,
    /// Other capacities, by pattern.
    pub channel_capacity: Vec<(String, usize)>,
    /// The largest message, in bytes as sent.
    pub max_message_size: usize,
}

/// The defaults of this crate.
impl Default for Settings {
    fn default() -> Self {
        let config = ConfigBuilder::new().build().unwrap();
        Self {
            expiry: config.expiry(),
            group_expiry: config.group_expiry(),
            capacity: config.capacity_of(&"any".parse().unwrap()),
            channel_capacity: Vec::new(),
            max_message_size: config.max_message_size(),
        }
    }
}

/// The layer under test: how to make one.
pub trait Subject: Send + Sync {
    /// Makes so many layers, each as a program of its own would have it, that share one namespace, which is new and
    /// empty: no layer of another call has it.
    ///
    /// # Panics
    ///
    /// When it cannot, and the test fails.
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>>;

    /// Whether adding a normal channel to a group is an error, as it is for a layer whose normal channels do not leave
    /// the machine. The tests then require the error, and use channels of other kinds as members.
    fn refuses_normal_channels_in_groups(&self) -> bool {
        false
    }

    /// Whether a receive on a normal channel may be handed several messages, of which all but one go back later, so
    /// that the channel holds more than its capacity for a moment, as on several servers at once. Without receives the
    /// capacity is exact all the same.
    fn may_exceed_capacity_while_receiving(&self) -> bool {
        false
    }
}
