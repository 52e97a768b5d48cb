//! A service that answers, and a caller that waits for the answer on a channel of its own.
//!
//! `cargo run --example echo` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`, and without one in memory.

mod layer;

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    text: String,
    /// Checked when it arrives, like every name that comes from another process.
    reply_channel: ChannelName,
}

#[tokio::main]
async fn main() -> Result<()> {
    let layer = layer::connect(|options| options.prefix("example-echo:")).await?;
    let service = tokio::spawn(answer(layer.clone()));

    let reply_channel = layer.new_channel("echo.reply?")?;
    let question = Question { text: "Is anybody there?".to_owned(), reply_channel: reply_channel.clone() };
    layer.send("echo", &question).await?;
    let answer = layer.receive_timeout::<String>([reply_channel], Duration::from_secs(5)).await?;
    match answer {
        Some((channel, text)) => println!("{channel}: {text}"),
        None => println!("nobody answered in 5 s"),
    }

    // The service's receive ends with the error kind Closed.
    layer.close().await?;
    if let Ok(Err(error)) = service.await {
        println!("the service ended: {error}");
    }
    Ok(())
}

/// How long the service waits after a failure, such as a server that is away for a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// Answers questions until the layer is closed. Many processes may run this; each question goes to one of them.
pub(crate) async fn answer(layer: Arc<dyn ChannelLayer>) -> Result<()> {
    loop {
        let question: Question = match layer.receive(["echo"]).await {
            Ok((_, question)) => question,
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Err(error) => {
                eprintln!("the service goes on: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Who asked may have gone, or its channel may be full; the next question is none the worse for it.
        if let Err(error) = layer.send(&question.reply_channel, &format!("you said: {}", question.text)).await
        {
            eprintln!("an answer was not sent: {error}");
        }
    }
}
