//! Repairs: operations with conditions, by which an owner puts right what the server has; and what it was not told.

use super::{Owner, Shard};
use crate::support::{Add, Change, InboxKeep, Place, Told};

const INBOX: &str = "in.box!";
const HOUR: u64 = 3_600_000;
/// As many as wait before changes of others are told by one entry.
const MANY: u64 = 10_000;

/// What the next change that waits did, as `~room a 17`.
async fn told(owner: &mut Owner) -> Vec<String> {
    let [Told::Change { parts, .. }] = &owner.told().await[..] else { panic!("one change is told") };
    let text = |part: &crate::support::Part| {
        let end = part.end.map(|end| format!(" {end}")).unwrap_or_default();
        format!("{}{} {}{end}", part.kind, part.group, part.address)
    };
    parts.iter().map(text).collect()
}

/// Shows R39.
#[tokio::test]
async fn a_repair_names_the_end_and_tells_it() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    shard.change(&owner.change().join_unless_in("room", "a", end)).await;
    assert_eq!(told(&mut owner).await, [format!("~room a {end}")]);
    assert_eq!(shard.end_of("room", "in.box!a").await, Some(end));
    for set in [end + HOUR, end - 60_000] {
        let seen = shard.end_of("room", "in.box!a").await.unwrap();
        shard.change(&owner.change().set_end("room", "a", set, seen)).await;
        assert_eq!(told(&mut owner).await, [format!("~room a {set}")]);
        assert_eq!(shard.end_of("room", "in.box!a").await, Some(set));
    }
    let done = shard.change(&owner.change().leave_if("room", "a", end - 60_000)).await.unwrap();
    assert_eq!((told(&mut owner).await, done.left), (vec!["~room a 0".to_owned()], 1));
    assert_eq!(shard.inbox_members(INBOX).await, []);
}

/// Shows R33 and R39.
#[tokio::test]
async fn a_repair_whose_condition_does_not_hold_is_no_failure_and_is_not_told() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    let past = shard.time_ms().await - 1;
    shard.change(&owner.change().join_unless_in("room", "a", end).join_unless_in("room", "b", end)).await;
    owner.told().await;
    let refused = owner
        .change()
        .set_end("room", "a", end + 5, end + 1)
        .set_end("room", "absent", end, end)
        .set_end("room", "b", past, end)
        .leave_if("room", "a", end + 1)
        .leave_if("room", "absent", end)
        .join_unless_in("room", "late", past);
    let done = shard.change(&refused).await.unwrap();
    assert_eq!((done.n, done.left, &done.failures[..]), (2, 0, &[][..]));
    assert_eq!(owner.read_all().await, [format!("c2 {}", owner.tag())]);
    assert_eq!(shard.end_of("room", "in.box!a").await, Some(end));
    assert_eq!(shard.inbox_members(INBOX).await.len(), 2);
}

/// The end that it has is told, so that the owner knows which of both holds.
#[tokio::test]
async fn a_join_of_who_is_in_leaves_its_end_and_tells_that() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    shard.change(&owner.change().join_unless_in("room", "a", end)).await;
    owner.told().await;
    shard.change(&owner.change().join_unless_in("room", "a", end + 1)).await;
    assert_eq!(told(&mut owner).await, [format!("~room a {end}")]);
    assert_eq!(shard.end_of("room", "in.box!a").await, Some(end));
}

#[tokio::test]
async fn a_join_of_whose_time_is_over_is_a_join() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    shard.change(&owner.change().join("room", "a", 1).join("room", "b", HOUR)).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    owner.told().await;
    shard.change(&owner.change().join_unless_in("room", "a", end)).await;
    assert_eq!(told(&mut owner).await, [format!("~room a {end}")]);
}

#[tokio::test]
async fn a_join_puts_the_keys_of_its_group_right_though_it_is_in() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    for lost in ['d', 'g', 's', 'm'] {
        shard.change(&owner.change().join_unless_in("room", "a", end)).await;
        shard
            .command(&[
                "DEL",
                &shard.key(
                    lost,
                    if lost == 's' {
                        INBOX
                    } else if lost == 'm' {
                        "room in.box!"
                    } else {
                        "room"
                    },
                ),
            ])
            .await;
        shard.change(&owner.change().join_unless_in("room", "a", end)).await;
        assert_eq!(shard.row("room", INBOX).await.map(|row| row[0] >= end), Some(true), "{lost}");
        assert_eq!(shard.group_list("room").await.0, ["in.box!a"], "{lost}");
        assert_eq!(shard.inbox_members(INBOX).await.len(), 1, "{lost}");
        for (kind, name) in [('d', "room"), ('g', "room"), ('s', INBOX), ('m', "room in.box!")] {
            assert!(shard.ttl(kind, name).await > HOUR - 60_000, "{lost}: {kind}:{name}");
        }
    }
}

/// A row that says it lasts does not vouch for members that are gone.
#[tokio::test]
async fn who_joins_for_longer_than_the_first_after_the_members_were_lost_stays_as_long() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", 10 * HOUR)).await;
    shard.command(&["DEL", &shard.key('m', "room in.box!")]).await;
    shard.change(&owner.change().join("room", "b", 60_000)).await;
    shard.change(&owner.change().join("room", "c", 9 * HOUR)).await;
    assert!(shard.ttl('m', "room in.box!").await > 9 * HOUR - 60_000);
}

async fn fill(shard: &Shard, field: &str, value: u64) {
    shard.command(&["HSET", &shard.key('i', INBOX), field, &value.to_string()]).await;
}

/// Shows R40 and R41.
#[tokio::test]
async fn when_many_wait_one_entry_stands_for_all_further_changes_of_others_until_the_owner_begins_anew() {
    for (field, most) in [("controls", MANY), ("control_bytes", 16 << 20)] {
        let shard = Shard::new().await;
        let mut owner = Owner::new(&shard, INBOX).await;
        let other = shard.client().await;
        shard.send(INBOX, &["ma m"]).await;
        fill(&shard, field, most - 1).await;
        shard.change(&Change::of(INBOX).join("room", "a", HOUR)).await;
        fill(&shard, field, most).await;
        shard.change(&owner.change().join("room", "own", HOUR)).await;
        let own = owner.tag();
        shard.change(&Change::of(INBOX).by(other.id(), other.generation(), 1).join("room", "b", HOUR)).await;
        shard.change(&Change::of(INBOX).join("room", "c", HOUR)).await;
        shard.group_leave("in.box!c").await;
        shard.change(&owner.change().leave("room", "own")).await;
        let expected = [
            "ma m",
            "c1 : +room a",
            &format!("c2 {own} +room own"),
            "r",
            &format!("c6 {} -room own", owner.tag()),
        ];
        assert_eq!(owner.read_all().await, expected, "{field}");
        assert_eq!(shard.inbox_members(INBOX).await.len(), 2, "what is not told is done");

        let untold = shard.change(&Change::of(INBOX).join("room", "d", HOUR)).await.unwrap();
        assert_eq!((untold.n, shard.length(INBOX).await), (7, 0), "also when nothing waits any more");
        assert_eq!(shard.inbox_field(INBOX, "by").await.unwrap(), ":");
        shard.discard(&owner.change().begin()).await;
        shard.change(&Change::of(INBOX).join("room", "e", HOUR)).await;
        assert_eq!(
            owner.read_all().await,
            [format!("c8 {} e", owner.tag()), "c9 : +room e".into()],
            "{field}"
        );
    }
}

#[tokio::test]
async fn a_beat_tells_of_what_was_not_told() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.send(INBOX, &["ma m"]).await;
    fill(&shard, "controls", MANY).await;
    for address in ["in.box!a", "in.box!b"] {
        shard.group_add(&Add::to("room", &[address])).await;
    }
    let mut keep = owner.beat();
    shard.keep(&keep).await;
    keep = owner.beat().knows(2, ":");
    shard.keep(&keep).await;
    assert_eq!(owner.read_all().await, ["ma m", "r", "k2 : 2"]);
}

/// As they come: no count is made up.
/// Shows R41.
#[tokio::test]
async fn ten_thousand_changes_of_others_wait_and_no_more() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let change = Change::of(INBOX).leave("room", "a");
    for _ in 0..MANY / 50 {
        futures::future::join_all((0..50).map(|_| shard.change(&change))).await;
    }
    assert_eq!(shard.length(INBOX).await as u64, MANY);
    shard.change(&change).await;
    shard.change(&change).await;
    assert_eq!(shard.length(INBOX).await as u64, MANY + 1);
    let told = owner.told().await;
    assert!(matches!(&told[..], [.., Told::Change { n: MANY, .. }, Told::Quiet]));
}

/// Shows R37.
#[tokio::test]
async fn a_sign_of_life_is_told_only_if_the_owner_knows_another_change_or_is_not_sure() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.keep(&owner.beat()).await;
    assert_eq!(owner.read_all().await, [""; 0]);
    shard.change(&owner.change().join("room", "a", HOUR)).await;
    let tag = owner.tag();
    owner.read_all().await;
    for (n, by, is_told) in [
        ("1", &*tag, false),
        ("0", ":", true),
        ("2", &tag, true),
        ("1", ":", true),
        ("", &tag, true),
        ("1", "x:1", true),
    ] {
        let keep = owner.beat().knows(n, by);
        shard.keep(&keep).await;
        let call = owner.next_call() - 1;
        let expected = if is_told { vec![format!("k1 {tag} {call}")] } else { Vec::new() };
        assert_eq!(owner.read_all().await, expected, "{n} {by}");
    }
    let keep = InboxKeep::of(INBOX, "another").unsure();
    assert_eq!(shard.keep(&keep).await, crate::support::Keep::Taken);
    assert_eq!(owner.read_all().await, [""; 0]);
}

#[tokio::test]
async fn a_sign_of_life_stands_at_its_point_among_the_changes_and_wakes_the_reader() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&Change::of(INBOX).join("room", "a", HOUR)).await;
    let keep = owner.beat();
    shard.keep(&keep).await;
    shard.change(&Change::of(INBOX).leave("room", "a")).await;
    assert_eq!(owner.read_all().await, ["c1 : +room a", "k1 : 2", "c2 : -room a"]);
    let ticket = owner.wait().await;
    let keep = owner.beat().unsure();
    shard.keep(&keep).await;
    let wake = owner.client.wake().await;
    assert_eq!((wake.ticket, wake.entry.text()), (ticket, "k2 : 3".to_owned()));
}

#[tokio::test]
async fn marks_from_before_are_kept_or_forgotten_as_the_owner_says() {
    let shard = Shard::new().await;
    let keep = InboxKeep::of(INBOX, "owner");
    let marks = async |keep: &InboxKeep| match shard.keep(keep).await {
        crate::support::Keep::Ok { marks, .. } => marks,
        other => panic!("{other:?}"),
    };
    assert_eq!(marks(&keep.clone().full(&["a", "b"])).await, 2);
    assert_eq!(marks(&keep.clone().full(&["c"])).await, 3);
    assert_eq!(marks(&keep.clone().marks("all").full(&["d"])).await, 1);
    assert_eq!(marks(&keep.clone().roomy(&["d"])).await, 0);
    assert_eq!(marks(&keep.clone().full(&["e"]).roomy(&["e", "f"])).await, 0);
    // Those of an owner before are forgotten with it.
    marks(&keep.clone().full(&["a"])).await;
    shard.command(&["DEL", &shard.key('i', INBOX)]).await;
    shard.change(&Change::of(INBOX).leave("room", "a")).await;
    assert_eq!(marks(&InboxKeep::of(INBOX, "next")).await, 0);
}

/// Shows R40.
#[tokio::test]
async fn a_server_that_is_full_takes_what_needs_no_memory() {
    let shard = Shard::alone().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    let fill =
        owner.change().join_unless_in("room", "a", end).join("room", "b", HOUR).join("hall", "c", HOUR);
    shard.change(&fill).await;
    owner.told().await;
    shard.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = shard.try_change("group_change", &owner.change().join("room", "d", HOUR)).await.unwrap_err();
    assert!(error.contains("OOM") || error.contains("memory"), "{error}");
    let discard = owner.change().leave_if("room", "a", end).leave("room", "b").begin();
    assert_eq!(shard.discard(&discard).await.unwrap().left, 2);
    assert_eq!(owner.read_all().await, [format!("c2 {} ~room a -room b e", owner.tag())]);
    shard.group_leave("in.box!c").await;
    let keep = owner.beat();
    shard.keep(&keep).await;
    let call = owner.next_call();
    shard.inbox_page(INBOX, owner.id(), call, &Place::default()).await.unwrap();
    let kinds: String = owner.read_all().await.iter().map(|text| text.chars().next().unwrap()).collect();
    assert_eq!(kinds, "ckw");
}
