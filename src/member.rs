//! Labels, which say who a member of a group is, and members as they are listed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{ChannelName, parsed_from_text};

/// The longest label, in bytes.
const MAX_LENGTH: usize = 128;

/// What a member of a group is labelled with, such as the id of a user: 1 to 128 bytes of UTF-8, without white space and control
/// characters.
///
/// ```
/// use asgi_redis::{ErrorKind, Label};
///
/// let label: Label = "user-42".parse()?;
/// assert_eq!(label, "user-42");
/// assert_eq!(Label::new("Ann Lee").unwrap_err().kind(), ErrorKind::InvalidName);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// Parses a label.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for an empty label, one over 128 bytes, white space, or a control character.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid(text, "it is empty; a member without a label is added by `group_add`"));
        }
        if text.len() > MAX_LENGTH {
            let why = format!("it has {} bytes, at most {MAX_LENGTH} are allowed", text.len());
            return Err(invalid(text, &why));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            None => Ok(Self(text.into())),
            Some(c) => Err(invalid(
                text,
                &format!("{c:?} is not allowed; use an id, or encode what has white space"),
            )),
        }
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

parsed_from_text!(Label);

fn invalid(text: &str, why: &str) -> Error {
    const SHOWN: usize = 40;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    Error::new(ErrorKind::InvalidName, format!("invalid label {shown:?}{more}: {why}"))
}

/// A channel in a group, as [`group_members`](crate::ChannelLayerExt::group_members) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupMember {
    channel: ChannelName,
    label: Option<Label>,
}

impl GroupMember {
    /// Makes a member, as a layer of your own lists it.
    pub fn new(channel: ChannelName, label: Option<Label>) -> Self {
        Self { channel, label }
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The label with which it was added last; `None` if it was added without one.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// The channel and the label.
    pub fn into_parts(self) -> (ChannelName, Option<Label>) {
        (self.channel, self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_short_text_without_white_space() {
        for good in ["7", "user-42", "ann@example.org", "a=b:c%20", "\u{e9}\u{4e2d}", &"a".repeat(128)] {
            assert_eq!(Label::new(good).unwrap(), good);
        }
        let error = |text: &str| Label::new(text).unwrap_err().to_string();
        assert!(error("").starts_with(r#"invalid label "": it is empty"#));
        assert!(error(&"a".repeat(129)).ends_with("it has 129 bytes, at most 128 are allowed"));
        for bad in ["Ann Lee", "a\n", "a\u{a0}b", "\u{0}", "a\u{7f}"] {
            assert!(error(bad).contains("is not allowed; use an id"), "{bad:?}");
        }
    }
}
