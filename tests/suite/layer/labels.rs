//! Labels of members survive what memberships survive: renewals, and servers that lose all or some of their data.

use std::collections::BTreeMap;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, Label, Mailbox, RedisChannelLayer};
use futures::future::join_all;

use super::{MOMENT, layers, options, until};
use crate::support::{Server, Servers};

/// A beat comes each second.
const LEASE: Duration = Duration::from_secs(3);

/// The members of a group with their labels, as the layer lists them; empty if it cannot.
async fn labels(layer: &RedisChannelLayer, group: &str) -> BTreeMap<String, String> {
    let Ok(members) = layer.group_members(group).await else { return BTreeMap::new() };
    let text = |label: Option<&Label>| label.map(Label::to_string).unwrap_or_default();
    members.iter().map(|member| (member.channel().to_string(), text(member.label()))).collect()
}

/// Adds each mailbox with a label of its own but each tenth, which gets none. Half are added by another process.
async fn add_all(layers: [&RedisChannelLayer; 2], mailboxes: &[Mailbox]) -> BTreeMap<String, String> {
    let added = mailboxes.iter().enumerate().map(async |(number, mailbox)| {
        let layer = layers[number % 2];
        if number % 10 == 0 {
            layer.group_add("room", mailbox.name()).await.unwrap();
            return (mailbox.name().to_string(), String::new());
        }
        let label = format!("user-{number}");
        layer.group_add_labelled("room", mailbox.name(), label.as_str()).await.unwrap();
        (mailbox.name().to_string(), label)
    });
    join_all(added).await.into_iter().collect()
}

/// Shows R39 and R47.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_empty_is_given_the_labels_again() {
    let server = Server::private();
    let [owner, other] = layers(&options(&server, "labels-restart")).await;
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..700).map(|_| inbox.open_mailbox().unwrap()).collect();
    let due = add_all([&owner, &other], &mailboxes).await;
    assert_eq!(labels(&other, "room").await, due);
    for _ in 0..2 {
        tokio::time::sleep(MOMENT).await;
        server.stop();
        server.start();
        until("all labels are back", async || labels(&other, "room").await == due).await;
    }
}

on_one_and_three_servers!(a_label_outlives_the_renewals_of_its_membership);
async fn a_label_outlives_the_renewals_of_its_membership(servers: Servers) {
    let expiry = Duration::from_secs(5);
    let options = options(&servers, "labels-renewed").membership_lease(LEASE).group_expiry(expiry);
    let [owner, other] = layers(&options.renew_memberships(true)).await;
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..20).map(|_| inbox.open_mailbox().unwrap()).collect();
    let due = add_all([&owner, &other], &mailboxes).await;
    // Each is renewed once at least.
    tokio::time::sleep(expiry + MOMENT).await;
    assert_eq!(labels(&other, "room").await, due);
}

/// Shows R51 and R59.
#[tokio::test]
async fn labels_and_members_that_are_lost_alone_are_found_by_the_endless_walk() {
    let server = Server::private();
    let options = options(&server, "labels-keys").membership_lease(LEASE);
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..30).map(|_| inbox.open_mailbox().unwrap()).collect();
    let due = add_all([&owner, &other], &mailboxes).await;
    let queue = mailboxes[0].name().queue().to_owned();
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut connection = server.connection().await;
    for kinds in ["l", "m", "lm", "lmi"] {
        for kind in kinds.chars() {
            let name = if kind == 'i' { queue.clone() } else { format!("room {queue}") };
            let key = format!("{prefix}{kind}:{name}");
            let removed: i64 = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
            assert_eq!(removed, 1, "{kind}");
        }
        assert_ne!(labels(&other, "room").await, due);
        until("all labels are back", async || labels(&other, "room").await == due).await;
    }
}

on_one_and_three_servers!(what_a_flush_has_ended_leaves_no_label);
async fn what_a_flush_has_ended_leaves_no_label(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "labels-flush").membership_lease(LEASE)).await;
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..20).map(|_| inbox.open_mailbox().unwrap()).collect();
    add_all([&owner, &other], &mailboxes).await;
    other.flush().await.unwrap();
    assert_eq!(labels(&other, "room").await, BTreeMap::new());
    let mut due = BTreeMap::new();
    for mailbox in &mailboxes {
        other.group_add("room", mailbox.name()).await.unwrap();
        due.insert(mailbox.name().to_string(), String::new());
    }
    assert_eq!(labels(&other, "room").await, due);
    // A beat, and a page of the endless walk.
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(labels(&other, "room").await, due);
}

on_one_and_three_servers!(hidden_labels_are_read_by_those_who_have_the_key);
async fn hidden_labels_are_read_by_those_who_have_the_key(servers: Servers) {
    let options = options(&servers, "labels-hidden").symmetric_encryption_keys(["k".repeat(32)]);
    let [owner, other] = layers(&options.hide_names("n".repeat(32))).await;
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..20).map(|_| inbox.open_mailbox().unwrap()).collect();
    let mut due = add_all([&owner, &other], &mailboxes).await;
    other.group_add_labelled("room", "news", "all").await.unwrap();
    due.insert("news".to_owned(), "all".to_owned());
    assert_eq!(labels(&other, "room").await, due);
    assert_eq!(labels(&owner, "room").await, due);
}
