//! The fixture keeps its promises, on each kind of server that this run can have.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};

use crate::support::{Direction, Kind, Monitor, Product, Proxy, Server, calls, unique_prefix};

const SHORT: Duration = Duration::from_millis(1_500);
const LONG: Duration = Duration::from_secs(10);

async fn answers(connection: &mut MultiplexedConnection) -> bool {
    redis::cmd("PING").query_async::<String>(connection).await.is_ok()
}

/// Connecting may take longer on a busy machine, but what is swallowed is awaited no longer than this.
async fn answers_soon(connection: &mut MultiplexedConnection) -> bool {
    tokio::time::timeout(SHORT, answers(connection)).await.unwrap_or(false)
}

async fn connect(url: String, patience: Duration) -> RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

#[tokio::test]
async fn a_killed_or_ended_server_comes_back_empty_at_its_address() {
    for kind in Kind::available() {
        let server = Server::of_kind(kind);
        for end in [Server::stop, Server::terminate] {
            let url = server.url();
            let mut before = server.connection().await;
            let () = before.set("key", "value").await.unwrap();

            end(&server);
            assert!(server.try_connection(SHORT).await.is_err(), "{kind:?}: nobody listens");
            assert!(!answers(&mut before).await, "{kind:?}: the old connection is closed");

            server.start();
            assert_eq!(server.url(), url);
            let value: Option<String> = server.connection().await.get("key").await.unwrap();
            assert_eq!(value, None, "{kind:?}: nothing is kept");
        }
    }
}

#[tokio::test]
async fn a_paused_server_keeps_its_connections_and_answers_when_it_goes_on() {
    for kind in Kind::available() {
        let server = Server::of_kind(kind);
        let mut hasty = server.try_connection(SHORT).await.unwrap();
        let mut patient = server.connection().await;

        server.pause();
        assert!(!answers(&mut hasty).await, "{kind:?}");
        let (answered, ()) = tokio::join!(answers(&mut patient), async {
            tokio::time::sleep(SHORT).await;
            server.unpause();
        });
        assert!(answered, "{kind:?}");
        assert!(answers(&mut hasty).await, "{kind:?}");
    }
}

#[test]
fn a_dropped_server_is_gone_even_if_it_was_paused_or_stopped() {
    for kind in Kind::available() {
        for before in [|_: &Server| {}, Server::pause, Server::stop] {
            let server = Server::of_kind(kind);
            let address = server.address();
            before(&server);
            drop(server);
            assert!(TcpStream::connect(address).is_err(), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_paused_server_can_be_stopped_and_started() {
    for kind in Kind::available() {
        let server = Server::of_kind(kind);
        server.pause();
        server.stop();
        server.start();
        assert!(answers(&mut server.connection().await).await, "{kind:?}");
    }
}

/// The test runs itself in a second process, which starts a server and is killed.
#[test]
fn a_killed_suite_leaves_no_server_process_behind() {
    const NAME: &str = "fixture::a_killed_suite_leaves_no_server_process_behind";
    const CHILD: &str = "SUITE_IS_TO_BE_KILLED";
    if std::env::var_os(CHILD).is_some() {
        let server = Server::of_kind(Kind::Process);
        println!("\naddress {}", server.address());
        std::thread::sleep(6 * LONG);
    }
    if !Kind::available().contains(&Kind::Process) {
        return; // Containers are removed by the engine's user, as CI does.
    }
    let mut suite = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "yes")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(suite.stdout.take().unwrap()).lines();
    let address =
        lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("address ")?.to_owned()));
    let address = address.expect("the second process tells the address of its server");
    assert!(TcpStream::connect(&address).is_ok());

    suite.kill().unwrap();
    suite.wait().unwrap();
    let deadline = Instant::now() + LONG;
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "the server at {address} outlived the suite");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn two_servers_share_no_data_and_the_shared_one_is_one() {
    let (first, second) = (Server::private(), Server::private());
    assert_ne!(first.address(), second.address());
    let () = first.connection().await.set("key", "first").await.unwrap();
    let value: Option<String> = second.connection().await.get("key").await.unwrap();
    assert_eq!(value, None);

    let shared = Server::shared();
    assert!(Arc::ptr_eq(&shared, &Server::shared()));
    assert_eq!(shared.kind(), Kind::chosen());
    assert_ne!(unique_prefix("test"), unique_prefix("test"));
}

#[tokio::test]
async fn databases_and_the_third_protocol_are_reached_by_url() {
    let server = Server::private();
    let mut seventh = connect(server.url_with_db(7), LONG).await.unwrap();
    let () = seventh.set("key", "value").await.unwrap();
    let value: Option<String> = server.connection().await.get("key").await.unwrap();
    assert_eq!(value, None);

    let mut third = connect(format!("{}?protocol=resp3", server.url_with_db(7)), LONG).await.unwrap();
    let value: Option<String> = third.get("key").await.unwrap();
    assert_eq!(value.as_deref(), Some("value"));
}

#[tokio::test]
async fn arguments_and_files_reach_the_server() {
    let users = b"user default on nopass ~* &* +@all\nuser reader on >secret ~* +get +ping\n";
    for kind in Kind::available() {
        let args = ["--maxmemory", "20mb", "--aclfile", "{dir}/users"];
        let server = Server::of_kind_with_files(kind, &args, &[("users", users)]);
        let (_, limit): (String, u64) = redis::cmd("CONFIG")
            .arg("GET")
            .arg("maxmemory")
            .query_async(&mut server.connection().await)
            .await
            .unwrap();
        assert_eq!(limit, 20 << 20, "{kind:?}");

        let mut reader = connect(format!("redis://reader:secret@{}", server.address()), LONG).await.unwrap();
        let refused = reader.set::<_, _, ()>("key", "value").await.unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"), "{kind:?}");
    }
}

#[tokio::test]
async fn cut_closes_the_open_connections_and_lets_new_ones_pass() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let mut old = connect(proxy.url(), LONG).await.unwrap();
    assert!(answers(&mut old).await);

    proxy.cut();
    let asked = Instant::now();
    assert!(!answers(&mut old).await);
    assert!(asked.elapsed() < LONG, "the end was seen, not waited for");
    let mut new = connect(proxy.url(), LONG).await.unwrap();
    assert!(answers(&mut new).await);
    assert_eq!(proxy.connections(), 2);

    drop(proxy);
    assert!(!answers(&mut new).await);
}

#[tokio::test]
async fn a_stalled_connection_stays_open_and_goes_on_later() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let mut hasty = connect(proxy.url(), SHORT).await.unwrap();
    let mut patient = connect(proxy.url(), LONG).await.unwrap();

    proxy.stall();
    let unanswered = redis::cmd("INCR").arg("key").query_async::<i64>(&mut hasty).await.unwrap_err();
    assert!(unanswered.is_timeout());
    assert!(connect(proxy.url(), SHORT).await.is_err(), "a new connection is stalled too");
    let before: Option<i64> = server.connection().await.get("key").await.unwrap();
    assert_eq!(before, None, "the request was held back");

    let (answered, ()) = tokio::join!(answers(&mut patient), async { proxy.pass() });
    assert!(answered);
    let deadline = Instant::now() + LONG;
    while server.connection().await.get::<_, Option<i64>>("key").await.unwrap() != Some(1) {
        assert!(Instant::now() < deadline, "what was held back arrives");
    }
}

#[tokio::test]
async fn a_request_whose_reply_is_held_back_and_cut_has_run() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let mut client = connect(proxy.url(), LONG).await.unwrap();

    proxy.stall_only(Direction::Replies);
    let lost = tokio::spawn(async move { client.incr::<_, _, i64>("key", 1).await });
    let mut direct = server.connection().await;
    let deadline = Instant::now() + LONG;
    while direct.get::<_, Option<i64>>("key").await.unwrap() != Some(1) {
        assert!(Instant::now() < deadline, "the request passes");
    }
    proxy.cut();
    let error = lost.await.unwrap().unwrap_err();
    assert!(error.is_connection_dropped(), "{error}");
}

#[tokio::test]
async fn while_refusing_new_connections_end_and_old_ones_work() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let mut old = connect(proxy.url(), LONG).await.unwrap();

    proxy.refuse();
    assert!(connect(proxy.url(), LONG).await.is_err());
    assert!(answers(&mut old).await);
    proxy.pass();
    assert!(answers(&mut connect(proxy.url(), LONG).await.unwrap()).await);
}

#[tokio::test]
async fn a_unix_socket_leads_to_the_server() {
    let server = Server::private();
    let proxy = Proxy::start_on_unix_socket(&server);
    let mut client = connect(proxy.url(), LONG).await.unwrap();
    let () = client.set("key", "value").await.unwrap();
    let value: String = server.connection().await.get("key").await.unwrap();
    assert_eq!(value, "value");
}

#[tokio::test]
async fn calls_are_counted_and_commands_of_clients_recorded() {
    let server = Server::private();
    let mut connection = server.connection().await;
    assert_eq!(calls(&mut connection, "eval").await, 0);

    let monitor = Monitor::start(&server).await;
    for _ in 0..3 {
        let code = "return redis.call('INCR', KEYS[1])";
        let () = redis::cmd("EVAL").arg(code).arg(1).arg("key").query_async(&mut connection).await.unwrap();
    }
    let recorded = monitor.finish().await;
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    assert!(recorded.iter().all(|command| command.starts_with("\"EVAL\" ")), "{recorded:?}");
    assert_eq!(calls(&mut connection, "eval").await, 3);
    assert_eq!(calls(&mut connection, "incr").await, 3);
}

#[tokio::test]
async fn a_hole_swallows_open_connections_for_ever_and_new_ones_pass_after_it() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let mut old = connect(proxy.url(), LONG).await.unwrap();
    proxy.swallow();
    assert!(!answers_soon(&mut old).await);
    assert!(connect(proxy.url(), SHORT).await.is_err());
    // The new one is swallowed too, and perhaps not closed yet.
    assert!(proxy.open_connections() >= 1, "the open one stays open");
    proxy.pass();
    assert!(!answers_soon(&mut old).await, "it hears no more of the server");
    assert!(answers(&mut connect(proxy.url(), LONG).await.unwrap()).await);
}

#[tokio::test]
async fn an_address_moves_to_another_server_for_new_connections() {
    let [first, second] = [Server::private(), Server::private()];
    let () = first.connection().await.set("key", "first").await.unwrap();
    let () = second.connection().await.set("key", "second").await.unwrap();
    let proxy = Proxy::start(&first);
    let mut old = connect(proxy.url(), LONG).await.unwrap();
    proxy.lead_to(&second);
    let mut new = connect(proxy.url(), LONG).await.unwrap();
    let (before, after): (String, String) = (old.get("key").await.unwrap(), new.get("key").await.unwrap());
    assert_eq!((before.as_str(), after.as_str()), ("first", "second"));
}

#[tokio::test]
async fn the_clock_of_a_running_server_is_set_and_keys_expire_by_it() {
    let (server, clock) = Server::with_clock(&[]);
    let mut connection = server.connection().await;
    let mut time = async || -> i64 {
        let (seconds, _): (i64, u64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        seconds
    };
    let before = time().await;
    clock.behind(Duration::from_secs(3_600));
    assert!((-3_610..=-3_590).contains(&(time().await - before)));
    clock.ahead(Duration::from_secs(3_600));
    assert!((3_590..=3_610).contains(&(time().await - before)));
    let () = connection.set_ex("key", "value", 60).await.unwrap();
    clock.ahead(Duration::from_secs(3_700));
    let value: Option<String> = connection.get("key").await.unwrap();
    assert_eq!(value, None);
}

#[tokio::test]
async fn a_server_comes_back_with_its_last_snapshot_and_a_replica_has_what_its_primary_has() {
    let [primary, replica] = [Server::replicating(), Server::replicating()];
    let () = primary.connection().await.set("key", "old").await.unwrap();
    primary.tell(&["SAVE"]).await;
    let () = primary.connection().await.set("key", "new").await.unwrap();
    replica.follow(&primary).await;
    primary.stop();
    primary.start();
    let (back, kept): (String, String) = (
        primary.connection().await.get("key").await.unwrap(),
        replica.connection().await.get("key").await.unwrap(),
    );
    assert_eq!((back.as_str(), kept.as_str()), ("old", "new"));
    replica.lead().await;
    primary.follow(&replica).await;
    let value: String = primary.connection().await.get("key").await.unwrap();
    assert_eq!(value, "new");
}

#[test]
fn a_seed_gives_each_test_one_product_and_both_get_about_half() {
    let both = [Product::Redis, Product::Valkey];
    let on_valkey = |seed: u64| -> Vec<bool> {
        let of = |test: u32| Product::of_test(&format!("layer::test_{test}"), seed, &both);
        (0..1_000).map(|test| of(test) == Product::Valkey).collect()
    };
    let (first, second) = (on_valkey(1), on_valkey(2));
    assert_eq!(first, on_valkey(1), "a run can be repeated");
    assert_ne!(first, second);
    for seed in [first, second] {
        let count = seed.iter().filter(|is_valkey| **is_valkey).count();
        assert!((400..600).contains(&count), "{count} of 1000");
    }
    assert_eq!(Product::of_test("a test", 1, &[Product::Redis]), Product::Redis);
}

#[test]
fn products_are_named_and_another_name_is_refused() {
    assert_eq!(Product::named("valkey"), Ok(vec![Product::Valkey]));
    assert_eq!(Product::named("redis, valkey"), Ok(vec![Product::Redis, Product::Valkey]));
    let refused = Product::named("redis,keydb").unwrap_err();
    assert!(refused.contains("\"keydb\" is neither redis nor valkey"), "{refused}");
}

#[tokio::test]
async fn a_server_is_of_its_product() {
    for product in Product::wanted() {
        let server = Server::of_product(*product);
        assert_eq!(server.product(), *product);
        let mut connection = server.connection().await;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap();
        assert_eq!(info.contains("valkey_version:"), *product == Product::Valkey, "{info}");
    }
}
