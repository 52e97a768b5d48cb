//! The log fed by hand: what the owner believes, and what it asks for. The server is one that nobody reaches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config::ConfigBuilder;
use crate::events::EventSource;
use crate::name::ChannelName;
use crate::redis::envelope::Envelopes;
use crate::redis::log_entry::{Listed, ListedMember, Page, Part, Tag};
use crate::redis::receive::Tickets;
use crate::redis::shard::Shard;

const ME: &str = "me";
const FAR: u64 = 10_000_000;

/// A log, and the mailboxes of its inbox.
struct Subject {
    log: Log,
    mailboxes: Mailboxes,
    _shard: Arc<Shard>,
}

impl Subject {
    fn new() -> Self {
        Self::of(ME, 1_000_000)
    }

    /// The log of an owner, by the client that it is, at a time of the server.
    fn of(owner: &str, now_ms: u64) -> Self {
        let config = ConfigBuilder::new().hosts(["redis://127.0.0.1:1"]).build().unwrap();
        let (tickets, envelopes) = (Arc::new(Tickets::new(1)), Envelopes::new(&config));
        let events = EventSource::default();
        let shard =
            Shard::start(0, &config.hosts()[0], &config, &tickets, &envelopes, &Arc::default(), &events);
        let shard = Arc::new(shard.unwrap());
        let inbox: ChannelName = "a.b!".parse().unwrap();
        let clock = Clock::new(Instant::now(), now_ms * 1000);
        let line = shard.changes().own(&inbox, &config);
        let log = Log::new(line, shard.names().clone(), Chain::new(owner), clock);
        let mailboxes = Mailboxes::new(inbox, 100);
        // It is read as a whole, so that each address may get something.
        assert!(mailboxes.try_next().is_none());
        Self { log, mailboxes, _shard: shard }
    }

    fn read(&mut self, entry: LogEntry) {
        let time = Time { pushed_ms: 1_000_000, came: Instant::now() };
        self.log.read(entry, time, &self.mailboxes);
    }

    fn change(&mut self, n: u64, tag: &Tag, parts: &[Part]) {
        self.read(LogEntry::Change { n, tag: tag.clone(), parts: parts.to_vec() });
    }

    /// Those who are in, in order.
    fn members(&self) -> Vec<String> {
        let members = self.log.mirror().iter();
        let mut members: Vec<String> =
            members.map(|(group, address, _)| format!("{group} {address}")).collect();
        members.sort_unstable();
        members
    }

    /// The owner's call that begins anew, of this number, was made and read.
    fn begin_anew(&mut self, n: u64, call: u64) {
        assert_eq!(self.log.due(), Some(Due::Begin));
        self.log.has_begun(call);
        assert_eq!(self.log.due(), None, "until its entry comes");
        self.change(n, &Tag::of(ME, call), &[Part::Begun]);
    }

    /// The page that is due, of all memberships, asked for by a call of this number.
    fn asks_for_page(&mut self, call: u64) {
        assert_eq!(self.log.due(), Some(Due::Page(Place::default())));
        self.log.asked_for_page(call);
    }

    fn page(&mut self, n: u64, tag: &Tag, call: u64, members: &[(&str, u64)]) {
        let members = members
            .iter()
            .map(|(address, end_ms)| ListedMember {
                address: (*address).into(),
                end_ms: *end_ms,
                label: None,
            })
            .collect();
        let groups = vec![Listed { group: "room".into(), is_whole: true, members }];
        let page = Page { n, tag: tag.clone(), call, from: Place::default(), to: None, groups };
        self.read(LogEntry::Page(page));
    }
}

fn joined(address: &str) -> Part {
    Part::Joined { group: "room".into(), address: address.into(), end_ms: FAR, label: None }
}

fn left(address: &str) -> Part {
    Part::Left { group: "room".into(), address: address.into() }
}

/// Shows R23 and R44.
#[tokio::test]
async fn the_mirror_is_what_changes_in_order_add_up_to() {
    let mut subject = Subject::new();
    subject.change(1, &Tag::of("one", 1), &[joined("a"), joined("b"), left("a")]);
    subject.change(2, &Tag::of("two", 1), &[joined("a")]);
    subject.change(3, &Tag::default(), &[Part::LeftAll { address: "b".into() }]);
    assert_eq!(subject.members(), ["room a"]);
    assert_eq!(subject.log.due(), None);
    assert_eq!(subject.log.last(), (3, ":"));
}

/// Shows R43.
#[tokio::test]
async fn a_repeat_of_an_old_state_is_ignored_and_the_mirror_believed() {
    let mut subject = Subject::new();
    let first = Tag::of("one", 7);
    subject.change(1, &first, &[joined("a")]);
    subject.change(2, &Tag::of("one", 8), &[left("a")]);
    subject.change(1, &first, &[joined("a")]);
    assert!(subject.members().is_empty(), "it was done before");
    subject.begin_anew(5, 9);
    subject.asks_for_page(10);
    subject.page(5, &Tag::of(ME, 9), 10, &[("a", FAR)]);
    assert!(subject.members().is_empty(), "the mirror is right, and the server is told so");
}

/// Shows R44 and R45.
#[tokio::test]
async fn a_change_that_is_missing_makes_the_owner_begin_anew_and_believe_the_server() {
    let mut subject = Subject::new();
    subject.change(1, &Tag::of("one", 1), &[joined("a")]);
    subject.change(3, &Tag::of("one", 3), &[joined("c")]);
    assert_eq!(subject.members(), ["room a", "room c"], "what is new is done meanwhile");
    subject.begin_anew(4, 1);
    subject.asks_for_page(2);
    subject.page(4, &Tag::of(ME, 1), 2, &[("b", FAR), ("c", FAR)]);
    assert_eq!(subject.members(), ["room b", "room c"]);
    assert_eq!(subject.log.due(), None);
    assert_eq!(subject.log.last(), (4, "me:1"));
}

/// Shows R44.
#[tokio::test]
async fn an_answer_that_names_an_earlier_change_is_of_an_older_state_and_a_later_one_of_changes_that_are_missing()
 {
    for (n, believed) in [(1, Trust::Mirror), (9, Trust::Server)] {
        let mut subject = Subject::new();
        subject.change(1, &Tag::of("one", 1), &[joined("a")]);
        subject.change(2, &Tag::of("one", 2), &[joined("b")]);
        let tag = Tag::of("one", n);
        subject.read(LogEntry::Kept { n, tag, call: 1 });
        subject.begin_anew(n + 1, 2);
        subject.asks_for_page(3);
        subject.page(n + 1, &Tag::of(ME, 2), 3, &[]);
        let is_kept = !subject.members().is_empty();
        assert_eq!(is_kept, believed == Trust::Mirror, "{n}");
    }
}

#[tokio::test]
async fn an_answer_that_agrees_says_nothing_new() {
    let mut subject = Subject::new();
    subject.change(1, &Tag::of("one", 1), &[joined("a")]);
    subject.read(LogEntry::Kept { n: 1, tag: Tag::of("one", 1), call: 1 });
    assert_eq!(subject.log.due(), None);
}

/// Shows R48.
#[tokio::test]
async fn a_page_that_was_asked_for_before_a_doubt_changes_nothing() {
    let mut subject = Subject::new();
    subject.change(1, &Tag::of("one", 1), &[joined("a")]);
    subject.read(LogEntry::Quiet);
    subject.begin_anew(2, 1);
    subject.asks_for_page(2);
    // Before that page comes, something is missing again.
    subject.read(LogEntry::Quiet);
    subject.page(2, &Tag::of(ME, 1), 2, &[]);
    assert_eq!(subject.members(), ["room a"], "in doubt nothing is taken over");
    subject.begin_anew(3, 3);
    subject.asks_for_page(4);
    subject.page(3, &Tag::of(ME, 3), 2, &[]);
    assert_eq!(subject.members(), ["room a"], "nobody asks for that one any more");
}

/// Shows R41.
#[tokio::test]
async fn a_flush_ends_all_memberships() {
    let mut subject = Subject::new();
    subject.change(1, &Tag::of("one", 1), &[joined("a")]);
    subject.read(LogEntry::Flushed);
    assert!(subject.members().is_empty());
    assert_eq!(subject.log.due(), Some(Due::Begin));
}

/// Shows R25.
#[tokio::test]
async fn an_own_change_that_was_lost_before_a_flush_is_not_made_again_after_it() {
    for (answered_us, stays) in [(1_000_000_000, false), (1_000_002_000, true)] {
        let mut subject = Subject::new();
        let what = What::Join { left_ms: FAR };
        let join = Operation { group: "room".into(), address: "a".into(), what, label: None };
        subject.log.line().sent_for_tests(7, &[join]);
        subject.log.line().answered_for_tests(7, 5, answered_us);
        // An old state came back: the mirror is right.
        subject.change(1, &Tag::of("one", 1), &[joined("b")]);
        subject.change(1, &Tag::of("one", 1), &[joined("b")]);
        subject.read(LogEntry::Flushed);
        subject.begin_anew(4, 9);
        assert_eq!(
            subject.members() == ["room a"],
            stays,
            "answered at {answered_us}: {:?}",
            subject.members()
        );
    }
}

/// Shows R59.
#[tokio::test]
async fn a_label_that_was_not_told_is_taken_over_from_a_page_that_has_the_same_end() {
    for (end_ms, learned) in [(FAR, Some("user")), (FAR + 1, None)] {
        let mut subject = Subject::new();
        subject.change(1, &Tag::of("one", 1), &[joined("a")]);
        subject.log.walks.walk_again();
        subject.asks_for_page(1);
        let members = vec![ListedMember { address: "a".into(), end_ms, label: Some("user".into()) }];
        let groups = vec![Listed { group: "room".into(), is_whole: true, members }];
        let tag = Tag::of("one", 1);
        subject.read(LogEntry::Page(Page { n: 1, tag, call: 1, from: Place::default(), to: None, groups }));
        let member = subject.log.mirror().get("room", "a").unwrap();
        assert_eq!((member.label.as_deref(), member.is_pending), (learned, learned.is_none()), "{end_ms}");
    }
}

/// Shows R50.
#[tokio::test]
async fn what_was_asked_for_on_a_connection_that_broke_is_asked_for_again() {
    let mut subject = Subject::new();
    subject.read(LogEntry::Quiet);
    assert_eq!(subject.log.due(), Some(Due::Begin));
    subject.log.has_begun(1);
    assert_eq!(subject.log.due(), None);
    subject.log.connected_anew();
    assert_eq!(subject.log.due(), Some(Due::Begin));
}

/// Shows R44.
#[tokio::test]
async fn a_member_whose_name_another_key_has_hidden_is_still_a_member() {
    let config = ConfigBuilder::new().symmetric_encryption_keys(["key"]).hide_names("names").build().unwrap();
    let mut subject = Subject::new();
    subject.log.names = config.sealing().names.clone();
    subject.change(1, &Tag::of("one", 1), &[joined("a")]);
    assert_eq!(subject.members(), ["room a"]);
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    owner: String,
    now_ms: u64,
    #[serde(rename = "entries")]
    _entries: serde::de::IgnoredAny,
    #[serde(rename = "refused")]
    _refused: serde::de::IgnoredAny,
    #[serde(rename = "tags")]
    _tags: serde::de::IgnoredAny,
    histories: Vec<History>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    tells: String,
    rules: Vec<String>,
    steps: Vec<Step>,
}

/// A step of a history: what the owner reads or does, or what it then knows.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    read: Option<String>,
    sends: Option<Call>,
    answer: Option<Answer>,
    begins: Option<u64>,
    asks: Option<u64>,
    mirror: Option<BTreeMap<String, BTreeMap<String, u64>>>,
    last: Option<(String, String)>,
    due: Option<String>,
    from: Option<(String, String, String)>,
    repairs: Option<Vec<[String; 4]>>,
    gets: Option<Gets>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    call: u64,
    operations: Vec<[String; 4]>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    call: u64,
    n: u64,
    now_us: u64,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Gets {
    group: String,
    sent_ms: u64,
    addresses: Vec<String>,
}

fn operation([kind, group, address, time]: &[String; 4]) -> Operation {
    let numbers: Vec<u64> = time.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let what = match (&**kind, &numbers[..]) {
        ("+", [left_ms]) => What::Join { left_ms: *left_ms },
        ("-", []) => What::Leave,
        ("a", [end_ms, read]) => What::JoinUnlessIn { end_ms: *end_ms, read: *read },
        other => panic!("{other:?}"),
    };
    Operation { group: (&**group).into(), address: (&**address).into(), what, label: None }
}

fn written(operation: &Operation) -> [String; 4] {
    let (kind, time) = match operation.what {
        What::JoinUnlessIn { end_ms, read } => ("a", format!("{end_ms} {read}")),
        What::SetEnd { end_ms, seen_ms } => ("s", format!("{end_ms} {seen_ms}")),
        What::LeaveIf { end_ms } => ("x", end_ms.to_string()),
        other => panic!("{other:?}"),
    };
    [kind.to_owned(), operation.group.to_string(), operation.address.to_string(), time]
}

impl Subject {
    /// Takes a step of a history. Fails if the owner then knows something else than it says.
    fn take(&mut self, step: Step, now_ms: u64) {
        let Step { read, sends, answer, begins, asks, mirror, last, due, from, repairs, gets } = step;
        if let Some(body) = read {
            let entry = LogEntry::read(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            self.log.read(entry, Time { pushed_ms: now_ms, came: Instant::now() }, &self.mailboxes);
        } else if let Some(Call { call, operations }) = sends {
            let operations: Vec<Operation> = operations.iter().map(operation).collect();
            self.log.line().sent_for_tests(call, &operations);
        } else if let Some(Answer { call, n, now_us }) = answer {
            self.log.line().answered_for_tests(call, n, now_us);
        } else if let Some(call) = begins {
            self.log.has_begun(call);
        } else if let Some(call) = asks {
            self.log.asked_for_page(call);
        } else if let Some(due) = mirror {
            let mut known: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
            for (group, address, member) in self.log.mirror().iter() {
                known.entry(group.to_string()).or_default().insert(address.to_string(), member.end_ms);
            }
            assert_eq!(known, due);
        } else if let Some(due) = last {
            let (n, tag) = self.log.last();
            let n = if self.log.line().has_answered() { String::new() } else { n.to_string() };
            assert_eq!((n, tag.to_owned()), due);
        } else if let Some(due) = due {
            let (told, place) = match self.log.due() {
                Some(Due::Begin) => ("begin", None),
                Some(Due::Page(place)) => ("page", Some(place)),
                None => ("nothing", None),
                Some(Due::Keep) => panic!("a sign of life is due"),
            };
            assert_eq!(told, due);
            let place = place.map(|place| {
                let end = place.end_ms.map(|end| end.to_string()).unwrap_or_default();
                (place.group.to_string(), end, place.address.to_string())
            });
            assert_eq!(place, from);
        } else if let Some(due) = repairs {
            let mut known: Vec<_> = self.log.line().take_repairs_for_tests().iter().map(written).collect();
            known.sort();
            assert_eq!(known, due);
        } else if let Some(Gets { group, sent_ms, addresses }) = gets {
            let members = self.log.mirror().members(&group).into_iter().flatten();
            let mut known: Vec<&str> =
                members.filter(|(_, member)| member.gets(sent_ms)).map(|(address, _)| &**address).collect();
            known.sort_unstable();
            assert_eq!(known, addresses);
        } else {
            panic!("an empty step");
        }
    }
}

/// Shows R21, R23 to R26, R37 to R39 and R43 to R49.
#[tokio::test]
async fn an_owner_knows_what_the_vectors_say_after_each_step() {
    let Published { owner, now_ms, histories, .. } = crate::vectors::read("control_entries");
    assert!(histories.len() > 15);
    for History { tells, rules, steps } in histories {
        let mut subject = Subject::of(&owner, now_ms);
        assert!(!rules.is_empty());
        for (number, step) in steps.into_iter().enumerate() {
            let shown = format!("{tells} Step {number}: {step:?}");
            let taken = std::panic::AssertUnwindSafe(|| subject.take(step, now_ms));
            std::panic::catch_unwind(taken).unwrap_or_else(|_| panic!("{shown}"));
        }
    }
}
