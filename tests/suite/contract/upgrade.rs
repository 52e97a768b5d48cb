//! While scripts are upgraded: clients that loaded earlier texts and a layer of this version share a prefix, in both directions,
//! as long as the schema is the same. Clients of another schema are told so by name and touch nothing.
//!
//! `earlier/` has texts of schema 3 as they were before wake-ups announced large entries, and `schema_2/` those of schema 2.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer, Value};
use futures::StreamExt;
use redis::aio::MultiplexedConnection;

use super::PATIENCE;
use crate::support::{
    Add, Entry, Given, GroupSend, Keep, Pop, PopReply, Push, PushReply, Scripts, Server, unique_prefix,
};

/// So many bytes are announced by the present texts, and published whole by the earlier ones.
const LARGE: usize = 40 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/contract").join(name)
}

/// Loads the texts of a folder. Returns their SHA-1 by their names.
async fn load(connection: &mut MultiplexedConnection, name: &str) -> BTreeMap<String, String> {
    let mut shas = BTreeMap::new();
    for file in std::fs::read_dir(folder(name)).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "lua") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut load = redis::cmd("SCRIPT");
            let sha: String = load.arg("LOAD").arg(text).query_async(connection).await.unwrap();
            shas.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), sha);
        }
    }
    shas
}

/// A layer of this version, and who calls the earlier texts, under one prefix.
struct Pair {
    layer: RedisChannelLayer,
    earlier: Scripts,
    /// The same prefix by the present texts.
    present: Scripts,
}

impl Pair {
    async fn new(server: &Server) -> Self {
        let prefix = unique_prefix("upgrade");
        let mut connection = server.connection().await;
        let shas = load(&mut connection, "earlier").await;
        let layer =
            RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix).connect().await.unwrap();
        let present = Scripts::new(connection, &prefix);
        present.load().await;
        Self { layer, earlier: present.clone().by_texts(shas), present }
    }
}

fn payload(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap();
    [&[0xc6][..], &length.to_be_bytes(), &vec![7; bytes]].concat()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it comes within some seconds")
}

fn given(reply: PopReply) -> Vec<Given> {
    match reply {
        PopReply::Ok { given, .. } => given,
        PopReply::Stale => panic!("the call was stale"),
    }
}

#[tokio::test]
async fn what_the_earlier_push_hands_over_reaches_a_waiting_receive_of_this_version() {
    let server = Server::shared();
    let Pair { layer, earlier, .. } = Pair::new(&server).await;
    for bytes in [10, LARGE] {
        let waiting = tokio::spawn({
            let layer = layer.clone();
            async move { layer.receive::<Value>(["jobs", "other"]).await }
        });
        let line = earlier.key('w', "jobs");
        let waits = async {
            while earlier.ask::<u64>(redis::cmd("EXISTS").arg(&line)).await == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within(waits).await;
        let body = [b"m ", &payload(bytes)[..]].concat();
        assert_eq!(earlier.push(&Push::to("jobs", &[body])).await, PushReply::ALL_SENT);
        let (channel, message) = within(waiting).await.unwrap().unwrap();
        assert_eq!((channel.as_str(), message), ("jobs", Value::Bytes(vec![7; bytes])));
        let left: u64 = earlier.ask(redis::cmd("LLEN").arg(earlier.key('q', "jobs"))).await;
        assert_eq!(left, 0);
    }
    layer.close().await.unwrap();
}

#[tokio::test]
async fn what_a_layer_of_this_version_sends_reaches_a_ticket_of_the_earlier_pop() {
    let server = Server::shared();
    let Pair { layer, earlier, .. } = Pair::new(&server).await;
    let client = unique_prefix("client").replace(':', "");
    let mut listener = redis::Client::open(server.url()).unwrap().get_async_pubsub().await.unwrap();
    listener.subscribe(format!("{}wake:{client}", earlier.prefix())).await.unwrap();
    let mut heard = listener.into_on_message();
    let _ = earlier.hello(&client, 1, 60_000).await;
    for (ticket, bytes) in [(1, 10), (2, LARGE)] {
        let asks = Pop::new().wait(ticket, &["jobs"]);
        assert_eq!(given(earlier.pop(Some((&client, 1)), 60_000, &asks).await), []);
        layer.send("jobs", &Value::Bytes(vec![7; bytes])).await.unwrap();
        let heard = within(heard.next()).await.unwrap().get_payload_bytes().to_vec();
        assert!(heard.starts_with(format!("{ticket}").as_bytes()), "{:?}", &heard[..heard.len().min(40)]);
        // A large one is the ticket alone, and is had by asking again.
        assert_eq!(heard.len() < 20, bytes == LARGE);
        let asked = given(earlier.pop(Some((&client, 1)), 60_000, &asks).await);
        let entry = asked[0].entry();
        assert_eq!(entry.body()[2..], payload_of(bytes)[..]);
        let _ = earlier.pop(Some((&client, 1)), 60_000, &Pop::new().ack(ticket, entry)).await;
    }
    let left: Vec<String> = earlier.ask(redis::cmd("HKEYS").arg(earlier.key('c', &client))).await;
    assert_eq!(left, ["g", "lease"]);
    layer.close().await.unwrap();
}

/// A value of so many bytes as the layer packs it.
fn payload_of(bytes: usize) -> Vec<u8> {
    if let Ok(length) = u8::try_from(bytes) {
        return [&[0xc4, length][..], &vec![7; bytes]].concat();
    }
    [&[0xc5][..], &u16::try_from(bytes).unwrap().to_be_bytes(), &vec![7; bytes]].concat()
}

#[tokio::test]
async fn a_ticket_that_one_text_recorded_is_finished_by_the_other() {
    let server = Server::shared();
    let Pair { layer, earlier, present } = Pair::new(&server).await;
    for (one, other) in [(&earlier, &present), (&present, &earlier)] {
        let client = unique_prefix("client").replace(':', "");
        let _ = one.hello(&client, 1, 60_000).await;
        let by = Some((&*client, 1));
        assert_eq!(one.push(&Push::to("jobs", &["m \x07", "m \x08"])).await, PushReply::ALL_SENT);
        let first = given(one.pop(by, 60_000, &Pop::new().wait(1, &["jobs"])).await)[0].entry().clone();
        // A client that was upgraded asks for its ticket again, releases it, and takes the other one.
        assert_eq!(given(other.pop(by, 60_000, &Pop::new().wait(1, &["jobs"])).await)[0].entry(), &first);
        let next = given(other.pop(by, 60_000, &Pop::new().release(1).wait(2, &["jobs"])).await);
        assert_eq!(next[0].entry(), &first, "what came back is first");
        let last = given(one.pop(by, 60_000, &Pop::new().ack(2, &first).wait(3, &["jobs"])).await);
        assert_eq!(last[0].entry().body(), b"m \x08");
        let done = other.pop(by, 60_000, &Pop::new().ack(3, last[0].entry())).await;
        assert_eq!(given(done), []);
        let (step, tickets) = one.client_tickets_step(&client, 1, "0").await.unwrap();
        assert_eq!((&*step, &tickets[..]), ("0", &[][..]));
    }
    layer.close().await.unwrap();
}

#[tokio::test]
async fn groups_are_shared_by_both_texts() {
    let server = Server::shared();
    let Pair { layer, earlier, .. } = Pair::new(&server).await;
    // An inbox of this version; who joins it and sends to it calls the earlier texts.
    let inbox = layer.open_inbox("chat").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let channel = mailbox.name().as_str().to_owned();
    let _ = earlier.group_add(&Add::to("room", &[&channel])).await.unwrap();
    let sent = earlier.group_send(&GroupSend::to("room", b"\x07")).await.unwrap();
    assert_eq!(sent.delivered, 1);
    assert_eq!(within(mailbox.receive::<u64>()).await.unwrap(), 7);
    layer.group_discard("room", &*channel).await.unwrap();
    assert_eq!(earlier.group_send(&GroupSend::to("room", b"\x08")).await.unwrap().delivered, 0);

    // An inbox of the earlier texts; a layer of this version lets its mailbox join, and sends.
    let client = unique_prefix("client").replace(':', "");
    let _ = earlier.hello(&client, 1, 60_000).await;
    assert!(matches!(earlier.inbox_keep("old!", &client, 60_000, &[], &[]).await, Keep::Ok { .. }));
    layer.group_add("hall", "old!a").await.unwrap();
    let _ = layer.group_send("hall", &7_u64).await.unwrap();
    layer.send("old!a", &8_u64).await.unwrap();
    let batch = given(earlier.pop(Some((&client, 1)), 60_000, &Pop::new().wait(1, &["old!"])).await);
    let entries = batch[0].batch("old!");
    let told: Vec<String> = entries.iter().map(|entry: &Entry| entry.brief()).collect();
    assert!(told[0].contains("+hall a"), "{told:?}");
    assert_eq!(entries[1].body(), b"ghall \x07");
    assert_eq!(entries[2].body(), b"ma \x08");
    layer.close().await.unwrap();
}

#[tokio::test]
async fn programs_of_two_schemas_refuse_each_other_by_number_and_touch_nothing() {
    let server = Server::shared();
    let mut connection = server.connection().await;
    let shas = load(&mut connection, "schema_2").await;
    let hello = async |prefix: &str, schema: u64| -> redis::Value {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&shas["hello"]).arg(2).arg(format!("{prefix}c:old")).arg(format!("{prefix}schema"));
        command.arg(1).arg(60_000).arg(schema).query_async(&mut connection.clone()).await.unwrap()
    };
    let keys = async |prefix: &str| -> Vec<String> {
        let mut command = redis::cmd("KEYS");
        let mut keys: Vec<String> =
            command.arg(format!("{prefix}*")).query_async(&mut connection.clone()).await.unwrap();
        keys.sort();
        keys
    };

    let prefix = unique_prefix("schema-2-first");
    let redis::Value::Array(said) = hello(&prefix, 2).await else { panic!("no reply") };
    assert_eq!(said[0], redis::Value::BulkString(b"ok".to_vec()));
    let before = keys(&prefix).await;
    let options = RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix);
    let refused = options.connect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Schema, "{refused}");
    assert!(refused.to_string().contains("schema 2"), "{refused}");
    assert_eq!(keys(&prefix).await, before);

    let prefix = unique_prefix("schema-3-first");
    let options = RedisChannelLayer::builder().hosts([server.url()]).prefix(&prefix);
    let layer = options.connect().await.unwrap();
    let before = keys(&prefix).await;
    let redis::Value::Array(said) = hello(&prefix, 2).await else { panic!("no reply") };
    assert_eq!(said[..], [b"schema".to_vec(), b"3".to_vec()].map(redis::Value::BulkString));
    assert_eq!(keys(&prefix).await, before);
    layer.close().await.unwrap();
}
