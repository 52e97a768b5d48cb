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

on_one_and_three_servers!(
    members_that_are_kept_while_a_flush_is_under_way_are_out_when_it_has_ended,
    threads
);
/// Shows R56.
async fn members_that_are_kept_while_a_flush_is_under_way_are_out_when_it_has_ended(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "flush-kept").capacity(2)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut mailbox, mut busy) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    // Each time that it is full, and has room again, its owner gives a sign of life and looks whether members are missing.
    let filling = tokio::spawn({
        let (other, name) = (other.clone(), busy.name().clone());
        async move {
            loop {
                let _ = other.send(&name, &0).await;
            }
        }
    });
    let emptying = tokio::spawn(async move {
        loop {
            busy.receive::<u64>().await.unwrap();
            sleep(PAUSE / 5).await;
        }
    });
    for round in 0..20 {
        for group in 0..20 {
            other.group_add(format!("room-{group}"), mailbox.name()).await.unwrap();
        }
        // Its owner knows.
        other.send_wait(mailbox.name(), &round, super::PATIENCE).await.unwrap();
        assert_eq!(soon("its message", mailbox.receive::<u64>()).await.unwrap(), round);
        other.flush().await.unwrap();
        // What was under way has ended.
        sleep(4 * PAUSE).await;
        let groups = other.channel_groups(mailbox.name()).await.unwrap();
        assert_eq!(groups.len(), 0, "round {round}: {groups:?}");
    }
    filling.abort();
    emptying.abort();
}
