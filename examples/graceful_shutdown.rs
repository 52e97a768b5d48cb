//! A consumer that ends cleanly on Ctrl-C: it finishes the message in its hands, and what was on its way to it goes to
//! another consumer.
//!
//! `cargo run --example graceful_shutdown` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`, and without one
//! in memory. It sends itself a job; with a Redis, send it more: `cargo run --features cli -- send jobs '{"number": 2}'`.

mod layer;

use std::pin::pin;
use std::time::Duration;

use asgi_redis::prelude::*;
use tokio::signal::ctrl_c;

/// How long to wait after a failure, such as a server that is away for a moment.
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let layer = layer::connect(|options| options).await?;
    layer.send("jobs", &Value::map([("number", 1)])).await?;
    println!("waiting for messages on jobs and jobs.urgent; Ctrl-C ends");

    let mut interrupted = pin!(ctrl_c());
    loop {
        // Dropping the receive, as happens here on Ctrl-C, loses no message.
        let received = tokio::select! {
            received = layer.receive::<Value>(["jobs.urgent", "jobs"]) => received,
            _ = &mut interrupted => break,
        };
        match received {
            Ok((channel, job)) => println!("{channel}: {job}"),
            Err(error) if error.kind() == ErrorKind::Decode => eprintln!("skipped: {error}"),
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Err(error) => {
                eprintln!("going on: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    layer.close().await?;
    println!("closed; nothing was left behind");
    Ok(())
}
