//! Documents as users of asgi_redis have them: the examples of its README, in the shape of JSON.

use std::time::Duration;

use asgi_redis::{Backend, ChannelLayers, ChannelName, Config, ConfigBuilder, ErrorKind, Value};

#[track_caller]
fn built(document: &str) -> Config {
    let builder: ConfigBuilder = serde_json::from_str(document).unwrap();
    builder.build().unwrap()
}

fn capacity(config: &Config, name: &str) -> usize {
    config.capacity_of(&ChannelName::new(name).unwrap())
}

#[track_caller]
fn layers_refusal(document: &str) -> String {
    layers_refusal_of(ErrorKind::Config, document)
}

#[track_caller]
fn layers_refusal_of(kind: ErrorKind, document: &str) -> String {
    let value: Value = serde_json::from_str(document).unwrap();
    let error = ChannelLayers::try_from(value).unwrap_err();
    assert_eq!(error.kind(), kind);
    error.to_string()
}

#[test]
fn the_first_example_of_the_readme_loads() {
    let config = built(
        r#"{"host": "redis", "db": 4, "channel_capacity": {"http.request": 200, "http.response*": 10}}"#,
    );
    assert_eq!(config.hosts()[0].to_string(), "redis://redis:6379/4");
    assert_eq!(capacity(&config, "http.request"), 200);
    assert_eq!(capacity(&config, "http.response!ab12"), 10);
    assert_eq!(capacity(&config, "http.response.K3x9!ab12"), 10);
    assert_eq!(capacity(&config, "websocket.connect"), 100);
}

#[test]
fn the_capacity_example_of_the_readme_means_what_its_text_says() {
    let config = built(
        r#"{
            "channel_capacity": {
                "http.request": 200,
                "http.response!*": 10,
                "re:^websocket.send\\!.+": 20
            }
        }"#,
    );
    for (name, expected) in [
        ("http.request", 200),
        ("http.response!ab", 10),
        ("http.response.K3x9!ab", 10),
        ("http.response.K3x9!", 10),
        ("websocket.send!ab", 20),
        ("websocket.send.K3x9!ab12", 20),
        ("websocket.send.K3x9!", 20),
        ("http.response", 100),
        ("websocket.send", 100),
        ("http.request.body?ab", 100),
    ] {
        assert_eq!(capacity(&config, name), expected, "{name}");
    }
}

const CHANNEL_LAYERS: &str = r#"{
    "default": {
        "BACKEND": "asgi_redis.RedisChannelLayer",
        "ROUTING": "my_project.routing.channel_routing",
        "CONFIG": {
            "hosts": ["redis://:password@127.0.0.1:6379/0"],
            "symmetric_encryption_keys": ["the secret key of the README"]
        }
    }
}"#;

#[test]
fn the_channel_layers_example_of_the_readme_loads_and_shows_none_of_its_secrets() {
    let layers: ChannelLayers = serde_json::from_str(CHANNEL_LAYERS).unwrap();
    let layer = layers.get("default").unwrap();
    assert_eq!(layer.backend(), Backend::Redis);
    let config = layer.config().build().unwrap();
    assert_eq!(config.hosts()[0].to_string(), "redis://***@127.0.0.1:6379/0");
    assert!(config.has_encryption_keys() && !config.hides_names());
    let shown = format!("{layers:?} {layer:?} {config:?}");
    assert!(!shown.contains("secret") && !shown.contains("password"), "{shown}");
}

#[test]
fn keys_are_a_text_or_a_list_of_texts_and_one_alone_hides_names() {
    for document in [
        r#"{"symmetric_encryption_keys": "one"}"#,
        r#"{"symmetric_encryption_keys": ["one"]}"#,
        r#"{"symmetric_encryption_keys": ["one", "two"], "hide_names": "three"}"#,
    ] {
        let config = built(document);
        assert!(config.has_encryption_keys(), "{document}");
        assert_eq!(config.hides_names(), document.contains("three"));
    }
    for (document, said) in [
        (r#"{"symmetric_encryption_keys": []}"#, "option `symmetric_encryption_keys`: the list is empty"),
        (r#"{"symmetric_encryption_keys": ""}"#, "option `symmetric_encryption_keys`: key 1 of 1 is empty"),
        (
            r#"{"hide_names": "three"}"#,
            "option `hide_names`: names are hidden only where messages are sealed",
        ),
    ] {
        let builder: ConfigBuilder = serde_json::from_str(document).unwrap();
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with(said), "{error}");
    }
    let error = serde_json::from_str::<ConfigBuilder>(r#"{"symmetric_encryption_keys": [7]}"#).unwrap_err();
    assert!(
        error.to_string().contains("option `symmetric_encryption_keys`: a number is not a key"),
        "{error}"
    );
}

#[test]
fn hosts_may_be_pairs_of_host_and_port() {
    let config =
        built(r#"{"hosts": [["redis-channel-1", 6379], ["redis-channel-2", 6380], "redis://third"]}"#);
    let hosts: Vec<String> = config.hosts().iter().map(ToString::to_string).collect();
    assert_eq!(
        hosts,
        ["redis://redis-channel-1:6379/0", "redis://redis-channel-2:6380/0", "redis://third:6379/0"]
    );
}

#[test]
fn the_order_of_patterns_is_that_of_the_document() {
    let patterns: Vec<String> =
        (0..50).rev().map(|n| format!("\"a*{}\": {}", "*".repeat(n), n + 1)).collect();
    let config = built(&format!(r#"{{"channel_capacity": {{{}}}}}"#, patterns.join(", ")));
    assert_eq!(capacity(&config, "abc"), 50);
    let config = built(r#"{"channel_capacity": [["z*", 1], ["*", 2], ["a*", 3]]}"#);
    assert_eq!(capacity(&config, "abc"), 2);
}

#[test]
fn limits_and_times_can_be_written_in_a_document() {
    let config = built(
        r#"{
            "hosts": ["rediss://redis1/1"], "prefix": "mine:", "expiry": 1.5, "group_expiry": 10, "capacity": 7,
            "inbox_capacity": 8, "inbox_bytes": 2000000, "channel_capacity": {}, "max_message_size": 2048,
            "lease": 30, "membership_lease": 31, "renew_memberships": true, "response_timeout": 2,
            "connect_timeout": 0.5, "max_channels_per_receive": 10, "max_sends_in_flight": 11
        }"#,
    );
    assert_eq!(config.queue_capacity_of(&ChannelName::new("any!a").unwrap()), 8);
    assert_eq!(config.inbox_bytes(), 2_000_000);
    assert_eq!(config.membership_lease(), Duration::from_secs(31));
    assert!(config.renew_memberships());
    assert_eq!(config.hosts()[0].to_string(), "rediss://redis1:6379/1");
    assert_eq!(config.prefix(), "mine:");
    assert_eq!(config.expiry(), Duration::from_millis(1500));
    assert_eq!(config.group_expiry(), Duration::from_secs(10));
    assert_eq!(capacity(&config, "any"), 7);
    assert_eq!(config.max_message_size(), 2048);
    assert_eq!(config.lease(), Duration::from_secs(30));
    assert_eq!(config.response_timeout(), Duration::from_secs(2));
    assert_eq!(config.connect_timeout(), Duration::from_millis(500));
    assert_eq!(config.max_channels_per_receive(), 10);
    assert_eq!(config.max_sends_in_flight(), 11);
}

#[test]
fn a_bare_config_is_that_of_the_default_alias() {
    let mut layers: ChannelLayers = serde_json::from_str(r#"{"capacity": 5}"#).unwrap();
    let config = layers.take("default").unwrap().into_config().build().unwrap();
    assert_eq!(capacity(&config, "any"), 5);
    assert!(layers_refusal(r#"{"capacity": 5, "capactiy": 6}"#).starts_with("unknown option \"capactiy\""));
}

#[test]
fn several_aliases_are_kept_apart_and_a_missing_one_is_named() {
    let mut layers: ChannelLayers = serde_json::from_str(
        r#"{
            "default": {"BACKEND": "asgi_redis.RedisChannelLayer"},
            "other": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {"prefix": "other:"}}
        }"#,
    )
    .unwrap();
    assert_eq!(layers.aliases().collect::<Vec<_>>(), ["default", "other"]);
    assert_eq!(layers.get("other").unwrap().config().build().unwrap().prefix(), "other:");
    assert_eq!(
        layers.take("third").unwrap_err().to_string(),
        "CHANNEL_LAYERS has no layer \"third\"; it has `default`, `other`"
    );
    assert!(layers.take("default").is_ok() && layers.get("default").is_none());
}

#[test]
fn what_is_unknown_in_channel_layers_is_named() {
    assert_eq!(
        layers_refusal_of(
            ErrorKind::Unsupported,
            r#"{"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}"#
        ),
        "CHANNEL_LAYERS[\"default\"]: BACKEND \"channels_redis.core.RedisChannelLayer\" is unknown; known are \
         \"asgi_redis.RedisChannelLayer\", \"asgi_redis.RedisLocalChannelLayer\", \
         \"asgiref.inmemory.ChannelLayer\", \"channels.layers.InMemoryChannelLayer\""
    );
    assert!(
        layers_refusal_of(
            ErrorKind::Unsupported,
            r#"{"default": {"BACKEND": "asgi_redis.RedisSentinelChannelLayer"}}"#
        )
        .contains("is not supported yet")
    );
    assert!(layers_refusal(r#"{"default": {}}"#).contains("BACKEND is missing"));
    assert!(
        layers_refusal(r#"{"default": "x"}"#)
            .contains("CHANNEL_LAYERS[\"default\"] must be a map, not a text")
    );
    assert_eq!(
        layers_refusal(r#"{"default": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFG": {}}}"#),
        "CHANNEL_LAYERS[\"default\"]: unknown key \"CONFG\"; the keys are `BACKEND`, `ROUTING` and `CONFIG`"
    );
    assert!(
        layers_refusal(r#"{"a": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {"capacity": "x"}}}"#)
            .starts_with("CHANNEL_LAYERS[\"a\"]: option `capacity`: \"x\" is not a whole number")
    );
}

#[test]
fn a_document_names_every_layer_and_the_local_half_of_one() {
    let layers: ChannelLayers = serde_json::from_str(
        r#"{
            "redis": {"BACKEND": "asgi_redis.RedisChannelLayer"},
            "local": {"BACKEND": "asgi_redis.RedisLocalChannelLayer",
                      "CONFIG": {"capacity": 5, "local": "unix:///run/local.sock"}},
            "memory": {"BACKEND": "asgiref.inmemory.ChannelLayer"},
            "today": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"expiry": 30}},
            "url": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {"hosts": ["memory://"]}}
        }"#,
    )
    .unwrap();
    for (alias, backend) in [
        ("redis", Backend::Redis),
        ("local", Backend::RedisLocal),
        ("memory", Backend::Memory),
        ("today", Backend::Memory),
        ("url", Backend::Memory),
    ] {
        assert_eq!(layers.get(alias).unwrap().backend(), backend, "{alias}");
    }
    assert!(
        layers_refusal(r#"{"a": {"BACKEND": "asgi_redis.RedisLocalChannelLayer", "CONFIG": {"local": 5}}}"#)
            .starts_with("CHANNEL_LAYERS[\"a\"]: option `local`: 5 is not a server; write a URL")
    );
    assert!(
        layers_refusal(
            r#"{"a": {"BACKEND": "asgi_redis.RedisChannelLayer", "CONFIG": {"local": "memory://"}}}"#
        )
        .contains("unknown option \"local\"")
    );
}

#[tokio::test]
async fn memory_is_no_server_and_stands_alone() {
    let options = ConfigBuilder::new().hosts(["memory://"]);
    assert!(options.build().unwrap().hosts().is_empty());
    let refused = options.connect().await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("option `hosts`: memory:// is the memory of this process and no server")
    );
    for hosts in [&["memory://", "redis://a"][..], &["memory://shared"]] {
        let refused = ConfigBuilder::new().hosts(hosts.to_vec()).build().unwrap_err().to_string();
        assert!(
            refused.contains("the memory of this process is memory://, with nothing after it"),
            "{refused}"
        );
    }
}

#[test]
fn a_server_that_is_to_have_tls_gets_it_or_is_refused_whatever_the_form_of_its_address() {
    let hosts = |server: &str| -> Result<String, String> {
        let document = format!(r#"{{"hosts": [{server}]}}"#);
        let builder: ConfigBuilder = serde_json::from_str(&document).map_err(|error| error.to_string())?;
        let config = builder.build().map_err(|error| error.to_string())?;
        Ok(config.hosts()[0].to_string())
    };
    for address in ["redis1:6379", "redis1", "rediss://redis1", "REDISS://redis1:6379", "valkeys://redis1"] {
        let read = hosts(&format!(r#"{{"address": "{address}", "ssl": true}}"#));
        assert_eq!(read.as_deref(), Ok("rediss://redis1:6379/0"), "{address}");
    }
    for address in ["redis://redis1", "REDIS://redis1", "valkey://redis1", "unix:///run/sock"] {
        let refused = hosts(&format!(r#"{{"address": "{address}", "ssl": true}}"#)).unwrap_err();
        assert!(refused.contains("without TLS; write rediss://"), "{address}: {refused}");
    }
    for (server, said) in [
        (r#"{"address": "redis://redis1", "port": 1}"#, "both `address` and `port`"),
        (r#"{"address": ["redis1", 1], "host": "x"}"#, "`host` beside an `address`"),
        (r#"{"path": "/run/sock", "url": "redis://redis1"}"#, "beside another address"),
    ] {
        let refused = hosts(server).unwrap_err();
        assert!(refused.contains(said), "{server}: {refused}");
    }
    // A bare address may have the rest beside it.
    let bare = hosts(r#"{"address": "redis1:7000", "password": "secret", "db": 1}"#);
    assert_eq!(bare.as_deref(), Ok("redis://***@redis1:7000/1"));
}

#[test]
fn what_is_wrong_with_an_address_is_told_by_what_is_there() {
    for (document, said) in [
        (r#"{"hosts": "redis://redis1:99999"}"#, "port 99999 is none; ports are 1 to 65535"),
        (r#"{"hosts": ["redis://redis1:7000,redis2:7000"]}"#, "write redis:// before each"),
        (r#"{"host": "redis1:7000"}"#, "write redis1 as the host and 7000 as the port"),
        (r#"{"hosts": [["redis1:7000", 6379]]}"#, "write redis1 as the host and 7000 as the port"),
        (r#"{"hosts": [{"host": "redis1:7000"}]}"#, "has a port in it; write that as `port`"),
        (r#"{"hosts": "redis://:p/w@redis1"}"#, "percent-encoded"),
    ] {
        let builder: Result<ConfigBuilder, _> = serde_json::from_str(document);
        let refused = builder
            .map_err(|error| error.to_string())
            .and_then(|builder| builder.build().map_err(|error| error.to_string()));
        let refused = refused.expect_err(document);
        assert!(refused.contains(said), "{document}: {refused}");
    }
}
