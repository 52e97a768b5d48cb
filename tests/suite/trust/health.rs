//! A server that takes no writes is not up, whatever it answers otherwise, and though nobody sends.

use std::time::Duration;

use asgi_redis::{ChannelLayerExt, RedisChannelLayer, ShardHealth};

use super::{MOMENT, options, prefix_of, promptly, until};
use crate::support::{Server, Warnings};

async fn idle_layer(server: &Server, test: &str) -> RedisChannelLayer {
    let layer = options([server.url()], test).connect().await.unwrap();
    assert!(layer.health().await[0].is_up());
    layer
}

/// The layer has done nothing since the server changed: asking for its health is what finds it.
async fn tells_down(layer: &RedisChannelLayer, why: &str) {
    let health: ShardHealth = layer.health().await.remove(0);
    assert!(!health.is_up(), "a server that takes no writes is up: {health:?}");
    until("the cause is named", async || {
        let health = layer.health().await.remove(0);
        assert!(!health.is_up(), "a server that takes no writes is up: {health:?}");
        health.error().is_some_and(|error| error.to_string().contains(why))
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_not_up() {
    let server = Server::replicating();
    let layer = idle_layer(&server, "health-replica").await;
    server.follow_nobody_reachable().await;
    tells_down(&layer, "replica").await;
    server.lead().await;
    until("it is up", async || layer.health().await[0].is_up()).await;
}

#[tokio::test]
async fn a_server_without_memory_is_not_up() {
    let server = Server::process(&[]);
    let layer = idle_layer(&server, "health-memory").await;
    server.tell(&["CONFIG", "SET", "maxmemory", "100kb"]).await;
    tells_down(&layer, "memory").await;
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until("it is up", async || layer.health().await[0].is_up()).await;
    layer.send("jobs", &1).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_more_replicas_than_it_has_is_not_up() {
    let server = Server::process(&[]);
    let layer = idle_layer(&server, "health-replicas").await;
    server.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    tells_down(&layer, "NOREPLICAS").await;
}

#[tokio::test]
async fn a_server_that_cannot_save_is_not_up() {
    let server = Server::process(&["--dbfilename", "folder"]);
    let layer = idle_layer(&server, "health-disk").await;
    server.tell(&["CONFIG", "SET", "save", "3600 1"]).await;
    // Its snapshots fail: the file's name is that of a folder.
    let (_, folder): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("dir").query_async(&mut server.connection().await).await.unwrap();
    std::fs::create_dir(format!("{folder}/folder")).unwrap();
    server.tell(&["BGSAVE"]).await;
    until("the snapshot fails", async || {
        let info: String =
            redis::cmd("INFO").arg("persistence").query_async(&mut server.connection().await).await.unwrap();
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    tells_down(&layer, "MISCONF").await;
}

/// The user of a layer loses a right while the layer is idle.
async fn tells_a_missing_right(rule: &str, names: &str) {
    let server = Server::process(&[]);
    let layer = idle_layer(&server, "health-rights").await;
    server.tell(&["ACL", "SETUSER", "admin", "on", "nopass", "+@all", "~*", "&*"]).await;
    server.tell(&["ACL", "SETUSER", "default", rule]).await;
    tells_down(&layer, names).await;
}

#[tokio::test]
async fn a_user_that_may_not_append_is_not_up() {
    tells_a_missing_right("-rpush", "rpush").await;
}

#[tokio::test]
async fn a_user_that_may_not_publish_is_not_up() {
    tells_a_missing_right("-publish", "publish").await;
}

#[tokio::test]
async fn a_user_that_may_not_touch_the_keys_is_not_up() {
    tells_a_missing_right("resetkeys", "key").await;
}

#[tokio::test]
async fn a_user_that_may_not_use_the_wake_channels_is_not_up() {
    tells_a_missing_right("resetchannels", "channel").await;
}

/// What a layer warns of when it connects.
async fn warnings_at_connect(url: &str) -> (RedisChannelLayer, String) {
    let (told, _listening) = Warnings::listen();
    let layer = options([url], "evicts").connect().await.unwrap();
    // It tells a second later, so that it asks for nothing that short programs do not need.
    tokio::time::sleep(Duration::from_secs(1) + 2 * MOMENT).await;
    (layer, told.text())
}

#[tokio::test]
async fn a_server_that_removes_keys_when_it_is_full_is_told_at_connect_and_in_its_health() {
    let server = Server::process(&["--maxmemory", "100mb"]);
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        server.tell(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let (layer, told) = warnings_at_connect(&server.url()).await;
        assert!(told.contains(policy) && told.contains("set its maxmemory-policy to noeviction"), "{told}");
        assert_eq!(layer.health().await[0].eviction_policy(), Some(policy));
    }
    // One that refuses writes instead, one without a bound, and one that does not let its user ask.
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let (layer, told) = warnings_at_connect(&server.url()).await;
    assert_eq!((layer.health().await[0].eviction_policy(), &*told), (None, ""));
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    server.tell(&["ACL", "SETUSER", "worker", "on", "nopass", "+@all", "-info", "~*", "&*"]).await;
    let restricted = server.url().replace("redis://", "redis://worker:any@");
    let (layer, told) = warnings_at_connect(&restricted).await;
    let health = layer.health().await;
    assert_eq!((health[0].is_up(), health[0].eviction_policy(), &*told), (true, None, ""));
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let (_, told) = warnings_at_connect(&server.url()).await;
    assert_eq!(told, "");
}

#[tokio::test]
async fn who_waits_at_a_server_that_removes_keys_is_not_deaf_until_the_beat() {
    let server = Server::process(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let options = options([server.url()], "evicted-line");
    let [layer, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let mut admin = server.connection().await;
    tokio::time::sleep(Duration::from_secs(1) + 2 * MOMENT).await;
    for kinds in [&["w"][..], &["c"], &["w", "c"]] {
        let waits = tokio::spawn({
            let layer = layer.clone();
            async move { layer.receive::<u64>("jobs").await }
        });
        until("it waits", async || {
            layer.survey().await[0].as_ref().unwrap().waiting().get("jobs") == Some(&1)
        })
        .await;
        // As the server would when it is full.
        for kind in kinds {
            let pattern = format!("{}{kind}:*", prefix_of(&options));
            let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut admin).await.unwrap();
            assert!(!keys.is_empty(), "{kind}");
            let () = redis::cmd("DEL").arg(keys).query_async(&mut admin).await.unwrap();
        }
        sender.send("jobs", &7).await.unwrap();
        let (_, message) = promptly("the message", waits).await.unwrap().unwrap();
        assert_eq!(message, 7, "without {kinds:?}");
    }
}
