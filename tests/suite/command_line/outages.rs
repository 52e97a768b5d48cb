//! A server that goes and comes back while a command waits.

use std::io::{BufRead, BufReader};

use super::{end, program_on, run, start};
use crate::support::Server;

#[test]
fn an_outage_and_its_end_are_told_while_a_receive_waits() {
    let server = Server::private();
    let mut receive = start(program_on(&server, "p:").args(["receive", "a", "--count", "2"]));
    let mut lines = BufReader::new(receive.stdout.take().unwrap()).lines();
    let mut told = BufReader::new(receive.stderr.take().unwrap()).lines();
    run(program_on(&server, "p:").args(["send", "a", "1"])).done();
    assert!(lines.next().unwrap().is_ok(), "it waits");

    server.stop();
    let lost = told.next().unwrap().unwrap();
    let host = format!("(host: {}/0", server.url());
    assert!(
        lost.starts_with("asgi-redis: lost a server; connecting again ") && lost.contains(&host),
        "{lost}"
    );
    server.start();
    // Before that it may tell that the server is back without its data.
    let again = format!("asgi-redis: connected again {host})");
    assert!(told.any(|line| line.unwrap() == again), "the end of the outage is told");

    run(program_on(&server, "p:").args(["send", "a", "2"])).done();
    assert_eq!(end(receive).status, Some(0));
}

#[tokio::test]
async fn why_a_server_does_not_come_back_is_told_while_a_receive_waits() {
    let server = Server::private();
    let mut receive = start(program_on(&server, "p:").args(["receive", "a", "--count", "2"]));
    let mut lines = BufReader::new(receive.stdout.take().unwrap()).lines();
    let mut told = BufReader::new(receive.stderr.take().unwrap()).lines();
    run(program_on(&server, "p:").args(["send", "a", "1"])).done();
    assert!(lines.next().unwrap().is_ok(), "it waits");

    let mut admin = server.connection().await;
    let mut tell = async |words: &[&str]| {
        let mut command = redis::Cmd::new();
        let _: redis::Value = command.arg(words).query_async(&mut admin).await.unwrap();
    };
    tell(&["CONFIG", "SET", "requirepass", "secret"]).await;
    tell(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let mut next = |words: &str| told.find(|line| line.as_ref().unwrap().contains(words)).unwrap().unwrap();
    next("lost a server; connecting again");
    let why = next("a server is not back; trying on");
    assert!(why.contains("wants a password"), "{why}");
    tell(&["CONFIG", "SET", "requirepass", ""]).await;
    next("connected again");
    run(program_on(&server, "p:").args(["send", "a", "2"])).done();
    assert_eq!(end(receive).status, Some(0));
}
