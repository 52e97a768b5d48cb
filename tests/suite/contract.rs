//! What `lua/README.md` promises is true: its tables are those of the scripts, its session works when typed, its rights
//! are enough, and its bytes are the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use asgi_redis::scripts::{self, Script, Slot, SlotKind};
use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer, Value};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use regex::Regex;

use crate::support::{Server, calls, unique_prefix};

const CONTRACT: &str = include_str!("../../lua/README.md");
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands under a heading, up to the next of the same rank or a higher one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = CONTRACT.split_once(&format!("\n{heading}\n")).expect(heading);
    let rank = heading.split(' ').next().unwrap().len();
    let end = Regex::new(&format!("(?m)^#{{1,{rank}}} ")).unwrap();
    end.find(rest).map_or(rest, |next| &rest[..next.start()])
}

/// The rows of the table in a section that has this head.
fn table(section: &'static str, head: &str) -> Vec<&'static str> {
    let (_, rest) = section.split_once(&format!("\n{head}\n")).expect(head);
    rest.lines().skip(1).take_while(|line| line.starts_with('|')).collect()
}

fn cells(row: &'static str) -> Vec<&'static str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

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

/// The shape of a key without its last part, such as `<prefix>q:`.
fn stem(shape: &str) -> &str {
    shape.rsplit_once('<').filter(|(head, _)| !head.is_empty()).map_or(shape, |(head, _)| head)
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
        async move { layer.receive::<_, Value>(["waited-for"]).await }
    });
    until(&mut connection, &["EXISTS", &format!("{prefix}w:waited-for")], 1).await;

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

async fn keys(connection: &mut MultiplexedConnection, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let step = ["SCAN", &cursor, "MATCH", &format!("{prefix}*"), "COUNT", "1000"];
        let (next, keys): (String, Vec<String>) = ask(connection, &step).await;
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            return found;
        }
    }
}

/// Leaves a message that was handed to a receive, and came back because that was dropped.
async fn give_back(layer: &RedisChannelLayer, connection: &mut MultiplexedConnection, prefix: &str) {
    let line = format!("{prefix}w:returned");
    {
        let mut receive = pin!(layer.receive::<_, Value>(["returned", "other"]));
        assert!(futures::poll!(&mut receive).is_pending());
        until(connection, &["EXISTS", &line], 1).await;
        layer.send("returned", "message").await.unwrap();
    }
    until(connection, &["ZCARD", &format!("{prefix}b:returned")], 1).await;
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &[&str]) -> T {
    let mut cmd = Cmd::new();
    cmd.arg(command);
    cmd.query_async(connection).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

async fn until(connection: &mut MultiplexedConnection, command: &[&str], wanted: i64) {
    let met = async {
        while ask::<i64>(connection, command).await != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{command:?} never gave {wanted}"));
}

/// Commands and what they print, of one fenced block of the session.
type Block = Vec<(&'static str, Vec<&'static str>)>;

fn session() -> Vec<Block> {
    let mut blocks = Vec::new();
    for fenced in section("## A session").split("```console\n").skip(1) {
        let mut block: Block = Vec::new();
        for line in fenced.split("\n```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => block.push((command, Vec::new())),
                None => block.last_mut().expect("a block begins with a command").1.push(line),
            }
        }
        blocks.push(block);
    }
    blocks
}

/// Two headers of entries, and two times, are alike.
fn masked(line: &str) -> String {
    let header = Regex::new(r"\\x00.*m \\x81").unwrap().replace(line, "<header>m \\x81").into_owned();
    Regex::new(r"\b\d{13}\b").unwrap().replace(&header, "<ms>").into_owned()
}

#[track_caller]
fn assert_prints(command: &str, printed: &[String], told: &[&str]) {
    let printed: Vec<String> = printed.iter().map(|line| masked(line)).collect();
    let told: Vec<String> = told.iter().map(|line| masked(line)).collect();
    assert_eq!(printed, told, "what `{command}` prints");
}

/// The shell of a reader, with a terminal in front of it as far as `redis-cli` can tell.
fn shell(server: &Server, text: &str) -> Command {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let cli = ["redis-cli", "valkey-cli"].into_iter().find(there).expect(
        "the session of lua/README.md needs redis-cli: install it, for example with `apt-get install redis-tools`",
    );
    let address = server.address();
    let (host, port) = address.split_once(':').unwrap();
    let show = Regex::new("asgi-redis scripts show ([a-z]+)").unwrap();
    let text = show.replace_all(text, "printf %s \"$$SOURCE_$1\"");
    let text = text.replace("redis-cli", &format!("{cli} -h {host} -p {port}"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &text]).stdin(Stdio::null()).stdout(Stdio::piped());
    shell.envs(scripts::all().iter().map(|script| (format!("SOURCE_{}", script.name()), script.source())));
    shell
}

#[test]
fn the_session_works_when_typed() {
    let server = Server::private();
    let (second, first): (Vec<Block>, Vec<Block>) =
        session().into_iter().partition(|block| block.iter().any(|(line, _)| line.contains("SUBSCRIBE")));
    let [(subscribe, heard)] = &*second.concat() else {
        panic!("one command is typed in the second terminal")
    };
    let first = first.concat();
    assert!(first.len() > 10, "the session is found");

    let mut listener = shell(&server, &format!("exec {subscribe}")).env("FAKETTY", "1").spawn().unwrap();
    let (line, lines) = mpsc::channel();
    let stdout = BufReader::new(listener.stdout.take().unwrap());
    std::thread::spawn(move || {
        // What it says about keys to press differs between versions.
        let printed = stdout.lines().map_while(Result::ok).filter(|text| !text.starts_with("Reading "));
        printed.map(|text| line.send(text)).take_while(Result::is_ok).for_each(drop);
    });
    let next_line = || lines.recv_timeout(PATIENCE).expect("the second terminal prints a line");
    let mut listened: Vec<String> = (0..3).map(|_| next_line()).collect();

    const END: &str = "-- end of command --";
    let script: String = first
        .iter()
        .map(|(command, told)| {
            let terminal = if told.is_empty() { "unset FAKETTY" } else { "export FAKETTY=1" };
            format!("{terminal}\n{command}\necho '{END}'\n")
        })
        .collect();
    let output = shell(&server, &script).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for ((command, told), printed) in first.iter().zip(printed.split(&format!("{END}\n"))) {
        let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
        assert_prints(command, &printed, told);
    }

    listened.extend((3..heard.len()).map(|_| next_line()));
    assert_prints(subscribe, &listened, heard);
    listener.kill().unwrap();
    listener.wait().unwrap();
}

/// The command of the section on rights, in words.
fn rights() -> Vec<&'static str> {
    let (_, rest) = section("## Rights").split_once("```text\n").unwrap();
    rest.split_once("```").unwrap().0.split_whitespace().collect()
}

#[tokio::test]
async fn the_published_rights_are_enough_and_none_is_there_for_nothing() {
    let server = Server::private();
    let mut admin = server.connection().await;
    let () = ask(&mut admin, &rights()).await;
    let () = ask(&mut admin, &["ACL", "SETUSER", "default", "off"]).await;
    let url = format!("redis://asgi:secret@{}", server.address());
    let layer = RedisChannelLayer::builder().hosts([&*url]).connect().await.unwrap();

    // An ordered send, and a receive that waits across a reconnection.
    layer.send("body?1", "first").await.unwrap();
    assert_eq!(received(&layer, "body?1").await, "first");
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<_, String>(["a", "b"]).await.unwrap().1 }
    });
    until(&mut admin, &["EXISTS", "asgi:w:b"], 1).await;
    let _: i64 = ask(&mut admin, &["CLIENT", "KILL", "USER", "asgi"]).await;
    let sent = async {
        while let Err(error) = layer.send("b", "second").await {
            assert!(error.may_retry(), "{error}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "second");

    // A dropped receive.
    give_back(&layer, &mut admin, "asgi:").await;
    assert_eq!(received(&layer, "returned").await, "message");

    // A full channel, before and after its message expires.
    let small = RedisChannelLayer::builder().hosts([&*url]).capacity(1).expiry(Duration::from_millis(200));
    let small = small.connect().await.unwrap();
    layer.send("full", "third").await.unwrap();
    assert_eq!(small.send("full", "refused").await.unwrap_err().kind(), ErrorKind::ChannelFull);
    small.send("short", "fourth").await.unwrap();
    // The list outlives its first message, whose place is then free.
    let (seconds, _): (u64, u64) = time(&mut admin).await;
    let () = ask(&mut admin, &["PERSIST", "asgi:q:short"]).await;
    while time(&mut admin).await.0 < seconds + 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    small.send("short", "fifth").await.unwrap();

    layer.flush().await.unwrap();
    small.close().await.unwrap();
    layer.close().await.unwrap();
    let left = keys(&mut admin, "asgi:").await;
    assert!(left.iter().all(|key| key.starts_with("asgi:c:") || key == "asgi:schema"), "{left:?}");

    let refused: Vec<BTreeMap<String, redis::Value>> = ask(&mut admin, &["ACL", "LOG"]).await;
    let refused: Vec<String> = refused.iter().map(|entry| format!("{:?}", entry["object"])).collect();
    let unexpected: Vec<&String> = refused.iter().filter(|what| !what.contains("client|setinfo")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    for right in rights().iter().filter_map(|word| word.strip_prefix('+')) {
        assert_ne!(calls(&mut admin, right).await, 0, "+{right} was never used");
    }
}

async fn received(layer: &RedisChannelLayer, channel: &str) -> String {
    let received = layer.receive_timeout::<_, String>([channel], PATIENCE).await.unwrap();
    received.unwrap_or_else(|| panic!("nothing came on {channel}")).1
}

async fn time(connection: &mut MultiplexedConnection) -> (u64, u64) {
    let (seconds, microseconds): (u64, u64) = ask(connection, &["TIME"]).await;
    (seconds, seconds * 1_000_000 + microseconds)
}

/// A script, ready to be called by hand.
async fn by_hand(connection: &mut MultiplexedConnection, name: &str, keys: &[String]) -> Cmd {
    let script: &Script = scripts::get(name).unwrap();
    let sha: String = ask(connection, &["SCRIPT", "LOAD", script.source()]).await;
    assert_eq!(sha, script.sha());
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(sha).arg(keys.len()).arg(keys);
    cmd
}

/// `pop` of one queue, at once and without a client: the entry.
async fn pop_by_hand(connection: &mut MultiplexedConnection, prefix: &str, queue: &str) -> Vec<u8> {
    let keys = [format!("{prefix}c:"), format!("{prefix}q:{queue}")];
    let mut cmd = by_hand(connection, "pop", &keys).await;
    cmd.arg(prefix).arg("").arg(0).arg(0).arg(0).arg(1).arg("try").arg(1);
    let reply: (String, u64, String, String, Vec<u8>) = cmd.query_async(connection).await.unwrap();
    assert_eq!((&*reply.0, reply.1, &*reply.2, &*reply.3), ("ok", 1, "1", queue));
    reply.4
}

#[tokio::test]
async fn what_is_pushed_by_hand_reaches_a_layer_and_the_other_way_round() {
    let server = Server::shared();
    let mut connection = server.connection().await;
    let prefix = unique_prefix("contract-bytes");
    let layer = RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();

    let mut push = by_hand(&mut connection, "push", &[format!("{prefix}q:greetings")]).await;
    push.arg(&prefix).arg(60_000).arg("").arg("").arg(100).arg(1).arg(&b"m \x81\xa4text\xa2hi"[..]);
    let reply: Vec<String> = push.query_async(&mut connection).await.unwrap();
    assert_eq!(reply, ["sent"]);
    let (_, message): (_, Value) = layer.receive(["greetings"]).await.unwrap();
    assert_eq!(message, Value::map([("text", "hi")]));

    for (channel, queue, head) in
        [("plain", "plain", "m "), ("body?1", "body?1", "m "), ("client7!ab12", "client7!", "mab12 ")]
    {
        let (_, before) = time(&mut connection).await;
        layer.send(channel, &Value::map([("text", "hi")])).await.unwrap();
        let (_, after) = time(&mut connection).await;
        let entry = pop_by_hand(&mut connection, &prefix, queue).await;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let pushed = number(&entry[..8]);
        assert!((before..=after).contains(&pushed), "{pushed} lies between {before} and {after}");
        assert_eq!(number(&entry[8..10]), 1, "its place in the call");
        assert_eq!(number(&entry[10..18]), pushed / 1000 + 60_000, "its deadline");
        assert_eq!(entry[18..], [head.as_bytes(), b"\x81\xa4text\xa2hi"].concat());
    }
    layer.close().await.unwrap();
}

#[tokio::test]
async fn the_hard_limits_are_where_the_table_says() {
    let server = Server::private();
    let mut connection = server.connection().await;
    let rows = table(section("### Limits"), "| what | hard limit | the crate keeps to |");
    let limit = |what: &str| -> usize {
        let row = rows.iter().find(|row| cells(row)[0] == what).expect(what);
        cells(row)[1].split([' ', ':']).next().unwrap().trim_matches(',').replace(',', "").parse().unwrap()
    };
    let hello = ["asgi:c:me".to_owned(), "asgi:schema".to_owned()];
    let mut cmd = by_hand(&mut connection, "hello", &hello).await;
    let _: redis::Value = cmd.arg(1).arg(60_000).arg(1).query_async(&mut connection).await.unwrap();

    let most = limit("entries to one queue in one push");
    for (count, fits) in [(most, true), (most + 1, false)] {
        let mut cmd = by_hand(&mut connection, "push", &[format!("asgi:q:{count}")]).await;
        cmd.arg("asgi:").arg(60_000).arg("").arg("").arg(1_000_000).arg(count).arg(vec!["m x"; count]);
        assert_fits(&mut connection, &cmd, fits, "entries", count).await;
    }
    for (what, tickets, channels) in [
        ("open tickets in one pop", limit("open tickets in one pop"), 1),
        ("channels of one ticket", 1, limit("channels of one ticket")),
    ] {
        for (more, fits) in [(0, true), (1, false)] {
            let (tickets, channels) =
                if channels == 1 { (tickets + more, 1) } else { (tickets, channels + more) };
            let mut keys = vec!["asgi:c:me".to_owned()];
            keys.extend(
                (0..tickets * channels).map(|number| format!("asgi:q:{what}{number}").replace(' ', "")),
            );
            let mut cmd = by_hand(&mut connection, "pop", &keys).await;
            cmd.arg("asgi:").arg("me").arg(1).arg(60_000).arg(0);
            for ticket in 1..=tickets {
                cmd.arg(ticket).arg("wait").arg(channels);
            }
            assert_fits(&mut connection, &cmd, fits, what, tickets * channels).await;
        }
    }
    let most = limit("finished tickets in one pop");
    for (count, fits) in [(most, true), (most + 1, false)] {
        let mut cmd = by_hand(&mut connection, "pop", &["asgi:c:me".to_owned()]).await;
        cmd.arg("asgi:").arg("me").arg(1).arg(60_000).arg(count);
        for ticket in 0..count {
            cmd.arg(100_000 + ticket).arg("");
        }
        assert_fits(&mut connection, &cmd, fits, "finished", count).await;
    }
}

async fn assert_fits(
    connection: &mut MultiplexedConnection,
    cmd: &Cmd,
    fits: bool,
    what: &str,
    count: usize,
) {
    let reply: redis::RedisResult<redis::Value> = cmd.query_async(connection).await;
    match reply {
        Ok(_) => assert!(fits, "{count} {what} fit"),
        Err(error) => {
            assert!(
                !fits && error.to_string().contains("too many results to unpack"),
                "{count} {what}: {error}"
            );
        }
    }
}
