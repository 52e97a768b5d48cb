//! Control entries of an inbox: what its log of memberships holds. Their text is published in `lua/README.md`.
//!
//! Names in them stay as the server sees them: what the owner knows is compared with what the server has, in the server's
//! order of names.

use std::iter::Peekable;
use std::str::Split;

/// What a control entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogEntry {
    /// Memberships changed.
    Change { n: u64, tag: Tag, parts: Vec<Part> },
    /// The owner was not sure of the last change, or the server's is another.
    Kept { n: u64, tag: Tag, call: u64 },
    /// Some of the memberships as the server has them.
    Page(Page),
    /// So many changes wait that further ones are not told.
    Quiet,
    /// All groups were removed.
    Flushed,
}

/// Who made a change, and in which call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(Box<str>);

/// What a change did with one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Joined {
        group: Box<str>,
        address: Box<str>,
        end_ms: u64,
        label: Option<Box<str>>,
    },
    Left {
        group: Box<str>,
        address: Box<str>,
    },
    /// It was put right: it is in until then, or out if that is 0.
    Repaired {
        group: Box<str>,
        address: Box<str>,
        end_ms: u64,
        label: Option<Box<str>>,
    },
    /// It left all groups.
    LeftAll {
        address: Box<str>,
    },
    /// The owner begins to count changes anew.
    Begun,
}

/// A page of the memberships, at a point of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) n: u64,
    pub(super) tag: Tag,
    pub(super) call: u64,
    pub(super) from: Place,
    /// Where it ends; `None` if nothing comes behind it.
    pub(super) to: Option<Place>,
    pub(super) groups: Vec<Listed>,
}

/// A group in a page, with some or all of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) group: Box<str>,
    /// Whether the other keys of the group know this inbox.
    pub(super) is_whole: bool,
    pub(super) members: Vec<ListedMember>,
}

/// A member in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedMember {
    pub(super) address: Box<str>,
    pub(super) end_ms: u64,
    pub(super) label: Option<Box<str>>,
}

/// A place between the memberships of an inbox, in order of group, end and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Empty at the beginning.
    pub(super) group: Box<str>,
    /// An end in that group; `None` behind the whole group.
    pub(super) end_ms: Option<u64>,
    /// An address with that end.
    pub(super) address: Box<str>,
}

impl Place {
    pub(super) fn is_start(&self) -> bool {
        self.group.is_empty()
    }

    /// Whether a membership stands behind this place.
    pub(super) fn is_before(&self, group: &str, end_ms: u64, address: &str) -> bool {
        if group != &*self.group {
            return group > &*self.group;
        }
        self.end_ms.is_some_and(|end| (end_ms, address) > (end, &self.address))
    }
}

impl Default for Tag {
    /// That of an inbox that nobody has changed.
    fn default() -> Self {
        Self(":".into())
    }
}

impl Tag {
    /// That of a call of a client.
    #[cfg(test)]
    pub(super) fn of(client: &str, call: u64) -> Self {
        Self(format!("{client}:{call}").into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The client; empty if who called is none.
    pub(super) fn client(&self) -> &str {
        self.0.split_once(':').map_or("", |(client, _)| client)
    }

    /// The number of the client's call.
    pub(super) fn call(&self) -> Option<u64> {
        self.0.split_once(':')?.1.parse().ok()
    }

    fn read(text: &str) -> Option<Self> {
        let (client, call) = text.split_once(':')?;
        let is_call = call.is_empty() || call.parse::<u64>().is_ok();
        // Who is no client has no calls to tell apart.
        (is_call && (client.is_empty() || !call.is_empty())).then(|| Self(text.into()))
    }
}

impl LogEntry {
    /// Whether an entry of this kind is a control entry.
    pub(super) fn is_kind(kind: u8) -> bool {
        matches!(kind, b'c' | b'k' | b'w' | b'r' | b'f')
    }

    /// Reads the body of an entry; `None` if it is no control entry.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut words = text.get(1..)?.split(' ').peekable();
        match text.as_bytes().first()? {
            b'r' if text.len() == 1 => Some(Self::Quiet),
            b'f' if text.len() == 1 => Some(Self::Flushed),
            b'c' => {
                let (n, tag) = (words.next()?.parse().ok()?, Tag::read(words.next()?)?);
                let mut parts = Vec::new();
                while let Some(word) = words.next() {
                    parts.push(read_part(word, &mut words)?);
                }
                Some(Self::Change { n, tag, parts })
            }
            b'k' => {
                let (n, tag) = (words.next()?.parse().ok()?, Tag::read(words.next()?)?);
                let call = words.next()?.parse().ok()?;
                words.next().is_none().then_some(Self::Kept { n, tag, call })
            }
            b'w' => read_page(words).map(Self::Page),
            _ => None,
        }
    }
}

/// The parts of an entry that stand side by side.
type Words<'a> = Peekable<Split<'a, char>>;

fn name(word: &str) -> Option<Box<str>> {
    (!word.is_empty()).then(|| word.into())
}

/// Reads the label that may stand behind a member.
fn read_label<'a>(words: &mut Words<'a>) -> Option<Option<Box<str>>> {
    match words.next_if(|word| word.starts_with('=')) {
        Some(word) => Some(Some(name(word.get(1..)?)?)),
        None => Some(None),
    }
}

fn read_part<'a>(word: &str, rest: &mut Words<'a>) -> Option<Part> {
    let kind = word.chars().next()?;
    let subject = word.get(1..)?;
    Some(match kind {
        '+' => Part::Joined {
            group: name(subject)?,
            address: name(rest.next()?)?,
            end_ms: rest.next()?.parse().ok()?,
            label: read_label(rest)?,
        },
        '~' => Part::Repaired {
            group: name(subject)?,
            address: name(rest.next()?)?,
            end_ms: rest.next()?.parse().ok()?,
            label: read_label(rest)?,
        },
        '-' => Part::Left { group: name(subject)?, address: name(rest.next()?)? },
        '*' => Part::LeftAll { address: name(subject)? },
        'e' if subject.is_empty() => Part::Begun,
        _ => return None,
    })
}

/// Reads a place: its sign and group, its end, and its address.
fn read_place<'a>(sign: char, words: &mut impl Iterator<Item = &'a str>) -> Option<Place> {
    let group = words.next()?.strip_prefix(sign)?;
    let end = words.next()?;
    let end_ms = if end.is_empty() { None } else { Some(end.parse().ok()?) };
    Some(Place { group: group.into(), end_ms, address: words.next()?.into() })
}

fn read_page(mut words: Words<'_>) -> Option<Page> {
    let (n, tag) = (words.next()?.parse().ok()?, Tag::read(words.next()?)?);
    let call = words.next()?.parse().ok()?;
    let from = read_place('>', &mut words)?;
    let to = Some(read_place('<', &mut words)?).filter(|place| !place.is_start());
    let mut groups: Vec<Listed> = Vec::new();
    while let Some(word) = words.next() {
        if let Some(group) = word.strip_prefix(':') {
            let is_whole = match words.next()? {
                "1" => true,
                "0" => false,
                _ => return None,
            };
            groups.push(Listed { group: name(group)?, is_whole, members: Vec::new() });
        } else {
            // Scores of whole numbers are written as such.
            let (address, end_ms) = (name(word)?, words.next()?.parse().ok()?);
            groups.last_mut()?.members.push(ListedMember { address, end_ms, label: read_label(&mut words)? });
        }
    }
    Some(Page { n, tag, call, from, to, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<LogEntry> {
        LogEntry::read(text.as_bytes())
    }

    #[test]
    fn a_change_tells_what_it_did_in_order() {
        let parts = vec![
            Part::Joined { group: "room".into(), address: "ab".into(), end_ms: 9, label: None },
            Part::Joined { group: "room".into(), address: "zz".into(), end_ms: 9, label: Some("u=7".into()) },
            Part::Left { group: "hall".into(), address: "cd".into() },
            Part::Repaired { group: "room".into(), address: "ef".into(), end_ms: 0, label: None },
            Part::LeftAll { address: "gh".into() },
            Part::Begun,
        ];
        let tag = Tag::of("client", 7);
        assert_eq!((tag.client(), tag.call()), ("client", Some(7)));
        assert_eq!(
            read("c3 client:7 +room ab 9 +room zz 9 =u=7 -hall cd ~room ef 0 *gh e"),
            Some(LogEntry::Change { n: 3, tag, parts })
        );
        assert_eq!(read("c3 :"), Some(LogEntry::Change { n: 3, tag: Tag::default(), parts: Vec::new() }));
        assert_eq!(Tag::default().call(), None);
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        entries: Vec<serde_json::Value>,
        refused: Vec<String>,
        tags: Tags,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tags {
        tags: Vec<Published>,
        refused: Vec<String>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Published {
        tag: String,
        client: String,
        call: Option<u64>,
    }

    /// What an entry tells, as the vectors write it.
    fn told(body: &str) -> serde_json::Value {
        use serde_json::json;
        let place = |place: &Place| {
            let end = place.end_ms.map(|end| end.to_string()).unwrap_or_default();
            json!([place.group, end, place.address])
        };
        match read(body).unwrap_or_else(|| panic!("{body}")) {
            LogEntry::Quiet => json!({ "body": body, "kind": "r" }),
            LogEntry::Flushed => json!({ "body": body, "kind": "f" }),
            LogEntry::Kept { n, tag, call } => {
                json!({ "body": body, "kind": "k", "n": n, "tag": tag.as_str(), "call": call })
            }
            LogEntry::Change { n, tag, parts } => {
                let parts = parts.iter().map(|part| match part {
                    Part::Joined { group, address, end_ms, .. } => json!(["+", group, address, end_ms]),
                    Part::Repaired { group, address, end_ms, .. } => json!(["~", group, address, end_ms]),
                    Part::Left { group, address } => json!(["-", group, address]),
                    Part::LeftAll { address } => json!(["*", address]),
                    Part::Begun => json!(["e"]),
                });
                let parts: Vec<_> = parts.collect();
                json!({ "body": body, "kind": "c", "n": n, "tag": tag.as_str(), "parts": parts })
            }
            LogEntry::Page(Page { n, tag, call, from, to, groups }) => {
                let groups = groups.iter().map(|listed| {
                    let members = listed.members.iter().map(|member| json!([member.address, member.end_ms]));
                    json!([listed.group, i32::from(listed.is_whole), members.collect::<Vec<_>>()])
                });
                let groups: Vec<_> = groups.collect();
                json!({
                    "body": body, "kind": "w", "n": n, "tag": tag.as_str(), "call": call,
                    "from": place(&from), "to": place(&to.unwrap_or_default()), "groups": groups,
                })
            }
        }
    }

    #[test]
    fn control_entries_and_tags_are_those_of_the_vectors() {
        let vectors: Vectors = crate::vectors::read("control_entries");
        assert!(vectors.entries.len() > 9 && vectors.refused.len() > 9 && vectors.tags.tags.len() > 3);
        for entry in vectors.entries {
            assert_eq!(told(entry["body"].as_str().unwrap()), entry);
        }
        for body in vectors.refused {
            assert_eq!(read(&body), None, "{body}");
        }
        for Published { tag, client, call } in vectors.tags.tags {
            let read = Tag::read(&tag).unwrap();
            assert_eq!((read.client(), read.call()), (&*client, call), "{tag}");
        }
        for tag in vectors.tags.refused {
            assert_eq!(Tag::read(&tag), None, "{tag:?}");
        }
    }

    /// Shows R38.
    #[test]
    fn a_page_tells_its_range_and_its_groups() {
        let member = |address: &str, label: Option<&str>| ListedMember {
            address: address.into(),
            end_ms: 6,
            label: label.map(Into::into),
        };
        let page = |to| Page {
            n: 3,
            tag: Tag::of("c", 7),
            call: 8,
            from: Place { group: "hall".into(), end_ms: Some(5), address: "zz".into() },
            to,
            groups: vec![
                Listed {
                    group: "hall".into(),
                    is_whole: true,
                    members: vec![member("ab", None), member("cd", Some("u7"))],
                },
                Listed { group: "room".into(), is_whole: false, members: Vec::new() },
            ],
        };
        let to = Place { group: "room".into(), end_ms: None, address: "".into() };
        assert_eq!(
            read("w3 c:7 8 >hall 5 zz <room   :hall 1 ab 6 cd 6 =u7 :room 0"),
            Some(LogEntry::Page(page(Some(to))))
        );
        assert_eq!(
            read("w3 c:7 8 >hall 5 zz <   :hall 1 ab 6 cd 6 =u7 :room 0"),
            Some(LogEntry::Page(page(None)))
        );
    }

    #[test]
    fn what_is_no_control_entry_is_not_guessed_at() {
        for text in [
            "",
            "x",
            "rr",
            "f ",
            "c",
            "c3",
            "c3 7",
            "c3 client:",
            "c3 :7x",
            "c-1 :",
            "c3 : +room",
            "c3 : +room ab",
            "c3 : +room ab x",
            "c3 : ?room ab",
            "c3 : +room ab 9 =",
            "c3 : -room ab =u7",
            "w3 : 1 >   <   :room 1 =u7",
            "w3 : 1 >   <   :room 1 ab 1 =",
            "c3 : -room ",
            "k3 :",
            "k3 : x",
            "k3 : 1 2",
            "w3 : 1 >",
            "w3 : 1 >   <",
            "w3 : 1 >   <   ab 1",
            "w3 : 1 >   <   :room 2",
            "w3 : 1 >   <   :room 1 ab",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(LogEntry::read(b"c3 : -\xff ab"), None);
    }

    #[test]
    fn places_are_in_order_of_group_end_and_address() {
        let place = Place { group: "b".into(), end_ms: Some(5), address: "m".into() };
        for (group, end_ms, address, is_behind) in [
            ("a", 9, "z", false),
            ("b", 4, "z", false),
            ("b", 5, "m", false),
            ("b", 5, "n", true),
            ("b", 6, "a", true),
            ("c", 0, "a", true),
        ] {
            assert_eq!(place.is_before(group, end_ms, address), is_behind, "{group} {end_ms} {address}");
        }
        let behind_b = Place { group: "b".into(), end_ms: None, address: "".into() };
        assert!(!behind_b.is_before("b", u64::MAX, "z") && behind_b.is_before("c", 0, "a"));
        assert!(Place::default().is_before("a", 0, "a"));
    }
}
