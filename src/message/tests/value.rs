//! Values go through MessagePack as they are.

use proptest::prelude::*;

use crate::message::PackedMessage;
use crate::message::value::Value;

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
    let value = Value::from([("a\nb", Value::Bytes(b"\n\"\x00".into())), ("e", Value::Ext(5, vec![255]))]);
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
