//! Any serde type is packed and unpacked; what is no message is refused.

use std::collections::HashMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::message::well_formed;
use crate::{ErrorKind, PackedMessage, Value};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    path: String,
    port: Option<u16>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

#[test]
fn a_struct_keeps_the_names_of_its_fields() {
    let message = Message { path: "/".into(), port: Some(80) };
    let packed = PackedMessage::pack(&message).unwrap();
    assert_eq!(packed.as_bytes(), &b"\x82\xa4path\xa1/\xa4port\x50"[..]);
    assert_eq!(packed.unpack_owned::<Message>().unwrap(), message);
}

#[test]
fn a_type_may_borrow_from_the_message() {
    let packed = PackedMessage::pack("text").unwrap();
    let text: &str = packed.unpack().unwrap();
    assert_eq!(text.as_ptr(), packed.as_bytes()[1..].as_ptr());
}

#[test]
fn debug_shows_the_length_only() {
    let packed = PackedMessage::pack("secret").unwrap();
    assert_eq!(format!("{packed:?}"), "PackedMessage(7 bytes)");
}

#[test]
fn sixty_four_levels_go_through_and_one_more_is_refused() {
    let nested = |levels: usize| (1..levels).fold(Value::List(vec![]), |inner, _| Value::List(vec![inner]));
    let packed = PackedMessage::pack(&nested(64)).unwrap();
    assert_eq!(packed.unpack::<Value>().unwrap(), nested(64));
    let error = PackedMessage::pack(&nested(65)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert!(error.to_string().contains("more than 64 levels deep"), "{error}");
}

#[test]
fn what_is_nested_2000_deep_is_an_error_and_not_a_stack_overflow() {
    let on_a_small_stack = || {
        for level in [&b"\x91"[..], b"\x81\x01", b"\x81\xa4Link"] {
            let packed = PackedMessage::from_bytes(level.repeat(2000));
            for text in [
                packed.unpack::<Value>().unwrap_err().to_string(),
                packed.unpack::<Chain>().unwrap_err().to_string(),
                packed.unpack::<serde::de::IgnoredAny>().unwrap_err().to_string(),
            ] {
                assert!(text.ends_with("it is nested more than 64 levels deep"), "{text}");
            }
        }
        let deep = (0..2000).fold(Chain::End, |inner, _| Chain::Link(Box::new(inner)));
        assert_eq!(PackedMessage::pack(&deep).unwrap_err().kind(), ErrorKind::MessageTooLarge);
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(on_a_small_stack).unwrap().join().unwrap();
}

#[test]
fn a_type_that_fails_to_serialize_is_an_encode_error_in_its_own_words() {
    struct Failing;
    impl Serialize for Failing {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no way"))
        }
    }
    let error = PackedMessage::pack(&Failing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().ends_with("Failing: no way"), "{error}");
}

#[test]
fn a_type_that_announces_a_wrong_length_is_an_encode_error() {
    struct Lying;
    impl Serialize for Lying {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::ser::SerializeSeq::end(serializer.serialize_seq(Some(2))?)
        }
    }
    assert_eq!(PackedMessage::pack(&Lying).unwrap_err().kind(), ErrorKind::Encode);
}

proptest! {
    #[test]
    fn random_bytes_are_decoded_or_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let packed = PackedMessage::from_bytes(bytes);
        if let Ok(value) = packed.unpack::<Value>() {
            let again = PackedMessage::pack(&value).unwrap();
            prop_assert_eq!(again.unpack::<Value>().unwrap().to_string(), value.to_string());
        }
        drop((packed.unpack::<Chain>(), packed.unpack::<HashMap<String, Message>>()));
    }

    #[test]
    fn hostile_lengths_are_errors(family in 0xc4_u8..=0xdf, length in any::<u32>()) {
        let bytes = [&[family][..], &length.to_be_bytes(), b"abc"].concat();
        let packed = PackedMessage::from_bytes(bytes);
        // Some of the short lengths announce exactly what follows; whatever announces more is an error.
        let announces_more = matches!(family, 0xc6 | 0xc9 | 0xdb | 0xdd | 0xdf) && length > 3;
        let is_whole = well_formed::check(packed.as_bytes()).is_ok();
        prop_assert!(!(announces_more && is_whole));
        for error in [
            packed.unpack::<Value>().err(),
            packed.unpack::<Vec<u64>>().err(),
            packed.unpack::<String>().err(),
        ] {
            prop_assert!(is_whole || error.is_some_and(|error| error.kind() == ErrorKind::Decode));
        }
    }
}

#[test]
fn packed_bytes_are_checked_for_their_form() {
    let nested = |levels: usize| [vec![0x91; levels - 1], vec![0x90]].concat();
    for whole in [nested(64), vec![0xc0], vec![0x81, 0x01, 0xc4, 0x01, 0xff]] {
        let checked = PackedMessage::from_bytes_checked(whole.clone()).unwrap();
        assert_eq!(checked.as_bytes()[..], whole);
    }
    for (bytes, kind) in [
        (nested(65), ErrorKind::MessageTooLarge),
        (vec![], ErrorKind::Encode),
        (vec![0xc1], ErrorKind::Encode),
        (vec![0xc0, 0xc0], ErrorKind::Encode),
        (vec![0xdb, 0xff, 0xff, 0xff, 0xff], ErrorKind::Encode),
    ] {
        let refused = PackedMessage::from_bytes_checked(bytes.clone()).unwrap_err();
        assert_eq!(refused.kind(), kind, "{bytes:x?}: {refused}");
    }
}
