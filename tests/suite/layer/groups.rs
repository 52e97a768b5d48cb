//! A send to a group: its receipt, its cost, and large messages.

use std::collections::BTreeSet;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, Mailbox, Value};
use futures::future::join_all;

use super::{MOMENT, keys, layers, options, options_at, promptly, until};
use crate::support::{Direction, Monitor, Proxy, Server, Servers, calls};

on_one_and_three_servers!(a_receipt_counts_full_queues_and_names_them_on_request);
async fn a_receipt_counts_full_queues_and_names_them_on_request(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "receipt").capacity(6)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for name in ["full.a", "full?b", "free", mailbox.name().as_str()] {
        sender.group_add("room", name).await.unwrap();
    }
    for name in ["full.a", "full?b"] {
        for number in 0..6 {
            sender.send(name, &number).await.unwrap();
        }
    }
    let receipt = sender.group_send("room", &7).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full(), receipt.expired(), receipt.failed()), (2, 2, 0, 0));
    assert!(receipt.full_queues().is_empty());
    let receipt = sender.group_send_naming_full("room", &8).await.unwrap();
    let named: BTreeSet<&str> = receipt.full_queues().iter().map(|name| name.as_str()).collect();
    assert_eq!((receipt.full(), named), (2, BTreeSet::from(["full.a", "full?b"])));
    for number in [7, 8] {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), number);
        assert_eq!(promptly("a copy", owner.receive::<u64>(["free"])).await.unwrap().1, number);
    }
    let empty = sender.group_send_naming_full("nobody", &1).await.unwrap();
    assert_eq!(empty, asgi_redis::GroupReceipt::default());
    for wrong in ["", "a:b", "ä", &"x".repeat(101)] {
        assert_eq!(sender.group_send(wrong, &1).await.unwrap_err().kind(), ErrorKind::InvalidName);
    }
}

on_one_and_three_servers!(a_message_too_large_for_the_layer_reaches_no_member);
async fn a_message_too_large_for_the_layer_reaches_no_member(servers: Servers) {
    let [layer] = layers(&options(&servers, "too-large").max_message_size(100)).await;
    layer.group_add("room", "normal").await.unwrap();
    let error = layer.group_send("room", &"x".repeat(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert!(error.to_string().contains("room"), "{error}");
    assert!(layer.try_receive::<String>(["normal"]).await.unwrap().is_none());
    let _ = layer.group_send("room", &"x".repeat(90)).await.unwrap();
    assert!(layer.try_receive::<String>(["normal"]).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_send_is_one_command_for_each_thousand_queues_however_many_mailboxes_they_have() {
    let server = Server::private();
    let [owner, sender] = layers(&options(&server, "round-trips")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..1_500).map(|_| inbox.open_mailbox().unwrap()).collect();
    let added = mailboxes.iter().map(|mailbox| sender.group_add("few", mailbox.name()));
    join_all(added).await.into_iter().for_each(Result::unwrap);
    let queues: Vec<String> = (0..2_500).map(|number| format!("queue.{number}")).collect();
    join_all(queues.iter().map(|queue| sender.group_add("many", queue.as_str())))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    until("the owner has read who joined", async || {
        let _ = sender.group_send("few", "warm").await.unwrap();
        inbox.statistics().waiting >= 1_500
    })
    .await;
    tokio::time::sleep(MOMENT).await;

    for (group, commands, queues) in [("few", 1, 1), ("many", 3, 2_500), ("nobody", 1, 0)] {
        let monitor = Monitor::start(&server).await;
        let receipt = sender.group_send(group, "hi").await.unwrap();
        assert_eq!(receipt.delivered(), queues);
        let seen = monitor.finish().await;
        let mine = seen.iter().filter(|command| command.contains(&format!("g:{group}\""))).count();
        assert_eq!(mine, commands, "{seen:?}");
    }
    assert_eq!(sender.group_len("many").await.unwrap(), 2_500);
    assert_eq!(sender.group_len("few").await.unwrap(), 1_500);
    let listed: BTreeSet<String> =
        sender.group_channels("few").await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(listed, mailboxes.iter().map(|mailbox| mailbox.name().to_string()).collect());
    assert_eq!(sender.group_channels("many").await.unwrap().len(), 2_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_mebibyte_to_a_thousand_mailboxes_is_kept_once_an_inbox_and_once_a_process() {
    const SIZE: usize = 1 << 20;
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "large").max_message_size(2 * SIZE);
    let sender = options.clone().hosts([server.url()]).connect().await.unwrap();
    let [one, two] = layers(&options).await;
    let inboxes = [one.open_inbox("a").await.unwrap(), two.open_inbox("b").await.unwrap()];
    let mut mailboxes: Vec<Mailbox> =
        (0..1_000).map(|number| inboxes[number % 2].open_mailbox().unwrap()).collect();
    let added = mailboxes.iter().map(|mailbox| sender.group_add("room", mailbox.name()));
    join_all(added).await.into_iter().for_each(Result::unwrap);
    let _ = sender.group_send("room", "first").await.unwrap();
    for mailbox in &mut mailboxes {
        assert_eq!(promptly("a copy", mailbox.receive::<String>()).await.unwrap(), "first");
    }
    tokio::time::sleep(MOMENT).await;

    let mut admin = server.connection().await;
    let mut stored = async || -> usize {
        let mut bytes = 0;
        for key in keys(&server, options.build().unwrap().prefix()).await {
            let usage: Option<usize> = redis::cmd("MEMORY")
                .arg("USAGE")
                .arg(key)
                .arg("SAMPLES")
                .arg(0)
                .query_async(&mut admin)
                .await
                .unwrap();
            bytes += usage.unwrap_or(0);
        }
        bytes
    };
    let before = stored().await;
    // The owners take nothing meanwhile.
    proxy.stall_only(Direction::Requests);
    let receipt = sender.group_send("room", &Value::Bytes(vec![7; SIZE])).await.unwrap();
    assert_eq!(receipt.delivered(), 2);
    let more = stored().await - before;
    assert!((2 * SIZE..3 * SIZE).contains(&more), "{more} bytes more for two inboxes");
    proxy.pass();

    let mut addresses: [BTreeSet<usize>; 2] = Default::default();
    for (number, mailbox) in mailboxes.iter_mut().enumerate() {
        let copy = promptly("a copy", mailbox.receive_packed()).await.unwrap();
        assert_eq!(copy.len(), SIZE + 5);
        addresses[number % 2].insert(copy.as_bytes().as_ptr() as usize);
        // Held, so that no other copy could take its place.
        std::mem::forget(copy);
    }
    assert_eq!(addresses.map(|seen| seen.len()), [1, 1], "the members of a process share the bytes");
}

#[tokio::test]
async fn script_flush_between_group_calls_is_seen_by_nobody() {
    let server = Server::private();
    let [owner, sender] = layers(&options(&server, "script-flush")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let mut admin = server.connection().await;
    let mut flush = async || {
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut admin).await.unwrap();
    };
    let mut others = Vec::new();
    for number in 0..20_u64 {
        flush().await;
        sender.group_add("room", mailbox.name()).await.unwrap();
        flush().await;
        assert_eq!(sender.group_send("room", &number).await.unwrap().delivered(), 1);
        flush().await;
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), number);
        flush().await;
        assert_eq!(sender.group_len("room").await.unwrap(), 1);
        flush().await;
        sender.group_discard("room", mailbox.name()).await.unwrap();
        others.push(owner.open_inbox("b").await.unwrap());
        flush().await;
        others.truncate(1);
    }
}

#[tokio::test]
async fn a_full_server_refuses_a_group_send_cleanly_while_mailboxes_drain_and_then_takes_it() {
    let server = Server::private();
    let options = options(&server, "full-server").capacity(10_000).membership_lease(Duration::from_secs(1));
    let [owner, sender] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for name in [mailbox.name().as_str(), "fills"] {
        sender.group_add("room", name).await.unwrap();
    }
    let mut sent = 0_u64;
    for _ in 0..50 {
        let receipt = sender.group_send("room", &(sent, "x".repeat(10_000))).await.unwrap();
        assert_eq!((receipt.delivered(), receipt.failed()), (2, 0));
        sent += 1;
    }
    let mut admin = server.connection().await;
    let mut most = async |bytes: u64| {
        let mut config = redis::cmd("CONFIG");
        let () = config.arg("SET").arg("maxmemory").arg(bytes).query_async(&mut admin).await.unwrap();
    };
    most(1_000_000).await;
    let error = sender.group_send("room", &(sent, "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ServerFull);
    assert!(!error.perhaps_sent() && error.may_retry(), "{error:?}");
    assert_eq!(sender.group_add("room", "more").await.unwrap_err().kind(), ErrorKind::ServerFull);
    // What was accepted is drained, and members are kept and leave, though nothing more fits.
    for number in 0..sent {
        assert_eq!(promptly("a copy", mailbox.receive::<(u64, String)>()).await.unwrap().0, number);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(sender.group_len("room").await.unwrap(), 2, "beyond the lease");
    let goes = inbox.open_mailbox().unwrap();
    drop(goes);
    sender.group_discard("room", "fills").await.unwrap();
    for number in 0..sent {
        let (_, message) = promptly("one", owner.receive::<(u64, String)>(["fills"])).await.unwrap();
        assert_eq!(message.0, number);
    }
    most(0).await;
    assert_eq!(sender.group_send("room", &(sent, "")).await.unwrap().delivered(), 1);
    assert_eq!(promptly("a copy", mailbox.receive::<(u64, String)>()).await.unwrap().0, sent);
}

#[tokio::test]
async fn flush_empties_groups_and_inboxes_and_both_go_on() {
    let server = Server::private();
    let [owner, sender] = layers(&options(&server, "flush-groups")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    sender.group_add("room", one.name()).await.unwrap();
    let _ = sender.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("a copy", one.receive::<u64>()).await.unwrap(), 1);
    sender.flush().await.unwrap();
    assert!(sender.group_is_empty("room").await.unwrap());
    assert_eq!(sender.group_send("room", &2).await.unwrap(), asgi_redis::GroupReceipt::default());
    sender.group_add("room", two.name()).await.unwrap();
    let _ = sender.group_send("room", &3).await.unwrap();
    assert_eq!(promptly("a copy", two.receive::<u64>()).await.unwrap(), 3);
    assert!(tokio::time::timeout(MOMENT, one.receive::<u64>()).await.is_err(), "it is no member any more");
    assert_eq!(calls(&mut server.connection().await, "keys").await, 0);
}
