//! The rights: a layer lives a whole life as a user that has them, and uses each.

use std::collections::BTreeMap;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer};

use super::{PATIENCE, ask, give_back, keys, section, time, until};
use crate::support::{Add, Change, Discard, GroupSend, Place, Pop, Push, Scripts, Server, calls, connect};

/// The command of the section on rights, in words.
fn rights() -> Vec<&'static str> {
    let (_, rest) = section("## Rights").split_once("```text\n").unwrap();
    rest.split_once("```").unwrap().0.split_whitespace().collect()
}

#[tokio::test]
async fn the_published_rights_are_enough_and_none_is_there_for_nothing() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let () = ask(&mut admin, &rights()).await;
    let () = ask(&mut admin, &["ACL", "SETUSER", "default", "off"]).await;
    let url = format!("redis://asgi:secret@{}", server.address());
    let layer = RedisChannelLayer::builder().hosts([&*url]).connect().await.unwrap();

    // An ordered send, and a receive that waits across a reconnection.
    layer.send("body?1", "first").await.unwrap();
    assert_eq!(received(&layer, "body?1").await, "first");
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<String>(["a", "b"]).await.unwrap().1 }
    });
    until(&mut admin, &["EXISTS", "asgi:w:b"], 1).await;
    let _: i64 = ask(&mut admin, &["CLIENT", "KILL", "USER", "asgi"]).await;
    // The first may be written to the connection that was killed, before its end is seen, and nobody knows what became of it.
    // If it was sent all the same, the flush below takes the second copy.
    let sent = async {
        while layer.send("b", "second").await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "second");

    // A dropped receive.
    give_back(&layer, &mut admin, "asgi:").await;
    assert_eq!(received(&layer, "returned").await, "message");

    // A full channel, before and after its message expires.
    let small = RedisChannelLayer::builder()
        .hosts([&*url])
        .capacity(1)
        .inbox_capacity(1)
        .expiry(Duration::from_secs(1));
    let small = small.connect().await.unwrap();
    layer.send("full", "third").await.unwrap();
    assert_eq!(small.send("full", "refused").await.unwrap_err().kind(), ErrorKind::ChannelFull);
    small.send("short", "fourth").await.unwrap();
    // The list outlives its first message, whose place is then free; on a slow machine it was perhaps gone before.
    while ask::<i64>(&mut admin, &["PERSIST", "asgi:q:short"]).await == 0 {
        small.send("short", "fourth").await.unwrap();
    }
    let (seconds, _): (u64, u64) = time(&mut admin).await;
    while time(&mut admin).await.0 < seconds + 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    small.send("short", "fifth").await.unwrap();

    // A message that expires behind one that lives longer.
    let pair = RedisChannelLayer::builder().hosts([&*url]).capacity(2).inbox_capacity(2);
    let [long, short] = [pair.clone(), pair.expiry(Duration::from_millis(50))];
    let [long, short] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    long.send("mixed", "sixth").await.unwrap();
    short.send("mixed", "seventh").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    long.send("mixed", "eighth").await.unwrap();
    until(&mut admin, &["EXISTS", "asgi:x:mixed"], 0).await;
    for layer in [long, short] {
        layer.close().await.unwrap();
    }

    use_groups(&url).await;
    use_drain(&url).await;
    assert!(layer.health().await[0].is_up());

    layer.flush().await.unwrap();
    small.close().await.unwrap();
    layer.close().await.unwrap();
    let left = keys(&mut admin, "asgi:").await;
    assert!(
        left.iter().all(|key| key.starts_with("asgi:c:") || key == "asgi:schema" || key == "asgi:p:batch"),
        "{left:?}"
    );

    let refused: Vec<BTreeMap<String, redis::Value>> = ask(&mut admin, &["ACL", "LOG"]).await;
    let refused: Vec<String> = refused.iter().map(|entry| format!("{:?}", entry["object"])).collect();
    let unexpected: Vec<&String> = refused.iter().filter(|what| !what.contains("client|setinfo")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    for right in rights().iter().filter_map(|word| word.strip_prefix('+')) {
        assert_ne!(calls(&mut admin, right).await, 0, "+{right} was never used");
    }
}

/// A group's life and that of an inbox, by hand.
async fn use_groups(url: &str) {
    let connection = connect(url).await;
    let scripts = Scripts::new(connection, "asgi:");
    scripts.load().await;
    scripts.inbox_keep("in!", "owner", 60_000, &["slow"], &["quick"]).await;
    scripts.group_add(&Add::to("room", &["in!a", "in!b", "news"])).await;
    // Of eight groups that are new to a queue one looks at others.
    let new =
        (0..8).fold(Change::of("in!"), |change, number| change.join(&format!("hall{number}"), "a", 60_000));
    scripts.change(&new).await;
    scripts.group_send(&GroupSend::to("room", "hi")).await;
    scripts.push(&Push::to("in!", &["mslow direct"])).await;
    // Few that are full are compared, many are asked for.
    scripts.inbox_keep("in!", "owner", 60_000, &["b", "c", "d", "e", "f"], &[]).await;
    scripts.push(&Push::to("in!", &["mslow direct"])).await;
    scripts.pop(None, 0, &Pop::new().attempt(1, &["in!"])).await;
    scripts.group_len_step("room", "", 100).await;
    scripts.group_list_step("room", "", "0").await;
    scripts.channel_groups_step("in!a", "").await;
    // A page begins at a member, and at one that has left.
    let end: u64 = scripts.ask(redis::cmd("ZSCORE").arg("asgi:m:room in!").arg("a")).await;
    for address in ["a", "gone"] {
        scripts.inbox_page("in!", "owner", 2, &Place::new("room", end, address)).await;
    }
    // What a repair finds gone is put right.
    let repair = Change::of("in!").join_unless_in("room", "a", end).leave_if("room", "a", end).begin();
    scripts.change(&repair).await;
    scripts.group_discard(&Discard::from("room", &["in!a"])).await;
    scripts.group_leave_step("news", None, "").await;
    assert_eq!(scripts.inbox_close_step("in!", "owner").await, Some(0));
}

/// A queue that is taken out of one layer and put into another on the same server.
async fn use_drain(url: &str) {
    let connection = connect(url).await;
    let scripts = Scripts::new(connection, "asgi:");
    scripts.push(&Push::to("moved", &["m 1"])).await;
    scripts.queue_list_step("0", 1000).await;
    let taken = scripts.drain_take("moved", "batch", "there").await.unwrap();
    scripts.drain_put("moved", &taken).await;
    scripts.drain_done("moved", "batch").await;
    let mark: i64 = scripts.ask(redis::cmd("EXISTS").arg("asgi:p:batch")).await;
    assert_eq!(mark, 1);
}

async fn received(layer: &RedisChannelLayer, channel: &str) -> String {
    let received = layer.receive_timeout::<String>([channel], PATIENCE).await.unwrap();
    received.unwrap_or_else(|| panic!("nothing came on {channel}")).1
}
