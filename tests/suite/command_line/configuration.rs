//! Configuration files, the environment, and which of them counts.

use std::path::PathBuf;

use super::{program, program_on, run};
use crate::support::{Server, unique_prefix};

/// A file that is removed when dropped.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new(test_name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("asgi-redis-{}-{test_name}.json", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(super) fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_channel_layers_document_says_where_and_how() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_channel_layers_document"));
    let document = serde_json::json!({
        "default": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {"hosts": ["unix:///nonexistent/socket"]}},
        "other": {
            "BACKEND": "asgi_redis.RedisChannelLayer",
            "ROUTING": "my_project.routing",
            "CONFIG": {"hosts": [server.url()], "prefix": prefix, "channel_capacity": {"a*": 1}},
        },
    });
    let file = File::new("document", &document.to_string());
    let with_file = |arguments: &[&str]| run(program().args(arguments).args(["--config", file.name()]));
    with_file(&["send", "ab", "1", "--layer", "other"]).done();
    with_file(&["send", "ab", "2", "--layer", "other", "--capacity", "50"]).failed(3, "channel \"ab\"");
    assert_eq!(run(program_on(&server, &prefix).args(["receive", "ab", "--timeout", "0"])).json().len(), 1);

    with_file(&["flush"]).failed(4, "server unix:///nonexistent/socket?db=0 cannot be reached");
    with_file(&["flush", "--layer", "third"])
        .failed(2, &format!("{}: CHANNEL_LAYERS has no layer \"third\"", file.name()));
}

#[test]
fn options_override_the_file_which_overrides_the_environment() {
    let (server, prefix) = (Server::shared(), unique_prefix("options_override"));
    let nowhere = "unix:///nonexistent/socket";
    for (number, servers) in
        [r#""hosts": ["redis://nowhere.invalid"]"#, r#""host": "nowhere.invalid", "port": 1, "db": 2"#]
            .iter()
            .enumerate()
    {
        let content = format!(r#"{{{servers}, "prefix": "never:", "expiry": 0.001, "capacity": 1}}"#);
        let file = File::new(&format!("override-{number}"), &content);
        let send = [
            "send",
            "a",
            "1",
            "--config",
            file.name(),
            "--prefix",
            &prefix,
            "--expiry",
            "60",
            "--capacity",
            "9",
        ];
        run(program().args(send).args(["--redis", &server.url()]).env("ASGI_REDIS_URL", nowhere)).done();
        run(program().args(send).env("ASGI_REDIS_URL", server.url()))
            .failed(4, "server redis://nowhere.invalid:");
        run(program().args(send).env("ASGI_REDIS_URL", nowhere)).failed(4, "server redis://nowhere.invalid:");
        run(program().args(send).env("ASGI_REDIS_URL", "")).failed(4, "server redis://nowhere.invalid:");
    }
    let received = run(program_on(&server, &prefix).args(["receive", "a", "--count", "0", "--timeout", "0"]));
    assert_eq!(received.done().lines().count(), 2);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    run(program().args(["flush", "--config", "/nonexistent.json"]))
        .failed(2, "/nonexistent.json: No such file or directory");
    for (number, (content, said)) in [
        ("{", "EOF while parsing an object"),
        ("[]", "CHANNEL_LAYERS must be a map, not a list"),
        (r#"{"capactiy": 5, "hosts": []}"#, "unknown option \"capactiy\""),
        (r#"{"default": {"BACKEND": "x.Y"}}"#, "CHANNEL_LAYERS[\"default\"]: BACKEND \"x.Y\" is unknown"),
    ]
    .iter()
    .enumerate()
    {
        let file = File::new(&format!("wrong-{number}"), content);
        for arguments in [&["flush"] as &[&str], &["demo"], &["flush", "--redis", "redis://nowhere.invalid"]]
        {
            run(program().args(arguments).args(["--config", file.name()]))
                .failed(2, &format!("{}: {said}", file.name()));
        }
    }
}

#[test]
fn the_environment_may_name_several_servers() {
    let (server, prefix) = (Server::shared(), unique_prefix("environment-list"));
    let [first, second] = [4, 5].map(|db| server.url_with_db(db));
    for list in [format!("{first},{second}"), format!("{first}; {second}"), format!(" {first} {second}\n")] {
        let mut shards = program();
        shards.args(["--prefix", &prefix, "shards", "--json"]).env("ASGI_REDIS_URL", list);
        assert_eq!(run(&mut shards).json().len(), 2);
    }
}

#[test]
fn a_server_is_named_as_other_clients_do() {
    let (server, prefix) = (Server::shared(), unique_prefix("other-clients"));
    let address = server.address();
    let (with_query, bare) = (format!("redis://{address}?db=3"), format!("{address}/3"));
    run(program().args(["--redis", &with_query, "--prefix", &prefix, "send", "a", "1"])).done();
    let received =
        run(program().args(["--redis", &bare, "--prefix", &prefix, "receive", "a", "--timeout", "0"]));
    assert_eq!(received.json().len(), 1, "{received:?}");
}

#[test]
fn servers_on_sockets_and_passwords_with_commas_may_stand_in_a_list() {
    let server =
        asgi_redis::test_server::TestServer::builder().arguments(["--requirepass", "a,b"]).start().unwrap();
    let socket = server.socket().display().to_string();
    for list in [
        format!("unix://:a,b@{socket}?db=1,unix://:a,b@{socket}?db=2"),
        format!("redis+socket://:a,b@{socket}?virtual_host=1;unix://{socket}?db=2&password=a%2Cb"),
    ] {
        let shards = run(program().args(["--redis", &list, "shards", "--json"]));
        assert_eq!((shards.status, shards.json().len()), (Some(0), 2), "{shards:?}");
    }
}

#[test]
fn a_file_without_servers_leaves_them_to_the_environment() {
    let (server, prefix) = (Server::shared(), unique_prefix("no-servers"));
    let file = File::new("no-servers", &format!(r#"{{"prefix": "{prefix}"}}"#));
    let with_file = |arguments: &[&str]| {
        run(program().args(arguments).args(["--config", file.name()]).env("ASGI_REDIS_URL", server.url()))
    };
    with_file(&["send", "a", "1"]).done();
    assert_eq!(with_file(&["receive", "a", "--timeout", "0"]).json().len(), 1);
}

#[test]
fn flush_with_a_file_leaves_the_server_of_the_environment_alone() {
    let (server, prefix) = (Server::shared(), unique_prefix("flush-file"));
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    let other = server.url_with_db(1);
    let file = File::new("flush-file", &format!(r#"{{"hosts": ["{other}"], "prefix": "{prefix}"}}"#));
    let flush = ["flush", "--yes", "--json", "--config", file.name()];
    let flushed = run(program().args(flush).env("ASGI_REDIS_URL", server.url()));
    assert_eq!(flushed.json()[0]["servers"][0]["host"], format!("{other}"), "{flushed:?}");
    assert_eq!(run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"])).json().len(), 1);
}

#[test]
fn flush_says_what_it_would_remove_and_removes_it_only_if_it_is_told_so() {
    let (server, prefix) = (Server::shared(), unique_prefix("flush-asks"));
    let with = |arguments: &[&str]| run(program_on(&server, &prefix).args(arguments));
    with(&["send", "a", "1"]).done();
    with(&["group", "add", "room", "a"]).done();
    let refused = with(&["flush"]);
    refused.failed(2, &format!("flush removes everything under prefix {prefix:?}: redis://{}/0 1 message in 1 queue, 1 group; repeat it with --yes", server.address()));
    let looked = with(&["flush", "--dry-run"]).done();
    assert!(looked.contains("1 message in 1 queue, 1 group") && looked.contains(&prefix), "{looked}");
    assert_eq!(with(&["flush", "--dry-run", "--json"]).json()[0]["flushed"], false);
    assert_eq!(with(&["group", "len", "room"]).done(), "1\n");
    with(&["flush", "--yes"]).done();
    assert_eq!(with(&["group", "len", "room"]).done(), "0\n");
}

#[test]
fn a_misspelt_option_alone_is_named_as_one() {
    for (number, document) in [r#"{"capcity": 5}"#, r#"{"channel_capcity": {"a*": 1}}"#].iter().enumerate() {
        let file = File::new(&format!("misspelt-{number}"), document);
        let said = run(program().args(["shards", "--config", file.name()]));
        assert_eq!(said.status, Some(2), "{said:?}");
        assert!(
            said.err.contains("unknown option \"ca") || said.err.contains("unknown option \"ch"),
            "{said:?}"
        );
    }
}
