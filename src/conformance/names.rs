//! Which names are allowed, and that each is a channel of its own.

use std::collections::BTreeSet;

use super::subject::Subject;
use super::support::{Client, address, mailed, next, number, plain, soon, waiting};
use crate::{ChannelKind, ChannelLayerExt, ErrorKind, Result};

/// Not names of channels, nor of groups.
const NO_NAMES: [&str; 10] =
    ["", "a b", "a:b", "a/b", "\u{e9}", "a\u{0663}", "a\n", "a?b?c", "a!b!c", "a?b!c"];

fn assert_invalid<T>(outcome: Result<T>, name: &str) {
    let Err(error) = outcome else { panic!("{name:?} is no name, and was taken for one") };
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}: {error}");
}

/// Fails unless every operation refuses a name of a channel.
async fn refuse_channel(client: &Client, name: &str) {
    assert_invalid(client.send(name, &1).await, name);
    assert_invalid(soon("a receive", client.receive::<u64>(["a", name])).await, name);
    assert_invalid(client.try_receive::<u64>([name]).await, name);
    assert_invalid(client.group_add("room", name).await, name);
    assert_invalid(client.group_discard("room", name).await, name);
    assert_invalid(client.channel_groups(name).await, name);
    assert_invalid(client.leave_groups(name).await, name);
}

/// Fails unless every operation refuses a name of a group.
async fn refuse_group(client: &Client, name: &str) {
    assert_invalid(client.group_add(name, "a?1").await, name);
    assert_invalid(client.group_discard(name, "a?1").await, name);
    assert_invalid(client.group_send(name, &1).await, name);
    assert_invalid(client.group_channels(name).await, name);
    assert_invalid(client.group_len(name).await, name);
    assert_invalid(client.group_is_empty(name).await, name);
}

pub(super) async fn all_allowed_characters_are_taken(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    let with_mark = format!("{name}?{}", &name[..30]);
    for channel in [name, &with_mark, "-", "...", "0", "_?-"] {
        client.send(channel, &1).await.unwrap();
        assert_eq!(number(&other, channel).await, 1);
    }
    other.group_add(name, "a?1").await.unwrap();
    let _ = client.group_send(name, &2).await.unwrap();
    assert_eq!(number(&other, "a?1").await, 2);
}

pub(super) async fn names_of_a_hundred_bytes_are_taken(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let (normal, single, group) =
        ("n".repeat(100), format!("{}?{}", "s".repeat(50), "r".repeat(49)), "g".repeat(100));
    for channel in [&normal, &single] {
        client.send(channel, &1).await.unwrap();
        assert_eq!(number(&other, channel).await, 1);
    }
    other.group_add(&group, &single).await.unwrap();
    let _ = client.group_send(&group, &2).await.unwrap();
    assert_eq!(number(&other, &single).await, 2);
    assert_eq!(other.group_channels(&group).await.unwrap(), [single.as_str()]);
}

pub(super) async fn longer_names_are_refused(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    refuse_channel(&client, &"a".repeat(101)).await;
    refuse_channel(&client, &format!("a?{}", "b".repeat(99))).await;
    refuse_group(&client, &"a".repeat(101)).await;
}

pub(super) async fn other_characters_and_second_marks_are_refused(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for name in NO_NAMES {
        refuse_channel(&client, name).await;
    }
    for name in ["?", "!", "?a", "!a", "a?"] {
        refuse_channel(&client, name).await;
    }
}

pub(super) async fn group_names_have_no_mark(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for name in NO_NAMES.into_iter().chain(["a?b", "a!b", "a!", "a?"]) {
        refuse_group(&client, name).await;
    }
}

pub(super) async fn names_that_look_alike_are_channels_of_their_own(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let names = ["ab", "AB", "a.b", "a-b", "a_b", "a?b", "a.b?c", "ab.", "ab?c"];
    for (name, message) in names.into_iter().zip(0_u64..) {
        client.send(name, &message).await.unwrap();
    }
    for (name, message) in names.into_iter().zip(0..) {
        assert_eq!(waiting(&client, name).await, Some(message), "on {name}");
        assert_eq!(waiting(&client, name).await, None, "on {name}");
    }
}

pub(super) async fn a_channel_and_a_group_of_one_name_have_nothing_to_do_with_each_other(
    subject: &dyn Subject,
) {
    let [client] = plain(subject).await;
    client.group_add("same", "a?1").await.unwrap();
    client.send("same", &1).await.unwrap();
    let _ = client.group_send("same", &2).await.unwrap();
    assert_eq!(waiting(&client, "a?1").await, Some(2));
    assert_eq!(waiting(&client, "same").await, Some(1));
    assert_eq!(waiting(&client, "same").await, None);
}

pub(super) async fn a_new_channel_is_the_pattern_and_something_new(subject: &dyn Subject) {
    let [client, other] = plain(subject).await;
    let mut names = BTreeSet::new();
    for _ in 0..500 {
        for maker in [&client, &other] {
            let name = maker.new_channel("http.request.body?").unwrap();
            assert!(name.as_str().starts_with("http.request.body?"), "{name}");
            assert_eq!(name.kind(), ChannelKind::SingleReader);
            assert!(names.insert(name), "a name was made twice");
        }
    }
    let name = names.first().unwrap();
    other.send(name, &1).await.unwrap();
    assert_eq!(number(&client, name.as_str()).await, 1);
}

pub(super) async fn a_pattern_that_does_not_end_in_a_question_mark_is_refused(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for pattern in ["", "a", "a?b", "a!", "a!b", "?", "\u{e9}?", "a b?", &format!("{}?", "a".repeat(99))] {
        assert_invalid(client.new_channel(pattern), pattern);
    }
}

pub(super) async fn an_inbox_has_a_name_that_nobody_else_has(subject: &dyn Subject) {
    let [one, two] = plain(subject).await;
    let mut names = BTreeSet::new();
    for client in [&one, &two, &one] {
        let inbox = client.open_inbox("http.response").await.unwrap();
        let name = inbox.name().clone();
        assert_eq!(name.kind(), ChannelKind::Inbox);
        assert!(name.as_str().starts_with("http.response.") && name.as_str().ends_with('!'), "{name}");
        assert!(names.insert(name), "two inboxes have one name");
        let mut addresses = BTreeSet::new();
        for _ in 0..100 {
            let mailbox = inbox.open_mailbox().unwrap();
            assert!(mailbox.name().as_str().starts_with(inbox.name().as_str()));
            assert_eq!(mailbox.name().kind(), ChannelKind::ProcessSpecific);
            assert!(addresses.insert(mailbox.name().clone()), "two mailboxes have one name");
        }
    }
}

pub(super) async fn inboxes_of_one_given_name_share_nothing(subject: &dyn Subject) {
    let [one, two] = plain(subject).await;
    let (first, second) = (one.open_inbox("same").await.unwrap(), one.open_inbox("same").await.unwrap());
    let third = two.open_inbox("same").await.unwrap();
    for (inbox, message) in [&first, &second, &third].into_iter().zip(0_u64..) {
        two.send(address(inbox, "x"), &message).await.unwrap();
    }
    for (inbox, message) in [&first, &second, &third].into_iter().zip(0..) {
        assert_eq!(next(inbox).await, (address(inbox, "x"), message));
        let mut mailbox = inbox.open_mailbox().unwrap();
        one.send(mailbox.name(), &(message + 10)).await.unwrap();
        assert_eq!(mailed(&mut mailbox).await, message + 10);
    }
}

pub(super) async fn a_wrong_name_of_an_inbox_is_refused(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for name in ["", "a!", "a?", "a?b", "a!b", "a b", "\u{e9}", &"a".repeat(71)] {
        assert_invalid(client.open_inbox(name).await.map(drop), name);
    }
    let inbox = client.open_inbox(&"a".repeat(70)).await.unwrap();
    assert!(inbox.open_mailbox().unwrap().name().as_str().len() <= 100);
}
