//! flush: removes what waits, in bounded steps, and leaves who waits.

use super::{Owner, Shard};
use crate::support::{Add, GroupSend, Push, PushReply};

/// Runs all steps; how many keys each removed.
async fn flush(shard: &Shard, count: usize) -> Vec<usize> {
    let mut cursor = "0".to_owned();
    let mut steps = Vec::new();
    loop {
        let (next, removed) = shard.flush_step(&cursor, count).await;
        steps.push(removed);
        if next == "0" {
            return steps;
        }
        cursor = next;
    }
}

#[tokio::test]
async fn queues_and_given_back_messages_are_removed_and_clients_stay() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    shard.send("a", &["m1", "m2", "m3"]).await;
    shard.send("body?x", &["m4"]).await;
    shard.send("in.box!", &["m5"]).await;
    client.ask(1, &["a"]).await.unwrap();
    let kept = client.ask(2, &["a"]).await.unwrap();
    client.release(1).await;
    client.ask(3, &["b"]).await;

    assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 4);
    let expected = ["c:00000000000000000000000000000000", "schema", "w:b"].map(str::to_owned);
    assert_eq!(shard.keys().await, expected.into());
    assert!(!client.is_stale().await);
    assert_eq!(client.ask(2, &["a"]).await, Some(kept), "what was handed over is the ticket's own");
    assert_eq!(client.ask(4, &["a", "body?x"]).await, None);
    assert_eq!(client.ask_batch(5, "in.box!").await, None);

    shard.send("b", &["next"]).await;
    let wake = client.wake().await;
    assert_eq!((wake.ticket, wake.entry.text().as_str()), (3, "next"));
}

#[tokio::test]
async fn groups_are_removed_and_inboxes_stay() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in.box!").await;
    shard.inbox_keep("in.box!", owner.id(), 60_000, &["slow"], &[]).await;
    shard.group_add(&Add::to("room", &["in.box!a", "chat"])).await;
    // The list of the inbox, and of the group its index, its rows, and for two queues the members and their groups.
    assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 1 + 2 + 2 * 2);
    let expected = [&*format!("c:{}", owner.id()), "f:in.box!", "i:in.box!", "schema"].map(str::to_owned);
    assert_eq!(shard.keys().await, expected.into());
    assert_eq!(shard.group_len("room").await, 0);
    assert_eq!(shard.group_send(&GroupSend::to("room", "hi")).await.unwrap().delivered, 0);

    // The mirror of the owner has members that the server forgot, and their numbers go on.
    shard.group_add(&Add::to("room", &["in.box!b"])).await;
    assert_eq!(owner.read_all().await, ["c2 : +room b"]);
}

#[tokio::test]
async fn keys_of_groups_that_are_none_are_left_alone() {
    let shard = Shard::new().await;
    for kind in ['g', 'd', 'm', 's'] {
        shard.command(&["SET", &shard.key(kind, "name"), "text"]).await;
    }
    assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 0);
    let other = shard.beside(&format!("{}m:", shard.prefix())).await;
    other.group_add(&Add::to("room", &["chat"])).await;
    assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 0);
    assert_eq!(other.group_len("room").await, 1);
}

#[tokio::test]
async fn a_flushed_queue_has_its_whole_capacity_again() {
    let shard = Shard::new().await;
    let push = Push::to("a", &["m"]).capacity(1);
    for _ in 0..2 {
        assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
        assert_ne!(shard.push(&push).await, PushReply::ALL_SENT);
        flush(&shard, 1000).await;
    }
}

#[tokio::test]
async fn a_prefix_with_the_characters_of_patterns_means_itself() {
    let shard = Shard::alone().await;
    for prefix in ["a*b[c]:", "a?c:", r"a\*b:", "[a-z]^:", "[^x]:", "*", ""] {
        let own = shard.beside(prefix).await;
        let others = ["axb[c]:", "a*bc:", "abc:", "a*b:", r"a\xb:", "m^:", "y:", "other:"];
        for other in others {
            shard.beside(other).await.send("a", &["m"]).await;
        }
        own.send("a", &["m"]).await;
        own.send("b", &["m"]).await;
        assert_eq!(flush(&own, 1000).await.iter().sum::<usize>(), 2, "{prefix}");
        for other in others {
            assert_eq!(shard.beside(other).await.drain("a").await, ["m"], "{prefix} flushed {other}");
        }
    }
}

#[tokio::test]
async fn layers_whose_prefix_is_longer_are_left_alone() {
    let shard = Shard::new().await;
    shard.send("a", &["m"]).await;
    for longer in ["q:", "b:", "other:", "q:q:", "q"] {
        let other = shard.beside(&format!("{}{longer}", shard.prefix())).await;
        other.send("a", &["m", "m"]).await;
        let mut client = other.client().await;
        client.ask(1, &["a"]).await.unwrap();
        client.release(1).await;
        client.ask(2, &["x"]).await;
        // This one looks just like a queue of ours that is called `schema`.
        shard.command(&["DEL", &format!("{}schema", other.prefix())]).await;

        shard.send("a", &["m"]).await;
        assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 1);
        assert_eq!(other.drain("a").await, ["m", "m"]);
        other.send("x", &["m"]).await;
        assert_eq!(client.wake().await.ticket, 2);
    }
}

#[tokio::test]
async fn each_step_is_bounded_however_many_keys_others_have() {
    let shard = Shard::alone().await;
    let mut foreign = redis::cmd("MSET");
    for number in 0..20_000 {
        foreign.arg(format!("foreign{number}")).arg("x");
    }
    let () = shard.ask(&foreign).await;
    let names: Vec<String> = (0..3000).map(|number| format!("queue{number}")).collect();
    for names in names.chunks(500) {
        let push = names[1..].iter().fold(Push::to(&names[0], &["m"]), |push, name| push.and(name, &["m"]));
        assert_eq!(shard.push(&push).await, PushReply::ALL_SENT);
    }

    let steps = flush(&shard, 1000).await;
    assert_eq!(steps.iter().sum::<usize>(), 3000);
    assert!(steps.len() >= 15, "{steps:?}");
    assert!(steps.iter().all(|removed| *removed < 1000), "{steps:?}");
    assert_eq!(shard.ask::<usize>(&redis::cmd("DBSIZE")).await, 20_000);
}

/// `<prefix>q:schema` is the schema of the layer `<prefix>q:`, and not a list.
#[tokio::test]
async fn the_schema_of_a_layer_whose_prefix_is_longer_is_left_alone() {
    let shard = Shard::new().await;
    for longer in ["q:", "b:"] {
        let other = shard.beside(&format!("{}{longer}", shard.prefix())).await;
        let _greeted = other.client().await;
        assert_eq!(flush(&shard, 1000).await.iter().sum::<usize>(), 0);
        assert!(other.keys().await.contains("schema"));
    }
}

#[tokio::test]
async fn what_a_drain_keeps_aside_is_removed() {
    let shard = Shard::new().await;
    shard.send("a", &["m"]).await;
    shard.drain_take("a", "batch", "there").await.unwrap();
    flush(&shard, 1_000_000).await;
    assert!(!shard.exists('o', "a").await);
}

/// Shows R41.
#[tokio::test]
async fn each_inbox_is_told_of_a_flush_and_no_other_queue_and_none_of_a_longer_prefix() {
    let shard = Shard::new().await;
    let longer = shard.beside(&format!("{}i:", shard.prefix())).await;
    longer.inbox_keep("in!", "other", 60_000, &[], &[]).await;
    shard.command(&["HSET", &shard.key('i', "none"), "owner", "other"]).await;
    let mut owners = Vec::new();
    for inbox in ["in!", "box!"] {
        owners.push(Owner::new(&shard, inbox).await);
    }
    shard.send("box!", &["ma before"]).await;
    // Others have changed this one before its owner came.
    shard.group_add(&Add::to("room", &["early!a"])).await;
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await, ("0".to_owned(), 3));
    assert_eq!((longer.length("in!").await, shard.length("none").await), (0, 0));
    assert!((3_600_000..=4_200_000).contains(&shard.ttl('q', "in!").await));
    assert_eq!(owners[0].read_all().await, ["f"]);
    assert_eq!(owners[1].read_all().await, ["ma before", "f"]);
    assert_eq!(shard.drain_inbox("early!").await[1..], ["f"]);
}

#[tokio::test]
async fn an_inbox_whose_keys_are_none_does_not_keep_others_from_being_told_of_a_flush() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in!").await;
    for inbox in ["a!", "b!", "y!", "z!"] {
        shard.inbox_keep(inbox, "owner", 60_000, &[], &[]).await;
        shard.command(&["SET", &shard.key('q', inbox), "text"]).await;
    }
    shard.command(&["SET", &shard.key('i', "none!"), "text"]).await;
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await, ("0".to_owned(), 1));
    assert_eq!(owner.read_all().await, ["f"]);
}

#[tokio::test]
async fn a_foreign_key_in_the_place_of_an_inboxs_groups_keeps_nobody_from_being_told_of_a_flush() {
    let shard = Shard::new().await;
    let mut owners = Vec::new();
    for inbox in ["a!", "in!", "z!"] {
        owners.push(Owner::new(&shard, inbox).await);
    }
    shard.command(&["SET", &shard.key('s', "in!"), "text"]).await;
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await, ("0".to_owned(), 3));
    for owner in &mut owners {
        assert_eq!(owner.read_all().await, ["f"]);
    }
    assert!(shard.exists('s', "in!").await, "it is another program's");
}

#[tokio::test]
async fn a_reader_that_waits_is_told_of_a_flush() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in!").await;
    let ticket = owner.wait().await;
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await.1, 1);
    let wake = owner.client.wake().await;
    assert_eq!((wake.ticket, &*wake.entry.text()), (ticket, "f"));
}

/// Shows R41 and R56.
#[tokio::test]
async fn who_is_in_again_is_taken_out_in_the_step_that_tells_of_the_flush() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in.box!").await;
    let groups: Vec<String> = (0..1_200).map(|number| format!("room-{number}")).collect();
    for some in groups.chunks(100) {
        let change = some.iter().fold(owner.change(), |change, group| change.join(group, "a", 60_000));
        shard.change(&change).await.unwrap();
    }
    owner.read_all().await;
    flush(&shard, 1_000_000).await;
    // Its owner has not heard of the flush, and puts right what it takes for a loss.
    let end = shard.time_ms().await + 60_000;
    for some in groups[..1_100].chunks(100) {
        let change = some.iter().fold(owner.change(), |change, group| change.join_unless_in(group, "a", end));
        shard.change(&change).await.unwrap();
    }
    owner.read_all().await;
    assert_eq!(shard.group_len("room-7").await, 1);
    assert_eq!(shard.flush_inboxes_step("0", 1_000_000).await, ("0".to_owned(), 1));
    assert_eq!(owner.read_all().await, ["f"]);
    for group in &groups {
        assert_eq!(shard.group_len(group).await, 0);
    }
    assert!(!shard.keys().await.iter().any(|key| "gdms".contains(&key[..1]) && key != "schema"));
}

/// Shows R56.
#[tokio::test]
async fn a_repair_that_was_planned_before_a_flush_is_refused_and_a_join_is_not() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, "in.box!").await;
    let joined = shard.change(&owner.change().join("room", "a", 60_000)).await.unwrap();
    flush(&shard, 1_000_000).await;
    shard.flush_inboxes_step("0", 1_000_000).await;
    let end = shard.time_ms().await + 60_000;
    shard.change(&owner.change().join_unless_flushed("room", "a", end, joined.n)).await.unwrap();
    assert_eq!(shard.group_len("room").await, 0);
    // The flush is a change too: who has read it may repair.
    shard.change(&owner.change().join_unless_flushed("room", "a", end, joined.n + 1)).await.unwrap();
    assert_eq!(shard.group_len("room").await, 1);
    shard.change(&owner.change().join("hall", "a", 60_000)).await.unwrap();
    assert_eq!(shard.group_len("hall").await, 1);
    let told = owner.read_all().await;
    assert_eq!(told[0], "f", "what waited was flushed");
    assert!(told[1].starts_with(&format!("c{} ", joined.n + 2)), "{told:?}");
}
