//! Groups: who is in, for how long, and what is said of it.

use std::time::Duration;

use super::owner::LONG_LEASE;
use super::{Owner, Shard};
use crate::support::{Add, Change, Discard, Fenced, GroupSend};

const SHORT: u64 = 200;

async fn until_expired() {
    tokio::time::sleep(Duration::from_millis(SHORT + 50)).await;
}

async fn own(shard: &Shard, inboxes: &[&str]) {
    for inbox in inboxes {
        shard.inbox_keep(inbox, "owner", LONG_LEASE, &[], &[]).await;
    }
}

#[tokio::test]
async fn members_are_channels_of_any_kind() {
    let shard = Shard::new().await;
    own(&shard, &["one!", "two!"]).await;
    let members = ["body?x", "chat", "one!a", "one!b", "two!a"];
    let before = shard.time().await;
    let now = shard.group_add(&Add::to("room", &members)).await.unwrap();
    assert!((before..=shard.time().await).contains(&now));
    assert_eq!(shard.group_len("room").await, 5);
    assert_eq!(shard.group_list("room").await.0, members);
    for member in members {
        assert_eq!(shard.channel_groups(member).await, ["room"], "{member}");
    }
    assert_eq!(shard.channel_groups("one!c").await, [""; 0]);
    assert_eq!((shard.group_len("other").await, shard.group_list("other").await.0.len()), (0, 0));
}

#[tokio::test]
async fn who_leaves_is_out_and_whose_queue_has_nobody_left_leaves_no_trace() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    shard.group_add(&Add::to("room", &["one!a", "one!b", "chat"])).await;
    let discard = Discard::from("room", &["one!a", "one!absent", "unknown", "other!x", "one!a"]);
    assert_eq!(shard.group_discard(&discard).await.unwrap(), 1);
    assert_eq!(shard.group_list("room").await.0, ["chat", "one!b"]);
    assert_eq!(shard.group_discard(&Discard::from("room", &["one!b", "chat"])).await.unwrap(), 2);
    assert_eq!(shard.group_len("room").await, 0);
    shard.drain_inbox("one!").await;
    let keys = shard.keys().await;
    // What was said of queues that are unknown stands in their inboxes.
    assert!(keys.iter().eq(["i:one!", "i:other!", "q:other!"]), "{keys:?}");
    assert_eq!(
        shard.group_discard(&Discard::from("room", &["one!b"])).await.unwrap(),
        0,
        "nor is it an error"
    );
}

#[tokio::test]
async fn a_channel_leaves_all_its_groups_in_steps_and_others_stay() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    for number in 0..1200 {
        shard.group_add(&Add::to(&format!("room{number}"), &["one!a", "one!b"])).await;
    }
    shard.group_add(&Add::to("without", &["one!b"])).await;
    let (cursor, left) = shard.group_leave_step("one!a", None, "").await.unwrap();
    assert_eq!((cursor.is_empty(), left), (false, 200));
    assert_eq!(shard.group_leave("one!a").await, 1000);
    assert_eq!(shard.channel_groups("one!a").await, [""; 0]);
    assert_eq!(shard.channel_groups("one!b").await.len(), 1201);
    assert_eq!(shard.group_leave("one!b").await, 1201, "though each goes from the list that is walked");
    assert_eq!(shard.group_leave("one!b").await, 0);
    assert!(!shard.keys().await.iter().any(|key| "gdms".contains(&key[..1]) && key != "schema"));
}

#[tokio::test]
async fn a_membership_ends_after_its_time_and_is_not_counted_listed_or_found() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    shard.group_add(&Add::to("room", &["one!a", "chat"]).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &["one!b", "body?x"])).await;
    assert_eq!(shard.group_len("room").await, 4);
    until_expired().await;
    assert_eq!(shard.group_len("room").await, 2);
    assert_eq!(shard.group_list("room").await.0, ["body?x", "one!b"]);
    assert_eq!(shard.channel_groups("one!a").await, [""; 0]);
    assert_eq!(shard.group_discard(&Discard::from("room", &["one!a", "chat"])).await.unwrap(), 0);
    assert_eq!(shard.group_leave("one!a").await, 0);
}

#[tokio::test]
async fn adding_again_begins_the_time_anew() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    let members = ["chat", "one!a"];
    shard.group_add(&Add::to("room", &members).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &members)).await;
    until_expired().await;
    assert_eq!(shard.group_list("room").await.0, members);
    shard.group_add(&Add::to("room", &members).expiry(SHORT)).await;
    until_expired().await;
    assert_eq!(shard.group_len("room").await, 0, "also when the new time is the shorter one");
    for member in members {
        assert_eq!(shard.channel_groups(member).await, [""; 0]);
    }
}

/// A queue of one channel has no reader who could tell that the membership ended.
#[tokio::test]
async fn a_channel_that_was_added_again_for_a_shorter_time_gets_nothing_after_it() {
    let shard = Shard::new().await;
    for channel in ["chat", "body?x"] {
        shard.group_add(&Add::to("room", &[channel])).await;
        shard.group_add(&Add::to("room", &[channel]).expiry(SHORT)).await;
    }
    until_expired().await;
    let receipt = shard.group_send(&GroupSend::to("room", "hi")).await.unwrap();
    assert_eq!((receipt.delivered, receipt.expired), (0, 2));
    assert!(!shard.exists('q', "chat").await);
    assert!(!shard.exists('q', "body?x").await);
}

/// Shows R20.
#[tokio::test]
async fn members_of_an_inbox_count_while_its_owner_lives_and_those_of_no_owner_do_not() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("room", &["one!a", "chat"])).await;
    assert_eq!(shard.group_list("room").await.0, ["chat"]);
    assert_eq!(shard.channel_groups("one!a").await, [""; 0]);
    own(&shard, &["one!"]).await;
    assert_eq!(shard.group_list("room").await.0, ["chat", "one!a"]);
    shard.inbox_keep("one!", "owner", 1, &[], &[]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(
        (shard.group_len("room").await, shard.group_list("room").await.0),
        (1, vec!["chat".to_owned()])
    );
    assert_eq!(shard.channel_groups("one!a").await, [""; 0]);
    assert_eq!(
        shard.inbox_members("one!").await,
        [("room".to_owned(), "a".to_owned())],
        "its owner may come back"
    );
}

/// Shows R15.
#[tokio::test]
async fn what_a_replaced_connection_says_changes_nothing() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    let (id, now) = (client.id(), client.generation());
    let add = Add::to("room", &["chat"]);
    assert_eq!(shard.group_add(&add.clone().fence(id, now - 1)).await, Fenced::Stale);
    assert_eq!(shard.group_len("room").await, 0);
    assert!(matches!(shard.group_add(&add.fence(id, now)).await, Fenced::Ok(_)));

    let discard = Discard::from("room", &["chat"]);
    assert_eq!(shard.group_discard(&discard.clone().fence(id, now - 1)).await, Fenced::Stale);
    assert_eq!(shard.group_leave_step("chat", Some((id, now + 1)), "").await, Fenced::Stale);
    assert_eq!(shard.group_len("room").await, 1);
    let leave = shard.group_leave_step("chat", Some((id, now)), "").await;
    assert_eq!(leave, Fenced::Ok((String::new(), 1)));
    assert_eq!(shard.group_discard(&discard.fence(id, now)).await, Fenced::Ok(0));
}

#[tokio::test]
async fn a_count_goes_by_queues_in_steps_and_stops_when_there_are_enough() {
    let shard = Shard::new().await;
    let names: Vec<String> = (0..2500).map(|number| format!("chat{number:04}")).collect();
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    let (cursor, members) = shard.group_len_step("room", "", u64::MAX >> 12).await;
    assert_eq!((&*cursor, members), ("chat0999", 1000));
    assert_eq!(shard.group_len("room").await, 2500);
    assert_eq!(shard.group_len_step("room", "", 1).await, (String::new(), 1));
    assert_eq!(shard.group_len_step("room", "", 3).await, (String::new(), 3));
    let (channels, steps) = shard.group_list("room").await;
    assert_eq!(channels, names);
    assert!((3..=30).contains(&steps), "{steps}");
}

#[tokio::test]
async fn a_list_of_many_members_of_one_queue_comes_in_bounded_steps() {
    let shard = Shard::new().await;
    own(&shard, &["one!", "two!"]).await;
    let mut names: Vec<String> = (0..5000).map(|number| format!("one!a{number:04}")).collect();
    names.push("two!z".to_owned());
    for some in names.chunks(500) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some)).await;
    }
    assert_eq!(shard.group_len_step("room", "", u64::MAX >> 12).await, (String::new(), 5001));
    let (mut queue, mut cursor, mut all) = (String::new(), "0".to_owned(), Vec::new());
    loop {
        let (next_queue, next_cursor, found) = shard.group_list_step("room", &queue, &cursor).await;
        assert!(found.len() < 2200, "{}", found.len());
        all.extend(found);
        (queue, cursor) = (next_queue, next_cursor);
        if queue.is_empty() {
            break;
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all, names);
}

/// A list is no walk over all who ever were in.
#[tokio::test]
async fn a_step_of_a_list_is_bounded_however_many_memberships_have_ended() {
    let shard = Shard::alone().await;
    own(&shard, &["one!"]).await;
    let names: Vec<String> = (0..6000).map(|number| format!("one!a{number}")).collect();
    for some in names.chunks(800) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        shard.group_add(&Add::to("room", &some).expiry(1500)).await;
    }
    shard.group_add(&Add::to("room", &["one!stays"])).await;
    let end = shard.time().await + 1_550_000;
    while shard.time().await < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut channels, steps) = shard.group_list("room").await;
    channels.dedup();
    assert_eq!(channels, ["one!stays"]);
    assert!(steps >= 5, "{steps}");
}

#[tokio::test]
async fn memberships_that_ended_are_removed_as_others_begin() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    let names: Vec<String> = (0..40).map(|number| format!("one!a{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    shard.group_add(&Add::to("room", &names).expiry(SHORT)).await;
    shard.group_add(&Add::to("room", &["one!stays"])).await;
    until_expired().await;
    let mut kept = Vec::new();
    for longer in 1..=3 {
        // One that needs no more of the keys than there is looks in one of eight calls.
        shard.group_add(&Add::to("room", &["one!stays"]).expiry(60_000 + 60_000 * longer)).await;
        kept.push(shard.ask::<u64>(redis::cmd("ZCARD").arg(shard.key('m', "room one!"))).await);
    }
    assert_eq!(kept, [25, 9, 1], "some at a time");
}

#[tokio::test]
async fn every_key_of_a_group_lives_as_long_as_its_longest_membership() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    for (expiry, least, most) in [
        (20_000, 10_000, 20_000),
        (60_000, 50_000, 60_000),
        (100, 50_000, 60_000),
        // What an inbox has for long has a sixteenth more.
        (160_000, 150_000, 170_000),
    ] {
        shard.group_add(&Add::to("room", &["one!a", "chat"]).expiry(expiry)).await;
        for (kind, name) in [
            ('g', "room"),
            ('d', "room"),
            ('m', "room one!"),
            ('s', "one!"),
            ('m', "room chat"),
            ('s', "chat"),
        ] {
            let left = shard.ttl(kind, name).await;
            assert!((least..=most).contains(&left), "{kind}:{name} {left} after {expiry}");
        }
    }
}

#[tokio::test]
async fn a_row_lasts_exactly_as_long_as_brief_memberships_and_a_sixteenth_longer_than_others() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    for (expiry, slack) in
        [(30_000, 0), (60_000, 0), (60_001, 3750), (160_000, 10_000), (16 * 3_600_000, 3_600_000)]
    {
        for (queue, slack) in [("one!a", slack), ("chat", 0)] {
            let group = format!("room{expiry}");
            let now =
                shard.group_add(&Add::to(&group, &[queue]).expiry(expiry).capacity(7)).await.unwrap() / 1000;
            let row = shard.row(&group, queue.trim_end_matches('a')).await.unwrap();
            assert_eq!(row, [now + expiry + slack, 7, now], "{queue} {expiry}");
            assert_eq!(shard.end_of(&group, queue).await, Some(now + expiry), "the membership has none");
        }
    }
    // A row that is right is left alone.
    let before = shard.row("room160000", "one!").await;
    shard.group_add(&Add::to("room160000", &["one!b"]).expiry(165_000).capacity(7)).await;
    assert_eq!(shard.row("room160000", "one!").await, before);
    shard.group_add(&Add::to("room160000", &["one!b"]).expiry(171_000).capacity(7)).await;
    assert!(shard.row("room160000", "one!").await > before);
    let [longest, ..] = shard.row("room160000", "one!").await.unwrap();
    shard.group_add(&Add::to("room160000", &["one!b"]).expiry(1000).capacity(8)).await;
    assert_eq!(shard.row("room160000", "one!").await.unwrap()[..2], [longest, 8]);
}

#[tokio::test]
async fn who_joins_where_the_last_one_left_in_the_same_call_has_a_row_of_its_own() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    let change =
        Change::of("one!").join("room", "a", 36_000_000).leave("room", "a").join("room", "b", 60_000);
    let now = shard.change(&change).await.unwrap().now / 1000;
    assert_eq!(shard.row("room", "one!").await, Some([now + 60_000, 100, now]));
    assert_eq!(shard.group_list("room").await.0, ["one!b"]);
}

/// A group send removes an inbox that nobody has owned for a minute since somebody was added.
#[tokio::test]
async fn a_row_of_an_inbox_without_owner_is_kept_fresh() {
    let shard = Shard::new().await;
    let add = Add::to("room", &["one!a"]).expiry(3_600_000);
    shard.group_add(&add).await;
    let mut row: Vec<u8> = shard.ask(redis::cmd("HGET").arg(shard.key('d', "room")).arg("one!")).await;
    let added = u64::from_be_bytes(row.split_off(16).try_into().unwrap());
    row.extend((added - 31_000).to_be_bytes());
    let aged: Vec<u8> = row;
    for (owned, is_kept) in [(true, true), (false, false)] {
        let _: i64 =
            shard.ask(redis::cmd("HSET").arg(shard.key('d', "room")).arg("one!").arg(&aged[..])).await;
        if owned {
            own(&shard, &["one!"]).await;
        } else {
            shard.command(&["DEL", &shard.key('i', "one!")]).await;
        }
        shard.group_add(&Add::to("room", &["one!b"])).await;
        assert_eq!(shard.row("room", "one!").await.unwrap()[2] == added - 31_000, is_kept, "{owned}");
    }
}

#[tokio::test]
async fn a_group_whose_keys_are_not_ours_fails_its_own_calls_and_adds_nothing_without_an_end() {
    let shard = Shard::new().await;
    for kind in ['g', 'd'] {
        shard.command(&["SET", &shard.key(kind, "bad"), "text"]).await;
        let error = shard.try_group_add(&Add::to("bad", &["chat"])).await.unwrap_err();
        assert!(error.contains("WRONGTYPE"), "{error}");
        if kind == 'g' {
            let error = shard.try_group_send(&GroupSend::to("bad", "hi")).await.unwrap_err();
            assert!(error.contains("WRONGTYPE"), "{error}");
        }
        shard.command(&["DEL", &shard.key(kind, "bad")]).await;
    }
    shard.command(&["SET", &shard.key('s', "chat"), "text"]).await;
    shard.try_group_add(&Add::to("room", &["chat"])).await.unwrap_err();
    for key in shard.keys().await.iter().filter(|key| !key.starts_with("s:")) {
        let left: i64 = shard.ask(redis::cmd("PTTL").arg(format!("{}{key}", shard.prefix()))).await;
        assert!(left > 0, "{key}: {left}");
    }
}

#[tokio::test]
async fn names_of_groups_do_not_run_into_those_of_queues() {
    let shard = Shard::new().await;
    own(&shard, &["one!"]).await;
    shard.group_add(&Add::to("a", &["one!x"])).await;
    shard.group_add(&Add::to("a.b", &["one!y"])).await;
    assert_eq!(shard.group_list("a").await.0, ["one!x"]);
    assert_eq!(shard.group_list("a.b").await.0, ["one!y"]);
    let mut owner = Owner::new(&shard, "two!").await;
    shard.group_add(&Add::to("-b", &["two!+"])).await;
    assert_eq!(owner.read_all().await, ["c1 : +-b +"]);
}
