//! A message without a struct: any MessagePack value, as one enum.

use std::fmt;

/// Any MessagePack value, for messages whose shape is not known in advance.
///
/// Bytes and text are different, maps keep their order, may have keys of any type, and may repeat one. A text on the
/// wire that is not UTF-8 arrives as [`Bytes`](Self::Bytes).
///
/// ```
/// use asgi_redis::{PackedMessage, Value};
///
/// let message = Value::map([
///     ("path", Value::from("/chat")),
///     ("body", Value::from(&b"\x00\xff"[..])),
///     ("tries", Value::from(3)),
/// ]);
/// assert_eq!(message.to_string(), r#"{"path": "/chat", "body": b"\x00\xff", "tries": 3}"#);
///
/// let arrived: Value = PackedMessage::pack(&message)?.unpack()?;
/// assert_eq!(arrived, message);
/// assert_eq!(arrived.get("path").and_then(Value::as_str), Some("/chat"));
/// assert_eq!(arrived.get("tries").and_then(Value::as_i64), Some(3));
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above [`i64::MAX`]. Smaller ones arrive as [`Int`](Self::Int), and compare equal to it.
    UInt(u64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Keys and values in order.
    Map(Vec<(Value, Value)>),
    /// A MessagePack extension: its type number and its bytes.
    Ext(i8, Vec<u8>),
}

impl Value {
    /// A map from keys and values, in their order.
    pub fn map<K: Into<Value>, V: Into<Value>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The value under a text key: the first, when the key repeats. `None` too when this is no map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Whether this is nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            Self::UInt(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => value.try_into().ok(),
            Self::UInt(value) => Some(value),
            _ => None,
        }
    }

    /// The floating point number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, if these are bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The values, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }

    /// The keys and values, if this is a map.
    pub fn as_map(&self) -> Option<&[(Value, Value)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }
}

/// Integers are compared by number, floating point numbers as Rust does, all else by kind and content.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::UInt(a), Self::UInt(b)) => a == b,
            (Self::Int(a), Self::UInt(b)) | (Self::UInt(b), Self::Int(a)) => u64::try_from(*a) == Ok(*b),
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Ext(a, x), Self::Ext(b, y)) => (a, x) == (b, y),
            _ => false,
        }
    }
}

/// One line, like JSON, with bytes as `b"..."` and extensions as `ext(5, b"...")`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::Ext(number, bytes) => write!(f, "ext({number}, b\"{}\")", bytes.escape_ascii()),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

macro_rules! from {
    ($($source:ty => $value:ident -> $make:expr;)+) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                $make
            }
        })+
    };
}

from! {
    () => _nothing -> Self::Nil;
    bool => value -> Self::Bool(value);
    i8 => value -> Self::Int(value.into());
    i16 => value -> Self::Int(value.into());
    i32 => value -> Self::Int(value.into());
    i64 => value -> Self::Int(value);
    u8 => value -> Self::Int(value.into());
    u16 => value -> Self::Int(value.into());
    u32 => value -> Self::Int(value.into());
    u64 => value -> i64::try_from(value).map_or(Self::UInt(value), Self::Int);
    f32 => value -> Self::Float(value.into());
    f64 => value -> Self::Float(value);
    &str => text -> Self::Text(text.to_owned());
    String => text -> Self::Text(text);
    &[u8] => bytes -> Self::Bytes(bytes.to_vec());
    Vec<u8> => bytes -> Self::Bytes(bytes);
    bytes::Bytes => bytes -> Self::Bytes(bytes.into());
    Vec<Value> => values -> Self::List(values);
    Vec<(Value, Value)> => entries -> Self::Map(entries);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

impl<K: Into<Value>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Value {
    fn from(entries: [(K, V); N]) -> Self {
        Self::map(entries)
    }
}
