//! Names as a server sees them: as they are, or hidden under a key of their own.
//!
//! A hidden name is the name encrypted by AES-SIV (RFC 5297), as letters. The same name always gives the same letters, so
//! queues and groups are found by them, and the key reads the name back. The kind of the name is sealed with it, so a queue
//! and a group of one name have different letters. The bytes are published in `lua/README.md`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as LETTERS;
use zeroize::Zeroizing;

use super::secret::Secret;

/// Names are padded with zeros to a multiple of this many bytes, so that their lengths reveal little.
const BLOCK: usize = 16;

/// How names are written where the server sees them.
#[derive(Clone, Debug, Default)]
pub(crate) enum Names {
    /// As they are.
    #[default]
    Plain,
    /// Hidden.
    Hidden(Arc<NameKey>),
}

/// The key under which names are hidden.
pub(crate) struct NameKey(Zeroizing<[u8; 32]>);

/// The kinds of names, each sealed apart.
const QUEUE: &str = "queue";
const ADDRESS: &str = "address";
const GROUP: &str = "group";
const LABEL: &str = "label";

impl Names {
    pub(crate) fn hidden(key: &Secret) -> Self {
        Self::Hidden(Arc::new(NameKey(key.hash())))
    }

    pub(crate) fn are_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Hides a queue. Its mark stays readable at the end, because scripts recognise an inbox by it.
    pub(crate) fn queue<'a>(&self, queue: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => queue.into(),
            Self::Hidden(key) => (key.hide(QUEUE, queue) + mark_of(queue)).into(),
        }
    }

    /// Hides an address inside an inbox. An empty one, of a queue that is no inbox, stays empty.
    pub(crate) fn address<'a>(&self, address: &'a str) -> Cow<'a, str> {
        match self {
            Self::Hidden(key) if !address.is_empty() => key.hide(ADDRESS, address).into(),
            _ => address.into(),
        }
    }

    /// Hides the name of a group.
    pub(crate) fn group<'a>(&self, group: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => group.into(),
            Self::Hidden(key) => key.hide(GROUP, group).into(),
        }
    }

    /// Hides the label of a member, whose group and channel are as the server sees them. They are sealed with it, so the labels of
    /// one user differ, and none can be given to another member.
    pub(crate) fn label<'a>(&self, group: &str, channel: &str, label: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => label.into(),
            Self::Hidden(key) => key.hide_of(&[LABEL, group, channel], label).into(),
        }
    }

    /// Reads back the label of a member. Returns `None` if it was not hidden by this key for this member.
    pub(crate) fn reveal_label(&self, group: &str, channel: &str, written: &str) -> Option<String> {
        match self {
            Self::Plain => Some(written.to_owned()),
            Self::Hidden(key) => key.reveal_of(&[LABEL, group, channel], written),
        }
    }

    /// Reads back the name of a queue. Returns `None` if it was not hidden by this key.
    pub(crate) fn reveal_queue(&self, written: &str) -> Option<String> {
        let Self::Hidden(key) = self else { return Some(written.to_owned()) };
        let queue = key.reveal(QUEUE, written.trim_end_matches(['?', '!']))?;
        (self.queue(&queue) == written).then_some(queue)
    }

    /// Reads back an address. Returns `None` if it was not hidden by this key.
    pub(crate) fn reveal_address(&self, written: &str) -> Option<String> {
        match self {
            Self::Hidden(key) if !written.is_empty() => key.reveal(ADDRESS, written),
            _ => Some(written.to_owned()),
        }
    }

    /// Reads back the name of a group. Returns `None` if it was not hidden by this key.
    pub(crate) fn reveal_group<'a>(&self, written: &'a str) -> Option<Cow<'a, str>> {
        match self {
            Self::Hidden(key) => key.reveal(GROUP, written).map(Cow::Owned),
            Self::Plain => Some(written.into()),
        }
    }

    /// Reads back a queue and, if it is an inbox, the address that follows it.
    pub(crate) fn reveal_channel(&self, written: &str) -> Option<String> {
        if self.are_plain() {
            return Some(written.to_owned());
        }
        let queue = written.split_inclusive('!').next()?;
        let address = written.strip_prefix(queue)?;
        Some(self.reveal_queue(queue)? + &self.reveal_address(address)?)
    }
}

/// Returns the mark of a queue, which shows its kind although its name is hidden.
fn mark_of(queue: &str) -> &'static str {
    match queue {
        inbox if inbox.ends_with('!') => "!",
        single_reader if single_reader.contains('?') => "?",
        _ => "",
    }
}

impl NameKey {
    fn hide(&self, kind: &str, name: &str) -> String {
        self.hide_of(&[kind], name)
    }

    fn reveal(&self, kind: &str, written: &str) -> Option<String> {
        self.reveal_of(&[kind], written)
    }

    fn hide_of(&self, headers: &[&str], name: &str) -> String {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(name.len().next_multiple_of(BLOCK), 0);
        #[expect(
            clippy::expect_used,
            reason = "AES-SIV refuses only more than 126 headers, and these are at most three"
        )]
        let sealed = self.cipher().encrypt(headers, &padded).expect("three headers are allowed");
        LETTERS.encode(sealed)
    }

    fn reveal_of(&self, headers: &[&str], written: &str) -> Option<String> {
        let mut padded = self.cipher().decrypt(headers, &LETTERS.decode(written).ok()?).ok()?;
        let length = padded.iter().rposition(|byte| *byte != 0)? + 1;
        padded.truncate(length);
        String::from_utf8(padded).ok()
    }

    fn cipher(&self) -> Aes128Siv {
        Aes128Siv::new((&*self.0).into())
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(key: &str) -> Names {
        Names::hidden(&Secret::new(key.as_bytes()))
    }

    #[test]
    fn a_hidden_name_is_always_the_same_and_is_read_back_by_its_key_alone() {
        let (ours, others) = (names("ours"), names("others"));
        for queue in ["a", "http.request", "http.request.body?Xy12", "http.response.c7!", &"a".repeat(100)] {
            let hidden = ours.queue(queue);
            assert_eq!(hidden, ours.queue(queue));
            assert!(!hidden.contains("http") && !hidden.contains(['.', ':', ' ']), "{hidden}");
            assert_eq!(ours.reveal_queue(&hidden).unwrap(), queue);
            assert_eq!(others.reveal_queue(&hidden), None);
            assert_eq!(hidden.ends_with('!'), queue.ends_with('!'));
            assert_eq!(hidden.ends_with('?'), queue.contains('?'));
        }
        assert_eq!(ours.queue("a").len(), ours.queue("a.longer.name").len(), "lengths tell little");
    }

    #[test]
    fn a_channel_in_an_inbox_is_read_back_as_one_name() {
        let names = names("ours");
        let channel = format!("{}{}", names.queue("chat.7f!"), names.address("ab12"));
        assert_eq!(names.reveal_channel(&channel).unwrap(), "chat.7f!ab12");
        assert_eq!(names.reveal_channel(&names.queue("jobs")).unwrap(), "jobs");
        assert_eq!(names.address(""), "");
        assert_eq!(Names::Plain.reveal_channel("chat.7f!ab12").unwrap(), "chat.7f!ab12");
    }

    #[test]
    fn a_hidden_label_is_read_back_for_its_member_alone() {
        let (ours, others) = (names("ours"), names("others"));
        let hidden = ours.label("room", "chat!a", "user-42");
        assert!(!hidden.contains("user") && !hidden.contains(['=', ' ']), "{hidden}");
        assert_eq!(hidden, ours.label("room", "chat!a", "user-42"));
        assert_eq!(ours.reveal_label("room", "chat!a", &hidden).unwrap(), "user-42");
        assert_eq!(ours.reveal_label("room", "chat!b", &hidden), None);
        assert_eq!(ours.reveal_label("hall", "chat!a", &hidden), None);
        assert_eq!(others.reveal_label("room", "chat!a", &hidden), None);
        assert_ne!(hidden, ours.label("hall", "chat!a", "user-42"));
        assert_eq!(Names::Plain.reveal_label("room", "chat!a", "user-42").unwrap(), "user-42");
    }

    #[test]
    fn what_was_not_hidden_so_is_not_read() {
        let names = names("ours");
        let (queue, group) = (names.queue("same"), names.group("same"));
        assert_ne!(queue, group);
        assert_eq!((names.reveal_group(&queue), names.reveal_queue(&group)), (None, None));
        assert_eq!(names.reveal_queue(&format!("{queue}!")), None, "the mark is another");
        for number in 0..queue.len() {
            let mut tampered = queue.clone().into_owned();
            let other = if &queue[number..=number] == "A" { "B" } else { "A" };
            tampered.replace_range(number..=number, other);
            assert_eq!(names.reveal_queue(&tampered), None, "{tampered}");
        }
        for foreign in ["", "!", "plain", "http.request", "AAAA", "\u{e9}", &"A".repeat(1000)] {
            assert_eq!(names.reveal_queue(foreign), None, "{foreign:?}");
            assert_eq!(names.reveal_group(foreign), None, "{foreign:?}");
            assert_eq!(names.reveal_channel(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn the_cipher_is_that_of_the_standard() {
        // RFC 5297, appendix A.1.
        let key: Vec<u8> = (0xf0..=0xff).rev().chain(0xf0..=0xff).collect();
        let header: Vec<u8> = (0x10..=0x27).collect();
        let plain: Vec<u8> = (1..=14).map(|n| n * 0x11).collect();
        let sealed = Aes128Siv::new(key[..].into()).encrypt([header], &plain).unwrap();
        let due = 0x0085_632d_07c6_e8f3_7f95_0acd_320a_2ecc_u128;
        assert_eq!(sealed[..15], due.to_be_bytes()[1..]);
        assert_eq!(sealed[15..], 0x0093_40c0_2b96_90c4_dc04_daef_7f6a_fe5c_u128.to_be_bytes()[1..]);
    }
}
