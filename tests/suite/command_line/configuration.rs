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
    refused.failed(2, &format!("flush removes everything under prefix {prefix:?}: redis://{}/0: 1 message in 1 queue, 1 group; repeat it with --yes", server.address()));
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

/// A document with a local and remote layer; `local` is the option, or nothing.
fn local_and_remote(name: &str, remote: &str, local: &str, prefix: &str) -> File {
    let config = format!(r#"{{"hosts": ["{remote}"], "prefix": "{prefix}"{local}}}"#);
    let backend = "asgi_redis.RedisLocalChannelLayer";
    File::new(name, &format!(r#"{{"default": {{"BACKEND": "{backend}", "CONFIG": {config}}}}}"#))
}

#[test]
fn flush_and_shards_name_both_halves_of_a_local_and_remote_layer() {
    let (server, prefix) = (Server::shared(), unique_prefix("both-halves"));
    let (remote, local) = (server.url_with_db(0), server.url_with_db(1));
    let file = local_and_remote("both-halves", &remote, &format!(r#", "local": "{local}""#), &prefix);
    let on = |arguments: &[&str]| run(program().args(arguments).args(["--config", file.name()]));
    on(&["send", "here", "1"]).done();
    let shards = on(&["shards", "--json"]).json();
    assert_eq!(shards.iter().map(|shard| shard["messages"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    let shown = on(&["flush", "--dry-run"]).done();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.lines().nth(1).unwrap().contains(": 1 message in 1 queue"), "{shown}");
    let removed = on(&["flush", "--yes", "--json"]).json().remove(0);
    assert_eq!(removed["servers"].as_array().unwrap().len(), 2, "{removed}");
    assert_eq!(on(&["shards", "--json"]).json()[1]["messages"], 0);
}

#[test]
fn a_channel_that_is_in_the_memory_of_the_program_alone_is_refused() {
    let (server, prefix) = (Server::shared(), unique_prefix("local-memory"));
    let file = local_and_remote("local-memory", &server.url(), "", &prefix);
    for arguments in [&["send", "here", "1"][..], &["receive", "here", "--timeout", "0"]] {
        let refused = run(program().args(arguments).args(["--config", file.name()]));
        refused.failed(2, "channel \"here\" is in the memory of this program alone");
    }
    run(program().args(["send", "there?1", "1", "--config", file.name()])).done();
}

#[test]
fn flush_removes_nothing_where_one_of_the_servers_cannot_be_looked_at() {
    let (server, prefix) = (Server::shared(), unique_prefix("flush-one-down"));
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = format!("{},redis://{nobody}", server.url());
    let flush = |how: &str| run(program().args(["--redis", &both, "--prefix", &prefix, "flush", how]));
    flush("--yes").failed(4, "nothing was removed, for what is there is unknown: server redis://");
    let shown = flush("--dry-run");
    assert_eq!(shown.status, Some(4), "{shown:?}");
    assert!(shown.out.contains(": unknown: ") && shown.out.contains(": 1 message in 1 queue"), "{shown:?}");
    let left = run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"]));
    assert_eq!(left.json().len(), 1, "{left:?}");
}

#[test]
fn shards_ends_by_what_is_wrong_with_a_server() {
    let [server, other] =
        [(); 2].map(|()| Server::private_with(&["--requirepass", "secret", "--databases", "2"]));
    let [good, others] = [&server, &other].map(|server| server.url().replace("redis://", "redis://:secret@"));
    for (bad, status) in [(other.url(), 6), (format!("{others}/7"), 7)] {
        let shown = run(program().args(["--redis", &good, "--redis", &bad, "shards"]));
        assert_eq!((shown.status, shown.out.lines().count()), (Some(status), 2), "{shown:?}");
        assert!(shown.out.lines().nth(1).unwrap().contains("  refuses: "), "{shown:?}");
    }
}

#[test]
fn a_document_whose_options_stand_in_the_wrong_place_says_where_they_belong() {
    let layer = r#""default": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {}}"#;
    for option in ["inbox_capcity", "inbox_capacity", "capacity"] {
        let file = File::new("misplaced", &format!(r#"{{{layer}, "{option}": 5}}"#));
        let said = run(program().args(["shards", "--config", file.name()]));
        let words =
            format!("CHANNEL_LAYERS[\"{option}\"] is no layer; an option belongs into the CONFIG of a layer");
        assert!(said.status == Some(2) && said.err.contains(&words), "{said:?}");
    }
    let server = Server::shared();
    let url = server.url();
    let inner = format!(
        r#"{{"default": {{"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {{"hosts": ["{url}"]}}}}}}"#
    );
    let file = File::new("outer", &format!(r#"{{"CHANNEL_LAYERS": {inner}}}"#));
    run(program().args(["shards", "--config", file.name()])).done();
}

#[test]
fn a_number_that_is_none_is_told_in_words() {
    for arguments in [
        ["receive", "a", "--count", "-1"],
        ["send", "a", "--capacity", "-5"],
        ["send", "a", "--inbox-capacity", "many"],
    ] {
        let said = run(program().args(arguments));
        assert!(said.status == Some(2) && said.err.contains("not a whole number, such as 0"), "{said:?}");
    }
}

#[test]
fn no_password_is_shown_however_broken_its_url_is() {
    let secret = "s3cretpw";
    for url in [
        format!("redis://:{secret}"),
        format!("redis://user:{secret}/0"),
        format!("rediss://user:{secret}"),
        format!("unix://:{secret}/x"),
        format!("redis://:{secret}%40h"),
        format!("redis://h#{secret}"),
        format!("redis:{secret}"),
        format!("h:{secret}"),
        format!("redis://h --pass {secret}"),
    ] {
        let commands = [
            vec!["--redis", &url, "shards"],
            vec!["drain", "--from", &url, "--redis", "redis://127.0.0.1:1"],
        ];
        for arguments in commands {
            let said = run(program().args(&arguments));
            assert_ne!(said.status, Some(0), "{said:?}");
            assert!(!said.err.contains(secret) && !said.out.contains(secret), "{url}: {said:?}");
        }
    }
    let shown = run(program().args(["shards", &format!("redis://:{secret}")]));
    assert!(!shown.err.contains(secret), "{shown:?}");
}
