//! Mailboxes, inboxes and layers that end: they leave their groups, and leave nothing behind.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, Inbox, Mailbox};
use futures::StreamExt;

use super::{Hosts, MOMENT, keys, layers, options, options_at, promptly, soon, through_and_beside, until};
use crate::support::{Direction, Proxy, Server, Servers, unique_prefix};

/// The keys of a layer that are not those of its client or schema.
async fn leftovers(hosts: &impl Hosts, options: &ConfigBuilder) -> Vec<String> {
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut keys = keys(hosts, &prefix).await;
    keys.retain(|key| !key[prefix.len()..].starts_with("c:") && !key.ends_with("schema"));
    keys
}

fn opened(inbox: &Inbox, count: usize) -> Vec<Mailbox> {
    (0..count).map(|_| inbox.open_mailbox().unwrap()).collect()
}

on_one_and_three_servers!(a_dropped_mailbox_leaves_all_its_groups_and_its_name_is_unknown);
/// Shows R28.
async fn a_dropped_mailbox_leaves_all_its_groups_and_its_name_is_unknown(servers: Servers) {
    let options = options(&servers, "drop-mailbox");
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (stays, goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for room in 0..20 {
        other.group_add(format!("room-{room}"), goes.name()).await.unwrap();
    }
    other.group_add("room-0", stays.name()).await.unwrap();
    let name = goes.name().clone();
    // Whether its owner has read of them or not.
    drop(goes);
    until("it has left", async || other.channel_groups(&name).await.unwrap().is_empty()).await;
    assert_eq!(other.group_channels("room-0").await.unwrap(), [stays.name().clone()]);
    assert!(other.group_is_empty("room-7").await.unwrap());
    other.send(&name, &1).await.unwrap();
    until("nobody has it", async || inbox.statistics().unknown == 1).await;
    // Somebody who still has its name adds it.
    other.group_add("room-7", &name).await.unwrap();
    until("it leaves again", async || other.group_is_empty("room-7").await.unwrap()).await;
    drop(stays);
    until("all keys of groups are gone", async || {
        leftovers(&servers, &options).await.iter().all(|key| !key.contains("room"))
    })
    .await;
}

/// Shows R53.
#[tokio::test]
async fn a_dropped_mailbox_does_not_leave_its_groups_one_answer_after_another() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let [owner, other] = through_and_beside(&proxy, &server, "drop-many-groups").await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for room in 0..40 {
        other.group_add(format!("room-{room}"), mailbox.name()).await.unwrap();
    }
    other.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(promptly("what came after it had joined", mailbox.receive::<u64>()).await.unwrap(), 1);
    tokio::time::sleep(MOMENT).await;
    let name = mailbox.name().clone();
    // The server does what it is asked to, but no answer comes.
    proxy.stall_only(Direction::Replies);
    drop(mailbox);
    until("it has left all", async || other.channel_groups(&name).await.unwrap().is_empty()).await;
    proxy.pass();
}

on_one_and_three_servers!(a_thousand_mailboxes_dropped_at_once_leave_their_group);
/// Shows R28 and R53.
async fn a_thousand_mailboxes_dropped_at_once_leave_their_group(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "drop-thousand")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailboxes = opened(&inbox, 2_000);
    let adds = mailboxes.iter().map(|mailbox| other.group_add("room", mailbox.name()));
    futures::future::join_all(adds).await.into_iter().for_each(Result::unwrap);
    assert_eq!(other.group_len("room").await.unwrap(), 2_000);
    drop(mailboxes);
    until("all have left", async || other.group_is_empty("room").await.unwrap()).await;
    assert_eq!(inbox.statistics().mailboxes, 0);
}

on_one_and_three_servers!(an_inbox_whose_handles_are_dropped_leaves_its_groups_and_no_key);
async fn an_inbox_whose_handles_are_dropped_leaves_its_groups_and_no_key(servers: Servers) {
    let options = options(&servers, "drop-inbox");
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailboxes = opened(&inbox, 10);
    for (number, mailbox) in mailboxes.iter().enumerate() {
        other.group_add(format!("room-{}", number % 3), mailbox.name()).await.unwrap();
    }
    let second = inbox.clone();
    drop(inbox);
    let _ = other.group_send("room-1", &1).await.unwrap();
    assert_eq!(other.group_len("room-1").await.unwrap(), 3, "a handle is left");
    drop(second);
    let _ = other.group_send("room-1", &2).await.unwrap();
    assert_eq!(other.group_len("room-1").await.unwrap(), 3, "mailboxes are left");
    drop(mailboxes);
    until("nothing is left", async || leftovers(&servers, &options).await.is_empty()).await;
    assert_eq!(other.group_send("room-1", &3).await.unwrap(), asgi_redis::GroupReceipt::default());
}

on_one_and_three_servers!(closing_an_inbox_or_its_layer_ends_the_mailboxes_and_removes_the_keys);
/// Shows R29.
async fn closing_an_inbox_or_its_layer_ends_the_mailboxes_and_removes_the_keys(servers: Servers) {
    let options = options(&servers, "close-inbox");
    let [owner, other] = layers(&options).await;
    let (first, second) = (owner.open_inbox("a").await.unwrap(), owner.open_inbox("b").await.unwrap());
    for inbox in [&first, &second] {
        let mut mailbox = inbox.open_mailbox().unwrap();
        let mut waiting = inbox.open_mailbox().unwrap();
        other.group_add("room", mailbox.name()).await.unwrap();
        let _ = other.group_send("room", &7).await.unwrap();
        until("it has come", async || inbox.statistics().waiting == 1).await;
        let (ended, ()) = tokio::join!(promptly("the end", waiting.next()), async {
            tokio::time::sleep(MOMENT).await;
            if inbox.name() == first.name() {
                promptly("closing the inbox", inbox.close()).await;
            } else {
                promptly("closing the layer", owner.close()).await.unwrap();
            }
        });
        assert!(ended.is_none());
        assert_eq!(mailbox.receive::<u64>().await.unwrap(), 7, "what was there is given");
        assert_eq!(mailbox.receive::<u64>().await.unwrap_err().kind(), ErrorKind::Closed);
        assert!(other.group_is_empty("room").await.unwrap());
        assert_eq!(promptly("the end", inbox.next::<u64>()).await.unwrap_err().kind(), ErrorKind::Closed);
        let mut late = inbox.open_mailbox().unwrap();
        assert_eq!(late.receive::<u64>().await.unwrap_err().kind(), ErrorKind::Closed);
        promptly("closing again", inbox.close()).await;
    }
    assert_eq!(leftovers(&servers, &options).await, [""; 0]);
    assert_eq!(owner.open_inbox("c").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn dropping_everything_ends_all_tasks_and_connections() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let layer = options(&server, "drop-all").connect().await.unwrap();
    let inbox = layer.open_inbox("a").await.unwrap();
    let mailboxes = opened(&inbox, 5);
    for mailbox in &mailboxes {
        layer.group_add("room", mailbox.name()).await.unwrap();
    }
    drop(layer);
    tokio::time::sleep(MOMENT).await;
    drop(inbox);
    drop(mailboxes);
    until("the end of its connection and tasks", async || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
        list.lines().count() == 1 && tokio::runtime::Handle::current().metrics().num_alive_tasks() <= 1
    })
    .await;
}

on_one_and_three_servers!(an_inbox_outlives_its_layer_value_and_ends_when_it_is_closed_after_that);
async fn an_inbox_outlives_its_layer_value_and_ends_when_it_is_closed_after_that(servers: Servers) {
    let [owner, other] = layers(&options(&servers, "outlives")).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    drop(owner);
    let mut mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    drop(inbox);
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
    drop(mailbox);
    until("it has left", async || other.group_is_empty("room").await.unwrap()).await;
}

#[test]
fn mailboxes_end_when_the_runtime_of_their_layer_has_ended() {
    let server = Server::shared();
    let prefix = unique_prefix("runtime-inbox");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (layer, inbox) = first.block_on(async {
        let layer = ConfigBuilder::new().hosts([server.url()]).prefix(prefix).connect().await.unwrap();
        let inbox = layer.open_inbox("a").await.unwrap();
        (layer, inbox)
    });
    let mut mailbox = inbox.open_mailbox().unwrap();
    drop(first);
    runtime().block_on(async {
        let error = promptly("the receive", mailbox.receive::<u64>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(promptly("next", inbox.next::<u64>()).await.unwrap_err().kind(), ErrorKind::Closed);
        promptly("closing the inbox", inbox.close()).await;
        promptly("closing the layer", layer.close()).await.unwrap();
    });
}

#[tokio::test]
async fn closing_takes_no_longer_than_the_server_may_take_to_answer() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let short = Duration::from_millis(300);
    let options =
        options_at(&proxy.url(), "close-stalled-inbox").response_timeout(short).connect_timeout(short);
    let owner = options.connect().await.unwrap();
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    proxy.stall_only(Direction::Replies);
    promptly("closing the inbox", inbox.close()).await;
    assert_eq!(mailbox.receive::<u64>().await.unwrap_err().kind(), ErrorKind::Closed);
    drop(soon("closing the layer", owner.close()).await);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_beat_where_the_key_of_the_inbox_is_not_ours() {
    let server = Server::private();
    let options = options(&server, "foreign-inbox");
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let key = format!("{}q:{}", options.build().unwrap().prefix(), inbox.name());
    let mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    let mut admin = server.connection().await;
    let () = redis::cmd("SET").arg(&key).arg("foreign").query_async(&mut admin).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    let refused = other.group_add("hall", mailbox.name()).await.unwrap_err();
    assert!(refused.to_string().contains("WRONGTYPE"), "{refused}");
    assert!(other.group_is_empty("hall").await.unwrap(), "nothing was done");
    let receipt = other.group_send("room", &1).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.failed()), (0, 1));
    promptly("closing the inbox", inbox.close()).await;
    assert!(other.group_is_empty("room").await.unwrap());
}
