//! Control entries, read as `lua/README.md` describes them.

use std::fmt::Write;

use super::Place;

/// What a control entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Change { n: u64, tag: String, parts: Vec<Part> },
    Kept { n: u64, tag: String, call: u64 },
    Page(Page),
    Quiet,
    Flushed,
}

/// What a change did with one member: `+`, `-`, `~`, `*`, or `e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) kind: char,
    pub(crate) group: String,
    pub(crate) address: String,
    pub(crate) end: Option<u64>,
}

/// A group of a page, whether its other keys know the inbox, and its members with their ends.
type ListedGroup = (String, bool, Vec<(String, u64)>);

/// Some of the memberships of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) n: u64,
    pub(crate) tag: String,
    pub(crate) call: u64,
    pub(crate) from: Place,
    pub(crate) to: Place,
    /// Groups, whether the other keys of each know the inbox, and members with their ends.
    pub(crate) groups: Vec<ListedGroup>,
}

impl Told {
    /// Reads the body of a control entry; nothing if it is none.
    pub(crate) fn read(body: &str) -> Option<Self> {
        let (kind, rest) = body.split_at_checked(1)?;
        let mut words = rest.split(' ');
        match kind {
            "r" if rest.is_empty() => Some(Self::Quiet),
            "f" if rest.is_empty() => Some(Self::Flushed),
            "c" => {
                let (n, tag) = (words.next()?.parse().ok()?, words.next()?.to_owned());
                let mut parts = Vec::new();
                while let Some(word) = words.next() {
                    let (kind, subject) = (word.chars().next()?, word.get(1..)?.to_owned());
                    let mut part = Part { kind, group: String::new(), address: String::new(), end: None };
                    match kind {
                        '*' => part.address = subject,
                        'e' => assert_eq!(subject, "", "{body}"),
                        '+' | '-' | '~' => {
                            (part.group, part.address) = (subject, words.next()?.to_owned());
                            if kind != '-' {
                                part.end = Some(words.next()?.parse().ok()?);
                            }
                        }
                        other => panic!("{other} is no part: {body}"),
                    }
                    parts.push(part);
                }
                Some(Self::Change { n, tag, parts })
            }
            "k" => {
                let (n, tag) = (words.next()?.parse().ok()?, words.next()?.to_owned());
                let call = words.next()?.parse().ok()?;
                assert_eq!(words.next(), None, "{body}");
                Some(Self::Kept { n, tag, call })
            }
            "w" => {
                let (n, tag) = (words.next()?.parse().ok()?, words.next()?.to_owned());
                let call = words.next()?.parse().ok()?;
                let mut place = |sign| {
                    let group = words.next()?.strip_prefix(sign)?;
                    Some(Place::new(group, words.next()?, words.next()?))
                };
                let (from, to) = (place('>')?, place('<')?);
                let mut groups: Vec<ListedGroup> = Vec::new();
                while let Some(word) = words.next() {
                    let value = words.next()?;
                    match word.strip_prefix(':') {
                        Some(group) => groups.push((group.to_owned(), value == "1", Vec::new())),
                        None => groups.last_mut()?.2.push((word.to_owned(), value.parse().ok()?)),
                    }
                }
                Some(Self::Page(Page { n, tag, call, from, to, groups }))
            }
            _ => None,
        }
    }

    /// The text of a change without ends; nothing of what is none.
    pub(crate) fn brief(&self) -> Option<String> {
        let Self::Change { n, tag, parts } = self else { return None };
        let mut text = format!("c{n} {tag}");
        for Part { kind, group, address, .. } in parts {
            let space = if group.is_empty() { "" } else { " " };
            write!(text, " {kind}{group}{space}{address}").unwrap();
        }
        Some(text)
    }
}
