//! An old state of the data comes back: from a snapshot, from a replica that lagged behind, or because keys were evicted.

use std::time::Duration;

use asgi_redis::{ChannelLayerExt, Label};

use super::{
    MOMENT, PROMPTLY, keys, options, owner_and_other, prefix_of, promptly, send_at_last, until, until_in,
    up_again,
};
use crate::support::{Proxy, Server};

impl Server {
    /// The server dies, and comes back with what it had at its last `SAVE`.
    fn restore(&self) {
        self.stop();
        self.start();
    }
}

/// Shows R26 and R46.
#[tokio::test]
async fn a_mailbox_that_joined_after_the_snapshot_is_a_member_again() {
    let server = Server::process(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "joined-after")).await;
    server.tell(&["SAVE"]).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    server.restore();
    until("it is a member again", async || matches!(other.group_len("room").await, Ok(1))).await;
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
}

/// Shows R46, R47 and R59.
#[tokio::test]
async fn labels_are_those_that_were_given_last_though_an_older_state_comes_back() {
    let server = Server::process(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "labels-after")).await;
    let mailboxes: Vec<_> = (0..5).map(|_| inbox.open_mailbox().unwrap()).collect();
    let names: Vec<_> = mailboxes.iter().map(|mailbox| mailbox.name()).collect();
    for (name, layer) in names.iter().zip([&owner, &other, &owner, &other]) {
        layer.group_add_labelled("room", *name, "before").await.unwrap();
    }
    server.tell(&["SAVE"]).await;
    owner.group_add_labelled("room", names[0], "after").await.unwrap();
    owner.group_add("room", names[2]).await.unwrap();
    other.group_add("room", names[3]).await.unwrap();
    owner.group_add_labelled("room", names[4], "new").await.unwrap();
    // Until the owner has read what another did.
    tokio::time::sleep(MOMENT).await;
    server.restore();
    let due = [Some("after"), Some("before"), None, None, Some("new")];
    until("each has its last label", async || {
        let Ok(members) = other.group_members("room").await else { return false };
        names.iter().zip(due).all(|(name, due)| {
            let member = members.iter().find(|member| member.channel() == *name);
            member.is_some_and(|member| member.label().map(Label::as_str) == due)
        })
    })
    .await;
}

/// Shows R44.
#[tokio::test]
async fn a_mailbox_that_another_process_added_after_the_snapshot_is_a_member_again() {
    let server = Server::process(&[]);
    let (_owner, inbox, other) = owner_and_other(&options([server.url()], "added-after")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    other.group_add("hall", mailbox.name()).await.unwrap();
    server.tell(&["SAVE"]).await;
    other.group_add("room", mailbox.name()).await.unwrap();
    // It has read all that was told of the membership.
    other.send(mailbox.name(), &0).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 0);
    server.restore();
    until("it is a member again", async || matches!(other.group_len("room").await, Ok(1))).await;
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
}

/// Shows R31.
#[tokio::test]
async fn a_message_after_the_snapshot_came_back_arrives_at_once() {
    let server = Server::process(&[]);
    let (_owner, inbox, other) = owner_and_other(&options([server.url()], "direct-after")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    server.tell(&["SAVE"]).await;
    other.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 1);
    // Until it is acknowledged, and the reader waits again.
    tokio::time::sleep(MOMENT).await;
    server.restore();
    up_again(&other).await;
    send_at_last(&other, mailbox.name().as_str(), 2).await;
    assert_eq!(promptly("the message after it", mailbox.receive::<u64>()).await.unwrap(), 2);
}

/// Shows R47.
#[tokio::test]
async fn a_mailbox_that_was_closed_after_the_snapshot_is_no_member() {
    let server = Server::process(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "closed-after")).await;
    let mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    server.tell(&["SAVE"]).await;
    drop(mailbox);
    until("it has left", async || owner.group_is_empty("room").await.unwrap()).await;
    server.restore();
    until("the ghost is gone", async || matches!(other.group_len("room").await, Ok(0))).await;
}

/// Shows R43.
#[tokio::test]
async fn who_was_discarded_after_the_snapshot_is_no_member_and_gets_nothing() {
    let server = Server::process(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "discarded-after")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    server.tell(&["SAVE"]).await;
    other.group_discard("room", mailbox.name()).await.unwrap();
    other.send(mailbox.name(), &0).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 0);
    server.restore();
    until("the ghost is gone", async || matches!(other.group_len("room").await, Ok(0))).await;
    let _ = other.group_send("room", &1).await.unwrap();
    other.send(mailbox.name(), &2).await.unwrap();
    assert_eq!(promptly("what is for it", mailbox.receive::<u64>()).await.unwrap(), 2);
}

/// Shows R44.
#[tokio::test]
async fn the_members_are_in_their_groups_on_a_replica_that_had_lagged_behind() {
    let [old, new] = [Server::replicating(), Server::replicating()];
    new.follow(&old).await;
    let proxy = Proxy::start(&old);
    let options = options([proxy.url()], "lagging");
    let (owner, inbox, other) = owner_and_other(&options).await;
    new.caught_up_with(&old).await;
    // From here on it hears nothing.
    new.lead().await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    proxy.lead_to(&new);
    old.stop();
    until("it is a member again", async || matches!(other.group_len("room").await, Ok(1))).await;
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
}

/// The owner's beat, and with it each part of its audit, comes three times a second here.
async fn heals_without(kind: &str) {
    let server = Server::private();
    let second = Duration::from_secs(1);
    let options = options([server.url()], "evicted").lease(second).membership_lease(second);
    let prefix = prefix_of(&options);
    let (owner, inbox, other) = owner_and_other(&options).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    for group in ["hall", "room"] {
        owner.group_add(group, mailbox.name()).await.unwrap();
    }
    tokio::time::sleep(MOMENT).await;
    let evicted = keys(&server, &format!("{prefix}{kind}:")).await;
    assert!(!evicted.is_empty());
    let mut command = vec!["DEL"];
    command.extend(evicted.iter().map(String::as_str));
    server.tell(&command).await;
    until_in(2 * PROMPTLY, "both groups have their member again", async || {
        let (hall, room) = (other.group_len("hall").await, other.group_len("room").await);
        (hall.unwrap(), room.unwrap()) == (1, 1)
            && other.channel_groups(mailbox.name()).await.unwrap().len() == 2
            && keys(&server, &format!("{prefix}{kind}:")).await.len() == evicted.len()
    })
    .await;
    for group in ["hall", "room"] {
        let _ = other.group_send(group, &1).await.unwrap();
        assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
    }
}

/// Shows R51.
#[tokio::test]
async fn evicted_rows_of_groups_are_found_by_the_audit() {
    heals_without("d").await;
}

/// Shows R51.
#[tokio::test]
async fn evicted_members_of_groups_are_found_by_the_audit() {
    heals_without("m").await;
}

/// Shows R51.
#[tokio::test]
async fn evicted_indexes_of_groups_are_found_by_the_audit() {
    heals_without("g").await;
}

/// Shows R51.
#[tokio::test]
async fn an_evicted_list_of_the_inboxs_groups_is_found_by_the_audit() {
    heals_without("s").await;
}

/// Shows R31.
#[tokio::test]
async fn a_ticket_from_before_the_snapshot_keeps_no_message_from_who_waits_now() {
    let server = Server::process(&[]);
    let options = options([server.url()], "old-ticket");
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let abandoned = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.receive::<u64>(["jobs"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    server.tell(&["SAVE"]).await;
    abandoned.abort();
    tokio::time::sleep(MOMENT).await;
    server.restore();
    // Nobody waits for a while; the server thinks that one does.
    up_again(&sender).await;
    send_at_last(&sender, "jobs", 1).await;
    let (_, number) = promptly("the message", receiver.receive::<u64>(["jobs"])).await.unwrap();
    assert_eq!(number, 1);
    let again = tokio::time::timeout(PROMPTLY / 5, receiver.receive::<u64>(["jobs"])).await;
    assert!(again.is_err(), "it came once");
}
