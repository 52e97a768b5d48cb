//! `request`: one message from JSON, and its reply.

use std::time::Duration;

use asgi_redis::{ChannelLayerExt, ChannelName, Error, ErrorKind, Value};
use clap::Args;
use serde::Serialize;

use super::json::Json;
use super::message::Message;
use super::options::{LayerOptions, seconds};
use super::outcome::{Failure, Status, tell};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Request {
    /// The channel whose receivers are asked.
    channel: String,

    #[command(flatten)]
    message: Message,

    /// How long to wait for the reply. The request expires with it.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Duration,
}

#[derive(Serialize)]
struct Undecoded<'a> {
    undecoded: Json<'a>,
}

impl Request {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let channel = ChannelName::new(&self.channel)?;
        options.refuse_in_memory([&channel])?;
        let message = self.message.pack()?;
        let reply = options
            .with_layer(async |layer| {
                let asked = layer.request_packed(&channel, message, self.timeout).await;
                asked.map_err(failure)
            })
            .await?;
        match reply.unpack_owned::<Value>() {
            Ok(reply) => output::json(&Json(&reply)).map(|()| Status::Done),
            Err(error) => {
                tell(&format!("the reply: {error}"));
                let bytes = Value::from(reply.into_bytes());
                output::json(&Undecoded { undecoded: Json(&bytes) })?;
                Ok(Status::Failed)
            }
        }
    }
}

fn failure(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::TooLate => Failure::new(Status::NothingArrived, error.to_string()),
        _ => error.into(),
    }
}
