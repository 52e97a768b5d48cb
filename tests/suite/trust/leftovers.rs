//! What clients leave on the server when they are closed.

use asgi_redis::{ChannelLayer, ChannelLayerExt};

use super::{MOMENT, keys, options, prefix_of, promptly, until};
use crate::support::{Proxy, Server};

/// How many programs come and go.
const PROGRAMS: usize = 20;

#[tokio::test]
async fn short_programs_that_send_leave_no_key_of_theirs() {
    let server = Server::process(&[]);
    let options = options([server.url()], "short-senders");
    for number in 0..PROGRAMS {
        let layer = options.connect().await.unwrap();
        layer.send("jobs", &number).await.unwrap();
        layer.send("body?1", &number).await.unwrap();
        layer.close().await.unwrap();
    }
    assert_eq!(keys(&server, &format!("{}c:", prefix_of(&options))).await, [""; 0]);
}

#[tokio::test]
async fn short_programs_that_receive_and_own_inboxes_leave_no_key_of_theirs() {
    let server = Server::process(&[]);
    let options = options([server.url()], "short-owners");
    for number in 0..PROGRAMS as u64 {
        let layer = options.connect().await.unwrap();
        layer.send("jobs", &number).await.unwrap();
        assert_eq!(promptly("a message", layer.receive::<u64>(["jobs"])).await.unwrap().1, number);
        assert!(layer.try_receive::<u64>(["jobs"]).await.unwrap().is_none());
        let waiting = tokio::time::timeout(MOMENT / 10, layer.receive::<u64>(["jobs"])).await;
        assert!(waiting.is_err());
        let inbox = layer.open_inbox("chat").await.unwrap();
        let mut mailbox = inbox.open_mailbox().unwrap();
        layer.group_add("room", mailbox.name()).await.unwrap();
        let _ = layer.group_send("room", &number).await.unwrap();
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), number);
        layer.close().await.unwrap();
    }
    let prefix = prefix_of(&options);
    let left: Vec<String> = keys(&server, &prefix).await;
    assert_eq!(left, [format!("{prefix}schema")], "the number of the schema alone stays");
}

#[tokio::test]
async fn layers_that_are_dropped_and_not_closed_leave_no_key_of_theirs() {
    let server = Server::process(&[]);
    let options = options([server.url()], "dropped");
    for number in 0..PROGRAMS {
        let layer = options.connect().await.unwrap();
        layer.send("jobs", &number).await.unwrap();
        drop(layer);
    }
    let beginning = format!("{}c:", prefix_of(&options));
    until("they are gone", async || keys(&server, &beginning).await.is_empty()).await;
}

#[tokio::test]
async fn a_layer_over_three_servers_leaves_no_key_on_any() {
    let servers = [(); 3].map(|()| Server::process(&[]));
    let options = options(servers.each_ref().map(Server::url), "short-three");
    for number in 0..5_u64 {
        let layer = options.connect().await.unwrap();
        layer.send("jobs", &number).await.unwrap();
        assert_eq!(promptly("a message", layer.receive::<u64>(["jobs"])).await.unwrap().1, number);
        layer.close().await.unwrap();
    }
    for server in &servers {
        assert_eq!(keys(server, &format!("{}c:", prefix_of(&options))).await, [""; 0]);
    }
}

#[tokio::test]
async fn who_has_been_on_another_connection_is_remembered() {
    let server = Server::process(&[]);
    let proxy = Proxy::start(&server);
    let options = options([proxy.url()], "remembered");
    let layer = options.connect().await.unwrap();
    proxy.cut();
    super::up_again(&layer).await;
    super::send_at_last(&layer, "jobs", 1).await;
    layer.close().await.unwrap();
    // A late call of its first connection is refused as long as this stands.
    let left = keys(&server, &format!("{}c:", prefix_of(&options))).await;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[cfg(feature = "cli")]
#[test]
fn runs_of_the_command_line_leave_no_key_of_theirs() {
    use std::process::Command;
    let server = Server::process(&[]);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asgi-redis"));
        command.env_remove("ASGI_REDIS_URL").args(["--redis", &server.url(), "--prefix", "cli:"]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    for _ in 0..5 {
        run(&["send", "jobs", "1"]);
        run(&["receive", "jobs"]);
        run(&["group", "send", "room", "1"]);
        run(&["shards"]);
    }
    let left = tokio::runtime::Runtime::new().unwrap().block_on(keys(&server, "cli:c:"));
    assert_eq!(left, [""; 0]);
}
