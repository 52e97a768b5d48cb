//! Every reply that a script's header lists is one that it gives. A reply that is new wants its place here.

use asgi_redis::scripts;

use super::Shard;
use crate::support::{
    Add, Change, Discard, Fenced, GroupSend, HelloReply, InboxKeep, Keep, Place, Pop, PopReply, Push,
    PushReply, Refusal, Stale,
};

/// The shapes that a script's header lists.
fn listed(name: &str) -> Vec<&'static str> {
    let replies = scripts::get(name).unwrap().reply();
    // A list ends with its brace, a text with its quote.
    let end = |reply: &str| reply.find('}').or_else(|| reply.rfind('"')).unwrap();
    replies.iter().map(|reply| &reply[..=end(reply)]).collect()
}

#[tokio::test]
async fn hello_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    assert_eq!(
        listed("hello"),
        [r#"{"ok", now, known}"#, r#"{"stale", generation}"#, r#"{"schema", schema}"#]
    );
    assert!(matches!(shard.hello("c", 1, 1000).await, HelloReply::Ok { known: false, .. }));
    assert!(matches!(shard.hello("c", 2, 1000).await, HelloReply::Ok { known: true, .. }));
    assert_eq!(shard.hello("c", 2, 1000).await, HelloReply::Stale { generation: 2 });
    assert_eq!(shard.hello_with_schema("c", 3, 1000, 4).await, HelloReply::Schema { schema: "3".to_owned() });
}

#[tokio::test]
async fn client_tickets_and_health_give_the_replies_that_they_list() {
    let shard = Shard::new().await;
    assert_eq!(listed("client_tickets"), [r#"{"ok", cursor, ticket, ...}"#, r#"{"stale"}"#]);
    let client = shard.client().await;
    client.ask(7, &["a"]).await;
    let step = |generation| shard.client_tickets_step(client.id(), generation, "0");
    assert_eq!(step(1).await, Some(("0".to_owned(), vec![7])));
    assert_eq!(step(2).await, None);

    // What it denies is shown with users that lack rights.
    assert_eq!(listed("health"), [r#"{"ok", now, may_ask}"#, r#"{"denied", command}"#]);
    assert_eq!(shard.health(client.id()).await, Ok(()));
}

#[tokio::test]
async fn push_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    assert_eq!(listed("push"), [r#""sent""#, r#"{"sent", place, live, place, live, ...}"#, r#"{"stale"}"#]);
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    let push = Push::to("a", &["m", "m"]).capacity(1).and("bad", &["m"]);
    let PushReply::Sent(refused) = shard.push(&push).await else { panic!() };
    assert!(matches!(refused[..], [(2, Refusal::Full { live: 1 }), (3, Refusal::Error(_))]), "{refused:?}");
    assert_eq!(shard.push(&Push::to("a", &["m"])).await, PushReply::ALL_SENT);
    assert_eq!(shard.push(&Push::to("a", &["m"]).fence("c", 1)).await, PushReply::Stale);
}

#[tokio::test]
async fn pop_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    let shapes = [r#"{"ok", served, ticket, queue, entry, ticket, queue, entry, ...}"#, r#"{"stale"}"#];
    assert_eq!(listed("pop"), shapes);
    shard.command(&["SET", &shard.key('q', "bad"), "text"]).await;
    shard.send("a", &["m"]).await;
    let client = shard.client().await;
    let PopReply::Ok { served: 3, given } =
        client.pop(&Pop::new().wait(1, &["a"]).wait(2, &["a"]).wait(3, &["bad"])).await
    else {
        panic!()
    };
    assert_eq!((given.len(), given[0].ticket, given[1].ticket), (2, 1, 3));
    assert!(given[0].outcome.is_ok() && given[1].outcome.is_err());
    assert_eq!(client.pop_as(2, 1000, &Pop::new()).await, PopReply::Stale);
}

#[tokio::test]
async fn fetch_gives_each_reply_that_it_lists() {
    let shard = Shard::new().await;
    assert_eq!(listed("fetch"), [r#"{"ok", queue, entry}"#, r#"{"ok"}"#, r#"{"stale"}"#]);
    shard.send("a", &["m"]).await;
    let client = shard.client().await;
    let entry = client.ask(1, &["a"]).await.unwrap();
    assert_eq!(shard.fetch((client.id(), 1), 1, "a").await, Ok(vec![entry]));
    assert_eq!(shard.fetch((client.id(), 1), 2, "a").await, Ok(Vec::new()));
    assert_eq!(shard.fetch((client.id(), 2), 1, "a").await, Err(Stale));
}

#[tokio::test]
async fn flush_gives_the_reply_that_it_lists() {
    let shard = Shard::alone().await;
    assert_eq!(listed("flush"), ["{cursor, removed}"]);
    for number in 0..200 {
        shard.send(&number.to_string(), &["m"]).await;
    }
    let (cursor, removed) = shard.flush_step("0", 10).await;
    assert_ne!(cursor, "0");
    assert!(removed > 0);
    assert_eq!(shard.flush_step(&cursor, 100_000).await.0, "0");
    assert_eq!(listed("flush_inboxes"), ["{cursor, told}", r#"{"more"}"#]);
    assert_eq!(shard.flush_inboxes_step("0", 100_000).await, ("0".to_owned(), 0));
}

#[tokio::test]
async fn the_scripts_of_a_drain_give_each_reply_that_they_list() {
    let shard = Shard::new().await;
    assert_eq!(listed("queue_list"), ["{cursor, groups, queue, entries, live, waiting, ...}"]);
    assert_eq!(listed("drain_take"), ["{batch, target, left, entry, left, entry, ...}", "{}"]);
    assert_eq!(listed("drain_put"), [r#"{"put", entries}"#, r#"{"again"}"#]);
    assert_eq!(listed("drain_done"), ["{forgotten}"]);
    assert_eq!(shard.drain_take("q", "batch", "there").await, None);
    shard.send("q", &["m 1"]).await;
    assert_eq!(shard.queue_list_step("0", 1_000_000).await, ("0".to_owned(), 0, vec![("q".to_owned(), 1)]));
    let taken = shard.drain_take("q", "batch", "there").await.unwrap();
    assert_eq!(shard.drain_put("q", &taken).await, Some(1));
    assert_eq!(shard.drain_put("q", &taken).await, None);
    assert_eq!(shard.drain_done("q", "batch").await, 1);
}

#[test]
fn the_scripts_are_those_whose_replies_are_shown_here() {
    let names: Vec<&str> = scripts::all().iter().map(|script| script.name()).collect();
    assert_eq!(
        names,
        [
            "channel_groups",
            "client_tickets",
            "drain_done",
            "drain_put",
            "drain_take",
            "fetch",
            "flush",
            "flush_inboxes",
            "group_change",
            "group_discard",
            "group_leave",
            "group_len",
            "group_list",
            "group_members",
            "group_send",
            "health",
            "hello",
            "inbox_close",
            "inbox_keep",
            "inbox_page",
            "pop",
            "push",
            "queue_list",
        ]
    );
}

#[tokio::test]
async fn the_scripts_of_groups_give_each_reply_that_they_list() {
    let shard = Shard::new().await;
    let changed = [r#"{"ok", now, n, left, place, error, ...}"#, r#"{"stale"}"#];
    for script in ["group_change", "group_discard"] {
        assert_eq!(listed(script), changed);
        shard.command(&["SET", &shard.key('m', "bad in!"), "text"]).await;
        let change = Change::of("in!").leave("bad", "a").leave("good", "a");
        let Ok(Fenced::Ok(done)) = shard.try_change(script, &change).await else { panic!("{script}") };
        assert!(done.now > 0 && done.n > 0 && done.left == 0, "{done:?}");
        assert!(matches!(&done.failures[..], [(1, why)] if why.contains("WRONGTYPE")), "{done:?}");
        assert_eq!(shard.try_change(script, &change.by("c", 1, 1)).await, Ok(Fenced::Stale));
    }
    let add = Add::to("room", &["a", "b", "c", "d"]);
    assert!(matches!(shard.group_add(&add).await, Fenced::Ok(1..)));
    assert_eq!(shard.change(&Change::of("a").join("room", "", 60_000)).await.unwrap().n, 0);
    assert_eq!(shard.group_add(&add.fence("c", 1)).await, Fenced::Stale);

    assert_eq!(listed("group_len"), ["{cursor, members}"]);
    assert_eq!(shard.group_len_step("room", "", 100).await, (String::new(), 4));
    assert_eq!(listed("group_list"), ["{queue, cursor, channel, ...}"]);
    let all = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    assert_eq!(shard.group_list_step("room", "", "0").await, (String::new(), "0".to_owned(), all));
    assert_eq!(listed("group_members"), ["{queue, cursor, channel, label, ...}"]);
    shard.change(&Change::of("a").join_labelled("room", "", 60_000, "u7")).await;
    let [a, rest @ ..] = &shard.group_members("room").await[..] else { panic!("four are listed") };
    assert_eq!((a, rest.len()), (&("a".to_owned(), "u7".to_owned()), 3));
    assert!(rest.iter().all(|(_, label)| label.is_empty()));
    assert_eq!(listed("channel_groups"), ["{cursor, group, ...}"]);
    assert_eq!(shard.channel_groups_step("a", "").await, (String::new(), vec!["room".to_owned()]));

    let shape = r#"{"ok", cursor, delivered, full, expired, failed, queue, ...}"#;
    assert_eq!(listed("group_send"), [shape, r#"{"stale"}"#]);
    shard.group_add(&Add::to("room", &["a"]).capacity(0)).await;
    shard.group_add(&Add::to("room", &["b"]).expiry(1)).await;
    shard.command(&["SET", &shard.key('q', "c"), "text"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let send = GroupSend::to("room", "hi").names();
    let Fenced::Ok(receipt) = shard.group_send(&send).await else { panic!() };
    let counts = (receipt.delivered, receipt.full, receipt.expired, receipt.failed);
    assert_eq!((&*receipt.cursor, counts), ("", (1, 1, 1, 1)));
    assert_eq!(receipt.names, ["a"]);
    assert_eq!(shard.group_send(&send.fence("c", 1)).await, Fenced::Stale);

    let discard = Discard::from("room", &["a", "absent"]);
    assert_eq!(shard.group_discard(&discard).await, Fenced::Ok(1));
    assert_eq!(shard.group_discard(&discard.fence("c", 1)).await, Fenced::Stale);
    assert_eq!(listed("group_leave"), [r#"{"ok", cursor, removed, now, n}"#, r#"{"stale"}"#]);
    assert_eq!(shard.group_leave_step("d", Some(("c", 1)), "").await, Fenced::Stale);
    assert_eq!(shard.group_leave_step("d", None, "").await, Fenced::Ok((String::new(), 1)));
}

#[tokio::test]
async fn the_scripts_of_inboxes_give_each_reply_that_they_list() {
    let shard = Shard::new().await;
    let shapes = [r#"{"ok", now, groups, marks}"#, r#"{"taken"}"#, r#"{"stale"}"#];
    assert_eq!(listed("inbox_keep"), shapes);
    assert_eq!(shard.keep(&InboxKeep::of("in!", "one").generation(1)).await, Keep::Stale);
    shard.group_add(&Add::to("room", &["in!a"])).await;
    let kept = shard.inbox_keep("in!", "one", 1000, &["a", "b"], &[]).await;
    assert!(matches!(kept, Keep::Ok { now: 1.., groups: 1, marks: 2 }), "{kept:?}");
    assert_eq!(shard.inbox_keep("in!", "two", 1000, &[], &[]).await, Keep::Taken);
    assert_eq!(listed("inbox_page"), [r#"{"ok", now}"#, r#"{"taken"}"#]);
    assert!(matches!(shard.inbox_page("in!", "one", 2, &Place::default()).await, Some(1..)));
    assert_eq!(shard.inbox_page("in!", "two", 2, &Place::default()).await, None);
    assert_eq!(listed("inbox_close"), ["{groups}", r#"{"taken"}"#]);
    assert_eq!(shard.inbox_close_step("in!", "two").await, None);
    assert_eq!(shard.inbox_close_step("in!", "one").await, Some(0));
}
