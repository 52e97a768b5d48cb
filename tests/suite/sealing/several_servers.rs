//! Several servers with keys: each message is sealed by the clock of the server that it goes to.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind};

use super::{ALLOWANCE, Intruder, KEY, prolonged, received, soon};
use crate::support::{Server, unique_prefix};

#[tokio::test]
async fn every_kind_of_channel_and_a_group_work_over_several_servers() {
    let server = Server::shared();
    let options = ConfigBuilder::new().hosts([0, 1, 2].map(|db| server.url_with_db(db)));
    let options = options.prefix(unique_prefix("sealed_shards")).symmetric_encryption_keys([KEY]);
    let [a, b] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    for number in 0..30_u64 {
        a.send("jobs", &number).await.unwrap();
        assert_eq!(received(&b, "jobs").await, number);
        let body = a.new_channel("body?").unwrap();
        a.send(&body, &number).await.unwrap();
        assert_eq!(received(&b, body.as_str()).await, number);
    }
    let mut inboxes = Vec::new();
    for _ in 0..6 {
        let inbox = b.open_inbox("in").await.unwrap();
        let mailbox = inbox.open_mailbox().unwrap();
        a.group_add("room", mailbox.name()).await.unwrap();
        inboxes.push((inbox, mailbox));
    }
    assert_eq!(a.group_send("room", &7).await.unwrap().delivered(), 6);
    for (_, mailbox) in &mut inboxes {
        assert_eq!(soon("a copy", mailbox.receive::<u64>()).await.unwrap(), 7);
    }
    assert_eq!((a.seal_statistics().total(), b.seal_statistics().total()), (0, 0));
}

#[tokio::test]
async fn a_group_send_says_why_a_server_was_never_reached() {
    let server = Server::shared();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = ConfigBuilder::new().prefix(unique_prefix("never_reached"));
    let options = options.hosts([server.url(), format!("redis://{nobody}")]);
    let mut reasons = Vec::new();
    for options in [options.clone(), options.symmetric_encryption_keys([KEY])] {
        let layer = options.connect().await.unwrap();
        let receipt = layer.group_send("room", &7).await.unwrap();
        let [unreached] = receipt.unreached() else { panic!("{receipt:?}") };
        reasons.push(unreached.reason().to_owned());
    }
    assert!(reasons[0].contains("cannot be reached"), "{reasons:?}");
    assert_eq!(reasons[0], reasons[1], "with keys as without");
}

#[tokio::test]
async fn a_drain_moves_what_it_can_open_and_what_it_cannot() {
    let server = Server::shared();
    let options = ConfigBuilder::new().prefix(unique_prefix("sealed_drain"));
    let ours = options.clone().symmetric_encryption_keys([KEY]);
    let old = ours.clone().hosts([server.url_with_db(4)]).connect().await.unwrap();
    let new = ours.hosts([server.url_with_db(5)]).connect().await.unwrap();
    let others = options.symmetric_encryption_keys(["another key"]);
    let others_old = others.clone().hosts([server.url_with_db(4)]).connect().await.unwrap();
    let others_new = others.hosts([server.url_with_db(5)]).connect().await.unwrap();
    old.group_add("room", "from-group").await.unwrap();
    let _ = old.group_send("room", &1).await.unwrap();
    old.send("jobs", &2).await.unwrap();
    others_old.send("theirs", &3).await.unwrap();
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.unopened(), report.expired()), (3, 1, 0));
    assert_eq!(received(&new, "from-group").await, 1);
    assert_eq!(received(&new, "jobs").await, 2);
    assert_eq!(received(&others_new, "theirs").await, 3);
}

#[tokio::test]
async fn a_drain_says_what_it_could_not_open_and_wants_keys_on_both_sides() {
    let server = Server::shared();
    let clear = ConfigBuilder::new().prefix(unique_prefix("drain_keys"));
    let sealed = clear.clone().symmetric_encryption_keys([KEY]);
    let on = async |db: u8, options: &ConfigBuilder| {
        options.clone().hosts([server.url_with_db(db)]).connect().await.unwrap()
    };
    let [old, old_sealed] = [on(6, &clear).await, on(6, &sealed).await];
    let [new, new_sealed] = [on(7, &clear).await, on(7, &sealed).await];
    old_sealed.send("jobs", &1).await.unwrap();
    for (from, to) in [(&old, &new_sealed), (&old_sealed, &new)] {
        let error = from.drain_into(to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("keys on one side only"), "{error}");
    }
    old.send("clear", &2).await.unwrap();
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.unopened()), (2, 1), "without the keys");
    old.send("clear", &2).await.unwrap();
    let report = soon("the drain", old_sealed.drain_into(&new_sealed)).await.unwrap();
    assert_eq!((report.moved(), report.unopened()), (1, 1), "in clear text, with keys");
}

#[tokio::test]
async fn a_drain_drops_what_was_put_there_again_after_its_time() {
    let server = Server::shared();
    let moment = Duration::from_millis(100);
    let options = ConfigBuilder::new().prefix(unique_prefix("drain_late")).symmetric_encryption_keys([KEY]);
    let on = |db: u8| options.clone().hosts([server.url_with_db(db)]);
    let sender = on(0).expiry(moment).response_timeout(moment).connect().await.unwrap();
    let (old, new) = (on(0).connect().await.unwrap(), on(1).connect().await.unwrap());
    let mut intruder = Intruder::of(&server, &on(0)).await;
    for channel in ["late", "mixed"] {
        sender.send(channel, &1).await.unwrap();
        let entry = intruder.take(channel).await;
        tokio::time::sleep(2 * moment + ALLOWANCE).await;
        intruder.put(channel, &prolonged(&entry)).await;
    }
    old.send("mixed", &2).await.unwrap();
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.unopened(), report.expired()), (1, 0, 2), "{report:?}");
    assert_eq!(received(&new, "mixed").await, 2);
    assert_eq!(new.seal_statistics().total(), 0);
    assert!(old.survey().await.remove(0).unwrap().queues().is_empty());
}
