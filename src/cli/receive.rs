//! `receive`: one line of JSON for each message.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelName, Error, ErrorKind, Value};
use clap::Args;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::json::Json;
use super::options::{LayerOptions, seconds};
use super::outcome::{Failure, Status, tell};
use super::output;
use super::signals::Signals;

/// How long a line that is being written may take once the command is asked to end.
const LAST_WRITE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// The channels to wait on; each message comes from one of them.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,

    /// How long to wait for each message; 0 takes only what is there. Without it, as long as it takes.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// How many messages to receive; 0 is any number, until the timeout or a signal.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
}

/// What was taken from a channel. The channel is unknown if the entry is broken and several channels were waited on.
type Incoming = (Option<ChannelName>, Result<Value, Error>);

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
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let channels = self.channels.iter().map(|name| ChannelName::new(name));
        let channels: Vec<ChannelName> = channels.collect::<Result<_, Error>>()?;
        let mut signals = Signals::listen()?;
        let layer = tokio::select! {
            layer = options.connect() => layer?,
            interrupted = signals.next() => return Ok(interrupted),
        };
        let ended = self.read(&layer, &channels, &mut signals).await;
        tokio::select! {
            closed = layer.close() => closed.map_err(Failure::from).and(ended),
            interrupted = signals.next() => Ok(interrupted),
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
                interrupted = signals.next() => return Ok(interrupted),
            };
            let Some((channel, message)) = next else {
                if self.count == 0 && received > 0 {
                    break;
                }
                return Err(self.nothing_arrived(received));
            };
            received += 1;
            let channel = channel.as_ref().map(ChannelName::as_str);
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
            if let Some(interrupted) = print(line, signals).await? {
                return Ok(interrupted);
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
            Ok(taken) => Ok(taken.map(|(channel, packed)| (Some(channel), packed.unpack_owned()))),
            Err(error) if error.kind() == ErrorKind::Decode => {
                let only = if let [only] = channels { Some(only.clone()) } else { None };
                Ok(Some((only, Err(error))))
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

/// Prints on a thread of its own, because a slow reader may block it. Returns the status if the command was asked to end
/// meanwhile.
async fn print(line: String, signals: &mut Signals) -> Result<Option<Status>, Failure> {
    let mut writing = spawn_blocking(move || output::line(&line));
    let (written, interrupted) = tokio::select! {
        written = &mut writing => (Ok(written), None),
        interrupted = signals.next() => (timeout(LAST_WRITE, &mut writing).await, Some(interrupted)),
    };
    if let Ok(Ok(written)) = written {
        written?;
    }
    Ok(interrupted)
}
