//! The session: every command of it is typed, and prints what stands below it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use asgi_redis::scripts;
use regex::Regex;

use super::{PATIENCE, section};
use crate::support::Server;

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
    // A control entry has no end of its own, which is this time.
    let control = Regex::new(r"\\x00.*,\\xc3\\xd8\\x00").unwrap().replace(line, "<header>").into_owned();
    let header = Regex::new(r"\\x00.*(m |groom )").unwrap().replace(&control, "<header>$1").into_owned();
    let header = Regex::new(r"\b\d{16}\b").unwrap().replace(&header, "<µs>").into_owned();
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
    let show = Regex::new("asgi-redis scripts show ([a-z_]+)").unwrap();
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
