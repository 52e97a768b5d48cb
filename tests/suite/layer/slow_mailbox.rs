//! A mailbox that nobody reads: its neighbours do not wait for it, and what is kept for it has a bound.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, Mailbox, RedisChannelLayer, Value};
use futures::future::join_all;

use super::{MOMENT, layers, options, promptly, through_and_beside, until};
use crate::support::{Direction, Proxy, Server, Servers, Warnings};

/// Sends numbers to a mailbox until it is full; says how many were accepted.
async fn send_until_full(sender: &RedisChannelLayer, mailbox: &Mailbox) -> u64 {
    for number in 0..1_000 {
        if let Err(error) = sender.send(mailbox.name(), &number).await {
            assert_eq!(error.kind(), ErrorKind::ChannelFull);
            assert!(error.may_retry() && !error.perhaps_sent());
            return number;
        }
        // A reader keeps up with that.
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    panic!("a mailbox that is never read takes all");
}

on_one_and_three_servers!(
    one_mailbox_that_is_never_read_does_not_keep_999_others_from_their_messages,
    threads
);
/// Shows R27.
async fn one_mailbox_that_is_never_read_does_not_keep_999_others_from_their_messages(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "slow")).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let slow = inbox.open_mailbox().unwrap();
    let mut others: Vec<Mailbox> = (0..999).map(|_| inbox.open_mailbox().unwrap()).collect();
    let names = others.iter().map(Mailbox::name).chain([slow.name()]);
    join_all(names.map(|name| owner.group_add("room", name))).await.into_iter().for_each(Result::unwrap);
    // Twice what the slow one holds, and each round comes only after all others had the one before.
    for number in 0..200_u64 {
        let receipt = sender.group_send("room", &number).await.unwrap();
        assert_eq!((receipt.delivered(), receipt.full()), (1, 0));
        for other in &mut others {
            assert_eq!(promptly("a copy", other.receive::<u64>()).await.unwrap(), number);
        }
        if number % 20 == 0 {
            sender.send(others[7].name(), &(number + 1_000)).await.unwrap();
            assert_eq!(promptly("a message", others[7].receive::<u64>()).await.unwrap(), number + 1_000);
        }
    }
    assert_eq!((slow.missed(), others[7].missed()), (100, 0));
    let statistics = inbox.statistics();
    assert_eq!((statistics.waiting, statistics.missed, statistics.mailboxes), (100, 100, 1_000));
    assert_eq!(sender.send(slow.name(), &1).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    sender.send(others[0].name(), &1).await.unwrap();
    drop(slow);
    until("it is gone", async || {
        let statistics = inbox.statistics();
        (statistics.waiting, statistics.unread, statistics.missed, statistics.mailboxes) == (1, 100, 100, 999)
    })
    .await;
}

on_one_and_three_servers!(what_was_accepted_for_a_full_mailbox_is_delivered_and_its_senders_are_told_to_wait);
/// Shows R27.
async fn what_was_accepted_for_a_full_mailbox_is_delivered_and_its_senders_are_told_to_wait(
    servers: Servers,
) {
    let [owner, sender] = layers(&options(&servers, "full").capacity(10).inbox_capacity(10)).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let (mut slow, mut other) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let accepted = send_until_full(&sender, &slow).await;
    assert!((10..=20).contains(&accepted), "{accepted}, of its own capacity and that of the inbox");
    let error = sender.send(slow.name(), &99).await.unwrap_err();
    assert!(error.to_string().contains(slow.name().as_str()), "{error}");
    sender.group_add("room", slow.name()).await.unwrap();
    sender.group_add("room", other.name()).await.unwrap();
    let _ = sender.group_send("room", "for all").await.unwrap();
    assert_eq!(promptly("a copy", other.receive::<String>()).await.unwrap(), "for all");
    assert_eq!((slow.missed(), other.missed()), (1, 0));
    // It is full until it is half empty.
    for number in 0..accepted - 6 {
        assert_eq!(promptly("a message", slow.receive::<u64>()).await.unwrap(), number);
    }
    tokio::time::sleep(MOMENT).await;
    assert_eq!(sender.send(slow.name(), &99).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    assert_eq!(promptly("a message", slow.receive::<u64>()).await.unwrap(), accepted - 6);
    until("it has room", async || sender.send(slow.name(), &100).await.is_ok()).await;
    for number in (accepted - 5..accepted).chain([100]) {
        assert_eq!(promptly("a message", slow.receive::<u64>()).await.unwrap(), number);
    }
    assert_eq!(inbox.statistics().waiting, 0);
}

on_one_and_three_servers!(a_full_mailbox_that_is_never_read_has_room_again_when_its_messages_have_expired);
async fn a_full_mailbox_that_is_never_read_has_room_again_when_its_messages_have_expired(servers: Servers) {
    let options = options(&servers, "full-expires")
        .capacity(10)
        .inbox_capacity(10)
        .expiry(Duration::from_millis(600))
        .membership_lease(Duration::from_secs(1));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut slow = inbox.open_mailbox().unwrap();
    let accepted = send_until_full(&sender, &slow).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sender.send(slow.name(), &99).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    until("it has room", async || sender.send(slow.name(), &100).await.is_ok()).await;
    // It has room when half of them have expired; on a busy machine the last may live a little longer.
    let mut lived = 0;
    while promptly("the last one", slow.receive::<u64>()).await.unwrap() != 100 {
        lived += 1;
    }
    assert!(lived <= 5, "{lived} of a capacity of 10 had not expired");
    assert_eq!(inbox.statistics().expired, accepted - lived);
}

on_one_and_three_servers!(messages_that_waited_too_long_in_the_process_are_dropped_and_counted);
async fn messages_that_waited_too_long_in_the_process_are_dropped_and_counted(servers: Servers) {
    let long = options(&servers, "process-expiry");
    let short = long.clone().expiry(Duration::from_millis(300));
    let [owner, brief] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    brief.send(mailbox.name(), &1).await.unwrap();
    let _ = brief.group_send("room", &2).await.unwrap();
    owner.send(mailbox.name(), &3).await.unwrap();
    until("all are in the process", async || inbox.statistics().waiting == 3).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(promptly("the one that lives", mailbox.receive::<u64>()).await.unwrap(), 3);
    assert_eq!(inbox.statistics().expired, 2);
}

on_one_and_three_servers!(what_no_mailbox_reads_is_bounded_by_the_mailboxes_and_the_inbox);
async fn what_no_mailbox_reads_is_bounded_by_the_mailboxes_and_the_inbox(servers: Servers) {
    let [owner, one, two] = layers(&options(&servers, "bounded").capacity(10).inbox_capacity(10)).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mailboxes = [(); 4].map(|()| inbox.open_mailbox().unwrap());
    let hammering = [&one, &two].map(async |sender| {
        for number in 0..400_usize {
            let _ = sender.send(mailboxes[number % 4].name(), &number).await;
        }
    });
    join_all(hammering).await;
    tokio::time::sleep(MOMENT).await;
    let waiting = inbox.statistics().waiting;
    // 4 mailboxes of 10, each with at most the 10 of the inbox beyond it.
    assert!((40..=80).contains(&waiting), "{waiting} wait");
    for mailbox in &mailboxes {
        assert_eq!(one.send(mailbox.name(), &1).await.unwrap_err().kind(), ErrorKind::ChannelFull);
    }
}

#[tokio::test]
async fn a_dropped_mailbox_frees_what_waited_in_it_though_the_server_cannot_be_told() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [owner, sender] = through_and_beside(&proxy, &server, "frees").await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let (mut read, unread) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for mailbox in [&read, &unread] {
        sender.group_add("room", mailbox.name()).await.unwrap();
    }
    let _ = sender.group_send("room", &Value::Bytes(vec![7; 10_000])).await.unwrap();
    let copy = promptly("the copy", read.receive_packed()).await.unwrap();
    until("both have it", async || inbox.statistics().waiting == 1).await;
    // The batch is acknowledged, so nothing but the two mailboxes holds its bytes.
    tokio::time::sleep(MOMENT).await;
    assert!(!copy.as_bytes().is_unique());
    proxy.stall_only(Direction::Requests);
    drop(unread);
    assert_eq!(inbox.statistics().unread, 1);
    assert!(copy.as_bytes().is_unique(), "the dropped mailbox still holds its message");
    proxy.pass();
}

on_one_and_three_servers!(a_received_message_is_held_by_its_receiver_alone);
async fn a_received_message_is_held_by_its_receiver_alone(servers: Servers) {
    let [layer] = layers(&options(&servers, "alone")).await;
    layer.send("a", &1).await.unwrap();
    let (_, message) = layer.receive_packed(&["a".parse().unwrap()]).await.unwrap();
    // It is acknowledged with the next call only, which may come much later.
    assert!(message.as_bytes().is_unique());
}

#[tokio::test]
async fn the_first_message_that_a_full_mailbox_or_inbox_misses_is_warned_of_with_the_option_that_bounds_it() {
    let server = Server::shared();
    let (told, _listening) = Warnings::listen();
    let [owner, sender] = layers(&options(&server, "warned").capacity(1).inbox_capacity(2)).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let slow = inbox.open_mailbox().unwrap();
    sender.group_add("room", slow.name()).await.unwrap();
    for message in 0..5 {
        let _ = sender.group_send("room", &message).await.unwrap();
    }
    until("it has missed some", async || slow.missed() > 1).await;
    assert_eq!(told.times("a full mailbox missed a message to a group"), 1, "{}", told.text());
    assert!(
        told.text().contains("`capacity`") && told.text().contains(slow.name().as_str()),
        "{}",
        told.text()
    );

    // Nobody reads this inbox yet.
    let unread = owner.open_inbox("unread").await.unwrap();
    sender.group_add("hall", &*format!("{}x", unread.name())).await.unwrap();
    for message in 0..5 {
        let _ = sender.group_send("hall", &message).await.unwrap();
    }
    assert_eq!(told.times("found full queues"), 1, "{}", told.text());
    assert!(told.text().contains("`inbox_capacity`"), "{}", told.text());
}
