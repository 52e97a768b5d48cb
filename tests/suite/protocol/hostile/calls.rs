//! Random calls: good ones, of a few names that meet again and again, and what spoils them.

use fastrand::Rng;

use super::Call;

/// A good call of any script.
pub(super) fn good(rng: &mut Rng) -> Call {
    const SCRIPTS: usize = 24;
    match rng.usize(..SCRIPTS) {
        0 => hello(rng),
        1 => push(rng),
        2 => pop(rng),
        3 => group_change(rng),
        4 => group_discard(rng),
        5 => group_send(rng),
        6 => inbox_keep(rng),
        7 => drain_put(rng),
        number => small(number, rng),
    }
}

fn one_of<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

fn client(rng: &mut Rng) -> &'static str {
    one_of(rng, &["me", "you", "deaf"])
}

fn queue(rng: &mut Rng) -> &'static str {
    one_of(rng, &["a", "b", "c?1", "in.box!", "else!"])
}

fn group(rng: &mut Rng) -> &'static str {
    one_of(rng, &["room", "hall"])
}

fn key(kind: char, name: &str) -> String {
    format!("asgi:{kind}:{name}")
}

fn address(rng: &mut Rng, queue: &str) -> &'static str {
    if queue.ends_with('!') { one_of(rng, &["x", "y"]) } else { "" }
}

/// A client and its generation, which is seldom an old one; or nobody.
fn fence(rng: &mut Rng) -> [String; 2] {
    if rng.bool() {
        return ["".to_owned(), "".to_owned()];
    }
    [client(rng).to_owned(), if rng.u8(..10) == 0 { "2" } else { "1" }.to_owned()]
}

fn call(script: &'static str, keys: &[String], arguments: Vec<String>) -> Call {
    let keys = keys.iter().map(|key| key.clone().into_bytes()).collect();
    Call { script, keys, arguments: arguments.into_iter().map(String::into_bytes).collect() }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

pub(super) fn hello(rng: &mut Rng) -> Call {
    let generation = one_of(rng, &["1", "1", "2"]);
    let keys = [key('c', client(rng)), "asgi:schema".to_owned()];
    call("hello", &keys, texts([generation, "3600000", "3"]))
}

fn push(rng: &mut Rng) -> Call {
    let queues: Vec<&str> = (0..rng.usize(1..4)).map(|_| queue(rng)).collect();
    let mut arguments = texts(["asgi:", "600000"]);
    arguments.extend(fence(rng));
    for queue in &queues {
        let bodies = rng.usize(1..4);
        arguments.extend([one_of(rng, &["100", "2", "0"]).to_owned(), bodies.to_string()]);
        arguments.extend((0..bodies).map(|_| format!("m{} payload", address(rng, queue))));
    }
    call("push", &queues.iter().map(|queue| key('q', queue)).collect::<Vec<_>>(), arguments)
}

fn pop(rng: &mut Rng) -> Call {
    let [client, generation] = fence(rng);
    let mut keys = vec![key('c', &client)];
    let finished = rng.usize(..3);
    let open = rng.usize(..3);
    let lease = if open == 0 { one_of(rng, &["3600000", "0", "-1"]) } else { "3600000" };
    let mut arguments = vec!["asgi:".to_owned(), client, generation, lease.to_owned(), finished.to_string()];
    for _ in 0..finished {
        arguments.extend([rng.u8(..20).to_string(), one_of(rng, &["", "0123456789"]).to_owned()]);
    }
    for _ in 0..open {
        let mut queues: Vec<&str> = (0..rng.usize(1..4)).map(|_| queue(rng)).collect();
        if queues.iter().any(|queue| queue.ends_with('!')) && rng.bool() {
            queues.truncate(1);
        }
        keys.extend(queues.iter().map(|queue| key('q', queue)));
        arguments.extend([
            rng.u8(..20).to_string(),
            one_of(rng, &["wait", "try", "wait-brief", "try-brief"]).to_owned(),
            queues.len().to_string(),
        ]);
    }
    call("pop", &keys, arguments)
}

fn change(script: &'static str, kinds: &[&str], rng: &mut Rng) -> Call {
    let queue = queue(rng);
    let keys = [key('i', queue), key('q', queue), key('s', queue)];
    let mut arguments = texts(["asgi:", queue]);
    let [client, generation] = fence(rng);
    let number = if client.is_empty() { String::new() } else { rng.u8(..).to_string() };
    arguments.extend([client, generation, number, "100".to_owned()]);
    for _ in 0..rng.usize(1..4) {
        let kind = if queue.ends_with('!') { one_of(rng, kinds) } else { one_of(rng, &kinds[..1]) };
        let time = match kind {
            "s" => one_of(rng, &["4000000000000 1", "4000000000000 1 =u"]),
            "a" => one_of(rng, &["4000000000000 7", "4000000000000 7 =u"]),
            "x" => "4000000000000",
            _ => one_of(rng, &["600000", "600000 =u"]),
        };
        arguments.extend(texts([kind, group(rng), address(rng, queue), time]));
    }
    call(script, &keys, arguments)
}

fn group_change(rng: &mut Rng) -> Call {
    change("group_change", &["+", "-", "a", "s", "x", "e"], rng)
}

fn group_discard(rng: &mut Rng) -> Call {
    change("group_discard", &["-", "x", "e"], rng)
}

fn group_send(rng: &mut Rng) -> Call {
    let group = group(rng);
    let mut arguments = texts(["asgi:", group, "600000"]);
    arguments.extend(fence(rng));
    arguments.extend(["".to_owned(), one_of(rng, &["", "names"]).to_owned(), format!("g{group} payload")]);
    call("group_send", &[key('g', group)], arguments)
}

fn inbox_keep(rng: &mut Rng) -> Call {
    let inbox = one_of(rng, &["in.box!", "else!"]);
    let keys = [key('i', inbox), key('s', inbox), key('f', inbox)];
    let mut arguments = texts(["asgi:", inbox, client(rng), one_of(rng, &["", "1"]), "3600000", "1048576"]);
    let addresses = rng.usize(..3);
    arguments.extend(texts([
        one_of(rng, &["1", "7"]),
        one_of(rng, &["", "0"]),
        ":",
        one_of(rng, &["some", "all"]),
    ]));
    arguments.push(rng.usize(..=addresses).to_string());
    arguments.extend((0..addresses).map(|_| address(rng, inbox).to_owned()));
    call("inbox_keep", &keys, arguments)
}

fn drain_put(rng: &mut Rng) -> Call {
    let queue = one_of(rng, &["a", "b", "c?1"]);
    let batch = rng.u16(..).to_string();
    let mut arguments = texts(["asgi:"]);
    for _ in 0..rng.usize(1..4) {
        arguments.extend(texts([one_of(rng, &["600000", "-5"]), "eighteen bytes ...m payload"]));
    }
    call("drain_put", &[key('q', queue), key('p', &batch)], arguments)
}

/// Those with few arguments.
fn small(number: usize, rng: &mut Rng) -> Call {
    let (queue, group, client) = (queue(rng), group(rng), client(rng));
    let address = address(rng, queue);
    let inbox = one_of(rng, &["in.box!", "else!"]);
    let schema = ["asgi:schema".to_owned()];
    match number {
        8 => call("client_tickets", &[key('c', client)], texts(["1", "0"])),
        9 => call("health", &[key('c', client)], texts(["asgi:"])),
        10 => call("flush", &schema, texts(["asgi:", "0", "1000"])),
        11 => call("flush_inboxes", &schema, texts(["asgi:", "0", "1000"])),
        12 => call("queue_list", &schema, texts(["asgi:", "0", "1000"])),
        13 => call("group_len", &[key('g', group)], texts(["asgi:", group, "", "100"])),
        14 => call("group_list", &[key('g', group)], texts(["asgi:", group, "", "0"])),
        15 => call("channel_groups", &[key('s', queue)], texts(["asgi:", queue, address, ""])),
        16 => call(
            "drain_take",
            &[key('q', queue), key('o', queue)],
            texts(["asgi:", "batch", "redis://there"]),
        ),
        17 => call("drain_done", &[key('o', queue)], texts(["batch"])),
        18 => {
            let keys = [key('s', queue), key('i', queue), key('q', queue)];
            call("group_leave", &keys, texts(["asgi:", queue, address, "", "", "", ""]))
        }
        19 => call("inbox_close", &[key('i', inbox)], texts(["asgi:", inbox, client])),
        20 => {
            let keys = [key('i', inbox), key('s', inbox), key('q', inbox)];
            call("inbox_page", &keys, texts(["asgi:", inbox, client, "9", one_of(rng, &["", group]), "", ""]))
        }
        21 => call("fetch", &[key('c', client), key('q', queue)], texts(["asgi:", "1", "1"])),
        22 => call("group_members", &[key('g', group)], texts(["asgi:", group, "", "0"])),
        _ => hello(rng),
    }
}

const ODD: &[&str] = &[
    "",
    " ",
    "0",
    "-0",
    "+1",
    "-1",
    "1",
    "2",
    "3",
    "5",
    "07",
    "1.5",
    "60000.0",
    "6e4",
    "1e3",
    "1e2",
    "0x10",
    "0xFFFFF",
    "inf",
    "-inf",
    "nan",
    " 5",
    "5 ",
    "5\n",
    "1000000000",
    "9007199254740993",
    "99999999999999999999",
    "315360000000",
    "315360000001",
    "3600001",
    "one",
    "a b",
    "a:b",
    "a\nb",
    "\0",
    "!",
    "in.box!",
    "wait",
    "try",
    "wait-brief",
    "some",
    "+",
    "-",
    "e",
    "s",
    "m",
    "m payload",
    "groom payload",
    "asgi:",
    "asgi",
    "other:",
    "asgi:q:a",
    "asgi:q:",
    "asgi:q:a b",
    "asgi:x:a",
    "asgi:c:me",
    "other:q:a",
    "asgi:schema",
    "schema",
    "q:a",
    "{a}",
];

fn odd(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..20) {
        0 => vec![b'9'; rng.usize(1..400)],
        1 => (0..rng.usize(..30)).map(|_| rng.u8(..)).collect(),
        2 => rng.i64(-10..10).to_string().into_bytes(),
        _ => one_of(rng, ODD).as_bytes().to_vec(),
    }
}

/// Spoils a call: something is replaced, left out, added, repeated or moved, once or a few times.
pub(super) fn spoil(call: &mut Call, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let list = if rng.u8(..4) == 0 { &mut call.keys } else { &mut call.arguments };
        let place = rng.usize(..=list.len());
        match rng.u8(..8) {
            0 => list.insert(place, odd(rng)),
            1 if place < list.len() => drop(list.remove(place)),
            2 if place < list.len() => list.insert(place, list[place].clone()),
            3 if place < list.len() => {
                let other = rng.usize(..list.len());
                list.swap(place, other);
            }
            4 => list.truncate(place),
            _ if place < list.len() => list[place] = odd(rng),
            _ => {}
        }
    }
}
