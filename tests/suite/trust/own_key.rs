//! What a client keeps on the server is replaced or damaged, or the server answers nonsense: it heals, or stays calm.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt};

use super::{MOMENT, PATIENCE, keys, options, prefix_of, promptly, send_at_last, within};
use crate::support::{FakeServer, Server, array};

/// A receive waits; the client's key is changed by these commands, in which `{}` stands for it.
async fn heals_after(test: &str, commands: &[&[&str]]) {
    let server = Server::process(&[]);
    let options = options([server.url()], test);
    let prefix = prefix_of(&options);
    let receiver = options.connect().await.unwrap();
    let receive = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.receive::<u64>(["jobs"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    let clients = keys(&server, &format!("{prefix}c:")).await;
    assert_eq!(clients.len(), 1);
    for command in commands {
        let words: Vec<String> = command.iter().map(|word| word.replace("{}", &clients[0])).collect();
        server.tell(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    // Another receive makes a call, which meets the change.
    let other = tokio::time::timeout(MOMENT, receiver.receive::<u64>(["other"])).await;
    assert!(!matches!(other, Ok(Ok(_))), "{other:?}");
    let sender = options.connect().await.unwrap();
    sender.send("jobs", &1).await.unwrap();
    assert_eq!(promptly("the message", receive).await.unwrap().unwrap().1, 1);
    send_at_last(&receiver, "body?1", 2).await;
    assert_eq!(promptly("the ordered one", receiver.receive::<u64>(["body?1"])).await.unwrap().1, 2);
    within(PATIENCE, "closing", receiver.close()).await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_type_in_place_of_its_own_costs_a_client_its_name_only() {
    heals_after("own-type", &[&["SET", "{}", "foreign"]]).await;
}

#[tokio::test]
async fn a_generation_that_is_no_number_costs_a_client_its_name_only() {
    heals_after("own-generation", &[&["HSET", "{}", "g", "foreign"]]).await;
}

#[tokio::test]
async fn a_generation_beyond_all_numbers_costs_a_client_its_name_only() {
    heals_after("own-last", &[&["HSET", "{}", "g", "1e300"]]).await;
}

#[tokio::test]
async fn a_lease_that_is_no_number_costs_a_client_its_name_only() {
    heals_after("own-lease", &[&["HSET", "{}", "lease", "foreign"]]).await;
}

#[tokio::test]
async fn removed_fields_cost_a_client_nothing() {
    heals_after("own-fields", &[&["HDEL", "{}", "g", "lease"]]).await;
}

#[tokio::test]
async fn a_lease_alone_that_was_removed_costs_a_client_nothing() {
    heals_after("own-no-lease", &[&["HDEL", "{}", "lease"]]).await;
}

#[tokio::test]
async fn records_that_are_none_cost_a_client_nothing() {
    heals_after("own-records", &[&["HSET", "{}", "1", "foreign", "2", "h", "3", "b!\n"]]).await;
}

const OK: &str = "$2\r\nok\r\n";

/// What a sound server says to hello.
pub(super) fn welcome() -> String {
    array(&[OK, ":1700000000000\r\n", ":1\r\n"])
}

/// While a receive waits at a server that answers its pops so, the calls stay few, and closing ends.
async fn stays_calm(pop: &'static str) {
    let server = FakeServer::start(move |script| match script {
        "pop" => pop.to_owned(),
        _ => welcome(),
    });
    let layer = options([server.url()], "nonsense").connect().await;
    // It may also be refused.
    let Ok(layer) = layer else { return };
    let receive = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive::<u64>(["jobs"]).await }
    });
    tokio::time::sleep(MOMENT).await;
    let before = server.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = server.calls() - before;
    assert!(calls < 100, "{calls} calls in a second");
    let _ = within(PATIENCE, "closing", layer.close()).await;
    let _ = promptly("the receive ends", receive).await;
}

#[tokio::test]
async fn a_server_that_serves_no_ticket_is_not_asked_without_pause() {
    stays_calm("*2\r\n$2\r\nok\r\n:0\r\n").await;
}

#[tokio::test]
async fn a_server_that_forgets_at_once_is_not_asked_without_pause() {
    stays_calm("*1\r\n$5\r\nstale\r\n").await;
}

#[tokio::test]
async fn a_server_that_gives_what_nobody_asked_for_is_not_asked_without_pause() {
    // An entry of ticket 1 of a queue that it does not wait for.
    stays_calm("*5\r\n$2\r\nok\r\n:1\r\n$1\r\n9\r\n$1\r\nx\r\n$21\r\n\0\0\0\0\0\0\0\x01\0\x01\x7f\0\0\0\0\0\0\0m \x01\r\n").await;
}

#[tokio::test]
async fn a_server_that_never_ends_an_inbox_does_not_keep_a_layer_from_closing() {
    let server = FakeServer::start(|script| match script {
        "pop" => array(&[OK, ":1\r\n"]),
        "inbox_keep" => array(&[OK, ":1700000000000000\r\n", ":0\r\n", ":0\r\n"]),
        "inbox_close" => array(&[":1\r\n"]),
        _ => welcome(),
    });
    let layer = options([server.url()], "endless-inbox").connect().await.unwrap();
    let inbox = layer.open_inbox("chat").await.unwrap();
    let _ = within(PATIENCE, "closing", layer.close()).await;
    drop(inbox);
}
