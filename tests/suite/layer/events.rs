//! What listeners are told of servers.

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, Event, Events};

use super::{layers, options, soon};
use crate::support::{Server, Servers};

/// The next event that is wanted, past others.
async fn next_of<T>(events: &mut Events, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    let next = async {
        loop {
            let event = events.next().await.expect("the layer is open");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    soon(what, next).await
}

on_one_and_three_servers!(memberships_that_a_server_lost_are_told_and_so_is_that_they_are_healed);
async fn memberships_that_a_server_lost_are_told_and_so_is_that_they_are_healed(servers: Servers) {
    let private = Server::private();
    let mut urls = vec![private.url()];
    urls.extend(servers.all().iter().skip(1).map(|server| server.url()));
    let [layer] = layers(&options(&private, "events-lost").hosts(urls)).await;
    let mut events = layer.events();
    // One inbox at least lives on the server that loses its data.
    let mut mailboxes = Vec::new();
    for _ in 0..12 {
        let mailbox = layer.open_inbox("chat").await.unwrap().open_mailbox().unwrap();
        layer.group_add("room", mailbox.name()).await.unwrap();
        mailboxes.push(mailbox);
    }
    private.stop();
    let lost = next_of(&mut events, "the loss", |event| match event {
        Event::Lost { host, kind, reason, .. } => Some((host, kind, reason)),
        _ => None,
    })
    .await;
    assert!(lost.0.starts_with(&private.url()), "{lost:?}");
    assert!(lost.1 == ErrorKind::Connection && !lost.2.is_empty(), "{lost:?}");
    private.start();
    let is = |wanted: fn(&Event) -> bool| move |event: Event| wanted(&event).then_some(());
    next_of(&mut events, "lost data", is(|event| matches!(event, Event::DataLost { .. }))).await;
    next_of(&mut events, "the way back", is(|event| matches!(event, Event::Back { .. }))).await;
    let inbox = next_of(&mut events, "lost memberships", |event| match event {
        Event::MembershipsLost { inbox, .. } => Some(inbox),
        _ => None,
    })
    .await;
    let healed =
        |event| matches!(event, Event::MembershipsHealed { inbox: it, .. } if it == inbox).then_some(());
    next_of(&mut events, "healed memberships", healed).await;
    let all = async {
        while layer.group_len("room").await.unwrap() != mailboxes.len() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("all are members again", all).await;
    layer.close().await.unwrap();
    let end = async { while events.next().await.is_some() {} };
    soon("the end", end).await;
}

#[tokio::test]
async fn a_server_whose_role_changes_is_told_as_lost_for_that_and_as_back() {
    let server = Server::private();
    let [layer] = layers(&options(&server, "events-role")).await;
    let mut events = layer.events();
    let mut admin = server.connection().await;
    let replica_of = async |admin: &mut redis::aio::MultiplexedConnection, host: &str, port: &str| {
        let () = redis::cmd("REPLICAOF").arg(host).arg(port).query_async(admin).await.unwrap();
    };
    replica_of(&mut admin, "127.0.0.1", "1").await;
    let refused = async { while layer.send("jobs", 1).await.is_ok() {} };
    soon("a refusal", refused).await;
    let kind = next_of(&mut events, "the new role", |event| match event {
        Event::Lost { kind: ErrorKind::Replica, .. } => Some("lost"),
        Event::StillLost { kind: ErrorKind::Replica, .. } => Some("still lost"),
        _ => None,
    });
    let _ = kind.await;
    replica_of(&mut admin, "no", "one").await;
    next_of(&mut events, "the way back", |event| matches!(event, Event::Back { .. }).then_some(())).await;
    soon("a send", async { while layer.send("jobs", 1).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_server_that_was_down_at_first_is_told_when_it_is_connected() {
    let (up, down) = (Server::private(), Server::private());
    down.stop();
    let [layer] = layers(&options(&up, "events-first").hosts([up.url(), down.url()])).await;
    let mut events = layer.events();
    down.start();
    let host = next_of(&mut events, "the connection", |event| match event {
        Event::Connected { host, .. } => Some(host),
        _ => None,
    })
    .await;
    assert!(host.starts_with(&down.url()), "{host}");
}
