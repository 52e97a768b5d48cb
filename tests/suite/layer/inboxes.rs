//! Inboxes and mailboxes: each message to whom it is for, in order, and nobody waits for a neighbour.

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind};
use futures::StreamExt;

use super::{MOMENT, layers, options, soon};
use crate::support::Servers;

on_one_and_three_servers!(a_mailbox_gets_what_any_process_sends_to_its_name_in_order);
async fn a_mailbox_gets_what_any_process_sends_to_its_name_in_order(servers: Servers) {
    let [owner, sender] = layers(&options(&servers, "mailbox")).await;
    let inbox = owner.open_inbox("websocket.send").await.unwrap();
    assert!(inbox.name().as_str().starts_with("websocket.send.") && inbox.name().as_str().ends_with('!'));
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for number in 0..50 {
        sender.send(one.name(), &number).await.unwrap();
        sender.send(two.name(), &(number + 1000)).await.unwrap();
    }
    for number in 0..50 {
        assert_eq!(soon("a message", one.receive::<u64>()).await.unwrap(), number);
        assert_eq!(soon("a message", two.receive::<u64>()).await.unwrap(), number + 1000);
    }
    sender.send(one.name(), "last").await.unwrap();
    let last = soon("the stream", one.next()).await.unwrap();
    assert_eq!(last.unpack::<&str>().unwrap(), "last");
    owner.close().await.unwrap();
    assert!(soon("the end", two.next()).await.is_none());
    assert_eq!(two.receive::<u64>().await.unwrap_err().kind(), ErrorKind::Closed);
}

on_one_and_three_servers!(a_group_send_reaches_its_members_once_and_nobody_else);
async fn a_group_send_reaches_its_members_once_and_nobody_else(servers: Servers) {
    let [one, two, sender] = layers(&options(&servers, "group")).await;
    let inboxes = [one.open_inbox("a").await.unwrap(), two.open_inbox("b").await.unwrap()];
    let mut members: Vec<_> = (0..20).map(|n| inboxes[n % 2].open_mailbox().unwrap()).collect();
    let stranger = inboxes[0].open_mailbox().unwrap();
    for member in &members {
        sender.group_add("room", member.name()).await.unwrap();
    }
    assert_eq!(sender.group_len("room").await.unwrap(), 20);
    assert_eq!(sender.group_channels("room").await.unwrap().len(), 20);
    let receipt = sender.group_send("room", "hi").await.unwrap();
    assert_eq!((receipt.delivered(), receipt.full(), receipt.expired()), (2, 0, 0));
    for member in &mut members {
        assert_eq!(soon("a copy", member.receive::<String>()).await.unwrap(), "hi");
    }
    let gone = members.pop().unwrap();
    sender.group_discard("room", gone.name()).await.unwrap();
    let _ = sender.group_send("room", "again").await.unwrap();
    for member in &mut members {
        assert_eq!(soon("a copy", member.receive::<String>()).await.unwrap(), "again");
    }
    for mailbox in [gone, stranger] {
        let mut mailbox = mailbox;
        assert!(tokio::time::timeout(MOMENT, mailbox.receive::<String>()).await.is_err());
    }
    drop(members);
    soon("the dropped mailboxes leave", async {
        while !sender.group_is_empty("room").await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}
