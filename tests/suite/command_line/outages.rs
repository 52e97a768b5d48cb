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
