//! The check of all options at once: what was written becomes a [`Config`], and an option that was not written gets its default.

use std::time::Duration;

use super::builder::ConfigBuilder;
use super::capacity::Capacities;
use super::checked::Config;
use super::checks::{
    self, DEFAULT_INBOX_BYTES, DEFAULT_MAX_MESSAGE_SIZE, HOUR, INBOX_BYTES, MAX_CAPACITY,
    MAX_CHANNELS_PER_RECEIVE, MAX_MESSAGE_SIZE, MAX_SENDS_IN_FLIGHT, MILLISECOND, SECOND, TEN_YEARS, count,
    time,
};
use crate::error::Result;

impl ConfigBuilder {
    /// Checks all options. Connects nothing.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config), naming the option, its value and what is allowed. Passwords are masked.
    ///
    /// ```
    /// use asgi_redis::ConfigBuilder;
    ///
    /// let error = ConfigBuilder::new().capacity(0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "option `capacity`: 0 is not allowed, only 1 to 1000000000");
    /// ```
    pub fn build(&self) -> Result<Config> {
        let capacity = count("capacity", self.capacity, 100, 1..=MAX_CAPACITY)?;
        let inbox_capacity = count("inbox_capacity", self.inbox_capacity, 10_000, 1..=MAX_CAPACITY)?;
        checks::channel_capacity(&self.channel_capacity)?;
        let seconds = Duration::from_secs;
        let hosts = checks::hosts(self.hosts.as_deref(), &self.single)?;
        Ok(Config {
            credentials: checks::credentials(self.credentials.as_ref(), self.login_file.as_ref(), &hosts)?,
            tls: checks::tls(&self.tls, &hosts)?,
            hosts,
            prefix: checks::prefix(self.prefix.as_deref())?,
            expiry: time("expiry", self.expiry, seconds(60), MILLISECOND..=TEN_YEARS)?,
            group_expiry: time("group_expiry", self.group_expiry, seconds(86_400), MILLISECOND..=TEN_YEARS)?,
            capacities: Capacities::new(&self.channel_capacity, capacity, inbox_capacity)?,
            inbox_bytes: count("inbox_bytes", self.inbox_bytes, DEFAULT_INBOX_BYTES, INBOX_BYTES)?,
            sealing: checks::sealing(self.encryption_keys.as_deref(), self.name_key.as_ref())?,
            max_message_size: count(
                "max_message_size",
                self.max_message_size,
                DEFAULT_MAX_MESSAGE_SIZE,
                1..=MAX_MESSAGE_SIZE,
            )?,
            lease: time("lease", self.lease, seconds(60), SECOND..=HOUR)?,
            membership_lease: time("membership_lease", self.membership_lease, seconds(60), SECOND..=HOUR)?,
            renew_memberships: self.renew_memberships.unwrap_or(false),
            response_timeout: time(
                "response_timeout",
                self.response_timeout,
                seconds(5),
                MILLISECOND..=TEN_YEARS,
            )?,
            connect_timeout: time(
                "connect_timeout",
                self.connect_timeout,
                seconds(5),
                MILLISECOND..=TEN_YEARS,
            )?,
            max_channels_per_receive: count(
                "max_channels_per_receive",
                self.max_channels_per_receive,
                1_000,
                1..=MAX_CHANNELS_PER_RECEIVE,
            )?,
            max_sends_in_flight: count(
                "max_sends_in_flight",
                self.max_sends_in_flight,
                4_096,
                1..=MAX_SENDS_IN_FLIGHT,
            )?,
        })
    }
}
