//! Calls that are none, and keys that are another program's: what is refused leaves nothing half done.

use super::{Owner, Shard};
use crate::support::{Change, InboxKeep, Place};

const INBOX: &str = "in.box!";
const HOUR: u64 = 3_600_000;
const BOTH: [&str; 2] = ["group_change", "group_discard"];

/// Neither the keys nor the time that they have changed.
async fn unchanged(shard: &Shard, what: &str, before: &std::collections::BTreeMap<String, Vec<u8>>) {
    let after = shard.dump().await;
    let keys = |all: &std::collections::BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&after), keys(before), "{what}");
    assert!(after == *before, "{what}: the keys hold something else");
}

#[tokio::test]
async fn a_call_with_an_operation_that_is_none_changes_nothing_and_names_it() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", HOUR)).await;
    let before = shard.dump().await;
    let good = ["-", "room", "a", ""];
    for (bad, told) in [
        (["", "room", "a", "1"], "kind"),
        (["?", "room", "a", "1"], "kind"),
        (["++", "room", "a", "1"], "kind"),
        (["-", "", "a", ""], "group"),
        (["-", "a room", "a", ""], "group"),
        (["-", "a:room", "a", ""], "group"),
        (["-", "room\n", "a", ""], "group"),
        (["-", "room", "", ""], "address"),
        (["-", "room", "a b", ""], "address"),
        (["-", "room", "a:b", ""], "address"),
        (["-", "room", "\ta", ""], "address"),
        (["x", "room", "a", ""], "time"),
        (["x", "room", "a", "-1"], "time"),
        (["x", "room", "a", "1.5"], "time"),
        (["x", "room", "a", "1 2"], "time"),
    ] {
        for script in BOTH {
            let change = owner.change().arguments(&good).arguments(&bad);
            let error = shard.try_change(script, &change).await.unwrap_err();
            assert!(error.contains("operation 2") && error.contains(told), "{script} {bad:?}: {error}");
            unchanged(&shard, &format!("{script} {bad:?}"), &before).await;
        }
    }
    for bad in [
        ["+", "room", "a", ""],
        ["+", "room", "a", "0"],
        ["+", "room", "a", "-5"],
        ["+", "room", "a", "1e3"],
        ["+", "room", "a", "315360000001"],
        ["+", "room", "a", "1 2"],
        ["a", "room", "a", ""],
        ["a", "room", "a", "soon"],
        ["a", "room", "b", "99999999999999999999999999"],
        ["s", "room", "a", "1"],
        ["s", "room", "a", "1 2 3"],
        ["s", "room", "a", "99999999999999999999999999 1"],
    ] {
        let change = owner.change().arguments(&good).arguments(&bad);
        let error = shard.try_change("group_change", &change).await.unwrap_err();
        assert!(error.contains("operation 2") && error.contains("time"), "{bad:?}: {error}");
        unchanged(&shard, &format!("{bad:?}"), &before).await;
    }
}

#[tokio::test]
async fn a_call_that_is_none_changes_nothing() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", HOUR)).await;
    let before = shard.dump().await;
    let leave = |change: Change| change.leave("room", "a");
    let many = |count| (0..count).fold(Change::of(INBOX), |change, _| leave(change));
    let (id, generation) = (owner.id(), owner.client.generation());
    for (bad, told) in [
        (Change::of(INBOX), "operations"),
        (many(201), "operations"),
        (leave(Change::of(INBOX)).arguments(&["-"]), "operations"),
        (leave(Change::of(INBOX)).arguments(&["-", "room", "b"]), "operations"),
        (leave(Change::of("")), "queue"),
        (leave(Change::of("in box!")), "queue"),
        (leave(Change::of("in:box!")), "queue"),
        (leave(Change::of(INBOX).call("-1")), "call"),
        (leave(Change::of(INBOX).call("one")), "call"),
        (leave(Change::of(INBOX).call("1 2")), "call"),
        (leave(Change::of(INBOX).by(id, generation, 1).call("")), "call"),
        (leave(Change::of(INBOX).capacity("")), "capacity"),
        (leave(Change::of(INBOX).capacity("-1")), "capacity"),
        (leave(Change::of(INBOX).capacity("1.5")), "capacity"),
        // Of a queue of one channel.
        (leave(Change::of("chat")), "address"),
        (Change::of("chat").leave_if("room", "", 1), "kind"),
        (Change::of("chat").begin(), "kind"),
    ] {
        for script in BOTH {
            let error = shard.try_change(script, &bad).await.unwrap_err();
            assert!(error.contains(told), "{script} {bad:?}: {error}");
            unchanged(&shard, &format!("{script} {bad:?}"), &before).await;
        }
    }
    for join in [
        Change::of(INBOX).join("room", "b", HOUR),
        Change::of(INBOX).join_unless_in("room", "b", 4_000_000_000_000),
        Change::of(INBOX).set_end("room", "b", 4_000_000_000_000, 1),
    ] {
        let error = shard.try_change("group_discard", &join).await.unwrap_err();
        assert!(error.contains("group_change"), "{error}");
        unchanged(&shard, &format!("{join:?}"), &before).await;
    }
    assert_eq!(shard.change(&many(200)).await.unwrap().left, 1);
}

#[tokio::test]
async fn a_step_that_is_none_takes_a_channel_out_of_no_group() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", HOUR)).await;
    let before = shard.dump().await;
    let by = Some((owner.id(), owner.client.generation()));
    for (channel, by, call, told) in [
        (INBOX, None, "", "address"),
        ("in.box!a b", None, "", "address"),
        ("in.box!a:b", None, "", "address"),
        ("in.box!a", None, "x", "call"),
        ("in.box!a", by, "", "call"),
    ] {
        let error = shard.try_group_leave(channel, by, call, "").await.unwrap_err();
        assert!(error.contains(told), "{channel} {call}: {error}");
        unchanged(&shard, channel, &before).await;
    }
}

#[tokio::test]
async fn a_sign_of_life_or_a_page_that_is_none_changes_nothing() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", HOUR)).await;
    shard.inbox_keep(INBOX, owner.id(), 60_000, &["slow"], &[]).await;
    let before = shard.dump().await;
    let keep = || InboxKeep::of(INBOX, owner.id());
    for (bad, told) in [
        (keep().lease(""), "lease"),
        (keep().lease("-1"), "lease"),
        (keep().lease("1.5"), "lease"),
        (keep().lease("1e3"), "lease"),
        (keep().call(""), "call"),
        (keep().call("x"), "call"),
        (keep().knows("x", ":"), "last_n"),
        (keep().marks("none"), "marks"),
        (keep().count("1"), "full"),
        (keep().full(&["a"]).count("2"), "full"),
        (keep().full(&["a"]).count("0.5"), "full"),
        (keep().count("-1"), "full"),
        (InboxKeep::of("chat", owner.id()), "inbox"),
        (InboxKeep::of("in box!", owner.id()), "inbox"),
    ] {
        let error = shard.try_keep(&bad).await.unwrap_err();
        assert!(error.contains(told), "{bad:?}: {error}");
        unchanged(&shard, &format!("{bad:?}"), &before).await;
    }
    for (call, from, told) in [
        ("", Place::default(), "call"),
        ("x", Place::default(), "call"),
        ("7", Place::new("a room", "", ""), "from_group"),
        ("7", Place::new("room", "x", "a"), "from_end"),
        ("7", Place::new("room", "5", "a b"), "from_address"),
        ("7", Place::new("", "5", "a"), "place"),
    ] {
        let error = shard.try_inbox_page(INBOX, owner.id(), call, &from).await.unwrap_err();
        assert!(error.contains(told), "{call} {from:?}: {error}");
        unchanged(&shard, &format!("{call} {from:?}"), &before).await;
    }
}

/// The key of a group's kind for the group `bad` and our inbox.
fn key_of(shard: &Shard, kind: char) -> String {
    match kind {
        'm' => shard.key('m', "bad in.box!"),
        's' => shard.key('s', INBOX),
        _ => shard.key(kind, "bad"),
    }
}

/// Shows R33.
#[tokio::test]
async fn a_key_of_a_group_that_is_none_fails_the_joins_of_that_group_and_no_other() {
    for kind in ['m', 'd', 'g'] {
        let shard = Shard::new().await;
        let mut owner = Owner::new(&shard, INBOX).await;
        shard.command(&["SET", &key_of(&shard, kind), "text"]).await;
        let end = shard.time_ms().await + HOUR;
        let change = owner
            .change()
            .join("good", "a", HOUR)
            .join("bad", "b", HOUR)
            .join("good", "c", HOUR)
            .join_unless_in("bad", "d", end)
            .join("last", "e", HOUR);
        let done = shard.change(&change).await.unwrap();
        let places: Vec<u64> = done.failures.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [2, 4], "{kind}");
        assert!(done.failures.iter().all(|(_, why)| why.contains("WRONGTYPE")), "{:?}", done.failures);
        assert_eq!(owner.read_all().await, [format!("c1 {} +good a +good c +last e", owner.tag())], "{kind}");
        let left: Vec<String> = shard.keys().await.into_iter().filter(|key| key.contains("bad")).collect();
        let foreign = key_of(&shard, kind).replace(shard.prefix(), "");
        assert_eq!(left, [foreign], "{kind}: nothing else of the group is left");
        let groups: Vec<(String, String)> = shard.inbox_members(INBOX).await;
        assert_eq!(groups.len(), 3, "{kind}: {groups:?}");
        for key in shard.keys().await.iter().filter(|key| "gdms".contains(&key[..1]) && *key != "schema") {
            let ttl: i64 = shard.ask(redis::cmd("PTTL").arg(format!("{}{key}", shard.prefix()))).await;
            assert!(ttl > 0 || left.contains(key), "{kind}: {key} lives for ever");
        }
    }
}

#[tokio::test]
async fn a_list_of_groups_that_is_none_fails_each_join_of_the_queue_and_adds_nothing() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.command(&["SET", &key_of(&shard, 's'), "text"]).await;
    let before: Vec<String> = shard.keys().await.into_iter().collect();
    let done = shard.change(&owner.change().join("bad", "a", HOUR).join("good", "a", HOUR)).await.unwrap();
    assert_eq!(done.failures.len(), 2, "{done:?}");
    assert_eq!(owner.read_all().await, [format!("c1 {}", owner.tag())]);
    assert_eq!(shard.keys().await.into_iter().collect::<Vec<_>>(), before);
    let done = shard.change(&Change::of("chat").join("bad", "", HOUR)).await.unwrap();
    assert_eq!(done.failures.len(), 0);
    shard.command(&["SET", &shard.key('s', "other"), "text"]).await;
    let done = shard.change(&Change::of("other").join("bad", "", HOUR)).await.unwrap();
    assert_eq!(done.failures.len(), 1);
    assert_eq!(shard.group_list("bad").await.0, ["chat"]);
}

/// Else the server would have an end that nobody was told of.
#[tokio::test]
async fn a_join_that_fails_leaves_a_member_the_end_that_it_had() {
    for kind in ['s', 'g'] {
        let shard = Shard::new().await;
        let mut owner = Owner::new(&shard, INBOX).await;
        shard.change(&owner.change().join("bad", "a", HOUR)).await;
        let end = shard.end_of("bad", "in.box!a").await;
        shard.command(&["SET", &key_of(&shard, kind), "text"]).await;
        let longer =
            owner.change().join("bad", "a", 5 * HOUR).set_end("bad", "a", end.unwrap() + HOUR, end.unwrap());
        let done = shard.change(&longer).await.unwrap();
        assert_eq!(done.failures.len(), 2, "{kind}: {done:?}");
        assert_eq!(shard.end_of("bad", "in.box!a").await, end, "{kind}");
        assert!(owner.read_all().await.last().unwrap().ends_with(&owner.tag()), "{kind}: it is not told");
    }
}

#[tokio::test]
async fn whose_members_are_none_cannot_leave_and_other_keys_hinder_nobody() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for kind in ['d', 'g', 's', 'm'] {
        shard.change(&owner.change().join("bad", "a", HOUR).join("good", "a", HOUR)).await;
        shard.command(&["SET", &key_of(&shard, kind), "text"]).await;
        owner.told().await;
        let done = shard.change(&owner.change().leave("bad", "a").leave("good", "a")).await.unwrap();
        let failed = if kind == 'm' { vec![1] } else { Vec::new() };
        assert_eq!(done.failures.iter().map(|(place, _)| *place).collect::<Vec<_>>(), failed, "{kind}");
        let bad = if kind == 'm' { "" } else { " -bad a" };
        let n = done.n;
        assert_eq!(owner.read_all().await, [format!("c{n} {}{bad} -good a", owner.tag())], "{kind}");
        assert_eq!(shard.ask::<String>(redis::cmd("GET").arg(key_of(&shard, kind))).await, "text");
        shard.command(&["DEL", &key_of(&shard, kind)]).await;
    }
    shard.command(&["SET", &key_of(&shard, 'm'), "text"]).await;
    let repairs = owner.change().leave_if("bad", "a", 1).set_end("bad", "a", 4_000_000_000_000, 1);
    assert_eq!(shard.change(&repairs).await.unwrap().failures.len(), 2);
}

#[tokio::test]
async fn an_inbox_whose_keys_are_none_fails_the_call_and_nothing_is_done() {
    for kind in ['q', 'i'] {
        let shard = Shard::new().await;
        shard.change(&Change::of(INBOX).join("room", "a", HOUR)).await;
        shard.command(&["SET", &shard.key(kind, INBOX), "text"]).await;
        let before = shard.dump().await;
        let change = Change::of(INBOX).join("room", "b", HOUR).leave("room", "a");
        let error = shard.try_change("group_change", &change).await.unwrap_err();
        assert!(error.contains("WRONGTYPE"), "{error}");
        let leave = Change::of(INBOX).leave("room", "a");
        shard.try_change("group_discard", &leave).await.unwrap_err();
        shard.try_group_leave("in.box!a", None, "", "").await.unwrap_err();
        let page = shard.try_inbox_page(INBOX, "owner", "1", &Place::default()).await;
        assert!(!matches!(page, Ok(Some(_))), "{page:?}");
        unchanged(&shard, &kind.to_string(), &before).await;
        shard.command(&["DEL", &shard.key(kind, INBOX)]).await;
        assert_eq!(shard.change(&change).await.unwrap().failures, []);
    }
}

#[tokio::test]
async fn a_page_or_a_sign_of_life_that_cannot_be_told_is_an_error() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.command(&["SET", &shard.key('q', INBOX), "text"]).await;
    let before = shard.dump().await;
    let error = shard.try_keep(&owner.beat().unsure()).await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    let error = shard.try_inbox_page(INBOX, owner.id(), "7", &Place::default()).await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    let keys = |all: &std::collections::BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shard.dump().await), keys(&before));
    assert_eq!(shard.inbox_field(INBOX, "controls").await, None, "what was not written is not counted");
}

#[tokio::test]
async fn a_row_that_no_script_wrote_is_written_anew() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for row in ["text", "24 bytes, yet no numbers"] {
        shard.command(&["HSET", &shard.key('d', "room"), INBOX, row]).await;
        let done = shard.change(&owner.change().join("room", "a", 60_000)).await.unwrap();
        assert_eq!(done.failures, [], "{row}");
        assert_eq!(shard.row("room", INBOX).await, Some([done.now / 1000 + 60_000, 100, done.now / 1000]));
    }
}
