//! Random steps: calls as clients make them, with some that no client should make.

use redis::Value;

use super::side::Outcome;
use crate::protocol::ledger::Dice;

const QUEUES: [&str; 4] = ["a", "b", "c", "in!"];
pub(super) const CLIENTS: [&str; 3] = ["one", "two", "deaf"];
const LEASE_MS: u64 = 60_000;

/// One step, in words that stand for `<prefix>` where they begin with `{}`.
#[derive(Debug)]
pub(super) enum Step {
    /// The clock moves on by so many microseconds.
    Clock(u64),
    Call {
        script: &'static str,
        keys: Vec<String>,
        args: Vec<Vec<u8>>,
    },
    /// What another program or the server itself does.
    Command(Vec<String>),
}

/// What the steps so far have led to.
pub(super) struct Steps {
    generations: [u64; 3],
    next_ticket: u64,
    /// Tickets that were opened and not finished: the client, the number, its queues, and the id of what it was handed.
    open: Vec<Ticket>,
}

#[derive(Clone, Debug)]
struct Ticket {
    client: usize,
    number: u64,
    queues: Vec<&'static str>,
    handed: Option<Vec<u8>>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { generations: [0; 3], next_ticket: 0, open: Vec::new() }
    }

    pub(super) fn next(&mut self, dice: &mut Dice) -> Step {
        if self.generations.contains(&0) {
            return self
                .hello(self.generations.iter().position(|generation| *generation == 0).unwrap_or_default());
        }
        match dice.roll(100) {
            0..20 => Step::Clock(match dice.roll(20) {
                0 => 70_000_000,
                1..4 => 11_000_000,
                _ => 1 + dice.roll(3000),
            }),
            20..55 => self.push(dice),
            55..95 => self.pop(dice),
            95..98 => self.hello(dice.index(3)),
            _ => command(dice),
        }
    }

    /// Notes what the tickets were handed. Returns how many were.
    pub(super) fn learn(&mut self, outcome: &Outcome) -> usize {
        let mut given = 0;
        if let Some(Value::Array(parts)) = outcome.reply() {
            for part in parts.get(2..).unwrap_or_default().chunks_exact(3) {
                let (Value::BulkString(ticket), Value::BulkString(queue)) = (&part[0], &part[1]) else {
                    continue;
                };
                let entry = match &part[2] {
                    Value::Array(entries) => entries.last(),
                    entry => Some(entry),
                };
                if let Some(Value::BulkString(entry)) = entry {
                    given += usize::from(!queue.is_empty());
                    self.hand(&String::from_utf8_lossy(ticket), entry);
                }
            }
        }
        for news in outcome.published() {
            let mut words = news.splitn(3, |byte| *byte == b' ');
            if let (Some(ticket), Some(_), Some(entry)) = (words.next(), words.next(), words.next()) {
                given += 1;
                self.hand(&String::from_utf8_lossy(ticket), entry);
            }
        }
        given
    }

    fn hand(&mut self, ticket: &str, entry: &[u8]) {
        for open in self.open.iter_mut().filter(|open| open.number.to_string() == ticket) {
            open.handed = Some(entry[..entry.len().min(10)].to_vec());
        }
    }

    fn hello(&mut self, client: usize) -> Step {
        self.generations[client] += 1;
        Step::Call {
            script: "hello",
            keys: vec![format!("{{}}c:{}", CLIENTS[client]), "{}schema".to_owned()],
            args: words(&[&self.generations[client].to_string(), &LEASE_MS.to_string(), "3"]),
        }
    }

    fn push(&self, dice: &mut Dice) -> Step {
        let first = dice.index(QUEUES.len());
        let count = if dice.one_in(4) { 1 + dice.index(3) } else { 1 };
        let queues = (0..count).map(|number| QUEUES[(first + number) % QUEUES.len()]);
        let expiry = *pick(dice, &["60000", "61000", "600000", "4000000"]);
        let mut args = words(&["{}", expiry]);
        if dice.one_in(3) {
            let client = dice.index(3);
            let generation = self.generations[client] - u64::from(dice.one_in(5));
            args.extend(words(&[CLIENTS[client], &generation.to_string()]));
        } else {
            args.extend(words(&["", ""]));
        }
        let mut keys = Vec::new();
        for queue in queues {
            keys.push(format!("{{}}q:{queue}"));
            let bodies = if dice.one_in(3) { 1 + dice.index(4) } else { 1 };
            args.extend(words(&[&dice.roll(7).to_string(), &bodies.to_string()]));
            for _ in 0..bodies {
                let body = if queue == "in!" {
                    format!("maddress {}", dice.roll(100))
                } else {
                    format!("m {}", dice.roll(100))
                };
                args.push(body.into_bytes());
            }
        }
        Step::Call { script: "push", keys, args }
    }

    fn pop(&mut self, dice: &mut Dice) -> Step {
        if dice.one_in(8) {
            return take(dice);
        }
        let client = dice.index(3);
        let generation = self.generations[client] - u64::from(dice.one_in(20));
        let lease = match dice.roll(30) {
            0 => "0",
            1 => "-1",
            2 => "3600000",
            _ => "60000",
        };
        let is_the_last = lease == "-1";
        let mut finished = Vec::new();
        let mut asked = Vec::new();
        for ticket in std::mem::take(&mut self.open) {
            if ticket.client != client {
                self.open.push(ticket);
            } else if ticket.handed.is_some() && !dice.one_in(4) || dice.one_in(6) {
                finished.push(ticket);
            } else {
                if dice.one_in(6) && !is_the_last {
                    asked.push(ticket.clone());
                }
                self.open.push(ticket);
            }
        }
        let queue = QUEUES[dice.index(QUEUES.len())];
        let new = if is_the_last {
            0
        } else if dice.one_in(3) {
            dice.index(6)
        } else {
            1
        };
        for _ in 0..new {
            self.next_ticket += 1;
            let mut queues = vec![queue];
            if dice.one_in(4) {
                queues = QUEUES[..=dice.index(3)].to_vec();
            }
            let ticket = Ticket { client, number: self.next_ticket, queues, handed: None };
            self.open.push(ticket.clone());
            asked.push(ticket);
        }
        if dice.one_in(30) {
            asked.extend(asked.first().cloned());
        }

        let mut keys = vec![format!("{{}}c:{}", CLIENTS[client])];
        let mut args =
            words(&["{}", CLIENTS[client], &generation.to_string(), lease, &finished.len().to_string()]);
        for ticket in &finished {
            args.push(ticket.number.to_string().into_bytes());
            args.push(match dice.roll(12) {
                0 => Vec::new(),
                1 => b"no such id".to_vec(),
                _ => ticket.handed.clone().unwrap_or_default(),
            });
        }
        for ticket in &asked {
            let mode = if dice.one_in(4) { "try" } else { "wait" };
            args.extend(words(&[&ticket.number.to_string(), mode, &ticket.queues.len().to_string()]));
            keys.extend(ticket.queues.iter().map(|queue| format!("{{}}q:{queue}")));
        }
        Step::Call { script: "pop", keys, args }
    }
}

/// A pop by nobody.
fn take(dice: &mut Dice) -> Step {
    let queues = &QUEUES[dice.index(3)..];
    let queues = &queues[..=dice.index(queues.len().min(2))];
    let mut keys = vec!["{}c:".to_owned()];
    keys.extend(queues.iter().map(|queue| format!("{{}}q:{queue}")));
    let args = words(&["{}", "", "0", "0", "0", "1", "try", &queues.len().to_string()]);
    Step::Call { script: "pop", keys, args }
}

fn command(dice: &mut Dice) -> Step {
    let queue = QUEUES[dice.index(QUEUES.len())];
    let client = CLIENTS[dice.index(3)];
    let command = match dice.roll(8) {
        0 => format!("DEL {{}}q:{queue}"),
        1 => format!("DEL {{}}w:{queue}"),
        2 => format!("DEL {{}}c:{client}"),
        3 => format!("RPUSH {{}}q:{queue} short"),
        4 => format!("ZADD {{}}w:{queue} 1 nobody"),
        5 => format!("DEL {{}}b:{queue}"),
        6 => format!("SET {{}}w:{queue} foreign"),
        _ => format!("SET {{}}q:{queue} foreign"),
    };
    Step::Command(command.split(' ').map(str::to_owned).collect())
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn pick<'a, T>(dice: &mut Dice, of: &'a [T]) -> &'a T {
    &of[dice.index(of.len())]
}
