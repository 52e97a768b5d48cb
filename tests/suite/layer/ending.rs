//! Closing and dropping a layer gives back what was in flight.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer};
use futures::future::join_all;
use tokio::sync::watch;

use super::{MOMENT, PATIENCE, layers, options, soon};
use crate::support::{Ledger, Sent, Server};

#[tokio::test]
async fn closing_ends_waiting_receives_and_every_later_call() {
    let server = Server::shared();
    let [layer, other] = layers(&options(&server, "close")).await;
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<_, u64>(["a"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(soon("the receive", waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.send("a", &1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.receive::<_, u64>(["a"]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.try_receive::<_, u64>(["a"]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(layer.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    soon("closing again", layer.close()).await.unwrap();
    // Nobody is taken for a waiter who is gone.
    other.send("a", &1).await.unwrap();
    assert_eq!(soon("the message", other.receive::<_, u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn what_arrived_and_was_not_returned_goes_back_when_the_layer_is_closed() {
    let server = Server::shared();
    let [layer, other] = layers(&options(&server, "close-filled")).await;
    let mut receive = pin!(layer.receive::<_, u64>(["a"]));
    assert!(futures::poll!(receive.as_mut()).is_pending());
    tokio::time::sleep(MOMENT).await;
    other.send("a", &1).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    soon("closing", layer.close()).await.unwrap();
    assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::Closed, "or it would be delivered twice");
    assert_eq!(soon("the message", other.receive::<_, u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn dropping_the_last_clone_gives_back_in_the_background() {
    let server = Server::shared();
    let [layer, other] = layers(&options(&server, "drop")).await;
    {
        let layer = layer;
        let mut receive = pin!(layer.receive::<_, u64>(["a"]));
        assert!(futures::poll!(receive.as_mut()).is_pending());
        tokio::time::sleep(MOMENT).await;
        other.send("a", &1).await.unwrap();
        tokio::time::sleep(MOMENT).await;
    }
    assert_eq!(soon("the message", other.receive::<_, u64>(["a"])).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_dropped_layer_leaves_no_connection_and_no_task() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let layer = options(&server, "gone").connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    drop(layer);
    let gone = async {
        loop {
            let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
            if list.lines().count() == 1 && tokio::runtime::Handle::current().metrics().num_alive_tasks() <= 1
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of its connection and tasks", gone).await;
}

/// Receives until told to stop; then closes its layer, and what it was given and did not return must come back.
async fn receive_until_stopped(
    layer: RedisChannelLayer,
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<u32>,
) {
    stop.mark_unchanged();
    let working = async {
        loop {
            match layer.receive::<_, u64>(["work", "more"]).await {
                Ok((_, number)) => ledger.received(number),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed),
            }
        }
    };
    let several = async {
        tokio::join!(working, async {
            loop {
                match layer.receive::<_, u64>(["work"]).await {
                    Ok((_, number)) => ledger.received(number),
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed),
                }
            }
        })
    };
    let closing = async {
        stop.changed().await.unwrap();
        layer.close().await.unwrap();
    };
    tokio::join!(several, closing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clean_restarts_of_one_of_four_receivers_under_load_lose_and_repeat_nothing() {
    let server = Server::shared();
    let options = options(&server, "restarts");
    let [sender] = layers(&options).await;
    let ledger = Arc::new(Ledger::default());
    let (restart, restarted) = watch::channel(0);
    let (end, ended) = watch::channel(0);
    let mut steady = Vec::new();
    for layer in layers::<3>(&options).await {
        steady.push(tokio::spawn(receive_until_stopped(layer, Arc::clone(&ledger), ended.clone())));
    }
    let restarting = tokio::spawn({
        let (options, ledger) = (options.clone(), Arc::clone(&ledger));
        async move {
            for turn in 1..=50 {
                let layer = options.connect().await.unwrap();
                let receiving =
                    tokio::spawn(receive_until_stopped(layer, Arc::clone(&ledger), restarted.clone()));
                tokio::time::sleep(Duration::from_millis(20)).await;
                restart.send_replace(turn);
                receiving.await.unwrap();
            }
        }
    });
    let mut sent = 0;
    let sending = async {
        while !restarting.is_finished() {
            let batch = (0..20).map(|turn| {
                let (sender, number) = (&sender, ledger.number());
                let channel = if turn % 2 == 0 { "work" } else { "more" };
                async move {
                    sender.send_wait(channel, &number, PATIENCE).await.unwrap();
                    number
                }
            });
            for number in join_all(batch).await {
                ledger.sent(number, Sent::Accepted);
                sent += 1;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 3, sending).await.unwrap();
    restarting.await.unwrap();
    ledger.wait_for_received(sent).await;
    end.send_replace(1);
    for ended in join_all(steady).await {
        ended.unwrap();
    }
    ledger.balance();
    assert!(sent > 500, "only {sent} messages were on their way meanwhile");
}
