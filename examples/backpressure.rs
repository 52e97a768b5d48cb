//! A producer that is faster than its consumer: a full channel makes it wait instead of filling the server.
//!
//! `cargo run --example backpressure` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`, and without one in
//! memory.

mod layer;

use std::time::Duration;

use asgi_redis::prelude::*;

const CHANNEL: &str = "frames.camera1";
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<()> {
    let layer =
        layer::connect(|options| options.prefix("example-backpressure:").channel_capacity([("frames.*", 3)]))
            .await?;

    let consumer = tokio::spawn({
        let layer = layer.clone();
        async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                // A receive waits through an outage by itself.
                let (_, number): (_, u32) = layer.receive([CHANNEL]).await?;
                println!("        took {number}");
            }
            Ok::<(), Error>(())
        }
    });
    for number in 0..10 {
        produce(&layer, number).await?;
    }
    if let Ok(outcome) = consumer.await {
        outcome?;
    }
    layer.close().await
}

/// Sends a number, however long the channel is full or the server away. What was perhaps sent is not sent again.
pub(crate) async fn produce(layer: &impl ChannelLayer, number: u32) -> Result<()> {
    loop {
        match layer.send_wait(CHANNEL, &number, PATIENCE).await {
            Ok(()) => {
                println!("sent {number}");
                return Ok(());
            }
            Err(error) if error.perhaps_sent() => {
                println!("perhaps sent {number}: {error}");
                return Ok(());
            }
            Err(error) if error.may_retry() => {
                println!("{number} waits: {error}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
