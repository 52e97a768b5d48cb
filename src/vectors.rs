//! The vectors of `dist/vectors/`, for the tests of this crate: files that clients in all languages read. They are read when
//! a test runs, so nothing is built anew for them.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads a file of vectors. Every key in it must be known.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/dist/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Bytes, which stand there as hexadecimal digits.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.iter().any(u8::is_ascii_uppercase) {
            return Err(format!("{text:?} is not lower-case hexadecimal"));
        }
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>();
        bytes.map(Self).ok_or_else(|| format!("{text:?} is not hexadecimal"))
    }
}
