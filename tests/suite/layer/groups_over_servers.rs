//! A group over several servers: one call to each for each thousand queues, to all at once.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Mailbox};
use futures::future::join_all;

use super::{layers, promptly};
use crate::support::{Direction, Monitor, Proxy, Server, unique_prefix};

const QUEUES: usize = 4_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_send_is_one_command_for_each_server_and_thousand_queues() {
    let servers = [Server::private(), Server::private(), Server::private()];
    let prefix = unique_prefix("round-trips-over-three");
    let options = ConfigBuilder::new().hosts(servers.each_ref().map(Server::url)).prefix(&prefix);
    let [layer] = layers(&options).await;
    let queues: Vec<String> = (0..QUEUES).map(|number| format!("queue?{number}")).collect();
    join_all(queues.iter().map(|queue| layer.group_add("many", queue.as_str())))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    let mut here = Vec::new();
    for server in &servers {
        let alone = ConfigBuilder::new().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();
        here.push(alone.group_len("many").await.unwrap());
    }
    assert_eq!(here.iter().sum::<usize>(), QUEUES);
    assert!(here.iter().all(|here| *here > 1_000), "{here:?}: more than one call for each");

    for (group, delivered) in [("many", QUEUES), ("nobody", 0)] {
        let monitors = join_all(servers.iter().map(Monitor::start)).await;
        let receipt = layer.group_send(group, "hi").await.unwrap();
        assert_eq!((receipt.delivered(), receipt.unreached().len()), (delivered, 0));
        for (monitor, here) in monitors.into_iter().zip(&here) {
            let seen = monitor.finish().await;
            let mine = seen.iter().filter(|command| command.contains(&format!("g:{group}\""))).count();
            let due = if delivered == 0 { 1 } else { here.div_ceil(1_000) };
            assert_eq!(mine, due, "{here} queues are here");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_send_waits_for_no_server_before_it_asks_the_others() {
    let servers = [Server::private(), Server::private(), Server::private()];
    let prefix = unique_prefix("at-once");
    let proxies = servers.each_ref().map(Proxy::start);
    let through = ConfigBuilder::new().hosts(proxies.each_ref().map(Proxy::url)).prefix(&prefix);
    let beside = through.clone().hosts(servers.each_ref().map(Server::url));
    let [sender, owner] = [through.connect().await.unwrap(), beside.connect().await.unwrap()];
    let inboxes = join_all((0..12).map(|_| owner.open_inbox("member"))).await;
    let mut mailboxes: Vec<Mailbox> =
        inboxes.iter().map(|inbox| inbox.as_ref().unwrap().open_mailbox().unwrap()).collect();
    for mailbox in &mailboxes {
        owner.group_add("room", mailbox.name()).await.unwrap();
    }
    // Each server in turn answers last, and so also the first and the last of the list.
    for (turn, stalled) in proxies.iter().enumerate() {
        stalled.stall_only(Direction::Replies);
        let sending = tokio::spawn({
            let sender = sender.clone();
            async move { sender.group_send("room", &turn).await.unwrap() }
        });
        for mailbox in &mut mailboxes {
            assert_eq!(promptly("a copy", mailbox.receive::<usize>()).await.unwrap(), turn);
        }
        assert!(!sending.is_finished());
        stalled.pass();
        let receipt = promptly("the receipt", sending).await.unwrap();
        assert_eq!((receipt.delivered(), receipt.unreached().len()), (12, 0));
    }
}

#[tokio::test]
async fn a_receipt_fails_when_it_is_asked_whether_all_were_reached() {
    let server = Server::private();
    let layer = super::options(&server, "reached-all").capacity(1).connect().await.unwrap();
    layer.group_add("room", "a").await.unwrap();
    layer.group_send("room", 1).await.unwrap().reached_all().unwrap();
    let missed = layer.group_send("room", 2).await.unwrap().reached_all().unwrap_err();
    assert_eq!(missed.kind(), asgi_redis::ErrorKind::ChannelFull, "{missed}");

    let down = Server::private();
    let both =
        super::options(&server, "reached-down").hosts([server.url(), down.url()]).connect().await.unwrap();
    both.group_add("hall", "a").await.unwrap();
    down.stop();
    super::until("the server is down", async || !both.health().await[1].is_up()).await;
    let missed = both.group_send("hall", 1).await.unwrap().reached_all().unwrap_err();
    assert_eq!(missed.kind(), asgi_redis::ErrorKind::Connection, "{missed}");
    assert!(missed.to_string().contains("members may have been missed, if any live on redis://"), "{missed}");
}

/// Shows R12.
#[tokio::test]
async fn a_group_send_whose_reply_is_lost_is_perhaps_sent_and_was_sent_once() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = super::options(&server, "perhaps").response_timeout(Duration::from_millis(300));
    let sender = options.clone().hosts([proxy.url()]).connect().await.unwrap();
    let receiver = options.connect().await.unwrap();
    receiver.group_add("room", "a").await.unwrap();
    proxy.stall_only(Direction::Replies);
    let error = sender.group_send("room", &1).await.unwrap_err();
    assert_eq!(error.kind(), asgi_redis::ErrorKind::Timeout);
    assert!(error.perhaps_sent() && !error.may_retry(), "{error:?}");
    proxy.cut();
    proxy.pass();
    assert_eq!(promptly("the message", receiver.receive::<u64>(["a"])).await.unwrap().1, 1);
    super::until("it is up again", async || sender.health().await[0].is_up()).await;
    assert!(receiver.try_receive::<u64>(["a"]).await.unwrap().is_none(), "it came twice");
}
