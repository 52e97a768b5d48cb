//! Hidden names: to programs nothing is different, and without the key nothing is found.

use std::collections::BTreeSet;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind};

use super::{KEY, NAME_KEY, received, sealed, soon};
use crate::support::{Server, unique_prefix};

fn hidden(server: &Server, test: &str) -> ConfigBuilder {
    sealed(server, test).hide_names(NAME_KEY)
}

#[tokio::test]
async fn names_of_any_length_come_back_as_they_are() {
    let server = Server::shared();
    let options = hidden(&server, "come_back");
    let [a, b] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let long = "x".repeat(100);
    let group = "g".repeat(100);
    let inbox = b.open_inbox(&"i".repeat(70)).await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let mut channels: BTreeSet<String> = BTreeSet::new();
    for channel in ["a", "b.c-d_e", "body?1", &long, mailbox.name().as_str()] {
        a.group_add(&group, channel).await.unwrap();
        channels.insert(channel.to_owned());
        assert_eq!(b.channel_groups(channel).await.unwrap()[0].as_str(), group);
    }
    let listed = b.group_channels(&group).await.unwrap();
    assert_eq!(listed.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), channels);
    assert_eq!(a.group_send(&group, &7).await.unwrap().delivered(), 5);
    for channel in ["a", "b.c-d_e", "body?1", &long] {
        let (name, got) = soon("a copy", b.receive::<u64>([channel])).await.unwrap();
        assert_eq!((name.as_str(), got), (channel, 7));
    }
    assert_eq!(soon("a copy", mailbox.receive::<u64>()).await.unwrap(), 7);
    a.send(&long, &8).await.unwrap();
    let survey = b.survey().await.remove(0).unwrap();
    assert_eq!((survey.queues().get(&long), survey.groups()), (Some(&1), 1), "{survey:?}");
}

#[tokio::test]
async fn errors_name_what_the_program_named() {
    let server = Server::shared();
    let options = hidden(&server, "errors").capacity(1).inbox_capacity(1);
    let layer = options.connect().await.unwrap();
    layer.send("jobs", &1).await.unwrap();
    let error = layer.send("jobs", &2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChannelFull);
    assert!(error.to_string().starts_with("channel \"jobs\" is full"), "{error}");
    let waiting = layer.receive::<u64>(["body?1"]);
    let mut waiting = std::pin::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    let error = layer.receive::<u64>(["body?1"]).await.unwrap_err();
    assert!(error.to_string().contains("channel \"body?1\" has a single reader"), "{error}");
}

#[tokio::test]
async fn under_another_key_or_none_all_names_are_others() {
    let server = Server::shared();
    let options = sealed(&server, "others");
    let plain = options.connect().await.unwrap();
    let ours = options.clone().hide_names(NAME_KEY).connect().await.unwrap();
    let others = options.clone().hide_names("another key of names").connect().await.unwrap();
    for (number, layer) in [&plain, &ours, &others].into_iter().enumerate() {
        layer.send("jobs", &number).await.unwrap();
        layer.group_add("room", "jobs").await.unwrap();
    }
    for (due, layer) in (0..).zip([&plain, &ours, &others]) {
        assert_eq!(received(layer, "jobs").await, due);
        assert!(layer.try_receive::<u64>(["jobs"]).await.unwrap().is_none());
        assert_eq!(layer.group_channels("room").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn several_servers_share_hidden_names_and_are_drained_of_them() {
    let server = Server::shared();
    let options = ConfigBuilder::new().prefix(unique_prefix("hidden_drain"));
    let options = options.symmetric_encryption_keys([KEY]).hide_names(NAME_KEY);
    let old = options.clone().hosts([server.url_with_db(0)]).connect().await.unwrap();
    let new = options.hosts([1, 2, 3].map(|db| server.url_with_db(db))).connect().await.unwrap();
    for number in 0..20_u64 {
        new.send(format!("body?{number}"), &number).await.unwrap();
        assert_eq!(received(&new, &format!("body?{number}")).await, number);
        old.send(format!("body?{number}"), &number).await.unwrap();
        old.send("jobs", &number).await.unwrap();
    }
    let report = soon("the drain", old.drain_into(&new)).await.unwrap();
    assert_eq!((report.moved(), report.expired()), (40, 0));
    for number in 0..20_u64 {
        assert_eq!(received(&new, &format!("body?{number}")).await, number);
    }
    let mut jobs = BTreeSet::new();
    for _ in 0..20 {
        jobs.insert(received(&new, "jobs").await);
    }
    assert_eq!(jobs, (0..20).collect());
    assert_eq!(new.seal_statistics().total(), 0);
}

#[tokio::test]
async fn a_drain_tells_of_queues_whose_names_its_key_does_not_reveal() {
    let server = Server::shared();
    let options = ConfigBuilder::new().prefix(unique_prefix("unrevealed_drain"));
    let options = options.symmetric_encryption_keys([KEY]);
    let on = |db: u8, options: &ConfigBuilder| options.clone().hosts([server.url_with_db(db)]);
    let ours = options.clone().hide_names(NAME_KEY);
    let others = options.clone().hide_names("another key of names");
    let old = on(0, &ours).connect().await.unwrap();
    let new = on(1, &ours).connect().await.unwrap();
    let unhidden = on(0, &options).connect().await.unwrap();
    let theirs = on(0, &others).connect().await.unwrap();
    for (times, layer) in [(1, &old), (2, &unhidden), (3, &theirs)] {
        for _ in 0..times {
            layer.send("jobs", &times).await.unwrap();
        }
    }
    let survey = old.survey().await.remove(0).unwrap();
    assert_eq!(survey.queues().get("jobs"), Some(&1), "{survey:?}");
    assert_eq!((survey.unrevealed().get("jobs"), survey.unrevealed().len()), (Some(&2), 2), "{survey:?}");
    assert_eq!(survey.messages(), 6);
    for moved in [1, 0] {
        let report = soon("the drain", old.drain_into(&new)).await.unwrap();
        assert_eq!((report.moved(), report.left().len()), (moved, 2), "{report:?}");
        assert_eq!((report.left().get("jobs"), report.left().values().sum()), (Some(&2), 5), "{report:?}");
    }
    assert_eq!(received(&new, "jobs").await, 1);
    assert_eq!(received(&unhidden, "jobs").await, 2);
    assert_eq!(received(&theirs, "jobs").await, 3);
}
