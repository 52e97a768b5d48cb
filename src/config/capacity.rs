//! How many messages a channel may hold: patterns over channel names, tried in order, and a default.
//!
//! Every send looks up a capacity here, so patterns are compiled once, when the configuration is checked.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

use crate::error::{Error, Result};
use crate::name::{ChannelKind, ChannelName};

/// A pattern over channel names, as it was written. [`glob`], [`regex`](regex()) and [`matching`] make one.
///
/// Made from plain text it is read as in a document: as a regex when the text begins with `re:`, else as a glob.
/// [`ConfigBuilder::build`](crate::ConfigBuilder::build) checks that it is well-formed.
///
/// ```
/// use asgi_redis::{Pattern, glob, regex};
///
/// assert_eq!(Pattern::from("http.response!*"), glob("http.response!*"));
/// assert_eq!(Pattern::from(r"re:^websocket.send\!.+"), regex(r"^websocket.send\!.+"));
/// assert_eq!(regex("a|b").to_string(), "re:a|b");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    kind: PatternKind,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PatternKind {
    Glob,
    Regex,
    Predicate(Predicate),
}

/// A program's own answer whether a name matches. Two are the same if they are one function.
#[derive(Clone)]
struct Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Predicate {}

impl Hash for Predicate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// A pattern with the meaning of Python's `fnmatch`, over the whole name: `*` stands for any text, `?` for one
/// character, `[a-z]` for one of these, `[!a-z]` for one other. All else stands for itself.
///
/// ```
/// use asgi_redis::{ConfigBuilder, glob};
///
/// let config = ConfigBuilder::new().channel_capacity([(glob("http.response!*"), 10)]).build()?;
/// assert_eq!(config.capacity_of(&"http.response!ab12".parse()?), 10);
/// assert_eq!(config.capacity_of(&"http.request".parse()?), 100);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
pub fn glob(pattern: impl Into<String>) -> Pattern {
    Pattern { kind: PatternKind::Glob, text: pattern.into() }
}

/// A regular expression with the meaning of Python's `re.match`: it must match from the start of the name on, and need
/// not reach its end. The syntax is that of the [`regex`](https://docs.rs/regex) crate: Python's, without look-around
/// and back-references.
///
/// ```
/// use asgi_redis::{ConfigBuilder, regex};
///
/// let config = ConfigBuilder::new().channel_capacity([(regex(r"^websocket.send\!.+"), 20)]).build()?;
/// assert_eq!(config.capacity_of(&"websocket.send.client7!ab12".parse()?), 20);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
pub fn regex(pattern: impl Into<String>) -> Pattern {
    Pattern { kind: PatternKind::Regex, text: pattern.into() }
}

/// A pattern that is a function: whether it matches a name. For what neither a glob nor a regex says, such as regular
/// expressions of another engine. `text` is how the pattern is shown.
///
/// The function is called by whoever sends, opens a mailbox or joins a group, once or twice for each name and in the order of
/// the patterns; it is to be quick, and must not call the layer. For one name it always gives one answer.
///
/// ```
/// use asgi_redis::{ConfigBuilder, matching};
///
/// let even = matching("names of an even length", |name| name.len() % 2 == 0);
/// let config = ConfigBuilder::new().channel_capacity([(even, 10)]).build()?;
/// assert_eq!(config.capacity_of(&"jobs".parse()?), 10);
/// assert_eq!(config.capacity_of(&"tasks".parse()?), 100);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
pub fn matching(text: impl Into<String>, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Pattern {
    Pattern { kind: PatternKind::Predicate(Predicate(Arc::new(matches))), text: text.into() }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        match text.strip_prefix("re:") {
            Some(pattern) => regex(pattern),
            None => glob(text),
        }
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PatternKind::Glob | PatternKind::Predicate(_) => f.write_str(&self.text),
            PatternKind::Regex => write!(f, "re:{}", self.text),
        }
    }
}

/// The capacity of every channel.
#[derive(Clone, Debug)]
pub(crate) struct Capacities {
    patterns: Vec<(Matcher, usize)>,
    default: usize,
    of_inbox: usize,
}

impl Capacities {
    /// Compiles the patterns; the first that matches decides.
    pub(crate) fn new(patterns: &[(Pattern, usize)], default: usize, of_inbox: usize) -> Result<Self> {
        let compiled = patterns.iter().map(|(pattern, capacity)| Ok((Matcher::new(pattern)?, *capacity)));
        Ok(Self { patterns: compiled.collect::<Result<_>>()?, default, of_inbox })
    }

    /// Returns the capacity of a channel: that of the first pattern that matches, else the default.
    pub(crate) fn of(&self, channel: &ChannelName) -> usize {
        let full = || match channel.kind() {
            ChannelKind::Inbox => Cow::Owned(of_any_mailbox(channel.as_str())),
            _ => Cow::Borrowed(channel.as_str()),
        };
        self.by_pattern(full).unwrap_or(self.default)
    }

    /// Returns the capacity of the queue of a channel: for those of an inbox that of the first pattern that matches any mailbox
    /// of it, else what an inbox holds.
    pub(crate) fn of_queue(&self, channel: &ChannelName) -> usize {
        match channel.kind() {
            ChannelKind::Inbox | ChannelKind::ProcessSpecific => {
                self.by_pattern(|| Cow::Owned(of_any_mailbox(channel.queue()))).unwrap_or(self.of_inbox)
            }
            _ => self.of(channel),
        }
    }

    /// Returns the capacity of the first pattern that matches a full name or, for a name with a `!`, the name without its
    /// process part. The name is made only where there are patterns.
    fn by_pattern<'a>(&self, full: impl FnOnce() -> Cow<'a, str>) -> Option<usize> {
        if self.patterns.is_empty() {
            return None;
        }
        let full = full();
        let general = without_process(&full);
        let matches = |matcher: &Matcher| {
            matcher.is_match(&full) || general.as_deref().is_some_and(|name| matcher.is_match(name))
        };
        self.patterns.iter().find(|(matcher, _)| matches(matcher)).map(|(_, capacity)| *capacity)
    }
}

/// The name of a mailbox in an inbox that a pattern for all its mailboxes matches, as it matches any.
fn of_any_mailbox(inbox: &str) -> String {
    format!("{inbox}x")
}

/// `websocket.send!ab12` of `websocket.send.client7!ab12`.
fn without_process(name: &str) -> Option<String> {
    let (inbox, local) = name.split_once('!')?;
    let (general, _process) = inbox.rsplit_once('.')?;
    Some(format!("{general}!{local}"))
}

/// A compiled pattern.
#[derive(Clone, Debug)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(Regex),
    Predicate(Predicate),
}

impl Matcher {
    fn new(pattern: &Pattern) -> Result<Self> {
        let refused = |why: &str| {
            Error::config(format!(
                "option `channel_capacity`: the pattern {:?} is refused: {why}",
                pattern.to_string()
            ))
        };
        match &pattern.kind {
            PatternKind::Predicate(predicate) => Ok(Self::Predicate(predicate.clone())),
            _ if pattern.text.is_empty() => Err(refused("it is empty; `*` matches every channel")),
            PatternKind::Glob => GlobBuilder::new(&in_globset_syntax(&pattern.text))
                .backslash_escape(false)
                .literal_separator(false)
                .build()
                .map(|glob| Self::Glob(glob.compile_matcher()))
                .map_err(|error| refused(&error.kind().to_string())),
            PatternKind::Regex => Regex::new(&pattern.text).map(Self::Regex).map_err(|error| {
                let text = error.to_string();
                let last_line = text.lines().last().unwrap_or(&text).trim();
                let why = last_line.trim_start_matches("error: ");
                refused(&format!("{why} (Rust's `regex` syntax; write `\\z` for Python's `\\Z`)"))
            }),
        }
    }

    fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(name),
            // The leftmost match begins at 0 if any does: this is `re.match`, whatever flags the pattern sets.
            Self::Regex(regex) => regex.find(name).is_some_and(|found| found.start() == 0),
            Self::Predicate(Predicate(matches)) => matches(name),
        }
    }
}

/// Returns the characters of which names are made. A pattern that asks for another one never matches.
fn name_characters() -> impl Iterator<Item = char> {
    ('-'..='.')
        .chain('0'..='9')
        .chain('?'..='?')
        .chain('A'..='Z')
        .chain('_'..='_')
        .chain('a'..='z')
        .chain('!'..='!')
}

/// A character that no name has.
const NEVER: char = '\0';

/// Translates a glob of Python's `fnmatch` into one of globset, which has braces, other classes and a `**` of its own,
/// and refuses unbalanced brackets where `fnmatch` takes them as they are.
fn in_globset_syntax(pattern: &str) -> String {
    let mut translated = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' if translated.ends_with('*') => {}
            '*' | '?' => translated.push(character),
            '[' => match split_class(rest.as_str()) {
                Some((class, after)) => {
                    push_class(&mut translated, class);
                    rest = after.chars();
                }
                None => translated.push(NEVER),
            },
            literal if name_characters().any(|character| character == literal) => translated.push(literal),
            _ => translated.push(NEVER),
        }
    }
    translated
}

/// Splits what follows a `[` at the `]` that closes it: not the first character, nor the first after a `!`.
fn split_class(text: &str) -> Option<(&str, &str)> {
    let after_mark = text.strip_prefix('!').unwrap_or(text);
    let after_first = after_mark.strip_prefix(']').unwrap_or(after_mark);
    let close = text.len() - after_first.len() + after_first.find(']')?;
    Some((text.get(..close)?, text.get(close + 1..)?))
}

/// Adds a class as the list of name characters that it stands for, in an order in which `-` and `!` have no meaning.
fn push_class(translated: &mut String, class: &str) {
    let (negated, items) = match class.strip_prefix('!') {
        Some(items) => (true, items),
        None => (false, class),
    };
    let ranges = class_ranges(items);
    let is_in = |character: &char| ranges.iter().any(|range| range.contains(character));
    let members: String = name_characters().filter(|character| is_in(character) != negated).collect();
    match members.as_str() {
        "" => translated.push(NEVER),
        "!" => translated.push('!'),
        members => translated.extend(["[", members, "]"]),
    }
}

fn class_ranges(items: &str) -> Vec<std::ops::RangeInclusive<char>> {
    let mut ranges = Vec::new();
    let mut rest = items.chars();
    while let Some(first) = rest.next() {
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) => {
                ranges.push(first..=last);
                rest = ahead;
            }
            _ => ranges.push(first..=first),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacities(patterns: &[(Pattern, usize)]) -> Capacities {
        Capacities::new(patterns, 100, 10_000).unwrap()
    }

    #[track_caller]
    fn refusal(pattern: Pattern) -> String {
        let error = Capacities::new(&[(pattern, 1)], 100, 10_000).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        assert!(!error.to_string().contains('\n'), "{error}");
        error.to_string()
    }

    fn of(capacities: &Capacities, name: &str) -> usize {
        capacities.of(&ChannelName::new(name).unwrap())
    }

    #[test]
    fn the_first_match_wins() {
        let capacities = capacities(&[(glob("http.*"), 1), (glob("http.request"), 2), (glob("*"), 3)]);
        assert_eq!(of(&capacities, "http.request"), 1);
        assert_eq!(of(&capacities, "websocket.connect"), 3);
    }

    #[test]
    fn a_mailbox_is_also_tried_without_its_process_part() {
        let capacities = capacities(&[(glob("http.response!*"), 10), (regex(r"^websocket.send\!.+"), 20)]);
        for (name, capacity) in [
            ("http.response!ab", 10),
            ("http.response.K3x9!ab", 10),
            ("http.response.K3x9!", 10),
            ("http.response.a.b!ab", 100),
            ("websocket.send!ab12", 20),
            ("websocket.send.K3x9!ab12", 20),
            ("websocket.send.K3x9!", 20),
            ("websocket.send", 100),
            ("websocket.send?ab", 100),
            ("client!ab", 100),
        ] {
            assert_eq!(of(&capacities, name), capacity, "{name}");
        }
    }

    #[test]
    fn the_full_name_of_a_mailbox_matches_too() {
        let capacities = capacities(&[(glob("http.response.K3x9!*"), 7), (glob("http.response!*"), 10)]);
        assert_eq!(of(&capacities, "http.response.K3x9!ab"), 7);
        assert_eq!(of(&capacities, "http.response.other!ab"), 10);
    }

    #[test]
    fn a_regex_is_anchored_at_the_start_only() {
        for (pattern, name, matches) in [
            ("b", "abc", false),
            ("ab", "abc", true),
            ("c|ab", "abc", true),
            ("(?i)AB", "abc", true),
            ("(?x) a b # comment", "abc", true),
            ("ab$", "abc", false),
            ("$", "abc", false),
        ] {
            assert_eq!(Matcher::new(&regex(pattern)).unwrap().is_match(name), matches, "{pattern} on {name}");
        }
    }

    #[test]
    fn globs_mean_what_they_mean_to_pythons_fnmatch() {
        // Each row was checked with `fnmatch.fnmatchcase` of Python 3.11.
        for (pattern, matching, others) in FNMATCH {
            let matcher = Matcher::new(&glob(*pattern)).unwrap();
            for name in *matching {
                assert!(matcher.is_match(name), "{pattern} matches {name}");
            }
            for name in *others {
                assert!(!matcher.is_match(name), "{pattern} does not match {name}");
            }
        }
    }

    const FNMATCH: &[(&str, &[&str], &[&str])] = &[
        ("http.response!*", &["http.response!", "http.response!ab"], &["http.response", "ahttp.response!b"]),
        ("http.request", &["http.request"], &["http-request", "http.requests", "ahttp.request"]),
        ("*", &["a", "a.b!c"], &[]),
        ("a**b", &["ab", "axb"], &["a", "abc"]),
        ("**", &["a"], &[]),
        ("?", &["a", "!"], &["ab"]),
        ("a[!b]c", &["axc", "a!c"], &["abc", "ac"]),
        ("a[^b]c", &["abc"], &["axc", "ac"]),
        ("[!!]", &["a", "-"], &["!"]),
        ("[!]", &[], &["!", "a"]),
        ("[!-]", &["a", "!"], &["-"]),
        ("[-!]", &["-", "!"], &["a"]),
        ("[--9]", &["-", ".", "5"], &["a", "!"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
        ("[z-a]", &[], &["z", "a", "m"]),
        ("[!z-a]", &["z", "!"], &["zz"]),
        ("[xz-ab]", &["x", "b"], &["z", "a"]),
        ("[]a]", &["a"], &["b"]),
        ("[!]a]", &["b", "!"], &["a"]),
        ("[", &[], &["a"]),
        ("a[", &[], &["a"]),
        ("a]", &[], &["a"]),
        ("[]", &[], &["a"]),
        ("{a,b}", &[], &["a", "b"]),
        ("a{", &[], &["a"]),
        ("\\*", &[], &["a", "*"]),
        ("[\\a]", &["a"], &["b"]),
        ("**/a", &[], &["a", "b.a"]),
        ("a.b", &["a.b"], &["axb"]),
        ("[A-Z]*", &["Ab"], &["ab"]),
        ("[é]", &[], &["a"]),
        ("[a-é]", &["a", "z"], &["Z"]),
    ];

    #[test]
    fn a_function_has_its_place_among_the_patterns_and_sees_a_mailbox_without_its_process_part_too() {
        let short = matching("short", |name| name.len() < 8 || name == "chat!ab");
        let capacities = capacities(&[(glob("jobs"), 1), (short.clone(), 2), (glob("*"), 3)]);
        for (name, capacity) in [("jobs", 1), ("work", 2), ("chat.K3x9!ab", 2), ("http.request", 3)] {
            assert_eq!(of(&capacities, name), capacity, "{name}");
        }
        assert_eq!(short.to_string(), "short");
        assert_eq!(short, short.clone());
        assert_ne!(short, matching("short", |name| name.len() < 8));
        assert_eq!(of(&capacities_of_no_text(), "jobs"), 4);
    }

    fn capacities_of_no_text() -> Capacities {
        capacities(&[(matching("", |_| true), 4)])
    }

    #[test]
    fn a_bad_pattern_is_named_with_the_reason_in_one_line() {
        assert_eq!(
            refusal(regex("a(?=b)")),
            "option `channel_capacity`: the pattern \"re:a(?=b)\" is refused: look-around, including look-ahead and \
             look-behind, is not supported (Rust's `regex` syntax; write `\\z` for Python's `\\Z`)"
        );
        assert!(refusal(regex(r"(a)\1")).contains("backreferences are not supported"));
        assert!(refusal(regex("a[")).contains("unclosed character class"));
        assert!(refusal(regex(r"a\Z")).contains("unrecognized escape sequence"));
        assert!(refusal(regex("a{1000}{1000}")).contains("exceeds size limit"));
        assert!(refusal(glob("")).contains("it is empty; `*` matches every channel"));
    }
}
