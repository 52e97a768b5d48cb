//! The types of slots: what stands between the brackets of a slot line.
//!
//! | type | a slot that |
//! |---|---|
//! | `list`, `hash`, `zset`, `set`, `string` | is a key; its text begins with its shape, such as `<prefix>q:<queue>`. In a slot of dots the name may be any that is not empty, for to look at each byte of many names costs too much |
//! | `prefix` | is what all keys begin with |
//! | `int 1..1000 ms` | is a whole number in this range, of the unit, if there is one |
//! | `name` | is a name: not empty, without space and colon |
//! | `token` | is not empty, and without space |
//! | `word some, all` | is one of these words |
//! | `text`, `bytes` | may be anything |
//!
//! `or empty` behind it allows an empty one too. A slot of dots has in front how many there are: `1..100 bytes...`.

/// What a slot takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) what: What,
    pub(crate) or_empty: bool,
    /// How many there are, of a slot of dots.
    pub(crate) count: Option<Range>,
}

/// A kind of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Key,
    Prefix,
    Int { range: Range, unit: String },
    Name,
    Token,
    Word(Vec<String>),
    Anything,
}

/// From the first number to the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Lua counts exactly up to here.
const MAX_INT: i64 = 9_007_199_254_740_991;

impl Type {
    /// Reads the text between the brackets, without dots; else says in a few words what it lacks.
    pub(crate) fn parse(text: &str, is_key: bool, is_variadic: bool) -> Result<Self, String> {
        let (count, rest) = match text.split_once(' ') {
            Some((first, rest)) if is_variadic => match Range::parse(first) {
                Some(count) if count.first >= 0 => (Some(count), rest.trim()),
                _ => (None, text),
            },
            _ => (None, text),
        };
        if is_variadic && count.is_none() {
            return Err("how many there are, as in `[1..100 bytes...]`".to_owned());
        }
        let (rest, or_empty) = rest.strip_suffix(" or empty").map_or((rest, false), |rest| (rest, true));
        let (word, details) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = match (word, details.trim()) {
            ("list" | "hash" | "zset" | "set" | "string", "") if is_key && !or_empty => What::Key,
            _ if is_key => return Err("what is there: list, hash, zset, set or string".to_owned()),
            ("prefix", "") => What::Prefix,
            ("name", "") => What::Name,
            ("token", "") => What::Token,
            ("text" | "bytes", "") => What::Anything,
            ("int", details) => {
                let (range, unit) = details.split_once(' ').unwrap_or((details, ""));
                let range = Range::parse(range).filter(|range| range.first >= -1 && range.last <= MAX_INT);
                What::Int {
                    range: range
                        .ok_or("its range, as in `[int 1..1000 ms]`, from -1 or more to 2^53".to_owned())?,
                    unit: unit.trim().to_owned(),
                }
            }
            ("word", words) if !words.is_empty() => {
                What::Word(words.split(',').map(|word| word.trim().to_owned()).collect())
            }
            _ => return Err("one of the types prefix, int, name, token, word, text and bytes".to_owned()),
        };
        Ok(Self { what, or_empty, count })
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once("..")?;
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first <= range.last).then_some(range)
    }
}
