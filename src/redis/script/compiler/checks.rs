//! Makes the Lua that compares the keys and arguments of a call with the types of the slots, and stands before all else in a
//! script.
//!
//! It defines no function and makes no table, since both would cost each call; and it compares texts, for a number that Lua
//! reads is not always one that Redis takes: `1e3`, `0x10`, `007`.

use std::fmt::Write;

use super::header::{Kind, Slot};
use super::types::{Range, What};

/// How the lines begin that check, and what stands below the last of them. A measurement of their cost cuts them out.
const BEGIN: &str = "-- Checks, made by the build of the types above";
const END: &str = "-- Checked";

/// Returns the lines that check the slots of a script; none if it has no slots.
pub(crate) fn lines(script: &str, slots: &[Slot]) -> Vec<String> {
    if slots.is_empty() {
        return Vec::new();
    }
    let checks = Checks { slots };
    let mut lines =
        vec![BEGIN.to_owned(), "local find, at, given, due = string.find, nil, nil, nil".to_owned()];
    let mut word = "if";
    let mut branch = |test: &str, fault: &str| {
        lines.push(format!("{word} {test} then"));
        lines.push(format!("    {fault}"));
        word = "elseif";
    };
    for kind in [Kind::Key, Kind::Argument] {
        let (test, fault) = checks.count(kind);
        branch(&test, &fault);
    }
    let single = |kind| slots.iter().filter(move |slot| slot.kind == kind && !slot.variadic);
    for slot in single(Kind::Argument).chain(single(Kind::Key)) {
        let value = Checks::value(slot);
        if let Some(test) = checks.test(slot, &value) {
            let place = format!("{}[{}] {}", slot.kind.table(), slot.index, slot.name);
            branch(&test, &format!("at, given, due = '{place}', {value}, {}", checks.due(slot)));
        }
    }
    lines.push("end".to_owned());
    for slot in slots.iter().filter(|slot| slot.variadic) {
        if let Some(test) = checks.test(slot, "value") {
            let (told, table) = (slot.kind.table(), checks.table(slot.kind));
            let (index, name, due) = (slot.index, &slot.name, checks.due(slot));
            if let Some(stem) = checks.stem(slot) {
                lines.push(format!("local stem = due or {stem}"));
            }
            lines.push(format!("for slot = {index}, due and 0 or #{table} do"));
            lines.push(format!("    local value = {table}[slot]"));
            lines.push(format!("    if {test} then"));
            lines.push(format!("        at, given, due = '{told}[' .. slot .. '] {name}', value, {due}"));
            lines.push("        break".to_owned());
            lines.push("    end".to_owned());
            lines.push("end".to_owned());
        }
    }
    lines.push("if due then".to_owned());
    lines.push("    given = string.gsub(given, '[^ !#-~]', '?')".to_owned());
    lines.push("    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given".to_owned());
    lines.push(format!(
        "    return redis.error_reply('ERR {script}: ' .. at .. ': \"' .. given .. '\" is not ' .. due)"
    ));
    lines.push("end".to_owned());
    lines.push(END.to_owned());
    lines
}

struct Checks<'a> {
    slots: &'a [Slot],
}

impl Checks<'_> {
    /// The test that the number of keys or arguments is wrong, and what is then the fault.
    fn count(&self, kind: Kind) -> (String, String) {
        let what = match kind {
            Kind::Key => "keys",
            Kind::Argument => "arguments",
        };
        let (told, table) = (kind.table(), self.table(kind));
        let slots = || self.slots.iter().filter(|slot| slot.kind == kind);
        let single = slots().filter(|slot| !slot.variadic).count();
        let (test, due) = match slots().find_map(|slot| slot.ty.count) {
            None => (format!("#{table} ~= {single}"), format!("the number of its {what}, which is {single}")),
            Some(Range { first, last }) => {
                let [first, last] = [first, last].map(|count| count.saturating_add_unsigned(single as u64));
                let low = if first > 0 { format!("#{table} < {first} or ") } else { String::new() };
                (
                    format!("{low}#{table} > {last}"),
                    format!(
                        "a number of {what} from {first} to {last}; if there are more, make several calls"
                    ),
                )
            }
        };
        (test, format!("at, given, due = '{told}', '' .. #{table}, '{due}'"))
    }

    /// The Lua of the table of all keys or arguments: a local variable, if there is one.
    fn table(&self, kind: Kind) -> &str {
        let bound = self.slots.iter().find(|slot| slot.kind == kind && slot.is_table);
        bound.map_or(kind.table(), |slot| &slot.name)
    }

    /// The Lua of what a slot was given, as text.
    fn value(slot: &Slot) -> String {
        if slot.is_number { format!("{}[{}]", slot.kind.table(), slot.index) } else { slot.name.clone() }
    }

    /// The Lua that is true of a value that the slot does not take.
    fn test(&self, slot: &Slot, value: &str) -> Option<String> {
        let wrong = match &slot.ty.what {
            What::Key => self.not_the_key(slot, value)?,
            What::Prefix => format!("#{value} > 100"),
            What::Int { range, .. } => not_in(*range, value),
            What::Name => format!("not find({value}, '^[^%s:]+$')"),
            What::Token => format!("not find({value}, '^%S+$')"),
            What::Word(words) => {
                words.iter().map(|word| format!("{value} ~= '{word}'")).collect::<Vec<_>>().join(" and ")
            }
            What::Anything => return None,
        };
        Some(if slot.ty.or_empty { format!("{value} ~= '' and ({wrong})") } else { wrong })
    }

    /// The Lua of what is due in place of a wrong value.
    fn due(&self, slot: &Slot) -> String {
        let due = match &slot.ty.what {
            What::Key => {
                let shape = slot.shape();
                let under = if self.prefix().is_some() { ", under the prefix of the call" } else { "" };
                format!("the key {shape}{under}")
            }
            What::Prefix => "a prefix of at most 100 bytes".to_owned(),
            What::Int { range: Range { first, last }, unit } => {
                let unit = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
                format!("a whole number{unit} from {first} to {last}")
            }
            What::Name => "a name without space and colon".to_owned(),
            What::Token => "a text without space".to_owned(),
            What::Word(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            What::Anything => String::new(),
        };
        format!("'{due}{}'", if slot.ty.or_empty { ", or empty" } else { "" })
    }

    /// The Lua of the prefix, if the call tells it.
    fn prefix(&self) -> Option<String> {
        let named = self.slots.iter().find(|slot| slot.ty.what == What::Prefix).map(|slot| slot.name.clone());
        let has_schema = || self.slots.iter().any(|slot| slot.name == "schema_key");
        named.or_else(|| has_schema().then(|| CUT_SCHEMA.to_owned()))
    }

    /// The Lua of what a key begins with, if the name behind it is no argument.
    fn stem(&self, slot: &Slot) -> Option<String> {
        let (stem, name) = parts_of(slot)?;
        let prefix = self.prefix().filter(|_| !name.is_empty() && !self.is_argument(name))?;
        Some(format!("{prefix} .. '{stem}'"))
    }

    fn is_argument(&self, name: &str) -> bool {
        self.slots.iter().any(|slot| slot.kind == Kind::Argument && slot.name == name)
    }

    fn not_the_key(&self, slot: &Slot, value: &str) -> Option<String> {
        let (kind, name) = parts_of(slot)?;
        let Some(prefix) = self.prefix() else {
            return Some(format!("not find({value}, '.{kind}[^%s:]+$')"));
        };
        let Some(stem) = self.stem(slot) else {
            return Some(if self.is_argument(name) {
                format!("{value} ~= {prefix} .. '{kind}' .. {name}")
            } else if prefix == CUT_SCHEMA {
                format!("not find({value}, '.{kind}$')")
            } else {
                format!("{value} ~= {prefix} .. '{kind}'")
            });
        };
        if slot.variadic {
            return Some(format!("find({value}, stem, 1, true) ~= 1 or #{value} == #stem"));
        }
        let after = format!("#({stem}) + 1");
        let mut test =
            format!("find({value}, {stem}, 1, true) ~= 1 or not find({value}, '^[^%s:]+$', {after})");
        // Two keys of one call are of the same queue.
        let before = self.slots.iter().filter(|other| other.kind == Kind::Key && other.index < slot.index);
        if let Some((other, _)) =
            before.filter_map(|other| Some((other, parts_of(other)?))).find(|(_, (_, same))| *same == name)
        {
            let _ = write!(
                test,
                " or string.sub({value}, {after}) ~= string.sub({}, #({}) + 1)",
                other.name,
                self.stem(other)?
            );
        }
        Some(test)
    }
}

/// The Lua of the prefix of a call whose only trace of it is the key of the schema.
const CUT_SCHEMA: &str = "string.sub(schema_key, 1, -7)";

/// What stands in a key's shape between the prefix and the name, and the name.
fn parts_of(slot: &Slot) -> Option<(&str, &str)> {
    let shape = slot.shape().strip_prefix("<prefix>")?;
    Some(shape.strip_suffix('>').and_then(|shape| shape.split_once('<')).unwrap_or((shape, "")))
}

/// The Lua that is true of a text that is no whole number of a range, as Redis writes one. The lowest numbers, which most calls
/// have, are compared as they are: to call a function costs more than all else here.
fn not_in(Range { first, last }: Range, value: &str) -> String {
    let digits = last.to_string().len();
    let mut test = format!("#{value} > {digits} or not find({value}, '^[1-9]%d*$')");
    if last.to_string().bytes().any(|digit| digit != b'9') {
        let _ = write!(test, " or #{value} == {digits} and {value} + 0 > {last}");
    }
    if first > 1 {
        let _ = write!(test, " or {value} + 0 < {first}");
        return test;
    }
    let low: String = (first..=1).map(|number| format!("{value} ~= '{number}' and ")).collect();
    format!("{low}({test})")
}
