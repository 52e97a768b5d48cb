//! A script as the manifest describes it, for those who call it without this crate.

use asgi_redis::scripts::{SCHEMA, Script, Slot, SlotKind};
use serde::Serialize;

/// The version of this package that had the first of all scripts, none of which was released before.
const SINCE: &str = "0.1.0";

/// A script, its slots and its replies.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    name: &'static str,
    sha: &'static str,
    doc: &'static str,
    /// Of the first line, such as `allow-oom`.
    flags: Vec<&'static str>,
    schema: i64,
    since: &'static str,
    keys: Arity,
    arguments: Arity,
    slots: Vec<DescribedSlot>,
    reply: &'static [&'static str],
    replies: Vec<Reply>,
}

/// How many keys or arguments a call has.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Arity {
    least: usize,
    most: usize,
}

#[derive(Debug, Serialize)]
struct DescribedSlot {
    kind: &'static str,
    index: usize,
    variadic: bool,
    name: &'static str,
    #[serde(rename = "type")]
    ty: &'static str,
    text: &'static str,
}

/// One thing that a script answers.
#[derive(Debug, Serialize)]
struct Reply {
    form: &'static str,
    means: &'static str,
}

impl From<&'static Script> for Described {
    fn from(script: &'static Script) -> Self {
        let first = script.source().lines().next().unwrap_or_default();
        let flags = first.strip_prefix("#!lua flags=").map(|flags| flags.split(',').collect());
        let replies = script.reply().iter().map(|reply| {
            let (form, means) = reply.split_once("   ").unwrap_or((reply, ""));
            Reply { form: form.trim(), means: means.trim() }
        });
        Self {
            name: script.name(),
            sha: script.sha(),
            doc: script.doc(),
            flags: flags.unwrap_or_default(),
            schema: SCHEMA,
            since: SINCE,
            keys: Arity::of(script.slots(), SlotKind::Key),
            arguments: Arity::of(script.slots(), SlotKind::Argument),
            slots: script.slots().iter().map(DescribedSlot::from).collect(),
            reply: script.reply(),
            replies: replies.collect(),
        }
    }
}

impl From<&'static Slot> for DescribedSlot {
    fn from(slot: &'static Slot) -> Self {
        Self {
            kind: match slot.kind() {
                SlotKind::Key => "key",
                SlotKind::Argument => "argument",
            },
            index: slot.index(),
            variadic: slot.is_variadic(),
            name: slot.name(),
            ty: slot.ty(),
            text: slot.text(),
        }
    }
}

impl Arity {
    /// A slot that stands for many begins its type with how many: `1..500 list`.
    fn of(slots: &[Slot], kind: SlotKind) -> Self {
        let of_kind = || slots.iter().filter(|slot| slot.kind() == kind);
        let single = of_kind().filter(|slot| !slot.is_variadic()).count();
        let range = of_kind().find(|slot| slot.is_variadic()).and_then(|slot| {
            let (least, most) = slot.ty().split(' ').next()?.split_once("..")?;
            Some((least.parse::<usize>().ok()?, most.parse::<usize>().ok()?))
        });
        let (least, most) = range.unwrap_or_default();
        Self { least: single + least, most: single + most }
    }
}

#[cfg(test)]
mod tests {
    use asgi_redis::scripts::{all, get};

    use super::*;

    #[test]
    fn a_script_says_how_many_keys_and_arguments_it_takes() {
        let push = Described::from(get("push").unwrap());
        assert_eq!(
            (push.keys, push.arguments),
            (Arity { least: 1, most: 500 }, Arity { least: 7, most: 2000 })
        );
        let health = Described::from(get("health").unwrap());
        assert_eq!((health.keys.least, health.keys.most), (1, 1));
        assert_eq!(Described::from(get("pop").unwrap()).flags, ["allow-oom"]);
    }

    #[test]
    fn each_slot_for_many_says_how_many_and_each_reply_what_it_means() {
        for script in all() {
            let described = Described::from(*script);
            for arity in [&described.keys, &described.arguments] {
                assert!(arity.least <= arity.most, "{}: {arity:?}", script.name());
            }
            for slot in script.slots().iter().filter(|slot| slot.is_variadic()) {
                assert!(slot.ty().contains(".."), "{}: {}", script.name(), slot.ty());
            }
            for reply in &described.replies {
                assert!(!reply.form.is_empty() && !reply.means.is_empty(), "{}: {reply:?}", script.name());
            }
        }
    }
}
