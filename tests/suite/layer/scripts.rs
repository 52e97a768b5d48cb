//! Scripts are loaded once, called by SHA, and loaded again by themselves.
//! R19: scripts are called by EVALSHA.

use asgi_redis::{ChannelLayer, ChannelLayerExt, scripts};
use futures::future::try_join_all;

use super::{layers, options, soon};
use crate::support::{Server, calls};

/// Shows R19.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_script_is_loaded_once_for_all_layers_and_once_more_after_a_flush_and_never_sent_as_text() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let all = u64::try_from(scripts::all().len()).unwrap();

    let [one, two] = layers(&options(&server, "loading").capacity(1000)).await;
    assert_eq!(calls(&mut admin, "script|load").await, all, "the first layer loads, the second finds them");
    assert_eq!(calls(&mut admin, "script|exists").await, 2, "each connection looks once");

    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut admin).await.unwrap();
    try_join_all((0..200_u64).map(|number| {
        let one = one.clone();
        async move { one.send("a", &number).await }
    }))
    .await
    .unwrap();
    assert_eq!(calls(&mut admin, "script|load").await, 2 * all, "200 sends at once load each script once");
    for _ in 0..200 {
        soon("a message", two.receive::<u64>(["a"])).await.unwrap();
    }
    one.flush().await.unwrap();
    assert_eq!(calls(&mut admin, "script|load").await, 2 * all);
    assert_eq!(calls(&mut admin, "eval").await, 0);
}

#[tokio::test]
async fn a_lone_send_and_a_lone_receive_are_one_command_each() {
    let server = Server::private();
    let layer = options(&server, "lone").connect().await.unwrap();
    let mut admin = server.connection().await;
    let before = calls(&mut admin, "evalsha").await;
    for number in 0..50 {
        layer.send("a", &number).await.unwrap();
    }
    for _ in 0..50 {
        layer.receive::<u64>(["a"]).await.unwrap();
    }
    assert_eq!(
        calls(&mut admin, "evalsha").await - before,
        100,
        "acknowledgements travel with the next receive"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_that_meet_share_calls() {
    let server = Server::private();
    let layer = options(&server, "shared-calls").capacity(100_000).connect().await.unwrap();
    let mut admin = server.connection().await;
    let before = calls(&mut admin, "evalsha").await;
    let sends = (0..256_u64).map(|sender| {
        let layer = layer.clone();
        tokio::spawn(async move {
            for number in 0..40 {
                layer.send(format!("q-{}", sender % 8), &number).await.unwrap();
            }
        })
    });
    try_join_all(sends).await.unwrap();
    let commands = calls(&mut admin, "evalsha").await - before;
    assert!(commands < 256 * 40 / 8, "{commands} commands for {} sends", 256 * 40);
}

#[tokio::test]
async fn the_error_of_a_script_names_the_file_and_line_in_lua() {
    let server = Server::shared();
    let options = options(&server, "lua-error");
    let mut admin = server.connection().await;
    // Someone else's key stands where the number of the schema should be.
    let prefix = options.build().unwrap().prefix().to_owned();
    let () =
        redis::cmd("RPUSH").arg(format!("{prefix}schema")).arg("x").query_async(&mut admin).await.unwrap();
    let error = options.connect().await.unwrap_err();
    assert_eq!(error.kind(), asgi_redis::ErrorKind::Script);
    let text = error.to_string();
    assert!(text.contains("refused script hello") && text.contains("lua/hello.lua:"), "{text}");
    assert!(!text.contains("user_script"), "{text}");
}

#[tokio::test]
async fn what_was_written_on_an_earlier_connection_is_refused() {
    let server = Server::private();
    let options = options(&server, "earlier");
    let _layer = options.connect().await.unwrap();
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let clients: Vec<String> = redis::cmd("KEYS").arg("*:c:*").query_async(&mut admin).await.unwrap();
    let [client] = clients.as_slice() else { panic!("{clients:?}") };
    let id = client.rsplit(':').next().unwrap();
    let mut call = async |script: &str, keys: &[&str], arguments: &[&str]| -> redis::Value {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(scripts::get(script).unwrap().sha()).arg(keys.len()).arg(keys).arg(arguments);
        cmd.query_async(&mut admin).await.unwrap()
    };
    let stale = redis::Value::BulkString(b"stale".to_vec());
    let (schema, queue) = (format!("{prefix}schema"), format!("{prefix}q:a"));
    for generation in ["0", "1"] {
        let hello = call("hello", &[client, &schema], &[generation, "60000", "3"]).await;
        assert_eq!(hello, redis::Value::Array(vec![stale.clone(), redis::Value::Int(1)]));
    }
    let stale = redis::Value::Array(vec![stale]);
    assert_eq!(call("pop", &[client], &[&prefix, id, "0", "60000", "0"]).await, stale);
    assert_eq!(call("push", &[&queue], &[&prefix, "1000", id, "0", "10", "1", "m x"]).await, stale);
    assert_ne!(call("pop", &[client], &[&prefix, id, "1", "60000", "0"]).await, stale);
    assert_ne!(call("push", &[&queue], &[&prefix, "1000", id, "1", "10", "1", "m x"]).await, stale);

    // Remembered for an hour past the lease, or an old command would count again; a lease that is over stays over.
    let mut admin = server.connection().await;
    let left: u64 = redis::cmd("PTTL").arg(client).query_async(&mut admin).await.unwrap();
    assert!(left > 3_600_000, "{left} ms");
    let () = redis::cmd("HSET").arg(client).arg("lease").arg(0).query_async(&mut admin).await.unwrap();
    assert_eq!(call("pop", &[client], &[&prefix, id, "1", "60000", "0"]).await, stale);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_is_greeted_once_for_all_who_noticed() {
    let server = Server::private();
    let layer = options(&server, "greeted").capacity(10_000).connect().await.unwrap();
    let mut admin = server.connection().await;
    for round in 1..=5 {
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut admin).await.unwrap();
        try_join_all((0..500_u64).map(|number| {
            let layer = layer.clone();
            async move { layer.send(format!("body?{}", number % 7), &number).await }
        }))
        .await
        .unwrap();
        let greetings = calls(&mut admin, "script|exists").await - 1;
        assert!(greetings <= 2 * round, "{greetings} greetings after {round} flushes");
    }
}
