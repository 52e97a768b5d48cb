//! What replies of several scripts have in common, and how their parts are read.

use redis::Value;

/// Where a step of a list begins: in the middle of a name, or after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct ListPlace {
    pub(in crate::redis) name: String,
    pub(in crate::redis) cursor: String,
}

impl ListPlace {
    /// The beginning; a step that ends here was the last.
    pub(in crate::redis) fn start() -> Self {
        Self { name: String::new(), cursor: "0".to_owned() }
    }

    pub(in crate::redis) fn is_start(&self) -> bool {
        self.name.is_empty() && self.cursor == "0"
    }

    pub(super) fn read(name: &Value, cursor: &Value) -> Option<Self> {
        Some(Self { name: text(name)?, cursor: text(cursor)? })
    }
}

/// Reads a reply whose first part is a text.
pub(super) fn decode<T>(reply: Value, read: impl FnOnce(&[u8], &[Value]) -> Option<T>) -> Result<T, Value> {
    let decoded = match &reply {
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(tag), rest @ ..] => read(tag, rest),
            _ => None,
        },
        _ => None,
    };
    decoded.ok_or(reply)
}

/// Reads a reply that is a list.
pub(super) fn read_list<T>(reply: Value, read: impl FnOnce(&[Value]) -> Option<T>) -> Result<T, Value> {
    let read = if let Value::Array(parts) = &reply { read(parts) } else { None };
    read.ok_or(reply)
}

/// Reads a text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    }
}

/// Reads a text that another program may have written: what is no UTF-8 in it is replaced.
pub(super) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Reads a number that is not negative.
pub(super) fn count(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

/// What another key has hidden is not of this layer, and is left out.
pub(super) fn reveal_all(listed: &mut Vec<String>, reveal: impl Fn(&str) -> Option<String>) {
    *listed = listed.iter().filter_map(|name| reveal(name)).collect();
}

/// Replies as a server would give them.
#[cfg(test)]
pub(super) mod made_up {
    use redis::Value;

    pub(in crate::redis::calls) fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    pub(in crate::redis::calls) fn list(parts: impl IntoIterator<Item = Value>) -> Value {
        Value::Array(parts.into_iter().collect())
    }
}
