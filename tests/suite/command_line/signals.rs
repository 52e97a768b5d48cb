//! A command that is asked to end.

use std::io::{BufRead, BufReader};

use super::{end, program_on, run, signal, start};
use crate::support::{Server, unique_prefix};

#[test]
fn a_receive_that_is_asked_to_end_says_by_which_signal_and_takes_nothing_along() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_receive_that_is_asked"));
    for (name, status) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        // The suite itself may run under `nohup`.
        let program = program_on(&server, &prefix);
        let mut receive = std::process::Command::new("env");
        receive.arg("--default-signal=HUP").arg(program.get_program()).args(program.get_args());
        let mut receive = start(receive.env_remove("ASGI_REDIS_URL").args(["receive", "a", "--count", "0"]));
        let mut lines = BufReader::new(receive.stdout.take().unwrap()).lines();
        run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
        assert!(lines.next().unwrap().is_ok(), "it waits");
        signal(&receive, name);
        let receive = end(receive);
        assert_eq!((receive.status, receive.err.as_str()), (Some(status), ""));

        run(program_on(&server, &prefix).args(["send", "a", "2"])).done();
        let next = run(program_on(&server, &prefix).args(["receive", "a", "--timeout", "0"]));
        assert_eq!(next.json()[0]["message"], 2, "nobody waits any more who could be handed it");
    }
}

#[test]
fn a_receive_is_asked_to_end_while_it_connects() {
    let server = Server::private();
    server.pause();
    let receive = start(program_on(&server, "p:").args(["receive", "a"]));
    // The signal must not come before it listens for signals: a frozen server keeps it waiting for 5 s.
    std::thread::sleep(std::time::Duration::from_secs(2));
    signal(&receive, "INT");
    assert_eq!(end(receive).status, Some(130));
}

/// As under `nohup`.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_was_to_be_ignored_does_not_end_a_receive() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_signal_that_was_to_be"));
    let receive = program_on(&server, &prefix);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\" receive a --count 2"]);
    shell.arg(receive.get_program()).args(receive.get_args()).env_remove("ASGI_REDIS_URL");
    let mut receive = start(&mut shell);
    let mut lines = BufReader::new(receive.stdout.take().unwrap()).lines();
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    assert!(lines.next().unwrap().is_ok(), "it waits");
    signal(&receive, "HUP");
    run(program_on(&server, &prefix).args(["send", "a", "2"])).done();
    assert_eq!(end(receive).status, Some(0));
}
