//! One server that a list of hosts names twice is refused, or counts once; two that look alike are two.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Error, ErrorKind, RedisChannelLayer};

use super::{MOMENT, PATIENCE, options, promptly, until, within};
use crate::support::{Proxy, Server};

/// The error of a list that is refused: it names both.
async fn refused(urls: [&str; 2]) -> Error {
    let options = options(urls, "two-names");
    let connected = within(PATIENCE, "connecting", options.connect()).await;
    let error = connected.expect_err("one server under two names is refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error
}

fn names(error: &Error, both: [&str; 2]) {
    assert!(both.iter().all(|name| error.to_string().contains(name)), "{error} names {both:?}");
}

async fn unix_url(server: &Server) -> String {
    let mut connection = server.connection().await;
    let mut setting = async |name: &str| -> String {
        let (_, value): (String, String) =
            redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await.unwrap();
        value
    };
    format!("unix://{}/{}", setting("dir").await, setting("unixsocket").await)
}

#[tokio::test]
async fn an_address_and_a_name_of_one_server_are_refused() {
    let server = Server::process(&[]);
    let by_name = format!("redis://localhost:{}", server.port());
    let error = refused([&server.url(), &by_name]).await;
    names(&error, [&server.address(), &format!("localhost:{}", server.port())]);
}

#[tokio::test]
async fn a_port_and_the_socket_of_one_server_are_refused() {
    let server = Server::process(&[]);
    let socket = unix_url(&server).await;
    let error = refused([&server.url(), &socket]).await;
    names(&error, [&server.address(), socket.strip_prefix("unix://").unwrap()]);
}

#[tokio::test]
async fn two_ways_to_one_server_are_refused() {
    let server = Server::process(&[]);
    let [one, other] = [Proxy::start(&server), Proxy::start(&server)];
    let error = refused([&one.url(), &other.url()]).await;
    names(&error, [&one.url(), &other.url()]);
}

#[tokio::test]
async fn a_primary_and_its_replica_are_refused() {
    let [primary, replica] = [Server::replicating(), Server::replicating()];
    replica.follow(&primary).await;
    let error = refused([&primary.url(), &replica.url()]).await;
    names(&error, [&primary.address(), &replica.address()]);
}

#[tokio::test]
async fn two_databases_of_one_server_and_two_prefixes_are_two() {
    let server = Server::process(&[]);
    let layer = options([server.url_with_db(0), server.url_with_db(1)], "databases");
    layer.connect().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn two_servers_that_were_seeded_from_one_snapshot_are_two() {
    let first = Server::process(&["--dbfilename", "seed.rdb"]);
    let seeding = options([first.url()], "seeded");
    let layer = seeding.connect().await.unwrap();
    layer.send("jobs", &1).await.unwrap();
    layer.close().await.unwrap();
    first.tell(&["SAVE"]).await;
    let (_, folder): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("dir").query_async(&mut first.connection().await).await.unwrap();
    let seed = std::fs::read(format!("{folder}/seed.rdb")).unwrap();
    let second =
        Server::private_with_files(&["--dbfilename", "seed.rdb", "--dir", "{dir}"], &[("seed.rdb", &seed)]);
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut second.connection().await).await.unwrap();
    assert!(size > 0, "it was seeded");
    for _ in 0..2 {
        let layer = seeding.clone().hosts([first.url(), second.url()]).connect().await.unwrap();
        assert!(layer.health().await.iter().all(|shard| shard.is_up()));
        layer.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_name_that_is_found_while_running_counts_as_down_by_name() {
    let [first, second] = [Server::process(&[]), Server::process(&[])];
    let way = Proxy::start(&second);
    let layer = options([first.url(), way.url()], "found-later").connect().await.unwrap();
    assert!(layer.health().await.iter().all(|shard| shard.is_up()));
    way.lead_to(&first);
    way.cut();
    // It connects again, and meets the first server.
    tokio::time::sleep(5 * MOMENT).await;
    let health = layer.health().await;
    assert!(health[0].is_up());
    assert!(!health[1].is_up(), "{health:?}");
    let error = health[1].error().unwrap();
    names(error, [&first.address(), &way.url()]);
    for number in 0..10 {
        layer.send("jobs", &number).await.unwrap();
        assert_eq!(promptly("a message", layer.receive::<u64>(["jobs"])).await.unwrap().1, number);
    }
    // The address leads to a server of its own again.
    way.lead_to(&second);
    until("it is up", async || layer.health().await[1].is_up()).await;
}

/// A layer whose one message must not be drained onto itself.
async fn with_a_message(options: &ConfigBuilder) -> RedisChannelLayer {
    let layer = options.connect().await.unwrap();
    layer.send("jobs", &1).await.unwrap();
    layer
}

#[tokio::test]
async fn a_drain_of_a_server_onto_itself_is_refused_and_loses_nothing() {
    let server = Server::process(&[]);
    let options = options([server.url()], "drain-itself");
    let from = with_a_message(&options).await;
    let to = options.hosts([format!("redis://localhost:{}", server.port())]).connect().await.unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(3), from.drain_into(&to)).await;
    let error = drained.expect("it ends").expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    names(&error, [&server.address(), &format!("localhost:{}", server.port())]);
    assert_eq!(from.try_receive::<u64>(["jobs"]).await.unwrap().unwrap().1, 1);
}

#[tokio::test]
async fn a_drain_of_a_server_onto_itself_by_its_socket_is_refused_and_loses_nothing() {
    let server = Server::process(&[]);
    let options = options([server.url()], "drain-socket");
    let from = with_a_message(&options).await;
    let to = options.hosts([unix_url(&server).await]).connect().await.unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(3), from.drain_into(&to)).await;
    let error = drained.expect("it ends").expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(from.try_receive::<u64>(["jobs"]).await.unwrap().unwrap().1, 1);
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_ends_with_the_status_of_wrong_use() {
    use std::process::Command;
    let server = Server::process(&[]);
    let by_name = format!("redis://localhost:{}", server.port());
    for arguments in [&["send", "jobs", "1"][..], &["shards"], &["receive", "jobs", "--timeout", "0"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_asgi-redis"))
            .args(["--redis", &server.url(), "--redis", &by_name])
            .args(arguments)
            .env_remove("ASGI_REDIS_URL")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&server.address()) && said.contains("localhost"), "{said}");
    }
}
