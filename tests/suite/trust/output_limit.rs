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
    assert_eq!(connections(&server).await, before + 2, "this test's own, and one that does not listen");
}

/// Shows R58.
#[tokio::test]
async fn messages_above_the_limit_of_a_listening_connection_arrive_over_another_one() {
    let server = server();
    let options = options([server.url()], "above-limit");
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let before = connections(&server).await;
    let inbox = receiver.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let single = receiver.new_channel("reply?").unwrap();
    let mut megabytes = (0..).map(|number| "x".repeat(1_050_000 + 100_000 * number));
    let mut next = || megabytes.next().unwrap();
    for channel in ["jobs", single.as_str()] {
        let text = next();
        let waits = tokio::spawn({
            let (receiver, channel) = (receiver.clone(), channel.to_owned());
            async move { receiver.receive::<String>(&channel).await }
        });
        tokio::time::sleep(MOMENT).await;
        sender.send(channel, &text).await.unwrap();
        let received = promptly("the one that was waited for", waits).await.unwrap().unwrap().1;
        assert!(received == text, "{}", received.len());
        for text in [next(), next()] {
            sender.send(channel, &text).await.unwrap();
            let received = promptly("the attempt", receiver.try_receive::<String>(channel)).await.unwrap();
            assert!(received.unwrap().1 == text, "in one piece");
        }
    }
    for text in [next(), "small".to_owned(), next(), next()] {
        sender.send(mailbox.name(), &text).await.unwrap();
        sender.group_send("room", &text).await.unwrap().reached_all().unwrap();
        for _ in 0..2 {
            let received = promptly("the mailbox's", mailbox.receive::<String>()).await.unwrap();
            assert!(received == text, "{}, in order", received.len());
        }
    }
    // Of several that wait together with a small one none is missed.
    let texts = [next(), "small".to_owned(), next(), next()];
    for text in &texts {
        sender.send("later", text).await.unwrap();
    }
    let all = join_all((0..4).map(|_| receiver.receive::<String>("later")));
    let mut all: Vec<_> =
        tokio::time::timeout(PATIENCE, all).await.unwrap().into_iter().map(|it| it.unwrap().1).collect();
    all.sort();
    let mut texts = texts.to_vec();
    texts.sort();
    assert!(all == texts);
    assert_eq!(connections(&server).await, before + 2, "this test's own, and one that does not listen");
}

/// Shows R58.
#[tokio::test]
async fn a_large_message_whose_receive_is_cancelled_while_it_is_fetched_is_the_next_receives() {
    let server = server();
    let options = options([server.url()], "cancelled-fetch");
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let text = "x".repeat(2_200_000);
    sender.send("jobs", &text).await.unwrap();
    for pause_us in (0..60).map(|step| step * 200) {
        let receive = receiver.receive::<String>("jobs");
        if let Ok(received) = tokio::time::timeout(std::time::Duration::from_micros(pause_us), receive).await
        {
            assert!(received.unwrap().1 == text);
            sender.send("jobs", &text).await.unwrap();
        }
    }
    let received = promptly("the message", receiver.receive::<String>("jobs")).await.unwrap();
    assert!(received.1 == text);
    assert!(receiver.try_receive::<String>("jobs").await.unwrap().is_none(), "nothing came twice");
}

/// Shows R58.
#[tokio::test]
async fn a_drain_carries_large_messages_past_the_limit() {
    let (from, to) = (server(), server());
    let options = options([from.url()], "drained-large");
    let old = options.connect().await.unwrap();
    let before = connections(&from).await;
    let texts: Vec<String> = (1..4).map(|number| "x".repeat(700_000 * number)).collect();
    for text in &texts {
        old.send("jobs", text).await.unwrap();
    }
    let new = options.clone().hosts([to.url()]).connect().await.unwrap();
    assert_eq!(old.drain_into(&new).await.unwrap().moved(), 3);
    for text in &texts {
        let received = promptly("the message", new.receive::<String>("jobs")).await.unwrap();
        assert!(received.1 == *text, "{}, in order", received.1.len());
    }
    assert_eq!(connections(&from).await, before + 2, "this test's own, and one that does not listen");
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
