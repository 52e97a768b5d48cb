//! An inbox that is read as a whole: addresses of the program's own making, alone and beside other channels.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ChannelName, ErrorKind, Inbox, RedisChannelLayer};
use futures::StreamExt;
use futures::future::{join_all, poll_fn};

use super::{MOMENT, layers, options, promptly, until};
use crate::support::{Server, Servers};

fn address(inbox: &Inbox, local: &str) -> ChannelName {
    format!("{}{local}", inbox.name()).parse().unwrap()
}

async fn next(inbox: &Inbox) -> (ChannelName, u64) {
    promptly("the next message of the inbox", inbox.next()).await.unwrap()
}

/// Polls a future once, then drops it.
async fn polled_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

on_one_and_three_servers!(next_gives_each_message_with_its_full_channel_and_none_sent_before_is_lost);
async fn next_gives_each_message_with_its_full_channel_and_none_sent_before_is_lost(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "next")).await;
    let inbox = owner.open_inbox("http.response").await.unwrap();
    for number in 0..10 {
        sender.send(address(&inbox, &format!("a{}", number % 3)), &number).await.unwrap();
    }
    for number in 0..10 {
        assert_eq!(next(&inbox).await, (address(&inbox, &format!("a{}", number % 3)), number));
    }
    // A mailbox gets its own, the rest goes on as before.
    let mut mailbox = inbox.open_mailbox().unwrap();
    for number in 0..10 {
        sender.send(mailbox.name(), &number).await.unwrap();
        sender.send(address(&inbox, "b"), &(number + 100)).await.unwrap();
    }
    for number in 0..10 {
        assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), number);
        assert_eq!(next(&inbox).await.1, number + 100);
    }
    assert_eq!(inbox.statistics().unknown, 0);
}

on_one_and_three_servers!(
    without_next_messages_for_nobody_are_counted_and_none_is_read_before_the_first_mailbox
);
async fn without_next_messages_for_nobody_are_counted_and_none_is_read_before_the_first_mailbox(
    servers: Servers,
) {
    let [owner, sender] = layers(&options(&servers, "unknown").capacity(5).inbox_capacity(5)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    for number in 0..5 {
        sender.send(address(&inbox, "nobody"), &number).await.unwrap();
    }
    tokio::time::sleep(MOMENT).await;
    let error = sender.send(address(&inbox, "nobody"), &5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull, "they wait until somebody says what is known");
    assert_eq!(inbox.statistics().unknown, 0);
    let _mailbox = inbox.open_mailbox().unwrap();
    until("they are dropped and counted", async || inbox.statistics().unknown == 5).await;
    sender.send(address(&inbox, "nobody"), &6).await.unwrap();
    until("it is counted", async || inbox.statistics().unknown == 6).await;
}

on_one_and_three_servers!(receive_takes_an_inbox_alone_and_beside_normal_and_single_reader_channels);
async fn receive_takes_an_inbox_alone_and_beside_normal_and_single_reader_channels(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "receive-inbox")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let alone = [inbox.name().clone()];
    let mixed = [inbox.name().clone(), "normal".parse().unwrap(), "single?1".parse().unwrap()];
    let receive = async |channels: &[ChannelName]| {
        promptly("a message", owner.receive::<u64>(channels.to_vec())).await.unwrap()
    };
    sender.send(address(&inbox, "x"), &1).await.unwrap();
    assert_eq!(receive(&alone).await, (address(&inbox, "x"), 1));
    for (number, channel) in
        [address(&inbox, "y"), "normal".parse().unwrap(), "single?1".parse().unwrap()].into_iter().enumerate()
    {
        // One that waits already, then one that finds its message there.
        let (received, sent) = tokio::join!(receive(&mixed), async {
            tokio::time::sleep(MOMENT).await;
            sender.send(&channel, &number).await
        });
        sent.unwrap();
        assert_eq!(received, (channel.clone(), number as u64));
        sender.send(&channel, &(number + 10)).await.unwrap();
        assert_eq!(receive(&mixed).await, (channel, number as u64 + 10));
    }
    // Neither kind starves the other, and none loses a message when another one ends the receive.
    for number in 0..40_u64 {
        sender.send(address(&inbox, "z"), &number).await.unwrap();
        sender.send("normal", &number).await.unwrap();
        sender.send("single?1", &number).await.unwrap();
    }
    let mut seen: [Vec<u64>; 3] = Default::default();
    for _ in 0..120 {
        let (channel, number) = receive(&mixed).await;
        let place =
            ["z", "normal", "single"].iter().position(|part| channel.as_str().contains(part)).unwrap();
        seen[place].push(number);
    }
    if servers.all().len() > 1 {
        // There a normal channel has no order.
        seen[1].sort_unstable();
    }
    for seen in &seen {
        assert!(seen.iter().copied().eq(0..40), "{seen:?}");
    }
}

on_one_and_three_servers!(try_receive_takes_what_has_come_and_waits_for_nothing);
async fn try_receive_takes_what_has_come_and_waits_for_nothing(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "try-inbox")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mixed = [inbox.name().as_str(), "normal"];
    assert!(owner.try_receive::<u64>([inbox.name()]).await.unwrap().is_none());
    assert!(owner.try_receive::<u64>(mixed).await.unwrap().is_none());
    sender.send("normal", &1).await.unwrap();
    assert_eq!(owner.try_receive::<u64>(mixed).await.unwrap().unwrap().1, 1);
    sender.send(address(&inbox, "x"), &2).await.unwrap();
    until("it has come", async || inbox.statistics().waiting == 1).await;
    let (channel, number) = owner.try_receive::<u64>(mixed).await.unwrap().unwrap();
    assert_eq!((channel, number), (address(&inbox, "x"), 2));
    assert!(owner.try_receive::<u64>(mixed).await.unwrap().is_none());
}

on_one_and_three_servers!(an_inbox_of_another_process_and_an_address_are_not_received_from);
async fn an_inbox_of_another_process_and_an_address_are_not_received_from(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "invalid-inbox")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let refused = async |layer: &RedisChannelLayer, names: &[&str], said: &str| {
        for error in [
            promptly("the refusal", layer.receive::<u64>(names.to_vec())).await.unwrap_err(),
            layer.try_receive::<u64>(names.to_vec()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().contains(said), "{error}");
        }
    };
    let (name, local) = (inbox.name().as_str(), address(&inbox, "x"));
    refused(&other, &[name], "no inbox of this process").await;
    refused(&other, &["normal", name], "no inbox of this process").await;
    refused(&owner, &[local.as_str()], "address inside an inbox").await;
    refused(&owner, &["normal", local.as_str()], "address inside an inbox").await;
    let error = other.send(inbox.name(), &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert_eq!(owner.group_add("room", inbox.name()).await.unwrap_err().kind(), ErrorKind::InvalidName);
    for wrong in ["a?b", "a!", "", "ä", &"x".repeat(71)] {
        assert_eq!(owner.open_inbox(wrong).await.unwrap_err().kind(), ErrorKind::InvalidName, "{wrong:?}");
    }
    assert_eq!(
        owner.open_inbox(&"x".repeat(70)).await.unwrap().open_mailbox().unwrap().name().as_str().len(),
        100
    );
}

on_one_and_three_servers!(receives_dropped_at_each_await_point_lose_and_reorder_nothing);
async fn receives_dropped_at_each_await_point_lose_and_reorder_nothing(servers: Servers) {
    let [owner, sender] =
        layers(&options(&servers, "dropped-next").capacity(10_000).inbox_capacity(10_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let mixed = [inbox.name().clone(), "normal".parse().unwrap()];
    assert!(polled_once(inbox.next::<u64>()).await.is_none());
    let sending = async {
        for number in 0..400_u64 {
            sender.send(address(&inbox, "x"), &number).await.unwrap();
            sender.send(mailbox.name(), &number).await.unwrap();
            sender.send("normal", &number).await.unwrap();
        }
    };
    sending.await;
    let (mut whole, mut own, mut normal) = (Vec::new(), Vec::new(), Vec::new());
    let reading = async {
        let mut turn = 0;
        while whole.len() + own.len() + normal.len() < 1_200 {
            turn += 1;
            let received = match turn % 4 {
                0 => polled_once(inbox.next::<u64>()).await.map(Result::unwrap),
                1 => polled_once(owner.receive::<u64>(mixed.clone())).await.map(Result::unwrap),
                2 => {
                    own.extend(polled_once(mailbox.receive::<u64>()).await.map(Result::unwrap));
                    None
                }
                _ => {
                    let next = polled_once(mailbox.next()).await.map(Option::unwrap);
                    own.extend(next.map(|message| message.unpack::<u64>().unwrap()));
                    None
                }
            };
            if let Some((channel, number)) = received {
                if channel.as_str() == "normal" { normal.push(number) } else { whole.push(number) }
            }
            if turn % 5 == 0 {
                // A longer wait, dropped at random moments.
                // Some of these long enough for a reply on a busy machine too.
                let most = if turn % 40 == 0 { 200_000 } else { 1_500 };
                let patience = Duration::from_micros(turn * 97 % most);
                let receive = owner.receive::<u64>(["normal"]);
                if let Ok(received) = tokio::time::timeout(patience, receive).await {
                    normal.push(received.unwrap().1);
                }
            }
            tokio::task::yield_now().await;
        }
    };
    super::soon("all messages", reading).await;
    if servers.all().len() > 1 {
        // There a normal channel has no order.
        normal.sort_unstable();
    }
    for (which, got) in [("whole", &whole), ("own", &own), ("normal", &normal)] {
        assert!(got.iter().copied().eq(0..400), "{which}: {got:?}");
    }
}

on_one_and_three_servers!(
    several_that_wait_for_next_share_the_messages_and_one_that_goes_takes_no_wake_up_along
);
async fn several_that_wait_for_next_share_the_messages_and_one_that_goes_takes_no_wake_up_along(
    servers: Servers,
) {
    let [owner, sender] = layers(&options(&servers, "several-next")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    for round in 0..20_u64 {
        let mut waiting: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                tokio::spawn(async move { inbox.next::<u64>().await.unwrap().1 })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        waiting.remove(usize::try_from(round % 4).unwrap()).abort();
        let sends = (0..3).map(async |number| {
            sender.send(address(&inbox, "x"), &(round * 10 + number)).await.unwrap();
        });
        join_all(sends).await;
        let got = promptly("three messages", join_all(waiting)).await;
        let mut got: Vec<u64> = got.into_iter().map(Result::unwrap).collect();
        got.sort_unstable();
        assert_eq!(got, [round * 10, round * 10 + 1, round * 10 + 2]);
    }
}

on_one_and_three_servers!(what_next_has_not_taken_stays_in_the_server_while_memberships_live_on);
async fn what_next_has_not_taken_stays_in_the_server_while_memberships_live_on(servers: Servers) {
    let options = options(&servers, "next-full")
        .capacity(10)
        .inbox_capacity(10)
        .membership_lease(Duration::from_secs(1));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    assert!(polled_once(inbox.next::<u64>()).await.is_none());
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let mut accepted = 0;
    let refused = async {
        loop {
            match sender.send(address(&inbox, "x"), &accepted).await {
                Ok(()) => accepted += 1,
                Err(error) => break error,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert_eq!(promptly("a refusal", refused).await.kind(), ErrorKind::ChannelFull);
    assert!((15..=30_u64).contains(&accepted), "{accepted}: the inbox twice, here and there");
    assert!(inbox.statistics().waiting <= 10);
    // A group's message meets the full inbox, and says so.
    let receipt = sender.group_send_naming_full("room", &1).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full()), (0, 1));
    assert_eq!(receipt.full_queues(), std::slice::from_ref(inbox.name()));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(sender.group_len("room").await.unwrap(), 1, "beyond the lease");
    for number in 0..accepted {
        assert_eq!(next(&inbox).await.1, number);
    }
    let _ = sender.group_send("room", &2).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 2);
}

on_one_and_three_servers!(next_goes_on_at_once_after_all_that_it_had_not_taken_has_expired);
async fn next_goes_on_at_once_after_all_that_it_had_not_taken_has_expired(servers: Servers) {
    let options =
        options(&servers, "next-expires").capacity(3).inbox_capacity(3).expiry(Duration::from_millis(300));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    assert!(polled_once(inbox.next::<u64>()).await.is_none());
    for number in 0..3_u64 {
        sender.send(address(&inbox, "x"), &number).await.unwrap();
    }
    until("all are in the process", async || inbox.statistics().waiting == 3).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (received, sent) = tokio::join!(next(&inbox), async {
        tokio::time::sleep(MOMENT).await;
        sender.send(address(&inbox, "x"), &3).await
    });
    sent.unwrap();
    assert_eq!(received.1, 3);
    assert_eq!(inbox.statistics().expired, 3);
}

on_one_and_three_servers!(mailboxes_do_not_wait_for_ever_for_somebody_who_reads_the_inbox_no_more);
async fn mailboxes_do_not_wait_for_ever_for_somebody_who_reads_the_inbox_no_more(servers: Servers) {
    let options = options(&servers, "next-gone")
        .capacity(3)
        .inbox_capacity(3)
        .expiry(Duration::from_millis(300))
        .membership_lease(Duration::from_secs(1));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    assert!(polled_once(inbox.next::<u64>()).await.is_none());
    for number in 0..3_u64 {
        sender.send(address(&inbox, "x"), &number).await.unwrap();
    }
    until("all are in the process", async || inbox.statistics().waiting == 3).await;
    until("a message comes through", async || {
        let _ = sender.send(mailbox.name(), &4).await;
        tokio::time::timeout(MOMENT, mailbox.receive::<u64>()).await.is_ok()
    })
    .await;
    until("the others expire too", async || inbox.statistics().expired == 3).await;
}

on_one_and_three_servers!(addresses_without_a_mailbox_may_be_members_and_each_gets_its_copy);
async fn addresses_without_a_mailbox_may_be_members_and_each_gets_its_copy(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "whole-members")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    assert!(polled_once(inbox.next::<u64>()).await.is_none());
    for local in ["x", "y", "z"] {
        sender.group_add("room", address(&inbox, local)).await.unwrap();
    }
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let _ = sender.group_send("room", &1).await.unwrap();
    sender.group_discard("room", address(&inbox, "y")).await.unwrap();
    let _ = sender.group_send("room", &2).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..5 {
        let (channel, number) = next(&inbox).await;
        got.push((number, channel.local().unwrap().to_owned()));
    }
    let text = |number: u64, local: &str| (number, local.to_owned());
    let (first, second) = got.split_at_mut(3);
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!(first, [text(1, "x"), text(1, "y"), text(1, "z")]);
    assert_eq!(second, [text(2, "x"), text(2, "z")]);
    for number in [1, 2] {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), number);
    }
}

#[tokio::test]
async fn what_is_no_message_is_told_to_next_and_counted_and_the_rest_goes_on() {
    let server = Server::private();
    let options = options(&server, "garbage").lease(Duration::from_secs(1));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let key = format!("{}q:{}", options.build().unwrap().prefix(), inbox.name());
    let mut admin = server.connection().await;
    let mut garbage = async |bytes: &[u8]| {
        let () = redis::cmd("RPUSH").arg(&key).arg(bytes).query_async(&mut admin).await.unwrap();
    };
    let unknown_kind = [&[0xff; 18][..], b"?x y"].concat();
    for bytes in [&b"garbage"[..], &[0xff; 18], &unknown_kind, &[]] {
        garbage(bytes).await;
    }
    // What another program lays there wakes nobody before the next beat.
    sender.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(super::soon("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
    // What is empty could not be acknowledged, so the server drops it.
    assert_eq!(inbox.statistics().undecodable, 3);
    let (failed, ()) = tokio::join!(promptly("the failure", inbox.next::<u64>()), async {
        tokio::time::sleep(MOMENT).await;
        garbage(b"more").await;
        sender.send(mailbox.name(), &2).await.unwrap();
    });
    let error = failed.unwrap_err();
    assert_eq!(
        (error.kind(), error.undecoded().map(|bytes| &bytes[..])),
        (ErrorKind::Decode, Some(&b"more"[..]))
    );
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 2);
    sender.send(mailbox.name(), "a text").await.unwrap();
    assert_eq!(promptly("it", mailbox.receive::<u64>()).await.unwrap_err().kind(), ErrorKind::Decode);
    owner.close().await.unwrap();
    assert_eq!(promptly("the end", inbox.next::<u64>()).await.unwrap_err().kind(), ErrorKind::Closed);
}
