//! `send`: one message from JSON.

use asgi_redis::ChannelName;
use clap::Args;
use serde::Serialize;

use super::message::Message;
use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// The channel to send to.
    channel: String,

    #[command(flatten)]
    message: Message,
}

#[derive(Serialize)]
struct Sent<'a> {
    channel: &'a str,
    sent: bool,
}

impl Send {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let channel = ChannelName::new(&self.channel)?;
        options.refuse_in_memory([&channel])?;
        let message = self.message.pack()?;
        options.with_layer(async |layer| Ok(layer.send_packed(&channel, message).await?)).await?;
        if options.json {
            output::json(&Sent { channel: channel.as_str(), sent: true })?;
        }
        Ok(Status::Done)
    }
}
