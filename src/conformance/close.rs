//! A layer that is closed ends what waits, gives back what was on its way, and leaves the others alone.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::subject::Subject;
use super::support::{
    Client, PATIENCE, address, capacity, clients, mailed, moment, number, plain, poll_once, soon, until,
    waiting,
};
use crate::internals::{Ledger, Sent};
use crate::{ChannelLayerExt, ErrorKind, Result};

fn assert_closed<T>(outcome: Result<T>) {
    let Err(error) = outcome else { panic!("a closed layer went on") };
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

async fn close(client: &Client) {
    soon("closing", client.close()).await.unwrap();
}

pub(super) async fn receives_that_wait_end_when_their_layer_is_closed(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let waits = [vec!["a"], vec!["a", "b"], vec!["c?1"]].map(|channels| {
        let client = client.clone();
        tokio::spawn(async move { client.receive::<u64>(channels).await })
    });
    moment().await;
    close(&client).await;
    for ended in soon("the end of the receives", join_all(waits)).await {
        assert_closed(ended.unwrap());
    }
}

pub(super) async fn a_sender_that_waits_for_room_ends_when_its_layer_is_closed(subject: &dyn Subject) {
    let [client] = clients(subject, &capacity(1)).await;
    client.send("a?1", &1).await.unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.send_wait("a?1", &2, 2 * PATIENCE).await }
    });
    moment().await;
    close(&client).await;
    assert_closed(soon("the end of the sender", waits).await.unwrap());
}

pub(super) async fn every_later_call_says_that_the_layer_was_closed(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    other.send("a", &1).await.unwrap();
    close(&client).await;
    assert_closed(client.send("a", &1).await);
    assert_closed(client.send("a?1", &1).await);
    assert_closed(soon("a receive", client.receive::<u64>(["a"])).await);
    assert_closed(client.try_receive::<u64>(["a"]).await);
    assert_closed(client.open_inbox("a").await);
    assert_closed(client.group_add("room", "a?1").await);
    assert_closed(client.group_discard("room", "a?1").await);
    assert_closed(client.leave_groups("a?1").await);
    assert_closed(client.group_send("room", &1).await);
    assert_closed(client.group_channels("room").await);
    assert_closed(client.group_len("room").await);
    assert_closed(client.channel_groups("a?1").await);
    assert_closed(client.flush().await);
    assert_eq!(number(&other, "a").await, 1, "and did nothing");
}

pub(super) async fn closing_again_does_nothing(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let (one, two) = soon("closing twice at once", join(client.close(), client.close())).await;
    one.unwrap();
    two.unwrap();
    close(&client).await;
}

pub(super) async fn other_clients_go_on(subject: &dyn Subject) {
    let [closed, one, two] = plain(subject).await;
    let inbox = one.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    closed.group_add("room", mailbox.name()).await.unwrap();
    closed.send("a?1", &1).await.unwrap();
    let waits = tokio::spawn({
        let one = one.clone();
        async move { number(&one, "b").await }
    });
    moment().await;
    close(&closed).await;
    assert_eq!(number(&one, "a?1").await, 1, "what it had sent stays");
    two.send("b", &2).await.unwrap();
    assert_eq!(waits.await.unwrap(), 2);
    let _ = two.group_send("room", &3).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 3, "whom it had added stays");
}

pub(super) async fn a_closed_layer_waits_in_no_line(subject: &dyn Subject) {
    let [closed, other] = plain(subject).await;
    for channel in ["a", "a?1"] {
        let mut receive = pin!(closed.receive::<u64>([channel, "other"]));
        assert!(poll_once(receive.as_mut()).await.is_pending());
        moment().await;
    }
    let mut receive = pin!(closed.receive::<u64>(["a", "a?1"]));
    assert!(poll_once(receive.as_mut()).await.is_pending());
    moment().await;
    close(&closed).await;
    for channel in ["a", "a?1"] {
        other.send(channel, &1).await.unwrap();
        assert_eq!(number(&other, channel).await, 1);
    }
    assert_closed(receive.await);
}

pub(super) async fn what_was_on_its_way_goes_back_when_the_layer_is_closed(subject: &dyn Subject) {
    let [closed, other] = plain(subject).await;
    for channel in ["a", "a?1"] {
        other.send(channel, &0).await.unwrap();
        assert_eq!(number(&other, channel).await, 0);
    }
    let mut receive = pin!(closed.receive::<u64>(["a", "a?1"]));
    assert!(poll_once(receive.as_mut()).await.is_pending());
    moment().await;
    other.send("a?1", &1).await.unwrap();
    moment().await;
    close(&closed).await;
    assert_closed(receive.await);
    assert_eq!(number(&other, "a?1").await, 1);
    assert_eq!(waiting(&other, "a?1").await, None);
}

pub(super) async fn what_was_on_its_way_goes_back_when_the_layer_is_dropped(subject: &dyn Subject) {
    let [dropped, other] = plain(subject).await;
    {
        let dropped = dropped;
        let mut receive = pin!(dropped.receive::<u64>(["a"]));
        assert!(poll_once(receive.as_mut()).await.is_pending());
        moment().await;
        other.send("a", &1).await.unwrap();
        moment().await;
    }
    assert_eq!(number(&other, "a").await, 1);
}

pub(super) async fn mailboxes_give_what_they_have_and_end(subject: &dyn Subject) {
    let [closed, other] = plain(subject).await;
    let inbox = closed.open_inbox("a").await.unwrap();
    let (mut has_one, mut waits) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    other.send(has_one.name(), &7).await.unwrap();
    until("it has come", async || inbox.statistics().waiting == 1).await;
    let mailbox = tokio::spawn(async move { waits.receive::<u64>().await });
    let whole = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.next::<u64>().await }
    });
    moment().await;
    close(&closed).await;
    assert_closed(soon("the end of the mailbox", mailbox).await.unwrap());
    assert_closed(soon("the end of the inbox", whole).await.unwrap());
    assert_eq!(mailed(&mut has_one).await, 7);
    assert_closed(soon("its end", has_one.receive::<u64>()).await);
    let mut late = inbox.open_mailbox().unwrap();
    assert_closed(soon("its end", late.receive::<u64>()).await);
}

pub(super) async fn a_closed_inbox_ends_alone(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let (closed, open) = (client.open_inbox("a").await.unwrap(), client.open_inbox("b").await.unwrap());
    let (mut ended, mut goes_on) = (closed.open_mailbox().unwrap(), open.open_mailbox().unwrap());
    for _ in 0..2 {
        soon("closing the inbox", closed.close()).await;
    }
    assert_closed(soon("its end", ended.receive::<u64>()).await);
    other.send(goes_on.name(), &1).await.unwrap();
    assert_eq!(mailed(&mut goes_on).await, 1);
    other.send(address(&open, "x"), &2).await.unwrap();
    client.send("a", &3).await.unwrap();
    assert_eq!(number(&client, "a").await, 3);
}

pub(super) async fn the_mailboxes_of_a_closed_layer_leave_their_groups(subject: &dyn Subject) {
    let [closed, other] = plain(subject).await;
    let inbox = closed.open_inbox("a").await.unwrap();
    let mailboxes = [(); 3].map(|()| inbox.open_mailbox().unwrap());
    for mailbox in &mailboxes {
        other.group_add("room", mailbox.name()).await.unwrap();
    }
    other.group_add("room", "a?1").await.unwrap();
    close(&closed).await;
    assert_eq!(other.group_channels("room").await.unwrap(), ["a?1"]);
}

pub(super) async fn clients_that_close_under_load_lose_and_repeat_nothing(subject: &dyn Subject) {
    let six: [_; 6] = plain(subject).await;
    let ledger = Arc::new(Ledger::default());
    let receive_until_closed = |client: &Client, count: u64| {
        let (client, ledger) = (client.clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            for _ in 0..count {
                match client.receive::<u64>(["work", "more"]).await {
                    Ok((_, number)) => ledger.received(number),
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                }
            }
        })
    };
    let sender = six[0].clone();
    let mut receiving: Vec<_> =
        six[1..].iter().chain(&six[2..]).map(|client| receive_until_closed(client, u64::MAX)).collect();
    let sending = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move {
            for turn in 0..1_000 {
                let number = ledger.number();
                sender.send_wait(["work", "more"][turn % 2], &number, PATIENCE).await.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        }
    });
    for client in &six[2..] {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        close(client).await;
    }
    soon("all sends", sending).await.unwrap();
    ledger.wait_for_balance().await;
    close(&six[1]).await;
    for received in join_all(receiving.drain(..)).await {
        received.unwrap();
    }
    ledger.wait_for_balance().await;
}
