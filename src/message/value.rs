//! A message without a struct: whatever MessagePack can say, as one enum.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

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

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::UInt(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Ext(number, bytes) => serializer
                .serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(number, Octets(bytes))),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(credible(sequence.size_hint()));
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(credible(map.size_hint()));
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }

    /// How rmp-serde hands over an extension.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let (number, OctetBuf(bytes)) = Deserialize::deserialize(deserializer)?;
        Ok(Value::Ext(number, bytes))
    }
}

/// The announced length is a stranger's word: no more than a little memory is given on it.
fn credible(size_hint: Option<usize>) -> usize {
    size_hint.unwrap_or_default().min(64)
}

/// Bytes that serialize as bytes and not as a list of numbers.
struct Octets<'a>(&'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct OctetBuf(Vec<u8>);

impl<'de> Deserialize<'de> for OctetBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OctetVisitor;
        impl Visitor<'_> for OctetVisitor {
            type Value = OctetBuf;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<OctetBuf, E> {
                Ok(OctetBuf(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(OctetVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PackedMessage;

    fn unpacked(bytes: &'static [u8]) -> Value {
        PackedMessage::from_bytes(bytes).unpack().unwrap()
    }

    #[test]
    fn bytes_and_text_stay_different() {
        assert_eq!(PackedMessage::pack(&Value::from("ab")).unwrap().as_bytes(), &b"\xa2ab"[..]);
        assert_eq!(PackedMessage::pack(&Value::from(&b"ab"[..])).unwrap().as_bytes(), &b"\xc4\x02ab"[..]);
        assert_eq!(unpacked(b"\xa2ab"), Value::Text("ab".into()));
        assert_eq!(unpacked(b"\xc4\x02ab"), Value::Bytes(b"ab".into()));
        assert_eq!(unpacked(b"\xa2\xff\xfe"), Value::Bytes(b"\xff\xfe".into()));
    }

    #[test]
    fn maps_keep_order_repeats_and_keys_of_any_type() {
        let map = unpacked(b"\x84\x01\xa1a\xa1k\x02\xa1k\x03\xc0\x04");
        assert_eq!(map.to_string(), r#"{1: "a", "k": 2, "k": 3, null: 4}"#);
        assert_eq!(map.get("k"), Some(&Value::Int(2)));
        assert_eq!(map.get("missing"), None);
    }

    #[test]
    fn integers_compare_by_number_and_large_ones_survive() {
        assert_eq!(Value::UInt(5), Value::Int(5));
        assert_ne!(Value::UInt(u64::MAX), Value::Int(-1));
        assert!(matches!(Value::from(u64::MAX), Value::UInt(u64::MAX)));
        assert!(matches!(unpacked(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), Value::UInt(u64::MAX)));
        assert_eq!(unpacked(b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), Value::Int(i64::MIN));
        assert_eq!(Value::UInt(7).as_i64(), Some(7));
        assert_eq!(Value::Int(-7).as_u64(), None);
    }

    #[test]
    fn extensions_go_through_at_every_length() {
        for length in [0, 1, 2, 3, 4, 8, 16, 17, 300, 70_000] {
            let ext = Value::List(vec![Value::Ext(-1, vec![7; length]), Value::Nil]);
            assert_eq!(PackedMessage::pack(&ext).unwrap().unpack::<Value>().unwrap(), ext);
        }
    }

    #[test]
    fn json_text_becomes_a_value_in_document_order() {
        let value: Value = serde_json::from_str(r#"{"b": [1, -1, 1.5, null, true], "a": "x"}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"b": [1, -1, 1.5, null, true], "a": "x"}"#);
    }

    #[test]
    fn display_is_one_line() {
        let value =
            Value::from([("a\nb", Value::Bytes(b"\n\"\x00".into())), ("e", Value::Ext(5, vec![255]))]);
        assert_eq!(value.to_string(), r#"{"a\nb": b"\n\"\x00", "e": ext(5, b"\xff")}"#);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-40_i64..300).prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("NaN equals nothing", |number| !number.is_nan()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            bytes().prop_map(Value::from),
            (any::<i8>(), bytes()).prop_map(|(number, bytes)| Value::Ext(number, bytes)),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::vec((inner.clone(), inner), 0..8).prop_map(Value::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back_as_it_was_sent(value in any_value()) {
            let packed = PackedMessage::pack(&value).unwrap();
            prop_assert_eq!(packed.unpack::<Value>().unwrap(), value);
        }
    }
}
