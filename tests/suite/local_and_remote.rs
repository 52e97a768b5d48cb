//! Two layers as one, with a server for each: where what goes, and that all options hold for both.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ChannelLayers, ConfigBuilder, ErrorKind, LocalAndRemote, Value,
};

use crate::support::{Server, Servers, unique_prefix};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two servers: of the local and of the remote half.
fn halves() -> [Arc<Server>; 2] {
    let servers = Servers::three();
    let [local, remote, ..] = servers.all() else { panic!("there are three servers") };
    [Arc::clone(local), Arc::clone(remote)]
}

/// The layer that a document names, whose `CONFIG` has these options.
async fn configured(config: serde_json::Value) -> Arc<dyn ChannelLayer> {
    let document = serde_json::json!({
        "default": {"BACKEND": "asgi_redis.RedisLocalChannelLayer", "CONFIG": config},
    });
    let mut layers: ChannelLayers = serde_json::from_value(document).unwrap();
    layers.take("default").unwrap().connect().await.unwrap()
}

async fn keys(server: &Server, prefix: &str) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}[qg]:*"))
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_document_makes_it_and_each_kind_of_channel_goes_to_its_half() {
    let [local, remote] = halves();
    let prefix = unique_prefix("local-and-remote");
    let config = serde_json::json!({"hosts": [remote.url()], "local": local.url(), "prefix": prefix});
    let layer = configured(config).await;
    let inbox = layer.open_inbox("in").await.unwrap();
    let mailbox = format!("{}ab", inbox.name());
    for channel in ["normal", "single?1", &mailbox] {
        layer.send(channel, &1).await.unwrap();
    }
    layer.group_add("room", "single?1").await.unwrap();
    let here = |names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>();
    assert_eq!(keys(&local, &prefix).await, here(&["q:normal"]));
    let inbox = format!("q:{}", inbox.name());
    assert_eq!(keys(&remote, &prefix).await, here(&["g:room", &inbox, "q:single?1"]));

    layer.flush().await.unwrap();
    assert!(keys(&local, &prefix).await.is_empty());
    // The owner of an inbox is told there that its groups are gone.
    assert_eq!(keys(&remote, &prefix).await, here(&[&inbox]));
    layer.close().await.unwrap();
    for channel in ["normal", "single?1"] {
        assert_eq!(layer.send(channel, &1).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn all_options_hold_for_both_halves() {
    let [local, remote] = halves();
    for local in [local.url(), "memory://".to_owned()] {
        let config = serde_json::json!({
            "hosts": [remote.url()],
            "local": local,
            "prefix": unique_prefix("local-options"),
            "capacity": 3,
            "channel_capacity": {"tiny*": 1},
            "expiry": 0.3,
            "max_message_size": 100,
            "max_channels_per_receive": 2,
        });
        let layer = configured(config).await;
        for (channel, tiny) in [("a", "tiny.a"), ("a?1", "tiny?1")] {
            let too_large = layer.send(channel, &"x".repeat(100)).await.unwrap_err();
            assert_eq!(too_large.kind(), ErrorKind::MessageTooLarge);
            for _ in 0..3 {
                layer.send(channel, &1).await.unwrap();
            }
            layer.send(tiny, &1).await.unwrap();
            for full in [channel, tiny] {
                assert_eq!(layer.send(full, &1).await.unwrap_err().kind(), ErrorKind::ChannelFull, "{full}");
            }
            let many = [1, 2, 3].map(|number| format!("{channel}{number}"));
            let refused = layer.try_receive::<Value>(many).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidName);
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        for channel in ["a", "a?1"] {
            assert!(layer.try_receive::<u64>([channel]).await.unwrap().is_none(), "{channel}");
        }
    }
}

#[tokio::test]
async fn a_receive_on_both_kinds_wakes_from_either_and_takes_one() {
    let [local, remote] = halves();
    let options = ConfigBuilder::new().prefix(unique_prefix("local-wakes"));
    let on_local = options.clone().hosts([local.url()]);
    let on_remote = options.hosts([remote.url()]);
    let layer =
        Arc::new(LocalAndRemote::new(on_local.connect().await.unwrap(), on_remote.connect().await.unwrap()));
    for number in 0..20_u64 {
        let waiting = tokio::spawn({
            let layer = Arc::clone(&layer);
            async move { layer.receive::<u64>(["normal", "single?1"]).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(number % 4 * 5)).await;
        let both = tokio::join!(layer.send("normal", &number), layer.send("single?1", &number));
        both.0.unwrap();
        both.1.unwrap();
        let (first, received) = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_eq!(received, number);
        let other = if first == "normal" { "single?1" } else { "normal" };
        let left = tokio::time::timeout(PATIENCE, layer.receive::<u64>([other])).await.unwrap();
        assert_eq!(left.unwrap().1, number, "the other one was not taken");
    }
    assert!(layer.try_receive::<u64>(["normal", "single?1"]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_normal_channel_is_no_member_and_the_error_says_what_is() {
    let options = ConfigBuilder::new().prefix(unique_prefix("local-member"));
    let layer = LocalAndRemote::new(options.in_memory().unwrap(), options.in_memory().unwrap());
    let refused = layer.group_add("room", "normal").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(
        refused.to_string().contains("\"normal\" is a normal channel")
            && refused.to_string().ends_with("add a mailbox or a `?` channel")
    );
    // One that is not in it is no error, as anywhere.
    layer.group_discard("room", "normal").await.unwrap();
    assert!(layer.channel_groups("normal").await.unwrap().is_empty());
}

#[tokio::test]
async fn one_half_that_is_down_does_not_stop_the_other() {
    let remote = Server::private();
    let options = ConfigBuilder::new().hosts([remote.url()]).prefix(unique_prefix("local-down"));
    let layer = LocalAndRemote::new(options.in_memory().unwrap(), options.connect().await.unwrap());
    remote.stop();
    let down = async { while layer.send("single?1", &1).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, down).await.unwrap();
    for number in 0..4_u64 {
        let receive = layer.receive::<u64>(["normal", "single?1"]);
        let send = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            layer.send("normal", &number).await.unwrap();
        };
        let (received, ()) =
            tokio::time::timeout(PATIENCE, async { tokio::join!(receive, send) }).await.unwrap();
        assert_eq!(received.unwrap().1, number);
        layer.send("normal", &number).await.unwrap();
        let taken = layer.try_receive::<u64>(["normal", "single?1"]).await.unwrap();
        assert_eq!(taken.unwrap().1, number);
    }
}
