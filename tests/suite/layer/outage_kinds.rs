//! Why a server does not serve the layer: each reason has a kind and a text of its own, and on the command line a status.

use std::process::Command;

use asgi_redis::{ChannelLayerExt, ErrorKind};

use super::{options, options_at, soon, until};
use crate::support::{Product, Server, unique_prefix};

const USERS: &[u8] = b"user default on nopass ~* &* +@all\nuser worker on >secret ~* &* +@all\n";

fn server_with_users() -> Server {
    Server::private_with_files(&["--aclfile", "{dir}/users"], &[("users", USERS)])
}

fn at(server: &Server, login: &str) -> String {
    server.url().replace("redis://", &format!("redis://{login}@"))
}

async fn admin(server: &Server, command: &[&str]) {
    let mut admin = server.connection().await;
    let () = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut admin).await.unwrap();
}

/// Why a layer does not connect to a URL; the command line is to end with this status and to say the same.
#[track_caller]
fn expect(error: &asgi_redis::Error, kind: ErrorKind, said: &str, url: &str, status: i32) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(said) && !text.contains("cannot be reached"), "{text}");
    let ended = Command::new(env!("CARGO_BIN_EXE_asgi-redis"))
        .args(["--redis", url, "--prefix", "kinds:", "send", "a", "1"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(status), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains(said), "{ended:?}");
}

async fn refusal(url: &str) -> asgi_redis::Error {
    options_at(url, "kinds").prefix("kinds:").connect().await.unwrap_err()
}

#[tokio::test]
async fn refused_credentials_are_a_kind_of_their_own() {
    let server = server_with_users();
    let wrong = at(&server, "worker:wrong");
    let error = refusal(&wrong).await;
    assert!(error.may_retry() && error.kind().is_outage());
    expect(
        &error,
        ErrorKind::Credentials,
        "refuses the user or password of this layer: WRONGPASS",
        &wrong,
        6,
    );
    let unknown = at(&server, "nobody:x");
    expect(&refusal(&unknown).await, ErrorKind::Credentials, "WRONGPASS", &unknown, 6);

    let server = Server::private_with(&["--requirepass", "secret"]);
    let said = "wants a password, and this layer has none: NOAUTH";
    expect(&refusal(&server.url()).await, ErrorKind::Credentials, said, &server.url(), 6);
}

#[tokio::test]
async fn credentials_that_end_while_a_layer_runs_are_told_as_such_and_heal() {
    let server = server_with_users();
    let layer = options_at(&at(&server, "worker:secret"), "credentials-end").connect().await.unwrap();
    admin(&server, &["ACL", "SETUSER", "worker", "resetpass", ">new"]).await;
    admin(&server, &["CLIENT", "KILL", "USER", "worker"]).await;
    until("sends fail for the credentials", async || {
        layer.send("a", &1).await.is_err_and(|error| error.kind() == ErrorKind::Credentials)
    })
    .await;
    admin(&server, &["ACL", "SETUSER", "worker", ">secret"]).await;
    until("sends go through again", async || layer.send("a", &1).await.is_ok()).await;
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_a_kind_of_its_own() {
    let server = Server::private();
    let url = server.url_with_db(99);
    let error = refusal(&url).await;
    expect(
        &error,
        ErrorKind::Database,
        "has no database 99; raise its `databases`, or name a lower one",
        &url,
        7,
    );
    assert!(error.to_string().contains("DB index is out of range"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_with_what_grants_it() {
    let server = server_with_users();
    let url = at(&server, "worker:secret");
    let rights = async |rules: &[&str]| {
        let reset = ["ACL", "SETUSER", "worker", "resetkeys", "~*", "resetchannels", "&*", "+@all"];
        admin(&server, &[&reset, rules].concat()).await;
    };
    for (rules, said) in [
        (&["resetchannels"] as &[&str], "grant &kinds:wake:*"),
        (&["-subscribe"], "grant +subscribe"),
        (&["-evalsha"], "grant +evalsha"),
        (&["resetkeys", "~other:*"], "grant ~kinds:*"),
        (&["-script|exists"], "grant +script|exists"),
    ] {
        rights(rules).await;
        let error = refusal(&url).await;
        assert!(!error.may_retry(), "{error}");
        expect(&error, ErrorKind::Rights, said, &url, 8);
    }
    rights(&["-select"]).await;
    let second = format!("{url}/1");
    expect(&refusal(&second).await, ErrorKind::Rights, "grant +select", &second, 8);
    // In the middle of a script.
    for (rules, said) in [(&["-rpushx"] as &[&str], "grant +rpushx"), (&["-pexpire"], "grant +pexpire")] {
        rights(&[]).await;
        let layer = options_at(&url, "kinds").connect().await.unwrap();
        rights(rules).await;
        let error = layer.send("a", &1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rights, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    rights(&[]).await;
    let layer = options_at(&url, "kinds").connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    rights(&["-lpop", "-lmpop"]).await;
    let error = layer.receive::<u64>("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rights, "{error}");
    assert!(error.to_string().contains("grant +l"), "{error}");
}

#[tokio::test]
async fn a_server_in_cluster_mode_is_refused_by_that_name() {
    let server = Server::private_with(&["--cluster-enabled", "yes"]);
    let said =
        "is in cluster mode, which this layer does not support; name servers that are no part of a cluster";
    expect(&refusal(&server.url()).await, ErrorKind::Unsupported, said, &server.url(), 2);
    // The same with a database, which a cluster of Redis refuses too; one of Valkey may have several.
    if Product::of_this_test() == Product::Redis {
        let second = server.url_with_db(1);
        expect(&refusal(&second).await, ErrorKind::Unsupported, said, &second, 2);
    }
    // One that has all slots and would take some of the calls.
    let mut one = server.connection().await;
    let () = redis::cmd("CLUSTER").arg(&["ADDSLOTSRANGE", "0", "16383"]).query_async(&mut one).await.unwrap();
    expect(&refusal(&server.url()).await, ErrorKind::Unsupported, said, &server.url(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_yet_loaded_is_a_kind_of_its_own() {
    // 300 keys take 3 s.
    let slow = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
    let server = Server::process(&slow);
    let mut filler = server.connection().await;
    for number in 0..300 {
        let () = redis::cmd("SET").arg(number).arg("x".repeat(2000)).query_async(&mut filler).await.unwrap();
    }
    admin(&server, &["SAVE"]).await;
    server.stop();
    server.start();
    let error = refusal(&server.url()).await;
    assert!(error.may_retry(), "{error}");
    expect(&error, ErrorKind::Loading, "is still loading its data: LOADING", &server.url(), 4);
    let options = options(&server, "loading");
    let connected = async {
        while options.connect().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("a connection", connected).await;
}

#[tokio::test]
async fn a_replica_is_a_kind_of_its_own() {
    let server = Server::private_with(&["--replicaof", "127.0.0.1 1"]);
    let said = "is a replica and takes no writes; name its primary";
    expect(&refusal(&server.url()).await, ErrorKind::Replica, said, &server.url(), 4);
}

#[tokio::test]
async fn a_server_that_refuses_a_layer_fails_only_what_must_go_to_it() {
    let (good, bad) = (Server::shared(), server_with_users());
    let options = asgi_redis::ConfigBuilder::new()
        .hosts([good.url(), at(&bad, "worker:wrong")])
        .prefix(unique_prefix("one-refuses"));
    let layer = options.connect().await.unwrap();
    for number in 0..10 {
        layer.send("a", &number).await.unwrap();
    }
    let health = layer.health().await;
    assert!(health[0].is_up());
    assert_eq!(health[1].error().map(asgi_redis::Error::kind), Some(ErrorKind::Credentials));
}
