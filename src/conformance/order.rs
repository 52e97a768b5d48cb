//! Where order is promised: on `?` and `!` channels, from one writer to the one reader.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::{join, join_all};

use super::subject::Subject;
use super::support::{
    Client, PATIENCE, address, all_waiting, capacity, clients, mailed, next, nothing, number, plain,
    poll_once, receive, soon, waiting,
};
use crate::{ChannelLayerExt, ChannelName, ErrorKind};

/// How many writers write at once to one channel, and how many messages each.
const WRITERS: u64 = 4;
const EACH: u64 = 100;

/// Writers at once; each message is a writer and its turn.
async fn write_at_once(clients: &[Client], channel: &ChannelName) {
    let writing = (0..WRITERS).zip(clients.iter().cycle()).map(|(writer, client)| async move {
        for turn in 0..EACH {
            client.send_wait(channel, &(writer, turn), PATIENCE).await.unwrap();
        }
    });
    join_all(writing).await;
}

/// Notes a message of one of the writers, and fails if it is not that writer's next.
fn note((writer, turn): (u64, u64), seen: &mut BTreeMap<u64, u64>) {
    let due = seen.entry(writer).or_default();
    assert_eq!(turn, *due, "of writer {writer}");
    *due += 1;
}

pub(super) async fn a_single_reader_channel_keeps_the_order_of_its_writer(subject: &dyn Subject) {
    let [reader, writer] = plain(subject).await;
    let body = reader.new_channel("http.request.body?").unwrap();
    let writing = async {
        for number in 0..400_u64 {
            writer.send_wait(&body, &number, PATIENCE).await.unwrap();
        }
    };
    let reading = async {
        for expected in 0..400 {
            assert_eq!(number(&reader, body.as_str()).await, expected);
        }
    };
    join(writing, reading).await;
}

pub(super) async fn each_writer_of_a_single_reader_channel_keeps_its_order(subject: &dyn Subject) {
    let [reader, one, two] = plain(subject).await;
    let body = reader.new_channel("http.request.body?").unwrap();
    let reading = async {
        let mut seen = BTreeMap::new();
        for _ in 0..WRITERS * EACH {
            note(receive(&reader, &[body.as_str()]).await.1, &mut seen);
        }
    };
    join(write_at_once(&[one, two], &body), reading).await;
}

pub(super) async fn a_single_reader_channel_gives_at_once_what_was_sent(subject: &dyn Subject) {
    let [reader, writer] = plain(subject).await;
    for number in 0..100 {
        let body = reader.new_channel("body?").unwrap();
        writer.send(&body, &number).await.unwrap();
        assert_eq!(waiting(&reader, body.as_str()).await, Some(number), "who looks must find it");
        assert_eq!(waiting(&reader, body.as_str()).await, None);
    }
}

pub(super) async fn a_single_reader_channel_may_be_read_by_another_client_later(subject: &dyn Subject) {
    let [one, two, writer] = plain(subject).await;
    for number in 0..10 {
        writer.send("body?1", &number).await.unwrap();
    }
    assert_eq!(number(&one, "body?1").await, 0);
    assert!(all_waiting(&two, "body?1").await.into_iter().eq(1..10));
}

pub(super) async fn a_second_receive_on_a_single_reader_channel_is_refused_until_the_first_ends(
    subject: &dyn Subject,
) {
    let [reader, writer] = plain(subject).await;
    {
        let mut first = pin!(reader.receive::<u64>(["body?1", "other"]));
        // A layer of several parts may look at one of them alone before it waits on all.
        assert!(nothing(first.as_mut()).await);
        let second = soon("the refusal", reader.receive::<u64>(["body?1"])).await;
        assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyReceiving);
        assert_eq!(waiting(&reader, "body?2").await, None, "another channel is free");
        writer.send("other", &1).await.unwrap();
        assert_eq!(soon("the first", first).await.unwrap().1, 1);
    }
    {
        let mut dropped = pin!(reader.receive::<u64>(["body?1"]));
        assert!(poll_once(dropped.as_mut()).await.is_pending());
    }
    writer.send("body?1", &2).await.unwrap();
    assert_eq!(number(&reader, "body?1").await, 2);
}

pub(super) async fn a_mailbox_keeps_the_order_of_its_writer(subject: &dyn Subject) {
    let [owner, writer] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let names = [one.name().clone(), two.name().clone()];
    let writing = async {
        for number in 0..300_u64 {
            for name in &names {
                writer.send_wait(name, &number, PATIENCE).await.unwrap();
            }
        }
    };
    let reading = async {
        for expected in 0..300 {
            assert_eq!(mailed(&mut one).await, expected);
            assert_eq!(mailed(&mut two).await, expected);
        }
    };
    join(writing, reading).await;
}

pub(super) async fn an_inbox_keeps_the_order_over_its_addresses(subject: &dyn Subject) {
    let [owner, writer] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let addresses = ["x", "y", "z"].map(|local| address(&inbox, local));
    let writing = async {
        for (number, channel) in (0..300_u64).zip(addresses.iter().cycle()) {
            writer.send_wait(channel, &number, PATIENCE).await.unwrap();
        }
    };
    let reading = async {
        for (number, channel) in (0..300).zip(addresses.iter().cycle()) {
            assert_eq!(next(&inbox).await, (channel.clone(), number));
        }
    };
    join(writing, reading).await;
}

pub(super) async fn each_writer_to_a_mailbox_keeps_its_order(subject: &dyn Subject) {
    let [owner, one, two] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let name = mailbox.name().clone();
    let reading = async {
        let mut seen = BTreeMap::new();
        for _ in 0..WRITERS * EACH {
            note(soon("a message", mailbox.receive()).await.unwrap(), &mut seen);
        }
    };
    join(write_at_once(&[one, two], &name), reading).await;
}

pub(super) async fn messages_to_groups_and_to_a_mailbox_keep_their_order(subject: &dyn Subject) {
    let [owner, sender] = clients(subject, &capacity(1_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for group in ["one", "two"] {
        sender.group_add(group, mailbox.name()).await.unwrap();
    }
    for number in 0..150_u64 {
        match number % 3 {
            0 => sender.send(mailbox.name(), &number).await.unwrap(),
            1 => drop(sender.group_send("one", &number).await.unwrap()),
            _ => drop(sender.group_send("two", &number).await.unwrap()),
        }
    }
    for expected in 0..150 {
        assert_eq!(mailed(&mut mailbox).await, expected);
    }
}

pub(super) async fn messages_to_a_group_keep_their_order_on_a_single_reader_channel(subject: &dyn Subject) {
    let [reader, sender] = plain(subject).await;
    sender.group_add("room", "a?1").await.unwrap();
    for number in 0..50_u64 {
        if number % 2 == 0 {
            let _ = sender.group_send("room", &number).await.unwrap();
        } else {
            sender.send("a?1", &number).await.unwrap();
        }
    }
    assert!(all_waiting(&reader, "a?1").await.into_iter().eq(0..50));
}
