//! Labels of members: given at a join, listed with the members, told to an owner that reads them, and bound to one end of a
//! membership, so that no call of a client without labels leaves a wrong one behind.

use super::{Owner, Shard};
use crate::support::{Add, Change, Place};

const INBOX: &str = "in.box!";
const HOUR: u64 = 3_600_000;

/// The bodies of all that waits, acknowledged.
async fn bodies(owner: &mut Owner) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let batch = owner.read().await;
        if batch.is_empty() {
            return bodies;
        }
        bodies.extend(batch.iter().map(|entry| entry.text()));
    }
}

/// The members of `room`, each with its label behind a `=`.
async fn members(shard: &Shard) -> Vec<String> {
    let members = shard.group_members("room").await;
    members.into_iter().map(|(channel, label)| format!("{channel}={label}")).collect()
}

/// The labels that the server keeps for an inbox in `room`, whether they count or not.
async fn kept(shard: &Shard) -> i64 {
    shard.ask(redis::cmd("HLEN").arg(shard.key('l', &format!("room {INBOX}")))).await
}

/// Shows R59.
#[tokio::test]
async fn a_member_is_listed_with_the_label_of_its_last_join() {
    let shard = Shard::new().await;
    let join =
        |label: &str| Change::of(INBOX).join_labelled("room", "a", HOUR, label).join("room", "b", HOUR);
    shard.change(&join("u1")).await;
    shard.change(&Change::of("news").join_labelled("room", "", HOUR, "all")).await;
    assert_eq!(members(&shard).await, ["news=all"], "no owner lives");
    let _owner = Owner::new(&shard, INBOX).await;
    assert_eq!(members(&shard).await, ["in.box!a=u1", "in.box!b=", "news=all"]);
    shard.change(&join("u=2")).await;
    assert_eq!(members(&shard).await, ["in.box!a=u=2", "in.box!b=", "news=all"]);
    assert_eq!(shard.group_list("room").await.0, ["in.box!a", "in.box!b", "news"]);
    shard.change(&Change::of(INBOX).join("room", "a", HOUR)).await;
    shard.change(&Change::of("news").join("room", "", HOUR)).await;
    assert_eq!(members(&shard).await, ["in.box!a=", "in.box!b=", "news="]);
}

/// Shows R59: in one call no time passes between two joins.
#[tokio::test]
async fn a_join_without_a_label_takes_it_away_in_the_same_millisecond_too() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    let labelled = || Change::of(INBOX).join_labelled("room", "a", HOUR, "u1");
    shard.change(&labelled().join("room", "a", HOUR)).await;
    assert_eq!(members(&shard).await, ["in.box!a="]);
    shard.change(&labelled().leave("room", "a").join("room", "a", HOUR)).await;
    assert_eq!(members(&shard).await, ["in.box!a="]);
    shard.change(&labelled().join("room", "b", HOUR).leave("room", "a").join("room", "a", HOUR)).await;
    assert_eq!(members(&shard).await, ["in.box!a=", "in.box!b="]);
}

#[tokio::test]
async fn a_label_goes_with_its_member() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let both = || {
        let change = Change::of(INBOX).join_labelled("room", "a", HOUR, "u1");
        change.join_labelled("room", "b", HOUR, "u2")
    };
    shard.change(&both()).await;
    assert_eq!(kept(&shard).await, 2);
    shard.change(&Change::of(INBOX).leave("room", "a")).await;
    assert_eq!(kept(&shard).await, 1);
    shard.change(&Change::of(INBOX).leave("room", "b")).await;
    assert!(!shard.exists('l', &format!("room {INBOX}")).await);

    shard.change(&both()).await;
    shard.group_leave("in.box!b").await;
    let end = shard.end_of("room", "in.box!a").await.unwrap();
    shard.change(&owner.change().leave_if("room", "a", end)).await;
    assert!(!shard.exists('l', &format!("room {INBOX}")).await);

    shard.change(&both()).await;
    assert_eq!(shard.flush_step("0", 1_000_000).await.0, "0");
    assert!(!shard.exists('l', &format!("room {INBOX}")).await);
}

#[tokio::test]
async fn labels_of_memberships_that_have_ended_are_forgotten() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    shard
        .change(&Change::of(INBOX).join("room", "stays", HOUR).join_labelled("room", "long", HOUR, "u1"))
        .await;
    let brief = (0..10).fold(Change::of(INBOX), |change, number| {
        change.join_labelled("room", &format!("brief{number}"), 20, "u2")
    });
    shard.change(&brief).await;
    assert_eq!(kept(&shard).await, 11);
    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    assert_eq!(members(&shard).await, ["in.box!long=u1", "in.box!stays="]);
    // Those that have ended go as others begin.
    for number in 0..60 {
        shard.change(&Change::of(INBOX).join("room", &format!("next{number}"), HOUR * 2)).await;
    }
    assert_eq!(kept(&shard).await, 1);
    let left = shard.ttl('l', &format!("room {INBOX}")).await;
    assert!((HOUR - 60_000..=HOUR).contains(&left), "{left}");
}

/// Shows R33 and R59.
#[tokio::test]
async fn an_owner_that_reads_labels_is_told_them_in_order() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let change = owner.change().join_labelled("room", "a", HOUR, "u1").join("room", "b", HOUR);
    let now = shard.change(&change.leave("room", "b")).await.unwrap().now / 1000;
    let end = now + HOUR;
    let told = bodies(&mut owner).await;
    assert_eq!(told, [format!("c1 {} +room a {end} =u1 +room b {end} -room b", owner.tag())]);
    // A repair tells it too.
    let (from, to) = (end, end + 5);
    shard.change(&owner.change().arguments(&["s", "room", "a", &format!("{to} {from} =u2")])).await;
    assert_eq!(bodies(&mut owner).await, [format!("c2 {} ~room a {to} =u2", owner.tag())]);
    assert_eq!(members(&shard).await, ["in.box!a=u2"]);
}

/// Shows R59: an owner with texts of before labels never says that it reads them.
#[tokio::test]
async fn an_owner_that_reads_no_labels_is_told_none() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.command(&["HDEL", &shard.key('i', INBOX), "reads_labels"]).await;
    let change = Change::of(INBOX).join_labelled("room", "a", HOUR, "u1");
    let end = shard.change(&change).await.unwrap().now / 1000 + HOUR;
    assert_eq!(bodies(&mut owner).await, [format!("c1 : +room a {end}")]);
    // Its renewal does not take it away.
    shard.change(&owner.change().set_end("room", "a", end + 9, end)).await;
    assert_eq!(bodies(&mut owner).await, [format!("c2 {} ~room a {}", owner.tag(), end + 9)]);
    assert_eq!(members(&shard).await, ["in.box!a=u1"]);
}

/// Shows R59: whoever has texts of before labels takes a member out, or sets another end, and leaves its label.
#[tokio::test]
async fn a_label_that_was_left_behind_is_of_no_later_membership() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    let key = shard.key('m', &format!("room {INBOX}"));
    shard.change(&Change::of(INBOX).join_labelled("room", "a", HOUR, "u1").join("room", "b", HOUR)).await;
    shard.command(&["ZREM", &key, "a"]).await;
    shard.change(&Change::of(INBOX).join("room", "a", HOUR + 1)).await;
    assert_eq!(members(&shard).await, ["in.box!a=", "in.box!b="]);
    shard.change(&Change::of(INBOX).join_labelled("room", "a", HOUR, "u1")).await;
    shard.command(&["ZINCRBY", &key, "1", "a"]).await;
    assert_eq!(members(&shard).await, ["in.box!a=", "in.box!b="]);
}

/// Shows R39.
#[tokio::test]
async fn a_repair_gives_a_label_to_the_membership_that_its_owner_knows_and_to_no_other() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    let join = |end: u64, label: &str| ["a".to_owned(), "room".into(), "a".into(), format!("{end} 9{label}")];
    let mut repair = async |[kind, group, address, time]: [String; 4]| {
        shard.change(&owner.change().arguments(&[&kind, &group, &address, &time])).await;
        bodies(&mut owner).await.pop().unwrap()
    };
    assert!(repair(join(end, " =u1")).await.ends_with(&format!(" ~room a {end} =u1")));
    assert_eq!(members(&shard).await, ["in.box!a=u1"]);
    // It is in with another end: what it has there stays, its label too.
    assert!(repair(join(end + 7, " =u2")).await.ends_with(&format!(" ~room a {end} =u1")));
    assert!(repair(join(end, "")).await.ends_with(&format!(" ~room a {end} =u1")));
    assert_eq!(members(&shard).await, ["in.box!a=u1"]);
    // It has none, which is not the same as to say nothing of one.
    let [kind, group, address, _] = join(end, "");
    let set = [kind.replace('a', "s"), group, address, format!("{} {end} =", end + 1)];
    assert!(repair(set).await.ends_with(&format!(" ~room a {}", end + 1)));
    assert_eq!(members(&shard).await, ["in.box!a="]);
    assert!(
        repair(["s".into(), "room".into(), "a".into(), format!("{end} {} =u1", end + 1)])
            .await
            .ends_with("=u1")
    );
    assert!(
        repair(["s".into(), "room".into(), "a".into(), format!("{end} {end} =")])
            .await
            .ends_with(&format!("a {end}"))
    );
    assert_eq!(members(&shard).await, ["in.box!a="]);
    assert!(
        repair(["s".into(), "room".into(), "a".into(), format!("{end} {end} =u1")]).await.ends_with("=u1")
    );
    // The labels alone were lost.
    shard.command(&["DEL", &shard.key('l', &format!("room {INBOX}"))]).await;
    assert_eq!(members(&shard).await, ["in.box!a="]);
    assert!(repair(join(end, " =u1")).await.ends_with(&format!(" ~room a {end} =u1")));
    assert_eq!(members(&shard).await, ["in.box!a=u1"]);
}

/// Shows R38.
#[tokio::test]
async fn a_page_has_the_labels_of_its_members() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let change = owner.change().join("room", "a", HOUR).join("hall", "b", HOUR);
    let end = shard.change(&change).await.unwrap().now / 1000 + HOUR;
    let mut page = async |shard: &Shard| {
        bodies(&mut owner).await;
        let call = owner.next_call();
        shard.inbox_page(INBOX, owner.id(), call, &Place::default()).await.unwrap();
        let text = bodies(&mut owner).await.pop().unwrap();
        text.split_once(":hall").unwrap().1.to_owned()
    };
    assert_eq!(page(&shard).await, format!(" 1 b {end} :room 1 a {end}"));
    let change = Change::of(INBOX).join_labelled("room", "a", HOUR, "u1").join("room", "c", HOUR * 2);
    let later = shard.change(&change).await.unwrap().now / 1000 + HOUR;
    let due = format!(" 1 b {end} :room 1 a {later} =u1 c {}", later + HOUR);
    assert_eq!(page(&shard).await, due);
    // One of an end before does not count.
    shard.command(&["ZINCRBY", &shard.key('m', &format!("room {INBOX}")), "1", "a"]).await;
    assert_eq!(page(&shard).await, format!(" 1 b {end} :room 1 a {} c {}", later + 1, later + HOUR));
}

#[tokio::test]
async fn a_label_is_bounded_and_has_no_space() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, INBOX).await;
    let good = "u".repeat(512);
    shard.change(&Change::of(INBOX).join_labelled("room", "a", HOUR, &good)).await;
    assert_eq!(members(&shard).await, [format!("in.box!a={good}")]);
    for bad in ["u".repeat(513), "u 1".to_owned(), "u\t1".to_owned(), " u".to_owned(), String::new()] {
        for (kind, times) in [("+", "5000"), ("a", "4000000000000 1"), ("s", "4000000000000 1")] {
            let change = Change::of(INBOX).arguments(&[kind, "room", "b", &format!("{times} ={bad}")]);
            if kind != "+" && bad.is_empty() {
                continue;
            }
            let error = shard.try_change("group_change", &change).await.unwrap_err();
            assert!(error.contains("time of operation 1"), "{error}");
        }
    }
    assert_eq!(members(&shard).await, [format!("in.box!a={good}")]);
}

/// Another program's key where labels would be fails a join with a label, which did nothing, and no other.
#[tokio::test]
async fn a_key_of_another_program_fails_joins_with_labels_alone() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.command(&["SET", &shard.key('l', &format!("room {INBOX}")), "text"]).await;
    let change = Change::of(INBOX).join("room", "a", HOUR).join_labelled("room", "b", HOUR, "u1");
    let done = shard.change(&change.join("room", "a", HOUR).leave("room", "c")).await.unwrap();
    let [(2, why)] = &done.failures[..] else { panic!("{done:?}") };
    assert!(why.contains("WRONGTYPE") && why.contains("l:room in.box!"), "{why}");
    let told = owner.read_all().await;
    assert_eq!(told, ["c1 : +room a +room a -room c"]);
    assert_eq!(members(&shard).await, ["in.box!a="]);
    // Nobody stays out for it.
    let end = shard.time_ms().await + HOUR;
    shard.change(&owner.change().arguments(&["a", "room", "d", &format!("{end} 9 =u1")])).await;
    assert_eq!(members(&shard).await, ["in.box!a=", "in.box!d="]);
}

#[tokio::test]
async fn a_list_of_many_members_with_labels_comes_in_bounded_steps() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for some in 0..25 {
        let change = (0..200).fold(Change::of(INBOX), |change, number| {
            let address = format!("a{}", some * 200 + number);
            change.join_labelled("room", &address, HOUR, &format!("u{address}"))
        });
        shard.change(&change).await;
        bodies(&mut owner).await;
    }
    shard.group_add(&Add::to("room", &["chat", "news"])).await;
    let (listed, steps) = shard.group_members_in_steps("room").await;
    assert_eq!(listed.len(), 5_002);
    assert!(steps.len() >= 4 && steps.iter().all(|step| *step < 1_500), "{steps:?}");
    let of_inbox = listed.iter().filter_map(|(channel, label)| Some((channel.strip_prefix(INBOX)?, label)));
    assert!(
        of_inbox.clone().count() == 5_000 && of_inbox.clone().all(|(a, label)| *label == format!("u{a}"))
    );
}
