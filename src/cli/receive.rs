//! `receive`: one line of JSON for each message.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelName, Error, ErrorKind, PackedMessage, Value};
use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::json::Json;
use super::notices::Notices;
use super::options::{LayerOptions, seconds, whole};
use super::outcome::{Failure, Status, tell};
use super::output;
use super::printing::Printing;
use super::signals::Signals;

#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// The channels to wait on; each message comes from one of them.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,

    /// How long to wait for each message; 0 takes only what is there. Without it, as long as it takes.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// How many messages to receive; 0 is any number, until the timeout or a signal.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>, allow_negative_numbers = true)]
    count: u64,
}

/// What was taken from a channel.
struct Incoming {
    /// Unknown if the entry is broken and several channels were waited on.
    channel: Option<ChannelName>,
    /// As it was sent. Of a broken entry there is none.
    packed: Option<PackedMessage>,
    message: Result<Value, Error>,
}

#[derive(Serialize)]
struct Received<'a> {
    channel: Option<&'a str>,
    message: Json<'a>,
}

#[derive(Serialize)]
struct Undecoded<'a> {
    channel: Option<&'a str>,
    undecoded: Json<'a>,
}

impl Receive {
    pub(crate) async fn run(self, options: &LayerOptions, notices: &Notices) -> Result<Status, Failure> {
        let channels = self.channels.iter().map(|name| ChannelName::new(name));
        let channels: Vec<ChannelName> = channels.collect::<Result<_, Error>>()?;
        options.refuse_in_memory(&channels)?;
        if output::is_closed() {
            return Err(Failure::new(Status::Failed, "standard output is closed, so nothing was received"));
        }
        let mut signals = Signals::listen()?;
        let layer = tokio::select! {
            layer = options.connect() => layer?,
            interrupted = signals.next() => return Ok(interrupted),
        };
        // Only now, because a connect that fails tells so itself.
        notices.wait();
        let ended = self.read(&layer, &channels, &mut signals).await;
        let ended = tokio::select! {
            closed = layer.close() => closed.map_err(Failure::from).and(ended),
            interrupted = signals.next() => Ok(interrupted),
        };
        match notices.dropped_messages() {
            0 => ended,
            dropped => unopened(ended, dropped),
        }
    }

    async fn read(
        &self,
        layer: &dyn ChannelLayer,
        channels: &[ChannelName],
        signals: &mut Signals,
    ) -> Result<Status, Failure> {
        let mut status = Status::Done;
        let mut received = 0;
        while self.count == 0 || received < self.count {
            let next = tokio::select! {
                next = self.next(layer, channels) => next?,
                // What was not decoded counts more than how it ended.
                interrupted = signals.next() => return Ok(if status == Status::Done { interrupted } else { status }),
            };
            let Some(Incoming { channel, packed, message }) = next else {
                if self.count == 0 && received > 0 {
                    break;
                }
                return Err(self.nothing_arrived(received));
            };
            received += 1;
            let from = channel.as_ref();
            let channel = from.map(ChannelName::as_str);
            let line = match message {
                Ok(message) => output::to_json(&Received { channel, message: Json(&message) })?,
                Err(error) => {
                    let Some(bytes) = error.undecoded().cloned() else { return Err(error.into()) };
                    status = Status::Failed;
                    tell(
                        &channel
                            .map_or_else(|| error.to_string(), |name| format!("channel {name:?}: {error}")),
                    );
                    let bytes = Value::from(bytes);
                    output::to_json(&Undecoded { channel, undecoded: Json(&bytes) })?
                }
            };
            let printing = Printing { layer, channel: from, packed: packed.as_ref(), line };
            match printing.run(signals).await {
                Ok(None) => {}
                Ok(Some(ended)) if status == Status::Done => return Ok(ended),
                Ok(Some(_)) => return Ok(status),
                Err(failure) if status == Status::Done => return Err(failure),
                Err(failure) => {
                    failure.tell();
                    return Ok(status);
                }
            }
        }
        Ok(status)
    }

    async fn next(
        &self,
        layer: &dyn ChannelLayer,
        channels: &[ChannelName],
    ) -> Result<Option<Incoming>, Error> {
        let taken = match self.timeout {
            None => layer.receive_packed(channels).await.map(Some),
            Some(Duration::ZERO) => layer.try_receive_packed(channels).await,
            Some(patience) => timeout(patience, layer.receive_packed(channels)).await.ok().transpose(),
        };
        match taken {
            Ok(taken) => Ok(taken.map(|(channel, packed)| Incoming {
                channel: Some(channel),
                packed: Some(packed.clone()),
                message: packed.unpack_owned(),
            })),
            Err(error) if error.kind() == ErrorKind::Decode => {
                let only = if let [only] = channels { Some(only.clone()) } else { None };
                Ok(Some(Incoming { channel: only, packed: None, message: Err(error) }))
            }
            Err(error) => Err(error),
        }
    }

    fn nothing_arrived(&self, received: u64) -> Failure {
        let what = match received {
            0 => "nothing".to_owned(),
            _ => format!("only {received} of {} messages", self.count),
        };
        let how = match self.timeout {
            Some(Duration::ZERO) => " arrived at once".to_owned(),
            Some(patience) => format!(" arrived within {} s", patience.as_secs_f64()),
            None => " arrived".to_owned(),
        };
        Failure::new(Status::NothingArrived, format!("{what}{how}"))
    }
}

/// Messages were dropped that did not open, which counts more than that nothing arrived. What ended the command is still told.
fn unopened(ended: Result<Status, Failure>, dropped: u64) -> Result<Status, Failure> {
    let status = ended.unwrap_or_else(Failure::tell);
    let (what, it, is) = match dropped {
        1 => ("what does not open was dropped".to_owned(), "it", "it is"),
        _ => (format!("{dropped} messages that do not open were dropped"), "them", "they are"),
    };
    let was = if dropped == 1 { "it was" } else { "they were" };
    tell(&format!(
        "{what}, and nobody else receives {it}; give the keys by which {was} sealed with --keys or --config, or none if {is} in clear text"
    ));
    Ok(match status {
        Status::Done | Status::NothingArrived | Status::Interrupted(_) => Status::Failed,
        failed => failed,
    })
}
