//! The tier of several servers.

use serde_json::json;

use super::check::{Check, Outcome, check};
use super::scripts::{client_of, sha};
use super::stage::{SOON, Stage, brings, must, pause, until};

pub(super) const CHECKS: &[Check] = &[
    check!(Servers, "ring", "a ? channel and an inbox live on the server that the ring tells", ring, 3),
    check!(Servers, "shares", "the capacity of a channel is divided into shares, and is exact", shares, 3),
    check!(Servers, "R12", "a push that was perhaps executed is not tried on another server", lost_reply, 2),
    check!(
        Servers,
        "R17",
        "a ticket is finished on each server, and a surplus message goes back",
        surplus,
        2
    ),
    check!(Servers, "R5", "a client has a name of its own on each server", names, 2),
    check!(Servers, "down", "sends and receives go on while a server is down", down, 2),
];

async fn ring(stage: &Stage) -> Outcome {
    let peer = stage.peer().await?;
    // Those of the contract.
    for (channel, queue, home) in [
        ("http.request.body?Xy12", "http.request.body?Xy12", 1),
        ("http.response.client7!a", "http.response.client7!", 1),
        ("a?b", "a?b", 0),
    ] {
        peer.send(channel, &json!(1)).await?;
        for (server, node) in stage.nodes.iter().enumerate() {
            let waiting = node.scripts.waiting(queue).await?;
            let due = u64::from(server == if channel == "a?b" { home_of(queue) } else { home });
            must(waiting == due, || format!("server {server} has {waiting} messages of {channel}"))?;
        }
    }
    Ok(())
}

/// The server of a queue, of three.
fn home_of(queue: &str) -> usize {
    let mut owned: [Vec<usize>; 3] = [(0..4096).collect(), Vec::new(), Vec::new()];
    for new in 1..3 {
        for _ in 0..4096 / (new + 1) {
            let most = owned.iter().map(Vec::len).max().unwrap_or_default();
            let Some(richest) = owned.iter_mut().find(|points| points.len() == most) else { break };
            let Some(point) = richest.iter().copied().max() else { break };
            richest.retain(|other| *other != point);
            if let Some(points) = owned.get_mut(new) {
                points.push(point);
            }
        }
    }
    let point = crc32fast::hash(queue.as_bytes()) as usize % 4096;
    owned.iter().position(|points| points.contains(&point)).unwrap_or_default()
}

async fn shares(stage: &Stage) -> Outcome {
    let peer = stage.peer_with(json!({ "capacity": 5 })).await?;
    let mut sent = 0;
    for number in 0..8 {
        match peer.call("send", json!({ "channel": "http.request", "message": number })).await? {
            Ok(_) => sent += 1,
            Err(refusal) if refusal.kind == "full" => {}
            Err(refusal) => return Err(format!("a send ended with {refusal}")),
        }
    }
    must(sent == 5, || format!("{sent} of a capacity of 5 were sent"))?;
    let mut waiting = Vec::new();
    for node in &stage.nodes {
        waiting.push(node.scripts.waiting("http.request").await?);
    }
    must(waiting == [1, 2, 2], || format!("the servers have {waiting:?} of the shares [1, 2, 2]"))
}

async fn lost_reply(stage: &Stage) -> Outcome {
    let peer = stage.peer().await?;
    for number in 0..6 {
        peer.send("warm", &json!(number)).await?;
    }
    for node in &stage.nodes {
        node.tap.trap(sha("push").as_bytes());
    }
    let mut sent = peer.ask("send", json!({ "channel": "jobs", "message": 99 })).await?;
    let count = async || -> Result<u64, String> {
        let mut all = 0;
        for node in &stage.nodes {
            all += node.scripts.waiting("jobs").await?;
        }
        Ok(all)
    };
    until(SOON, || "the push was not executed".to_owned(), async || Ok(count().await? > 0)).await?;
    pause(std::time::Duration::from_millis(200)).await;
    for node in &stage.nodes {
        node.tap.cut().await;
        node.tap.pass();
    }
    let answer = sent.within(SOON * 3).await?;
    pause(std::time::Duration::from_secs(1)).await;
    let all = count().await?;
    must(all == 1, || format!("the message is there {all} times"))?;
    match answer {
        Err(refusal) if refusal.kind == "perhaps_sent" => Ok(()),
        other => Err(format!("the caller was told {other:?}, not \"perhaps_sent\"")),
    }
}

async fn surplus(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    for node in &stage.nodes {
        node.tap.hold_replies();
    }
    for (number, node) in (1..).zip(&stage.nodes) {
        node.scripts.send("jobs", number).await?;
    }
    for node in &stage.nodes {
        node.tap.pass();
    }
    let got = pending.within(SOON).await?.map_err(|refusal| format!("the receive ended with {refusal}"))?;
    until(
        SOON,
        || format!("{got} was received, and the other message did not come back"),
        async || {
            for node in &stage.nodes {
                if node.scripts.take("jobs").await?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        },
    )
    .await?;
    for (server, node) in stage.nodes.iter().enumerate() {
        let client = client_of(&node.tap)?;
        until(
            SOON,
            || format!("the ticket is still on server {server}"),
            async || Ok(node.scripts.tickets(&client).await?.is_empty()),
        )
        .await?;
    }
    Ok(())
}

async fn names(stage: &Stage) -> Outcome {
    let (_peer, mut pending) = stage.waiting("jobs").await?;
    let [one, two] = &stage.nodes[..] else { return Err("the stage has not two servers".to_owned()) };
    let (first, second) = (client_of(&one.tap)?, client_of(&two.tap)?);
    must(first != second, || "the client has one name on both servers".to_owned())?;
    two.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await
}

async fn down(stage: &Stage) -> Outcome {
    let (peer, mut pending) = stage.waiting("jobs").await?;
    let [one, two] = &stage.nodes[..] else { return Err("the stage has not two servers".to_owned()) };
    one.server.kill();
    two.scripts.send("jobs", 1).await?;
    brings(&mut pending, "jobs", &json!(1)).await?;
    for number in 2..6 {
        peer.send("jobs", &json!(number)).await?;
    }
    let waiting = two.scripts.waiting("jobs").await?;
    must(waiting == 4, || format!("the server that is up has {waiting} of 4 messages"))?;
    let mut pending = peer.receive(&["jobs"]).await?;
    brings(&mut pending, "jobs", &json!(2)).await
}
