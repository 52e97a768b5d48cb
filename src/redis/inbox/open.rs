//! How an inbox begins: it takes a name on a server, and its reader starts.

use std::sync::Arc;

use tokio::time::Instant;

use super::Reader;
use super::clock::Clock;
use super::log::{Chain, Log};
use super::reports::Reports;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::EventSource;
use crate::inbox::{Mailboxes, new_inbox_name};
use crate::name::ChannelName;
use crate::redis::calls::InboxKeepReply;
use crate::redis::milliseconds::milliseconds;
use crate::redis::receive::Tickets;
use crate::redis::shard::Shard;

/// How many names are tried: one of 96 random bits is hardly ever taken, but its server may be down.
const MAX_NAMES: usize = 16;

/// Opens an inbox on a shard, and reads it for as long as its handles live and the layer is open.
pub(in crate::redis) async fn open(
    name: &str,
    shard_of: impl Fn(&ChannelName) -> Result<Arc<Shard>>,
    tickets: &Arc<Tickets>,
    config: &Config,
    events: &EventSource,
) -> Result<Arc<Mailboxes>> {
    let mut failure = None;
    for _ in 0..MAX_NAMES {
        let name = new_inbox_name(name)?;
        let shard = shard_of(&name)?;
        if let Err(error) = shard.check_reachable() {
            failure = Some(error);
            continue;
        }
        let line = shard.changes().own(&name, config);
        let chain = Chain::new(shard.client().as_str());
        let epoch = shard.epoch().unwrap_or_default();
        let asked = Instant::now();
        let mut reports = Reports::default();
        let report = reports.next();
        let lease_ms = milliseconds(config.membership_lease());
        let InboxKeepReply::Kept { now_us, groups, marks } =
            line.keep(lease_ms, Some(chain.last()), &report).await?
        else {
            continue;
        };
        shard.envelope().clock().learn(asked, now_us / 1000);
        let mut log = Log::new(line, shard.names().clone(), chain, Clock::new(asked, now_us));
        log.kept(asked, now_us, groups);
        reports.told(report, marks);
        let mailboxes = Mailboxes::new(name.clone(), config.capacity_of(&name)).telling(events);
        let mailboxes = Arc::new(mailboxes);
        let reader = Reader {
            mailboxes: Arc::clone(&mailboxes),
            tickets: Arc::clone(tickets),
            shard,
            log,
            reports,
            lease: config.membership_lease(),
            renew_after: config.renew_memberships().then(|| config.group_expiry()),
            epoch,
            odd_until: None,
            patience: None,
            is_refused: false,
        };
        tokio::spawn(reader.run());
        return Ok(mailboxes);
    }
    Err(failure
        .unwrap_or_else(|| Error::bug(format_args!("{MAX_NAMES} random names of an inbox were all taken"))))
}
