//! Taking a server out: its waiting messages move to the others, once, whatever ends the drain early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, RedisChannelLayer};

use super::{layers, soon};
use crate::support::{Ledger, Sent, Server, unique_prefix};

/// A layer on database 0 of a server, and one over databases 1 and 2.
async fn old_and_new(server: &Server, test: &str) -> (RedisChannelLayer, RedisChannelLayer) {
    let options = ConfigBuilder::new().prefix(unique_prefix(test)).capacity(10_000);
    let old = options.clone().hosts([server.url_with_db(0)]).connect().await.unwrap();
    let new = options.hosts([1, 2].map(|db| server.url_with_db(db))).connect().await.unwrap();
    (old, new)
}

async fn drain(layer: &RedisChannelLayer, channel: &str) -> Vec<u64> {
    let mut messages = Vec::new();
    while let Some((_, message)) = layer.try_receive(&[channel]).await.unwrap() {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn waiting_messages_move_to_where_the_new_list_puts_them_in_front_and_in_order() {
    let server = Server::shared();
    let (old, new) = old_and_new(&server, "drain").await;
    for number in 0..500_u64 {
        old.send("body?1", &number).await.unwrap();
        old.send("jobs", &number).await.unwrap();
    }
    new.send("body?1", &500).await.unwrap();
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.expired(), report.put_before()), (1000, 0, 0));
    assert_eq!(drain(&new, "body?1").await, (0..=500).collect::<Vec<_>>());
    let mut jobs = drain(&new, "jobs").await;
    jobs.sort_unstable();
    assert_eq!(jobs, (0..500).collect::<Vec<_>>());
    assert!(old.survey().await[0].as_ref().unwrap().queues().is_empty());
    assert_eq!(old.drain_into(&new).await.unwrap(), asgi_redis::DrainReport::default());
}

#[tokio::test]
async fn a_waiting_receive_gets_what_is_moved_and_expired_messages_stay_behind() {
    let server = Server::shared();
    let (old, new) = old_and_new(&server, "drain-waits").await;
    let waiting = tokio::spawn({
        let new = new.clone();
        async move { new.receive::<String>(["jobs"]).await.unwrap().1 }
    });
    old.send("jobs", "moved").await.unwrap();
    old.drain_into(&new).await.unwrap();
    assert_eq!(soon("the message", waiting).await.unwrap(), "moved");

    let inbox = old.open_inbox("chat").await.unwrap();
    old.send(format!("{}a", inbox.name()), "stays").await.unwrap();
    let report = old.drain_into(&new).await.unwrap();
    assert_eq!(report.inboxes().get(inbox.name().as_str()), Some(&1));
    assert_eq!(soon("its own", inbox.next::<String>()).await.unwrap().1, "stays");
}

#[tokio::test]
async fn a_message_keeps_the_time_it_has_left() {
    let server = Server::shared();
    let options = ConfigBuilder::new().prefix(unique_prefix("drain-time")).expiry(Duration::from_millis(400));
    let old = options.clone().hosts([server.url_with_db(0)]).connect().await.unwrap();
    let new = options.hosts([server.url_with_db(1)]).connect().await.unwrap();
    old.send("jobs", &1).await.unwrap();
    old.drain_into(&new).await.unwrap();
    soon("the message expires", async {
        while !new.survey().await[0].as_ref().unwrap().queues().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(new.try_receive::<u64>(["jobs"]).await.unwrap(), None);
}

#[tokio::test]
async fn inboxes_on_every_server_that_is_drained_are_told() {
    let server = Server::shared();
    let options = ConfigBuilder::new().prefix(unique_prefix("drain-inboxes"));
    let old = options.clone().hosts([0, 1].map(|db| server.url_with_db(db))).connect().await.unwrap();
    let new = options.hosts([server.url_with_db(2)]).connect().await.unwrap();
    let mut inboxes = BTreeMap::new();
    // So many are on both, but for a chance of one in a million.
    for _ in 0..20 {
        let inbox = old.open_inbox("chat").await.unwrap();
        old.send(format!("{}a", inbox.name()), &1).await.unwrap();
        inboxes.insert(inbox.name().to_string(), (inbox, 1));
    }
    for number in 0..20 {
        old.send("jobs", &number).await.unwrap();
    }
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!(report.moved(), 20);
    let told: Vec<_> = report.inboxes().clone().into_iter().collect();
    assert_eq!(told, inboxes.iter().map(|(name, (_, count))| (name.clone(), *count)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_channel_stays_and_does_not_keep_the_rest_from_moving() {
    let server = Server::shared();
    let prefix = unique_prefix("drain-foreign");
    let on = |db| ConfigBuilder::new().prefix(&prefix).hosts([server.url_with_db(db)]);
    let (old, new) = (on(0).connect().await.unwrap(), on(1).connect().await.unwrap());
    let foreign = format!("{prefix}q:not a name");
    let mut admin = server.connection().await;
    let () = redis::cmd("RPUSH").arg(&foreign).arg("x").query_async(&mut admin).await.unwrap();
    old.send("jobs", &1).await.unwrap();
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.left()), (1, &BTreeMap::from([("not a name".to_owned(), 1)])));
    assert_eq!(drain(&new, "jobs").await, [1]);
    let left: u64 = redis::cmd("LLEN").arg(&foreign).query_async(&mut admin).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_server_is_not_drained_into_a_list_that_has_it() {
    let server = Server::shared();
    let [one, two] = layers(&ConfigBuilder::new().hosts([server.url()]).prefix(unique_prefix("same"))).await;
    let error = one.drain_into(&two).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("leave it out of the new list"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_dropped_at_any_point_under_traffic_loses_and_repeats_nothing() {
    let server = Server::shared();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..4 {
        let (old, new) = old_and_new(&server, "drain-dropped").await;
        let ledger = Arc::new(Ledger::default());
        let send = |layer: RedisChannelLayer| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                for _ in 0..300 {
                    let number = ledger.number();
                    layer.send(if number % 3 == 0 { "body?1" } else { "jobs" }, &number).await.unwrap();
                    ledger.sent(number, Sent::Accepted);
                }
            })
        };
        let senders = [send(old.clone()), send(old.clone()), send(new.clone())];
        let receiving = tokio::spawn({
            let (new, ledger) = (new.clone(), Arc::clone(&ledger));
            async move {
                loop {
                    ledger.received(new.receive::<u64>(["jobs", "body?1"]).await.unwrap().1);
                }
            }
        });
        for _ in 0..40 {
            let patience = Duration::from_micros(random.u64(0..6000));
            let _ = tokio::time::timeout(patience, old.drain_into(&new)).await;
        }
        for sender in senders {
            soon("a sender", sender).await.unwrap();
        }
        soon("the last drain", old.drain_into(&new)).await.unwrap();
        ledger.wait_for_balance().await;
        receiving.abort();
        assert_eq!(ledger.accepted_and_refused().0, 900, "round {round}");
    }
}
