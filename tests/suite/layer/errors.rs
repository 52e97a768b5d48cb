//! Bad input and bad data get clear errors, and stop nobody.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind, PackedMessage, Value};
use futures::future::join_all;
use serde::Deserialize;

use super::{fill, layers, options, options_at, soon};
use crate::support::{Server, Servers};

#[tokio::test]
async fn hostile_bytes_in_a_queue_are_errors_of_their_own_and_do_not_stop_the_reader() {
    let server = Server::shared();
    let options = options(&server, "hostile");
    let layer = options.connect().await.unwrap();
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let header = [&[0_u8; 10][..], &[0, 0, 3, 0, 0, 0, 0, 0]].concat();
    let entries: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"short".to_vec(),
        vec![0xff; 40],
        [&header[..], b"?unknown kind"].concat(),
        [&header[..], b"m"].concat(),
        [&header[..], b"m \xc1"].concat(),
        [&header[..], b"m \xdf\xff\xff\xff\xff"].concat(),
    ];
    for entry in &entries {
        let () =
            redis::cmd("RPUSH").arg(format!("{prefix}q:a")).arg(entry).query_async(&mut admin).await.unwrap();
    }
    layer.send("a", &7).await.unwrap();
    for entry in &entries {
        let error = soon("an error", layer.receive::<Value>(["a"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        assert!(error.to_string().contains("channel \"a\""), "{error}");
        assert!(entry.ends_with(error.undecoded().unwrap()), "{error}");
    }
    assert_eq!(soon("the message", layer.receive::<u64>(["a"])).await.unwrap().1, 7);
}

on_one_and_three_servers!(a_message_of_another_type_is_an_error_that_keeps_it);
async fn a_message_of_another_type_is_an_error_that_keeps_it(servers: Servers) {
    #[derive(Debug, Deserialize)]
    struct Request {
        #[expect(dead_code, reason = "only its absence counts")]
        path: String,
    }
    let layer = options(&servers, "type").connect().await.unwrap();
    let message = Value::map([("method", "GET")]);
    layer.send("a", &message).await.unwrap();
    let error = layer.receive::<Request>(["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("channel \"a\"") && error.to_string().contains("path"), "{error}");
    let kept = PackedMessage::from_bytes(error.undecoded().unwrap().clone());
    assert_eq!(kept.unpack::<Value>().unwrap(), message);
}

on_one_and_three_servers!(bad_names_are_refused_before_anything_is_asked);
async fn bad_names_are_refused_before_anything_is_asked(servers: Servers) {
    let layer = options(&servers, "names").connect().await.unwrap();
    let invalid = async |name: &str| layer.send(name, &1).await.unwrap_err().to_string();
    assert!(invalid("a b").await.contains("invalid channel name \"a b\""));
    assert!(invalid("inbox!").await.contains("is an inbox; send to an address in it"));
    let refused = async |names: &[&str]| {
        let error = layer.receive::<u64>(names).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
        error.to_string()
    };
    assert!(refused(&[]).await.contains("at least one channel"));
    assert!(refused(&["inbox!local"]).await.contains("its messages come to the inbox \"inbox!\""));
    assert!(refused(&["x?"]).await.contains("something must follow"));
    let many: Vec<String> = (0..1001).map(|number| format!("c-{number}")).collect();
    let error = layer.receive::<u64>(&many).await.unwrap_err();
    assert!(
        error.to_string().contains("1001 channels, option `max_channels_per_receive` allows 1000"),
        "{error}"
    );
    assert!(layer.new_channel("inbox!").unwrap_err().to_string().contains("open an inbox"));
}

#[tokio::test]
async fn a_foreign_key_in_the_place_of_a_queue_fails_only_its_own_channel() {
    let server = Server::shared();
    let options = options(&server, "foreign");
    let layer = options.connect().await.unwrap();
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let () =
        redis::cmd("SET").arg(format!("{prefix}q:taken")).arg("x").query_async(&mut admin).await.unwrap();
    let (send_taken, send_free, receive_taken, receive_free) = tokio::join!(
        layer.send("taken", &1),
        layer.send("free", &1),
        layer.receive::<u64>(["taken"]),
        layer.receive::<u64>(["free"]),
    );
    send_free.unwrap();
    receive_free.unwrap();
    for error in [send_taken.unwrap_err(), receive_taken.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Script);
        let named =
            format!("WRONGTYPE Operation against a key holding the wrong kind of value: {prefix}q:taken");
        assert!(error.to_string().contains(&named), "{error}");
    }
}

#[tokio::test]
async fn data_of_another_schema_are_refused_by_number() {
    let server = Server::shared();
    let options = options(&server, "schema");
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let () = redis::cmd("SET").arg(format!("{prefix}schema")).arg(99).query_async(&mut admin).await.unwrap();
    let error = options.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.to_string().contains("schema 99") && error.to_string().contains("reads and writes 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_memory_refuses_sends_and_still_gives_out_what_waits() {
    let server = Server::private_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let layer = options(&server, "memory").capacity(100_000).connect().await.unwrap();
    let text = "x".repeat(10_000);
    let mut sent = 0;
    let error = loop {
        match layer.send("a", &text).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ServerFull);
    assert!(error.may_retry() && !error.perhaps_sent());
    for _ in 0..sent {
        soon("a message", layer.receive::<String>(["a"])).await.unwrap();
    }
    assert!(layer.try_receive::<String>(["a"]).await.unwrap().is_none(), "the refused message was sent");
    layer.send("a", &text).await.unwrap();
}

#[tokio::test]
async fn a_host_where_nothing_listens_is_an_error_that_names_it() {
    let error = ConfigBuilder::new().hosts(["redis://:secret@127.0.0.1:1/0"]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.may_retry() && !error.perhaps_sent());
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_show_it() {
    let server = Server::private_with(&["--requirepass", "right"]);
    let url = |password| server.url().replace("redis://", &format!("redis://:{password}@"));
    ConfigBuilder::new().hosts([url("right")]).connect().await.unwrap();
    let error = ConfigBuilder::new().hosts([url("wrong-one")]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(!format!("{error} {error:?}").contains("wrong-one"), "{error:?}");
}

#[tokio::test]
async fn a_foreign_key_in_the_place_of_a_line_fails_only_its_own_receive_and_loses_nothing() {
    let server = Server::shared();
    let options = options(&server, "foreign-line");
    let [layer, sender] = layers(&options).await;
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let () =
        redis::cmd("SET").arg(format!("{prefix}w:taken")).arg("x").query_async(&mut admin).await.unwrap();
    sender.send("free", &1).await.unwrap();
    // Both are asked for in one call.
    let (free, taken) =
        soon("both", async { tokio::join!(layer.receive::<u64>(["free"]), layer.receive::<u64>(["taken"])) })
            .await;
    let error = taken.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Script);
    assert!(error.to_string().contains(&format!("wrong kind of value: {prefix}w:taken")), "{error}");
    assert_eq!(free.unwrap().1, 1);
}

#[tokio::test]
async fn what_goes_back_to_a_line_with_a_foreign_key_is_not_lost() {
    let server = Server::shared();
    let options = options(&server, "foreign-back");
    let [layer, other] = layers(&options).await;
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    {
        let mut receive = pin!(layer.receive::<u64>(["a"]));
        fill(receive.as_mut(), &other).await;
        let () =
            redis::cmd("SET").arg(format!("{prefix}w:a")).arg("x").query_async(&mut admin).await.unwrap();
    }
    let message = async {
        loop {
            if let Some((_, number)) = other.try_receive::<u64>(["a"]).await.unwrap() {
                return number;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(soon("the message", message).await, 1);
}

#[tokio::test]
async fn a_send_without_a_right_that_is_needed_late_has_sent_nothing() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let layer = options(&server, "late-right").connect().await.unwrap();
    layer.send("b", &1).await.unwrap();
    // The script appends a message before it sets the time that the queue lives.
    let () =
        redis::cmd("ACL").arg(&["SETUSER", "default", "-pexpire"]).query_async(&mut admin).await.unwrap();
    for channel in ["a", "b"] {
        let error = layer.send(channel, &2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rights, "{error}");
        assert!(error.to_string().contains("+pexpire") && !error.perhaps_sent(), "{error:?}");
    }
    let () =
        redis::cmd("ACL").arg(&["SETUSER", "default", "+pexpire"]).query_async(&mut admin).await.unwrap();
    assert_eq!(layer.try_receive::<u64>(["a"]).await.unwrap(), None);
    assert_eq!(layer.try_receive::<u64>(["b"]).await.unwrap().unwrap().1, 1);
    assert_eq!(layer.try_receive::<u64>(["b"]).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_without_rights_is_told_so_and_does_not_flood_the_server() {
    let users = b"user default on nopass ~* &* +@all\n";
    let server = Server::private_with_files(&["--aclfile", "{dir}/users"], &[("users", users)]);
    let admin = server.connection().await;
    let set_user = async |rules: &[&str]| {
        let mut admin = admin.clone();
        let () = redis::cmd("ACL")
            .arg("SETUSER")
            .arg("worker")
            .arg("on")
            .arg(">secret")
            .arg(rules)
            .query_async(&mut admin)
            .await
            .unwrap();
    };
    set_user(&["~*", "+@all"]).await;
    let url = server.url().replace("redis://", "redis://worker:secret@");
    let options = options_at(&url, "rights");
    let error = options.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rights, "{error}");
    assert!(
        error.to_string().contains("NOPERM") && !error.to_string().contains("cannot be reached"),
        "{error}"
    );

    set_user(&["allchannels"]).await;
    let layer = options.connect().await.unwrap();
    let receives = AtomicU64::new(0);
    set_user(&["-evalsha"]).await;
    // More failures than finished tickets fit into a call.
    let failing = async {
        while receives.load(Ordering::Relaxed) < 1200 {
            let one = async || {
                let received =
                    tokio::time::timeout(Duration::from_millis(50), layer.receive::<u64>(["a"])).await;
                if let Ok(received) = received {
                    assert_eq!(received.unwrap_err().kind(), ErrorKind::Rights);
                }
                receives.fetch_add(1, Ordering::Relaxed);
            };
            join_all((0..100).map(|_| one())).await;
        }
    };
    soon("the failures", failing).await;
    let before = rejected(&admin).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = rejected(&admin).await - before;
    assert!(refused < 100, "{refused} refused calls in a second while nobody asks");
    set_user(&["+evalsha"]).await;
    let sent = async {
        while layer.send("a", &1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a send", sent).await;
    assert_eq!(soon("the message", layer.receive::<u64>(["a"])).await.unwrap().1, 1);
}

/// How many calls of scripts the server rejected before they began.
async fn rejected(admin: &redis::aio::MultiplexedConnection) -> u64 {
    let mut admin = admin.clone();
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut admin).await.unwrap();
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    let rejected = line.split("rejected_calls=").nth(1).unwrap();
    rejected.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn connecting_outside_of_a_runtime_is_an_error() {
    let error = futures::executor::block_on(ConfigBuilder::new().connect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
    assert_eq!(error.to_string(), "a layer is connected inside a Tokio runtime, and there is none here");
}

#[tokio::test]
async fn each_error_about_a_key_of_another_program_names_it() {
    let server = Server::shared();
    let options = options(&server, "foreign-named");
    let layer = options.connect().await.unwrap();
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut admin = server.connection().await;
    let mut take = async |key: &str| {
        let mut set = redis::cmd("SET");
        let () = set.arg(format!("{prefix}{key}")).arg("x").query_async(&mut admin).await.unwrap();
    };
    for key in ["q:p.1!", "b:given", "g:room", "s:news", "m:hall a", "d:attic", "q:in.1!"] {
        take(key).await;
    }
    layer.send("given", &1).await.unwrap();
    let errors = [
        ("q:p.1!", layer.send("p.1!a", &1).await.unwrap_err()),
        ("b:given", layer.try_receive::<u64>(["given"]).await.unwrap_err()),
        ("g:room", layer.group_send("room", &1).await.unwrap_err()),
        ("g:room", layer.group_channels("room").await.unwrap_err()),
        ("s:news", layer.group_add("club", "news").await.unwrap_err()),
        ("m:hall a", layer.group_add("hall", "a").await.unwrap_err()),
        ("d:attic", layer.group_add("attic", "a").await.unwrap_err()),
        ("q:in.1!", layer.group_add("yard", "in.1!a").await.unwrap_err()),
    ];
    for (key, error) in errors {
        assert_eq!(error.kind(), ErrorKind::Script, "{key}: {error}");
        assert!(error.to_string().contains(&format!("{prefix}{key}")), "{key}: {error}");
    }
}
