//! What a change of memberships does, and what one entry tells of it.

use super::{Owner, Shard};
use crate::support::{Add, Change, Fenced, GroupSend, InboxKeep, Keep, Told};

const INBOX: &str = "in.box!";
const HOUR: u64 = 3_600_000;

/// Parts as `+room a 17`, of all changes that wait, and nothing else waits.
async fn parts(owner: &mut Owner) -> Vec<String> {
    let mut all = Vec::new();
    for told in owner.told().await {
        let Told::Change { parts, .. } = told else { panic!("{told:?}") };
        all.extend(parts.into_iter().map(|part| {
            let end = part.end.map(|end| format!(" {end}")).unwrap_or_default();
            format!("{}{} {}{end}", part.kind, part.group, part.address)
        }));
    }
    all
}

/// Shows R32 and R33.
#[tokio::test]
async fn a_change_is_one_entry_with_its_number_its_tag_and_all_that_it_did_in_order() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&Change::of(INBOX).join("room", "z", HOUR)).await;
    let change = owner.change().join("room", "a", 60_000).join("hall", "a", 30_000).leave("room", "a");
    let done = shard.change(&change.join("room", "b", 315_360_000_000).leave("room", "z")).await.unwrap();
    assert_eq!((done.n, done.left, &done.failures[..]), (2, 2, &[][..]));
    let now = done.now / 1000;
    let batch = owner.read().await;
    let texts: Vec<String> = batch.iter().map(crate::support::Entry::text).collect();
    let expected = format!(
        "c2 {} +room a {} +hall a {} -room a +room b {} -room z",
        owner.tag(),
        now + 60_000,
        now + 30_000,
        now + 315_360_000_000
    );
    assert_eq!((texts.len(), &texts[1]), (2, &expected));
    assert!(texts[0].starts_with("c1 : +room z "), "{}", texts[0]);
    assert_eq!(batch[1].microseconds(), done.now);
    assert_eq!(shard.inbox_field(INBOX, "n").await.unwrap(), "2");
    assert_eq!(shard.inbox_field(INBOX, "by").await.unwrap(), owner.tag());
    assert_eq!(shard.inbox_members(INBOX).await, [("hall".into(), "a".into()), ("room".into(), "b".into())]);
    assert_eq!(shard.end_of("room", "in.box!b").await, Some(now + 315_360_000_000));
}

/// Shows R35.
#[tokio::test]
async fn that_somebody_leaves_who_was_not_in_is_told_too() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    for (number, change) in
        [Change::of(INBOX).leave("room", "a"), owner.change().leave("room", "a")].into_iter().enumerate()
    {
        let done = shard.discard(&change).await.unwrap();
        assert_eq!((done.n, done.left), (number as u64 + 1, 0));
    }
    assert_eq!(parts(&mut owner).await, ["-room a", "-room a"]);
}

#[tokio::test]
async fn who_left_after_its_time_was_not_in_and_is_told() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "a", 1).join("room", "b", HOUR)).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    owner.told().await;
    let done = shard.change(&owner.change().leave("room", "a").leave("room", "b")).await.unwrap();
    assert_eq!(done.left, 1);
    assert_eq!(parts(&mut owner).await, ["-room a", "-room b"]);
}

/// Else what is changed between a loss and the return of the owner would never be told.
/// Shows R34.
#[tokio::test]
async fn changes_of_an_inbox_that_the_server_does_not_know_are_counted_and_told_for_an_hour() {
    let shard = Shard::new().await;
    for n in 1..=3 {
        assert_eq!(shard.change(&Change::of(INBOX).join("room", "a", HOUR)).await.unwrap().n, n);
        for kind in ['i', 'q'] {
            assert!((HOUR - 10_000..=HOUR).contains(&shard.ttl(kind, INBOX).await), "{kind}");
        }
    }
    assert_eq!(shard.inbox_field(INBOX, "owner").await, None);
    assert_eq!(shard.group_len("room").await, 0, "they do not count before there is an owner");
    let client = shard.client().await;
    let keep = InboxKeep::of(INBOX, client.id()).full(&["slow"]);
    assert!(matches!(shard.keep(&keep).await, Keep::Ok { groups: 1, marks: 1, .. }));
    assert!(shard.ttl('i', INBOX).await > HOUR + 500_000, "the owner takes it over");
    assert_eq!(shard.group_len("room").await, 1);
    assert_eq!(shard.change(&Change::of(INBOX).leave("room", "a")).await.unwrap().n, 4);
    assert!(shard.ttl('i', INBOX).await > HOUR + 500_000, "and a change does not make that shorter");
    let texts = shard.drain_inbox(INBOX).await;
    let kinds: Vec<&str> = texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["c1", "c2", "c3", "k3", "c4"]);
}

#[tokio::test]
async fn a_queue_of_one_channel_is_told_nothing_and_its_changes_have_no_number() {
    let shard = Shard::new().await;
    for queue in ["chat", "body?x"] {
        let change = Change::of(queue).join("room", "", HOUR).join("hall", "", HOUR).leave("hall", "");
        let done = shard.change(&change).await.unwrap();
        assert_eq!((done.n, done.left, &done.failures[..]), (0, 1, &[][..]));
        assert!(!shard.exists('i', queue).await && !shard.exists('q', queue).await);
    }
    assert_eq!(shard.group_list("room").await.0, ["body?x", "chat"]);
}

/// Shows R15.
#[tokio::test]
async fn changes_of_a_replaced_connection_are_neither_done_nor_told() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    let before = shard.dump().await;
    let stale = Change::of(INBOX).by(owner.id(), owner.client.generation() + 1, 2).join("room", "a", 1);
    assert_eq!(shard.change(&stale).await, Fenced::Stale);
    let stale = Change::of(INBOX).by("unknown", 1, 2).leave("room", "a");
    assert_eq!(shard.discard(&stale).await, Fenced::Stale);
    let by = Some((owner.id(), owner.client.generation() + 1));
    assert_eq!(shard.group_leave_step("in.box!a", by, "").await, Fenced::Stale);
    assert_eq!(shard.dump().await, before);
}

/// Shows R28.
#[tokio::test]
async fn leaving_all_groups_is_a_change_for_each_step_and_the_first_tells_that_all_were_left() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let groups: Vec<String> = (0..450).map(|number| format!("room{number:03}")).collect();
    for some in groups.chunks(150) {
        let join = |change: Change, group: &String| change.join(group, "a", HOUR);
        shard.change(&some.iter().fold(owner.change(), join)).await;
    }
    shard.change(&owner.change().join("without", "b", HOUR)).await;
    owner.told().await;
    let by = (owner.id().to_owned(), owner.client.generation());
    let (mut cursor, mut numbers, mut told) = (String::new(), Vec::new(), Vec::new());
    loop {
        let call = owner.next_call().to_string();
        let step = shard.try_group_leave("in.box!a", Some((&by.0, by.1)), &call, &cursor).await;
        let step = step.unwrap().unwrap();
        numbers.push((step.n, step.left));
        let [Told::Change { n, tag, parts }] = &owner.told().await[..] else { panic!() };
        assert_eq!((*n, tag), (step.n, &owner.tag()));
        told.push((parts[0].kind, parts.len()));
        assert!(parts[1..].iter().all(|part| part.kind == '-' && part.address == "a"), "{parts:?}");
        cursor = step.cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(numbers, [(5, 200), (6, 200), (7, 50)]);
    assert_eq!(told, [('*', 201), ('-', 200), ('-', 50)]);
    assert_eq!(shard.inbox_members(INBOX).await, [("without".into(), "b".into())]);

    // The owner may have groups that the server has lost.
    shard.group_leave("in.box!gone").await;
    assert_eq!(owner.read_all().await, ["c8 : *gone"]);
    shard.group_leave("unknown!a").await;
    assert_eq!(shard.drain_inbox("unknown!").await, ["c1 : *a"]);
    let step = shard.try_group_leave("chat", None, "", "").await.unwrap().unwrap();
    assert_eq!((step.n, step.left), (0, 0));
}

#[tokio::test]
async fn an_owner_that_closes_leaves_no_count_behind() {
    let shard = Shard::new().await;
    let owner = Owner::new(&shard, INBOX).await;
    shard.group_add(&Add::to("room", &["in.box!a"])).await;
    assert_eq!(shard.inbox_close_step(INBOX, owner.id()).await, Some(0));
    assert_eq!(shard.change(&Change::of(INBOX).leave("room", "a")).await.unwrap().n, 1);
}

#[tokio::test]
async fn a_change_that_cannot_be_told_to_the_reader_that_waits_is_an_error() {
    let server = crate::support::Server::private();
    let rights = ["on", "nopass", "~*", "resetchannels", "+@all"];
    let mut admin = server.connection().await;
    let mut user = redis::cmd("ACL");
    let () = user.arg("SETUSER").arg("deaf").arg(&rights).query_async(&mut admin).await.unwrap();
    let all = crate::support::Scripts::new(server.connection().await, "asgi:");
    all.load().await;
    all.hello("c", 1, 60_000).await;
    all.inbox_keep(INBOX, "c", 60_000, &[], &[]).await;
    all.pop(Some(("c", 1)), 60_000, &crate::support::Pop::new().wait(1, &[INBOX])).await;
    let url = format!("redis://deaf:any@{}", server.address());
    let connection = crate::support::connect(&url).await;
    let deaf = crate::support::Scripts::new(connection, "asgi:");
    let change = Change::of(INBOX).join("room", "a", HOUR);
    let error = deaf.try_change("group_change", &change).await.unwrap_err();
    assert!(error.contains("channel") || error.contains("ermission"), "{error}");
    assert!(!all.ask::<bool>(redis::cmd("EXISTS").arg(all.key('q', INBOX))).await, "the next one is told");
}

/// Nothing but the entries in the inbox tells it of a change, so messages and changes are in one order.
#[tokio::test]
async fn a_member_gets_what_was_sent_while_it_was_in_by_the_order_of_the_inbox() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    shard.change(&owner.change().join("room", "b", HOUR)).await;
    let first = owner.tag();
    shard.group_send(&GroupSend::to("room", "1")).await;
    shard.change(&owner.change().leave("room", "b").join("room", "a", HOUR)).await;
    shard.group_send(&GroupSend::to("room", "2")).await;
    let expected = [
        format!("c1 {first} +room b"),
        "groom 1".into(),
        format!("c2 {} -room b +room a", owner.tag()),
        "groom 2".into(),
    ];
    assert_eq!(owner.read_all().await, expected);
}
