//! What an operator reads of a loss of data: one line for the server and one for the inbox, however many members it had.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, Mailbox};
use futures::future::join_all;

use super::{MOMENT, layers, options, promptly, until};
use crate::support::{Server, Warnings};

const GROUPS: usize = 10;

/// Shows R45.
#[tokio::test]
async fn a_loss_of_data_is_told_once_however_many_mailboxes_are_given_again() {
    let (told, _listening) = Warnings::listen();
    let server = Server::private();
    let lease = Duration::from_secs(3);
    let [layer] = layers(&options(&server, "told").lease(lease).membership_lease(lease)).await;
    let inbox = layer.open_inbox("member").await.unwrap();
    let mut mailboxes: Vec<Mailbox> = (0..1_000).map(|_| inbox.open_mailbox().unwrap()).collect();
    let room = |number: usize| format!("room-{}", number % GROUPS);
    join_all(mailboxes.iter().enumerate().map(async |(number, mailbox)| {
        layer.group_add(room(number), mailbox.name()).await.unwrap();
    }))
    .await;
    for number in 0..GROUPS {
        let _ = layer.group_send(room(number), &0).await.unwrap();
    }
    for mailbox in &mut mailboxes {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 0);
    }
    let lost = ["lost a server", "the server has lost its data", "the server had lost an inbox"];
    assert_eq!(lost.map(|words| told.times(words)), [0, 0, 0]);

    for losses in 1..=2 {
        let () = redis::cmd("FLUSHALL").query_async(&mut server.connection().await).await.unwrap();
        for number in 0..GROUPS {
            until(
                "the members are back",
                async || matches!(layer.group_len(room(number)).await, Ok(count) if count == 1_000 / GROUPS),
            )
            .await;
        }
        // Some beats.
        tokio::time::sleep(lease + MOMENT).await;
        assert_eq!(lost.map(|words| told.times(words)), [0, losses, losses]);
    }
}
