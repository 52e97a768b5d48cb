//! A server that denies its user a right counts as down for what can go to another server, and is used again soon after it
//! grants the right.

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, RedisChannelLayer};

use super::{MOMENT, PATIENCE, PROMPTLY, options, prefix_of, promptly, until};
use crate::support::Server;

/// A command of each kind of script.
const RIGHTS: [&str; 5] = ["publish", "rpush", "zrem", "hset", "evalsha"];

/// Two servers, of which the second has a user of its own.
async fn two_servers(test: &str) -> (Server, Server, ConfigBuilder) {
    let (good, bad) = (Server::process(&[]), Server::process(&[]));
    bad.tell(&["ACL", "SETUSER", "worker", "on", "nopass", "+@all", "~*", "&*"]).await;
    let restricted = bad.url().replace("redis://", "redis://worker:any@");
    let options = options([good.url(), restricted], test);
    (good, bad, options)
}

async fn set_right(server: &Server, rule: &str) {
    server.tell(&["ACL", "SETUSER", "worker", rule]).await;
}

async fn is_told(layer: &RedisChannelLayer) -> bool {
    let health = layer.health().await;
    let denied = health[1].error().map(asgi_redis::Error::kind);
    health[0].is_up() && (denied == Some(ErrorKind::Rights) || denied == Some(ErrorKind::Connection))
}

#[tokio::test]
async fn a_layer_connects_though_one_of_its_servers_denies_it_a_right() {
    let (_good, bad, options) = two_servers("denied-at-first").await;
    for right in RIGHTS {
        set_right(&bad, &format!("-{right}")).await;
        let layer = options.connect().await.unwrap();
        for number in 0..20_u64 {
            layer.send("jobs", &number).await.unwrap();
        }
        for _ in 0..20 {
            promptly("a message", layer.receive::<u64>("jobs")).await.unwrap();
        }
        assert!(is_told(&layer).await, "-{right}: {:?}", layer.health().await);
        set_right(&bad, &format!("+{right}")).await;
        until("the server is up", async || layer.health().await[1].is_up()).await;
        layer.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_right_that_is_taken_from_one_server_fails_no_send_and_no_receive() {
    let (_good, bad, options) = two_servers("denied-later").await;
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    for right in RIGHTS {
        set_right(&bad, &format!("-{right}")).await;
        for number in 0..20_u64 {
            sender.send("jobs", &number).await.unwrap();
        }
        for _ in 0..20 {
            let received = promptly("a message", receiver.receive::<u64>("jobs")).await;
            received.unwrap_or_else(|error| panic!("-{right}: {error}"));
        }
        assert!(receiver.try_receive::<u64>("jobs").await.unwrap().is_none());
        set_right(&bad, &format!("+{right}")).await;
        until("both use the server again", async || {
            receiver.health().await[1].is_up() && sender.health().await[1].is_up()
        })
        .await;
    }
}

#[tokio::test]
async fn a_receive_that_waited_on_a_server_through_the_lack_of_a_right_is_served_by_it_soon_after() {
    let (_good, bad, options) = two_servers("denied-while-waiting").await;
    let receiver = options.connect().await.unwrap();
    let only_bad = options.clone().hosts([bad.url()]).connect().await.unwrap();
    for right in ["publish", "evalsha"] {
        let waiting = tokio::spawn({
            let receiver = receiver.clone();
            async move { receiver.receive::<u64>("jobs").await }
        });
        tokio::time::sleep(MOMENT).await;
        set_right(&bad, &format!("-{right}")).await;
        // Its next call finds it.
        assert!(receiver.try_receive::<u64>("other").await.unwrap().is_none());
        tokio::time::sleep(MOMENT).await;
        assert!(!waiting.is_finished(), "-{right}: the other server serves it");
        set_right(&bad, &format!("+{right}")).await;
        only_bad.send("jobs", &7).await.unwrap();
        assert_eq!(promptly("the message", waiting).await.unwrap().unwrap().1, 7);
    }
}

#[tokio::test]
async fn where_all_servers_deny_the_right_a_receive_fails_by_its_name() {
    let (good, bad, options) = two_servers("denied-by-all").await;
    let layer = options.connect().await.unwrap();
    for server in [&good, &bad] {
        server.tell(&["ACL", "SETUSER", "admin", "on", "nopass", "+@all", "~*", "&*"]).await;
    }
    good.tell(&["ACL", "SETUSER", "default", "-zadd"]).await;
    set_right(&bad, "-zadd").await;
    let error = promptly("the refusal", layer.receive::<u64>("jobs")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rights, "{error}");
    assert!(error.to_string().contains("grant +zadd"), "{error}");
}

#[tokio::test]
async fn the_reader_of_an_inbox_goes_on_when_the_server_does_and_not_with_the_next_beat() {
    let server = Server::process(&[]);
    server.tell(&["ACL", "SETUSER", "worker", "on", "nopass", "+@all", "~*", "&*"]).await;
    let url = server.url().replace("redis://", "redis://worker:any@");
    let options = options([url], "reader-denied");
    let owner = options.connect().await.unwrap();
    let sender = options.clone().hosts([server.url()]).connect().await.unwrap();
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    for (number, right) in (0_u64..).zip(["lrange", "hget", "evalsha"]) {
        set_right(&server, &format!("-{right}")).await;
        let _ = sender.send(mailbox.name(), &number).await;
        tokio::time::sleep(MOMENT).await;
        set_right(&server, &format!("+{right}")).await;
        sender.send_wait(mailbox.name(), &(100 + number), PATIENCE).await.unwrap();
        let received = tokio::time::timeout(PROMPTLY, async {
            while mailbox.receive::<u64>().await.unwrap() != 100 + number {}
        });
        received.await.unwrap_or_else(|_| panic!("-{right}: nothing within {PROMPTLY:?}"));
    }
    // Another program's key in the place of the inbox.
    let queue = format!("{}q:{}", prefix_of(&options), inbox.name());
    server.tell(&["SET", &queue, "foreign"]).await;
    tokio::time::sleep(MOMENT).await;
    server.tell(&["DEL", &queue]).await;
    sender.send(mailbox.name(), &200).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 200);
}
