//! The forms in which servers, channels and messages may be written, and the typed streams of mailboxes and inboxes.

use std::pin::pin;

use asgi_redis::prelude::*;
use futures::StreamExt;

use super::{layers, options, soon};
use crate::support::{Server, Servers, unique_prefix};

#[tokio::test]
async fn servers_are_given_as_one_an_array_or_a_vec() {
    let server = Server::shared();
    let (url, prefix) = (server.url(), unique_prefix("forms-hosts"));
    let options = ConfigBuilder::new().prefix(prefix);
    let one = options.clone().hosts(url.as_str()).connect().await.unwrap();
    let array = options.clone().hosts([url.as_str()]).connect().await.unwrap();
    let vec = options.clone().hosts(vec![url]).connect().await.unwrap();
    one.send("jobs", 1).await.unwrap();
    array.send("jobs", 2).await.unwrap();
    vec.send("jobs", 3).await.unwrap();
    for (layer, number) in [(&vec, 1), (&one, 2), (&array, 3)] {
        assert_eq!(soon("the message", layer.receive::<u64>("jobs")).await.unwrap().1, number);
    }
}

on_one_and_three_servers!(channels_and_messages_are_given_by_value_or_by_reference);
async fn channels_and_messages_are_given_by_value_or_by_reference(servers: Servers) {
    let [layer] = layers(&options(&servers, "forms")).await;
    let text = "hello".to_owned();
    layer.send("jobs", &text).await.unwrap();
    let (channel, received) = soon("one name", layer.receive::<String>("jobs")).await.unwrap();
    assert_eq!((channel.as_str(), received), ("jobs", text.clone()));
    layer.send("b", text.clone()).await.unwrap();
    let (channel, received) = soon("an array", layer.receive::<String>(["a", "b"])).await.unwrap();
    assert_eq!((channel.as_str(), received), ("b", text.clone()));
    let names: Vec<ChannelName> = ["a", "c"].iter().map(|name| name.parse().unwrap()).collect();
    layer.send(&names[1], text.as_str()).await.unwrap();
    let (channel, received) = soon("a reference", layer.receive::<String>(&names)).await.unwrap();
    assert_eq!((&channel, received), (&names[1], text));
}

on_one_and_three_servers!(a_dropped_stream_of_a_mailbox_loses_nothing);
async fn a_dropped_stream_of_a_mailbox_loses_nothing(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "stream-mailbox")).await;
    let inbox = owner.open_inbox("inbox").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let name = mailbox.name().clone();
    for number in 0..40_u64 {
        {
            let mut messages = pin!(mailbox.messages::<u64>());
            // On every second turn the stream is polled before there is a message, and then dropped with its poll.
            if number % 2 == 0 {
                assert!(futures::poll!(messages.next()).is_pending());
            }
            sender.send(&name, number).await.unwrap();
        }
        let mut messages = pin!(mailbox.messages::<u64>());
        let next = soon("the message", messages.next()).await;
        assert_eq!(next.unwrap().unwrap(), number);
    }
    // One of another type is an error of the stream, which goes on.
    sender.send(&name, "no number").await.unwrap();
    sender.send(&name, 7).await.unwrap();
    inbox.close().await;
    let mut messages = pin!(mailbox.messages::<u64>());
    let mut seen = Vec::new();
    while let Some(message) = soon("the end", messages.next()).await {
        seen.push(message.map_err(|error| error.kind()));
    }
    assert!(
        matches!(seen.as_slice(), [] | [Err(ErrorKind::Decode)] | [Err(ErrorKind::Decode), Ok(7)]),
        "{seen:?}"
    );
}

on_one_and_three_servers!(a_dropped_stream_of_an_inbox_loses_nothing);
async fn a_dropped_stream_of_an_inbox_loses_nothing(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "stream-inbox")).await;
    let inbox = owner.open_inbox("inbox").await.unwrap();
    let address = format!("{}mine", inbox.name());
    for number in 0..40_u64 {
        {
            let mut messages = pin!(inbox.messages::<u64>());
            assert!(futures::poll!(messages.next()).is_pending());
            sender.send(address.as_str(), number).await.unwrap();
        }
        let mut messages = pin!(inbox.messages::<u64>());
        let (channel, received) = soon("the message", messages.next()).await.unwrap().unwrap();
        assert_eq!((channel.as_str(), received), (address.as_str(), number));
    }
    inbox.close().await;
    assert!(soon("the end", pin!(inbox.messages::<u64>()).next()).await.is_none());
}
