//! The tier of who owns an inbox, and keeps a mirror of its memberships.

use std::time::Duration;

use serde_json::{Value, json};

use super::check::{Check, Outcome, check};
use super::peer::Peer;
use super::scripts::{calls_of, sha};
use super::stage::{LEASE, Node, SOON, Stage, must, pause, until};

pub(super) const CHECKS: &[Check] = &[
    check!(Inbox, "R20", "an inbox is owned as long as its process lives", kept),
    check!(Inbox, "R21", "memberships come back after a server has lost all data", lost_data),
    check!(Inbox, "R22", "a batch whose reply is lost comes once, in order", lost_batch),
    check!(Inbox, "R23", "changes of others count, in order with the messages", others),
    check!(Inbox, "R24", "a group's message goes to each member, by its address", members),
    check!(Inbox, "R25", "a flush ends memberships for good", flushed),
    check!(Inbox, "R29", "closing removes the inbox and its memberships", closed),
    check!(Inbox, "R36", "changes, signs of life and pages have rising numbers", call_numbers),
    check!(Inbox, "R38", "pages are asked for by place, and use none that nobody asked for", pages),
    check!(Inbox, "R46", "a server that went back to an older state is put right", went_back),
    check!(Inbox, "R50", "what was asked for on a connection that broke is asked for again", cut_in_doubt),
    check!(Inbox, "R51", "a membership that vanished without a trace is found, and comes back", vanished),
];

/// An inbox of a client, and an address in it.
async fn owner(stage: &Stage) -> Result<(Peer, String), String> {
    let peer = stage.peer().await?;
    let inbox = peer.done("new_inbox", json!({ "stem": "chat" })).await?;
    let inbox =
        inbox.as_str().filter(|name| name.ends_with('!')).ok_or_else(|| format!("new_inbox made {inbox}"))?;
    Ok((peer, inbox.to_owned()))
}

/// What the inbox brings soon.
async fn next(peer: &Peer, inbox: &str) -> Result<Value, String> {
    let mut pending = peer.receive(&[inbox]).await?;
    pending.within(SOON).await?.map_err(|refusal| format!("a receive on the inbox ended with {refusal}"))
}

/// The inbox brings exactly these, by address and number.
async fn brings(peer: &Peer, inbox: &str, due: &[(&str, u8)]) -> Outcome {
    for (address, number) in due {
        let (got, due) = (next(peer, inbox).await?, json!([format!("{inbox}{address}"), number]));
        must(got == due, || format!("the inbox brought {got} in place of {due}"))?;
    }
    let more = peer.take(&[inbox]).await?;
    must(more == Value::Null, || format!("then the inbox brought {more} too"))
}

async fn join(peer: &Peer, group: &str, channel: &str) -> Outcome {
    peer.done("group_add", json!({ "group": group, "channel": channel })).await.map(drop)
}

/// Waits until a message to the group reaches the inbox, which it may not yet after a loss.
async fn reached(node: &Node, group: &str, otherwise: &str) -> Outcome {
    until(
        LEASE * 4 + SOON,
        || otherwise.to_owned(),
        async || Ok(node.scripts.group_send(group, 9).await? > 0),
    )
    .await
}

/// Takes all that waits.
async fn drained(peer: &Peer, inbox: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    pause(Duration::from_millis(300)).await;
    loop {
        match peer.take(&[inbox]).await? {
            Value::Null => return Ok(all),
            got => all.push(got),
        }
    }
}

async fn kept(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    pause(LEASE * 3).await;
    let delivered = node.scripts.group_send("room", 1).await?;
    must(delivered == 1, || "after some leases the inbox has no owner".to_owned())?;
    brings(&peer, &inbox, &[("a", 1)]).await
}

async fn lost_data(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    for group in ["room", "hall"] {
        join(&peer, group, &format!("{inbox}a")).await?;
    }
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    node.server.kill();
    node.server.start_again().map_err(|error| error.to_string())?;
    for group in ["room", "hall"] {
        reached(node, group, "after a loss of data the member is not in its group again").await?;
    }
    let got = drained(&peer, &inbox).await?;
    let due = json!([format!("{inbox}a"), 9]);
    must(!got.is_empty() && got.iter().all(|one| *one == due), || format!("the inbox brought {got:?}"))
}

async fn lost_batch(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    node.scripts.send(&format!("{inbox}a"), 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    node.tap.hold_replies();
    for number in 2..6 {
        node.scripts.send(&format!("{inbox}a"), number).await?;
    }
    pause(LEASE / 2).await;
    node.tap.cut().await;
    node.tap.pass();
    brings(&peer, &inbox, &[("a", 2), ("a", 3), ("a", 4), ("a", 5)]).await
}

async fn others(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    node.scripts.group_send("room", 1).await?;
    node.scripts.change(&inbox, ["+", "room", "a", "60000"]).await?;
    node.scripts.group_send("room", 2).await?;
    node.scripts.change(&inbox, ["+", "room", "b", "60000"]).await?;
    node.scripts.change(&inbox, ["-", "room", "a", ""]).await?;
    node.scripts.group_send("room", 3).await?;
    node.scripts.change(&inbox, ["-", "room", "b", ""]).await?;
    node.scripts.group_send("room", 4).await?;
    node.scripts.send(&format!("{inbox}c"), 5).await?;
    brings(&peer, &inbox, &[("a", 2), ("b", 3), ("c", 5)]).await
}

async fn members(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    for address in ["a", "b", "c"] {
        join(&peer, "room", &format!("{inbox}{address}")).await?;
    }
    peer.done("group_discard", json!({ "group": "room", "channel": format!("{inbox}b") })).await?;
    node.scripts.group_send("room", 1).await?;
    let mut got = vec![next(&peer, &inbox).await?.to_string(), next(&peer, &inbox).await?.to_string()];
    got.sort();
    let due = [json!([format!("{inbox}a"), 1]).to_string(), json!([format!("{inbox}c"), 1]).to_string()];
    must(got == due, || format!("the message went to {got:?}"))?;
    // A membership of a second ends when it says, by the time at which a message was sent.
    node.scripts.change(&inbox, ["+", "hall", "d", "500"]).await?;
    node.scripts.group_send("hall", 2).await?;
    pause(Duration::from_millis(700)).await;
    brings(&peer, &inbox, &[("d", 2)]).await
}

async fn flushed(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    node.scripts.flush().await?;
    for _ in 0..6 {
        pause(LEASE / 2).await;
        let delivered = node.scripts.group_send("room", 2).await?;
        must(delivered == 0, || "a member that a flush took out is in again".to_owned())?;
    }
    join(&peer, "room", &format!("{inbox}a")).await?;
    node.scripts.group_send("room", 3).await?;
    brings(&peer, &inbox, &[("a", 3)]).await
}

async fn closed(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    peer.done("close", json!({})).await?;
    let keys: Vec<String> = node.scripts.command(&["KEYS", &format!("{}*", stage.prefix)]).await?;
    let left: Vec<&String> = keys
        .iter()
        .filter(|key| !key.ends_with("schema") && !key.starts_with(&format!("{}c:", stage.prefix)))
        .collect();
    must(left.is_empty(), || format!("the keys {left:?} are left"))
}

async fn call_numbers(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    for number in 0..30 {
        join(&peer, "room", &format!("{inbox}a{number}")).await?;
        if number == 15 {
            node.tap.cut().await;
            // A join may find the connection broken.
            let _ =
                peer.call("group_add", json!({ "group": "room", "channel": format!("{inbox}b") })).await?;
        }
    }
    pause(LEASE).await;
    let mut calls = Vec::new();
    for (script, place) in
        [("group_change", 4), ("group_discard", 4), ("inbox_keep", 6), ("inbox_page", 3), ("group_leave", 5)]
    {
        calls.extend(calls_of(&node.tap, script, 0).into_iter().map(|call| {
            let number: u64 = call.argument(place).parse().unwrap_or_default();
            (call.at, number, script, call.arguments)
        }));
    }
    calls.sort_by_key(|(at, ..)| *at);
    must(calls.iter().any(|(.., script, _)| *script == "inbox_page"), || "no page was asked for".to_owned())?;
    for two in calls.windows(2) {
        let [(_, first, ..), (_, second, script, _)] = two else { continue };
        must(second >= first, || format!("a call of {script} has the number {second}, after {first}"))?;
    }
    Ok(())
}

async fn pages(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    // A page that nobody asked for tells of no member.
    let owner: Option<String> =
        node.scripts.command(&["HGET", &node.scripts.key('i', &inbox), "owner"]).await?;
    let owner = owner.ok_or("the inbox has no owner")?;
    let header = [&1_u64.to_be_bytes()[..], &[0, 1], &4_102_444_800_000_u64.to_be_bytes()].concat();
    let page = [&header[..], format!("w1 : 1 >   <   :room 1 x{owner} 4102444800000").as_bytes()].concat();
    let queue = node.scripts.key('q', &inbox);
    node.scripts.append(&queue, &page).await?;
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    pause(LEASE * 2).await;
    let asked = calls_of(&node.tap, "inbox_page", 0).len();
    must(asked > 0, || "in two leases no page was asked for".to_owned())?;
    node.scripts.group_send("room", 2).await?;
    brings(&peer, &inbox, &[("a", 2)]).await
}

async fn went_back(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    let key = node.scripts.key('i', &inbox);
    join(&peer, "room", &format!("{inbox}a")).await?;
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    let before: Vec<String> = node.scripts.command(&["HMGET", &key, "n", "by"]).await?;
    join(&peer, "room", &format!("{inbox}b")).await?;
    node.scripts.group_send("room", 2).await?;
    let _ = (next(&peer, &inbox).await?, next(&peer, &inbox).await?);
    // The state of the first join: the second one has not been made.
    let [n, by] = &before[..] else { return Err("the hash of the inbox lacks its number".to_owned()) };
    let _: u64 =
        node.scripts.command(&["ZREM", &node.scripts.key('m', &format!("room {inbox}")), "b"]).await?;
    let _: u64 = node.scripts.command(&["HSET", &key, "n", n, "by", by]).await?;
    let members = node.scripts.key('m', &format!("room {inbox}"));
    until(
        LEASE * 4 + SOON,
        || "the later member did not come back".to_owned(),
        async || Ok(node.scripts.command::<Option<f64>>(&["ZSCORE", &members, "b"]).await?.is_some()),
    )
    .await?;
    let begun = calls_of(&node.tap, "group_discard", 0)
        .iter()
        .chain(&calls_of(&node.tap, "group_change", 0))
        .any(|call| (6..call.arguments.len()).step_by(4).any(|place| call.argument(place) == "e"));
    must(begun, || "the chain of numbers was not begun anew".to_owned())
}

async fn cut_in_doubt(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    node.tap.trap(sha("inbox_page").as_bytes());
    let () = node.scripts.command(&["FLUSHALL"]).await?;
    node.tap.caught().await.map_err(|_| "no page was asked for after a loss of data".to_owned())?;
    node.tap.cut().await;
    let () = node.scripts.command(&["FLUSHALL"]).await?;
    node.tap.pass();
    reached(node, "room", "after a loss of data and a cut the member is not in its group again").await
}

async fn vanished(stage: &Stage) -> Outcome {
    let (peer, inbox) = owner(stage).await?;
    let node = stage.node()?;
    join(&peer, "room", &format!("{inbox}a")).await?;
    node.scripts.group_send("room", 1).await?;
    brings(&peer, &inbox, &[("a", 1)]).await?;
    for key in [
        node.scripts.key('g', "room"),
        node.scripts.key('d', "room"),
        node.scripts.key('m', &format!("room {inbox}")),
    ] {
        let _: u64 = node.scripts.command(&["DEL", &key]).await?;
    }
    reached(node, "room", "keys of a group vanished, and its member is not in again").await
}
