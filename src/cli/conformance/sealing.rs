//! The tiers of who seals payloads, and who hides names too. The other side is a layer of this crate.

use std::collections::BTreeSet;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, RedisChannelLayer, Value as Message};
use serde_json::{Value, json};

use super::check::{Check, Outcome, check};
use super::stage::{SOON, Stage, brings, must};

pub(super) const CHECKS: &[Check] = &[
    check!(Sealing, "key", "messages open with any of the keys, and are sealed with the first", keys),
    check!(
        Sealing,
        "clear",
        "clear text is dropped where there are keys, and sealed text where there are none",
        clear
    ),
    check!(Sealing, "place", "a message that was moved to another channel is dropped", place),
    check!(Sealing, "nonce", "each message has a nonce of its own", nonces),
    check!(Hiding, "form", "names on the server are the forms of the contract", form),
    check!(
        Hiding,
        "everywhere",
        "no name stands on the server, and messages, inboxes and groups work",
        everywhere
    ),
    check!(Hiding, "clear", "a layer of this crate with the same keys understands it", hidden_both_ways),
];

const KEY: &str = "a key of thirty-two bytes or more";
const OTHER: &str = "another key of thirty-two bytes or more";
const NAME_KEY: &str = "a key of names, thirty-two bytes or more";

/// A layer of this crate on the servers of the stage.
async fn layer(stage: &Stage, keys: &[&str], name_key: Option<&str>) -> Result<RedisChannelLayer, String> {
    let mut options = ConfigBuilder::new()
        .hosts(stage.nodes.iter().map(|node| node.server.url()).collect::<Vec<_>>())
        .prefix(&stage.prefix)
        .symmetric_encryption_keys(keys.iter().copied());
    if let Some(name_key) = name_key {
        options = options.hide_names(name_key);
    }
    let config = options.build().map_err(|error| error.to_string())?;
    RedisChannelLayer::connect(config).await.map_err(|error| error.to_string())
}

/// What the layer receives on a channel.
async fn received(layer: &RedisChannelLayer, channel: &str) -> Result<Message, String> {
    let got = tokio::time::timeout(SOON, layer.receive::<Message>([channel])).await;
    let got = got.map_err(|_| format!("the layer received nothing on {channel}"))?;
    got.map(|(_, message)| message).map_err(|error| error.to_string())
}

async fn told<T>(work: impl Future<Output = asgi_redis::Result<T>>) -> Result<T, String> {
    work.await.map_err(|error| format!("the driver's own layer: {error}"))
}

async fn keys(stage: &Stage) -> Outcome {
    let peer = stage.peer_with(json!({ "keys": [KEY, OTHER] })).await?;
    let layer = layer(stage, &[KEY], None).await?;
    peer.send("jobs", &json!({ "n": 7 })).await?;
    must(received(&layer, "jobs").await? == Message::map([("n", 7)]), || "another message came".to_owned())?;
    let old = self::layer(stage, &[OTHER], None).await?;
    for (number, layer) in [(1, &layer), (2, &old)] {
        told(layer.send("work", &number)).await?;
        let mut pending = peer.receive(&["work"]).await?;
        brings(&mut pending, "work", &json!(number)).await?;
    }
    let stranger = self::layer(stage, &["a key that the peer does not have"], None).await?;
    told(stranger.send("work", &3)).await?;
    told(layer.send("work", &4)).await?;
    let mut pending = peer.receive(&["work"]).await?;
    brings(&mut pending, "work", &json!(4)).await
}

async fn clear(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let (sealed, open) = (stage.peer_with(json!({ "keys": [KEY] })).await?, stage.peer().await?);
    let layer = layer(stage, &[KEY], None).await?;
    node.scripts.send("jobs", 1).await?;
    told(layer.send("jobs", &2)).await?;
    let got = sealed.take(&["jobs"]).await?;
    must(got == json!(["jobs", 2]), || format!("a client with keys took {got}"))?;
    told(layer.send("jobs", &3)).await?;
    node.scripts.send("jobs", 4).await?;
    let got = open.take(&["jobs"]).await?;
    must(got == json!(["jobs", 4]), || format!("a client without keys took {got}"))
}

async fn place(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let peer = stage.peer_with(json!({ "keys": [KEY] })).await?;
    let layer = layer(stage, &[KEY], None).await?;
    told(layer.send("jobs", &1)).await?;
    let entry = node.scripts.take("jobs").await?.ok_or("the layer sent nothing")?;
    node.scripts.push("work", entry.get(18..).unwrap_or_default()).await?;
    // As if it had been sent to a group of the channel's name.
    let payload = entry.get(20..).unwrap_or_default();
    node.scripts.push("work", &[b"gjobs ", payload].concat()).await?;
    told(layer.send("work", &2)).await?;
    let got = peer.take(&["work"]).await?;
    must(got == json!(["work", 2]), || format!("took {got}"))?;
    let got = peer.take(&["work"]).await?;
    must(got == Value::Null, || format!("then took {got}"))
}

async fn nonces(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let peer = stage.peer_with(json!({ "keys": [KEY] })).await?;
    let mut nonces = BTreeSet::new();
    for _ in 0..20 {
        peer.send("jobs", &json!(1)).await?;
        let entry = node.scripts.take("jobs").await?.ok_or("nothing was sent")?;
        let payload = entry.get(20..).unwrap_or_default();
        must(payload.starts_with(&[0xc1, 1]), || "a payload does not begin with c1 01".to_owned())?;
        nonces.insert(payload.get(2..26).unwrap_or_default().to_vec());
    }
    must(nonces.len() == 20, || format!("20 messages have {} nonces", nonces.len()))
}

fn hiding() -> Value {
    json!({ "keys": [KEY], "name_key": NAME_KEY })
}

async fn form(stage: &Stage) -> Outcome {
    let (node, peer) = (stage.node()?, stage.peer_with(hiding()).await?);
    // Those of the contract.
    for (channel, queue) in [
        ("http.request", "EcDfltSwPCqJDYkjP7QKzYotPeWq9NGrhToLcC8izCg"),
        ("http.request.body?Xy12", "F177qZqyFzRg-IhMvYrN7bFjS1O34sSPQZU-cNhpT9XjHHGPMpqOOBFqJSmg5BkB?"),
        ("http.response.client7!ab12", "dvqpxeYebJY3Qq4B34V1OiW_B3WIL_C1I_Jm22870keED46WD1Pi_O3FSVHrWRgm!"),
    ] {
        peer.send(channel, &json!(1)).await?;
        let entry = node.scripts.take(queue).await?.ok_or_else(|| format!("nothing waits in {queue}"))?;
        if channel.contains('!') {
            let head = b"mLQINIdaIO9Fy1Fa05hD1c_8krqKjAa9pfUki8LJrlt0 ";
            must(entry.get(18..).is_some_and(|body| body.starts_with(head)), || {
                "the address is not hidden".to_owned()
            })?;
        }
    }
    Ok(())
}

async fn everywhere(stage: &Stage) -> Outcome {
    let (node, peer) = (stage.node()?, stage.peer_with(hiding()).await?);
    let inbox = peer.done("new_inbox", json!({ "stem": "chatroom" })).await?;
    let inbox = inbox.as_str().ok_or("new_inbox made no name")?;
    peer.done("group_add", json!({ "group": "lobby", "channel": format!("{inbox}address") })).await?;
    peer.done("group_send", json!({ "group": "lobby", "message": 1 })).await?;
    let mut pending = peer.receive(&[inbox]).await?;
    brings(&mut pending, &format!("{inbox}address"), &json!(1)).await?;
    peer.send("newspaper", &json!(2)).await?;
    let got = peer.take(&["newspaper"]).await?;
    must(got == json!(["newspaper", 2]), || format!("took {got}"))?;
    for word in ["chatroom", "lobby", "address", "newspaper"] {
        let is_in = |words: &Vec<Vec<u8>>| {
            words.iter().any(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes()))
        };
        // SCRIPT LOAD has the texts of the scripts.
        let seen = node.tap.seen();
        let shown = seen
            .iter()
            .filter(|seen| !seen.words.first().is_some_and(|verb| verb.eq_ignore_ascii_case(b"SCRIPT")));
        let found = shown.into_iter().any(|seen| is_in(&seen.words));
        must(!found, || format!("the name {word:?} went to the server"))?;
    }
    Ok(())
}

async fn hidden_both_ways(stage: &Stage) -> Outcome {
    let peer = stage.peer_with(hiding()).await?;
    let layer = layer(stage, &[KEY], Some(NAME_KEY)).await?;
    let inbox = peer.done("new_inbox", json!({ "stem": "chat" })).await?;
    let inbox = inbox.as_str().ok_or("new_inbox made no name")?;
    let channel = format!("{inbox}ab12");
    told(layer.group_add("room", &*channel)).await?;
    let _ = told(layer.group_send("room", &1)).await?;
    told(layer.send(&*channel, &2)).await?;
    for number in [1, 2] {
        let mut pending = peer.receive(&[inbox]).await?;
        brings(&mut pending, &channel, &json!(number)).await?;
    }
    told(layer.group_add("room", "news")).await?;
    peer.done("group_send", json!({ "group": "room", "message": 3 })).await?;
    must(received(&layer, "news").await? == Message::from(3), || "another message came".to_owned())?;
    let _ = tokio::time::timeout(Duration::from_secs(2), layer.close()).await;
    Ok(())
}
