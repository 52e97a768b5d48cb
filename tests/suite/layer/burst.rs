//! A burst to a room loses nothing at the defaults: two real processes, each with sockets that read and programs that send.
//!
//! An inbox holds what its process was not given the processor for, and its reader lets mailboxes be read before they overflow.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Mailbox, RedisChannelLayer};
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};

use super::until;
use crate::support::{Server, end_with_the_suite, start_child, unique_prefix};

const PROCESSES: usize = 2;
const SOCKETS: usize = 50;
const SENDERS: usize = 25;
const MESSAGES: usize = 50;
/// The child's role: its runtime, the server, and the prefix.
const ROLE: &str = "BURST_ROLE";

#[test]
fn nothing_is_missed_in_processes_of_one_thread() {
    nothing_is_missed("one");
}

#[test]
fn nothing_is_missed_in_processes_of_several_threads() {
    nothing_is_missed("several");
}

fn nothing_is_missed(threads: &str) {
    let server = Server::private();
    let role = format!("{threads} {} {}", server.url(), unique_prefix("burst"));
    let mut children = [(); PROCESSES].map(|()| start_child(module_path!(), "a_process", (ROLE, &role)));
    let all = SOCKETS * PROCESSES * SENDERS * MESSAGES;
    for (_, printed) in &mut children {
        let line = printed.find_map(|line| Some(line.unwrap().strip_prefix("burst: ")?.to_owned())).unwrap();
        assert_eq!(line, format!("sent {}, full 0, received {all}, missed 0", SENDERS * MESSAGES));
    }
    for (mut child, _) in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    end_with_the_suite();
    let mut words = role.split(' ');
    let runtime = runtime(words.next().unwrap());
    let options = ConfigBuilder::new().hosts([words.next().unwrap()]).prefix(words.next().unwrap());
    runtime.block_on(async {
        let layer = options.connect().await.unwrap();
        println!("{}", burst(&layer).await);
        // Until the other has read too: a process that goes takes its members along.
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
}

fn runtime(threads: &str) -> Runtime {
    match threads {
        "one" => Builder::new_current_thread().enable_all().build().unwrap(),
        "several" => Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
        other => panic!("{other}"),
    }
}

/// What a process of a chat service does; returns what became of it.
async fn burst(layer: &RedisChannelLayer) -> String {
    let inbox = layer.open_inbox("socket").await.unwrap();
    let sockets = [(); SOCKETS].map(|()| inbox.open_mailbox().unwrap());
    for socket in &sockets {
        layer.group_add("room", socket.name()).await.unwrap();
    }
    let reading: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(read(socket))).collect();
    println!("ready");
    until("all are there", async || layer.group_len("room").await.unwrap() == PROCESSES * SOCKETS).await;
    let senders = (0..SENDERS).map(|_| {
        let layer = layer.clone();
        tokio::spawn(async move {
            let mut full = 0;
            for message in 0..MESSAGES {
                full += layer.group_send("room", &message).await.unwrap().full();
            }
            full
        })
    });
    let full: usize = join_all(senders).await.into_iter().map(Result::unwrap).sum();
    let (mut received, mut missed) = (0, 0);
    for read in join_all(reading).await {
        let (some, none) = read.unwrap();
        received += some;
        missed += none;
    }
    format!("burst: sent {}, full {full}, received {received}, missed {missed}", SENDERS * MESSAGES)
}

/// Reads what comes, until all has come or nothing has for a while.
async fn read(mut socket: Mailbox) -> (usize, u64) {
    let mut received = 0;
    while received < PROCESSES * SENDERS * MESSAGES
        && let Ok(message) = tokio::time::timeout(super::PATIENCE, socket.receive::<usize>()).await
    {
        message.unwrap();
        received += 1;
    }
    (received, socket.missed())
}
