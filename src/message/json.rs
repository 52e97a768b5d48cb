//! A message as JSON text, for programs whose other side speaks JSON: from MessagePack to text and back without a tree between.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_transcode::{Transcoder, transcode};

use crate::error::{Error, ErrorKind, Result};

/// A message as JSON text: what a websocket is sent, and what came from one.
///
/// It is a message type like any other: `mailbox.receive::<Json>()`, `layer.messages::<Json>(..)`, `layer.send("jobs", Json::parse(text)?)`.
/// With [`Mailbox::receive_shared`](crate::Mailbox::receive_shared) the text of a group's message is made once for all mailboxes of a
/// process.
///
/// Bytes become a list of numbers, and what is not a number, as the infinities, `null`. A map whose keys are no texts, numbers
/// or booleans cannot be decoded as this type. Depth is limited as that of all messages.
///
/// ```
/// use asgi_redis::{Json, PackedMessage, Value};
///
/// let packed = PackedMessage::pack(&Json::parse(r#"{"text": "hi", "to": [1, 2.5, null]}"#)?)?;
/// assert_eq!(packed.unpack::<Value>()?.get("text").and_then(Value::as_str), Some("hi"));
/// assert_eq!(packed.unpack::<Json>()?.as_str(), r#"{"text":"hi","to":[1,2.5,null]}"#);
/// # Ok::<(), asgi_redis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(String);

impl Json {
    /// Takes a text that is JSON.
    ///
    /// # Errors
    ///
    /// [`Encode`](ErrorKind::Encode) for a text that is no JSON; the error tells where, and nothing of the text.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(Error::new(
                ErrorKind::Encode,
                format!(
                    "a text of {} bytes is no JSON: line {}, column {}",
                    text.len(),
                    error.line(),
                    error.column()
                ),
            )),
        }
    }

    /// Writes any serde type as JSON.
    ///
    /// # Errors
    ///
    /// [`Encode`](ErrorKind::Encode) for what JSON cannot express, such as a map whose keys are lists.
    pub fn new<T: Serialize + ?Sized>(message: &T) -> Result<Self> {
        let text = serde_json::to_string(message);
        text.map(Self)
            .map_err(|error| Error::new(ErrorKind::Encode, format!("cannot write as JSON: {error}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, without a copy.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = Vec::with_capacity(128);
        transcode(deserializer, &mut serde_json::Serializer::new(&mut bytes)).map_err(D::Error::custom)?;
        String::from_utf8(bytes).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut read = serde_json::Deserializer::from_str(&self.0);
        let written = Transcoder::new(&mut read).serialize(serializer)?;
        read.end().map_err(S::Error::custom)?;
        Ok(written)
    }
}

/// Shows the length only, as of every message.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::PackedMessage;
    use crate::message::value::Value;

    fn json(value: &Value) -> Result<String> {
        PackedMessage::pack(value)?.unpack::<Json>().map(Json::into_string)
    }

    #[test]
    fn json_goes_through_a_message_and_comes_out_again() {
        for text in [
            r#"{"b":[1,-1,1.5,null,true],"a":"x\ny","":{}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "\"\u{1F600} ü\"",
            "[]",
            "null",
        ] {
            let packed = PackedMessage::pack(&Json::parse(text).unwrap()).unwrap();
            assert_eq!(packed.unpack::<Json>().unwrap().as_str(), text);
            // The bytes are those of the same value packed by itself.
            assert_eq!(packed, PackedMessage::pack(&serde_json::from_str::<Value>(text).unwrap()).unwrap());
        }
    }

    #[test]
    fn what_json_has_no_form_for_is_written_as_near_as_can_be_or_refused() {
        assert_eq!(json(&Value::Bytes(vec![0, 255])).unwrap(), "[0,255]");
        assert_eq!(json(&f64::NAN.into()).unwrap(), "null");
        assert_eq!(json(&Value::map([(1, "a")])).unwrap(), r#"{"1":"a"}"#);
        let list_as_key = Value::Map(vec![(Value::List(Vec::new()), Value::Nil)]);
        assert_eq!(json(&list_as_key).unwrap_err().kind(), ErrorKind::Decode);
    }

    #[test]
    fn a_text_that_is_no_json_is_refused_and_not_shown() {
        for text in ["", "{", "secret", "1 2", "{\"secret\": }"] {
            let error = Json::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Encode);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let deep = Json::parse("[".repeat(100) + &"]".repeat(100)).unwrap();
        assert_eq!(PackedMessage::pack(&deep).unwrap_err().kind(), ErrorKind::MessageTooLarge);
    }
}
