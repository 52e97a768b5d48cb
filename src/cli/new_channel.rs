//! `new-channel`: a name for a single reader.

use asgi_redis::ChannelName;
use clap::Args;
use serde::Serialize;

use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct NewChannel {
    /// What the name begins with; it ends in `?`, such as `http.request.body?`.
    pattern: String,
}

#[derive(Serialize)]
struct Made<'a> {
    channel: &'a str,
}

impl NewChannel {
    pub(crate) fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let channel = ChannelName::random(&self.pattern)?;
        if options.json {
            output::json(&Made { channel: channel.as_str() })?;
        } else {
            output::line(channel.as_str())?;
        }
        Ok(Status::Done)
    }
}
