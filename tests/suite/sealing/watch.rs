//! Watching a server: all that clients tell it and scripts run, and what it holds in the end.
//!
//! It is for a server of the test's own, which other tests do not use. Beside looking for markers, it takes the commands apart: of each message that was sent the payload, and of each key the
//! names in it. So anything can be watched, whatever its messages and names are.

use asgi_redis::scripts;

use crate::support::{Monitor, Server};

/// What was seen.
pub(crate) struct Seen {
    /// The commands of clients and of scripts, each with its arguments.
    commands: Vec<Vec<Vec<u8>>>,
    /// Keys, and their values as the server would dump them.
    stored: Vec<Vec<u8>>,
}

/// Watches a server of a test's own while something is done.
pub(crate) async fn watched(server: &Server, work: impl Future<Output = ()>) -> Seen {
    let monitor = Monitor::start(server).await;
    work.await;
    let commands = monitor.finish_with_scripts().await.iter().map(|line| arguments(line)).collect();
    let mut admin = server.connection().await;
    let mut stored = Vec::new();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
    for key in keys {
        let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut admin).await.unwrap();
        stored.extend(value);
        stored.push(key);
    }
    Seen { commands, stored }
}

impl Seen {
    /// How many of the things that were seen hold a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        let holds = |thing: &&Vec<u8>| thing.windows(text.len()).any(|part| part == text.as_bytes());
        self.commands.iter().flatten().chain(&self.stored).filter(holds).count()
    }

    /// The payloads of all messages that clients sent, to channels and to groups.
    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        let bodies = self.commands.iter().flat_map(|command| bodies(command));
        bodies.map(|body| &body[body.iter().position(|byte| *byte == b' ').unwrap() + 1..]).collect()
    }

    /// The names of queues, groups and inboxes in the keys of all calls of clients.
    pub(crate) fn names(&self) -> Vec<String> {
        let keys =
            self.commands.iter().flat_map(|command| call(command).map_or(&[][..], |(_, keys, _)| keys));
        let mut names = Vec::new();
        for key in keys {
            let key = String::from_utf8(key.clone()).unwrap();
            let mut parts = key.rsplitn(3, ':');
            let (name, kind) = (parts.next().unwrap(), parts.next().unwrap_or_default());
            if matches!(kind, "q" | "b" | "w" | "x" | "i" | "f" | "g" | "d" | "m" | "s" | "o") {
                names.extend(name.split(' ').map(str::to_owned));
            }
        }
        names
    }

    /// Every message that was sent was sealed.
    #[track_caller]
    pub(crate) fn assert_all_sealed(&self) {
        let payloads = self.payloads();
        assert!(payloads.len() > 20, "{} messages were seen", payloads.len());
        for payload in payloads {
            assert!(payload.starts_with(b"\xc1\x01") && payload.len() >= 60, "in clear text: {payload:?}");
        }
    }

    /// Every name in a key was hidden.
    #[track_caller]
    pub(crate) fn assert_all_hidden(&self) {
        let names = self.names();
        assert!(names.len() > 20, "{} names were seen", names.len());
        for name in names {
            let letters = name.trim_end_matches(['?', '!']);
            let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            // 16 bytes of a tag and at least 16 of a name.
            let hidden = letters.len() >= 43 && letters.chars().all(is_letter);
            assert!(hidden, "the name {name:?} was seen");
        }
    }
}

/// The script, the keys and the arguments of a call.
type Call<'a> = (&'static str, &'a [Vec<u8>], &'a [Vec<u8>]);

fn call(command: &[Vec<u8>]) -> Option<Call<'_>> {
    let [evalsha, sha, count, rest @ ..] = command else { return None };
    if !evalsha.eq_ignore_ascii_case(b"EVALSHA") {
        return None;
    }
    let script = scripts::all().iter().find(|script| script.sha().as_bytes() == sha).unwrap();
    let count: usize = String::from_utf8_lossy(count).parse().unwrap();
    let (keys, arguments) = rest.split_at(count);
    Some((script.name(), keys, arguments))
}

/// The bodies of the entries that a call adds.
fn bodies(command: &[Vec<u8>]) -> Vec<&[u8]> {
    let Some((script, keys, arguments)) = call(command) else { return Vec::new() };
    match script {
        "push" => {
            let mut rest = &arguments[4..];
            let mut bodies = Vec::new();
            for _ in keys {
                let count: usize = String::from_utf8_lossy(&rest[1]).parse().unwrap();
                bodies.extend(rest[2..2 + count].iter().map(|body| &**body));
                rest = &rest[2 + count..];
            }
            bodies
        }
        "group_send" => vec![&arguments[7]],
        "drain_put" => arguments[1..].chunks(2).map(|entry| &entry[1][18..]).collect(),
        _ => Vec::new(),
    }
}

/// Reads `"EVALSHA" "..."` as MONITOR writes it.
fn arguments(line: &str) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut rest = line.bytes();
    while rest.find(|byte| *byte == b'"').is_some() {
        let mut argument = Vec::new();
        loop {
            match rest.next().unwrap() {
                b'"' => break,
                b'\\' => argument.push(match rest.next().unwrap() {
                    b'x' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => other,
                }),
                byte => argument.push(byte),
            }
        }
        arguments.push(argument);
    }
    arguments
}

#[test]
fn commands_are_read_as_monitor_writes_them() {
    let read = arguments(r#""PUBLISH" "a \"b\"\\" "\xc1\x01\n\r\t\a\bz""#);
    assert_eq!(read, [&b"PUBLISH"[..], b"a \"b\"\\", b"\xc1\x01\n\r\t\x07\x08z"]);
}
