//! The log fed by hand: what the owner believes, and what it asks for. The server is one that nobody reaches.

use std::sync::Arc;

use super::*;
use crate::config::ConfigBuilder;
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
        let config = ConfigBuilder::new().hosts(["redis://127.0.0.1:1"]).build().unwrap();
        let (tickets, envelopes) = (Arc::new(Tickets::new(1)), Envelopes::new(&config));
        let shard = Shard::start(0, &config.hosts()[0], &config, &tickets, &envelopes, &Arc::default());
        let shard = Arc::new(shard.unwrap());
        let inbox: ChannelName = "a.b!".parse().unwrap();
        let clock = Clock::new(Instant::now(), 1_000_000_000);
        let line = shard.changes().own(&inbox, &config);
        let log = Log::new(line, shard.names().clone(), Chain::new(ME), clock);
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
        subject.log.line().note_for_tests(7, &[join], 5, answered_us);
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
