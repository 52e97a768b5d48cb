//! Messages as JSON and back, without loss.
//!
//! A value without a form in JSON is an object with one key, its mark:
//!
//! | value | JSON |
//! |---|---|
//! | bytes | `{"$bytes": "<base64>"}` |
//! | not a number, the infinities | `{"$float": "NaN"}`, `"Infinity"`, `"-Infinity"` |
//! | a MessagePack extension | `{"$ext": [<type number>, "<base64>"]}` |
//! | a map with a key that is no text, with a repeated key, or with a mark as its only key | `{"$map": [[<key>, <value>], ...]}` |

use std::collections::HashSet;

use asgi_redis::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

const BYTES: &str = "$bytes";
const FLOAT: &str = "$float";
const EXT: &str = "$ext";
const MAP: &str = "$map";

/// Reads a message.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("the message is not JSON: {error}"))?;
    unmark(value)
}

/// A message that serializes as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(pub(crate) &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::UInt(value) => serializer.serialize_u64(*value),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(value) if value.is_nan() => marked(serializer, FLOAT, "NaN"),
            Value::Float(value) if value.is_sign_negative() => marked(serializer, FLOAT, "-Infinity"),
            Value::Float(_) => marked(serializer, FLOAT, "Infinity"),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => marked(serializer, BYTES, &BASE64.encode(bytes)),
            Value::Ext(number, bytes) => marked(serializer, EXT, &(number, BASE64.encode(bytes))),
            Value::List(values) => serializer.collect_seq(values.iter().map(Json)),
            Value::Map(entries) if is_object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&Json(key), &Json(value))?;
                }
                map.end()
            }
            Value::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(key, value)| (Json(key), Json(value))).collect();
                marked(serializer, MAP, &entries)
            }
        }
    }
}

fn marked<S, T>(serializer: S, mark: &str, value: &T) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize + ?Sized,
{
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(mark, value)?;
    map.end()
}

fn is_object(entries: &[(Value, Value)]) -> bool {
    let mut seen = HashSet::with_capacity(entries.len());
    let all_once = entries.iter().all(|(key, _)| key.as_str().is_some_and(|key| seen.insert(key)));
    all_once && mark_of(entries).is_none()
}

/// The mark that is a map's only key, and its value.
fn mark_of(entries: &[(Value, Value)]) -> Option<(&str, &Value)> {
    match entries {
        [(Value::Text(key), value)] if [BYTES, FLOAT, EXT, MAP].contains(&key.as_str()) => Some((key, value)),
        _ => None,
    }
}

fn unmark(value: Value) -> Result<Value, String> {
    match value {
        Value::List(values) => values.into_iter().map(unmark).collect::<Result<_, _>>().map(Value::List),
        Value::Map(entries) => match mark_of(&entries) {
            Some((mark, value)) => read_marked(mark, value).ok_or_else(|| {
                let wanted = match mark {
                    BYTES => "base64 text",
                    FLOAT => "\"NaN\", \"Infinity\" or \"-Infinity\"",
                    EXT => "a list of a number from -128 to 127 and base64 text",
                    _ => "a list of pairs of key and value",
                };
                format!(
                    "the message has {{\"{mark}\": ...}} whose value is not {wanted}; a map with that key is \
                     written {{\"$map\": [[\"{mark}\", ...]]}}"
                )
            })?,
            None => {
                let entries = entries.into_iter().map(|(key, value)| Ok((key, unmark(value)?)));
                entries.collect::<Result<_, _>>().map(Value::Map)
            }
        },
        other => Ok(other),
    }
}

/// Reads the value of a mark. Returns `None` if it is of another form than the mark announces.
fn read_marked(mark: &str, value: &Value) -> Option<Result<Value, String>> {
    let bytes = |value: &Value| BASE64.decode(value.as_str()?).ok();
    match mark {
        BYTES => Some(Ok(Value::Bytes(bytes(value)?))),
        FLOAT => match value.as_str()? {
            "NaN" => Some(Ok(f64::NAN.into())),
            "Infinity" => Some(Ok(f64::INFINITY.into())),
            "-Infinity" => Some(Ok(f64::NEG_INFINITY.into())),
            _ => None,
        },
        EXT => match value.as_list()? {
            [number, data] => Some(Ok(Value::Ext(number.as_i64()?.try_into().ok()?, bytes(data)?))),
            _ => None,
        },
        _ => {
            let pairs = value.as_list()?.iter().map(|pair| match pair.as_list()? {
                [key, value] => Some((key.clone(), value.clone())),
                _ => None,
            });
            let pairs: Vec<(Value, Value)> = pairs.collect::<Option<_>>()?;
            let pairs = pairs.into_iter().map(|(key, value)| Ok((unmark(key)?, unmark(value)?)));
            Some(pairs.collect::<Result<_, _>>().map(Value::Map))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &Value) -> String {
        serde_json::to_string(&Json(value)).unwrap()
    }

    #[test]
    fn plain_json_stays_as_it_is() {
        for text in [
            r#"{"b":[1,-1,1.5,null,true],"a":"x\ny","":{}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "1.0",
            "-0.0",
            r#"{"$bytes":"AP8=","more":1}"#,
            r#"{"$other":1}"#,
        ] {
            assert_eq!(written(&read(text).unwrap()), text);
        }
    }

    #[test]
    fn what_json_has_no_form_for_is_marked() {
        for (value, text) in [
            (Value::Bytes(vec![0, 255]), r#"{"$bytes":"AP8="}"#),
            (Value::Ext(-5, vec![0, 255]), r#"{"$ext":[-5,"AP8="]}"#),
            (f64::INFINITY.into(), r#"{"$float":"Infinity"}"#),
            (f64::NEG_INFINITY.into(), r#"{"$float":"-Infinity"}"#),
            (Value::map([(1, "a")]), r#"{"$map":[[1,"a"]]}"#),
            (Value::map([("k", 1), ("k", 2)]), r#"{"$map":[["k",1],["k",2]]}"#),
            (Value::map([("$bytes", "no")]), r#"{"$map":[["$bytes","no"]]}"#),
            (
                Value::map([("$map", Value::map([("$float", 1)]))]),
                r#"{"$map":[["$map",{"$map":[["$float",1]]}]]}"#,
            ),
        ] {
            assert_eq!(written(&value), text);
            assert_eq!(read(text).unwrap(), value);
        }
        assert_eq!(written(&f64::NAN.into()), r#"{"$float":"NaN"}"#);
        assert!(read(r#"{"$float":"NaN"}"#).unwrap().as_f64().unwrap().is_nan());
    }

    #[test]
    fn a_wrong_value_behind_a_mark_is_refused_with_the_remedy() {
        for text in [
            r#"{"$bytes": 5}"#,
            r#"{"$bytes": "%"}"#,
            r#"{"$float": 1}"#,
            r#"{"$float": "1"}"#,
            r#"[{"$ext": [200, ""]}]"#,
            r#"{"$ext": "a"}"#,
            r#"{"$map": [[1]]}"#,
            r#"{"a": {"$map": {}}}"#,
            r#"{"$map": [[{"$bytes": 1}, 1]]}"#,
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.contains("a map with that key is written {\"$map\": [[\"$"), "{text}: {refusal}");
        }
        assert!(read("{").unwrap_err().starts_with("the message is not JSON: EOF"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-c]{0,2}", Just("$bytes".into()), Just("$map".into()), any::<String>()];
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("NaN equals nothing", |number| !number.is_nan()).prop_map(Value::from),
            text.prop_map(Value::from),
            bytes().prop_map(Value::from),
            (any::<i8>(), bytes()).prop_map(|(number, bytes)| Value::Ext(number, bytes)),
        ];
        leaf.prop_recursive(5, 48, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((inner.clone(), inner), 0..6).prop_map(Value::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back_from_its_json(value in any_value()) {
            prop_assert_eq!(read(&written(&value)).unwrap(), value);
        }
    }
}
