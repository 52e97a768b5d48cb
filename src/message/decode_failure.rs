//! What is wrong with a message that cannot be decoded, in words that hold nothing of its content: errors end up in
//! logs.

/// Words an error of serde without the value at fault, which serde quotes: only the names of the program's own types and
/// fields are kept.
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
