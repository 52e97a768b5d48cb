//! The tier of who waits, by tickets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::check::{Check, Outcome, check};
use super::peer::Peer;
use super::scripts::{calls_of, client_of, sha};
use super::sender::no_eval;
use super::stage::{BEAT, Node, SOON, Stage, brings, must, pause, until};

pub(super) const CHECKS: &[Check] = &[
    check!(Waiter, "R5", "each ticket has a number of its own, in decimal digits", tickets),
    check!(
        Waiter,
        "R6",
        "on each connection SUBSCRIBE comes before hello, and hello before any other script",
        order_of_calls
    ),
    check!(
        Waiter,
        "R7",
        "open tickets are asked for in each third of the lease, and so come back after a loss of data",
        beat
    ),
    check!(Waiter, "R8", "an acknowledgement that a server did not get is said again", acknowledgement_lost),
    check!(
        Waiter,
        "R9",
        "a copy of a message is not delivered, and what comes for a ticket that is gone goes back",
        copies
    ),
    check!(
        Waiter,
        "R10",
        "a receive that is cancelled with a message on its way gives it to the next",
        cancelled
    ),
    check!(
        Waiter,
        "R11",
        "a server that forgot its scripts is greeted anew, twice a second at most, and no old pop is sent again",
        forgotten_scripts
    ),
    check!(
        Waiter,
        "R12",
        "a pop whose reply is lost gives its message once, on the next connection",
        lost_reply
    ),
    check!(Waiter, "R14", "no two tickets are open for one ? channel", single_reader),
    check!(Waiter, "R16", "closing ends all receives, and leaves no ticket and no lease", closing),
    check!(Waiter, "R18", "tickets that a pop did not look at are asked for again", unserved),
    check!(Waiter, "R30", "a client leaves on moved, and does not listen at a replica", moved),
    check!(
        Waiter,
        "R31",
        "a ticket that only the server knows is finished after the next hello",
        unknown_ticket
    ),
    check!(Waiter, "R55", "again is answered by hello with a higher generation", again),
    check!(Waiter, "R57", "a large message that is only announced comes at once", large),
    check!(
        Waiter,
        "R58",
        "messages too large for a connection that listens come, and the connection stays",
        too_large_to_listen
    ),
    check!(Waiter, "restart", "a receive goes on when its server starts again without data", restart),
    check!(Waiter, "kill", "a killed process takes no message with it that is sent later", killed),
];

/// Waits until the server has no ticket of the client any more.
async fn forgotten(node: &Node) -> Outcome {
    let client = client_of(&node.tap)?;
    until(
        SOON,
        || "a finished ticket is still on the server".to_owned(),
        async || Ok(node.scripts.tickets(&client).await?.is_empty()),
    )
    .await
}

/// Nothing is there any more.
async fn nothing(peer: &Peer, channel: &str) -> Outcome {
    let got = peer.take(&[channel]).await?;
    must(got == Value::Null, || format!("then {got} came too"))
}

async fn tickets(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for number in 0..12 {
        let mut pending = stage.wait_for(&peer, "jobs").await?;
        if number == 6 {
            node.tap.cut().await;
        }
        node.scripts.send("jobs", number).await?;
        brings(&mut pending, "jobs", &json!(number)).await?;
    }
    let mut ended: BTreeSet<String> = BTreeSet::new();
    let mut all = BTreeSet::new();
    for pop in calls_of(&node.tap, "pop", 0) {
        for (ticket, _) in pop.finished() {
            ended.insert(ticket);
        }
        for ticket in pop.open() {
            must(ticket.bytes().all(|byte| byte.is_ascii_digit()), || {
                format!("a ticket has the number {ticket:?}")
            })?;
            must(!ended.contains(&ticket), || {
                format!("the ticket {ticket} was finished, and is open again")
            })?;
            all.insert(ticket);
        }
    }
    must(all.len() >= 12, || format!("12 receives had the tickets {all:?}"))?;
    forgotten(node).await
}

async fn order_of_calls(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    for _ in 0..2 {
        let before = node.tap.connections();
        node.tap.cut().await;
        until(
            SOON,
            || "the client does not connect again".to_owned(),
            async || Ok(node.tap.connections() > before),
        )
        .await?;
        pause(BEAT * 2).await;
    }
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    let mut began: BTreeMap<u64, bool> = BTreeMap::new();
    let (mut subscribed, mut greeted) = (0, 0);
    for seen in node.tap.seen() {
        let Some(verb) = seen.words.first() else { continue };
        if verb.eq_ignore_ascii_case(b"SUBSCRIBE") {
            subscribed += 1;
        } else if verb.eq_ignore_ascii_case(b"EVALSHA") {
            let is_hello = seen.words.get(1).is_some_and(|hash| hash == sha("hello").as_bytes());
            let has_greeted = began.entry(seen.connection).or_default();
            must(*has_greeted || is_hello, || "a script was called before hello".to_owned())?;
            if is_hello && !*has_greeted {
                greeted += 1;
                must(subscribed >= greeted, || "hello was called before SUBSCRIBE".to_owned())?;
            }
            *has_greeted = true;
        }
    }
    must(greeted >= 3, || format!("three connections were made, and {greeted} hellos"))
}

async fn beat(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let mark = node.tap.mark();
    pause(BEAT * 5).await;
    let asked = calls_of(&node.tap, "pop", mark).iter().filter(|pop| !pop.open().is_empty()).count();
    must(asked >= 3, || format!("in five thirds of a lease the open ticket was asked for {asked} times"))?;
    must(asked <= 12, || {
        format!(
            "in five thirds of a lease the open ticket was asked for {asked} times, which costs the server"
        )
    })?;
    let () = node.scripts.command(&["FLUSHALL"]).await?;
    stage.in_line("jobs").await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await
}

async fn acknowledgement_lost(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    node.tap.hold_commands();
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    // The acknowledgement goes with the next beat at the latest, and never arrives.
    pause(BEAT * 2).await;
    node.tap.cut().await;
    node.tap.pass();
    forgotten(node).await?;
    let left = node.scripts.take("jobs").await?;
    must(left.is_none(), || "the message was given back, though it was delivered".to_owned())?;
    nothing(&peer, "jobs").await
}

async fn copies(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let client = client_of(&node.tap)?;
    let ticket =
        calls_of(&node.tap, "pop", 0).iter().flat_map(|pop| pop.open()).last().ok_or("no ticket is open")?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    let wake = format!("{}wake:{client}", stage.prefix);
    let mark = node.tap.mark();
    let _: u64 =
        node.scripts.command(&["PUBLISH", &wake, &format!("{ticket} jobs 01234567890123456m \u{1}")]).await?;
    let _: u64 = node.scripts.command(&["PUBLISH", &wake, "987654321 jobs 01234567890123456m \u{1}"]).await?;
    until(
        SOON,
        || "what came for a ticket that is not open was not released".to_owned(),
        async || {
            let finished = calls_of(&node.tap, "pop", mark).into_iter().flat_map(|pop| pop.finished());
            Ok(finished.into_iter().any(|(ticket, id)| ticket == "987654321" && id.is_empty()))
        },
    )
    .await?;
    nothing(&peer, "jobs").await
}

async fn cancelled(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    node.tap.hold_replies();
    node.scripts.send("jobs", 1).await?;
    peer.done("cancel", json!({ "cancel": pending.id })).await?;
    let ended = pending.within(SOON).await?;
    must(ended.is_err(), || format!("the cancelled receive brought {ended:?}"))?;
    node.tap.pass();
    let client = client_of(&node.tap)?;
    until(
        SOON,
        || "the message of a cancelled receive did not come back".to_owned(),
        async || {
            let came = node.scripts.take("jobs").await?;
            Ok(came.is_some_and(|entry| entry.ends_with(b"m \x01")))
        },
    )
    .await?;
    until(
        SOON,
        || "a cancelled ticket is still on the server".to_owned(),
        async || Ok(node.scripts.tickets(&client).await?.is_empty()),
    )
    .await?;
    // And one that is cancelled while nothing is there takes nothing later.
    let mut pending = stage.wait_for(&peer, "jobs").await?;
    peer.done("cancel", json!({ "cancel": pending.id })).await?;
    let _ = pending.within(SOON).await?;
    until(
        SOON,
        || "a ticket that was cancelled while it waited is still on the server".to_owned(),
        async || Ok(node.scripts.tickets(&client).await?.is_empty()),
    )
    .await?;
    node.scripts.send("jobs", 2).await?;
    until(
        SOON,
        || "a message that was sent after a cancel is gone".to_owned(),
        async || Ok(node.scripts.take("jobs").await?.is_some_and(|entry| entry.ends_with(b"m \x02"))),
    )
    .await
}

async fn forgotten_scripts(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let mark = node.tap.mark();
    let began = Instant::now();
    for _ in 0..30 {
        let () = node.scripts.command(&["SCRIPT", "FLUSH"]).await?;
        // A call that is refused for it.
        let _ = peer.ask("send", json!({ "channel": "warm", "message": 1 })).await?;
        pause(Duration::from_millis(50)).await;
    }
    let (hellos, took) = (calls_of(&node.tap, "hello", mark).len() as u128, began.elapsed().as_millis());
    must(hellos <= took / 500 + 2, || format!("{hellos} hellos were called in {took} ms"))?;
    stage.in_line("jobs").await?;
    node.scripts.load().await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    let generations: Vec<String> =
        calls_of(&node.tap, "hello", 0).iter().map(|hello| hello.argument(0)).collect();
    must(generations.len() >= 2, || "hello was not called again after NOSCRIPT".to_owned())?;
    // A pop that was refused is not sent again: the next one has the generation of the next hello.
    let mut sent: BTreeMap<(u64, Vec<Vec<u8>>), usize> = BTreeMap::new();
    for pop in calls_of(&node.tap, "pop", mark) {
        if Some(&pop.argument(2)) == generations.first() {
            *sent.entry((pop.connection, pop.arguments)).or_default() += 1;
        }
    }
    must(sent.values().all(|times| *times <= 2), || "a pop was sent again after NOSCRIPT".to_owned())?;
    no_eval(&node.tap)
}

async fn lost_reply(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    peer.send("warm", &json!(1)).await?;
    for number in 1..=2 {
        node.scripts.send("jobs", number).await?;
    }
    node.tap.trap(sha("pop").as_bytes());
    let mut pending = peer.receive(&["jobs"]).await?;
    node.tap.caught().await?;
    until(
        SOON,
        || "the pop was not executed".to_owned(),
        async || Ok(node.scripts.waiting("jobs").await? < 2),
    )
    .await?;
    node.tap.cut().await;
    node.tap.pass();
    brings(&mut pending, "jobs", &json!(1)).await?;
    let second = peer.take(&["jobs"]).await?;
    must(second == json!(["jobs", 2]), || format!("then {second} came"))?;
    nothing(&peer, "jobs").await?;
    forgotten(node).await
}

async fn single_reader(stage: &Stage) -> Outcome {
    let (peer, mut first) = stage.waiting("a?b").await?;
    let node = stage.node()?;
    let mut second = peer.receive(&["a?b"]).await?;
    pause(BEAT * 2).await;
    let client = client_of(&node.tap)?;
    let open = node.scripts.tickets(&client).await?;
    must(open.len() == 1, || format!("two receives on a ? channel have the tickets {open:?}"))?;
    node.scripts.send("a?b", 1).await?;
    let both = [first.within(SOON).await, Ok(second.is_answered().unwrap_or(Ok(Value::Null)))];
    let brought = both.iter().filter(|one| **one == Ok(Ok(json!(["a?b", 1])))).count();
    must(brought == 1, || format!("the message was given to {brought} of two receives"))
}

async fn closing(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let client = client_of(&node.tap)?;
    peer.done("close", json!({})).await?;
    let ended = pending.within(SOON).await?;
    must(ended.is_err(), || format!("a receive of a closed layer ended with {ended:?}"))?;
    let tickets = node.scripts.tickets(&client).await?;
    must(tickets.is_empty(), || format!("the tickets {tickets:?} are left"))?;
    let lease: Option<String> =
        node.scripts.command(&["HGET", &node.scripts.key('c', &client), "lease"]).await?;
    must(lease.as_deref().unwrap_or("0") == "0", || format!("the lease lasts until {lease:?}"))?;
    node.scripts.send("jobs", 1).await?;
    must(node.scripts.take("jobs").await?.is_some(), || "a closed client took a message".to_owned())
}

async fn unserved(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    peer.send("warm", &json!(1)).await?;
    let large = [&[0xc5, 0xff, 0xff][..], &[7; 0xffff]].concat();
    for channel in 0..12 {
        node.scripts.push(&format!("jobs{channel}"), &[b"m ", &large[..]].concat()).await?;
    }
    let mut pending = Vec::new();
    for channel in 0..12 {
        pending.push(peer.receive(&[&format!("jobs{channel}")]).await?);
    }
    for one in &mut pending {
        one.within(SOON).await?.map_err(|refusal| format!("a receive ended with {refusal}"))?;
    }
    forgotten(node).await
}

async fn moved(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let (client, before) = (client_of(&node.tap)?, node.tap.connections());
    let wake = format!("{}wake:{client}", stage.prefix);
    let _: u64 = node.scripts.command(&["PUBLISH", &wake, "moved"]).await?;
    until(
        SOON,
        || "the client stays on its connection after moved".to_owned(),
        async || Ok(node.tap.connections() > before),
    )
    .await?;
    stage.in_line("jobs").await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    let mark = node.tap.mark();
    let () = node.scripts.command(&["REPLICAOF", "127.0.0.1", "1"]).await?;
    node.tap.cut().await;
    pause(Duration::from_secs(1)).await;
    let seen = node.tap.seen();
    let listens = seen
        .iter()
        .skip(mark)
        .any(|seen| seen.words.first().is_some_and(|verb| verb.eq_ignore_ascii_case(b"SUBSCRIBE")));
    must(!listens, || "the client subscribed at a replica".to_owned())
}

async fn unknown_ticket(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let client = client_of(&node.tap)?;
    let key = node.scripts.key('c', &client);
    let _: u64 = node.scripts.command(&["HSET", &key, "987654321", "wother"]).await?;
    node.tap.cut().await;
    until(
        SOON,
        || "the ticket that only the server knows is still there".to_owned(),
        async || Ok(!node.scripts.command::<bool>(&["HEXISTS", &key, "987654321"]).await?),
    )
    .await?;
    stage.in_line("jobs").await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await
}

async fn again(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    let began = Instant::now();
    let (client, mark) = (client_of(&node.tap)?, node.tap.mark());
    let wake = format!("{}wake:{client}", stage.prefix);
    for _ in 0..10 {
        let _: u64 = node.scripts.command(&["PUBLISH", &wake, "again"]).await?;
        pause(Duration::from_millis(50)).await;
    }
    until(
        SOON,
        || "again was not answered by hello".to_owned(),
        async || Ok(!calls_of(&node.tap, "hello", mark).is_empty()),
    )
    .await?;
    pause(Duration::from_millis(300)).await;
    let (hellos, took) = (calls_of(&node.tap, "hello", mark).len() as u128, began.elapsed().as_millis());
    must(hellos <= took / 500 + 2, || format!("{hellos} hellos were called in {took} ms"))?;
    stage.in_line("jobs").await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await
}

async fn large(stage: &Stage) -> Outcome {
    // With a lease that long no beat helps.
    let peer = stage.peer_with(json!({ "lease_ms": 60_000 })).await?;
    let node = stage.node()?;
    let mut pending = stage.wait_for(&peer, "jobs").await?;
    let large = [&[0xc6, 0, 3, 0, 0][..], &[b'x'; 0x30000]].concat();
    node.scripts.push("jobs", &[b"m ", &large[..]].concat()).await?;
    let got = pending.within(SOON).await?.map_err(|refusal| format!("the receive ended with {refusal}"))?;
    must(got.get(0) == Some(&json!("jobs")), || "another message came".to_owned())?;
    forgotten(node)
        .await
        .or_else(|error| if error.contains("still on the server") { Ok(()) } else { Err(error) })
}

async fn too_large_to_listen(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let _: String =
        node.scripts.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]).await?;
    let peer = stage.peer_with(json!({ "lease_ms": 60_000 })).await?;
    let large = [&[0xc6, 0, 0x18, 0, 0][..], &vec![b'x'; 0x18_0000]].concat();
    let body = [b"m ", &large[..]].concat();
    node.scripts.push("before", &body).await?;
    let mut pending = peer.receive(&["before"]).await?;
    let got = pending.within(SOON).await?.map_err(|refusal| format!("the receive ended with {refusal}"))?;
    must(got.get(0) == Some(&json!("before")), || "what waited did not come".to_owned())?;
    let mut pending = stage.wait_for(&peer, "jobs").await?;
    node.scripts.push("jobs", &body).await?;
    let got = pending.within(SOON).await?.map_err(|refusal| format!("the receive ended with {refusal}"))?;
    must(got.get(0) == Some(&json!("jobs")), || "what was waited for did not come".to_owned())?;
    let hellos = calls_of(&node.tap, "hello", 0).len();
    must(hellos == 1, || format!("the connection was cut: there were {hellos} hellos"))
}

async fn restart(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    node.server.kill();
    pause(Duration::from_millis(300)).await;
    node.server.start_again().map_err(|error| error.to_string())?;
    stage.in_line("jobs").await?;
    node.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await
}

async fn killed(stage: &Stage) -> Outcome {
    let (mut peer, _pending) = stage.waiting("jobs").await?;
    let node = stage.node()?;
    peer.kill().await?;
    pause(Duration::from_millis(100)).await;
    node.scripts.send("jobs", 1).await?;
    let other = stage.peer().await?;
    let got = other.take(&["jobs"]).await?;
    must(got == json!(["jobs", 1]), || format!("after the kill another client took {got}"))
}
