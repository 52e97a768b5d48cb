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
fn options_override_the_environment_which_overrides_the_file() {
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
        run(program().args(send).env("ASGI_REDIS_URL", server.url())).done();
        run(program().args(send).env("ASGI_REDIS_URL", nowhere))
            .failed(4, "server unix:///nonexistent/socket");
        run(program().args(send).env("ASGI_REDIS_URL", "")).failed(4, "server redis://nowhere.invalid:");
    }
    let received = run(program_on(&server, &prefix).args(["receive", "a", "--count", "0", "--timeout", "0"]));
    assert_eq!(received.done().lines().count(), 4);
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
