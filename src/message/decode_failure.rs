//! What is wrong with a message that cannot be decoded, in words that hold nothing of its content: errors end up in
//! logs.

/// Says what serde found wrong. Serde quotes the value at fault, so only the parts that name types and fields of the
/// program itself are taken over.
pub(crate) fn without_content(error: rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error as Wrong;
    let text = match error {
        Wrong::Syntax(text) | Wrong::Uncategorized(text) => text,
        Wrong::OutOfRange => return "a number is out of range".into(),
        Wrong::LengthMismatch(_) => return "a list or map has another length than expected".into(),
        Wrong::Utf8Error(_) => return "a text is not UTF-8".into(),
        Wrong::TypeMismatch(marker) => {
            return format!("it has {} where another type is expected", family(&format!("{marker:?}")));
        }
        _ => return "a value has another type than expected".into(),
    };
    let expected = || match text.rsplit_once(", expected ") {
        Some((_, expected)) if !text.ends_with(", there are no fields") => expected,
        _ => "nothing",
    };
    if text.starts_with("missing field `")
        || text.starts_with("duplicate field `")
        || text.starts_with("data did not match any variant of untagged enum ")
    {
        text
    } else if text.starts_with("unknown field `") {
        format!("it has an unknown field where {} is expected", expected())
    } else if text.starts_with("unknown variant `") {
        format!("it has an unknown variant where {} is expected", expected())
    } else if text.starts_with("invalid length ") {
        format!("it has another length than the expected {}", expected())
    } else if let Some(found) = text.strip_prefix("invalid type: ") {
        format!("it has {} where {} is expected", kind(found), expected())
    } else if let Some(found) = text.strip_prefix("invalid value: ") {
        format!("it has {} of a wrong value where {} is expected", kind(found), expected())
    } else {
        "the type's own check refused a value".into()
    }
}

/// The kind of the value that serde found, without the value.
fn kind(found: &str) -> &'static str {
    const KINDS: [(&str, &str); 10] = [
        ("boolean", "a boolean"),
        ("integer", "an integer"),
        ("floating point", "a floating point number"),
        ("character", "a character"),
        ("string", "a string"),
        ("byte array", "bytes"),
        ("unit value", "nothing"),
        ("newtype struct", "an extension"),
        ("sequence", "a list"),
        ("map", "a map"),
    ];
    KINDS.into_iter().find(|(name, _)| found.starts_with(name)).map_or("a value", |(_, kind)| kind)
}

/// The same for the name of a MessagePack family, such as `FixStr(5)`.
fn family(marker: &str) -> &'static str {
    const FAMILIES: [(&str, &str); 9] = [
        ("Str", "a string"),
        ("Bin", "bytes"),
        ("Array", "a list"),
        ("Map", "a map"),
        ("Ext", "an extension"),
        ("Null", "nothing"),
        ("True", "a boolean"),
        ("False", "a boolean"),
        ("F", "a floating point number"),
    ];
    if marker.starts_with("FixPos") || marker.starts_with("FixNeg") {
        return "an integer";
    }
    FAMILIES.into_iter().find(|(name, _)| marker.contains(name)).map_or("an integer", |(_, family)| family)
}

#[cfg(test)]
mod tests {
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
}
