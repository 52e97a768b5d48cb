//! A mailbox that is read slowly: its senders are told, and its neighbours do not wait for it.

use super::subject::{Settings, Subject};
use super::support::{Client, address, capacity, clients, mailed, moment, next, soon, until};
use crate::{ChannelLayerExt, ErrorKind, Mailbox};

/// Sends numbers to a mailbox until a send is refused. Returns how many were accepted.
async fn send_until_full(sender: &Client, mailbox: &Mailbox) -> u64 {
    for number in 0..1_000 {
        if let Err(refused) = sender.send(mailbox.name(), &number).await {
            assert_eq!(refused.kind(), ErrorKind::ChannelFull, "{refused}");
            assert!(refused.may_retry() && !refused.perhaps_sent(), "{refused}");
            return number;
        }
        tokio::task::yield_now().await;
    }
    panic!("a mailbox that is never read takes all");
}

/// Sends until a mailbox that nobody reads has been refused long enough for its inbox to be empty.
async fn fill(sender: &Client, mailbox: &Mailbox) -> u64 {
    let mut accepted = send_until_full(sender, mailbox).await;
    loop {
        moment().await;
        let more = async {
            let mut more = 0;
            while sender.send(mailbox.name(), &(accepted + more)).await.is_ok() {
                more += 1;
            }
            more
        };
        match soon("a refusal", more).await {
            0 => return accepted,
            more => accepted += more,
        }
    }
}

pub(super) async fn a_mailbox_that_is_not_read_is_reported_full(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (slow, other) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let accepted = fill(&sender, &slow).await;
    assert!((10..=20).contains(&accepted), "{accepted} of the mailbox's capacity and that of its inbox");
    let refused = sender.send(slow.name(), &99).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ChannelFull);
    sender.send(other.name(), &1).await.unwrap();
}

pub(super) async fn what_a_full_mailbox_accepted_is_delivered_in_order(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut slow = inbox.open_mailbox().unwrap();
    let accepted = fill(&sender, &slow).await;
    for number in 0..accepted {
        assert_eq!(mailed(&mut slow).await, number);
    }
    until("it has room again", async || sender.send(slow.name(), &accepted).await.is_ok()).await;
    assert_eq!(mailed(&mut slow).await, accepted);
}

pub(super) async fn the_neighbours_of_a_slow_mailbox_do_not_wait_for_it(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let slow = inbox.open_mailbox().unwrap();
    let mut others = [(); 20].map(|()| inbox.open_mailbox().unwrap());
    for mailbox in others.iter().chain([&slow]) {
        sender.group_add("room", mailbox.name()).await.unwrap();
    }
    // Three times what the slow one holds, and each round comes only after all others had the one before.
    for number in 0..30 {
        let receipt = sender.group_send("room", &number).await.unwrap();
        assert_eq!((receipt.delivered(), receipt.full()), (1, 0), "the inbox has room");
        for other in &mut others {
            assert_eq!(mailed(other).await, number);
        }
        sender.send(others[3].name(), &(number + 100)).await.unwrap();
        assert_eq!(mailed(&mut others[3]).await, number + 100);
    }
    assert!(others.iter().all(|other| other.missed() == 0));
}

pub(super) async fn a_full_mailbox_misses_messages_of_its_groups_and_counts_them(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut slow, mut other) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for mailbox in [&slow, &other] {
        sender.group_add("room", mailbox.name()).await.unwrap();
    }
    for number in 0..25 {
        let _ = sender.group_send("room", &number).await.unwrap();
        assert_eq!(mailed(&mut other).await, number);
    }
    // The messages of the groups are given to both at once, or to the slow one a little later.
    until("it has missed what it had no room for", async || slow.missed() == 15).await;
    assert_eq!(other.missed(), 0);
    assert_eq!(inbox.statistics().missed, 15);
    for number in 0..10 {
        assert_eq!(mailed(&mut slow).await, number, "it has the first ones");
    }
    let _ = sender.group_send("room", &25).await.unwrap();
    assert_eq!(mailed(&mut slow).await, 25, "it has room again");
}

pub(super) async fn a_full_mailbox_does_not_stop_those_who_read_the_whole_inbox(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(10)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let slow = inbox.open_mailbox().unwrap();
    fill(&sender, &slow).await;
    let channel = address(&inbox, "x");
    let reads = tokio::spawn({
        let inbox = inbox.clone();
        async move { next(&inbox).await }
    });
    moment().await;
    sender.send(&channel, &1).await.unwrap();
    assert_eq!(reads.await.unwrap(), (channel, 1));
}

pub(super) async fn a_mailbox_has_the_capacity_of_its_name(subject: &dyn Subject) {
    let channel_capacity = vec![("small.*".to_owned(), 5)];
    let [owner, sender] = clients(subject, &Settings { channel_capacity, ..Settings::default() }).await;
    let inbox = owner.open_inbox("small").await.unwrap();
    let slow = inbox.open_mailbox().unwrap();
    let accepted = fill(&sender, &slow).await;
    assert!((5..=10).contains(&accepted), "{accepted} of the mailbox's capacity and that of its inbox");
}
