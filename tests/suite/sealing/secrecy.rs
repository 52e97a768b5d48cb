//! What somebody sees who watches the server: with keys no message, with hidden names no name either.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, RedisChannelLayer, Value};

use super::watch::watched;
use super::{KEY, NAME_KEY, PATIENCE, soon};
use crate::support::{Server, unique_prefix};

/// Stands in every message that [`use_everything`] sends.
const MARKER: &str = "PlainTextMarker";
/// Stands in every name of a channel, group or inbox that it uses.
const NAME: &str = "NameMarker";

/// Whatever a layer does, on two layers of one prefix, with the markers in all messages and all names.
async fn use_everything(options: &ConfigBuilder) {
    let [a, b] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let message = Value::map([(MARKER, Value::from(MARKER)), ("bytes", Value::Bytes(MARKER.into()))]);
    let name = |rest: &str| format!("{NAME}.{rest}");
    let receive = async |layer: &RedisChannelLayer, channel: &str| {
        let got: Value = soon("a message", layer.receive([channel])).await.unwrap().1;
        assert_eq!(got, message);
    };

    // Messages that wait, that are waited for, that are given back, that share a call, and that are refused.
    let (normal, ordered) = (name("normal"), a.new_channel(&name("ordered?")).unwrap().to_string());
    for channel in [&normal, &ordered] {
        a.send(channel, &message).await.unwrap();
        receive(&b, channel).await;
        let (received, ()) = tokio::join!(receive(&b, channel), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            a.send(channel, &message).await.unwrap();
        });
        let () = received;
        for _ in 0..3 {
            let waiting = tokio::time::timeout(Duration::from_millis(1), b.receive::<Value>([channel]));
            let (_, sent) = tokio::join!(waiting, a.send(channel, &message));
            sent.unwrap();
        }
        let many = futures::future::join_all((0..60).map(|_| a.send(channel, &message))).await;
        let full = many.into_iter().filter_map(Result::err).map(|error| error.to_string());
        assert!(full.count() > 0, "some find it full");
        while b.try_receive::<Value>([channel]).await.unwrap().is_some() {}
    }
    a.send_wait(&normal, &message, PATIENCE).await.unwrap();
    receive(&b, &normal).await;

    // Inboxes, mailboxes and groups.
    let inbox = b.open_inbox(&name("inbox")).await.unwrap();
    let mut mailboxes = [inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap()];
    let group = name("group");
    for member in mailboxes.iter().map(asgi_redis::Mailbox::name) {
        a.group_add(&group, member).await.unwrap();
    }
    a.group_add(&group, &normal).await.unwrap();
    let receipt = a.group_send_naming_full(&group, &message).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full()), (2, 0));
    for mailbox in &mut mailboxes {
        a.send(mailbox.name(), &message).await.unwrap();
        for _ in 0..2 {
            let got: Value = soon("a message", mailbox.receive()).await.unwrap();
            assert_eq!(got, message);
        }
    }
    receive(&b, &normal).await;
    // A mailbox that is full is reported, and so is a queue.
    while a.send(mailboxes[0].name(), &message).await.is_ok() {}
    while a.send(&normal, &message).await.is_ok() {}
    let receipt = a.group_send_naming_full(&group, &message).await.unwrap();
    assert_eq!(receipt.full_queues().len(), 1);
    assert_eq!(receipt.full_queues()[0], *normal);
    assert_eq!(a.group_len(&group).await.unwrap(), 3);
    assert_eq!(a.group_channels(&group).await.unwrap().len(), 3);
    let groups = a.channel_groups(mailboxes[1].name()).await.unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0], *group);
    a.group_discard(&group, mailboxes[0].name()).await.unwrap();
    a.leave_groups(&normal).await.unwrap();
    let whole = format!("{}{NAME}", inbox.name());
    let (got, sent) = tokio::join!(soon("a message", inbox.next::<Value>()), a.send(&whole, &message));
    sent.unwrap();
    assert_eq!((got.as_ref().unwrap().0.as_str(), &got.as_ref().unwrap().1), (&*whole, &message));
    let [first, second] = mailboxes;
    drop(first);

    // What is asked about servers; the end of some things but not of all, so that keys are left to look at.
    assert!(b.survey().await[0].as_ref().unwrap().queues().contains_key(&normal));
    b.health().await;
    drop(second);
    inbox.close().await;
    a.flush().await.unwrap();
    a.send(&normal, &message).await.unwrap();
    a.group_add(&group, &normal).await.unwrap();
    for layer in [a, b] {
        assert_eq!(layer.seal_statistics().total(), 0);
        layer.close().await.unwrap();
    }
}

fn options(server: &Server) -> ConfigBuilder {
    ConfigBuilder::new().hosts([server.url()]).prefix(unique_prefix("secrecy")).capacity(10)
}

#[tokio::test]
async fn without_keys_the_watcher_sees_messages_and_names() {
    let server = Server::private();
    let seen = watched(&server, use_everything(&options(&server))).await;
    assert!(seen.count(MARKER) > 50 && seen.count(NAME) > 50);
    assert!(seen.payloads().iter().all(|payload| payload.starts_with(b"\x82")), "maps of two");
    assert!(seen.names().iter().all(|name| name.starts_with(NAME)), "{:?}", seen.names());
}

#[tokio::test]
async fn with_keys_the_watcher_sees_no_message() {
    let server = Server::private();
    let options = options(&server).symmetric_encryption_keys([KEY]);
    let seen = watched(&server, use_everything(&options)).await;
    seen.assert_all_sealed();
    assert_eq!((seen.count(MARKER), seen.count(KEY)), (0, 0));
    assert!(seen.count(NAME) > 50, "names are seen without `hide_names`");
}

#[tokio::test]
async fn with_hidden_names_the_watcher_sees_no_name_either() {
    let server = Server::private();
    let options = options(&server).symmetric_encryption_keys([KEY]).hide_names(NAME_KEY);
    let seen = watched(&server, use_everything(&options)).await;
    seen.assert_all_sealed();
    seen.assert_all_hidden();
    for marker in [MARKER, NAME, KEY, NAME_KEY, "inbox!", "normal", "ordered"] {
        assert_eq!(seen.count(marker), 0, "{marker}");
    }
}
