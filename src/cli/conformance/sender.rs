//! The tier of who sends.

use std::time::Duration;

use serde_json::{Value, json};

use super::check::{Check, Outcome, check};
use super::scripts::{calls_of, client_of};
use super::stage::{SOON, Stage, must, pause, until};
use super::tap::Tap;
use crate::cli::json as messages;

pub(super) const CHECKS: &[Check] = &[
    check!(
        Sender,
        "entries",
        "a body is kind, address, space and MessagePack; bytes and texts differ",
        entries
    ),
    check!(Sender, "names", "a name that is none is refused before anything is written", names),
    check!(Sender, "capacity", "a full channel is told, and one with room again is not", capacity),
    check!(Sender, "schema", "data of another schema are refused and not touched", schema),
    check!(
        Sender,
        "R5",
        "a client has a name of 32 hex digits of its own, and its generation rises",
        identity
    ),
    check!(Sender, "R12", "a push whose reply is lost is told as such, and never sent again", lost_reply),
    check!(
        Sender,
        "R15",
        "a push to a ? channel that was delayed on an old connection changes nothing",
        fence
    ),
    check!(Sender, "R19", "scripts that a server forgot are loaded; none is sent as text", forgotten_scripts),
    check!(Sender, "R32", "members join and leave by the scripts alone", members),
    check!(Sender, "R36", "the numbers of calls rise, and none is used twice", call_numbers),
];

async fn entries(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    let message = r#"{"text":"hi","n":[1,-7,null,true,2.5],"b":{"$bytes":"AP8="},"e":""}"#;
    let json: Value = serde_json::from_str(message).map_err(|error| error.to_string())?;
    for (channel, queue, head) in
        [("jobs", "jobs", "m "), ("body?1", "body?1", "m "), ("chat.7f!ab12", "chat.7f!", "mab12 ")]
    {
        peer.send(channel, &json).await?;
        let entry = node.scripts.take(queue).await?.ok_or_else(|| format!("nothing waits in {queue}"))?;
        let body = entry.get(18..).unwrap_or_default();
        let payload = body.strip_prefix(head.as_bytes()).ok_or_else(|| {
            format!(
                "a body for {channel} begins {:?}",
                String::from_utf8_lossy(body.get(..10).unwrap_or(body))
            )
        })?;
        let got: asgi_redis::Value = rmp_serde::from_slice(payload)
            .map_err(|error| format!("the payload is no MessagePack: {error}"))?;
        let got = serde_json::to_value(messages::Json(&got)).map_err(|error| error.to_string())?;
        must(got == json, || format!("the payload holds {got}"))?;
    }
    Ok(())
}

async fn names(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for name in ["", "a b", "a!b!c", "a?", "a!", "\u{e4}", "a\n", "a:b", &"n".repeat(101)] {
        match peer.call("send", json!({ "channel": name, "message": 1 })).await? {
            Err(refusal) if refusal.kind == "invalid" => {}
            other => return Err(format!("a send to {name:?} was answered {other:?}, not \"invalid\"")),
        }
    }
    let pushes = calls_of(&node.tap, "push", 0).len();
    must(pushes == 0, || format!("{pushes} pushes were made"))
}

async fn capacity(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer_with(json!({ "capacity": 2 })).await?, stage.node()?);
    for number in [1, 2] {
        peer.send("jobs", &json!(number)).await?;
    }
    let third = peer.call("send", json!({ "channel": "jobs", "message": 3 })).await?;
    must(third.as_ref().is_err_and(|refusal| refusal.kind == "full"), || {
        format!("the third of two ended with {third:?}")
    })?;
    node.scripts.take("jobs").await?;
    peer.send("jobs", &json!(4)).await?;
    let waiting = node.scripts.waiting("jobs").await?;
    must(waiting == 2, || format!("{waiting} messages wait"))
}

async fn schema(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let key = format!("{}schema", stage.prefix);
    let () = node.scripts.command(&["SET", &key, "2"]).await?;
    let (peer, opened) = stage.opened(json!({})).await?;
    if opened.is_ok() {
        let sent = peer.call("send", json!({ "channel": "jobs?1", "message": 1 })).await?;
        must(sent.is_err(), || "a message was sent to data of schema 2".to_owned())?;
    }
    let keys: Vec<String> = node.scripts.command(&["KEYS", "*"]).await?;
    must(keys == [key], || format!("the keys are {keys:?}"))
}

async fn identity(stage: &Stage) -> Outcome {
    let node = stage.node()?;
    let mut names = Vec::new();
    for _ in 0..2 {
        let peer = stage.peer().await?;
        let mark = node.tap.mark();
        peer.send("a?b", &json!(1)).await?;
        let first = client_of(&node.tap)?;
        node.tap.cut().await;
        // The first one may find the connection broken.
        let _ = peer.call("send", json!({ "channel": "a?b", "message": 2 })).await?;
        peer.send("a?b", &json!(3)).await?;
        let hellos = calls_of(&node.tap, "hello", mark);
        let generations: Vec<u64> = calls_of(&node.tap, "hello", 0)
            .iter()
            .filter(|hello| hello.keys.first().is_some_and(|key| key.ends_with(&first)))
            .map(|hello| hello.argument(0).parse().unwrap_or_default())
            .collect();
        must(generations.is_sorted_by(|one, next| one < next) && generations.len() >= 2, || {
            format!("the generations of a client are {generations:?}")
        })?;
        must(hellos.iter().all(|hello| hello.keys.first().is_some_and(|key| key.ends_with(&first))), || {
            "a client changed its name".to_owned()
        })?;
        let is_name = first.len() == 32
            && first.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        must(is_name, || format!("a client has the name {first:?}"))?;
        names.push(first);
    }
    must(names.first() != names.last(), || "two clients have one name".to_owned())
}

/// How often a push with this payload was written.
fn pushes(tap: &Tap, payload: u8) -> usize {
    let has = |body: &Vec<u8>| body.ends_with(&[b' ', payload]);
    calls_of(tap, "push", 0).iter().filter(|push| push.arguments.iter().any(has)).count()
}

async fn lost_reply(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    peer.send("jobs", &json!(1)).await?;
    node.scripts.take("jobs").await?;
    node.tap.trap(super::scripts::sha("push").as_bytes());
    let mut sent = peer.ask("send", json!({ "channel": "jobs", "message": 99 })).await?;
    node.tap.caught().await?;
    until(
        SOON,
        || "the push was not executed".to_owned(),
        async || Ok(node.scripts.waiting("jobs").await? > 0),
    )
    .await?;
    node.tap.cut().await;
    node.tap.pass();
    let answer = sent.within(SOON * 3).await?;
    pause(Duration::from_secs(1)).await;
    let (waiting, written) = (node.scripts.waiting("jobs").await?, pushes(&node.tap, 99));
    must((waiting, written) == (1, 1), || format!("it was written {written} times, and {waiting} wait"))?;
    match answer {
        Err(refusal) if refusal.kind == "perhaps_sent" => Ok(()),
        other => Err(format!("the caller was told {other:?}, not \"perhaps_sent\"")),
    }
}

async fn fence(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    peer.send("a?b", &json!(1)).await?;
    node.tap.hold_commands();
    let mut delayed = peer.ask("send", json!({ "channel": "a?b", "message": 2 })).await?;
    until(SOON, || "the push was not written".to_owned(), async || Ok(pushes(&node.tap, 2) > 0)).await?;
    node.tap.cut().await;
    let _ = delayed.within(SOON * 3).await?;
    // It may find the connection broken once.
    if peer.call("send", json!({ "channel": "a?b", "message": 3 })).await?.is_err() {
        peer.send("a?b", &json!(3)).await?;
    }
    let late = node.tap.deliver_late().await?;
    must(late > 0, || "the driver held no call".to_owned())?;
    let mut got = Vec::new();
    while let Some(entry) = node.scripts.take("a?b").await? {
        got.push(entry.last().copied().unwrap_or_default());
    }
    must(got == [1, 3], || format!("the channel has {got:?}, and 2 was delayed on a connection that is gone"))
}

async fn forgotten_scripts(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    for (number, channel) in [(1, "jobs"), (2, "a?b"), (3, "jobs")] {
        let () = node.scripts.command(&["SCRIPT", "FLUSH"]).await?;
        peer.send(channel, &json!(number)).await?;
    }
    let waiting = (node.scripts.waiting("jobs").await?, node.scripts.waiting("a?b").await?);
    must(waiting == (2, 1), || format!("{waiting:?} messages wait, of 2 and 1"))?;
    no_eval(&node.tap)
}

/// No script was sent as text.
pub(super) fn no_eval(tap: &Tap) -> Outcome {
    let is_eval =
        |word: &Vec<u8>| word.eq_ignore_ascii_case(b"EVAL") || word.eq_ignore_ascii_case(b"EVAL_RO");
    let found = tap.seen().iter().any(|seen| seen.words.first().is_some_and(is_eval));
    must(!found, || "EVAL was called".to_owned())
}

async fn members(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    let member = json!({ "group": "room", "channel": "news" });
    peer.done("group_add", member.clone()).await?;
    let delivered = node.scripts.group_send("room", 1).await?;
    must(delivered == 1, || format!("a message to the group went to {delivered} queues after a join"))?;
    peer.done("group_send", json!({ "group": "room", "message": 7 })).await?;
    node.scripts.take("news").await?;
    let entry = node.scripts.take("news").await?.unwrap_or_default();
    must(entry.get(18..) == Some(b"groom \x07"), || format!("a group's message is {entry:?}"))?;
    peer.done("group_discard", member).await?;
    let delivered = node.scripts.group_send("room", 2).await?;
    must(delivered == 0, || format!("a message to the group went to {delivered} queues after a leave"))?;
    let allowed = [
        "HELLO",
        "AUTH",
        "SELECT",
        "CLIENT",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "EVALSHA",
        "SCRIPT",
        "TIME",
        "PING",
        "INFO",
        "ROLE",
        "GET",
        "EXISTS",
        "QUIT",
        "COMMAND",
        "CONFIG",
    ];
    let seen = node.tap.seen();
    let mut verbs = seen
        .iter()
        .filter_map(|seen| seen.words.first())
        .map(|verb| String::from_utf8_lossy(verb).to_uppercase());
    verbs
        .find(|verb| !allowed.contains(&&**verb))
        .map_or(Ok(()), |verb| Err(format!("the client called {verb}")))
}

async fn call_numbers(stage: &Stage) -> Outcome {
    let (peer, node) = (stage.peer().await?, stage.node()?);
    let mut asked = Vec::new();
    for number in 0..20 {
        let member = json!({ "group": "room", "channel": format!("other!a{number}") });
        asked.push(peer.ask("group_add", member).await?);
        if number == 10 {
            pause(Duration::from_millis(100)).await;
            let () = node.scripts.command(&["SCRIPT", "FLUSH"]).await?;
        }
    }
    for mut one in asked {
        one.within(SOON).await?.map_err(|refusal| format!("a join ended with {refusal}"))?;
    }
    let entries: Vec<Vec<u8>> =
        node.scripts.command(&["LRANGE", &node.scripts.key('q', "other!"), "0", "-1"]).await?;
    let mut last = None;
    for entry in entries {
        let text = String::from_utf8_lossy(entry.get(18..).unwrap_or_default()).into_owned();
        let tag = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let call = tag.rsplit_once(':').and_then(|(_, call)| call.parse::<u64>().ok());
        must(call.is_none() || call > last, || format!("the call of {text:?} is not above {last:?}"))?;
        last = call.or(last);
    }
    Ok(())
}
