//! A producer that is faster than its consumer: a full channel makes it wait instead of filling the server.
//!
//! `cargo run --example backpressure` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`, and without one in
//! memory.

mod layer;

use std::time::Duration;

use asgi_redis::prelude::*;

const PATIENCE: Duration = Duration::from_secs(5);

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
                let (_, number): (_, u32) = layer.receive(["frames.camera1"]).await?;
                println!("        took {number}");
            }
            Ok::<(), Error>(())
        }
    });
    for number in 0..10 {
        match layer.send("frames.camera1", &number).await {
            Ok(()) => println!("sent {number}"),
            Err(error) if error.kind() == ErrorKind::ChannelFull => {
                println!("sent {number} later: {error}");
                layer.send_wait("frames.camera1", &number, PATIENCE).await?;
            }
            Err(error) => return Err(error),
        }
    }
    if let Ok(outcome) = consumer.await {
        outcome?;
    }
    layer.close().await
}
