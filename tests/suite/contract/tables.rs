//! The tables of slots, replies and keys.

use std::collections::{BTreeMap, BTreeSet};

use asgi_redis::scripts::{self, Slot, SlotKind};
use asgi_redis::{ChannelLayer, ChannelLayerExt, RedisChannelLayer, Value};
use regex::Regex;

use super::{CONTRACT, ask, cells, give_back, keys, section, table, until};
use crate::support::{Add, Change, Push, Scripts, Server, unique_prefix};

/// Names of keys in the text of a slot would be taken for HTML.
fn marked(text: &str) -> String {
    Regex::new("<prefix>[a-z]*:?(<[a-z]+>)?").unwrap().replace_all(text, "`$0`").into_owned()
}

fn slot_row(slot: &Slot) -> String {
    let list = match slot.kind() {
        SlotKind::Key => "KEYS",
        SlotKind::Argument => "ARGV",
    };
    let dots = if slot.is_variadic() { "..." } else { "" };
    let text = marked(slot.text());
    format!("| {list}[{}{dots}] | `{}` | {} | {text} |", slot.index(), slot.name(), slot.ty())
}

fn reply_row(reply: &str) -> String {
    let (shape, text) = reply.split_once("   ").expect("three spaces stand between a reply and its meaning");
    format!("| `{shape}` | {} |", marked(text.trim()))
}

#[test]
fn the_tables_of_slots_and_replies_are_those_of_the_scripts() {
    for script in scripts::all() {
        let section = section(&format!("### {}", script.name()));
        let slots: Vec<String> = script.slots().iter().map(slot_row).collect();
        let replies: Vec<String> = script.reply().iter().map(|reply| reply_row(reply)).collect();
        for (head, rows) in [("| slot | name | type | holds |", slots), ("| reply | means |", replies)] {
            let due = rows.join("\n");
            assert_eq!(
                table(section, head),
                rows,
                "{}: the rows below {head} must be\n{due}\n",
                script.name()
            );
        }
    }
}

fn key_rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = table(section("## Keys"), "| key | type | who writes it | holds | lives |");
    rows.into_iter().map(|row| (cells(row)[0].trim_matches('`'), cells(row))).collect()
}

/// The shape of a key without what follows its kind, such as `<prefix>q:`.
fn stem(shape: &str) -> &str {
    let name = shape.rmatch_indices('<').map(|(at, _)| at).filter(|at| *at > 0).min();
    name.map_or(shape, |at| &shape[..at])
}

#[test]
fn the_key_table_names_every_key_that_appears_in_a_script() {
    let in_code = Regex::new(r"prefix \.\. '([a-z]+:?)'").unwrap();
    let in_slots = Regex::new("<prefix>([a-z]+:?)").unwrap();
    let mut made = BTreeSet::new();
    for script in scripts::all() {
        let source = script.source();
        for found in in_code.captures_iter(source).chain(in_slots.captures_iter(source)) {
            made.insert(format!("<prefix>{}", &found[1]));
        }
    }
    assert!(made.remove("<prefix>wake:"), "the wake channel is no key");
    assert!(section("## Keys").contains("`<prefix>wake:<client>` is no key but a pub/sub channel"));
    let told: BTreeSet<String> = key_rows().keys().map(|shape| stem(shape).to_owned()).collect();
    assert_eq!(told, made);
}

#[tokio::test]
async fn every_key_on_a_server_has_the_type_and_the_time_of_the_key_table() {
    let server = Server::shared();
    let mut connection = server.connection().await;
    let prefix = unique_prefix("contract-keys");
    let layer = RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();
    layer.send("queued", "message").await.unwrap();
    give_back(&layer, &mut connection, &prefix).await;
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<Value>(["waited-for"]).await }
    });
    until(&mut connection, &["EXISTS", &format!("{prefix}w:waited-for")], 1).await;

    let small =
        RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix).capacity(1).inbox_capacity(1);
    small.connect().await.unwrap().send("queued", "refused").await.unwrap_err();
    // It stands for a second at most, which may be short on a busy machine.
    let () = ask(&mut connection, &["PEXPIRE", &format!("{prefix}x:queued"), "60000"]).await;

    let by_hand = Scripts::new(connection.clone(), &prefix);
    by_hand.load().await;
    by_hand.inbox_keep("in!", "owner", 60_000, &["slow"], &[]).await;
    by_hand.group_add(&Add::to("room", &["in!a", "queued"])).await;
    by_hand.change(&Change::of("in!").join_labelled("room", "b", 60_000, "user")).await;
    by_hand.push(&Push::to("aside", &["m 1"])).await;
    let taken = by_hand.drain_take("aside", "batch", "there").await.unwrap();
    by_hand.drain_put("aside", &taken).await;

    let rows = key_rows();
    let mut seen = BTreeSet::new();
    for key in keys(&mut connection, &prefix).await {
        let shape = key.replace(&prefix, "<prefix>");
        let row = rows.iter().find(|(row, _)| shape.starts_with(stem(row)) || shape == **row);
        let (told, cells) = row.unwrap_or_else(|| panic!("the key table lacks {shape}"));
        seen.insert(*told);
        let kind: String = ask(&mut connection, &["TYPE", &key]).await;
        assert_eq!(kind, cells[1], "{key}");
        let left: i64 = ask(&mut connection, &["PTTL", &key]).await;
        assert_eq!(left == -1, cells[4] == "for ever", "{key} has {left} ms left: {}", cells[4]);
    }
    assert_eq!(seen, rows.keys().copied().collect());

    let schema: String = ask(&mut connection, &["GET", &format!("{prefix}schema")]).await;
    assert!(CONTRACT.contains(&format!("**The schema number is {schema}.**")));
    waiting.abort();
    layer.close().await.unwrap();
}
