//! The header of a script: `#!lua`, the doc, the replies, and the slot lines that bind every KEYS and ARGV slot once.

use super::Fault;
use super::includes::is_include;
use super::lexer::{Line, Token};
use super::types::{Type, What};

/// What the header holds.
#[derive(Debug)]
pub(crate) struct Header {
    /// The first paragraph of comments.
    pub(crate) doc: String,
    /// One text for each `-- reply:`.
    pub(crate) reply: Vec<String>,
    pub(crate) slots: Vec<Slot>,
    /// The line of the last slot, counted from 1; 0 if there is none.
    pub(crate) last_slot: usize,
}

/// One slot line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) kind: Kind,
    /// Counted from 1, as in Lua.
    pub(crate) index: usize,
    /// The local variable that holds it.
    pub(crate) name: String,
    /// The type between the brackets, without dots.
    pub(crate) told: String,
    pub(crate) ty: Type,
    pub(crate) text: String,
    /// Whether it stands for all slots from `index` on.
    pub(crate) variadic: bool,
    /// Whether its variable holds the number that the text says.
    pub(crate) is_number: bool,
    /// Whether its variable is the table of all keys or arguments, whose first ones other slots hold.
    pub(crate) is_table: bool,
}

impl Slot {
    /// Of a key, how it is written: what its text begins with.
    pub(crate) fn shape(&self) -> &str {
        shape_of(&self.text).unwrap_or_default()
    }
}

/// `<prefix>q:<queue>` or `<prefix>schema`.
fn shape_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("<prefix>")?;
    let is_letter = |char: char| char.is_ascii_lowercase();
    let word = rest.find(|char| !is_letter(char)).unwrap_or(rest.len());
    let (word, name) = rest.split_at(word);
    let name = name.strip_prefix(":<").and_then(|name| name.split_once('>')).map(|(name, _)| name);
    let name_length =
        name.filter(|name| !name.is_empty() && name.chars().all(is_letter)).map_or(0, |name| name.len() + 3);
    (!word.is_empty()).then(|| text.get(.."<prefix>".len() + word.len() + name_length)).flatten()
}

/// The table of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Argument,
}

impl Kind {
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Key => "KEYS",
            Self::Argument => "ARGV",
        }
    }

    fn of(table: &str) -> Option<Self> {
        match table {
            "KEYS" => Some(Self::Key),
            "ARGV" => Some(Self::Argument),
            _ => None,
        }
    }
}

/// Reads the header, and checks that nothing below it uses a raw slot.
pub(crate) fn parse(lines: &[Line<'_>]) -> Result<Header, Fault> {
    check_first_line(lines)?;
    let numbered = || (1..).zip(lines).skip(1);
    let is_comment = |line: &Line<'_>| line.tokens.is_empty() && !is_include(line);

    let (doc, reply) = parse_comments(numbered().take_while(|(_, line)| is_comment(line)))?;
    let mut slots = Vec::new();
    let mut last_slot = 0;
    let mut below = false;
    for (number, line) in numbered() {
        let Some(table) = line.raw_table() else {
            below |= !is_comment(line);
            continue;
        };
        let fault = |sentence| Fault::new(number, sentence);
        let binding = parse_binding(&line.tokens).filter(|_| !below);
        let binding = binding.ok_or_else(|| fault(outside_slot_line(table)))?;
        let slot = parse_slot(line, &binding).map_err(fault)?;
        check_order(&slots, &slot).map_err(fault)?;
        slots.push(slot);
        last_slot = number;
    }
    Ok(Header { doc, reply, slots, last_slot })
}

fn check_first_line(lines: &[Line<'_>]) -> Result<(), Fault> {
    let first = lines.first().map_or("", |line| line.text);
    if first == "#!lua" || first.starts_with("#!lua flags=") {
        return Ok(());
    }
    Err(Fault::new(1, "the first line is not `#!lua` or `#!lua flags=...`"))
}

/// The doc and the replies, from the comments above the first slot.
fn parse_comments<'a>(
    lines: impl Iterator<Item = (usize, &'a Line<'a>)>,
) -> Result<(String, Vec<String>), Fault> {
    enum Paragraph {
        Doc,
        Reply,
        Other,
    }
    let mut doc = String::new();
    let mut reply: Vec<String> = Vec::new();
    let mut paragraph = Paragraph::Doc;
    let mut last = 1;
    for (number, line) in lines {
        last = number;
        let text = line.comment.map_or("", str::trim);
        if let Some(text) = text.strip_prefix("reply:") {
            if text.is_empty() {
                return Err(Fault::new(
                    number,
                    "the reply is empty; write what the script answers behind `reply:`",
                ));
            }
            reply.push(text.trim().to_owned());
            paragraph = Paragraph::Reply;
        } else if text.is_empty() {
            // Blank lines above the doc do not end it.
            if !doc.is_empty() {
                paragraph = Paragraph::Other;
            }
        } else {
            match (&paragraph, reply.last_mut()) {
                (Paragraph::Doc, _) => append(&mut doc, text),
                (Paragraph::Reply, Some(reply)) => append(reply, text),
                _ => {}
            }
        }
    }
    if doc.is_empty() {
        return Err(Fault::new(
            2,
            "the doc is missing; write below `#!lua` what the script does, as `-- ...`",
        ));
    }
    if reply.is_empty() {
        return Err(Fault::new(last, "the reply is missing; write below the doc `-- reply: ...`"));
    }
    Ok((doc, reply))
}

fn append(paragraph: &mut String, line: &str) {
    if !paragraph.is_empty() {
        paragraph.push(' ');
    }
    paragraph.push_str(line);
}

/// What the code of a slot line holds.
struct Binding<'a> {
    kind: Kind,
    index: usize,
    name: &'a str,
    variadic: bool,
    is_number: bool,
    is_table: bool,
}

/// The slot of a line whose code is such a binding.
fn parse_slot(line: &Line<'_>, binding: &Binding<'_>) -> Result<Slot, String> {
    let &Binding { kind, index, name, variadic, is_number, is_table } = binding;
    let comment = line.comment.map_or("", str::trim);
    let (ty, text) = comment.strip_prefix('[').and_then(|rest| rest.split_once(']')).unwrap_or_default();
    let (ty, text) = (ty.trim(), text.trim());
    let element = ty.strip_suffix("...").map(str::trim);
    if element.unwrap_or(ty).is_empty() {
        return Err(format!("the slot `{name}` has no type; write `-- [type] text` behind it"));
    }
    if text.is_empty() {
        return Err(format!("the slot `{name}` has no text; say behind its type what it holds"));
    }
    if element.is_some() != variadic {
        return Err(if variadic {
            format!("the slot `{name}` is variadic; end its type with dots: `[{ty}...]`")
        } else {
            format!("the slot `{name}` is not variadic; write its type without dots")
        });
    }
    let told = element.unwrap_or(ty);
    let ty = Type::parse(told, kind == Kind::Key, variadic)
        .map_err(|lacks| format!("the type `{told}` of the slot `{name}` lacks {lacks}"))?;
    if ty.what == What::Key && shape_of(text).is_none() {
        return Err(format!("the text of the key `{name}` begins with its shape, as `<prefix>q:<queue>`"));
    }
    if is_number && (!matches!(ty.what, What::Int { .. }) || ty.or_empty) {
        return Err(format!("the slot `{name}` is made a number; its type is an int that is never empty"));
    }
    Ok(Slot {
        kind,
        index,
        name: name.to_owned(),
        told: told.to_owned(),
        ty,
        text: text.to_owned(),
        variadic,
        is_number,
        is_table,
    })
}

fn outside_slot_line(table: &str) -> String {
    format!(
        "`{table}` is used outside a slot line; bind each slot at the top, as `local name = {table}[1] -- [type] text`"
    )
}

fn parse_binding<'a>(tokens: &[Token<'a>]) -> Option<Binding<'a>> {
    use Token::{Number, Symbol, Word};
    let [Word("local"), Word(name), value @ ..] = tokens else {
        return None;
    };
    let is_number = value.get(1) == Some(&Word("tonumber"));
    let is_table = value.first() == Some(&Symbol(','));
    let (table, index, variadic) = match value {
        [Symbol('='), Word(table), Symbol('['), Number(index), Symbol(']')] => (table, index, false),
        [
            Symbol('='),
            Word("tonumber"),
            Symbol('('),
            Word(table),
            Symbol('['),
            Number(index),
            Symbol(']'),
            Symbol(')'),
        ] => (table, index, false),
        [
            Symbol('='),
            Symbol('{'),
            Word("unpack"),
            Symbol('('),
            Word(table),
            Symbol(','),
            Number(index),
            Symbol(')'),
            Symbol('}'),
        ] => (table, index, true),
        // `unpack` fails on more than some thousand slots, so a script may take the table and its first index instead.
        [Symbol(','), Word(_), Symbol('='), Word(table), Symbol(','), Number(index)] => (table, index, true),
        _ => return None,
    };
    Some(Binding { kind: Kind::of(table)?, index: index.parse().ok()?, name, variadic, is_number, is_table })
}

/// Slots of one table stand in order, without gaps, and a variadic one is the last.
fn check_order(before: &[Slot], slot: &Slot) -> Result<(), String> {
    let table = slot.kind.table();
    let index = slot.index;
    if index == 0 {
        return Err(format!("{table}[0] is bound, but slots are numbered from 1"));
    }
    if before.iter().any(|other| other.name == slot.name) {
        return Err(format!("the name `{}` is bound twice", slot.name));
    }
    let same_table = || before.iter().filter(|other| other.kind == slot.kind);
    if same_table().any(|other| other.index == index) {
        return Err(format!("{table}[{index}] is bound twice"));
    }
    let last = same_table().next_back();
    if let Some(tail) = last.filter(|last| last.variadic) {
        return Err(format!(
            "{table}[{index}] stands behind `{}`, which takes every slot from {table}[{}] on; put it last",
            tail.name, tail.index
        ));
    }
    let due = last.map_or(1, |last| last.index + 1);
    if index != due {
        return Err(format!("{table}[{index}] is bound where {table}[{due}] is due; leave no gap"));
    }
    Ok(())
}
