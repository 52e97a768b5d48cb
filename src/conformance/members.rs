//! Who is in a group: who was added, until it is discarded, its time is over, or it is gone.

use std::time::{Duration, Instant};

use super::subject::{Settings, Subject};
use super::support::{
    Client, all_waiting, capacity, clients, in_time, mailed, nothing, plain, soon, sorted, until,
};
use crate::{ChannelLayerExt, ErrorKind, GroupMember, Label, Mailbox};

/// A group expiry to wait for, within which something can be done even on a busy machine.
const BRIEF: Duration = Duration::from_secs(2);

pub(super) async fn any_client_adds_and_discards_any_channel(subject: &dyn Subject) {
    let [owner, one, two] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    one.group_add("room", mailbox.name()).await.unwrap();
    let _ = two.group_send("room", &1).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 1);
    two.group_discard("room", mailbox.name()).await.unwrap();
    let _ = one.group_send("room", &2).await.unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    let _ = two.group_send("room", &3).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 3);
}

pub(super) async fn a_discarded_channel_gets_nothing_more(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut stays, mut goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for name in [stays.name().as_str(), goes.name().as_str(), "a?1"] {
        sender.group_add("room", name).await.unwrap();
    }
    sender.group_discard("room", goes.name()).await.unwrap();
    sender.group_discard("room", "a?1").await.unwrap();
    assert_eq!(sender.group_send("room", &1).await.unwrap().delivered(), 1);
    assert_eq!(mailed(&mut stays).await, 1);
    assert!(nothing(goes.receive::<u64>()).await);
    assert_eq!(all_waiting(&owner, "a?1").await, [0; 0]);
}

pub(super) async fn discarding_who_is_not_in_the_group_is_no_error(subject: &dyn Subject) {
    let [owner, client] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    client.group_discard("nobody", "a?1").await.unwrap();
    client.group_discard("nobody", mailbox.name()).await.unwrap();
    client.group_add("room", "a?1").await.unwrap();
    client.group_discard("room", "a?2").await.unwrap();
    client.group_discard("room", mailbox.name()).await.unwrap();
    assert_eq!(client.group_len("room").await.unwrap(), 1);
    for _ in 0..2 {
        client.group_discard("room", "a?1").await.unwrap();
    }
    assert!(client.group_is_empty("room").await.unwrap());
}

pub(super) async fn a_message_reaches_exactly_those_who_were_members_when_it_was_sent(subject: &dyn Subject) {
    let [owner, other] = clients(subject, &capacity(1_000)).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut steady, mut flickers) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    other.group_add("room", steady.name()).await.unwrap();
    for number in 0..150_u64 {
        match number % 3 {
            0 => owner.group_add("room", flickers.name()).await.unwrap(),
            1 => other.group_discard("room", flickers.name()).await.unwrap(),
            _ => {}
        }
        let _ = other.group_send("room", &number).await.unwrap();
    }
    for number in 0..150 {
        assert_eq!(mailed(&mut steady).await, number);
        if number % 3 == 0 {
            assert_eq!(mailed(&mut flickers).await, number);
        }
    }
    assert!(nothing(flickers.receive::<u64>()).await);
}

pub(super) async fn what_was_sent_to_a_member_comes_though_it_has_left_meanwhile(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for channel in [mailbox.name().as_str(), "a?1"] {
        sender.group_add("room", channel).await.unwrap();
        let _ = sender.group_send("room", &1).await.unwrap();
        sender.group_discard("room", channel).await.unwrap();
        let _ = sender.group_send("room", &2).await.unwrap();
    }
    assert_eq!(mailed(&mut mailbox).await, 1);
    assert!(nothing(mailbox.receive::<u64>()).await);
    assert_eq!(all_waiting(&owner, "a?1").await, [1]);
}

/// The members of a group as a client lists them, each with its label behind a space.
async fn labelled(client: &Client, group: &str) -> Vec<String> {
    let members = client.group_members(group).await.unwrap();
    let text = |member: &GroupMember| {
        format!("{} {}", member.channel(), member.label().map(Label::as_str).unwrap_or_default())
    };
    sorted(members.iter().map(text))
}

pub(super) async fn a_member_is_listed_with_the_label_that_it_was_added_with_last(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailboxes: Vec<Mailbox> = (0..2).map(|_| inbox.open_mailbox().unwrap()).collect();
    let name = |number: usize| mailboxes[number].name().as_str();
    assert_eq!(labelled(&other, "room").await, [""; 0]);
    owner.group_add_labelled("room", name(0), "ann").await.unwrap();
    other.group_add_labelled("room", "a?1", "ann").await.unwrap();
    other.group_add("room", name(1)).await.unwrap();
    other.group_add_labelled("other.room", name(0), "elsewhere").await.unwrap();
    let due = |labels: [&str; 3]| {
        let names = [name(0), name(1), "a?1"];
        sorted(names.iter().zip(labels).map(|(name, label)| format!("{name} {label}")))
    };
    for client in [&owner, &other] {
        assert_eq!(labelled(client, "room").await, due(["ann", "", "ann"]));
    }
    other.group_add_labelled("room", name(0), "bob").await.unwrap();
    owner.group_add_labelled("room", name(1), "cyd").await.unwrap();
    owner.group_add("room", "a?1").await.unwrap();
    assert_eq!(labelled(&other, "room").await, due(["bob", "cyd", ""]));
    assert_eq!(sorted(other.group_channels("room").await.unwrap()).len(), 3);
    let receipt = other.group_send("room", &1).await.unwrap();
    assert_eq!(receipt.delivered(), 2);
    owner.group_discard("room", name(0)).await.unwrap();
    owner.group_add_many(["room"], [name(0), name(1)]).await.unwrap();
    assert_eq!(labelled(&owner, "room").await, due(["", "", ""]));
    assert_eq!(labelled(&owner, "other.room").await, [format!("{} elsewhere", name(0))]);
}

pub(super) async fn labels_may_be_any_short_text_without_white_space(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    for label in
        ["7", "ann@example.org", "=", "=u1", "+a", "a=b:c,d", "\u{e9}\u{4e2d}\u{1f600}", &"x".repeat(128)]
    {
        client.group_add_labelled("room", "a?1", label).await.unwrap();
        assert_eq!(labelled(&client, "room").await, [format!("a?1 {label}")]);
    }
    for label in ["", "a b", "a\n", "\u{0}", &"x".repeat(129)] {
        let refused = client.group_add_labelled("room", "a?2", label).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName, "{label:?}");
    }
    assert_eq!(client.group_len("room").await.unwrap(), 1);
}

pub(super) async fn the_channels_of_a_group_are_listed_and_counted(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inboxes = [owner.open_inbox("a").await.unwrap(), other.open_inbox("b").await.unwrap()];
    let mailboxes: Vec<Mailbox> = (0..60).map(|number| inboxes[number % 2].open_mailbox().unwrap()).collect();
    let singles: Vec<String> = (0..30).map(|number| format!("single?{number}")).collect();
    let names =
        || mailboxes.iter().map(|mailbox| mailbox.name().as_str()).chain(singles.iter().map(String::as_str));
    assert!(owner.group_is_empty("room").await.unwrap());
    assert_eq!(owner.group_channels("room").await.unwrap(), [""; 0]);
    for (name, count) in names().zip(1..) {
        owner.group_add("room", name).await.unwrap();
        assert_eq!(other.group_len("room").await.unwrap(), count);
    }
    for client in [&owner, &other] {
        assert_eq!(sorted(client.group_channels("room").await.unwrap()), sorted(names()));
        assert!(!client.group_is_empty("room").await.unwrap());
        let group = "room".parse().unwrap();
        assert_eq!(client.group_len_packed(&group, 1).await.unwrap(), 1, "no further than asked");
    }
    for name in names().take(40) {
        other.group_discard("room", name).await.unwrap();
    }
    assert_eq!(sorted(owner.group_channels("room").await.unwrap()), sorted(names().skip(40)));
    assert_eq!(owner.group_len("room").await.unwrap(), 50);
}

pub(super) async fn a_channel_knows_its_groups(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (one, two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let rooms: Vec<String> = (0..30).map(|room| format!("room-{room}")).collect();
    for channel in [one.name().as_str(), "a?1"] {
        assert_eq!(other.channel_groups(channel).await.unwrap(), [""; 0]);
        for room in &rooms {
            other.group_add(room, channel).await.unwrap();
        }
        assert_eq!(sorted(owner.channel_groups(channel).await.unwrap()), sorted(&rooms));
        owner.group_discard("room-7", channel).await.unwrap();
        let left = rooms.iter().filter(|room| *room != "room-7");
        assert_eq!(sorted(other.channel_groups(channel).await.unwrap()), sorted(left));
    }
    assert_eq!(other.channel_groups(two.name()).await.unwrap(), [""; 0], "its neighbour is in none");
}

pub(super) async fn a_channel_leaves_all_its_groups_at_once(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (mut leaves, mut stays) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for room in 0..20 {
        for channel in [leaves.name().as_str(), stays.name().as_str(), "a?1"] {
            owner.group_add(format!("room-{room}"), channel).await.unwrap();
        }
    }
    for channel in [leaves.name().as_str(), "a?1"] {
        other.leave_groups(channel).await.unwrap();
        assert_eq!(owner.channel_groups(channel).await.unwrap(), [""; 0]);
        // Once more does no harm.
        other.leave_groups(channel).await.unwrap();
    }
    for room in 0..20 {
        assert_eq!(owner.group_channels(format!("room-{room}")).await.unwrap(), [stays.name().as_str()]);
    }
    let _ = other.group_send("room-3", &1).await.unwrap();
    assert_eq!(mailed(&mut stays).await, 1);
    other.group_add("room-3", leaves.name()).await.unwrap();
    let _ = other.group_send("room-3", &2).await.unwrap();
    assert_eq!(mailed(&mut leaves).await, 2, "it may come back, and missed what was sent meanwhile");
}

pub(super) async fn a_membership_ends_when_group_expiry_is_over(subject: &dyn Subject) {
    let settings = Settings { group_expiry: BRIEF, ..Settings::default() };
    let [owner, other] = clients(subject, &settings).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for channel in [mailbox.name().as_str(), "a?1"] {
        other.group_add("room", channel).await.unwrap();
    }
    tokio::time::sleep(BRIEF + Duration::from_millis(100)).await;
    assert!(other.group_is_empty("room").await.unwrap());
    assert_eq!(other.group_channels("room").await.unwrap(), [""; 0]);
    assert_eq!(other.channel_groups("a?1").await.unwrap(), [""; 0]);
    assert_eq!(other.group_send("room", &1).await.unwrap().delivered(), 0);
    assert!(nothing(mailbox.receive::<u64>()).await);
    assert_eq!(all_waiting(&owner, "a?1").await, [0; 0]);
    // It may come back.
    let added = Instant::now();
    other.group_add("room", mailbox.name()).await.unwrap();
    let _ = other.group_send("room", &2).await.unwrap();
    if added.elapsed() < BRIEF {
        assert_eq!(mailed(&mut mailbox).await, 2);
    }
}

pub(super) async fn a_membership_lasts_group_expiry_from_the_last_time_it_was_added(subject: &dyn Subject) {
    let settings = Settings { group_expiry: BRIEF, ..Settings::default() };
    let [owner, other] = clients(subject, &settings).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    let renewed = in_time(async || {
        let mut is_fast = true;
        for _ in 0..3 {
            let added = Instant::now();
            for channel in [mailbox.name().as_str(), "a?1"] {
                other.group_add("room", channel).await.unwrap();
            }
            tokio::time::sleep(BRIEF * 2 / 3).await;
            let count = other.group_len("room").await.unwrap();
            is_fast &= added.elapsed() < BRIEF;
            if is_fast && count != 2 {
                return Some(count);
            }
        }
        is_fast.then_some(2)
    })
    .await;
    assert_eq!(renewed, 2, "twice its time after the first add");
}

pub(super) async fn a_dropped_mailbox_leaves_its_groups(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let inbox = owner.open_inbox("a").await.unwrap();
    let (stays, goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    let name = goes.name().clone();
    for room in 0..10 {
        other.group_add(format!("room-{room}"), &name).await.unwrap();
        owner.group_add(format!("room-{room}"), stays.name()).await.unwrap();
    }
    drop(goes);
    until("it has left", async || other.channel_groups(&name).await.unwrap().is_empty()).await;
    for room in 0..10 {
        assert_eq!(other.group_channels(format!("room-{room}")).await.unwrap(), [stays.name().as_str()]);
    }
}

pub(super) async fn the_mailboxes_of_a_closed_or_dropped_inbox_leave_their_groups(subject: &dyn Subject) {
    let [owner, other] = plain(subject).await;
    let (closed, dropped) = (owner.open_inbox("a").await.unwrap(), owner.open_inbox("b").await.unwrap());
    let mailboxes: Vec<Mailbox> =
        [&closed, &closed, &dropped].map(|inbox| inbox.open_mailbox().unwrap()).into_iter().collect();
    for mailbox in &mailboxes {
        other.group_add("room", mailbox.name()).await.unwrap();
    }
    soon("closing the inbox", closed.close()).await;
    assert_eq!(other.group_channels("room").await.unwrap(), [mailboxes[2].name().as_str()]);
    drop(dropped);
    assert_eq!(other.group_len("room").await.unwrap(), 1, "its mailbox is left");
    drop(mailboxes);
    until("it has left", async || other.group_is_empty("room").await.unwrap()).await;
}

pub(super) async fn a_membership_outlives_a_message_that_was_not_taken_in_time(subject: &dyn Subject) {
    let settings = Settings { expiry: Duration::from_millis(200), ..Settings::default() };
    let [client, sender] = clients(subject, &settings).await;
    client.group_add("room", "a?1").await.unwrap();
    let _ = sender.group_send("room", &1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(sender.group_len("room").await.unwrap(), 1);
    until("a later message is taken in time", async || {
        let _ = sender.group_send("room", &2).await.unwrap();
        all_waiting(&client, "a?1").await == [2]
    })
    .await;
}
