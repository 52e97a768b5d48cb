//! Inboxes and groups with keys: a group's message is sealed once and opened once, and nothing gets in that does not
//! open.

use asgi_redis::{ChannelLayer, ChannelLayerExt, Mailbox};

use super::watch::watched;
use super::{Intruder, KEY, MOMENT, clear, payload_of, sealed, soon};
use crate::support::{Monitor, Server};

async fn next(mailbox: &mut Mailbox) -> u64 {
    soon("a message", mailbox.receive::<u64>()).await.unwrap()
}

#[tokio::test]
async fn mailboxes_get_what_was_sent_to_them_and_nothing_that_was_moved() {
    let server = Server::shared();
    let options = sealed(&server, "mailboxes");
    let [owner, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let inbox = owner.open_inbox("in").await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    // Nothing is read before the first mailbox is open, so entries can be had from the inbox.
    let (one, two) = (format!("{}one", inbox.name()), format!("{}two", inbox.name()));
    sender.send(&one, &1).await.unwrap();
    let to_one = intruder.take(inbox.name().as_str()).await;
    let payload = &to_one[payload_of(&to_one)..];
    sender.send("elsewhere", &2).await.unwrap();
    let elsewhere = intruder.take("elsewhere").await;
    for moved in [
        [&to_one[..18], b"mtwo ", payload].concat(),
        [&to_one[..18], b"groom ", payload].concat(),
        [&to_one[..18], b"m ", payload].concat(),
        [&to_one[..18], b"mone ", &elsewhere[payload_of(&elsewhere)..]].concat(),
        [&to_one[..18], b"mone \x01"].concat(),
        [&to_one[..18], b"mone ", &payload[..30]].concat(),
        // What is no entry at all; the empty one the server drops.
        [&to_one[..18], b"xone ", payload].concat(),
        [&to_one[..18], b"m\xff ", payload].concat(),
        to_one[..18].to_vec(),
        to_one[..17].to_vec(),
        to_one[..5].to_vec(),
        Vec::new(),
    ] {
        intruder.put(inbox.name().as_str(), &moved).await;
    }
    intruder.put(inbox.name().as_str(), &to_one).await;
    sender.send(&two, &3).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..2 {
        let (channel, number) = soon("a message", inbox.next::<u64>()).await.unwrap();
        got.push((channel.to_string(), number));
    }
    assert_eq!(got, [(one, 1), (two, 3)]);
    let counted = owner.seal_statistics();
    assert_eq!((counted.moved, counted.clear_text, counted.malformed), (4, 1, 6), "{counted:?}");
    assert_eq!(counted.total(), 11);
    assert_eq!(inbox.statistics().undecodable, 0);
}

#[tokio::test]
async fn a_groups_message_is_sealed_once_and_opened_once_and_all_members_share_it() {
    const MAILBOXES: usize = 20;
    let server = Server::private();
    let options = sealed(&server, "shared");
    let [owner, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let inbox = owner.open_inbox("in").await.unwrap();
    let mut mailboxes = Vec::new();
    for _ in 0..MAILBOXES {
        let mailbox = inbox.open_mailbox().unwrap();
        owner.group_add("room", mailbox.name()).await.unwrap();
        mailboxes.push(mailbox);
    }
    owner.group_add("room", "alone").await.unwrap();

    let monitor = Monitor::start(&server).await;
    let receipt = sender.group_send("room", &"to all of them").await.unwrap();
    assert_eq!(receipt.delivered(), 2);
    let mut addresses = std::collections::BTreeSet::new();
    for mailbox in &mut mailboxes {
        let message = soon("a copy", mailbox.receive_packed()).await.unwrap();
        assert_eq!(message.unpack::<String>().unwrap(), "to all of them");
        addresses.insert(message.as_bytes().as_ptr());
    }
    assert_eq!(addresses.len(), 1, "they share what was opened");
    let sent = monitor.finish().await;
    let sends = sent.iter().filter(|command| command.contains("groom ")).count();
    assert_eq!(sends, 1, "one call with one payload: {sent:?}");
    let alone: String = soon("a copy", owner.receive(["alone"])).await.unwrap().1;
    assert_eq!(alone, "to all of them");
}

#[tokio::test]
async fn members_with_other_keys_or_none_get_nothing_and_the_others_do() {
    let server = Server::shared();
    let options = clear(&server, "mixed");
    let ours = options.clone().symmetric_encryption_keys([KEY]).connect().await.unwrap();
    let others = options.clone().symmetric_encryption_keys(["another key"]).connect().await.unwrap();
    let without = options.connect().await.unwrap();
    let layers = [&ours, &others, &without];
    let mut inboxes = Vec::new();
    for layer in layers {
        let inbox = layer.open_inbox("in").await.unwrap();
        let mailbox = inbox.open_mailbox().unwrap();
        layer.group_add("room", mailbox.name()).await.unwrap();
        inboxes.push((inbox, mailbox));
    }
    for (number, layer) in layers.iter().enumerate() {
        assert_eq!(layer.group_send("room", &number).await.unwrap().delivered(), 3);
    }
    for (due, (_, mailbox)) in (0..).zip(&mut inboxes) {
        assert_eq!(next(mailbox).await, due, "each its own");
        assert!(tokio::time::timeout(MOMENT, mailbox.receive::<u64>()).await.is_err());
    }
    let [ours, others, without] = layers.map(|layer| layer.seal_statistics());
    assert_eq!((ours.no_key_opens, ours.clear_text), (1, 1));
    assert_eq!((others.no_key_opens, others.clear_text), (1, 1));
    assert_eq!((without.sealed, without.total()), (2, 2));
}

#[tokio::test]
async fn a_groups_message_is_sealed_again_for_each_step_and_each_try() {
    const CHANNELS: usize = 1_500;
    let server = Server::private();
    let layer = sealed(&server, "sealed_again").connect().await.unwrap();
    for number in 0..CHANNELS {
        layer.group_add("many", format!("jobs.{number}")).await.unwrap();
    }
    layer.group_add("room", "jobs").await.unwrap();
    let seen = watched(&server, async {
        assert_eq!(layer.group_send("many", &1).await.unwrap().delivered(), CHANNELS);
        let mut admin = server.connection().await;
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut admin).await.unwrap();
        assert_eq!(layer.group_send("room", &1).await.unwrap().delivered(), 1);
    })
    .await;
    let payloads = seen.payloads();
    let unlike: std::collections::BTreeSet<_> = payloads.iter().collect();
    assert_eq!((payloads.len(), unlike.len()), (4, 4), "two steps, and two tries");
}
