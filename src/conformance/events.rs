//! What happens to a layer is told to those who listen, whatever the layer.

use super::subject::Subject;
use super::support::{capacity, clients, mailed, poll_at_most, soon};
use crate::{ChannelLayer, ChannelLayerExt, Event};

pub(super) async fn a_mailbox_that_is_full_and_has_room_again_is_told(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(4)).await;
    let mut events = owner.events();
    let mut other = sender.events();
    let inbox = owner.open_inbox("chat").await.unwrap();
    let [mut slow, neighbour] = [inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap()];
    for number in 0..4 {
        sender.send(slow.name(), number).await.unwrap();
    }
    sender.send(neighbour.name(), 1).await.unwrap();
    match soon("that it is full", events.next()).await {
        Some(Event::MailboxFull { mailbox }) => assert_eq!(&mailbox, slow.name()),
        other => panic!("{other:?}"),
    }
    for number in 0..4 {
        assert_eq!(mailed(&mut slow).await, number);
    }
    match soon("that it has room", events.next()).await {
        Some(Event::MailboxHasRoom { mailbox }) => assert_eq!(&mailbox, slow.name()),
        other => panic!("{other:?}"),
    }
    assert!(poll_at_most(1, other.next()).await.is_none(), "it is told to its own process");
    soon("closing", owner.close()).await.unwrap();
    assert_eq!(soon("the end", events.next()).await, None);
    assert_eq!(soon("the end", owner.events().next()).await, None);
}
