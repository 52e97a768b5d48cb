//! The chat example as its users have it: websockets to two processes, through a kill and restart of the server, and of a process.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ConfigBuilder};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Server, end_with_the_suite, start_child, unique_prefix};

#[path = "../../examples/chat/main.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
#[allow(clippy::duplicate_mod, reason = "each example is a program of its own")]
mod example;

/// Says to a child which prefix and server it works on.
const ROLE: &str = "ASGI_REDIS_SUITE_CHAT";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a child does until its standard input ends, and nothing in a run of the suite: it is one process of the chat.
#[tokio::test(flavor = "multi_thread")]
async fn the_part_of_a_process_of_the_chat() {
    let Ok(role) = std::env::var(ROLE) else { return };
    end_with_the_suite();
    let (prefix, url) = role.split_once(' ').unwrap();
    let layer = ConfigBuilder::new().hosts([url]).prefix(prefix).connect().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nready\n{}", listener.local_addr().unwrap().port());
    let layer: Arc<dyn ChannelLayer> = Arc::new(layer);
    example::serve(listener, layer).await.unwrap();
}

/// A process of the chat, which ends with the test.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(server: &Server, prefix: &str) -> Self {
        let role = format!("{prefix} {}", server.url());
        let (child, mut lines) =
            start_child(module_path!(), "the_part_of_a_process_of_the_chat", (ROLE, &role));
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        Self { child, port }
    }

    /// Opens a page: a websocket as the browser does.
    async fn page(&self, name: &str, room: &str) -> Page {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let url = format!("ws://127.0.0.1:{}/socket?name={name}&room={room}", self.port);
        Page(tokio_tungstenite::client_async(url, stream).await.unwrap().0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Page(WebSocketStream<TcpStream>);

impl Page {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next that it is told.
    async fn told(&mut self) -> Value {
        loop {
            let told = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("it is told something");
            if let Message::Text(text) = told.expect("the websocket is open").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next line that was said; who is there does not count.
    async fn hears(&mut self) -> (String, String) {
        loop {
            let told = self.told().await;
            match told["type"].as_str().unwrap() {
                "said" => return (text(&told["from"]), text(&told["text"])),
                "here" | "left" => {}
                other => panic!("{other}"),
            }
        }
    }

    /// Waits until somebody has told that he is there, or has left.
    async fn sees(&mut self, what: &str, who: &str) {
        while self.told().await != json!({"type": what, "from": who}) {}
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_over_two_processes_outlive_an_outage_of_the_server_and_the_death_of_a_process() {
    let (server, prefix) = (Server::private(), unique_prefix("chat"));
    let (one, mut other) = (Process::start(&server, &prefix), Process::start(&server, &prefix));
    let mut ann = one.page("ann", "lobby").await;
    let mut bob = other.page("bob", "lobby").await;
    let mut eve = other.page("eve", "elsewhere").await;
    for (page, who) in [(&mut ann, "bob"), (&mut bob, "ann"), (&mut eve, "eve")] {
        page.sees("here", who).await;
    }
    ann.say("hello, \"bob\" & <b>all</b>").await;
    for page in [&mut ann, &mut bob] {
        assert_eq!(page.hears().await, ("ann".into(), "hello, \"bob\" & <b>all</b>".into()));
    }

    // An outage of five seconds: what is typed meanwhile waits.
    server.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bob.say("is anybody there?").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.start();
    // It is empty, and the processes make their pages members again, each at its own moment.
    let mut heard = [Vec::new(), Vec::new()];
    let mut probes = 0;
    while heard.iter().any(|heard: &Vec<String>| !heard.iter().any(|text| text.starts_with("probe"))) {
        assert!(probes < 100, "{heard:?}");
        bob.say(&format!("probe {probes}")).await;
        probes += 1;
        for (page, heard) in [&mut ann, &mut bob].into_iter().zip(&mut heard) {
            let hearing = async {
                loop {
                    heard.push(page.hears().await.1);
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(150), hearing).await;
        }
    }
    ann.say("both are back").await;
    for (page, heard) in [&mut ann, &mut bob].into_iter().zip(&mut heard) {
        while heard.last().is_none_or(|text| text != "both are back") {
            heard.push(page.hears().await.1);
        }
        let all: BTreeSet<&String> = heard.iter().collect();
        assert_eq!(all.len(), heard.len(), "nothing comes twice: {heard:?}");
    }
    assert!(heard.concat().iter().any(|text| text == "is anybody there?"), "what was typed came: {heard:?}");

    // A process is killed: the other goes on, and so do pages that connect to a new one.
    other.child.kill().unwrap();
    ann.say("who is left?").await;
    assert_eq!(ann.hears().await, ("ann".into(), "who is left?".into()));
    let new = Process::start(&server, &prefix);
    let mut bob = new.page("bob", "lobby").await;
    ann.sees("here", "bob").await;
    bob.say("me again").await;
    for page in [&mut ann, &mut bob] {
        assert_eq!(page.hears().await, ("bob".into(), "me again".into()));
    }
    drop(bob);
    ann.sees("left", "bob").await;
}
