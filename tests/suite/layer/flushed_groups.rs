//! A flush ends memberships for good: what keeps them through other things does not bring them back.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt};
use tokio::time::{Instant, sleep};

use super::{layers, options, soon};
use crate::support::{Server, Servers};

const LEASE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

on_one_and_three_servers!(what_a_flush_has_ended_is_not_renewed);
/// Shows R25.
async fn what_a_flush_has_ended_is_not_renewed(servers: Servers) {
    let expiry = Duration::from_secs(2);
    let options = options(&servers, "flush-renewed").membership_lease(LEASE);
    let [owner, other] = layers(&options.renew_memberships(true).group_expiry(expiry)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    let _ = other.group_send("room", "its owner knows").await.unwrap();
    soon("a copy", mailbox.receive::<String>()).await.unwrap();

    other.flush().await.unwrap();
    // Longer than what is left when it would be renewed, and a beat.
    let flushed = Instant::now();
    while flushed.elapsed() < expiry / 2 + LEASE {
        assert!(other.group_is_empty("room").await.unwrap(), "after {:?}", flushed.elapsed());
        sleep(PAUSE).await;
    }
}

/// Shows R25.
#[tokio::test]
async fn what_a_flush_has_ended_does_not_come_back_after_a_loss_of_data() {
    let server = Server::private();
    let [owner, other] = layers(&options(&server, "flush-lost").membership_lease(LEASE)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    other.group_add("ended", mailbox.name()).await.unwrap();
    other.flush().await.unwrap();
    other.group_add("kept", mailbox.name()).await.unwrap();
    let _ = other.group_send("kept", "its owner knows").await.unwrap();
    soon("a copy", mailbox.receive::<String>()).await.unwrap();

    let mut connection = server.connection().await;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    soon("the group that was not flushed comes back", async {
        while other.group_is_empty("kept").await.unwrap() {
            sleep(PAUSE).await;
        }
    })
    .await;
    let kept = other.channel_groups(mailbox.name()).await.unwrap();
    assert_eq!(kept.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["kept"]);
}
