//! Defaults and refused options.

use std::time::Duration;

use super::*;
use crate::name::ChannelName;

#[track_caller]
fn refusal(builder: &ConfigBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Config);
    error.to_string()
}

#[test]
fn nothing_written_gives_the_defaults() {
    let config = ConfigBuilder::new().build().unwrap();
    assert_eq!(config.hosts()[0].to_string(), "redis://localhost:6379/0");
    assert_eq!(config.hosts().len(), 1);
    assert_eq!(config.prefix(), "asgi:");
    assert_eq!(config.expiry(), Duration::from_secs(60));
    assert_eq!(config.group_expiry(), Duration::from_secs(86_400));
    assert_eq!(config.capacity_of(&ChannelName::new("http.request").unwrap()), 100);
    assert_eq!(config.queue_capacity_of(&ChannelName::new("http.request").unwrap()), 100);
    assert_eq!(config.queue_capacity_of(&ChannelName::new("http.response.ab!cd").unwrap()), 10_000);
    assert_eq!(config.inbox_bytes(), 67_108_864);
    assert_eq!(config.membership_lease(), Duration::from_secs(60));
    assert!(!config.renew_memberships());
    assert_eq!(config.max_message_size(), 2_359_296);
    assert_eq!(config.lease(), Duration::from_secs(60));
    assert_eq!(config.response_timeout(), Duration::from_secs(5));
    assert_eq!(config.connect_timeout(), Duration::from_secs(5));
    assert_eq!(config.max_channels_per_receive(), 1_000);
    assert_eq!(config.max_sends_in_flight(), 4_096);
}

#[test]
fn a_value_out_of_range_is_named_with_its_option_and_the_range() {
    let new = ConfigBuilder::new;
    for (builder, said) in [
        (new().capacity(0), "option `capacity`: 0 is not allowed, only 1 to 1000000000"),
        (new().inbox_capacity(0), "option `inbox_capacity`: 0 is not allowed, only 1 to 1000000000"),
        (new().inbox_bytes(1000), "option `inbox_bytes`: 1000 is not allowed, only 1048576 to 2147483648"),
        (new().membership_lease(Duration::ZERO), "option `membership_lease`: 0 s is not allowed"),
        (
            new().expiry(Duration::ZERO),
            "option `expiry`: 0 s is not allowed, only 1 ms to 315360000 s (ten years)",
        ),
        (new().group_expiry(Duration::MAX), "option `group_expiry`: 18446744073709552000 s is not"),
        (new().lease(Duration::from_millis(999)), "option `lease`: 999 ms is not allowed, only 1 s to"),
        (new().response_timeout(Duration::ZERO), "option `response_timeout`: 0 s is not allowed"),
        (new().connect_timeout(Duration::ZERO), "option `connect_timeout`: 0 s is not allowed"),
        (new().max_message_size(0), "option `max_message_size`: 0 is not allowed, only 1 to 16777216"),
        (new().max_channels_per_receive(1_001), "option `max_channels_per_receive`: 1001 is not allowed"),
        (new().max_sends_in_flight(0), "option `max_sends_in_flight`: 0 is not allowed"),
        (
            new().channel_capacity([("a*", 1), ("b*", 0)]),
            "option `channel_capacity`: 0 for \"b*\" is not allowed, only 1 to 1000000000",
        ),
    ] {
        let refusal = refusal(&builder);
        assert!(refusal.starts_with(said), "{refusal}");
    }
}

#[test]
fn a_prefix_is_short_printable_and_leaves_braces_to_the_cluster() {
    let refusal = |prefix: &str| refusal(&ConfigBuilder::new().prefix(prefix));
    assert!(refusal("").starts_with("option `prefix`: \"\" is not allowed: it is empty"));
    assert!(refusal("a b").ends_with("only printable ASCII characters without spaces are"));
    assert!(refusal("\u{e9}:").ends_with("only printable ASCII characters without spaces are"));
    assert!(refusal("{a}:").contains("on which node of a Redis Cluster a key lives"));
    assert!(refusal(&"a".repeat(101)).ends_with("it has 101 bytes, at most 100 are"));
    assert!(ConfigBuilder::new().prefix("a".repeat(100)).build().is_ok());
}

#[test]
fn servers_are_given_in_one_way_and_once_each() {
    let urls = ConfigBuilder::new().hosts(["redis://a", "redis://b"]);
    assert_eq!(urls.build().unwrap().hosts().len(), 2);
    assert!(refusal(&urls.clone().host("c")).starts_with("options `hosts` and `host` are both given"));
    assert!(refusal(&urls.clone().port(1)).starts_with("options `hosts` and `port` are both given"));
    assert!(refusal(&urls.clone().db(1)).starts_with("options `hosts` and `db` are both given"));
    assert_eq!(
        refusal(&urls.hosts(["redis://:secret@a", "redis://A:6379/0"])),
        "option `hosts`: redis://A:6379/0 is listed twice; each server and database is one shard"
    );
    let none = ConfigBuilder::new().hosts(<[&str; 0]>::default());
    assert!(refusal(&none).starts_with("option `hosts`: the list [] is empty; write a URL"));
    let single = ConfigBuilder::new().host("redis1").port(7000).db(3).build().unwrap();
    assert_eq!(single.hosts()[0].to_string(), "redis://redis1:7000/3");
    assert!(refusal(&ConfigBuilder::new().host("redis://x")).starts_with("option `host`: redis://x:6379"));
}

#[test]
fn keys_are_checked_and_never_shown() {
    let new = || ConfigBuilder::new().symmetric_encryption_keys(["secret", "secret too"]);
    let sealed = new().hide_names("secret of names");
    let config = sealed.build().unwrap();
    assert!(config.has_encryption_keys() && config.hides_names());
    let shown = format!("{sealed:?} {config:?}");
    assert!(!shown.contains("secret") && !shown.contains("115, 101, 99"), "{shown}");
    let clear = ConfigBuilder::new().build().unwrap();
    assert!(!clear.has_encryption_keys() && !clear.hides_names());

    for (builder, said) in [
        (new().symmetric_encryption_keys([""; 0]), "option `symmetric_encryption_keys`: the list is empty"),
        (
            new().symmetric_encryption_keys(["secret", ""]),
            "option `symmetric_encryption_keys`: key 2 of 2 is empty",
        ),
        (new().hide_names(""), "option `hide_names`: the key is empty"),
        (new().hide_names("secret too"), "option `hide_names`: the key is also one of"),
        (ConfigBuilder::new().hide_names("secret"), "option `hide_names`: names are hidden only where"),
    ] {
        let refusal = refusal(&builder);
        assert!(refusal.starts_with(said) && !refusal.contains("secret"), "{refusal}");
    }
}

#[test]
fn debug_output_shows_no_password() {
    let builder = ConfigBuilder::new().hosts(["redis://:secret@a"]);
    let shown = format!("{builder:?} {:?}", builder.build().unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}
