//! Exit statuses of what cannot be done, each with one line that says why.

use std::process::Command;

use super::{program, program_on, run, run_with_input};
use crate::support::{Server, unique_prefix};

/// A socket on which nobody listens.
const NOWHERE: &str = "unix:///nonexistent/socket";

#[test]
fn wrong_use_is_exit_status_2_whether_or_not_a_server_is_there() {
    for (arguments, said) in [
        (&["--nonsense"] as &[&str], "unexpected argument '--nonsense' found; see --help"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'; see --help"),
        (&["send", "a"], "the following required arguments were not provided: <JSON>; see --help"),
        (&["receive"], "the following required arguments were not provided: <CHANNEL>...; see --help"),
        (&["send", "a b", "1"], "invalid channel name \"a b\": ' ' is not allowed"),
        (&["receive", "a", "b?"], "invalid channel name \"b?\": something must follow the `?`"),
        (&["send", "a", "{"], "the message is not JSON: EOF while parsing an object"),
        (&["send", "a", r#"{"$bytes": 1}"#], r#"the message has {"$bytes": ...} whose value is not base64"#),
        (&["receive", "a", "--timeout", "-1"], "invalid value '-1' for '--timeout <SECONDS>': not a number"),
        (&["receive", "a", "--timeout=-1"], "invalid value '-1' for '--timeout <SECONDS>': not a number"),
        (&["receive", "a", "--count", "x"], "invalid value 'x' for '--count <N>'"),
        (&["flush", "--capacity", "0"], "option `capacity`: 0 is not allowed"),
        (&["flush", "--expiry", "0"], "option `expiry`: 0 s is not allowed"),
        (&["flush", "--prefix", ""], "option `prefix`: \"\" is not allowed"),
        (&["flush", "--redis", "host:1:2"], "option `hosts`: host:1:2 is refused: write a URL"),
        (&["flush", "--layer", "a"], "--layer names a layer of a file; give the file with --config"),
        (
            &["demo", "--capacity", "1"],
            "demo chooses its own prefix, expiry, capacities and keys; leave out --capacity",
        ),
        (
            &["scripts", "show", "nonsense"],
            "there is no script \"nonsense\"; the scripts are channel_groups, ",
        ),
        (&["scripts", "locate", "push", "0"], "script push has no line 0; it has "),
        (&["scripts", "locate", "push", "99999"], "script push has no line 99999; it has "),
    ] {
        run(program().args(arguments)).failed(2, said);
    }
    run_with_input(program().args(["send", "a", "-"]), "").failed(2, "the message is not JSON: EOF");
}

#[test]
fn a_pattern_that_makes_no_channel_is_exit_status_2() {
    let server = Server::shared();
    let make = |pattern| run(program_on(&server, "p:").args(["new-channel", pattern]));
    make("body").failed(2, "invalid channel name \"body\": the pattern of a new channel ends in `?`");
    run(program().args(["new-channel", "body?", "--redis", NOWHERE])).done();
    make("body!").failed(2, "invalid channel name \"body!\": a pattern that ends in `!` names an inbox");
}

#[test]
fn a_server_that_is_not_there_is_exit_status_4() {
    for arguments in
        [&["send", "a", "1"] as &[&str], &["receive", "a"], &["flush"], &["scripts", "load"], &["demo"]]
    {
        let ended = run(program().args(arguments).args(["--redis", NOWHERE]));
        ended.failed(4, "server unix:///nonexistent/socket?db=0 cannot be reached");
        assert_eq!(ended.out, "");
    }
    // Nobody may have the port of the server that was there.
    let server = Server::private();
    server.stop();
    run(program_on(&server, "p:").arg("flush"))
        .failed(4, &format!("server {}/0 cannot be reached", server.url()));
}

#[test]
fn a_message_that_is_too_large_or_too_deep_is_exit_status_5() {
    let (server, prefix) = (Server::shared(), unique_prefix("a_message_that_is_too"));
    let send = |message: &str| run_with_input(program_on(&server, &prefix).args(["send", "a", "-"]), message);
    send(&format!("\"{}\"", "x".repeat(9 << 18))).failed(5, "channel \"a\": the message has 2359301 bytes");
    send(&format!("{}{}", "[".repeat(65), "]".repeat(65))).failed(5, "the message (");
}

#[test]
fn a_password_is_never_shown() {
    let server = Server::private_with(&["--requirepass", "right"]);
    let url = |password: &str| format!("redis://:{password}@{}", server.address());
    run(program().args(["flush", "--yes", "--redis", &url("right")])).done();

    let wrong = url("secret");
    let refused = [
        run(program().args(["flush", "--redis", &wrong])),
        run(program().arg("flush").env("ASGI_REDIS_URL", &wrong)),
    ];
    for refused in refused {
        refused.failed(6, &format!("server redis://***@{}/0 ", server.address()));
        assert!(!refused.err.contains("secret"), "{refused:?}");
    }
    for arguments in [&["flush", &wrong] as &[&str], &["receive", &wrong], &["send", &wrong, "1"], &[&wrong]]
    {
        let misplaced = run(program().args(arguments));
        assert_eq!(misplaced.status, Some(2), "{misplaced:?}");
        assert!(!misplaced.err.contains("secret"), "{misplaced:?}");
    }
    let help = run(program().arg("--help").env("ASGI_REDIS_URL", &wrong)).done();
    assert!(!help.contains("secret"), "{help}");
    let demo = run(program().args(["demo", "--redis", &url("right")]));
    assert_eq!(demo.status, Some(0), "{demo:?}");
    assert!(!format!("{demo:?}").contains("right"), "{demo:?}");
}

#[test]
fn help_lists_the_exit_statuses_and_goes_to_standard_output() {
    for command in ["", "demo", "send", "receive", "new-channel", "group", "group send", "flush", "scripts"] {
        let help = run(program().args(command.split_whitespace()).arg("--help")).done();
        for listed in
            ["Exit status:", "0    done", "1    nothing", "2    wrong", "3    the channel", "4    no server"]
        {
            assert!(help.contains(listed), "{command}: {listed}: {help}");
        }
    }
    let nothing = run(&mut program());
    assert_eq!((nothing.status, nothing.out.as_str()), (Some(2), ""));
    assert!(nothing.err.contains("Usage: asgi-redis"), "{nothing:?}");
    assert_eq!(run(program().arg("--version")).done(), format!("asgi-redis {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_closed_standard_output_or_error_is_no_panic() {
    let program = env!("CARGO_BIN_EXE_asgi-redis");
    for (line, status) in [
        ("\"$0\" scripts show push | true; \"$0\" --help | true; \"$0\" scripts list >&-", 0),
        ("\"$0\" --nonsense 2>&-", 2),
        ("(sleep 0.2; \"$0\" scripts list; echo $? >&2) | true", 0),
    ] {
        let shell = run(Command::new("sh").args(["-c", line, program]));
        assert_eq!(shell.status, Some(status), "{shell:?}");
        assert!(["", "0\n"].contains(&shell.err.as_str()), "{shell:?}");
    }
}

#[test]
fn short_help_is_short_and_help_has_each_option_of_every_command_once() {
    for command in ["", "send", "receive", "group send", "flush", "shards", "drain"] {
        let short = run(program().args(command.split_whitespace()).arg("-h")).done();
        assert!(short.lines().count() <= 25, "{command}: {short}");
        assert!(!short.contains("--prefix") && short.contains("--help has more"), "{command}: {short}");
        let long = run(program().args(command.split_whitespace()).arg("--help")).done();
        assert_eq!(long.matches("--prefix <").count(), 1, "{command}: {long}");
    }
}
