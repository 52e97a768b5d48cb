//! Who is in a group: channels of any kind, added by anybody, until they are discarded or their time is over.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, RedisChannelLayer};

use super::{MOMENT, layers, options, promptly, until};
use crate::support::Servers;

const SHORT: Duration = Duration::from_millis(700);

/// A process whose additions last long, and one whose additions do not.
async fn long_and_brief(options: &ConfigBuilder) -> [RedisChannelLayer; 2] {
    let brief = options.clone().group_expiry(SHORT);
    [options.connect().await.unwrap(), brief.connect().await.unwrap()]
}

on_one_and_three_servers!(channels_of_any_kind_are_members_whoever_adds_them);
async fn channels_of_any_kind_are_members_whoever_adds_them(servers: Servers) {
    let [owner, adder, sender] = layers(&options(&servers, "kinds")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for name in [mailbox.name().as_str(), "normal", "single?1", "normal"] {
        adder.group_add("room", name).await.unwrap();
    }
    assert_eq!(sender.group_len("room").await.unwrap(), 3);
    let mut listed: Vec<String> =
        sender.group_channels("room").await.unwrap().iter().map(ToString::to_string).collect();
    listed.sort_unstable();
    assert_eq!(listed, [mailbox.name().as_str(), "normal", "single?1"]);
    let receive = tokio::spawn({
        let adder = adder.clone();
        async move { adder.receive::<u64>(["normal"]).await.unwrap() }
    });
    tokio::time::sleep(MOMENT).await;
    let receipt = sender.group_send("room", &1).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full(), receipt.expired(), receipt.failed()), (3, 0, 0, 0));
    // One that waits is woken, one that comes later finds it.
    assert_eq!(promptly("the normal channel's", receive).await.unwrap().1, 1);
    assert_eq!(promptly("the other's", owner.receive::<u64>(["single?1"])).await.unwrap().1, 1);
    assert_eq!(promptly("the mailbox's", mailbox.receive::<u64>()).await.unwrap(), 1);
    for (name, left) in [("normal", 2), ("single?1", 1)] {
        adder.group_discard("room", name).await.unwrap();
        adder.group_discard("room", name).await.unwrap();
        assert_eq!(sender.group_len("room").await.unwrap(), left);
    }
    assert_eq!(sender.group_send("room", &2).await.unwrap().delivered(), 1);
    assert!(owner.try_receive::<u64>(["normal", "single?1"]).await.unwrap().is_none());
}

on_one_and_three_servers!(a_channel_knows_its_groups_and_leaves_all_of_them_at_once);
async fn a_channel_knows_its_groups_and_leaves_all_of_them_at_once(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "groups-of")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let rooms: Vec<String> = (0..1_203).map(|room| format!("room-{room:04}")).collect();
    for room in &rooms {
        other.group_add(room, one.name()).await.unwrap();
    }
    other.group_add("room-0007", two.name()).await.unwrap();
    let mut groups: Vec<String> =
        other.channel_groups(one.name()).await.unwrap().iter().map(ToString::to_string).collect();
    groups.sort_unstable();
    assert_eq!(groups, rooms);
    assert!(other.channel_groups("normal").await.unwrap().is_empty());
    other.leave_groups(one.name()).await.unwrap();
    assert!(other.channel_groups(one.name()).await.unwrap().is_empty());
    assert!(other.group_is_empty("room-0000").await.unwrap());
    assert!(!other.group_is_empty("room-0007").await.unwrap());
    let _ = other.group_send("room-0007", &1).await.unwrap();
    assert_eq!(promptly("the message", two.receive::<u64>()).await.unwrap(), 1);
    assert_eq!(inbox.statistics().waiting, 0, "who has left gets nothing");
    other.leave_groups("normal").await.unwrap();
    // It comes back, after more changes than are told one by one.
    other.group_add("room-0007", one.name()).await.unwrap();
    let _ = other.group_send("room-0007", &2).await.unwrap();
    for mailbox in [&mut one, &mut two] {
        assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 2);
    }
}

on_one_and_three_servers!(a_membership_ends_so_long_after_the_last_add_as_group_expiry_says);
async fn a_membership_ends_so_long_after_the_last_add_as_group_expiry_says(servers: Servers) {
    let [long, brief] = long_and_brief(&options(&servers, "group-expiry")).await;
    let inbox = long.open_inbox("a").await.unwrap();
    let (mut renewed, mut expired, mut stays) =
        (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    long.group_add("room", stays.name()).await.unwrap();
    for name in [renewed.name().as_str(), expired.name().as_str(), "normal"] {
        brief.group_add("room", name).await.unwrap();
    }
    assert_eq!(long.group_len("room").await.unwrap(), 4);
    for _ in 0..4 {
        tokio::time::sleep(SHORT / 3).await;
        brief.group_add("room", renewed.name()).await.unwrap();
    }
    assert_eq!(long.group_len("room").await.unwrap(), 2);
    assert!(long.channel_groups("normal").await.unwrap().is_empty());
    let receipt = long.group_send("room", &1).await.unwrap();
    assert_eq!(receipt.delivered(), 1, "the normal channel is out");
    // Where it was the only one on its server, nothing is left there to count.
    assert!(receipt.expired() == 1 || servers.all().len() > 1 && receipt.expired() == 0, "{receipt:?}");
    assert_eq!(long.group_send("room", &2).await.unwrap().expired(), 0, "and is cleared away");
    for mailbox in [&mut renewed, &mut stays] {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 1);
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 2);
    }
    tokio::time::sleep(SHORT).await;
    assert_eq!(long.group_channels("room").await.unwrap(), [stays.name().clone()]);
    // Who is out gets nothing, and may come back.
    let _ = long.group_send("room", &3).await.unwrap();
    assert_eq!(promptly("a copy", stays.receive::<u64>()).await.unwrap(), 3);
    brief.group_add("room", expired.name()).await.unwrap();
    let _ = brief.group_send("room", &4).await.unwrap();
    assert_eq!(promptly("the first that it gets", expired.receive::<u64>()).await.unwrap(), 4);
    assert!(tokio::time::timeout(MOMENT, renewed.receive::<u64>()).await.is_err());
}

on_one_and_three_servers!(renewed_memberships_last_while_the_mailbox_is_open_and_no_longer);
async fn renewed_memberships_last_while_the_mailbox_is_open_and_no_longer(servers: Servers) {
    let options = options(&servers, "renew")
        .group_expiry(Duration::from_millis(1_200))
        .membership_lease(Duration::from_secs(1));
    let renewing = options.clone().renew_memberships(true).connect().await.unwrap();
    let plain = options.connect().await.unwrap();
    let (inbox, other) = (renewing.open_inbox("a").await.unwrap(), plain.open_inbox("b").await.unwrap());
    let (mut open, closed, not_renewed) =
        (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap(), other.open_mailbox().unwrap());
    for mailbox in [&open, &closed, &not_renewed] {
        plain.group_add("room", mailbox.name()).await.unwrap();
    }
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(plain.group_len("room").await.unwrap() >= 2);
    }
    assert_eq!(plain.group_len("room").await.unwrap(), 2);
    let _ = plain.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("a copy", open.receive::<u64>()).await.unwrap(), 1);
    drop(closed);
    until("the closed one is out", async || plain.group_len("room").await.unwrap() == 1).await;
    plain.group_discard("room", open.name()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(plain.group_is_empty("room").await.unwrap(), "a discarded member is not renewed");
}

on_one_and_three_servers!(a_renewal_does_not_bring_back_who_was_discarded_while_the_inbox_was_not_read);
/// Shows R26 and R39.
async fn a_renewal_does_not_bring_back_who_was_discarded_while_the_inbox_was_not_read(servers: Servers) {
    let options = options(&servers, "renew-discarded")
        .capacity(2)
        .group_expiry(Duration::from_millis(1_200))
        .membership_lease(Duration::from_secs(1))
        .renew_memberships(true);
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    let _ = other.group_send("room", &1).await.unwrap();
    until("its owner knows that it is in", async || inbox.statistics().waiting == 1).await;
    // Nobody takes what comes for the inbox as a whole, so nothing more is read from it.
    assert!(futures::poll!(std::pin::pin!(inbox.next::<u64>())).is_pending());
    let address = format!("{}x", inbox.name());
    for number in 0..2 {
        other.send(address.as_str(), &number).await.unwrap();
    }
    until("it is full", async || inbox.statistics().waiting == 3).await;
    other.group_discard("room", mailbox.name()).await.unwrap();
    assert!(other.group_is_empty("room").await.unwrap());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(other.group_is_empty("room").await.unwrap(), "the renewal made it a member again");
}

on_one_and_three_servers!(a_member_that_was_discarded_and_added_again_in_one_moment_misses_nothing_else);
async fn a_member_that_was_discarded_and_added_again_in_one_moment_misses_nothing_else(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "flicker").capacity(10_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut steady, mut flickers) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    other.group_add("room", steady.name()).await.unwrap();
    for number in 0..300_u64 {
        let (add, discard) = (number % 3 == 0, number % 3 == 1);
        if add {
            owner.group_add("room", flickers.name()).await.unwrap();
        } else if discard {
            other.group_discard("room", flickers.name()).await.unwrap();
        }
        let _ = other.group_send("room", &number).await.unwrap();
    }
    for number in 0..300 {
        assert_eq!(promptly("a copy", steady.receive::<u64>()).await.unwrap(), number);
        if number % 3 == 0 {
            assert_eq!(promptly("a copy", flickers.receive::<u64>()).await.unwrap(), number);
        }
    }
    assert_eq!(inbox.statistics().waiting, 0);
}
