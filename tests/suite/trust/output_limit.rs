//! A server that keeps little for a connection that listens: large messages are asked for, and do not cut it.

use asgi_redis::{ChannelLayer, ChannelLayerExt};
use futures::future::join_all;

use super::{MOMENT, PATIENCE, PROMPTLY, options, promptly, until};
use crate::support::Server;

/// A server that cuts a connection that listens when a megabyte waits for it.
fn server() -> Server {
    Server::private_with(&["--client-output-buffer-limit", "pubsub 1mb 0 0"])
}

/// How many connections the server has had, this one too: a client that was cut makes another.
async fn connections(server: &Server) -> u64 {
    let mut connection = server.connection().await;
    let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut connection).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect(&stats);
    line.trim().parse().unwrap()
}

/// Shows R57.
#[tokio::test]
async fn messages_near_the_limit_of_a_listening_connection_arrive_at_once() {
    let server = server();
    let options = options([server.url()], "near-limit");
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let before = connections(&server).await;
    let inbox = receiver.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    for bytes in [1_000, 15_000, 17_000, 300_000, 700_000] {
        let text = "x".repeat(bytes);
        let waits = tokio::spawn({
            let receiver = receiver.clone();
            async move { receiver.receive::<String>("jobs").await }
        });
        tokio::time::sleep(MOMENT).await;
        sender.send("jobs", &text).await.unwrap();
        assert_eq!(promptly("the one that was waited for", waits).await.unwrap().unwrap().1.len(), bytes);
        sender.send(mailbox.name(), &text).await.unwrap();
        assert_eq!(promptly("the direct one", mailbox.receive::<String>()).await.unwrap().len(), bytes);
        sender.group_send("room", &text).await.unwrap().reached_all().unwrap();
        assert_eq!(promptly("the group's", mailbox.receive::<String>()).await.unwrap().len(), bytes);
    }
    // Ten that wait together, of which each reply has one.
    let text = "x".repeat(600_000);
    for _ in 0..10 {
        sender.send("later", &text).await.unwrap();
    }
    let all = join_all((0..10).map(|_| receiver.receive::<String>("later")));
    assert!(tokio::time::timeout(PATIENCE, all).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(connections(&server).await, before + 1, "none was cut");
}

/// Shows R57.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_receives_are_woken_at_once_below_a_limit_of_a_megabyte() {
    const RECEIVES: usize = 10_000;
    let server = server();
    let options = options([server.url()], "woken").capacity(RECEIVES);
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let before = connections(&server).await;
    let waiting: Vec<_> = (0..RECEIVES)
        .map(|_| {
            let receiver = receiver.clone();
            tokio::spawn(async move { receiver.receive::<String>("jobs").await })
        })
        .collect();
    until("all wait", async || {
        receiver.survey().await[0].as_ref().unwrap().waiting().get("jobs") == Some(&RECEIVES)
    })
    .await;
    let text = "x".repeat(3_000);
    let sent = join_all((0..RECEIVES).map(|_| sender.send("jobs", &text)));
    for sent in tokio::time::timeout(PATIENCE, sent).await.unwrap() {
        sent.unwrap();
    }
    let received = tokio::time::timeout(PROMPTLY, join_all(waiting)).await.expect("all are woken by push");
    assert_eq!(received.into_iter().filter(|received| received.as_ref().unwrap().is_ok()).count(), RECEIVES);
    assert_eq!(connections(&server).await, before + 1, "none was cut");
}
