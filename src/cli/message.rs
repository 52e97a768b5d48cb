//! A message as an argument, of every command that sends one.

use std::io::Read;

use asgi_redis::PackedMessage;
use clap::Args;

use super::json;
use super::outcome::Failure;

#[derive(Args, Debug)]
pub(crate) struct Message {
    /// The message as JSON, or `-` to read it from standard input.
    ///
    /// A value without a form in JSON is an object with one key: {"$bytes": "<base64>"}, {"$float": "NaN"} (or
    /// "Infinity", "-Infinity"), {"$ext": [<type number>, "<base64>"]}, and {"$map": [[<key>, <value>], ...]} for a
    /// map with keys that are no texts or that repeat, or that looks like one of these. Integers from -2^63 to 2^64-1
    /// stay integers; larger ones become floating point numbers.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    message: String,
}

impl Message {
    /// Reads and packs it.
    pub(crate) fn pack(&self) -> Result<PackedMessage, Failure> {
        Ok(PackedMessage::pack(&json::read(&self.text()?).map_err(Failure::wrong_use)?)?)
    }

    fn text(&self) -> Result<String, Failure> {
        if self.message != "-" {
            return Ok(self.message.clone());
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| {
            Failure::wrong_use(format!("cannot read the message from standard input: {error}"))
        })?;
        Ok(text)
    }
}
