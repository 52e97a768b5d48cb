//! A server becomes a replica while clients stay connected to it: nothing is delivered twice, and they find the primary.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer};

use super::{MOMENT, PROMPTLY, got_in, options, promptly, receive_all, send_at_last, until};
use crate::support::{Ledger, Monitor, Proxy, Sent, Server};

/// A primary and its replica.
async fn pair() -> [Server; 2] {
    let [one, other] = [Server::replicating(), Server::replicating()];
    other.follow(&one).await;
    [one, other]
}

/// Sends numbers one after another, each of which must arrive once.
async fn send_some(layer: &RedisChannelLayer, channel: &str, ledger: &Ledger) {
    for _ in 0..20 {
        let number = ledger.number();
        send_at_last(layer, channel, number).await;
        ledger.sent(number, Sent::Accepted);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Shows R30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_a_demoted_server_delivers_nothing_that_the_new_primary_has() {
    let [old, new] = pair().await;
    let options = options([old.url()], "demoted");
    let at_old = options.connect().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let waits = receive_all(&at_old, "jobs", &ledger);
    tokio::time::sleep(MOMENT).await;
    // The replica knows who waits.
    new.caught_up_with(&old).await;
    new.lead().await;
    old.follow(&new).await;
    let at_new = options.hosts([new.url()]).connect().await.unwrap();
    send_some(&at_new, "jobs", &ledger).await;
    let receives = receive_all(&at_new, "jobs", &ledger);
    ledger.wait_for_received(20).await;
    tokio::time::sleep(MOMENT).await;
    ledger.balance();
    waits.abort();
    receives.abort();
}

/// Shows R30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_behind_one_address_repeats_no_sealed_message_and_who_waited_comes_to_the_new_primary() {
    let [old, new] = pair().await;
    let proxy = Proxy::start(&old);
    let options = options([proxy.url()], "failover").symmetric_encryption_keys(["key"]);
    let before = options.connect().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let waits = receive_all(&before, "jobs", &ledger);
    tokio::time::sleep(MOMENT).await;
    old.fail_over_to(&new).await;
    proxy.lead_to(&new);
    let after = options.connect().await.unwrap();
    // The first receiver alone is there: it must notice that it waits at the wrong server.
    send_some(&after, "jobs", &ledger).await;
    let all = tokio::time::timeout(PROMPTLY, ledger.wait_for_received(20)).await;
    assert!(all.is_ok(), "who waits at the old server never looks again");
    tokio::time::sleep(MOMENT).await;
    ledger.balance();
    waits.abort();
}

/// Shows R30.
#[tokio::test]
async fn a_mailbox_gets_each_message_once_when_its_server_is_demoted_behind_its_address() {
    let [old, new] = pair().await;
    let proxy = Proxy::start(&old);
    let options = options([proxy.url()], "demoted-inbox");
    let owner = options.connect().await.unwrap();
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    new.caught_up_with(&old).await;
    new.lead().await;
    old.follow(&new).await;
    proxy.lead_to(&new);
    let other = options.hosts([new.url()]).connect().await.unwrap();
    let _ = other.group_send("room", &1).await.unwrap();
    other.send(mailbox.name(), &2).await.unwrap();
    let _ = other.group_send("room", &3).await.unwrap();
    assert_eq!(got_in(PROMPTLY, &mut mailbox).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_replica_is_not_asked_what_its_primary_may_know_better() {
    let server = Server::replicating();
    let layer = options([server.url()], "stale-reads").connect().await.unwrap();
    layer.group_add("room", "member").await.unwrap();
    assert_eq!(layer.group_len("room").await.unwrap(), 1);
    server.follow_nobody_reachable().await;
    let answers = [
        layer.group_len("room").await.map(drop),
        layer.group_channels("room").await.map(drop),
        layer.channel_groups("member").await.map(drop),
        layer.survey().await.remove(0).map(drop),
    ];
    for answer in answers {
        // The first to hear of it is told; others may find the connection gone already.
        let kind = answer.map_err(|error| error.kind());
        assert!(matches!(kind, Err(ErrorKind::Replica | ErrorKind::Connection)), "{kind:?}");
    }
}

/// Shows R30.
#[tokio::test]
async fn a_replica_is_known_before_anything_is_subscribed_and_again_when_it_is_the_primary() {
    let [primary, replica] = pair().await;
    let healthy = Server::private();
    let monitor = Monitor::start(&replica).await;
    let layer = options([healthy.url(), replica.url()], "known-replica").connect().await.unwrap();
    tokio::time::sleep(5 * MOMENT).await;
    assert!(!layer.health().await[1].is_up());
    let seen = monitor.finish().await;
    assert!(seen.iter().any(|line| line.contains("HELLO")), "{seen:?}");
    let early: Vec<&String> = seen.iter().filter(|line| line.contains("SUBSCRIBE")).collect();
    assert!(early.is_empty(), "{early:?}");
    replica.lead().await;
    until("it is up", async || layer.health().await[1].is_up()).await;
    drop(primary);
}

#[tokio::test]
async fn who_waits_at_a_server_that_is_a_primary_again_is_woken_there() {
    let [old, new] = pair().await;
    let options = options([old.url()], "primary-again");
    let at_old = options.connect().await.unwrap();
    let receive = tokio::spawn(async move { at_old.receive::<u64>(["jobs"]).await });
    tokio::time::sleep(MOMENT).await;
    // What comes back to the old primary is to have the ticket.
    new.caught_up_with(&old).await;
    new.lead().await;
    old.follow(&new).await;
    tokio::time::sleep(MOMENT).await;
    assert!(!receive.is_finished());
    old.lead().await;
    let sender = options.connect().await.unwrap();
    sender.send("jobs", &1).await.unwrap();
    assert_eq!(promptly("the message", receive).await.unwrap().unwrap().1, 1);
}
