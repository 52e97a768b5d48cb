//! A client whose clock is an hour wrong: nothing changes, as every time is the server's.

use std::process::{Command, Stdio};

use super::demo::assert_sums_meet;
use super::{Ended, program_on, run};
use crate::support::{Server, unique_prefix};

pub(super) const WRONG: [&str; 2] = ["+1h", "-1h"];

/// A command that sees a wrong time of day.
pub(super) fn with_clock(offset: &str, command: &Command) -> Command {
    let mut faked = Command::new("faketime");
    // Only the time of day: how long things take is told by another clock, which is right on every machine.
    faked.args(["-f", offset]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    faked.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => faked.env(name, value),
            None => faked.env_remove(name),
        };
    }
    faked
}

#[track_caller]
pub(super) fn run_with_clock(offset: &str, command: &Command) -> Ended {
    let output = with_clock(offset, command).output();
    output
        .unwrap_or_else(|error| {
            panic!("cannot run faketime: {error}; install it with `apt install faketime`")
        })
        .into()
}

pub(super) fn hours() -> i64 {
    let mut date = Command::new("date");
    date.arg("+%s");
    let seconds = |ended: Ended| ended.done().trim_end().parse::<i64>().unwrap();
    (seconds(run_with_clock("+1h", &date)) - seconds(run(&mut date)) + 1800) / 3600
}

/// Shows R13.
#[test]
fn messages_wait_and_expire_by_the_clock_of_the_server() {
    assert_eq!(hours(), 1, "faketime works");
    let (server, prefix) = (Server::shared(), unique_prefix("messages_wait_and_expire"));
    let send = |expiry: &str| {
        let mut command = program_on(&server, &prefix);
        command.args(["send", "a", "1", "--expiry", expiry]);
        command
    };
    let mut receive = program_on(&server, &prefix);
    receive.args(["receive", "a", "--timeout", "0"]);
    for offset in WRONG {
        run_with_clock(offset, &send("60")).done();
        assert_eq!(run(&mut receive).json().len(), 1, "sent by a clock {offset} wrong");
        run(&mut send("60")).done();
        assert_eq!(run_with_clock(offset, &receive).json().len(), 1, "received by a clock {offset} wrong");

        run_with_clock(offset, &send("0.05")).done();
        std::thread::sleep(std::time::Duration::from_millis(60));
        run_with_clock(offset, &receive).failed(1, "nothing arrived");
    }
}

/// Shows R13.
#[test]
fn a_blocked_receive_with_a_wrong_clock_is_woken() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_blocked_receive_with"));
    let mut receive = program_on(&server, &prefix);
    receive.args(["receive", "a", "--timeout", "10"]);
    let receive = super::start(&mut with_clock("+1h", &receive));
    run(program_on(&server, &prefix).args(["send", "a", "1"])).done();
    assert_eq!(super::end(receive).json().len(), 1);
}

#[test]
fn the_sums_of_a_demo_with_a_wrong_clock_meet() {
    let server = Server::shared();
    let mut demo = super::program();
    demo.args(["demo", "--json", "--redis", &server.url()]);
    for offset in WRONG {
        assert_sums_meet(&run_with_clock(offset, &demo), &format!("{}/0", server.url()));
    }
}
