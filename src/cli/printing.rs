//! A received message on its way to standard output. What does not get there is not dropped unseen.

use std::io::Write;
use std::time::Duration;

use asgi_redis::{ChannelKind, ChannelLayer, ChannelName, PackedMessage};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::outcome::{Failure, Status, tell};
use super::output;
use super::signals::Signals;

/// How long a line that is being written may take once the command is asked to end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// A message that was taken, and its line.
pub(crate) struct Printing<'a> {
    pub(crate) layer: &'a dyn ChannelLayer,
    pub(crate) channel: Option<&'a ChannelName>,
    pub(crate) packed: Option<&'a PackedMessage>,
    pub(crate) line: String,
}

impl Printing<'_> {
    /// Prints on a thread of its own, because a slow reader may block it. Returns the status if the command was asked to end
    /// meanwhile.
    pub(crate) async fn run(self, signals: &mut Signals) -> Result<Option<Status>, Failure> {
        let text = format!("{}\n", self.line);
        let mut writing = spawn_blocking(move || output::write(&text));
        let (written, interrupted) = tokio::select! {
            written = &mut writing => (Ok(written), None),
            interrupted = signals.next() => (timeout(LAST_WRITE, &mut writing).await, Some(interrupted)),
        };
        match written {
            Ok(Ok(Ok(()))) => Ok(interrupted),
            Ok(Ok(Err(error))) => match self.save().await {
                Ok(()) => Err(output::failure(&error)),
                Err(why) => Err(self.report(&format!("{error}, and {why}")).await),
            },
            // Not sent again: the reader may still read it to its end.
            Ok(Err(_)) | Err(_) => Err(self.report("the reader of the output does not read on").await),
        }
    }

    /// Sends the message again to the end of its channel. Returns why it cannot be.
    async fn save(&self) -> Result<(), String> {
        let (Some(channel), Some(packed)) = (self.channel, self.packed) else {
            return Err("it is no message that could be sent again".to_owned());
        };
        if channel.kind() != ChannelKind::Normal {
            return Err("behind others it would be out of order".to_owned());
        }
        let sent = self.layer.send_packed(channel, packed.clone()).await;
        sent.map_err(|error| format!("it cannot go back: {error}"))
    }

    /// Tells that the message was not printed, and prints it on standard error as it would have been.
    async fn report(self, why: &str) -> Failure {
        let of = self.channel.map_or_else(String::new, |channel| format!("channel {:?}: ", channel.as_str()));
        tell(&format!("{of}a message was taken and not printed: {why}; this is it:"));
        let text = format!("{}\n", self.line);
        // Nobody may read this either.
        let _ =
            timeout(LAST_WRITE, spawn_blocking(move || std::io::stderr().write_all(text.as_bytes()))).await;
        Failure::new(Status::Failed, "")
    }
}
