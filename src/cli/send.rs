//! `send`: one message from JSON.

use std::io::Read;

use asgi_redis::{ChannelLayer, ChannelName, PackedMessage};
use clap::Args;
use serde::Serialize;

use super::json;
use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// The channel to send to.
    channel: String,

    /// The message as JSON, or `-` to read it from standard input.
    ///
    /// What JSON has no form for is an object with one key: {"$bytes": "<base64>"}, {"$float": "NaN"} (or
    /// "Infinity", "-Infinity"), {"$ext": [<type number>, "<base64>"]}, and {"$map": [[<key>, <value>], ...]} for a
    /// map with keys that are no texts or that repeat, or that looks like one of these. Integers from -2^63 to 2^64-1
    /// stay integers; larger ones become floating point numbers.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    message: String,
}

#[derive(Serialize)]
struct Sent<'a> {
    channel: &'a str,
    sent: bool,
}

impl Send {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let channel = ChannelName::new(&self.channel)?;
        let message = PackedMessage::pack(&json::read(&self.text()?).map_err(Failure::wrong_use)?)?;
        options.with_layer(async |layer| Ok(layer.send_packed(&channel, message).await?)).await?;
        if options.json {
            output::json(&Sent { channel: channel.as_str(), sent: true })?;
        }
        Ok(Status::Done)
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
