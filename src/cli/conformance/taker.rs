//! The tier of who takes what is there, without waiting.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::check::{Check, Outcome, check};
use super::sender::no_eval;
use super::stage::{Stage, must};

pub(super) const CHECKS: &[Check] = &[
    check!(Taker, "order", "messages come once, in the order of their sending, and then nothing", order),
    check!(
        Taker,
        "entries",
        "what is no entry or no message is dropped, and the next message comes",
        entries
    ),
    check!(Taker, "fairness", "no channel starves another one", fairness),
    check!(Taker, "R19", "scripts that a server forgot are loaded; none is sent as text", forgotten_scripts),
];

async fn order(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for number in 1..=3 {
        node.scripts.send("jobs", number).await?;
    }
    for due in [json!(["jobs", 1]), json!(["jobs", 2]), json!(["jobs", 3]), Value::Null] {
        let got = peer.take(&["jobs"]).await?;
        must(got == due, || format!("took {got} in place of {due}"))?;
    }
    Ok(())
}

async fn entries(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    let queue = node.scripts.key('q', "jobs");
    let () = node
        .scripts
        .command::<u64>(&["RPUSH", &queue, "short", "a text of another program"])
        .await
        .map(drop)?;
    node.scripts.push("jobs", b"m \xc1").await?;
    node.scripts.push("jobs", b"zwhat 1").await?;
    node.scripts.send("jobs", 7).await?;
    let got = peer.take(&["jobs"]).await?;
    must(got == json!(["jobs", 7]), || format!("took {got}"))?;
    let left = node.scripts.waiting("jobs").await?;
    must(left == 0, || format!("{left} entries are left"))
}

async fn fairness(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for _ in 0..40 {
        node.scripts.send("a", 1).await?;
        node.scripts.send("b", 2).await?;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let got = peer.take(&["a", "b"]).await?;
        seen.insert(got.get(0).and_then(Value::as_str).unwrap_or_default().to_owned());
        if seen.len() == 2 {
            return Ok(());
        }
    }
    Err(format!("40 messages came from {seen:?} alone"))
}

async fn forgotten_scripts(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for number in 1..=3 {
        node.scripts.send("jobs", number).await?;
        let () = node.scripts.command(&["SCRIPT", "FLUSH"]).await?;
        let got = peer.take(&["jobs"]).await?;
        must(got == json!(["jobs", number]), || format!("took {got}"))?;
    }
    no_eval(&node.tap)
}
