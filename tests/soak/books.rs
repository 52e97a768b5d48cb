//! The ledger: what the workers wrote of each message, what faults excuse, and the verdict.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::time::{Duration, Instant};

use super::crew::Event;
use super::lateness::Lateness;

/// After so long at most all is right again, but for what a busy machine held up.
const RECOVERED: Duration = Duration::from_secs(2);
/// What takes longer than this waited for somebody to recover, or for a busy machine.
const PROMPT: Duration = Duration::from_secs(1);
/// Nothing is longer on its way than this, but for what a fault held up.
const LONGEST_IN_HAND: Duration = Duration::from_secs(10);
/// So much more than at the beginning a server may hold at the end, when nothing waits.
const MEMORY_ROOM: u64 = 6_000_000;
/// So many keys of a client stay for a while if it was killed.
const KEYS_OF_THE_KILLED: u64 = 8;
/// What is sent later than this before the next fault may still be on its way when that begins, and is not judged.
const UNDER_WAY: Duration = Duration::from_secs(1);
const SHOWN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    Perhaps,
}

#[derive(Debug, Default)]
struct Message {
    kind: char,
    begun: Option<Instant>,
    outcome: Option<Outcome>,
    /// Why it was not accepted.
    why: String,
    /// The mailbox that it was sent to.
    to: Option<u32>,
    /// Where it arrived, and when.
    receipts: Vec<(u32, Instant)>,
}

/// A mailbox, from its joining of the group until its process was killed.
struct Mailbox {
    name: String,
    place: u32,
    worker: usize,
    from: Instant,
    until: Option<Instant>,
}

impl Mailbox {
    fn lived_at(&self, at: Instant) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

/// A quiet time after a fault.
struct Quiet {
    fault: String,
    /// Whether mailboxes may hear late from here on, and memberships be missing until all members have got a message again.
    excuses_inboxes: bool,
    /// From when on the machine's own delays count: what it held up while the fault lasted, such as noticing it, comes later too.
    delays_from: Instant,
    from: Instant,
    until: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Books {
    messages: BTreeMap<u64, Message>,
    places: HashMap<String, u32>,
    mailboxes: Vec<Mailbox>,
    /// When a worker was killed, and how many of its messages may be lost with it.
    kills: Vec<(Instant, usize)>,
    quiets: Vec<Quiet>,
    /// What a server held that lost it.
    may_miss: BTreeSet<u64>,
    /// How often an id came back with an older state.
    came_back: HashMap<u64, usize>,
    left_over: BTreeSet<u64>,
    lateness: Lateness,
    /// Gets all that is noted, with the seconds since the beginning.
    trace: Option<(Instant, std::fs::File)>,
    wrong: Vec<String>,
}

impl Books {
    pub(crate) fn note(&mut self, event: Event) {
        let Event { worker, at, line } = event;
        self.trace(at, &format!("{worker} {line}"));
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let id = |word: &str| word.parse::<u64>().ok();
        match words.as_slice() {
            ["mailbox", name] => {
                let (name, place) = ((*name).to_owned(), self.place(name));
                self.mailboxes.push(Mailbox { name, place, worker, from: at, until: None });
            }
            ["s", kind, number, to] => {
                let to = (*kind == "m").then(|| self.place(to));
                if let (Some(number), Some(kind)) = (id(number), kind.chars().next()) {
                    let message = self.messages.entry(number).or_default();
                    (message.kind, message.begun, message.to) = (kind, Some(at), to);
                }
            }
            [outcome @ ("a" | "f" | "p"), number, why @ ..] => {
                if let Some(number) = id(number) {
                    let outcome = match *outcome {
                        "a" => Outcome::Accepted,
                        "f" => Outcome::Refused,
                        _ => Outcome::Perhaps,
                    };
                    let message = self.messages.entry(number).or_default();
                    (message.outcome, message.why) = (Some(outcome), why.join(" "));
                }
            }
            ["r", place, number] => {
                if let Some(number) = id(number) {
                    let place = self.place(place);
                    self.messages.entry(number).or_default().receipts.push((place, at));
                }
            }
            ["late", by] => {
                if let Some(by) = id(by) {
                    self.lateness.note(at, Duration::from_millis(by));
                }
            }
            ["stopped"] | ["closed"] => {}
            _ => self.wrong.push(format!("worker {worker}: {line}")),
        }
    }

    /// Writes all that is noted from now on into a file.
    pub(crate) fn trace_into(&mut self, path: &str) {
        let file = std::fs::File::create(path).expect("a file for the trace");
        self.trace = Some((Instant::now(), file));
    }

    pub(crate) fn trace(&mut self, at: Instant, what: &str) {
        if let Some((begun, file)) = &mut self.trace {
            let seconds = at.saturating_duration_since(*begun).as_secs_f64();
            writeln!(file, "{seconds:.3} {what}").expect("room for the trace");
        }
    }

    pub(crate) fn wrong(&mut self, text: String) {
        self.wrong.push(text);
    }

    fn place(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        *self.places.entry(name.to_owned()).or_insert(next)
    }

    /// The mailboxes of all processes that live.
    pub(crate) fn mailboxes(&self) -> Vec<String> {
        let living = self.mailboxes.iter().filter(|mailbox| mailbox.until.is_none());
        living.map(|mailbox| mailbox.name.clone()).collect()
    }

    /// A worker was killed: its mailboxes went with it, and what it was handed, which servers still name. It may have had some
    /// more in hand, taken but not yet written down. Returns the mailboxes.
    pub(crate) fn was_killed(&mut self, worker: usize, handed: BTreeSet<u64>, in_hand: usize) -> Vec<String> {
        self.may_miss.extend(handed);
        self.kills.push((Instant::now(), in_hand));
        let mut gone = Vec::new();
        for mailbox in self.mailboxes.iter_mut().filter(|it| it.worker == worker && it.until.is_none()) {
            mailbox.until = Some(Instant::now());
            gone.push(mailbox.name.clone());
        }
        gone
    }

    /// Whether this message went to a mailbox whose process was killed.
    fn went_with_its_mailbox(&self, message: &Message) -> bool {
        let is_its = |mailbox: &&Mailbox| Some(mailbox.place) == message.to;
        self.mailboxes.iter().find(is_its).is_some_and(|mailbox| mailbox.until.is_some())
    }

    /// Takes one from what a killed worker may have had in hand when this message was young, if any is left.
    fn was_in_hand(kills: &mut [(Instant, usize)], message: &Message) -> bool {
        let Some(begun) = message.begun else { return false };
        let near = kills.iter_mut().find(|(at, left)| {
            *left > 0 && begun < *at + RECOVERED && at.saturating_duration_since(begun) < LONGEST_IN_HAND
        });
        near.map(|(_, left)| *left -= 1).is_some()
    }

    /// A server holds something else than it held.
    pub(crate) fn went_back(&mut self, held: &BTreeSet<u64>, restored: &BTreeSet<u64>) {
        self.may_miss.extend(held.difference(restored));
        for id in restored {
            *self.came_back.entry(*id).or_default() += 1;
        }
    }

    pub(crate) fn left_over(&mut self, ids: BTreeSet<u64>) {
        self.left_over.extend(ids);
    }

    pub(crate) fn fault_ended(&mut self, name: String, excuses_inboxes: bool, delays_from: Instant) {
        self.trace(Instant::now(), &format!("{name} ended"));
        let from = Instant::now();
        self.quiets.push(Quiet { fault: name, excuses_inboxes, delays_from, from, until: None });
    }

    pub(crate) fn quiet_ended(&mut self) {
        if let Some(quiet) = self.quiets.last_mut() {
            quiet.until = Some(Instant::now());
        }
    }

    /// Prints what came of it all; returns whether all is well.
    pub(crate) fn report(&mut self, used: &[(u64, u64)], keys: &[Vec<String>]) -> bool {
        let mut faults: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let (mut accepted, mut refused, mut perhaps, mut received, mut excused, mut again) =
            (0, 0, 0, 0, 0, 0);
        let mut kills = self.kills.clone();
        for (id, message) in &self.messages {
            match message.outcome {
                Some(Outcome::Accepted) => accepted += 1,
                Some(Outcome::Refused) => refused += 1,
                _ => perhaps += 1,
            }
            received += message.receipts.len();
            if message.kind == '\0' {
                faults.entry("received, but sent by nobody").or_default().push(id.to_string());
            }
            if message.outcome == Some(Outcome::Refused) && !message.receipts.is_empty() {
                faults.entry("refused, but received").or_default().push(format!("{}{id}", message.kind));
            }
            let mut by_place: BTreeMap<u32, usize> = BTreeMap::new();
            for (place, _) in &message.receipts {
                *by_place.entry(if message.kind == 'g' { *place } else { 0 }).or_default() += 1;
            }
            let allowed = 1 + self.came_back.get(id).copied().unwrap_or_default();
            for times in by_place.values() {
                again += times - 1;
                if *times > allowed {
                    let shown = format!("{}{id} ({times} times)", message.kind);
                    faults.entry("received more than once").or_default().push(shown);
                }
            }
            let is_missing = message.kind != 'g'
                && message.outcome == Some(Outcome::Accepted)
                && message.receipts.is_empty();
            let is_excused = self.may_miss.contains(id) || self.went_with_its_mailbox(message);
            if is_missing && (is_excused || (message.kind == 'q' && Self::was_in_hand(&mut kills, message))) {
                excused += 1;
            } else if is_missing {
                let where_is = if self.left_over.contains(id) { "still waits" } else { "nowhere" };
                faults
                    .entry("accepted, but not received")
                    .or_default()
                    .push(format!("{}{id} ({where_is})", message.kind));
            }
        }
        println!("sent: {accepted} accepted, {refused} refused, {perhaps} perhaps; received: {received}");
        println!(
            "excused by id: {excused} lost with a server's data or a killed process, {again} came again with an older state"
        );
        self.print_recoveries(&mut faults);
        let numbers: Vec<String> =
            used.iter().map(|(keys, bytes)| format!("{keys}/{:.1}", *bytes as f64 / 1e6)).collect();
        println!("keys/MB over time: {}", numbers.join(" "));
        self.check_flat(used, &mut faults);
        for keys in keys {
            println!(
                "keys after the end: {}, such as {:?}",
                keys.len(),
                keys.iter().take(SHOWN).collect::<Vec<_>>()
            );
            if let Some(key) = keys.iter().find(|key| key.ends_with("(without a TTL)")) {
                faults.entry("a key without a TTL").or_default().push(key.clone());
            }
        }
        for text in std::mem::take(&mut self.wrong) {
            faults.entry("must not happen").or_default().push(text);
        }
        for (what, which) in &faults {
            println!("WRONG: {} {what}: {:?}", which.len(), which.iter().take(SHOWN).collect::<Vec<_>>());
        }
        println!("{}", if faults.is_empty() { "soak: all is well" } else { "soak: FAILED" });
        faults.is_empty()
    }

    /// What the servers hold at the end, when nothing waits, is what they held at the beginning.
    fn check_flat(&self, used: &[(u64, u64)], faults: &mut BTreeMap<&str, Vec<String>>) {
        let (Some((keys_first, bytes_first)), Some((keys_last, bytes_last))) = (used.first(), used.last())
        else {
            return;
        };
        let killed = KEYS_OF_THE_KILLED * self.kills.len() as u64;
        if *keys_last > keys_first + killed {
            let text = format!("{keys_first} at first, {keys_last} at last, {killed} allowed for the killed");
            faults.entry("the number of keys grows").or_default().push(text);
        }
        if *bytes_last > bytes_first + MEMORY_ROOM {
            let text = format!("{bytes_first} bytes at first, {bytes_last} at last");
            faults.entry("the memory grows").or_default().push(text);
        }
    }

    /// Whether all mailboxes that lived got a message to the group.
    fn all_got(&self, message: &Message, begun: Instant) -> bool {
        let got = |place: u32| message.receipts.iter().any(|(at, _)| *at == place);
        // Members that joined or were killed while it was on its way may have it or not.
        let around = [begun, begun + RECOVERED];
        let due = |mailbox: &&Mailbox| around.iter().all(|at| mailbox.lived_at(*at));
        self.mailboxes.iter().filter(due).all(|mailbox| got(mailbox.place))
    }

    /// How long after each fault the last message was sent that was refused, or that not all members of the group got.
    fn print_recoveries(&self, faults: &mut BTreeMap<&str, Vec<String>>) {
        let mut worst: BTreeMap<&str, (Duration, Duration, Duration, usize)> = BTreeMap::new();
        // Memberships that a fault lost stay lost into later quiet times, until a message reaches all again.
        let (mut is_excused, mut late_mail) = (false, 0);
        for quiet in &self.quiets {
            let Some(until) = quiet.until else { continue };
            let judged_until = self.lateness.before(until, UNDER_WAY);
            is_excused |= quiet.excuses_inboxes;
            let mut reached_all_again = None;
            let (mut sends, mut groups) = (Duration::ZERO, Duration::ZERO);
            let mut last = String::new();
            for (id, message) in &self.messages {
                let Some(begun) = message.begun.filter(|begun| (quiet.from..judged_until).contains(begun))
                else {
                    continue;
                };
                let after = begun - quiet.from;
                if message.outcome != Some(Outcome::Accepted) {
                    if after > sends {
                        (sends, last) = (after, format!("{}{id} {}", message.kind, message.why));
                    }
                } else if message.kind == 'g' {
                    if self.all_got(message, begun) {
                        reached_all_again = reached_all_again.max(Some(after));
                    } else {
                        groups = groups.max(after);
                    }
                } else if let Some((_, at)) = message.receipts.first() {
                    let took = *at - begun;
                    let is_late = took > PROMPT && took > PROMPT + self.lateness.between(begun, *at);
                    if is_late && message.kind == 'm' && quiet.excuses_inboxes {
                        late_mail += 1;
                    } else if is_late && *at - quiet.from > sends {
                        sends = *at - quiet.from;
                        last = format!("{}{id} arrived after {:.2?}", message.kind, *at - begun);
                    }
                }
            }
            if is_excused {
                // Right is what stays right to the end of the quiet time.
                is_excused = reached_all_again.is_none_or(|all| all < groups);
                groups = Duration::ZERO;
            }
            let right = sends.max(groups);
            let held_up = self.lateness.between(quiet.delays_from, quiet.from + right.max(RECOVERED));
            if right > RECOVERED + held_up {
                let text = format!(
                    "{}: sends {sends:.2?} ({last}), groups {groups:.2?}, the machine held up {held_up:.2?}",
                    quiet.fault
                );
                faults.entry("not right again after 2 s").or_default().push(text);
            }
            let entry = worst.entry(quiet.fault.as_str()).or_default();
            *entry = (entry.0.max(sends), entry.1.max(groups), entry.2.max(held_up), entry.3 + 1);
        }
        println!("excused: {late_mail} messages to mailboxes that came late after an old state");
        println!(
            "{:<24} {:>5} {:>12} {:>12} {:>12}",
            "fault", "times", "sends right", "groups right", "held up"
        );
        for (fault, (sends, groups, held_up, times)) in worst {
            println!(
                "{fault:<24} {times:>5} {:>10.2} s {:>10.2} s {:>10.2} s",
                sends.as_secs_f64(),
                groups.as_secs_f64(),
                held_up.as_secs_f64()
            );
        }
    }
}
