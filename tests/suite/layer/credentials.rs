//! As whom a layer logs in: the user that is written, and never silently another one.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asgi_redis::test_server::TestServer;
use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ChannelLayers, ConfigBuilder, Credentials, Error, ErrorKind, Host,
    RedisChannelLayer,
};

use super::{options, until};
use crate::support::{Server, connect, unique_prefix};

const USERS: &[u8] = b"user default on nopass ~* &* +@all\nuser nop on nopass ~* &* +@all\n";

fn server_with_users() -> Server {
    Server::private_with_files(&["--aclfile", "{dir}/users"], &[("users", USERS)])
}

/// The users of all connections but this one.
async fn users(server: &Server) -> Vec<String> {
    let mut admin = server.connection().await;
    let own: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut admin).await.unwrap();
    let listed: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
    let others = listed.lines().filter(|line| !line.starts_with(&format!("id={own} ")));
    let user = |line: &str| line.split(' ').find_map(|field| field.strip_prefix("user=")).unwrap().to_owned();
    others.map(user).collect()
}

/// As whom a layer is logged in. Where the way is slow, or a connection has just ended, there are several for a moment.
async fn logged_in(server: &Server, layer: RedisChannelLayer) -> Vec<String> {
    let mut users = users(server).await;
    users.dedup();
    layer.close().await.unwrap();
    users
}

#[tokio::test]
async fn a_user_without_a_password_logs_in_as_that_user() {
    let server = server_with_users();
    let url = server.url().replace("redis://", "redis://nop@");
    for options in
        [ConfigBuilder::new().hosts(&*url), ConfigBuilder::new().hosts([url.replace("nop@", "nop:@")])]
    {
        let layer = options.prefix(unique_prefix("nop")).connect().await.unwrap();
        assert_eq!(logged_in(&server, layer).await, ["nop"]);
    }
}

#[tokio::test]
async fn a_user_without_a_password_in_a_document_logs_in_as_that_user() {
    let server = server_with_users();
    let document = serde_json::json!({"default": {
        "BACKEND": "asgi_redis.RedisChannelLayer",
        "CONFIG": {"hosts": [server.url().replace("redis://", "redis://nop@")]},
    }});
    let mut layers: ChannelLayers = serde_json::from_str(&document.to_string()).unwrap();
    let layer = layers.take("default").unwrap().into_config().connect().await.unwrap();
    assert_eq!(logged_in(&server, layer).await, ["nop"]);
}

#[tokio::test]
async fn a_user_without_a_password_logs_in_over_a_unix_socket_as_that_user() {
    let server =
        TestServer::builder().arguments(["--aclfile", "{dir}/users"]).file("users", USERS).start().unwrap();
    let socket = server.socket();
    let url = format!("unix://{}?user=nop", socket.display());
    let layer = ConfigBuilder::new().hosts(url).connect().await.unwrap();
    let mut admin = connect(&format!("unix://{}", socket.display())).await;
    let listed: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
    assert_eq!(listed.lines().filter(|line| line.contains(" user=nop ")).count(), 1, "{listed}");
    layer.close().await.unwrap();
}

#[test]
fn a_user_without_a_password_sends_on_the_command_line_as_that_user() {
    let users = b"user default on nopass ~* &* +@all -evalsha\nuser nop on nopass ~* &* +@all\n";
    let server = Server::private_with_files(&["--aclfile", "{dir}/users"], &[("users", users)]);
    let url = server.url().replace("redis://", "redis://nop@");
    let sent =
        Command::new(env!("CARGO_BIN_EXE_asgi-redis")).args(["--redis", &url, "send", "a", "1"]).output();
    let sent = sent.unwrap();
    assert!(sent.status.success(), "{sent:?}");
}

fn server_with_a_worker() -> Server {
    let users = b"user default on nopass ~* &* +@all\nuser worker on >first ~* &* +@all\n";
    Server::private_with_files(&["--aclfile", "{dir}/users"], &[("users", users)])
}

/// Gives the worker another password, and ends its connections.
async fn change_password(server: &Server, password: &str) {
    let mut admin = server.connection().await;
    let password = format!(">{password}");
    let set = ["SETUSER", "worker", "resetpass", &password];
    let () = redis::cmd("ACL").arg(&set).query_async(&mut admin).await.unwrap();
    let _: i64 = redis::cmd("CLIENT").arg(&["KILL", "USER", "worker"]).query_async(&mut admin).await.unwrap();
}

async fn send_soon(layer: &RedisChannelLayer) {
    until("a send goes through", async || layer.send("a", &1).await.is_ok()).await;
}

#[tokio::test]
async fn a_callback_is_asked_at_each_connection() {
    let server = server_with_a_worker();
    let password = Arc::new(Mutex::new("first".to_owned()));
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = {
        let (password, asked) = (Arc::clone(&password), Arc::clone(&asked));
        move |host: Host| {
            assert!(host.to_string().starts_with("redis://127.0.0.1"), "{host}");
            asked.fetch_add(1, Ordering::Relaxed);
            let password = password.lock().unwrap().clone();
            async move { Ok(Credentials::new("worker", password)) }
        }
    };
    let options = options(&server, "callback").credentials(provider);
    let layer = options.connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    *password.lock().unwrap() = "second".to_owned();
    change_password(&server, "second").await;
    send_soon(&layer).await;
    assert!(asked.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn what_a_callback_fails_with_is_told_and_it_is_asked_again() {
    let server = server_with_a_worker();
    let fails = Arc::new(AtomicUsize::new(0));
    let provider = {
        let fails = Arc::clone(&fails);
        move |_: Host| {
            let fails = fails.load(Ordering::Relaxed);
            async move {
                match fails {
                    0 => Ok(Credentials::new("worker", "first")),
                    1 => Err(Error::new(ErrorKind::Credentials, "the vault is sealed")),
                    _ => std::future::pending().await,
                }
            }
        }
    };
    let options = options(&server, "callback-fails").credentials(provider);
    let layer = options.connect().await.unwrap();
    for said in ["the vault is sealed", "none came within 300ms"] {
        fails.fetch_add(1, Ordering::Relaxed);
        let options = options.clone().connect_timeout(Duration::from_millis(300));
        let error = options.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    fails.store(1, Ordering::Relaxed);
    change_password(&server, "first").await;
    until("it is told", async || layer.send("a", &1).await.is_err_and(|it| it.to_string().contains("vault")))
        .await;
    fails.store(0, Ordering::Relaxed);
    send_soon(&layer).await;
}

#[tokio::test]
async fn a_password_file_is_read_at_each_connection() {
    let server = server_with_a_worker();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let url = server.url().replace("redis://", "redis://worker@");
    let document =
        serde_json::json!({"hosts": [&url], "password_file": &file, "prefix": unique_prefix("file")});
    let options: ConfigBuilder = serde_json::from_str(&document.to_string()).unwrap();
    let layer = options.connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    std::fs::write(&file, "second").unwrap();
    change_password(&server, "second").await;
    send_soon(&layer).await;

    let cli = || {
        let mut cli = Command::new(env!("CARGO_BIN_EXE_asgi-redis"));
        cli.args(["--redis", &url, "send", "a", "1", "--password-file"]).arg(&file);
        cli.output().unwrap()
    };
    assert!(cli().status.success());
    for (content, said) in [("wrong", "WRONGPASS"), ("", "it is empty"), ("a\nb\n", "it has several lines")] {
        std::fs::write(&file, content).unwrap();
        let ended = cli();
        assert_eq!(ended.status.code(), Some(6), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains(said), "{ended:?}");
    }
    std::fs::remove_file(&file).unwrap();
    let ended = cli();
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("No such file"), "{ended:?}");
}

#[test]
fn credentials_are_given_in_one_way() {
    let file = ConfigBuilder::new().hosts("redis://me:secret@a").password_file("/run/secret");
    let error = file.build().unwrap_err().to_string();
    assert!(error.contains("option `password_file`: redis://***@a:6379/0 has a password"), "{error}");
    let both =
        ConfigBuilder::new().password_file("/p").credentials(|_| async { Ok(Credentials::password("x")) });
    assert!(both.build().unwrap_err().to_string().contains("are both given"), "{both:?}");
    assert!(ConfigBuilder::new().hosts("redis://me@a").password_file("/p").build().is_ok());
}
