//! Errors of decoding hold nothing of the content.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{ChannelName, ErrorKind, PackedMessage};

#[derive(Debug, Deserialize)]
struct Message {
    #[expect(dead_code, reason = "only decoding is tried")]
    path: String,
}

#[derive(Debug, Deserialize)]
enum Chain {
    #[expect(dead_code, reason = "only decoding is tried")]
    Link(Box<Chain>),
    End,
}

#[track_caller]
fn decode_error<T: DeserializeOwned + fmt::Debug>(bytes: &'static [u8]) -> String {
    let error = PackedMessage::from_bytes(bytes).unpack::<T>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.undecoded().unwrap(), bytes);
    error.to_string().split_once(": ").unwrap().1.to_owned()
}

#[test]
fn decode_errors_name_what_is_wrong_and_show_nothing_of_the_content() {
    assert_eq!(decode_error::<Message>(b""), "it ends before the value does");
    assert_eq!(decode_error::<Message>(b"\x80"), "missing field `path`");
    assert_eq!(decode_error::<u8>(b"\x07\x07"), "bytes follow the end of the value");
    assert_eq!(
        decode_error::<u8>(b"\xcd\x01\x00"),
        "it has an integer of a wrong value where u8 is expected"
    );
    assert_eq!(decode_error::<u8>(b"\xa2hi"), "it has a string where another type is expected");
    assert_eq!(decode_error::<String>(b"\x07"), "it has an integer where a string is expected");
    assert_eq!(decode_error::<Vec<u8>>(b"\x81\x01\x02"), "it has a map where a sequence is expected");
    assert_eq!(decode_error::<String>(b"\xa1\xff"), "a text is not UTF-8");
    assert_eq!(decode_error::<ChannelName>(b"\xa7secret "), "the type's own check refused a value");
    assert_eq!(
        decode_error::<Chain>(b"\xa6secret"),
        "it has an unknown variant where `Link` or `End` is expected"
    );
    assert_eq!(
        decode_error::<(u8, u8)>(b"\x91\x07"),
        "it has another length than the expected a tuple of size 2"
    );
    let tricky = decode_error::<Vec<u8>>(b"\xb5secret, expected nine");
    assert_eq!(tricky, "it has a string where a sequence is expected");
}
